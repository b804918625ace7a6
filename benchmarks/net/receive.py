"""Reads one HTTP/1.1 answer from a socket, and what a reply is: how one request ended, what came back, and when.

The common answer (one whole, well-formed head with a Content-Length) is read straight into memory of its size; everything
else (chunks, interim answers, bodies that end with the connection, heads that come in pieces, streams) goes through
geventhttpclient's parser, byte for byte. What the short way does not know for certain it hands to the parser.
"""

from __future__ import annotations

import math
import re
import time
import weakref
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import gevent
import pyarrow as pa
from geventhttpclient.response import HTTPParseError, HTTPResponse

from testcard.benchmarks.net.connections import Connection
from testcard.harness.intake.limits import MIB, limits
from testcard.harness.intake.wire_bytes import Meter, TooMuch
from testcard.harness.wire.model import WireResponse

#: `stale`: the connection had been used before, and died before a byte of the answer.
Failure = Literal["timeout", "connect", "tls", "broken", "stale"]


@dataclass(slots=True, weakref_slot=True)
class Reply:
    """The end of one HTTP request, in seconds of the load clock. `failure` is None when the whole answer arrived.

    `sent_s` is when the transport began (a new connection included). `blocks` holds, for an answer that came through the
    parser, when each block of the body arrived and how many bytes the body had then. `head` is the answer's header lines as
    they stood, `fields` the same taken apart: one of them is there. `no_room`: it failed for want of memory of ours.
    """

    sent_s: float
    connected_s: float | None = None
    first_byte_s: float | None = None
    last_byte_s: float | None = None
    status: int | None = None
    fields: tuple[tuple[str, str], ...] = ()
    body: bytes | memoryview = b""
    failure: Failure | None = None
    detail: str = ""
    blocks: Sequence[tuple[float, int]] = ()
    head: bytes = b""
    no_room: bool = False

    @property
    def ended_s(self) -> float:
        """When the last byte was in hand, or when the request failed."""
        return self.last_byte_s if self.last_byte_s is not None else self.sent_s

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        """The answer's header fields in order."""
        if not self.fields and self.head:
            lines = self.head.decode("latin-1").split("\r\n")
            self.fields = tuple((name, value.strip(" \t")) for name, _, value in (line.partition(":") for line in lines if line))
        return self.fields

    def content(self) -> bytes:
        """The body as bytes of its own; lets go of the memory it was read into."""
        if not isinstance(self.body, bytes):
            self.body = bytes(self.body)
        return self.body

    def response(self) -> WireResponse:
        """The answer as the wire's decoder takes it."""
        return WireResponse(self.status or 0, self.headers, self.content(), self.sent_s, self.first_byte_s or 0.0, self.ended_s)


SCRATCH_BYTES = 16 * 1024
#: Bodies above this take their place in memory before they are read.
_LARGE_BYTES = 4 * MIB
#: How often one that waits for its place looks.
_LOOK_S = 0.02
clock = time.monotonic
_HEAD = re.compile(rb"HTTP/1\.1 ([2-5][0-9]{2})(?: [^\r\n\0]*)?\r\n((?:[!#$%&'*+.^_`|~0-9A-Za-z-]+:[^\r\n\0]*\r\n)*)\r\n")
_FRAMING = re.compile(rb"(?:^|\n)(content-length|transfer-encoding|connection|upgrade):[ \t]*([^\r]*)", re.IGNORECASE)
_NO_BODY = (204, 304)


class NothingCame(HTTPParseError):
    """The connection ended before a byte of the answer."""


class BodyMemory:
    """How much memory the large answers of this process take together, under way or waiting to be judged.

    A reply's place is free again when nobody holds the reply any more, whichever thread let go of it last.
    """

    def __init__(self, size: int) -> None:
        self._size = self._free = size
        self._given: deque[int] = deque()  # what a thread may append to while another one looks

    def take(self, reply: Reply, size: int) -> None:
        """Waits for a place of so many bytes for the reply. While it waits, `reply.no_room` says so."""
        size = min(size, self._size)
        while not self._has(size):
            reply.no_room = True
            gevent.sleep(_LOOK_S)
        reply.no_room = False
        self._free -= size
        weakref.finalize(reply, self._given.append, size)

    def _has(self, size: int) -> bool:
        while self._given:
            self._free += self._given.popleft()
        return size <= self._free


