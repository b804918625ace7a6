"""Lies about seeds."""

from __future__ import annotations

import secrets
from dataclasses import replace

from testcard.mocks.exchange import Call, Order
from testcard.mocks.faults.fault import lie
from testcard.mocks.faults.places import SEEDED


@lie("order", "seed.repeatable", SEEDED)
def _seed_ignored(call: Call, order: Order) -> Order:
    """Draws another picture each time, whatever the seed, and still says the seed it was given."""
    return replace(order, salt=order.salt + secrets.token_bytes(8))
