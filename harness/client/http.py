"""httpx, set up as a client of paid APIs needs it: no cookies, no redirects that carry a key, requests taken as they are.

And one answer as it is being read, within its bounds of bytes and time, sync and async alike.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, Protocol

import httpx

from testcard.harness.client.results import HttpExchange
from testcard.harness.intake.limits import IntakeLimits, limits
from testcard.harness.intake.wire_bytes import ACCEPTED, Decoding, Meter, TooMuch, Unreadable
from testcard.harness.kept_connections import KEEP_IDLE_S, NO_COOKIES, KeptConnections, is_stale, metered
from testcard.harness.redaction import redacted, redacted_bytes
from testcard.harness.wire.addresses import Reach
from testcard.harness.wire.course import Failure, Send
from testcard.harness.wire.model import Headers, WireRequest, WireResponse
from testcard.harness.wire.sse import TextPieces

DEFAULT_TIMEOUT_S = 330.0

LIMITS = httpx.Limits(max_connections=100, max_keepalive_connections=20, keepalive_expiry=KEEP_IDLE_S)


class SyncHttp(httpx.Client):
    """httpx.Client without cookies; environment proxies and TLS verification as httpx has them."""

    def __init__(self, reach: Reach | None = None, **options: Any) -> None:
        super().__init__(limits=LIMITS, **options)
        self.kept = KeptConnections(self, reach=reach)

    @property  # type: ignore[misc]
    def cookies(self) -> httpx.Cookies:
        """Always empty."""
        return NO_COOKIES


class AsyncHttp(httpx.AsyncClient):
    """httpx.AsyncClient without cookies."""

    def __init__(self, reach: Reach | None = None, **options: Any) -> None:
        super().__init__(limits=LIMITS, **options)
        self.kept = KeptConnections(self, reach=reach)

    @property  # type: ignore[misc]
    def cookies(self) -> httpx.Cookies:
        """Always empty."""
        return NO_COOKIES


def default_headers(http: httpx.Client | httpx.AsyncClient) -> Headers:
    """What httpx would add to a request (user agent, accepted encodings, keep-alive), without what the wire always sets."""
    return tuple((name, ACCEPTED if name == "accept-encoding" else value) for name, value in http.headers.items() if name != "accept")


#: What httpx says of a request by itself, where nobody else has.
_FRAMING = frozenset({"host", "content-length", "transfer-encoding"})


def http_request(found: Exchanged, defaults: Headers) -> httpx.Request:
    """The exchange's request for httpx, with httpx's own default headers behind it; its answer is read by the exchange's meter."""
    wire, url = found.request, _parsed(found.request.url)
    headers = [*wire.headers, *defaults]
    if wire.body and not any(name.lower() in _FRAMING for name, _ in wire.headers):
        # As httpx would say it; that it has to find out takes twice as long as all else about the request.
        whole = [("Host", url.netloc.decode("ascii")), *headers, ("Content-Length", str(len(wire.body)))]
        request = httpx.Request(wire.method, url, headers=whole, stream=httpx.ByteStream(wire.body))
        request.read()
    else:
        request = httpx.Request(wire.method, url, headers=headers, content=wire.body or None)
    return metered(request, found.meter, found.most)


@lru_cache(maxsize=1)
def tls() -> ssl.SSLContext:
    """httpx's own TLS settings, read once: reading the certificates takes longer than most requests to this machine."""
    return httpx.create_ssl_context()


@lru_cache(maxsize=64)
def _parsed(url: str) -> httpx.URL:
    return httpx.URL(url)


class Pieces(Protocol):
    """Reads a stream as blocks of its body arrive: `harness.wire.sse.TextPieces`, `harness.client.results.PreviewPieces`."""

    def feed(self, block: bytes) -> Sequence[Any]:
        """What this block completes."""

    @property
    def ended(self) -> bool:
        """Whether the stream has named its end."""


