"""How answers look on the wire: order and spelling of headers, chunks, compression, the spelling of JSON."""

from __future__ import annotations

import gzip
from collections.abc import MutableMapping
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

from testcard.mocks.files import PREFIX
from testcard.mocks.variants.addresses import own_query

#: pieces that a body is cut into, in bytes; primes, so that cuts fall anywhere
_PIECES = (1, 7, 4099, 65_521)
#: headers that a proxy on the way may add
_ADDED = [
    (b"Via", b"1.1 edge"),
    (b"X-Request-Id", b"5d1c7f2a"),
    (b"Set-Cookie", b"lane=1; Path=/; HttpOnly"),
    (b"Set-Cookie", b"region=eu; Path=/"),
    (b"Vary", b"Accept-Encoding"),
    (b"Access-Control-Allow-Headers", b"Authorization, X-API-Key, Content-Type"),
]


class Chunked:
    """Sends every body in pieces and without a length, every second one compressed where the client takes that, behind other headers."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._count = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request."""
        if scope["type"] != "http" or (scope["path"].startswith("/_testcard/") and not scope["path"].startswith(PREFIX)):
            await self._app(scope, receive, send)
            return
        self._count += 1
        if scope["path"].startswith(PREFIX):
            scope = {**scope, "query_string": own_query(scope["query_string"])}
        accepted = next((value for name, value in scope["headers"] if name == b"accept-encoding"), b"")
        await self._app(
            scope, receive, _Pieces(send, compress=b"gzip" in accepted and self._count % 2 == 0, head=scope["method"] == "HEAD")
        )


class _Pieces:
    def __init__(self, send: Send, *, compress: bool, head: bool) -> None:
        self._send = send
        self._compress = compress
        self._head = head
        self._start: MutableMapping[str, Any] = {}

    async def __call__(self, message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self._start = message
            if self._streams or self._head:
                self._compress = False
            headers = [(name.title(), value) for name, value in message["headers"] if name.lower() != b"content-length"]
            coded = [(b"Content-Encoding", b"gzip")] if self._compress else []
            await self._send({**message, "headers": [*_ADDED, *coded, *reversed(headers)]})
            return
        body: bytes = message.get("body", b"")
        if self._compress and not message.get("more_body"):
            body = gzip.compress(body, 1)
        await self._in_pieces(body, more=message.get("more_body", False))

    @property
    def _streams(self) -> bool:
        return any(name.lower() == b"content-type" and value.startswith(b"text/event-stream") for name, value in self._start["headers"])

    async def _in_pieces(self, body: bytes, *, more: bool) -> None:
        position = 0
        for size in _PIECES:
            if position + size < len(body):
                await self._send({"type": "http.response.body", "body": body[position : position + size], "more_body": True})
                position += size
        await self._send({"type": "http.response.body", "body": body[position:], "more_body": more})
