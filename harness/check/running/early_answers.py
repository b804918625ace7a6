"""Reads while it writes: who refuses a large body may answer, and close the connection, before the body is sent (RFC 9112, 9.6).

httpx writes the whole body before it reads. What the server said meanwhile is lost when writing then fails, and a server that has
stopped reading is waited for in vain. Here an answer that begins while a large body is being sent ends the sending.
"""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Iterator
from contextlib import closing, suppress
from typing import Any

import anyio
import httpcore

#: Smaller bodies are on their way before anybody can answer them.
LARGE_BYTES = 64 * 1024
_PIECE_BYTES = 256 * 1024
_READ_BYTES = 64 * 1024
_POLLS = 3


class Duplex(httpcore.AsyncNetworkStream):
    """A connection on which a final answer that begins early ends the writing of a large body with `httpcore.WriteError`.

    What was read by then is what `read` returns, or raises, first. (httpcore takes a failed write for what it is and reads on.)
    """

    def __init__(self, inner: httpcore.AsyncNetworkStream) -> None:
        self._inner = inner
        self._early: deque[bytes | Exception] = deque()

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """What was read while a body was being sent, else what comes."""
        if not self._early:
            return await self._inner.read(max_bytes, timeout)
        first = self._early.popleft()
        if isinstance(first, Exception):
            raise first
        if len(first) > max_bytes:
            self._early.appendleft(first[max_bytes:])
        return first[:max_bytes]

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Sends the bytes; raises `httpcore.WriteError` where an answer to them has begun."""
        if len(buffer) <= LARGE_BYTES:
            await self._inner.write(buffer, timeout)
            return
        failed: Exception | None = None
        spare = self._spare()
        async with anyio.create_task_group() as group:
            group.start_soon(self._listen, group.cancel_scope)
            try:
                for start in range(0, len(buffer), _PIECE_BYTES):
                    for _ in range(_POLLS):
                        await anyio.sleep(0)  # what has come is read before a write can fail and take it along
                    await self._inner.write(buffer[start : start + _PIECE_BYTES], timeout)
            except (httpcore.NetworkError, httpcore.TimeoutException) as error:
                failed = error
            group.cancel_scope.cancel()
        if spare is not None:
            with closing(spare):
                if failed is not None or (self._early and isinstance(self._early[-1], Exception)):
                    self._early = deque(_left(spare)) or self._early
        if self._early and not _interim(self._early[-1]):
            raise httpcore.WriteError("the answer began before the body was sent")
        if failed is not None:
            raise failed

    def _spare(self) -> socket.socket | None:
        """The connection's socket once more: where a write fails, asyncio throws its own away with all that was not read yet."""
        own = self._inner.get_extra_info("socket")
        if own is None or self._inner.get_extra_info("ssl_object") is not None:
            return None  # what is left of a TLS connection, nobody can read any more
        try:
            return socket.fromfd(own.fileno(), own.family, own.type)
        except OSError:
            return None

    async def _listen(self, sending: anyio.CancelScope) -> None:
        try:
            while True:
                said = await self._inner.read(_READ_BYTES)
                self._early.append(said)
                if not _interim(said):
                    break
        except httpcore.NetworkError as error:
            self._early.append(error)
        sending.cancel()

    async def aclose(self) -> None:
        """Closes the connection."""
        await self._inner.aclose()

    async def start_tls(
        self, ssl_context: Any, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.AsyncNetworkStream:
        """The same over TLS."""
        return Duplex(await self._inner.start_tls(ssl_context, server_hostname, timeout))

    def get_extra_info(self, info: str) -> Any:
        """What the connection says about itself."""
        return self._inner.get_extra_info(info)


def _left(spare: socket.socket) -> Iterator[bytes]:
    """What had arrived before the connection was reset."""
    spare.setblocking(False)
    with suppress(OSError):
        while data := spare.recv(_READ_BYTES):
            yield data


def _interim(said: bytes | Exception) -> bool:
    """Whether these bytes begin an interim answer (100 Continue, 103 Early Hints), after which the body is still wanted."""
    return isinstance(said, bytes) and said[:10] in (b"HTTP/1.1 1", b"HTTP/1.0 1")
