"""How a row's latencies are distributed: the share answered within a time, the slow end of it, and its percentiles with their intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from testcard.harness.runs.records import Estimate
from testcard.harness.statistics.percentiles import Ecdf, dkw, nearest, nearest_rank
from testcard.harness.statistics.ranking import Times, pairs
from testcard.harness.statistics.steadiness import sentence as spells_sentence
from testcard.harness.text.words import NONE, Unit, is_unsure, listing, percent, significant
from testcard.reports.content.evidence import Evidence, Series
from testcard.reports.content.exhibits import Table
from testcard.reports.content.ranks import likeness, times_of
from testcard.reports.figures import palette
from testcard.reports.figures.style import Sketch, canvas, colour, fit_axis, heading, keys, marker, row_labels

ECDF_POINTS = 240
_SHARES = (0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99)
#: A curve ends where fewer samples than this are beyond it: what follows would be single requests, not a tail.
REMAINING = 10
TAIL_POINTS = 160
_TAIL_SHARES = (0.5, 0.1, 0.05, 0.01, 0.001)
_SHARE_NAMES = {0.5: "one in 2", 0.1: "one in 10", 0.05: "one in 20", 0.01: "one in 100", 0.001: "one in 1,000"}
LEVELS = (("p50", "o"), ("p90", "^"), ("p95", "s"), ("p99", "D"))


# ── the share of requests answered within a time, with a band ─────────────────────────────────────────────────────────


def ecdf(evidence: Evidence, rows: Sequence[Series], unit: Unit) -> Sketch | None:
    """The figure, or None where no request was answered."""
    answered = {series.key: times for series in rows if len((times := times_of(evidence, series)).seconds)}
    curves = []
    for series in rows:
        known = answered.get(series.key)
        if known is None:
            continue
        late = np.isinf(known.seconds)
        curve = dkw(known.seconds * unit.factor, censored=late, rounds=known.rounds, points=ECDF_POINTS)
        if len(curve.x):
            curves.append((series, curve, int(late.sum())))
    if not curves:
        return None
    curves.sort(key=lambda entry: _at(entry[1], 0.5) or np.inf)
    limit = None if evidence.slo_s is None else evidence.slo_s * unit.factor

    def draw() -> Figure:
        step = 33
        figure, (axes,) = canvas(max(4.0, 0.95 + len(curves) * step / 72))
        axes.grid(True, axis="both")
        reach = [float(value) for _, curve, _ in curves for value in (curve.x[0], curve.x[-1])]
        inside = limit is not None and min(reach) / 10 <= limit <= max(reach) * 3
        fit_axis(axes, "x", [*reach, limit] if inside and limit is not None else reach, from_zero=False)
        axes.set_ylim(0, 1.0)
        axes.set_yticks([0, 0.25, 0.5, 0.75, 0.9, 1.0], ["0 %", "25 %", "50 %", "75 %", "90 %", "100 %"])
        for series, curve, _ in curves:
            tint = colour(series).light
            axes.fill_between(curve.x, curve.low, curve.high, step="post", color=tint, alpha=0.13, linewidth=0)
            axes.step(np.concatenate([curve.x[:1], curve.x]), np.concatenate([[0.0], curve.share]), where="post", color=tint)
            spots = [at for share in (0.25, 0.5, 0.75) if (at := _at(curve, share)) is not None]
            axes.plot(spots, [0.25, 0.5, 0.75][: len(spots)], linestyle="none", marker=marker(series), color=tint)
        if inside and limit is not None:
            axes.axvline(limit, color=palette.INK.light, linestyle=(0, (4, 3)), linewidth=1.1)
            axes.annotate(f"SLO {significant(limit)} {unit.name} ", (limit, 0.04), ha="right", color=palette.INK.light, fontsize=8.5)
        beyond = "" if inside or limit is None else f" (the SLO, {significant(limit)} {unit.name}, is off this axis)"
        axes.set_xlabel(f"latency from the scheduled start, {unit.name}{beyond}")
        heading(axes, "share of requests answered", "further left is better")
        keys(axes, [(colour(s), marker(s), s.label, _note(curve.n, late)) for s, curve, late in curves], step_pt=step)
        return figure

    mine = _compared(evidence, [series for series, _, _ in curves])
    caption = _ecdf_caption([curve for curve in curves if curve[0] in mine], answered, unit)
    table = _ecdf_table(curves, answered, unit)
    return Sketch("latency-ecdf", "How long requests take", caption, table, draw)


def _compared(evidence: Evidence, rows: Sequence[Series]) -> list[Series]:
    """The rows that a caption holds against each other: those of the largest group that were asked for the same under the same load."""
    groups: dict[str, list[Series]] = {}
    for series in rows:
        groups.setdefault(likeness(evidence, series).words, []).append(series)
    return max(groups.values(), key=len, default=[])


def _at(curve: Ecdf, share: float) -> float | None:
    place = int(np.searchsorted(curve.share, share - 1e-12))
    return float(curve.x[place]) if place < len(curve.x) else None


def _note(n: int, late: int) -> str:
    return f"n = {n:,}" + (f", {late:,} timed out" if late else "")


def _ecdf_caption(curves: list[tuple[Series, Ecdf, int]], answered: dict[str, Times], unit: Unit) -> str:
    medians = [(series.label, at) for series, curve, _ in curves if (at := _at(curve, 0.5)) is not None]
    said = ""
    if len(medians) > 1:
        first, last = medians[0], medians[-1]
        fastest, slowest = (unit.text(at / unit.factor) for at in (first[1], last[1]))
        ends = curves[0][0].key, [series for series, curve, _ in curves if _at(curve, 0.5) is not None][-1].key
        (pair,) = pairs([answered[key] for key in ends])
        if pair.differs:
            said = (
                f"Half of {first[0]}'s requests are answered within {fastest} {unit.name}; {last[0]} needs {slowest} {unit.name} for that. "
            )
        else:
            said = f"The medians, {fastest} to {slowest} {unit.name}, cannot be told apart by a rank test over rounds. "
    elif medians:
        said = f"Half of the requests are answered within {unit.text(medians[0][1] / unit.factor)} {unit.name}. "
    late = [series.label for series, _, number in curves if number]
    gap = f"Timeouts are the gap below 100 % ({listing(late)}). " if late else ""
    return f"{said}{gap}Bands hold the whole true curve with about 95 % confidence (Dvoretzky–Kiefer–Wolfowitz, widened where successive requests are alike); warm-up is left out."


def _ecdf_table(curves: list[tuple[Series, Ecdf, int]], answered: dict[str, Times], unit: Unit) -> Table:
    header = ("target", "n", "timeouts", *(f"{percent(share)} within, {unit.name}" for share in _SHARES))
    rows = []
    for series, curve, late in curves:
        seconds = np.sort(answered[series.key].seconds)  # the curve is thinned for drawing, the samples are not
        rows.append((series.label, f"{curve.n:,}", f"{late:,}", *(_within(seconds, share, unit) for share in _SHARES)))
    return Table(header, tuple(rows))


def _within(ascending: npt.NDArray[np.float64], share: float, unit: Unit) -> str:
    """The time within which that share is answered, as everywhere only where a sample lies beyond it."""
    if nearest_rank(len(ascending), share) >= len(ascending):
        return f"n\u00a0<\u00a0{math.ceil(1.0 / (1.0 - share) - 1e-9)}"
    at = nearest(ascending, share)
    return unit.text(at) if np.isfinite(at) else NONE


# ── the slow tail: the share that takes longer than a time, both axes logarithmic ─────────────────────────────────────


def tail(evidence: Evidence, rows: Sequence[Series], unit: Unit) -> Sketch | None:
    """The figure, or None where no row has more than 20 answers."""
    curves = [(series, *_tail_curve(evidence, series, unit)) for series in rows]
    curves = [curve for curve in curves if len(curve[1]) > 1]
    if not curves:
        return None
    curves.sort(key=lambda curve: -float(curve[1][-1]))

    def draw() -> Figure:
        step = 33
        figure, (axes,) = canvas(max(4.0, 0.95 + len(curves) * step / 72))
        axes.grid(True, axis="both")
        fit_axis(axes, "x", [float(value) for _, x, _, _ in curves for value in (x[0], x[-1])], from_zero=False)
        lowest = min(float(share[-1]) for _, _, share, _ in curves)
        axes.set_yscale("log")
        axes.set_ylim(lowest / 1.4, 1.0)
        ticks = [tick for tick in (1.0, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.001, 0.0001, 0.00001) if tick >= lowest / 1.4]
        axes.set_yticks(ticks, [f"{tick * 100:.3g} %" for tick in ticks], minor=False)
        axes.set_yticks([], minor=True)
        for series, x, share, _ in curves:
            tint = colour(series).light
            axes.step(x, share, where="post", color=tint)
            axes.plot([x[-1]], [share[-1]], linestyle="none", marker=marker(series), markersize=7, color=tint)
        axes.set_xlabel(f"latency from the scheduled start, {unit.name}")
        heading(axes, "share of requests that take longer", "further left is better")
        keys(axes, [(colour(s), marker(s), s.label, f"n = {n:,}") for s, _, _, n in curves], step_pt=step)
        return figure

    mine = _compared(evidence, [curve[0] for curve in curves])
    caption = _tail_caption([curve for curve in curves if curve[0] in mine], unit)
    return Sketch("latency-tail", "The slow tail", caption, _tail_table(curves, unit), draw)


def _tail_curve(evidence: Evidence, series: Series, unit: Unit) -> tuple[Any, Any, int]:
    """Times, the share that takes longer than each, and n; timeouts count as longer than everything from the first of them on."""
    frame = evidence.samples(series)
    warm = frame["warmup"].fillna(False).to_numpy(dtype=bool)
    frame = frame[~warm & frame["outcome"].isin(["ok", "slow", "timeout"]).to_numpy(dtype=bool)]
    latency = (frame["done_s"] - frame["scheduled_s"]).to_numpy(dtype=float) * unit.factor
    censored = (frame["outcome"] == "timeout").to_numpy(dtype=bool) | np.isnan(latency)
    n = len(latency)
    limit = np.nanmin(latency[censored]) if censored.any() and not np.isnan(latency[censored]).all() else np.inf
    known = np.sort(latency[~censored & (latency <= limit)])
    known = known[: max(n - REMAINING, 0)]
    if not len(known):
        return known, known, n
    places = np.arange(1, len(known) + 1)
    share = (n - places) / n
    # Evenly by the logarithm of what remains: half of all points would otherwise lie in the fast half, which is drawn elsewhere.
    wanted = np.geomspace(share[0], share[-1], TAIL_POINTS)
    chosen = np.unique(np.searchsorted(-share, -wanted).clip(0, len(known) - 1))
    return known[chosen], share[chosen], n


def _beyond(x: Any, share: Any, level: float) -> float | None:
    """The time that this share of requests exceeds, None where the curve ends before."""
    place = int(np.searchsorted(-share, -level - 1e-12))
    return float(x[place]) if place < len(x) else None


def _tail_caption(curves: list[tuple[Series, Any, Any, int]], unit: Unit) -> str:
    common = [level for level in _TAIL_SHARES if all(_beyond(x, share, level) is not None for _, x, share, _ in curves)]
    said = ""
    if common:
        level = common[-1]
        places = sorted((_beyond(x, share, level) or 0.0, series.label) for series, x, share, _ in curves)
        parts = [f"{unit.text(at / unit.factor)} {unit.name} at {label}" for at, label in places]
        said = f"{_SHARE_NAMES[level].capitalize()} requests takes longer than {listing(parts)}. "
    return (
        f"{said}A steep curve has a short tail; a flat one means that a few people wait very long. "
        f"Each ends, with its marker, where fewer than {REMAINING} samples remain beyond it."
    )


def _tail_table(curves: list[tuple[Series, Any, Any, int]], unit: Unit) -> Table:
    rows = []
    for series, x, share, n in curves:
        cells = [_beyond(x, share, level) for level in _TAIL_SHARES]
        shown = [NONE if at is None else f"{unit.text(at / unit.factor)} {unit.name}" for at in cells]
        rows.append((series.label, f"{n:,}", *shown, f"{unit.text(float(x[-1]) / unit.factor)} {unit.name} ({share[-1] * 100:.2g} %)"))
    return Table(
        ("target", "n", *(f"{_SHARE_NAMES[level]} is over" for level in _TAIL_SHARES), "curve ends at (share beyond)"), tuple(rows)
    )


# ── p50, p95 and p99 as dots with their intervals ─────────────────────────────────────────────────────────────────────


def percentiles(evidence: Evidence, rows: Sequence[Series], unit: Unit) -> Sketch | None:
    """The figure, or None where no percentile is known."""
    shown = [series for series in rows if any(_value(series, name) is not None for name, _ in LEVELS)]
    if not shown:
        return None
    shown.sort(key=lambda series: _value(series, "p50") or float("inf"))

    def draw() -> Figure:
        figure, (axes,) = canvas(1.05 + 0.56 * len(shown), left=0.235, right=0.97)
        axes.grid(True, axis="x")
        values = [bound * unit.factor for series in shown for name, _ in LEVELS for bound in _bounds(series.row.latency_s.get(name))]
        fit_axis(axes, "x", values)
        axes.set_ylim(len(shown) - 0.45, -0.55)
        for place, series in enumerate(shown):
            for shift, (name, mark) in zip((-0.24, -0.08, 0.08, 0.24), LEVELS, strict=True):
                estimate = series.row.latency_s.get(name)
                if estimate is None or estimate.value is None:
                    continue
                tint = colour(series).light
                if estimate.low is not None:
                    reach = axes.get_xlim()[1] if estimate.high is None else estimate.high * unit.factor  # open: to the edge, dashed
                    style = (0, (2, 2)) if estimate.high is None else "solid"
                    axes.plot(
                        [estimate.low * unit.factor, reach], [place + shift] * 2, color=tint, linewidth=2.0, alpha=0.55, linestyle=style
                    )
                hollow = estimate.low is None or is_unsure(estimate)
                axes.plot(
                    [estimate.value * unit.factor],
                    [place + shift],
                    linestyle="none",
                    marker=mark,
                    color=tint,
                    markerfacecolor=palette.SURFACE.light if hollow else tint,
                )
        row_labels(axes, [(series.label, f"n = {series.timed:,}") for series in shown])
        axes.set_xlabel(f"latency from the scheduled start, {unit.name}")
        heading(axes, "circle: p50 · triangle: p90 · square: p95 · diamond: p99 · open: unsure", "lower is better", pad_pt=10)
        return figure

    return Sketch(
        "latency-percentiles",
        "Percentiles",
        _percentile_caption(shown, _compared(evidence, shown), unit),
        _percentile_table(shown, unit),
        draw,
    )


def _value(series: Series, name: str) -> float | None:
    estimate = series.row.latency_s.get(name)
    return estimate.value if estimate else None


def _bounds(estimate: Estimate | None) -> list[float]:
    return [] if estimate is None else [bound for bound in (estimate.low, estimate.value, estimate.high) if bound is not None]


def _percentile_caption(shown: Sequence[Series], alike: Sequence[Series], unit: Unit) -> str:
    ratios = [
        (series.label, p95 / p50, series.row) for series in alike if (p50 := _value(series, "p50")) and (p95 := _value(series, "p95"))
    ]
    said = ""
    if ratios:
        label, ratio, _ = max(ratios, key=lambda entry: entry[1])
        said = f"The heaviest tail is {label}'s: its p95 is {ratio:.1f} times its p50. "
    for series in shown:
        row = series.row
        if row.spells and row.spells_over_s is not None:
            said += f"{series.label} had {spells_sentence(row.spells, over=f'{unit.text(row.spells_over_s)} {unit.name}')}. "
    unsure = [name for name, _ in LEVELS if any(is_unsure(estimate) for series in shown if (estimate := series.row.latency_s.get(name)))]
    small = (
        f"Open dots ({listing(unsure)}) are unsure: their interval is wide, or its upper end lies beyond the longest request (dashed). "
        if unsure
        else ""
    )
    return f"{said}{small}Lines are 95 % intervals."


def _percentile_table(shown: Sequence[Series], unit: Unit) -> Table:
    rows = []
    for series in shown:
        row = series.row
        rows.append(
            (
                series.label,
                f"{series.timed:,}",
                *(unit.full(row.latency_s.get(name)) for name, _ in LEVELS),
                unit.full(row.service_s.get("p50")),
            )
        )
    return Table(("target", "n", *(name for name, _ in LEVELS), "service p50 (from sending)"), tuple(rows))
