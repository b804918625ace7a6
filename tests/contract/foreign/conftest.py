"""The providers' folders of this session."""

from __future__ import annotations

import pytest

from testkit.foreign import Folders


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Folders:
    """The folders of this session."""
    return Folders(tmp_path_factory.mktemp("foreign"))
