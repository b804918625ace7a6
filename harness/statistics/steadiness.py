"""Did latency stand still after the warm-up? A test for drift that correlated latencies do not fool.

The logarithms of the latencies, in time order, are projected on cosines of 1/2, 1, 3/2, … periods over the stage. Without drift the
projections of a series whose memory is short beside the stage are independent and equally large (Müller and Watson 2008,
"Testing models of low-frequency variability"; Lazarus, Lewis, Stock and Watson 2018, "HAR inference"). A drift stands in the first of
them (98.6 % of a straight line does). So the first over the root mean square of the next eight is Student's t with 8 degrees of
freedom, whatever the correlation is at shorter times.

Where a queue remembers for a good part of the stage the projections are not equally large. An Ornstein–Uhlenbeck process with white
noise is fitted to the second to fortieth of them (Whittle's likelihood); where it says that the first is larger by itself, only a
change that is beyond what the least favourable of the likely fits explains counts.

Turns (rounds) are compared in the same way: the first projection within each turn, by Student's t over the turns. This finds a warm-up that
is too short and a queue that grows in every turn.

By simulation (tests/statistics; four servers, Poisson arrivals, log-normal service): 1 to 4.5 % of stationary series of 120 to 1,600
requests at loads of 0.3 to 0.95 are called drifting, and a drift of 20 % is found in 85 % of series of 1,600 requests at a load of
0.3 and in 87 % of 4,000 at 0.5. Nothing is trimmed for it: it is said, and the figures stay.

Freezes and spells: requests over a time that came one after the other, said as what they are.

A server that stopped for a second makes every request of that second long: thirty long requests, one event. A spell is a
run of successive requests (by their schedule, within a round) over the time, at least `LEAST`, which independent requests would
hardly ever bring: their longest run of that share among so many is at most so long in 99 of 100 cases.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from testcard.harness.runs.records import Estimate, Spell, Steadiness
from testcard.harness.statistics.columns import Columns, Floats, Mask

#: Chance that the test of the stage, and that of the turns, calls a steady one drifting, by design.
ALARM = 0.015
TURN_ALARM = 0.01
#: A change up to this share is too small to matter; a stage whose change is surely below `SMALL` is steady.
TOLERATED = 0.05
SMALL = 0.20
FEWEST = 100
#: Projections that the noise is read from, and those that a memory is fitted to.
NOISE = 8
FITTED = 39
#: Fewest turns, and fewest answers in each, that are compared.
MIN_TURNS = 6
MIN_IN_TURN = 8
#: By how much the memory may enlarge the first projection before it has to be allowed for; how far below the best, in
#: log-likelihood, a fit may lie to be believed where it is harmless, and where it is not.
HARMLESS = 1.3
BENEFIT = 0.1
LIKELY = 1.5
#: From the projection on √2·cos(πt) to the change of a straight line over the stage.
_TO_CHANGE = math.pi**2 / (2.0 * math.sqrt(2.0))


def steadiness(data: Columns, answered: Mask) -> Steadiness:
    """The verdict on a row's latencies, of the requests that were `answered` or timed out (which took at least so long)."""
    took = (data.done - data.scheduled)[answered]
    known = took > 0.0  # also leaves NaN out
    logarithms, rounds = np.log(took[known]), data.rounds[answered][known]
    n = len(logarithms)
    if n < FEWEST:
        return Steadiness(verdict="unknown", change=Estimate(value=None, n=n), detail=f"{n} answers are too few to tell")
    change, sure = stage_change(logarithms)
    turn, turn_sure = turn_change(logarithms, rounds)
    if sure:
        return Steadiness(verdict="drifting", change=change, turn_change=turn, detail=f"latency {_moved(change)} over the stage")
    if turn is not None and turn_sure:
        detail = f"latency {_moved(turn)} within each turn, so the warm-up is too short or the target falls behind"
        return Steadiness(verdict="settling", change=change, turn_change=turn, detail=detail)
    assert change.low is not None
    assert change.high is not None
    if max(-change.low, change.high) < SMALL:
        return Steadiness(verdict="steady", change=change, turn_change=turn, detail="if it moves at all, by less than 20 %")
    return Steadiness(verdict="unknown", change=change, turn_change=turn, detail="too few independent answers to see a drift of 20 %")


