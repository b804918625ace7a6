"""When requests are due: whole schedules as offsets from a block's start, the same for the same seed."""

from __future__ import annotations

import random
from array import array
from typing import Literal

from testcard.benchmarks.plan.job import BlockJob

ArrivalKind = Literal["poisson", "constant"]


def schedule(kind: ArrivalKind, rate_rps: float, duration_s: float, seed: str) -> array[float]:
    """Offsets in seconds, ascending, in [0, duration_s).

    `constant`: every 1/rate seconds from 0. `poisson`: exponential gaps of mean 1/rate, drawn from `seed`. Deadlines are
    absolute: a late request never moves the ones after it.
    """
    if rate_rps <= 0 or duration_s <= 0:
        return array("d")
    if kind == "constant":
        count = int(rate_rps * duration_s - 1e-9) + 1
        return array("d", (index / rate_rps for index in range(count)))
    draw = random.Random(seed)
    offsets = array("d")
    now = draw.expovariate(rate_rps)
    while now < duration_s:
        offsets.append(now)
        now += draw.expovariate(rate_rps)
    return offsets


def offsets_of(kind: ArrivalKind, block: BlockJob, seed: str) -> array[float]:
    """When the requests of a turn are due, in seconds from its start, warm-up first.

    An `exact` turn has as many Poisson arrivals as its rate says, in the warm-up and after it: the process given its count
    (independent uniform times). A search compares rates that differ by less than chance makes them differ in a short turn.
    """
    rate = block.rate_rps or 0.0
    if kind == "constant" or not block.exact:
        return schedule(kind, rate, block.whole_s, seed)
    draw = random.Random(seed)
    found: list[float] = []
    for begin, length in ((0.0, block.warmup_s), (block.warmup_s, block.duration_s)):
        found += sorted(begin + draw.random() * length for _ in range(round(rate * length)))
    return array("d", found)
