"""What httpx does with connections that it keeps, made safe for paid requests.

A server may close a kept connection at any moment, without having said so: after an idle time, after an error. A request that crosses that
close was not read, and is nobody's fault; on a new connection the same silence is the server's. httpx tells neither apart. So the streams
below its pools are watched: `is_stale` says whether a request died on a connection that had answered before, before a byte of its own answer
came; `retire` and `fresh` have connections closed instead of used again.

The same streams are where every byte of an answer passes first: what a request's `Meter` (`harness.intake.wire_bytes`) finds too much or too
late ends it there, sync and async alike, before a parser has it.

Where a proxy that the environment names is left out: a request to this machine is not to leave it by way of one.
"""

from __future__ import annotations

import socket
import sys
import time
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from testcard.harness.foreign_names import note_lost
from testcard.harness.intake.limits import IntakeLimits
from testcard.harness.intake.wire_bytes import Meter, TooLate, TooMuch
from testcard.harness.wire.addresses import Reach, is_loopback


@contextmanager
def _command_line_of_httpx_left_out() -> Iterator[None]:
    """httpx imports its own command line where click, rich and pygments are installed, which is half of what it costs; nobody here runs it.

    Without effect where httpx has been imported before. `httpx.main` is then what it is in an installation without those.
    """
    name = "httpx._main"
    absent = "httpx" not in sys.modules and name not in sys.modules
    if absent:
        sys.modules[name] = None  # type: ignore[assignment] # Python's own way to say that a module cannot be imported
    try:
        yield
    finally:
        if absent:
            sys.modules.pop(name, None)


with _command_line_of_httpx_left_out():
    import httpcore
    import httpx

#: The version whose private names are known, pinned in pyproject.toml.
MADE_FOR = "0.28.1"
LOST = (
    "a request on a connection that the server has closed meanwhile counts as the server's failure, a refusal that comes while a large body "
    "is still being sent may be lost, and a server that has stopped reading is waited for"
)
#: Idle connections are not used again after so many seconds: many servers close theirs after five, some after two.
KEEP_IDLE_S = 2.0
#: A request goes out at once where its connection stands, unless this process was held up meanwhile.
LATE_S = 0.05
#: A large body is written in pieces, so that the time for all of it is looked at in between.
_PIECE_BYTES = 256 * 1024
_HEAD_ENDS = b"\r\n\r\n"

AroundStream = Callable[[httpcore.AsyncNetworkStream], httpcore.AsyncNetworkStream]


class _NoCookies(httpx.Cookies):
    """Keeps nothing: a request must not depend on the answers before it."""

    def extract_cookies(self, response: httpx.Response) -> None:
        """Leaves the response's cookies where they are."""


#: The cookies of a client that sends none back.
NO_COOKIES = _NoCookies()


class StaleConnection(httpcore.ReadError):
    """A connection that had answered before ended before a byte of the answer to the latest request."""


class LateRequest(httpcore.ReadError):
    """A new connection ended before a byte of an answer, but the request, or a piece of it, went out only some time after it could: this
    process was held up.

    A server that is quick to close an idle connection may have closed it by then. That proves nothing, and is no reason to send again.
    """


class Metered(float):
    """Seconds that a read or a write may take, as httpx hands them down, and with them the meter of the answer that is read."""

    meter: Meter

    def __new__(cls, seconds: float, meter: Meter) -> Metered:
        """So many seconds, and the meter."""
        made = super().__new__(cls, seconds)
        made.meter = meter
        return made


def metered(request: httpx.Request, meter: Meter, most: IntakeLimits) -> httpx.Request:
    """The request, with its answer to be read by the meter; the time to connect is that of the limits."""
    connect_s = max(min(most.connect_s, meter.until_s - time.monotonic()), 0.001)
    allowed = Metered(most.between_bytes_s, meter)
    request.extensions = {**request.extensions, "timeout": {"connect": connect_s, "read": allowed, "write": allowed, "pool": connect_s}}
    return request


def in_hand(response: httpx.Response) -> bytes | None:
    """The body of an answer that was made in this process, by a transport for tests; it is whole, and decoded. None for any other."""
    return response.content if response.is_stream_consumed else None


def _wait_s(timeout: float | None, late: type[Exception]) -> float | None:
    """How long to wait for bytes; raises `late` where there is no time left for the whole answer."""
    if not isinstance(timeout, Metered):
        return timeout
    try:
        return min(float(timeout), timeout.meter.wait_s(time.monotonic()))
    except TooLate:
        raise late("no whole answer in time") from None


def _metered(timeout: float | None, data: bytes) -> bytes:
    """What was read, counted."""
    if isinstance(timeout, Metered):
        try:
            timeout.meter.heard(data, time.monotonic())
        except TooMuch as why:
            raise httpcore.RemoteProtocolError(str(why)) from None
    return data


