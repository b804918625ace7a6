"""Is a percentile below its limit? Judged by the share of requests that took longer, with an interval that allows for correlation.

`p95 < 8 s` says that at most 5 % take longer. That share is a plain count with an interval of its own (Clopper and Pearson, of as
many independent requests as these are worth), which says more than an interval of the percentile does: a server with 44 % of its
requests over the limit breaks the objective for sure, wherever exactly its p95 lies. It breaks where the share is surely above
100 − p %, holds where it is surely below, else it is undecided, with the number of requests that would decide it.

A queue at a high load shows few long requests until its next busy spell, so a pass must not rest on what was never seen:

- the requests over the limit are worth no more than those over the series' 75th percentile are (`correlation`);
- or the tail beyond that percentile, taken for exponential as a queue's is, surely has less than that share over the limit, its
  scale enlarged where the samples are correlated, `1 + (1 + 200/n)(1 − 1/effect)` times;
- or every request lies far below, of as many as the percentile takes: the longest times `FAR`·√(72/n) (at least three times) is
  within the limit.

By simulation (docs/decisions/0029-percentiles-are-always-shown.md): at the limit 0 to 4 % pass or fail falsely, up to a load of 0.9; naively
up to 85 % passed. Several looks at growing data: each look's tails are `1/√looks` of one look's, which keeps all of them within 4 %.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from testcard.harness.runs.records import Estimate
from testcard.harness.statistics.correlation import Correlation
from testcard.harness.statistics.percentiles import TAIL, nearest_rank, needed
from testcard.harness.statistics.rates import FEW, TAIL_FROM, share_ends

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

#: How many times the longest request a limit has to be for correlation not to matter to a pass, with `FAR_N` requests, and ever.
FAR, FAR_LEAST, FAR_N = 10.0, 3.0, 72
#: More requests than this are not named as what would decide.
MOST = 1_000_000

Verdict = Literal["holds", "breaks", "undecided"]


@dataclass(frozen=True, slots=True)
class LimitVerdict:
    """The verdict on one limit. `over` of `n` requests took longer, `allowed` is the share that may; `share` has its 95 % interval.

    `more`: about how many further requests would decide, if they are like these; None where it is decided, or none would.
    """

    verdict: Verdict
    over: int
    n: int
    allowed: float
    share: Estimate
    more: int | None = None


def judge_limit(
    values: Floats,
    rounds: npt.NDArray[np.generic],
    *,
    limit: float,
    allowed: float,
    censored: Mask | None = None,
    inclusive: bool = True,
    looks: int = 1,
) -> LimitVerdict:
    """Whether at most the share `allowed` of a row's values lies over `limit`.

    `values` in time order without NaN, `rounds` the round of each; `censored` values are known to be at least what they say and
    count as over the limit, for what is not known to have kept it did not. `inclusive`: a value equal to the limit keeps it.
    `looks`: how often in all the growing series is judged before a decision is given up.
    """
    n = len(values)
    if n == 0:
        return LimitVerdict("undecided", 0, 0, allowed, Estimate(value=None, n=0))
    over = values > limit if inclusive else values >= limit
    if censored is not None:
        over = over | censored
    tail = TAIL / math.sqrt(looks)
    count = int(np.count_nonzero(over))
    order = np.argsort(values, kind="stable")
    series = Correlation(values, rounds, order=order)
    knee = float(values[order[nearest_rank(n, TAIL_FROM) - 1]])
    beyond = values > knee
    own, wide = series.design_effect(over), 1.0
    if series.hinted(over):
        wide = series.design_effect(beyond)
    careful = max(own, wide)
    low, high = share_ends(count, n, n / (careful if count < FEW else own), tail)
    surely_high = share_ends(count, n, n / careful, tail)[1]
    share = Estimate(value=count / n, low=low, high=max(high, surely_high), n=n)
    if low > allowed:
        return LimitVerdict("breaks", count, n, allowed, share)
    holds = surely_high < allowed
    if not holds and share_ends(count, n, n / own, tail)[1] < allowed:
        holds = _tail_end(values[beyond], knee, limit, n, wide, tail) < allowed
    if not holds and count == 0:
        holds = n >= needed(1.0 - allowed) and float(values.max()) * max(FAR_LEAST, FAR * math.sqrt(_enough(allowed) / n)) <= limit
    if holds:
        return LimitVerdict("holds", count, n, allowed, share)
    return LimitVerdict(
        "undecided", count, n, allowed, share, more=_more(count, n, own if count >= FEW else careful, careful, allowed, tail)
    )


def _enough(allowed: float) -> int:
    return max(FAR_N, needed(1.0 - allowed))


def _tail_end(beyond: Floats, knee: float, limit: float, n: int, effect: float, tail: float) -> float:
    """The upper end of the share over the limit where the tail beyond the knee is exponential."""
    from scipy.special import gammaincinv

    if not len(beyond):  # a quarter of the values is equal to the knee, and nothing lies beyond
        return 0.0 if limit >= knee else 1.0
    worth = max(len(beyond) / effect, 0.3)
    enlarged = 1.0 + (1.0 + 200.0 / n) * (1.0 - 1.0 / effect)
    scale = float(np.mean(beyond - knee)) * worth / float(gammaincinv(worth, tail)) * enlarged
    return share_ends(len(beyond), n, n / effect, tail)[1] * math.exp(-max(limit - knee, 0.0) / max(scale, 1e-300))


def _more(count: int, n: int, effect_low: float, effect_high: float, allowed: float, tail: float) -> int | None:
    """Further requests that would decide, were they as many over the limit and as alike; None beyond `MOST`, or where they never would."""
    share = count / n

    def decides(whole: float) -> bool:
        if share > allowed:
            return share_ends(share * whole, whole, whole / effect_low, tail)[0] > allowed
        return share_ends(share * whole, whole, whole / effect_high, tail)[1] < allowed

    if share == allowed or not decides(MOST):
        return None
    low, high = n, MOST
    while low + 1 < high:
        middle = (low + high) // 2
        low, high = (low, middle) if decides(middle) else (middle, high)
    return high - n
