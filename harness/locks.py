"""A file that one process holds for itself."""

from __future__ import annotations

from contextlib import suppress
from typing import IO, Any


def lock(file: IO[Any]) -> None:
    """Takes the file for this process until it is closed; `OSError` where another one has it."""
    with suppress(ImportError):  # a system without it: two processes in one folder are then the user's affair
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
