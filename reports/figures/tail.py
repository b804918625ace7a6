"""The slow end of the distribution: the share of requests that take longer than a time, both axes logarithmic."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from testcard.harness.text.words import NONE, Unit, listing
from testcard.reports.content.evidence import Evidence, Series
from testcard.reports.figures.drawing import Table
from testcard.reports.figures.style import Sketch, canvas, colour, fit_axis, heading, keys, marker

#: A curve ends where fewer samples than this are beyond it: what follows would be single requests, not a tail.
REMAINING = 10
POINTS = 160
_LEVELS = (0.5, 0.1, 0.05, 0.01, 0.001)
_NAMES = {0.5: "one in 2", 0.1: "one in 10", 0.05: "one in 20", 0.01: "one in 100", 0.001: "one in 1,000"}


def sketch(evidence: Evidence, rows: Sequence[Series], unit: Unit) -> Sketch | None:
    """The figure, or None where no row has more than 20 answers."""
    curves = [(series, *_tail(evidence, series, unit)) for series in rows]
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

    return Sketch("latency-tail", "The slow tail", _caption(curves, unit), _table(curves, unit), draw)


def _tail(evidence: Evidence, series: Series, unit: Unit) -> tuple[Any, Any, int]:
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
    wanted = np.geomspace(share[0], share[-1], POINTS)
    chosen = np.unique(np.searchsorted(-share, -wanted).clip(0, len(known) - 1))
    return known[chosen], share[chosen], n


def _beyond(x: Any, share: Any, level: float) -> float | None:
    """The time that this share of requests exceeds, None where the curve ends before."""
    place = int(np.searchsorted(-share, -level - 1e-12))
    return float(x[place]) if place < len(x) else None


def _caption(curves: list[tuple[Series, Any, Any, int]], unit: Unit) -> str:
    common = [level for level in _LEVELS if all(_beyond(x, share, level) is not None for _, x, share, _ in curves)]
    said = ""
    if common:
        level = common[-1]
        places = sorted((_beyond(x, share, level) or 0.0, series.label) for series, x, share, _ in curves)
        parts = [f"{unit.text(at / unit.factor)} {unit.name} at {label}" for at, label in places]
        said = f"{_NAMES[level].capitalize()} requests takes longer than {listing(parts)}. "
    return (
        f"{said}A curve that falls steeply has a short tail; one that runs flat to the right makes a few people wait very long. "
        f"Each ends, with its marker, where fewer than {REMAINING} samples remain beyond it."
    )


def _table(curves: list[tuple[Series, Any, Any, int]], unit: Unit) -> Table:
    rows = []
    for series, x, share, n in curves:
        cells = [_beyond(x, share, level) for level in _LEVELS]
        shown = [NONE if at is None else f"{unit.text(at / unit.factor)} {unit.name}" for at in cells]
        rows.append((series.label, f"{n:,}", *shown, f"{unit.text(float(x[-1]) / unit.factor)} {unit.name} ({share[-1] * 100:.2g} %)"))
    return Table(("target", "n", *(f"{_NAMES[level]} is over" for level in _LEVELS), "curve ends at (share beyond)"), tuple(rows))
