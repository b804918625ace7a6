"""How the programs of this folder say what a client did with a mock: one JSON line a case.

They run in an environment of the client's own, where nothing of Testcard is installed, so this imports the standard library only.
"""

from __future__ import annotations

import asyncio
import base64
import json
import struct
import sys
import zlib
from collections.abc import Awaitable, Callable
from typing import Any


def urls() -> dict[str, str]:
    """The base URLs of the mocks by provider, from the first argument."""
    return dict(json.loads(sys.argv[1]))


def case(provider: str, operation: str, what: Callable[[], Any]) -> None:
    """Runs one case and prints how it went: it works unless it raises."""
    line = {"provider": provider, "operation": operation, "works": True, "detail": ""}
    try:
        found = what()
        if isinstance(found, Awaitable):
            asyncio.run(_awaited(found))
    except BaseException as error:  # noqa: BLE001 - whatever a client raises is the result
        line |= {"works": False, "detail": f"{type(error).__name__}: {error}"[:400]}
    print(json.dumps(line), flush=True)


async def _awaited(what: Awaitable[Any]) -> None:
    await what


#: what the mocks PROVIDER:STATUS of `urls` refuse everything with
STATUSES = (400, 401, 402, 403, 404, 413, 422, 429)


def errors(provider: str, operation: str, what: Callable[[str], Any]) -> None:
    """For each status the error that `what` raises of the mock that refuses with it, whose name in `urls` it is given.

    Printed are its type, whether that is one of the client's own, the status that it carries, and what it says.
    """
    for status in STATUSES:
        line: dict[str, Any] = {"provider": provider, "operation": operation, "status": status, "raised": None, "typed": False}
        line |= {"carried": None, "detail": "no error"}
        try:
            what(f"{provider}:{status}")
        except Exception as error:  # noqa: BLE001 - whatever a client raises is the result
            kind = type(error)
            line |= {"raised": getattr(error, "shown", kind.__name__), "typed": kind.__module__ != "builtins"}
            line |= {"carried": _carried(error), "detail": str(error)[:2000]}
        print(json.dumps(line), flush=True)


def _carried(error: BaseException) -> int | None:
    """The status that an error carries as a number, itself or in its response."""
    for owner in (error, getattr(error, "response", None)):
        for name in ("status_code", "status", "code"):
            value = getattr(owner, name, None)
            if isinstance(value, int):
                return int(value)
    return next((one for one in error.args if isinstance(one, int)), None)


def refused(kind: type[BaseException], what: Callable[[], Any]) -> Any:
    """The error of this very kind that `what` raises; anything else is a failure of the case."""
    try:
        what()
    except kind as error:
        return error
    raise AssertionError(f"no {kind.__name__}")


def check(right: bool, what: str) -> None:
    """A failure of the case, in words, unless this is right."""
    if not right:
        raise AssertionError(what)


def is_picture(data: bytes, width: int | None = None, height: int | None = None) -> None:
    """A failure of the case unless these bytes are a PNG (of this size), a JPEG or a WebP."""
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        found = struct.unpack(">II", data[16:24])
        check(width is None or found == (width, height), f"a picture of {found}")
    else:
        check(data[:2] == b"\xff\xd8" or data[8:12] == b"WEBP", "no picture")


def png(width: int = 64, height: int = 64, *, clear: bool = False) -> bytes:
    """A small picture: opaque grey, or transparent throughout."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    pixel = bytes((0, 0, 0, 0)) if clear else bytes((120, 130, 140, 255))
    rows = (b"\x00" + pixel * width) * height
    head = struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def data_url(data: bytes) -> str:
    """The bytes of a PNG as a data URL."""
    return "data:image/png;base64," + base64.b64encode(data).decode()
