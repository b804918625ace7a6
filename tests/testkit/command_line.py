"""The command line in this process: what a person types, without a second or two of a new interpreter's imports.

For tests of what a command does, says and ends with. What belongs to a process (signals, its terminal, its death) wants one of its own.
"""

from __future__ import annotations

import io
import os
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import chdir, redirect_stderr, redirect_stdout
from pathlib import Path
from unittest import mock

from testcard.harness.cli import run


def typed(arguments: Sequence[str], *, env: Mapping[str, str] | None = None, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """What `testcard ARGUMENTS` ended with and printed; `env` in place of the whole environment, as in `subprocess.run`."""
    stdout, stderr = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", newline="") for _ in range(2))
    with (
        mock.patch.dict(os.environ, env if env is not None else os.environ, clear=env is not None),
        chdir(cwd or Path.cwd()),
        redirect_stdout(stdout),
        redirect_stderr(stderr),
    ):
        code = run(list(arguments))
    texts = []
    for stream in (stdout, stderr):
        stream.flush()
        assert isinstance(stream.buffer, io.BytesIO)
        texts.append(stream.buffer.getvalue().decode("utf-8"))
    return subprocess.CompletedProcess(["testcard", *arguments], code, *texts)
