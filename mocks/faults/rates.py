"""Lies about rate limits."""

from __future__ import annotations

from testcard.mocks.exchange import Call, Refused
from testcard.mocks.faults.register import KEYED, fault


@fault("key", "rate.retry-after", KEYED)
def _when_to_come_again_is_not_said(call: Call, refused: Refused | None) -> Refused | None:
    """Refuses requests as too many without saying when to come again."""
    return refused or Refused(429, "too many requests", code="rate_limit_exceeded")


@fault("key", "rate.retry-after/unreadable", KEYED)
def _when_to_come_again_cannot_be_read(call: Call, refused: Refused | None) -> Refused | None:
    """Refuses requests as too many and says when to come again in words that no client reads."""
    return refused or Refused(429, "too many requests", code="rate_limit_exceeded", headers=(("retry-after", "in a minute"),))
