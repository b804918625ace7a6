"""The client that a check sends with, and one wire request sent with it: says what happened, and never raises for what a target does.

Reads while it writes: who refuses a large body may answer, and close the connection, before the body is sent (RFC 9112, 9.6).

httpx writes the whole body before it reads. What the server said meanwhile is lost when writing then fails, and a server that has
stopped reading is waited for in vain. Here an answer that begins while a large body is being sent ends the sending.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Literal

import anyio
import httpcore
import httpx

from testcard.harness.intake.limits import MIB, IntakeLimits, limits
from testcard.harness.intake.wire_bytes import ACCEPTED, Decoding, Meter, TooMuch, Unreadable
from testcard.harness.kept_connections import KEEP_IDLE_S, NO_COOKIES, KeptConnections, direct, in_hand, is_stale, metered, was_late
from testcard.harness.runs.folder import tool_version
from testcard.harness.wire.addresses import Reach
from testcard.harness.wire.course import Failure
from testcard.harness.wire.model import WireRequest, WireResponse

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


Clock = Callable[[], float]
#: That no answer came in time; `given-up`: in less than the full time, because others had got none.
LateFailure = Literal["timeout", "given-up"]
#: How long an answer is waited for where nobody says: longer than the longest time that a bundled document names.
TIMEOUT_S = 330.0
#: Bodies above this are read a few at a time, so that together they take no more memory than the limits allow.
_LARGE_BYTES = 4 * MIB


@dataclass(frozen=True, slots=True)
class Received:
    """What became of one request. Times are seconds on the run's clock. `status` None: no response began."""

    sent_s: float
    first_byte_s: float | None
    done_s: float
    status: int | None = None
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    complete: bool = True
    failure: Failure | None = None
    detail: str | None = None

    @property
    def ended_s(self) -> float:
        """When the last byte was there, or when it failed."""
        return self.done_s

    def response(self) -> WireResponse:
        """The answer as the wire's decoder takes it."""
        return WireResponse(self.status or 0, self.headers, self.body, self.sent_s, self.first_byte_s or self.sent_s, self.done_s)


class HttpClient(httpx.AsyncClient):
    """httpx's client, what it keeps of connections, and how much its answers may take together."""

    kept: KeptConnections
    room: Room

    @property  # type: ignore[misc]
    def cookies(self) -> httpx.Cookies:
        """Always empty: a request must not depend on the answers before it."""
        return NO_COOKIES


def http_client(
    concurrency: int, transport: httpx.AsyncBaseTransport | None = None, *, base_url: str | None = None, live: bool = False
) -> HttpClient:
    """A client that never follows redirects by itself and never retries; how long an answer is waited for is said with each request.

    It connects where the answers of `base_url` may lead (`live`: off this machine too), asks this machine without a proxy, reads while it sends a large body, and uses no connection again after an error.
    """
    client = HttpClient(
        transport=transport,
        timeout=None,  # said with each request
        limits=httpx.Limits(max_connections=concurrency + 2, max_keepalive_connections=concurrency + 2, keepalive_expiry=KEEP_IDLE_S),
        headers={"user-agent": f"testcard/{tool_version()}", "accept-encoding": ACCEPTED},
        follow_redirects=False,
        mounts=direct(base_url),
    )
    client.kept = KeptConnections(client, Duplex, Reach(base_url, live) if base_url is not None else None)
    client.room = Room(limits().held_bytes)
    return client


class Room:
    """Memory for large answers: who has a place reads on, who has none waits. Nothing is held while another wait is begun."""

    def __init__(self, size: int) -> None:
        self._free = size
        self._size = size
        self._waiting: deque[tuple[int, asyncio.Event]] = deque()

    async def take(self, size: int) -> int:
        """Waits for so many bytes, or for all there are; how many were taken. Give them back with `give`."""
        size = min(size, self._size)
        if size <= self._free and not self._waiting:
            self._free -= size
            return size
        turn = asyncio.Event()
        self._waiting.append((size, turn))
        try:
            await turn.wait()
        except asyncio.CancelledError:
            if turn.is_set():
                self.give(size)
            else:
                self._waiting.remove((size, turn))
            raise
        return size

    def give(self, size: int) -> None:
        """Gives them back."""
        self._free += size
        while self._waiting and self._waiting[0][0] <= self._free:
            wanted, turn = self._waiting.popleft()
            self._free -= wanted
            turn.set()


