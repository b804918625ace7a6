"""When requests are due: whole schedules as offsets from a block's start, the same for the same seed."""

from __future__ import annotations

import random
from array import array
from typing import Literal

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
