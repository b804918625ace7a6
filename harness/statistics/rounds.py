"""Round values: one number for each round of a row and each metric, which is what two runs are compared by.

- p50, p95 latency: the Harrell–Davis estimate of the round's quantile (Harrell and Davis 1982), a mean of all order statistics
  weighted by how likely each is to be the quantile. Its error is 3 to 11 % smaller for p50 than the nearest rank's, and its bias
  depends far less on the size of a round, so that rounds of Poisson size can be compared. In a round of six the p95 is little more
  than the longest request: no p95 to print, but on both sides the same thing, whose ratio is a fair one. So both sides' groups
  of rounds are made alike in size (`compare`). Over delivered requests and timeouts, as in the summary; a round whose quantile
  lies among the timeouts has no value.
- throughput: delivered per second of the time in which they came in (`rates.Pace`). Goodput: delivered within the SLO per
  second. In an open loop both are per request of the round, times one offered rate for both runs: how many arrivals a round
  or a run happened to draw says nothing of the server.
- error rate: the share of requests that failed; those that were cut off by whoever stopped the run do not count.
- cost: of everything in the round over the pictures of its good requests. None where a delivered request has no price.

Two series of round values are compared by Welch's t (`difference`, `log_difference`), on logarithms where the answer is a ratio, never by single
requests: requests of one round share whatever the server and the network were doing then, and treating them as independent raises
false alarms under drift. Rounds that resemble their neighbours (drift slower than a round) are worth fewer: the variance grows with
their correlation. Many comparisons share one chance of a false alarm (`holm`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from testcard.harness.runs.records import SummaryRow
from testcard.harness.statistics import rates
from testcard.harness.statistics.columns import CENSORED, DELIVERED, Columns
from testcard.harness.statistics.percentiles import nearest_rank

Floats = npt.NDArray[np.float64]
#: Fewest answers of a round, or of rounds merged, that a latency quantile is estimated from.
FEWEST = 3
QUANTILES = {"p50": 0.5, "p95": 0.95}
#: The strongest correlation of neighbouring rounds that is believed; few rounds can only hint at more.
STRONGEST = 0.8
#: Differences smaller than this are rounding.
ROUNDING = 1e-9


@dataclass(frozen=True, slots=True, eq=False)
class RoundValues:
    """One metric's value in each round, in order of time. A round with too few requests has none (NaN). `reason`: why rounds
    have none; `barred` where leaving those rounds out would flatter the row, so that nothing can be said at all."""

    values: Floats
    requests: Floats  # of each round: what the value rests on
    reason: str = ""
    barred: bool = False

    @property
    def known(self) -> Floats:
        """The values of the rounds that have one; none at all where nothing can be said."""
        return np.empty(0) if self.barred else self.values[np.isfinite(self.values)]


#: Of a row without samples.
NO_ROUNDS = RoundValues(np.empty(0), np.empty(0), "there are no samples")


def harrell_davis(ascending: Floats, q: float) -> float:
    """The Harrell–Davis estimate of the `q` quantile of values in ascending order, at least one."""
    return float(ascending @ _weights(len(ascending), q))


@lru_cache(maxsize=4096)
def _weights(n: int, q: float) -> Floats:
    from scipy.special import betainc

    steps = betainc((n + 1) * q, (n + 1) * (1.0 - q), np.arange(n + 1) / n)
    return np.asarray(np.diff(steps))


def answers_a_round(data: Columns) -> Floats:
    """How many answers with a latency (timeouts included) each round holds."""
    return _sums(_timed(data), data.edges)


def merged(answers: Floats, groups: int) -> npt.NDArray[np.intp]:
    """Where at most so many groups of neighbouring rounds begin, and at last the number of rounds: groups of about as many answers,
    and of `FEWEST` at least, where there are so many in all."""
    rounds = len(answers)
    upto = np.cumsum(answers)
    whole = float(upto[-1]) if rounds else 0.0
    count = max(1, min(groups, rounds, int(whole // FEWEST)))
    starts = [0]
    for place in range(1, rounds):
        before = float(upto[place - 1])
        # A group ends where the next round's middle lies beyond its share of all answers.
        if (
            before + float(answers[place]) / 2.0 > len(starts) * whole / count
            and before - (float(upto[starts[-1] - 1]) if starts[-1] else 0.0) >= FEWEST
        ):
            starts.append(place)
    if len(starts) > 1 and whole - float(upto[starts[-1] - 1]) < FEWEST:
        starts.pop()
    return np.array([*starts, rounds], dtype=np.intp)


def round_values(
    data: Columns, row: SummaryRow, *, limit_s: float | None, offered_rps: float | None, groups: int | None = None
) -> dict[str, RoundValues]:
    """Every metric's round values: p50, p95 (s), throughput, goodput (per second), error_rate (share), cost (USD a good image).

    `row` is the row's summary (its rounds' length and users); `limit_s` the latency within which a request is good; `offered_rps`
    the rate that open-loop throughput is expressed at, None in a closed loop. Rounds are merged into at most
    so many `groups`, and where they have hardly any answers. Nothing where there are no samples: the run's files can come from anybody.
    """
    if not len(data.scheduled):
        return {}
    whole = merged(answers_a_round(data), len(data.edges) - 1 if groups is None else groups)
    edges = data.edges[whole]
    sizes = np.diff(edges).astype(np.float64)
    delivered, finished = data.ended(DELIVERED), ~data.ended(("interrupted",))
    latency = data.done - data.scheduled
    good = delivered if limit_s is None else delivered & (latency <= limit_s)
    found = {name: _latency(data, latency, edges, name) for name in QUANTILES}
    pace = rates.pace(data, delivered, rounds_s=row.rounds_s or None, declared_s=row.duration_s or None, users=row.users)
    lengths, taken = (np.add.reduceat(each, whole[:-1]) for each in (pace.scheduled_s, pace.taken_s))
    answers, within = _sums(delivered, edges), _sums(good, edges)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        if offered_rps is not None:
            found["throughput"] = RoundValues(answers / sizes * lengths / taken * offered_rps, sizes)
            found["goodput"] = RoundValues(within / sizes * lengths / taken * offered_rps, sizes)
        else:
            found["throughput"] = RoundValues(answers / taken, sizes)
            found["goodput"] = RoundValues(within / taken, sizes)
        ended = _sums(finished, edges)
        found["error_rate"] = RoundValues(1.0 - answers / ended, ended)
        found["cost"] = _cost(data, delivered, good, edges)
    return found


def _timed(data: Columns) -> npt.NDArray[np.bool_]:
    known: npt.NDArray[np.bool_] = ~np.isnan(data.done - data.scheduled)
    return (data.ended(DELIVERED) | data.ended(CENSORED)) & known


def _latency(data: Columns, latency: Floats, edges: npt.NDArray[np.intp], name: str) -> RoundValues:
    q = QUANTILES[name]
    censored, timed = data.ended(CENSORED), _timed(data)
    values, counts = np.full(len(edges) - 1, np.nan), _sums(timed, edges)
    few = hidden = 0
    for index in range(len(values)):
        part = slice(edges[index], edges[index + 1])
        mine = timed[part]
        if counts[index] < FEWEST:
            few += 1
            continue
        times, cut = latency[part][mine], censored[part][mine]
        if cut.any():
            unknown = np.sort(np.where(cut, np.inf, times))
            if not np.isfinite(unknown[nearest_rank(len(times), q) - 1]):
                hidden += 1
                continue
        values[index] = harrell_davis(np.sort(times), q)
    if hidden:
        return RoundValues(values, counts, f"in {hidden} of {len(values)} rounds it lies among the timeouts", barred=True)
    return RoundValues(values, counts, f"{int(counts.sum())} answers in all are too few" if few else "")


def _cost(data: Columns, delivered: npt.NDArray[np.bool_], good: npt.NDArray[np.bool_], edges: npt.NDArray[np.intp]) -> RoundValues:
    sizes = np.diff(edges).astype(np.float64)
    if (np.isnan(data.cost) & delivered).any() or not delivered.any():
        return RoundValues(np.full(len(sizes), np.nan), sizes, "no price is known", barred=True)
    images = _sums(np.where(good, data.images, 0.0), edges)
    spent = _sums(np.nan_to_num(data.cost), edges)
    values = np.where(images > 0, spent / np.maximum(images, 1.0), np.nan)
    if not data.images[delivered].any():
        return RoundValues(values, sizes, "no pictures are delivered", barred=True)
    empty = int(np.count_nonzero(images == 0))
    return RoundValues(values, sizes, f"in {empty} of {len(values)} rounds no picture was good" if empty else "", barred=empty > 0)


def _sums(series: npt.NDArray[np.generic], edges: npt.NDArray[np.intp]) -> Floats:
    total = np.concatenate(([0.0], np.cumsum(series, dtype=np.float64)))
    return np.asarray(total[edges[1:]] - total[edges[:-1]])


@dataclass(frozen=True, slots=True)
class MeanDifference:
    """new − old (of logarithms, where a ratio is asked for) with its standard error and Welch's degrees of freedom."""

    value: float
    error: float
    freedom: float

    @property
    def low(self) -> float:
        """Lower end of the 95 % interval."""
        return self.value - self._half

    @property
    def high(self) -> float:
        """Upper end of the 95 % interval."""
        return self.value + self._half

    @property
    def p_differs(self) -> float:
        """How often rounds that do not differ would show a difference at least this wide (two-sided)."""
        return min(1.0, 2.0 * self._tail(abs(self.value)))

    def p_beyond(self, bound: float) -> float:
        """How often a difference of at most `bound` (≥ 0), to this side, would look at least this wide (one-sided)."""
        return self._tail(abs(self.value) - bound)

    @property
    def _half(self) -> float:
        from scipy.special import stdtrit

        return float(stdtrit(self.freedom, 0.975)) * self.error if self.error > 0 else 0.0

    def _tail(self, distance: float) -> float:
        from scipy.special import stdtr

        if self.error <= 0:
            return 0.0 if distance > ROUNDING else 1.0
        return float(stdtr(self.freedom, -distance / self.error))