@dataclass(slots=True)
class Exchanged:
    """One request and what came of it, while it goes on and afterwards; seconds of the monotonic clock.

    `detail` says in words why a `failure` left no whole answer; `first_text_s`: when the first piece of streamed text came.
    """

    request: WireRequest
    timeout_s: float
    most: IntakeLimits
    sent_s: float
    meter: Meter
    status: int | None = None
    headers: Headers = ()
    first_byte_s: float = 0.0
    ended_s: float = 0.0
    failure: Failure | None = None
    detail: str = ""
    cause: Exception | None = None
    first_text_s: float | None = None
    listener: Callable[[], Pieces] | None = None
    _text: Pieces | None = None
    _decoding: Decoding | None = None
    _read: bytearray = field(default_factory=bytearray)
    _body: bytes | None = None

    def begin(self, status: int, headers: Headers) -> None:
        """The head of the answer is there."""
        self.status, self.headers = status, headers
        self.first_byte_s = self.ended_s = time.monotonic()
        if self.request.stream and self.status < 300 and self.is_stream:
            self._text = (self.listener or TextPieces)()
        try:
            self._decoding = Decoding(",".join(value for name, value in headers if name.lower() == "content-encoding"), self.most)
        except Unreadable as why:
            self.failure, self.detail = "broken", str(why)

    def add(self, block: bytes) -> Sequence[Any]:
        """More of the body is there, as it was sent; the pieces of streamed text that it completes. Whether to go on says `wants_more`."""
        self.ended_s = time.monotonic()
        assert self._decoding is not None, "`wants_more` said so"
        pieces: list[Any] = []
        try:
            for piece in self._decoding.feed(block):
                self._read += piece
                if self._text is not None:
                    pieces += self._text.feed(piece)
        except (TooMuch, Unreadable) as why:
            self.failure, self.detail = "broken", str(why)
        if self.ended_s - self.sent_s > self.timeout_s:
            # Many small pieces that have come already take time too.
            self.failure = "timeout"
        if pieces and self.first_text_s is None:
            self.first_text_s = self.ended_s
        return pieces

    @property
    def wants_more(self) -> bool:
        """Whether the rest of the body is worth reading: within the bounds, and not past the end that a stream names."""
        return self.failure is None and not (self._text is not None and self._text.ended)

    def end(self) -> None:
        """The body has come to its end, or is not read any further."""
        if self.wants_more and self._decoding is not None:
            try:
                self._decoding.end()
            except Unreadable as why:
                self.failure, self.detail = "broken", str(why)

    def fail(self, error: httpx.HTTPError | httpx.InvalidURL) -> None:
        """The transport gave up."""
        self.ended_s, self.cause = time.monotonic(), error
        if self.meter.cut is not None:
            self.failure, self.detail = "broken", self.meter.cut
            return
        said = str(error) or type(error).__name__
        if isinstance(error, httpx.ConnectTimeout | httpx.ConnectError):
            self.failure, self.detail = ("tls" if "SSL" in said or "certificate" in said.lower() else "connect"), said
        elif isinstance(error, httpx.TimeoutException):
            self.failure = "timeout"
        elif isinstance(error, httpx.InvalidURL | httpx.UnsupportedProtocol):
            self.failure, self.detail = "connect", said
        elif is_stale(error):
            self.failure, self.detail = "stale", said
        else:
            self.failure, self.detail = "broken", f"was cut off: {said}" if self.status is not None else said

    @property
    def is_stream(self) -> bool:
        """Whether the answer says that it is a stream of events."""
        return self.media_type.lower().startswith("text/event-stream")

    @property
    def media_type(self) -> str:
        """What the answer says it is; empty where it does not."""
        return next((value for name, value in self.headers if name.lower() == "content-type"), "")

    @property
    def body(self) -> bytes:
        """What was read of the body."""
        if self._body is None:
            self._body, self._read = bytes(self._read), bytearray()
        return self._body

    def response(self) -> WireResponse:
        """The answer as the wire's decoder takes it."""
        return WireResponse(self.status or 0, self.headers, self.body, self.sent_s, self.first_byte_s, self.ended_s)


def exchange(send: Send, *, timeout_s: float, max_bytes: int | None = None, listener: Callable[[], Pieces] | None = None) -> Exchanged:
    """An exchange that is about to begin; `listener` makes what reads its stream, by default one of text.

    `max_bytes` of a body are read; None: as many as the limits say.
    """
    now, most = time.monotonic(), limits()
    if max_bytes is not None:
        most = replace(most, body_bytes=max_bytes)
    return Exchanged(send.request, timeout_s, most, now, Meter(most, now + timeout_s), listener=listener)


def shown(found: Exchanged) -> HttpExchange:
    """The exchange as a caller may keep and print it."""
    request = found.request
    return HttpExchange(
        request.method,
        redacted(request.url),
        tuple((name, redacted(value)) for name, value in request.headers),
        redacted_bytes(request.body),
        found.status,
        tuple((name, redacted(value)) for name, value in found.headers),
        redacted_bytes(found.body),
        found.ended_s - found.sent_s,
        found.failure,
    )