def _permitted(reach: Reach, host: str, resolve: Callable[[], Any]) -> str:
    """The IP address to connect to in place of a name, found out once, so that nobody can give another answer in between.

    Raises `httpcore.ConnectError` where the name leads to none that may be asked.
    """
    try:
        found = [str(one[4][0]) for one in resolve()]
    except (OSError, UnicodeError) as error:
        raise httpcore.ConnectError(str(error)) from error
    for address in found:
        if reach.permits(address):
            return address
    raise httpcore.ConnectError(f"{host} leads to {found[0] if found else 'no address'}, where nothing is asked")


class KeptConnections:
    """The connections of one httpx client. Where httpx's pools are no longer found, a note on stderr says what that costs.

    `around` is laid around each async stream, below the watch. `reach`: to which addresses connections may be made; where a proxy makes
    them, that is the proxy's to know.
    """

    def __init__(self, client: httpx.Client | httpx.AsyncClient, around: AroundStream | None = None, reach: Reach | None = None) -> None:
        self._reach = reach
        self._streams: weakref.WeakSet[_Watch] = weakref.WeakSet()
        own = (httpx.HTTPTransport, httpx.AsyncHTTPTransport)
        transports = [getattr(client, "_transport", None), *getattr(client, "_mounts", {}).values()]
        if not any(transports) or not all(self._watched(each, around) for each in transports if isinstance(each, own)):
            note_lost("httpx", MADE_FOR, LOST)

    def fresh(self) -> None:
        """No connection that is open now carries another request."""
        while True:
            try:
                open_now = list(self._streams)
            except RuntimeError:  # another thread opened one meanwhile
                continue
            break
        for stream in open_now:
            stream.retired = True

    @staticmethod
    def retire(response: httpx.Response) -> None:
        """The connection that carried this answer carries no other one: many servers close it after an error, and few say so."""
        stream = response.extensions.get("network_stream")
        if isinstance(stream, _Watch):
            stream.retired = True

    def _watched(self, transport: Any, around: AroundStream | None) -> bool:
        pool = getattr(transport, "_pool", None)
        backend = getattr(pool, "_network_backend", None)
        if pool is None or backend is None:
            return False
        if isinstance(transport, httpx.AsyncHTTPTransport):
            direct = None if isinstance(pool, httpcore.AsyncHTTPProxy | httpcore.AsyncSOCKSProxy) else self._reach
            pool._network_backend = _AsyncBackend(backend, self._streams, around, direct)
        else:
            direct = None if isinstance(pool, httpcore.HTTPProxy | httpcore.SOCKSProxy) else self._reach
            pool._network_backend = _Backend(backend, self._streams, direct)
        return True


def is_stale(error: BaseException) -> bool:
    """Whether the request behind this error died on a kept connection before a byte of its answer: it may be sent once more."""
    return _comes_of(error, StaleConnection)


def was_late(error: BaseException) -> bool:
    """Whether the request behind this error went out late on its new connection: how that ended proves nothing, see `LateRequest`."""
    return _comes_of(error, LateRequest)


def _comes_of(error: BaseException, kind: type[BaseException]) -> bool:
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, kind):
            return True
        seen = seen.__cause__ or seen.__context__
    return False


class _Watch:
    """What happened on a stream: whether it had answered before the latest request, and whether it has begun to answer that."""

    __slots__ = ("__weakref__", "_head", "answered", "began", "late", "quiet_s", "retired")

    def __init__(self) -> None:
        #: Since when a new connection has waited for its request, or for the next piece of it.
        self.quiet_s: float | None = time.monotonic()
        self.late = False
        self.answered = False
        self.began = False
        self.retired = False
        #: The head of a request that waits for what follows it; empty where one may come next, None where none may.
        self._head: bytes | None = b""

    def due(self, buffer: bytes) -> Iterator[bytes]:
        """What to send now that this is to be sent, in pieces: the head of a request goes out with what follows it, in one packet.

        httpcore always has something follow a head, if only the empty end of a request without a body. What a proxy is told beforehand is no head.
        """
        head, self._head = self._head, None
        if head == b"" and buffer.endswith(_HEAD_ENDS):
            self._head = buffer
            return
        if head and len(buffer) <= _PIECE_BYTES:
            yield head + buffer
            return
        if head:
            yield head
        for start in range(0, len(buffer), _PIECE_BYTES):
            yield buffer[start : start + _PIECE_BYTES]

    def asked(self) -> None:
        """A request, or more of it, is being sent."""
        if self.began:
            self.answered, self.began = True, False
        if self.quiet_s is not None:
            self.late = self.late or time.monotonic() - self.quiet_s > LATE_S
            self.quiet_s = None

    def sent(self) -> None:
        """A piece of the request has been sent; the next one, if there is one, is due at once."""
        if not self.answered:
            self.quiet_s = time.monotonic()

    def heard(self, data: bytes) -> bytes:
        """What was read. For an end in place of an answer `StaleConnection` on a connection that had answered before, `LateRequest` on a new
        one that had waited for its request."""
        if not data and not self.began and (self.answered or self.late):
            raise self.failed(httpcore.ReadError("the server closed a kept connection before a byte of the answer"))
        if not self.began and data:
            self.began = True
            self._head = b""
        return data

    def failed(self, error: httpcore.ReadError) -> httpcore.ReadError:
        """The error to raise for one that reading ended in."""
        if self.began or not (self.answered or self.late):
            return error
        return (
            StaleConnection(str(error)) if self.answered else LateRequest("the request went out late on a connection that had been closed")
        )