class Receiver:
    """Reads answers one at a time or many at once: between two waits nothing else touches its scratch memory."""

    def __init__(self) -> None:
        self._scratch = bytearray(SCRATCH_BYTES)
        self._view = memoryview(self._scratch)
        self._most = limits()
        self._room = BodyMemory(self._most.held_bytes)

    def read(self, connection: Connection, method: str, reply: Reply, *, stream: bool = False, on_first: Any = None) -> bool:
        """Fills in the reply; whether the connection may be used again. `on_first.close` is called once something has arrived.

        Raises OSError and HTTPParseError (`NothingCame` where not a byte came) for what is no whole answer.
        """
        try:
            count = connection.receive(self._view)
        except OSError as error:
            raise NothingCame(str(error)) from error
        now = clock()
        if on_first is not None:
            on_first.close()
        if not count:
            raise NothingCame("the connection was closed before an answer")
        if not stream and method != "HEAD":
            found = _HEAD.match(self._scratch, 0, count)
            if found is not None and self._fits(found) and (framing := _plain_framing(found[2])) is not None:
                status, (length, keep) = int(found[1]), framing
                begin = found.end()
                if status not in _NO_BODY and count - begin <= length:
                    reply.status, reply.head, reply.first_byte_s = status, found[2], now
                    reply.body = self._body(connection, begin, count, length, reply)
                    return keep
        return self._parsed(connection, method, reply, bytes(self._view[:count]), now)

    def _fits(self, head: re.Match[bytes]) -> bool:
        """Whether a head is within its limits; of another one the parser's meter says what is too much."""
        most = self._most
        return head[2].count(b"\n") <= most.header_count and head.end() <= most.header_bytes and head.start(2) - 2 <= most.status_line_bytes

    def _body(self, connection: Connection, begin: int, count: int, length: int, reply: Reply) -> bytes | memoryview:
        got = count - begin
        if length > self._most.body_bytes:
            raise HTTPParseError(f"the answer states {length:,} bytes; more than {self._most.body_bytes:,} are not read")
        if got == length:
            return bytes(self._view[begin:count])
        begun = bytes(self._view[begin:count])  # others use the scratch memory while this one waits
        if length > _LARGE_BYTES:
            self._room.take(reply, length)
        connection.gather(length - got)
        # From Arrow's pool: its memory is neither zeroed nor given back to the system between answers. Taken only now, so that
        # of many answers under way those that are still to come have none, and the few blocks in use stay in the cache.
        body = memoryview(pa.allocate_buffer(length)).cast("B")
        body[:got] = begun
        while got < length:
            more = connection.receive(body[got:])
            if not more:
                raise HTTPParseError(f"the connection was closed after {got} of {length} bytes")
            got += more
        return body

    def _parsed(self, connection: Connection, method: str, reply: Reply, data: bytes, now: float) -> bool:
        message = _Message(method, now)
        most = self._most
        meter, placed = Meter(most, math.inf), False
        try:
            while True:
                meter.heard(data, message.now_s)
                message.feed(data)
                if len(message.read) > most.body_bytes:
                    raise TooMuch(f"is longer than {most.body_bytes:,} bytes; the rest was not read")
                if message.headers_complete and message.get_code() >= 200:
                    reply.status, reply.first_byte_s = message.get_code(), message.began_s
                    if message.message_complete:
                        break
                if not data:
                    raise HTTPParseError("the connection was closed in the middle of an answer")
                if not placed and len(message.read) > _LARGE_BYTES:
                    self._room.take(reply, most.body_bytes)
                    placed = True
                count = connection.receive(self._view)
                message.now_s = clock()
                data = bytes(self._view[:count])
        except TooMuch as why:
            raise HTTPParseError(f"the answer {why}") from None
        reply.fields = tuple((name, value) for name, value in message.items())
        reply.body = bytes(message.read)
        reply.blocks = message.arrivals
        return not message.should_close()


def _plain_framing(head: bytes) -> tuple[int, bool] | None:
    """Length of the body and whether the connection stays, by the head's fields; None where that takes a parser to say."""
    length: int | None = None
    keep = True
    for name, value in _FRAMING.findall(head):
        match name.lower():
            case b"content-length" if length is None and value.isdigit() and len(value) < 16:
                length = int(value)
            case b"connection" if value.lower() in (b"keep-alive", b"close"):
                keep = keep and value.lower() != b"close"
            case _:
                return None
    return None if length is None else (length, keep)


class _Message(HTTPResponse):
    """The parser, keeping the body and the moment at which each block of it arrived."""

    def __init__(self, method: str, now_s: float) -> None:
        self.now_s = now_s
        self.began_s = now_s
        self.read = bytearray()
        self.arrivals: list[tuple[float, int]] = []
        super().__init__(method)

    def _on_message_begin(self) -> None:
        self.began_s = self.now_s
        super()._on_message_begin()

    def _on_body(self, buf: Any) -> None:
        self.read += buf
        arrived = (self.now_s, len(self.read))
        # Chunks that came together are one block: a body in chunks of a byte would take a hundred times its length.
        if self.arrivals and self.arrivals[-1][0] == self.now_s:
            self.arrivals[-1] = arrived
        else:
            self.arrivals.append(arrived)
