"""Trends and findings, read from an index.

A trend is Mann and Kendall's test over runs of one fingerprint, its size Theil and Sen's slope.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from testcard.harness.history.index import METRICS, Index
from testcard.harness.runs.records import LEVELS
from testcard.harness.statistics.compare import MARGIN_LIVE, MARGIN_MOCK

#: Fewest runs that a trend is read from.
MIN_RUNS = 8
#: Fewest runs of which the latest is put beside the range of those before it.
MIN_RANGE = 3
ALPHA = 0.05

Word = Literal["rising", "falling", "steady", "too few runs"]


@dataclass(frozen=True, slots=True)
class Trend:
    """How a figure moved: `word`, the change over the whole series as a share of its median (Theil–Sen), and the test's p.

    `latest`: the last value over the median of those before it, None with fewer than two or a median of 0. `median`, `lowest`,
    `highest`: of those before it, None with fewer than two of them: from three runs on the latest can be put beside a range.
    """

    word: Word
    change: float | None
    p: float | None
    latest: float | None
    median: float | None = None
    lowest: float | None = None
    highest: float | None = None


@dataclass(frozen=True, slots=True)
class Point:
    """One run's figure."""

    run: str
    started: str
    value: float
    low: float | None
    high: float | None
    n: int


@dataclass(frozen=True, slots=True)
class History:
    """One figure of one row over runs with the same fingerprint, in the order of time."""

    provider: str
    site: str
    model: str | None
    operation: str
    stage: str
    fingerprint: str
    metric: str
    points: list[Point]
    trend: Trend


@dataclass(frozen=True, slots=True)
class BrokenRule:
    """A rule that was found broken, over time. `level`: the strongest that was broken; `runs`: how many showed it; `last_judged`: the latest run that could have; `open`: whether that one did."""

    provider: str
    site: str
    operation: str
    rule: str
    level: str
    first_seen: str
    last_seen: str
    runs: int
    judged: int
    last_judged: str
    open: bool
    detail: str


def histories(index: Index) -> list[History]:
    """Every figure with its points, by provider, model, operation, stage and metric. Runs that did not end are left out."""
    found: dict[tuple[Any, ...], list[Point]] = {}
    mocks: dict[tuple[Any, ...], bool] = {}
    for *names, mock, folder, started, value, low, high, n in index.query(
        "SELECT provider, site, model, operation, stage, fingerprint, metric, mock, folder, started, value, low, high, n "
        "FROM figures JOIN runs ON runs.id = figures.run WHERE outcome NOT IN ('running', 'error', 'interrupted') ORDER BY started, folder"
    ):
        found.setdefault(tuple(names), []).append(Point(folder, started, value, low, high, n))
        mocks[tuple(names)] = bool(mock)
    order = list(METRICS)
    series = []
    for key in sorted(found, key=lambda key: (*(part or "" for part in key[:6]), order.index(key[6]))):
        provider, where, model, operation, stage, mark, metric = key
        points = found[key]
        moved = trend([point.value for point in points], noise=MARGIN_MOCK if mocks[key] else MARGIN_LIVE)
        series.append(History(provider, where, model, operation, stage, mark, metric, points, moved))
    return series


def broken_rules(index: Index) -> list[BrokenRule]:
    """Every rule that any run found broken, those that still are first, the latest first among them."""
    found = []
    rank = "CASE level " + " ".join(f"WHEN '{level}' THEN {place}" for place, level in enumerate(LEVELS)) + " END"
    broken = "word IN ('fail', 'deviates')"
    for row in index.query(
        f"SELECT provider, site, operation, rule, MIN(CASE WHEN {broken} THEN {rank} END), "
        f"MIN(CASE WHEN {broken} THEN started END), MAX(CASE WHEN {broken} THEN started END), "
        f"COUNT(DISTINCT CASE WHEN {broken} THEN run END), COUNT(DISTINCT run), MAX(started) "
        "FROM verdicts JOIN runs ON runs.id = verdicts.run WHERE word NOT IN ('not-run', 'unproven') "
        f"GROUP BY provider, site, operation, rule HAVING SUM({broken}) > 0"
    ):
        provider, where, operation, rule, place, first, last, runs, judged, latest = row
        ((detail,),) = index.query(
            "SELECT detail FROM verdicts JOIN runs ON runs.id = verdicts.run WHERE provider = ? AND site = ? AND operation = ? AND rule = ? "
            f"AND {broken} ORDER BY started DESC, {rank} LIMIT 1",
            (provider, where, operation, rule),
        )
        found.append(BrokenRule(provider, where, operation, rule, LEVELS[place], first, last, runs, judged, latest, last == latest, detail))
    found.sort(key=lambda each: (each.provider, each.operation, each.rule))
    found.sort(key=lambda each: each.last_seen, reverse=True)
    found.sort(key=lambda each: not each.open)
    return found


def trend(values: Sequence[float], *, noise: float) -> Trend:
    """The trend of values in the order of time. It rises or falls where the test says so (Mann 1945, p < 5 %, two-sided) and
    the change over the series is more than `noise` of the median (of the range of values where the median is 0)."""
    series = np.asarray(values, dtype=np.float64)
    n = len(series)
    before = float(np.median(series[:-1])) if n > 1 else 0.0
    latest = float(series[-1]) / before if before else None
    earlier = (before, float(series[:-1].min()), float(series[:-1].max())) if n >= MIN_RANGE else (None, None, None)
    if n < MIN_RUNS:
        return Trend("too few runs", None, None, latest, *earlier)
    rows, columns = np.triu_indices(n, 1)
    steps = series[columns] - series[rows]
    score = float(np.sign(steps).sum())
    _, ties = np.unique(series, return_counts=True)
    variance = (n * (n - 1) * (2 * n + 5) - float((ties * (ties - 1) * (2 * ties + 5)).sum())) / 18.0
    p = math.erfc(max(abs(score) - 1.0, 0.0) / math.sqrt(2.0 * variance)) if variance > 0 else 1.0
    slope = float(np.median(steps / (columns - rows)))
    scale = abs(float(np.median(series))) or float(np.ptp(series))
    change = slope * (n - 1) / scale if scale else 0.0
    word: Word = "steady" if p >= ALPHA or abs(change) <= noise else "rising" if change > 0 else "falling"
    return Trend(word, change, p, latest, *earlier)
