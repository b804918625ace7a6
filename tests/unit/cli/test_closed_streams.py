"""A standard stream that is closed at the start is the null device: nothing fails for it, and no file of a run takes its place."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest


@pytest.mark.parametrize("closed", [(1,), (2,), (0, 1, 2)])
def test_a_command_ends_as_ever_where_streams_are_closed(closed: tuple[int, ...]) -> None:
    """As under `>&-`: exit code 0, and not 1, which would be a failed gate."""

    def close() -> None:
        for number in closed:
            os.close(number)

    done = subprocess.run(
        [sys.executable, "-m", "testcard.harness.cli", "rules", "image.size"], preexec_fn=close, capture_output=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == b""
