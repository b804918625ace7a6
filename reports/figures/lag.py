"""How late the load generator itself was: from when a request could have been sent to when it was."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from testcard.harness.statistics.percentiles import nearest
from testcard.harness.text.words import MILLISECONDS, NONE, clean, fixed
from testcard.reports.content.evidence import Evidence, Series
from testcard.reports.figures.drawing import Table
from testcard.reports.figures.style import Sketch, canvas, colour, fit_axis, heading, row_labels

_FLOOR_S = 1e-5  # a hundredth of a millisecond: less is not told apart from nothing


def sketch(evidence: Evidence, all_stages: Sequence[Series]) -> Sketch | None:
    """The figure, or None where the samples do not say when a request could have been sent."""
    rows = [(series, found) for series in all_stages if (found := _lags(evidence, series)) is not None]
    if not rows:
        return None
    several = len({(series.bench, series.row.stage) for series, _ in rows}) > len({series.bench for series, _ in rows})

    def draw() -> Figure:
        figure, (axes,) = canvas(1.05 + 0.42 * len(rows), left=0.235, right=0.97)
        axes.grid(True, axis="x")
        fit_axis(axes, "x", [max(value, _FLOOR_S) * 1000 for _, found in rows for value in (found[0], found[1], found[2])])
        axes.set_ylim(len(rows) - 0.45, -0.6)
        for place, (series, (p50, p99, worst, _)) in enumerate(rows):
            tint = colour(series).light
            low, high, top = (max(value, _FLOOR_S) * 1000 for value in (p50, p99, worst))
            axes.plot([low, high], [place, place], color=tint, linewidth=2.2, alpha=0.55)
            axes.plot([low], [place], linestyle="none", marker="o", color=tint)
            axes.plot([high], [place], linestyle="none", marker="D", color=tint)
            axes.plot([top], [place], linestyle="none", marker="|", markersize=12, markeredgewidth=1.8, color=tint)
        row_labels(
            axes,
            [(series.label, f"{clean(series.row.stage)} · n = {found[3]:,}" if several else f"n = {found[3]:,}") for series, found in rows],
        )
        axes.set_xlabel("send lag of the load generator, ms")
        heading(axes, "circle: p50 · diamond: p99 · bar: largest", "lower is better", pad_pt=10)
        return figure

    return Sketch("send-lag", "Did the generator keep up?", _caption(rows), _table(rows), draw)


def _lags(evidence: Evidence, series: Series) -> tuple[float, float, float, int] | None:
    """p50, p99 and the largest send lag in seconds after the warm-up, and their number."""
    frame = evidence.samples(series)
    lag = frame.loc[~frame["warmup"].fillna(False).to_numpy(dtype=bool), "lag_s"].to_numpy(dtype=float)
    lag = np.sort(lag[~np.isnan(lag)])
    if not len(lag):
        return None
    return nearest(lag, 0.5), nearest(lag, 0.99), float(lag[-1]), len(lag)


def _caption(rows: Sequence[tuple[Series, tuple[float, float, float, int]]]) -> str:
    series, (_, p99, _, _) = max(rows, key=lambda row: row[1][1])
    p50 = series.row.latency_s.get("p50")
    against = f", {p99 / p50.value:.1%} of that row's median latency" if p50 is not None and p50.value else ""
    doubt = [
        each.label
        for each, _ in rows
        if each.row.outcome == "inconclusive" and each.row.note and ("load generator was" in each.row.note or "bottleneck" in each.row.note)
    ]
    said = " It was the bottleneck somewhere: the stages that say so are inconclusive." if doubt else ""
    return (
        f"99 % of the requests left within {MILLISECONDS.text(p99)} ms of when they could have, or sooner, in every row (the latest: {series.label}"
        f"{against}). This is Testcard's own lateness, not the service's; it is part of every latency, which counts from the scheduled start.{said}"
    )


def _table(rows: Sequence[tuple[Series, tuple[float, float, float, int]]]) -> Table:
    body = []
    for series, (p50, p99, worst, n) in rows:
        cpu = series.row.generator.cpu_percent
        body.append(
            (
                series.label,
                clean(series.row.stage),
                *(f"{MILLISECONDS.text(value)} ms" for value in (p50, p99, worst)),
                NONE if cpu is None else f"{fixed(cpu)} %",
                f"{n:,}",
            )
        )
    return Table(("target", "stage", "p50", "p99", "largest", "CPU of the generator", "n"), tuple(body))
