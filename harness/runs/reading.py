"""Files of a run folder, opened as what they are: somebody's files, cut by a kill or changed by hand. Every error names the file and the line.

A folder can come from a stranger: only regular files are opened (a named pipe would be waited for without end, a device read
without end), none is read beyond `MOST_BYTES`, and nothing that stands in one raises anything but `UsageError`.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import msgspec

from testcard.harness.errors import UsageError

#: A file that is read at once, and a line of one that is read line by line, are no larger.
MOST_BYTES = 512 * 1024 * 1024
CHANGED = "the run was written by another version, changed by hand, or the disk is failing"
_KINDS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFDIR: "a folder",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}
_BYTE = re.compile(r" ?\(byte (\d+)\)")
_Record = TypeVar("_Record")


def open_regular(path: Path) -> BinaryIO:
    """The file, open for reading bytes. `UsageError` where it cannot be opened, or is no regular file; waits for nobody."""
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}", hint=CHANGED) from None
    kind = stat.S_IFMT(os.fstat(descriptor).st_mode)
    if kind != stat.S_IFREG:
        os.close(descriptor)
        raise UsageError(f"{path} is {_KINDS.get(kind, 'something else')}, not a file", hint=CHANGED)
    return os.fdopen(descriptor, "rb")


def require_regular(path: Path) -> None:
    """`UsageError` where `open_regular` would raise it: for libraries that open files by their name."""
    open_regular(path).close()


def content(path: Path) -> bytes:
    """All of a file. `UsageError` where it cannot be read or is larger than `MOST_BYTES`."""
    with open_regular(path) as file:
        try:
            data = file.read(MOST_BYTES + 1)
        except OSError as error:
            raise UsageError(f"{path} cannot be read: {error.strerror}", hint=CHANGED) from None
    if len(data) > MOST_BYTES:
        raise UsageError(f"{path} is larger than {MOST_BYTES // 1024**2} MiB", hint=CHANGED)
    return data


def lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """The lines of a file with their numbers, each with its line end; only the last one can lack it."""
    with open_regular(path) as file:
        number = 0
        while True:
            number += 1
            try:
                line = file.readline(MOST_BYTES)
            except OSError as error:
                raise UsageError(f"{path}:{number} cannot be read: {error.strerror}", hint=CHANGED) from None
            if not line:
                return
            if len(line) == MOST_BYTES and not line.endswith(b"\n"):
                raise UsageError(f"{path}:{number}: the line is longer than {MOST_BYTES // 1024**2} MiB", hint=CHANGED)
            yield number, line


def decoded(data: bytes, decoder: msgspec.json.Decoder[_Record], path: Path, first_line: int = 1) -> _Record:
    """The record in these bytes, which begin at a line of a file. `UsageError` naming the file and the line for anything else."""
    try:
        return decoder.decode(data)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        line, problem = _placed(data, error)
        raise UsageError(f"{path}:{first_line + line}: {problem}", hint=CHANGED) from None


def record(path: Path, kind: Any) -> Any:
    """The one record that a file holds. `UsageError` naming the file and the line where it holds none."""
    return decoded(content(path), msgspec.json.Decoder(kind), path)


def _placed(data: bytes, error: Exception) -> tuple[int, str]:
    """How many lines lie before what is wrong, and what that is."""
    if isinstance(error, RecursionError):
        return 0, "it is nested too deeply"
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as found:
        return data.count(b"\n", 0, found.start), f"byte 0x{data[found.start]:02x} is no UTF-8"
    text = str(error)
    if (place := _BYTE.search(text)) is not None:
        return data.count(b"\n", 0, int(place.group(1))), _BYTE.sub("", text)
    return (data.rstrip().count(b"\n"), text) if "truncated" in text else (0, text)