def difference(
    new: Sequence[float] | npt.NDArray[Any], old: Sequence[float] | npt.NDArray[Any], *, least_error: float = 0.0
) -> MeanDifference:
    """The difference between the means of two series in the order of their rounds, at least two values each (Welch 1947).

    `least_error` is a standard error that is known to be there whatever the rounds show (of counts, say).
    """
    one, other = np.asarray(new, dtype=np.float64), np.asarray(old, dtype=np.float64)
    if len(one) < 2 or len(other) < 2 or not (np.isfinite(one).all() and np.isfinite(other).all()):
        raise ValueError("two series of at least two finite values each")
    centred = one - one.mean(), other - other.mean()
    squares = [float(series @ series) for series in centred]
    parts = [total / (len(series) - 1) / len(series) for total, series in zip(squares, centred, strict=True)]
    alike = sum(float(series[1:] @ series[:-1]) for series in centred) / sum(squares) if sum(squares) > 0 else 0.0
    alike = min(max(alike, 0.0), STRONGEST)
    variance = sum(parts) * (1.0 + alike) / (1.0 - alike)
    freedom = (
        sum(parts) ** 2 / sum(part * part / (len(series) - 1) for part, series in zip(parts, centred, strict=True))
        if sum(parts) > 0
        else float(len(one) + len(other) - 2)
    )
    return MeanDifference(float(one.mean() - other.mean()), max(math.sqrt(variance), least_error), freedom)


def log_difference(new: Sequence[float] | npt.NDArray[Any], old: Sequence[float] | npt.NDArray[Any]) -> MeanDifference:
    """The difference of the logarithms of positive values: e to its value is the ratio new / old of their geometric means."""
    one, other = np.asarray(new, dtype=np.float64), np.asarray(old, dtype=np.float64)
    if not ((one > 0).all() and (other > 0).all()):
        raise ValueError("only positive values have logarithms")
    return difference(np.log(one), np.log(other))


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """The p-values made larger so that comparing each with 5 % keeps the chance of any false alarm at 5 % (Holm 1979).

    None (nothing was tested) stays None and does not count as a test. The order is kept.
    """
    tested = sorted((p, place) for place, p in enumerate(p_values) if p is not None)
    found: list[float | None] = [None] * len(p_values)
    largest = 0.0
    for step, (p, place) in enumerate(tested):
        largest = max(largest, min(1.0, p * (len(tested) - step)))
        found[place] = largest
    return found
