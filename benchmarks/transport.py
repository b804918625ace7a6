"""Sends prepared bytes over kept-alive connections of geventhttpclient and times the answer.

The client's connection pool and parser are driven directly: the request's head is built once, the answer is read in 64 KB
blocks, and nothing is ever sent twice. Certificates are verified. Connections that idled longer than 4 s are not used
again, because servers close theirs after 5 s and a request that crosses that close would be lost.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import urlsplit

import gevent
import gevent.socket
from geventhttpclient.connectionpool import ConnectionPool, SSLConnectionPool
from geventhttpclient.response import HTTPParseError, HTTPSocketPoolResponse

from testcard.harness.wire.model import WireRequest, WireResponse

BLOCK_BYTES = 64 * 1024
KEEP_IDLE_S = 4.0
_POOL_SIZE = 100_000  # connections are as many as requests in flight: the open loop must not queue here
Failure = Literal["timeout", "connect", "tls", "broken"]
clock = time.monotonic


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds until a connection stands, until the first byte of the answer, and until its last; the latter from the sending."""

    connect_s: float = 10.0
    first_byte_s: float = 330.0
    whole_s: float = 330.0


@dataclass(slots=True)
class Reply:
    """How one HTTP request ended, in seconds of `clock`. `failure` is None when the whole answer arrived.

    `sent_s` is when the transport began (a new connection included). `blocks` holds, for a stream, when each block of the
    body arrived and how many bytes the body had then.
    """

    sent_s: float
    connected_s: float | None = None
    first_byte_s: float | None = None
    last_byte_s: float | None = None
    status: int | None = None
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    failure: Failure | None = None
    detail: str = ""
    blocks: list[tuple[float, int]] = field(default_factory=list)

    @property
    def ended_s(self) -> float:
        """When the last byte was in hand, or when the request failed."""
        return self.last_byte_s if self.last_byte_s is not None else self.sent_s

    def response(self) -> WireResponse:
        """The answer as the wire's decoder takes it."""
        return WireResponse(self.status or 0, self.headers, self.body, self.sent_s, self.first_byte_s or 0.0, self.ended_s)


class _IdleAware:
    """Mixed into a connection pool: forgets connections that idled too long, switches Nagle's algorithm off."""

    def after_connect(self, sock: Any) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def return_socket(self, sock: Any) -> None:
        self.idle_since[sock] = clock()  # type: ignore[attr-defined]
        super().return_socket(sock)  # type: ignore[misc]

    def release_socket(self, sock: Any) -> None:
        self.idle_since.pop(sock, None)  # type: ignore[attr-defined]
        super().release_socket(sock)  # type: ignore[misc]

    def _is_socket_alive(self, sock: Any) -> bool:
        fresh = clock() - self.idle_since.pop(sock, 0.0) <= KEEP_IDLE_S  # type: ignore[attr-defined]
        return fresh and bool(super()._is_socket_alive(sock))  # type: ignore[misc]


class _PlainPool(_IdleAware, ConnectionPool):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.idle_since: dict[Any, float] = {}
        super().__init__(*args, **kwargs)


class _TlsPool(_IdleAware, SSLConnectionPool):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.idle_since: dict[Any, float] = {}
        super().__init__(*args, **kwargs)


class _TimedResponse(HTTPSocketPoolResponse):
    """Notes when the first byte of the final answer arrived (an interim 100 Continue does not count); keeps the body in pieces.

    Joining the pieces once takes a fifth of the CPU of an answer of 1.4 MB less than growing one buffer.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.began_s = 0.0
        self.pieces: list[bytes] = []
        super().__init__(*args, **kwargs)

    def _on_message_begin(self) -> None:
        self.began_s = clock()
        super()._on_message_begin()

    def _on_body(self, buf: Any) -> None:
        self.pieces.append(bytes(buf))

    def whole(self) -> bytes:
        """The whole body; raises what the socket or the parser raises, with the connection given up."""
        sock: Any = self._sock  # None once the message is complete
        try:
            while not self.message_complete:
                self.feed(sock.recv(BLOCK_BYTES))
        except BaseException:
            self.release()
            raise
        return b"".join(self.pieces)


class _StreamedResponse(_TimedResponse):
    """Also notes when each block of the body arrived."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.arrivals: list[tuple[float, int]] = []
        self._length = 0
        super().__init__(*args, **kwargs)

    def _on_body(self, buf: Any) -> None:
        super()._on_body(buf)
        self._length += len(buf)
        self.arrivals.append((clock(), self._length))


@dataclass(frozen=True, slots=True)
class Prepared:
    """A request's bytes (head and body) and the pool they go through."""

    pool: Any
    method: str
    data: bytes
    stream: bool = False


