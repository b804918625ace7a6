"""A person's files, read with a bound: whatever stands behind a name, reading it comes to an end. Imports nothing of ours."""

from __future__ import annotations

import errno
import os
import select
import stat
import time
from pathlib import Path

#: A document, a configuration, a picture is no larger.
MOST_BYTES = 64 * 1024 * 1024
#: What comes through a pipe, such as `<(pass show key)`, has come after so long.
PIPE_S = 5.0


def content(path: Path, most: int = MOST_BYTES) -> bytes:
    """All bytes of a file, or of a pipe that ends. `OSError` with a sentence for what cannot be read, is too large or never ends."""
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except ValueError:  # a NUL
        raise OSError(errno.EINVAL, "no file has such a name", str(path)) from None
    try:
        kind = os.fstat(descriptor)
        if stat.S_ISDIR(kind.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        found = _all(descriptor, path, most, endless=not stat.S_ISREG(kind.st_mode))
        if not found and stat.S_ISFIFO(kind.st_mode):
            raise OSError(errno.EINVAL, "it is a pipe that nobody writes to", str(path))
    finally:
        os.close(descriptor)
    return found


def _all(descriptor: int, path: Path, most: int, *, endless: bool) -> bytes:
    until = time.monotonic() + PIPE_S
    pieces: list[bytes] = []
    size = 0
    while True:
        if endless and not select.select([descriptor], [], [], max(0.0, until - time.monotonic()))[0]:
            raise OSError(errno.EINVAL, f"it has not come to its end within {PIPE_S:g} s", str(path))
        piece = os.read(descriptor, min(most + 1 - size, 1024 * 1024))
        if not piece:
            return b"".join(pieces)
        pieces.append(piece)
        size += len(piece)
        if size > most:
            raise OSError(errno.EFBIG, f"it is larger than {most // 1024:,} KiB", str(path))
