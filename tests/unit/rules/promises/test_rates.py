"""Rules about rate limits, on exchanges made by hand."""

from __future__ import annotations

from typing import Any

import pytest

from testcard.harness.rules.scope import Scope
from testcard.specs.loader import load_provider

NANOGPT = Scope(load_provider("nanogpt"), "createImage")


@pytest.mark.parametrize("value", ["0", "30", " 7 ", "Fri, 20 Nov 2026 10:00:00 GMT"])
def test_a_429_says_when_to_come_again(recorded: Any, value: str) -> None:
    """Seconds and HTTP dates can be read, a date also where the answer has none of its own."""
    assert recorded(NANOGPT).add(429, headers=[("Retry-After", value)]).words("rate.retry-after") == {"pass"}


@pytest.mark.parametrize("headers", [[], [("Retry-After", "soon")], [("Retry-After", "-1")], [("X-RateLimit-Reset", "30")]])
def test_a_429_that_does_not(recorded: Any, headers: list[tuple[str, str]]) -> None:
    """No header, or one that no client can read, breaks it."""
    assert recorded(NANOGPT).add(200).add(429, headers=headers).words("rate.retry-after") == {"broken"}


def test_no_429_no_verdict(recorded: Any) -> None:
    """The check provokes no 429: without one there is nothing to judge."""
    assert recorded(NANOGPT).add(200).add(503).words("rate.retry-after") == {"unsupported"}
