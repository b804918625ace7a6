"""How one HTTP request ended: what came back, and when."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from testcard.harness.wire.model import WireResponse

Failure = Literal["timeout", "connect", "tls", "broken"]


@dataclass(slots=True)
class Reply:
    """The end of one HTTP request, in seconds of the load clock. `failure` is None when the whole answer arrived.

    `sent_s` is when the transport began (a new connection included). `blocks` holds, for an answer that came through the
    parser, when each block of the body arrived and how many bytes the body had then. `head` is the answer's header lines as
    they stood, `fields` the same taken apart: one of them is there.
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
