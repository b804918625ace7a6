"""What an objective can decide with so many requests, said before any is sent. Pure; independent requests, which is the best case.

A share (an error rate, or the share that takes longer than a percentile's limit) passes with few enough hits and fails with enough of
them; between the two it stays undecided. The same intervals decide afterwards (`slo.judge`, `limit_share.judge_limit`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from testcard.harness.statistics.limit_share import MOST
from testcard.harness.statistics.percentiles import TAIL
from testcard.harness.statistics.rates import MIN_UNITS, share_ends, wilson
from testcard.harness.statistics.slo import SHARES, Objective, percentile_of


@dataclass(frozen=True, slots=True)
class Outlook:
    """What `n` requests of a row can say about an objective.

    `passes`: the most hits (requests that took longer, or failed) with which it passes; None: it cannot. `fails`: the fewest with
    which it fails; None: it cannot. `least`: the fewest requests with which it can pass; None: more than `MOST`, or never. For an
    objective on money or a rate `hits` is empty: how much it varies decides, and `passes` is 0 where an interval can be had at all.
    """

    objective: Objective
    n: int
    hits: str
    passes: int | None
    fails: int | None
    least: int | None

    @property
    def words(self) -> str:
        """One clause for a person: `p95<8s passes with no slower one of 80 and fails from 9`."""
        name = self.objective.expression
        if not self.hits:
            return f"{name} is decided by how much it varies" if self.passes is not None else f"{name} needs {self.least} requests"
        fails = "and cannot fail" if self.fails is None else f"and fails from {self.fails:,}"
        if self.passes is None:
            needs = "" if self.least is None else f" (that takes {self.least:,})"
            return f"{name} cannot pass with {self.n:,}{needs} {fails.replace('and cannot', 'nor')}"
        most = f"no {self.hits}" if self.passes == 0 else f"at most {self.passes:,} {self.hits}{'' if self.passes == 1 else 's'}"
        return f"{name} passes with {most} of {self.n:,} {fails}"


def outlook(objective: Objective, n: int) -> Outlook:
    """What so many requests of one row can say about the objective."""
    found = _share(objective)
    if found is None:
        return Outlook(objective, n, "", 0 if n >= MIN_UNITS else None, 0 if n >= MIN_UNITS else None, MIN_UNITS)
    hits, allowed, ends = found

    def passes(count: int, of: int) -> bool:
        return ends(count, of)[1] < allowed

    most = None if n == 0 or not passes(0, n) else _last(lambda count: passes(count, n), n)
    fewest = None if n == 0 or not ends(n, n)[0] > allowed else 1 + _last(lambda count: not ends(count, n)[0] > allowed, n)
    least = 1 + _last(lambda of: of == 0 or not passes(0, of), MOST) if passes(0, MOST) else None
    return Outlook(objective, n, hits, most, fewest, least)


def _share(objective: Objective) -> tuple[str, float, Callable[[int, int], tuple[float, float]]] | None:
    """What is counted, the share of it that may be, and the ends of the interval that judges; None where no share is judged."""
    percentile = percentile_of(objective)
    if percentile is not None:
        return "slower one", 1.0 - percentile[1], lambda count, n: share_ends(count, n, n, TAIL)
    if objective.metric not in SHARES or (objective.operator in (">", ">=")) != (objective.metric == "ok_rate"):
        return None
    allowed = 1.0 - objective.threshold if objective.metric == "ok_rate" else objective.threshold
    return "429" if objective.metric == "rate_limited" else "error", allowed, _wilson_ends


def _wilson_ends(count: int, n: int) -> tuple[float, float]:
    found = wilson(count, n)
    return found.low or 0.0, 1.0 if found.high is None else found.high


def _last(holds: Callable[[int], bool], most: int) -> int:
    """The largest number up to `most` for which something holds that holds for 0 and, once it does not, never again."""
    low, high = 0, most + 1
    while low + 1 < high:
        middle = (low + high) // 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low