async def send(
    client: HttpClient, wire: WireRequest, clock: Clock, *, fresh: bool = False, timeout_s: float = TIMEOUT_S, late: LateFailure = "timeout"
) -> Received:
    """Sends the request and reads the whole answer. No redirect is followed. `fresh`: over a new connection.

    After `timeout_s` seconds it is given up, which is the failure `late`, however much of the answer has come.
    """
    if fresh:
        client.kept.fresh()
    reading = _Reading(client, wire, clock, timeout_s)
    in_time = f"no whole answer within {timeout_s:g} s"
    failure: Failure
    try:
        async with asyncio.timeout(timeout_s) as reading.deadline:
            await reading.read()
        done_s = clock()
        if done_s - reading.sent_s > timeout_s + reading.waited_s:  # the answer came while this program was held up: too late all the same
            return Received(reading.sent_s, None, done_s, complete=False, failure=late, detail=in_time)
        return reading.received(done_s)
    except TimeoutError:
        failure, detail = late, in_time
    except (TooMuch, Unreadable) as why:
        failure, detail = "broken", f"the answer {why}"
    except httpx.ConnectError as error:
        failure = "tls" if _is_tls(error) else "connect"
        detail = _told(error)
    except httpx.ConnectTimeout as error:
        failure, detail = "connect", _told(error)
    except httpx.TimeoutException as error:
        failure, detail = late, _told(error)
    except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
        failure, detail = "connect", _told(error)
    except (httpx.HTTPError, httpx.StreamError) as error:
        failure = "stale" if is_stale(error) else "given-up" if was_late(error) else "broken"
        detail = _told(error) if reading.meter.cut is None else f"the answer {reading.meter.cut}"
    finally:
        reading.close()
    return reading.received(clock(), failure, detail)


class _Reading:
    """One request being sent and its answer being read, within the limits; what there is of it at any time says `received`.

    `waited_s`: how long it waited for room of ours, which is nobody's time.
    """

    def __init__(self, client: HttpClient, wire: WireRequest, clock: Clock, timeout_s: float) -> None:
        self._client = client
        self._wire = wire
        self._clock = clock
        self._most: IntakeLimits = limits()
        self.sent_s = clock()
        self.meter = Meter(self._most, time.monotonic() + timeout_s)
        self.deadline: asyncio.Timeout | None = None
        self.waited_s = 0.0
        self._first_byte_s: float | None = None
        self._status: int | None = None
        self._headers: tuple[tuple[str, str], ...] = ()
        self._body = BytesIO()
        self._room = 0

    async def read(self) -> None:
        """Sends the request and reads the answer to its end; raises what httpx raises, `TooMuch` and `Unreadable`."""
        client, wire = self._client, self._wire
        request = client.build_request(wire.method, wire.url, headers=list(wire.headers), content=wire.body or None)
        response = await client.send(metered(request, self.meter, self._most), stream=True)
        try:
            self._first_byte_s = self._clock()
            self._status = response.status_code
            if response.status_code >= 400:
                client.kept.retire(response)
            self._headers = tuple((name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in response.headers.raw)
            if (whole := in_hand(response)) is not None:
                self._body.write(whole)
                return
            coded = response.headers.get("content-encoding", "")
            decoding = Decoding(coded, self._most)
            async for block in response.aiter_raw():
                for piece in decoding.feed(block):
                    self._body.write(piece)
                    if not self._room and self._body.tell() > _LARGE_BYTES:
                        await self._take_room(_stated_length(response.headers.get("content-length")) if not coded else None)
            decoding.end()
        finally:
            await response.aclose()

    async def _take_room(self, stated: int | None) -> None:
        """Waits until there is room for the whole body. That time is ours, and is not counted against the answer."""
        began = time.monotonic()
        size = min(self._most.body_bytes, stated) if stated is not None else self._most.body_bytes
        when = self.deadline.when() if self.deadline is not None else None
        if self.deadline is not None:
            self.deadline.reschedule(None)
        self._room = await self._client.room.take(size)
        waited_s = time.monotonic() - began
        self.waited_s += waited_s
        self.meter.until_s += waited_s
        if self.deadline is not None and when is not None:
            self.deadline.reschedule(when + waited_s)

    def received(self, done_s: float, failure: Failure | None = None, detail: str | None = None) -> Received:
        """What has come of the request."""
        body, self._body = self._body.getvalue(), BytesIO()  # which hands over its bytes and copies none
        return Received(self.sent_s, self._first_byte_s, done_s, self._status, self._headers, body, failure is None, failure, detail)

    def close(self) -> None:
        """Gives its room to others."""
        if self._room:
            self._client.room.give(self._room)
            self._room = 0


def _stated_length(text: str | None) -> int | None:
    return int(text) if text is not None and text.isascii() and text.isdigit() and len(text) < 16 else None


def _is_tls(error: BaseException) -> bool:
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, ssl.SSLError):
            return True
        seen = seen.__cause__ or seen.__context__
    return "SSL" in str(error) or "certificate" in str(error).lower()


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
