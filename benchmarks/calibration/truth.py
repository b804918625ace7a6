"""What a server of known behaviour must look like to whoever loads it. Pure: the same input gives the same truth."""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Sequence
from statistics import NormalDist


def lognormal_delays_s(median_s: float, sigma: float, count: int, seed: int) -> list[float]:
    """`count` delays with exactly the quantiles of a log-normal distribution, in an order drawn from `seed`.

    The i-th in size is the distribution's quantile at (i + ½)/count, so that no luck of drawing stands between what was
    measured and what is true. `sigma` is the standard deviation of the logarithm.
    """
    normal = NormalDist()
    delays = [median_s * math.exp(sigma * normal.inv_cdf((index + 0.5) / count)) for index in range(count)]
    random.Random(seed).shuffle(delays)
    return delays


def replay_s(
    due_s: Sequence[float], delays_s: Sequence[float], *, freeze_s: tuple[float, float] | None = None, cap: int | None = None
) -> list[float]:
    """True latencies (from when each was due, in its order) of a schedule on a server that takes `delays_s` in turn.

    What reaches the server within `freeze_s` (seconds after its first request) begins at the end of it. With `cap`, so many are
    in flight at most, and the next waits, in order, until one is done.
    """
    busy: list[float] = []
    found: list[float] = []
    zero: float | None = None
    for index, due in enumerate(due_s):
        begin = due
        if cap is not None and len(busy) >= cap:
            begin = max(due, heapq.heappop(busy))
        zero = begin if zero is None else zero
        start = begin
        if freeze_s is not None and freeze_s[0] <= begin - zero < freeze_s[1]:
            start = zero + freeze_s[1]
        done = start + delays_s[index % len(delays_s)]
        if cap is not None:
            heapq.heappush(busy, done)
        found.append(done - due)
    return found


def quantile(ascending: Sequence[float], share: float) -> float:
    """The quantile by nearest rank, as in every summary; raises IndexError for nothing."""
    return ascending[max(0, math.ceil(share * len(ascending) - 1e-9) - 1)]
