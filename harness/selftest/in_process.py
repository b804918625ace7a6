"""Requests to an ASGI application of this process, as they would go over a socket: a body that never ends is a connection that broke off."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, MutableMapping
from typing import Any

import httpx

Message = MutableMapping[str, Any]


class InProcess(httpx.AsyncBaseTransport):
    """Hands each request to the application and collects its answer. An application that raises answers with 500."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """The application's answer; reading its body fails where the application left it unfinished."""
        conversation = _Conversation(await request.aread())
        await conversation.hold(self._app, request)
        if conversation.status is None:
            return httpx.Response(500, request=request)
        return httpx.Response(
            conversation.status, headers=conversation.headers, stream=_Body(conversation.parts, conversation.problem), request=request
        )


class _Conversation:
    """One request and what the application sends for it."""

    def __init__(self, content: bytes) -> None:
        self.status: int | None = None
        self.headers: list[tuple[bytes, bytes]] = []
        self.parts: list[bytes] = []
        self._content: bytes | None = content
        self._ended = asyncio.Event()

    async def hold(self, app: Any, request: httpx.Request) -> None:
        """Runs the application until it returns or raises."""
        url = request.url
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": request.method,
            "headers": [(name.lower(), value) for name, value in request.headers.raw],
            "scheme": url.scheme,
            "path": url.path,
            "raw_path": url.raw_path.partition(b"?")[0],
            "query_string": url.query,
            "server": (url.host, url.port),
            "client": ("127.0.0.1", 123),
            "root_path": "",
        }
        try:
            await app(scope, self._receive, self._send)
        except Exception:  # noqa: BLE001 (a server turns whatever its application raises into a 500 or a broken connection)
            self._ended.clear()

    @property
    def problem(self) -> str | None:
        """What a client would say of the end of the body; None for one that is whole."""
        declared = next((int(value) for name, value in self.headers if name.lower() == b"content-length"), None)
        received = sum(map(len, self.parts))
        if declared is not None and received < declared:
            return f"the connection closed after {received} of {declared} bytes"
        return None if self._ended.is_set() else "the connection closed before the last chunk"

    async def _receive(self) -> Message:
        if self._content is None:
            await self._ended.wait()
            return {"type": "http.disconnect"}
        content, self._content = self._content, None
        return {"type": "http.request", "body": content, "more_body": False}

    async def _send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = list(message.get("headers", ()))
            return
        part = message.get("body", b"")
        if part:
            self.parts.append(part)
        if not message.get("more_body", False):
            self._ended.set()


class _Body(httpx.AsyncByteStream):
    def __init__(self, parts: list[bytes], problem: str | None) -> None:
        self._parts = parts
        self._problem = problem

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for part in self._parts:
            yield part
        if self._problem is not None:
            raise httpx.RemoteProtocolError(self._problem)
