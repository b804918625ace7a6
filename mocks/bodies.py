"""Reads request bodies: bounded, JSON strictly, forms through Starlette's parser."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from typing import Any

import msgspec
from starlette.datastructures import Headers as StarletteHeaders
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from testcard.mocks.exchange import Refused, Upload

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
#: a body over the limit is read and thrown away up to this size, so that the client can read the answer
_DRAIN_BYTES = 64_000_000


async def read(receive: Receive, limit: int, *, drain: bool = True) -> bytes:
    """The whole body; `Refused` with 413 when it is larger than `limit` bytes, without reading on unless `drain`."""
    message = await receive()
    body: bytes = message.get("body", b"")
    if message.get("more_body"):
        parts, size = [body], len(body)
        while message.get("more_body") and size <= (_DRAIN_BYTES if drain else limit):
            message = await receive()
            part = message.get("body", b"")
            size += len(part)
            if size <= limit:
                parts.append(part)
        body = b"".join(parts) if size <= limit else b""
        if size > limit:
            raise _too_large(limit)
    if len(body) > limit:
        raise _too_large(limit)
    return body


def _too_large(limit: int) -> Refused:
    return Refused(413, f"the body is larger than {limit} bytes", code="payload_too_large")


def read_json(body: bytes) -> Any:
    """The value of a JSON body; `Refused` with 400 when it is none."""
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError):
        raise Refused(400, "the body is not valid JSON", code="invalid_json") from None


async def read_form(body: bytes, content_type: str) -> list[tuple[str, str | Upload]]:
    """The parts of a multipart body in their order; `Refused` with 400 when it is broken."""

    async def stream() -> AsyncIterator[bytes]:
        yield body
        yield b""

    parser = MultiPartParser(StarletteHeaders({"content-type": content_type}), stream(), max_part_size=4_000_000)  # type: ignore[arg-type]
    try:
        form = await parser.parse()
    except (MultiPartException, KeyError, UnicodeDecodeError, LookupError):
        raise Refused(400, "the body is not valid multipart/form-data", code="invalid_form") from None
    if not body.rstrip().endswith(b"--"):
        raise Refused(400, "the form ends before its last boundary", code="invalid_form")
    parts: list[tuple[str, str | Upload]] = []
    for name, value in form.multi_items():
        if isinstance(value, UploadFile):
            parts.append((name, Upload(await value.read(), value.content_type, value.filename)))
            await value.close()
        else:
            parts.append((name, value))
    return parts
