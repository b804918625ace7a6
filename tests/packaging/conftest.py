"""The distributions that the tests of packaging look at, built once."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest

from testkit.packages import built, copied


@pytest.fixture(scope="session")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A source distribution of a clean copy of what git tracks."""
    return built(copied(tmp_path_factory.mktemp("clean")), "build_sdist", tmp_path_factory.mktemp("sdist"))


@pytest.fixture(scope="session")
def wheel(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel built from the unpacked source distribution, as an installer without wheels would."""
    unpacked = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(sdist) as archive:
        archive.extractall(unpacked, filter="data")
    (source,) = unpacked.iterdir()
    return built(source, "build_wheel", tmp_path_factory.mktemp("wheel"))
