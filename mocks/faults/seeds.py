"""Lies about seeds."""

from __future__ import annotations

import secrets
from dataclasses import replace
from typing import Any

from testcard.mocks.exchange import Call, Order
from testcard.mocks.faults.fault import lie
from testcard.mocks.faults.places import NIM_IMAGE, SEEDED


@lie("order", "seed.repeatable", SEEDED)
def _seed_ignored(call: Call, order: Order) -> Order:
    """Draws another picture each time, whatever the seed, and still says the seed it was given."""
    return replace(order, salt=order.salt + secrets.token_bytes(8))


@lie("order", "seed.varies", SEEDED, also=("seed.echoed",))
def _one_seed_for_all(call: Call, order: Order) -> Order:
    """Draws from the seed 1 whatever the seed, and says so where the answer says a seed."""
    return order if order.seed is None else replace(order, seed=1)


@lie("body", "seed.echoed", NIM_IMAGE)
def _another_seed_said(call: Call, body: dict[str, Any]) -> dict[str, Any]:
    """Draws from the seed it was given and says that it was the next one."""
    return {**body, "artifacts": [{**item, "seed": item["seed"] + 1} for item in body["artifacts"]]}