def stage_change(logarithms: Floats) -> tuple[Estimate, bool]:
    """How much higher the series ends than it began, as a share with its 95 % interval, and whether that is surely a drift."""
    n = len(logarithms)
    terms = projections(logarithms, min(FITTED + 1, n // 3))
    if not terms.any():  # every latency the same
        return Estimate(value=0.0, low=0.0, high=0.0, n=n), False
    plain, fitted, careful, harmless = _noise(terms)
    wide = plain if harmless else careful
    size = -terms[0] * _TO_CHANGE
    sure = (abs(terms[0]) > _student(NOISE, ALARM) * wide) and abs(math.expm1(size)) > TOLERATED
    spread = _student(NOISE, 0.05) * max(fitted, plain) * _TO_CHANGE
    if sure:  # the interval must not deny what the test found
        spread = min(spread, abs(size) * 0.999)
    return _share(size, spread, n), sure


def turn_change(logarithms: Floats, rounds: npt.NDArray[np.intp]) -> tuple[Estimate | None, bool]:
    """How much higher latency is at the end of a turn than at its beginning, over all turns, and whether it surely is another."""
    edges = np.concatenate(([0], np.flatnonzero(np.diff(rounds)) + 1, [len(rounds)]))
    found = [
        -float(projections(logarithms[start:stop], 1)[0]) * _TO_CHANGE
        for start, stop in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)
        if stop - start >= MIN_IN_TURN
    ]
    if len(found) < MIN_TURNS:
        return None, False
    size = float(np.mean(found))
    error = float(np.std(found, ddof=1)) / math.sqrt(len(found))
    sure = abs(size) > _student(len(found) - 1, TURN_ALARM) * error and abs(math.expm1(size)) > TOLERATED
    return _share(size, _student(len(found) - 1, 0.05) * error, len(logarithms)), sure


def projections(series: Floats, count: int) -> Floats:
    """The means of the series times √2·cos(πj(i + ½)/n), for j = 1 to `count`."""
    from scipy.fft import dct

    n = len(series)
    return np.asarray(dct(series - series.mean(), type=2)[1 : count + 1] / (math.sqrt(2.0) * n))


def _noise(terms: Floats) -> tuple[float, float, float, bool]:
    """Root mean square that the first projection would have without drift: as the next ones have it, as the best fit says, as the
    least favourable likely fit says; and whether the first is enough (a fit in which memory does no harm is likely)."""
    power = terms[1:] ** 2
    shapes, first = _shapes(len(terms))
    scale = np.maximum((power / shapes).mean(axis=-1), 1e-300)
    likelihood = -0.5 * (len(power) * np.log(scale) + np.log(shapes).sum(axis=-1))
    best = float(likelihood.max())
    near = shapes[..., :NOISE]
    enlarged = first / near.mean(axis=-1)
    predicted = (power[:NOISE] / near).mean(axis=-1) * first
    harmless = bool(enlarged[likelihood >= best - BENEFIT].min() <= HARMLESS)
    careful = float(predicted[likelihood >= best - LIKELY].max())
    fitted = float(predicted.flat[int(likelihood.argmax())])
    plain = float(power[:NOISE].mean())
    return math.sqrt(plain), math.sqrt(fitted), math.sqrt(max(careful, plain)), harmless


@lru_cache(maxsize=8)
def _shapes(count: int) -> tuple[Floats, Floats]:
    """Relative sizes of the squared projections 2 to `count`, and of the first, for memories × shares of white noise."""
    memory = np.concatenate(([0.0], np.geomspace(0.003, 3.0, 28)))[:, None]  # as a share of the stage
    white = np.concatenate(([0.0], np.geomspace(0.01, 100.0, 15)))[None, :]
    order = np.arange(2, count + 1)
    shapes = (1.0 / (1.0 + (math.pi * order * memory) ** 2))[:, None, :] + white[:, :, None]
    return np.asarray(shapes, dtype=np.float64), np.asarray(1.0 / (1.0 + (math.pi * memory) ** 2) + white, dtype=np.float64)


@lru_cache(maxsize=64)
def _student(freedom: int, alarm: float) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(freedom, 1.0 - alarm / 2.0))


def _share(size: float, spread: float, n: int) -> Estimate:
    """A change of logarithms as a share."""
    return Estimate(value=math.expm1(size), low=math.expm1(size - spread), high=math.expm1(min(size + spread, 50.0)), n=n)


def _moved(change: Estimate) -> str:
    assert change.value is not None
    assert change.low is not None
    assert change.high is not None
    word = "rises" if change.value > 0 else "falls"
    low, high = sorted((abs(change.low), abs(change.high)))
    return f"{word} by {abs(change.value) * 100:.0f} % [{low * 100:.0f}, {high * 100:.0f}]"


#: Fewest successive requests that are called a spell, and the chance that independent ones have such a run.
LEAST, CHANCE = 3, 0.01


def spells(scheduled_s: Floats, latency_s: Floats, rounds: npt.NDArray[np.generic], *, over_s: float) -> list[Spell]:
    """The spells over a time, of requests in time order; empty where their runs are what chance brings."""
    n = len(latency_s)
    long = latency_s > over_s
    count = int(np.count_nonzero(long))
    if count < LEAST or count == n:
        return []
    share = count / n
    # A run of length k begins at one place with chance (1 − share)·share^k; n such places bring one with at most n times that.
    least = max(LEAST, math.ceil(math.log(CHANCE / (n * (1.0 - share))) / math.log(share)))
    breaks = np.flatnonzero((long[1:] != long[:-1]) | (rounds[1:] != rounds[:-1])) + 1
    edges = np.concatenate(([0], breaks, [n]))
    found = []
    for start, stop in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        if long[start] and stop - start >= least:
            found.append(
                Spell(
                    requests=stop - start,
                    start_s=float(scheduled_s[start]),
                    end_s=float(scheduled_s[stop - 1]),
                    longest_s=float(latency_s[start:stop].max()),
                )
            )
    return found


def sentence(found: Sequence[Spell], *, over: str) -> str:
    """What is said of them: "one spell: 30 requests in a row over 0.2 s"; `over` says the time."""
    inside = sum(spell.requests for spell in found)
    if len(found) == 1:
        return f"one spell: {inside} requests in a row over {over}"
    return f"{len(found)} spells of requests in a row over {over}, {inside} in all, the longest of {max(spell.requests for spell in found)}"
