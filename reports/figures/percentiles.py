"""p50, p95 and p99 of each row as dots with their intervals."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from testcard.harness.runs.records import Estimate
from testcard.harness.text.words import Unit, listing
from testcard.reports.content.evidence import Series
from testcard.reports.figures.drawing import Table
from testcard.reports.figures.style import Sketch, canvas, colour, fit_axis, heading, row_labels

LEVELS = (("p50", "o"), ("p95", "s"), ("p99", "D"))


def sketch(rows: Sequence[Series], unit: Unit) -> Sketch | None:
    """The figure, or None where no percentile is known."""
    shown = [series for series in rows if any(_value(series, name) is not None for name, _ in LEVELS)]
    if not shown:
        return None
    shown.sort(key=lambda series: _value(series, "p50") or float("inf"))

    def draw() -> Figure:
        figure, (axes,) = canvas(1.05 + 0.5 * len(shown), left=0.235, right=0.97)
        axes.grid(True, axis="x")
        values = [bound * unit.factor for series in shown for name, _ in LEVELS for bound in _bounds(series.row.latency_s.get(name))]
        fit_axis(axes, "x", values)
        axes.set_ylim(len(shown) - 0.45, -0.55)
        for place, series in enumerate(shown):
            for shift, (name, mark) in zip((-0.17, 0.0, 0.17), LEVELS, strict=True):
                estimate = series.row.latency_s.get(name)
                if estimate is None or estimate.value is None:
                    continue
                tint = colour(series).light
                if estimate.low is not None and estimate.high is not None:
                    axes.plot(
                        [estimate.low * unit.factor, estimate.high * unit.factor],
                        [place + shift] * 2,
                        color=tint,
                        linewidth=2.2,
                        alpha=0.55,
                    )
                hollow = estimate.low is None
                axes.plot(
                    [estimate.value * unit.factor],
                    [place + shift],
                    linestyle="none",
                    marker=mark,
                    color=tint,
                    markerfacecolor="none" if hollow else tint,
                )
        row_labels(axes, [(series.label, f"n = {series.row.requests:,}") for series in shown])
        axes.set_xlabel(f"latency from the scheduled start, {unit.name}")
        heading(axes, "circle: p50 · square: p95 · diamond: p99", "lower is better", pad_pt=10)
        return figure

    return Sketch("latency-percentiles", "Percentiles", _caption(shown, unit), _table(shown, unit), draw)


def _value(series: Series, name: str) -> float | None:
    estimate = series.row.latency_s.get(name)
    return estimate.value if estimate else None


def _bounds(estimate: Estimate | None) -> list[float]:
    return [] if estimate is None else [bound for bound in (estimate.low, estimate.value, estimate.high) if bound is not None]


def _caption(shown: Sequence[Series], unit: Unit) -> str:
    ratios = [(series.label, p99 / p50) for series in shown if (p50 := _value(series, "p50")) and (p99 := _value(series, "p99"))]
    said = ""
    if ratios:
        label, ratio = max(ratios, key=lambda entry: entry[1])
        said = f"The heaviest tail is {label}'s: its p99 is {ratio:.1f} times its p50. "
    few = [
        series.label
        for series in shown
        if any(name not in series.row.latency_s or series.row.latency_s[name].low is None for name, _ in LEVELS)
    ]
    whom = "every row" if len(few) == len(shown) else listing(few)
    small = (
        f"Where a dot is missing, the samples are too few or too alike for a 95 % interval (p50 needs 6 independent ones, p95 72, p99 368): {whom}. "
        if few
        else ""
    )
    return f"{said}{small}Lines are 95 % order-statistic intervals."


def _table(shown: Sequence[Series], unit: Unit) -> Table:
    rows = []
    for series in shown:
        row = series.row
        rows.append(
            (
                series.label,
                f"{row.requests:,}",
                *(unit.full(row.latency_s.get(name)) for name, _ in LEVELS),
                unit.full(row.service_s.get("p50")),
            )
        )
    return Table(("target", "n", *(name for name, _ in LEVELS), "service p50 (from sending)"), tuple(rows))