class Transport:
    """Connection pools by origin. One for a load process; closes with `close`."""

    def __init__(self, timeouts: Timeouts) -> None:
        self.timeouts = timeouts
        self._pools: dict[tuple[str, str, int], Any] = {}

    def prepare(self, request: WireRequest) -> Prepared:
        """The bytes of a wire request, ready to be sent any number of times; raises ValueError for a URL that is none."""
        parts = urlsplit(request.url)
        host = parts.hostname
        if parts.scheme not in ("http", "https") or not host:
            raise ValueError(f"{request.url[:80]} is no http address")
        port = parts.port or (443 if parts.scheme == "https" else 80)
        return Prepared(self._pool(parts.scheme, host, port), request.method, head(request) + request.body, request.stream)

    def _pool(self, scheme: str, host: str, port: int) -> Any:
        key = (scheme, host, port)
        pool = self._pools.get(key)
        if pool is None:
            kind = _TlsPool if scheme == "https" else _PlainPool
            pool = kind(host, port, host, port, size=_POOL_SIZE, connection_timeout=self.timeouts.connect_s, network_timeout=None)
            self._pools[key] = pool
        return pool

    def exchange(self, prepared: Prepared, within_s: float | None = None) -> Reply:
        """Sends once and reads the whole answer. Never raises but for being killed; `within_s` shortens the whole timeout."""
        limit_s = self.timeouts.whole_s if within_s is None else max(0.001, min(within_s, self.timeouts.whole_s))
        reply = Reply(clock())
        timer = gevent.Timeout.start_new(limit_s)
        try:
            self._converse(prepared, reply)
        except gevent.Timeout as timeout:
            if timeout is not timer and not isinstance(timeout, _FirstByteTimeout):
                raise
            reply.failure, reply.detail = "timeout", "no complete answer in time"
        except _ConnectError as error:
            reply.failure, reply.detail = error.failure, error.detail
        except (HTTPParseError, OSError, ValueError) as error:
            reply.failure, reply.detail = "broken", str(error) or type(error).__name__
        finally:
            timer.close()
        if reply.last_byte_s is None:
            reply.last_byte_s = clock()
        return reply

    def _converse(self, prepared: Prepared, reply: Reply) -> None:
        pool = prepared.pool
        try:
            sock = pool.get_socket()
        except (ssl.SSLError, ssl.CertificateError) as error:
            raise _ConnectError("tls", str(error)) from None
        except (OSError, RuntimeError) as error:
            raise _ConnectError("connect", str(error) or type(error).__name__) from None
        reply.connected_s = clock()
        try:
            sock.sendall(prepared.data)
        except (BrokenPipeError, ConnectionResetError):
            pass  # the server may have answered early and closed: what it said can still be read
        except BaseException:
            pool.release_socket(sock)
            raise
        first = self.timeouts.first_byte_s
        early = _FirstByteTimeout.start_new(first) if first < self.timeouts.whole_s else None
        try:
            kind = _StreamedResponse if prepared.stream else _TimedResponse
            response = kind(sock, pool, block_size=BLOCK_BYTES, method=prepared.method)
        finally:
            if early is not None:
                early.close()
        reply.first_byte_s = response.began_s
        reply.status = response.get_code()
        body = response.whole()
        reply.last_byte_s = clock()
        reply.body = body
        reply.headers = tuple((name, value) for name, value in response.items())
        if isinstance(response, _StreamedResponse):
            reply.blocks = response.arrivals

    def close(self) -> None:
        """Closes idle connections."""
        for pool in self._pools.values():
            pool.close()


class _FirstByteTimeout(gevent.Timeout):  # type: ignore[misc]
    pass


class _ConnectError(Exception):
    def __init__(self, failure: Failure, detail: str) -> None:
        super().__init__(detail)
        self.failure: Failure = failure
        self.detail = detail


def head(request: WireRequest) -> bytes:
    """The request's head as bytes: origin form, Host, the request's own headers, and Content-Length for a body."""
    parts = urlsplit(request.url)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    given: Mapping[str, str] = {name.lower(): value for name, value in request.headers}
    lines = [f"{request.method} {target} HTTP/1.1"]
    if "host" not in given:
        lines.append(f"Host: {parts.netloc.rpartition('@')[2]}")
    lines += [f"{name}: {value}" for name, value in request.headers]
    if "user-agent" not in given:
        lines.append("User-Agent: testcard")
    if "accept" not in given:
        lines.append("Accept: */*")
    if "accept-encoding" not in given:
        lines.append("Accept-Encoding: identity")  # pictures do not compress, and unpacking would count as the server's time
    if "content-length" not in given and (request.body or request.method in ("POST", "PUT", "PATCH")):
        lines.append(f"Content-Length: {len(request.body)}")
    if any("\r" in line or "\n" in line for line in lines):
        raise ValueError("a header holds a line break")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
