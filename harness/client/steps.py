"""What the client's flow asks its driver to do, and what it is told of it."""

from __future__ import annotations

from dataclasses import dataclass

from testcard.harness.wire.model import Headers, WireRequest


@dataclass(frozen=True, slots=True)
class Open:
    """Step: send the request, receive a `Head`. A driver follows no redirect."""

    request: WireRequest


@dataclass(frozen=True, slots=True)
class Head:
    """What came of `Open`: status, headers, and when (seconds on the driver's monotonic clock)."""

    status: int
    headers: Headers
    sent_s: float
    first_byte_s: float


@dataclass(frozen=True, slots=True)
class Read:
    """Step: receive the next `Block` of the open answer's body."""


@dataclass(frozen=True, slots=True)
class Block:
    """What came of `Read`: bytes, or none at the end of the body."""

    data: bytes
    at_s: float


@dataclass(frozen=True, slots=True)
class Wait:
    """Step: let this many seconds pass."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Say:
    """Step: hand a piece of streamed text to the caller."""

    piece: str


Step = Open | Read | Wait | Say