class _Stream(_Watch, httpcore.NetworkStream):
    """A stream that is watched."""

    def __init__(self, inner: httpcore.NetworkStream, streams: weakref.WeakSet[_Watch]) -> None:
        super().__init__()
        self._inner = inner
        self._streams = streams
        streams.add(self)

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        wait_s = _wait_s(timeout, httpcore.ReadTimeout)
        try:
            return _metered(timeout, self.heard(self._inner.read(max_bytes, wait_s)))
        except httpcore.ReadError as error:
            raise self.failed(error) from error

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self.asked()
        for piece in self.due(buffer):
            self._inner.write(piece, _wait_s(timeout, httpcore.WriteTimeout))
        self.sent()

    def close(self) -> None:
        self._inner.close()

    def start_tls(self, ssl_context: Any, server_hostname: str | None = None, timeout: float | None = None) -> httpcore.NetworkStream:
        return _Stream(self._inner.start_tls(ssl_context, server_hostname, timeout), self._streams)

    def get_extra_info(self, info: str) -> Any:
        # To httpcore an idle connection with something to read has been closed: it takes another one.
        return True if self.retired and info == "is_readable" else self._inner.get_extra_info(info)


class _AsyncStream(_Watch, httpcore.AsyncNetworkStream):
    """A stream that is watched."""

    def __init__(self, inner: httpcore.AsyncNetworkStream, streams: weakref.WeakSet[_Watch]) -> None:
        super().__init__()
        self._inner = inner
        self._streams = streams
        streams.add(self)

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        wait_s = _wait_s(timeout, httpcore.ReadTimeout)
        try:
            return _metered(timeout, self.heard(await self._inner.read(max_bytes, wait_s)))
        except httpcore.ReadError as error:
            raise self.failed(error) from error

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self.asked()
        for piece in self.due(buffer):
            await self._inner.write(piece, _wait_s(timeout, httpcore.WriteTimeout))
        self.sent()

    async def aclose(self) -> None:
        await self._inner.aclose()

    async def start_tls(
        self, ssl_context: Any, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.AsyncNetworkStream:
        return _AsyncStream(await self._inner.start_tls(ssl_context, server_hostname, timeout), self._streams)

    def get_extra_info(self, info: str) -> Any:
        return True if self.retired and info == "is_readable" else self._inner.get_extra_info(info)


class _Backend(httpcore.NetworkBackend):
    """Opens streams by another backend's means, and watches them."""

    def __init__(self, inner: httpcore.NetworkBackend, streams: weakref.WeakSet[_Watch], reach: Reach | None) -> None:
        self._inner = inner
        self._streams = streams
        self._reach = reach

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        if self._reach is not None and self._reach.resolves(host, port):
            host = _permitted(self._reach, host, lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        return _Stream(self._inner.connect_tcp(host, port, timeout, local_address, socket_options), self._streams)

    def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[Any] | None = None
    ) -> httpcore.NetworkStream:
        return _Stream(self._inner.connect_unix_socket(path, timeout, socket_options), self._streams)

    def sleep(self, seconds: float) -> None:
        self._inner.sleep(seconds)


class _AsyncBackend(httpcore.AsyncNetworkBackend):
    """Opens streams by another backend's means, and watches them."""

    def __init__(
        self,
        inner: httpcore.AsyncNetworkBackend,
        streams: weakref.WeakSet[_Watch],
        around: AroundStream | None,
        reach: Reach | None,
    ) -> None:
        self._inner = inner
        self._streams = streams
        self._around = around
        self._reach = reach

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        if self._reach is not None and self._reach.resolves(host, port):
            import anyio  # here: a client that is not async does without

            try:
                found: Any = await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            except OSError as error:
                raise httpcore.ConnectError(str(error)) from error
            host = _permitted(self._reach, host, lambda: found)
        return self._watched(await self._inner.connect_tcp(host, port, timeout, local_address, socket_options))

    async def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[Any] | None = None
    ) -> httpcore.AsyncNetworkStream:
        return self._watched(await self._inner.connect_unix_socket(path, timeout, socket_options))

    async def sleep(self, seconds: float) -> None:
        await self._inner.sleep(seconds)

    def _watched(self, stream: httpcore.AsyncNetworkStream) -> httpcore.AsyncNetworkStream:
        return _AsyncStream(self._around(stream) if self._around is not None else stream, self._streams)


def direct(base_url: str | None = None) -> dict[str, None]:
    """The `mounts` by which httpx talks to this machine without a proxy; the base URL's own name for it is one of them."""
    hosts = ["localhost", "127.0.0.1", "[::1]"]
    if base_url is not None and is_loopback(base_url):
        host = urlsplit(base_url).hostname or ""
        hosts.append(f"[{host}]" if ":" in host else host)
    return {f"all://{host}": None for host in dict.fromkeys(hosts)}
