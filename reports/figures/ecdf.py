"""How latencies are distributed: the share of requests answered within a time, with a band that holds everywhere at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from testcard.harness.statistics.percentiles import Ecdf, dkw
from testcard.harness.statistics.ranking import told_apart
from testcard.harness.text.words import Unit, listing, significant
from testcard.reports.content.evidence import Evidence, Series
from testcard.reports.figures import palette
from testcard.reports.figures.drawing import Table
from testcard.reports.figures.style import Sketch, canvas, colour, fit_axis, heading, keys, marker

POINTS = 240
_SHARES = (0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99)


def sketch(evidence: Evidence, rows: Sequence[Series], unit: Unit) -> Sketch | None:
    """The figure, or None where no request was answered."""
    curves = []
    for series in rows:
        frame = evidence.samples(series)
        frame = frame[
            (~frame["warmup"].fillna(False).to_numpy(dtype=bool)) & frame["outcome"].isin(["ok", "slow", "timeout"]).to_numpy(dtype=bool)
        ]
        latency = (frame["done_s"] - frame["scheduled_s"]).to_numpy(dtype=float) * unit.factor
        timeout = (frame["outcome"] == "timeout").to_numpy(dtype=bool) | np.isnan(latency)
        curve = dkw(np.where(np.isnan(latency), np.inf, latency), censored=timeout, points=POINTS)
        if len(curve.x):
            curves.append((series, curve, int(timeout.sum())))
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

    return Sketch("latency-ecdf", "How long requests take", _caption(rows, curves, unit), _table(curves, unit), draw)


def _at(curve: Ecdf, share: float) -> float | None:
    place = int(np.searchsorted(curve.share, share - 1e-12))
    return float(curve.x[place]) if place < len(curve.x) else None


def _note(n: int, late: int) -> str:
    return f"n = {n:,}" + (f", {late:,} timed out" if late else "")


def _caption(rows: Sequence[Series], curves: list[tuple[Series, Ecdf, int]], unit: Unit) -> str:
    medians = [(series.label, at) for series, curve, _ in curves if (at := _at(curve, 0.5)) is not None]
    said = ""
    if len(medians) > 1:
        first, last = medians[0], medians[-1]
        fastest, slowest = (unit.text(at / unit.factor) for at in (first[1], last[1]))
        spans = {series.label: series.row.latency_s.get("p50") for series in rows}
        if told_apart(spans[first[0]], spans[last[0]]):
            said = (
                f"Half of {first[0]}'s requests are answered within {fastest} {unit.name}; {last[0]} needs {slowest} {unit.name} for that. "
            )
        else:
            said = f"The medians, {fastest} to {slowest} {unit.name}, cannot be told apart: their intervals overlap. "
    elif medians:
        said = f"Half of the requests are answered within {unit.text(medians[0][1] / unit.factor)} {unit.name}. "
    late = [series.label for series, _, number in curves if number]
    gap = f"Timeouts are the gap below 100 % ({listing(late)}). " if late else ""
    return f"{said}{gap}Bands hold the whole true curve with 95 % confidence (Dvoretzky–Kiefer–Wolfowitz); warm-up is left out."


def _table(curves: list[tuple[Series, Ecdf, int]], unit: Unit) -> Table:
    header = ("target", "n", "timeouts", *(f"{share:.0%} within, {unit.name}" for share in _SHARES))
    rows = []
    for series, curve, late in curves:
        spots = [_at(curve, share) for share in _SHARES]
        rows.append((series.label, f"{curve.n:,}", f"{late:,}", *(unit.text(None if at is None else at / unit.factor) for at in spots)))
    return Table(header, tuple(rows))
