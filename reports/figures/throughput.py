"""Offered, completed and within-SLO throughput: dots where there is one stage, curves over the offered rate where there are several."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from testcard.harness.text.words import PER_SECOND, fixed, listing
from testcard.reports.content.evidence import Series
from testcard.reports.figures import palette
from testcard.reports.figures.drawing import Table
from testcard.reports.figures.style import Sketch, canvas, colour, heading, keys, linear_axis, marker, row_labels

_KINDS = (("offered", "|"), ("completed", "o"), ("within SLO", "D"))


def sketch(rows: Sequence[Series]) -> Sketch | None:
    """The figure over all stages, or None where nothing was sent."""
    if not rows:
        return None
    stages = {(series.bench, series.row.stage) for series in rows}
    several = len(stages) > 1 and all(series.row.offered_rps is not None for series in rows)
    return Sketch(
        "throughput", "Offered, completed, within the SLO", _caption(rows), _table(rows), lambda: _curves(rows) if several else _dots(rows)
    )


def _dots(rows: Sequence[Series]) -> Figure:
    figure, (axes,) = canvas(1.05 + 0.42 * len(rows), left=0.235, right=0.97)
    axes.grid(True, axis="x")
    tops = [value for series in rows for value in _values(series) if value is not None]
    linear_axis(axes, "x", 0, max([*tops, 1e-9]) * 1.08)
    axes.set_ylim(len(rows) - 0.45, -0.6)
    for place, series in enumerate(rows):
        offered, completed, good = _values(series)
        tint = colour(series).light
        known = [value for value in (offered, completed, good) if value is not None]
        axes.plot([min(known), max(known)], [place, place], color=palette.FAINT.light, linewidth=2.5, solid_capstyle="butt")
        if offered is not None:
            axes.plot([offered], [place], linestyle="none", marker="|", markersize=15, markeredgewidth=2, color=palette.INK.light)
        axes.plot([completed], [place], linestyle="none", marker="o", markersize=9, markerfacecolor="none", markeredgewidth=1.6, color=tint)
        axes.plot([good], [place], linestyle="none", marker="D", markersize=4.5, color=tint)
    row_labels(axes, [(series.label, f"n = {series.row.requests:,}") for series in rows])
    axes.set_xlabel("requests per second")
    heading(axes, "bar: offered · ring: completed · diamond: within the SLO", "more is better", pad_pt=12)
    return figure


def _curves(rows: Sequence[Series]) -> Figure:
    lines: dict[int, list[Series]] = {}
    for series in rows:
        lines.setdefault(series.index, []).append(series)
    figure, (axes,) = canvas(max(4.0, 0.95 + len(lines) * 33 / 72))
    axes.grid(True, axis="both")
    top = max(series.row.offered_rps or 0 for series in rows) * 1.08
    linear_axis(axes, "x", 0, top)
    linear_axis(axes, "y", 0, top)
    axes.plot([0, top], [0, top], color=palette.FAINT.light, linewidth=1)
    for members in lines.values():
        members.sort(key=lambda series: series.row.offered_rps or 0)
        offered = [series.row.offered_rps or 0.0 for series in members]
        tint, mark = colour(members[0]).light, marker(members[0])
        axes.plot(offered, [series.row.achieved_rps for series in members], color=tint, linewidth=1, linestyle=(0, (3, 2)))
        axes.plot(offered, [series.row.goodput_rps for series in members], color=tint, marker=mark)
    axes.set_xlabel("offered, requests per second")
    heading(axes, "requests per second · dashed: completed · solid: within the SLO", "nearer the diagonal is better")
    keys(axes, [(colour(m[0]), marker(m[0]), m[0].label, f"n = {sum(s.row.requests for s in m):,}") for m in lines.values()])
    return figure


def _values(series: Series) -> tuple[float | None, float, float]:
    return series.row.offered_rps, series.row.achieved_rps, series.row.goodput_rps


def _caption(rows: Sequence[Series]) -> str:
    several = len({series.row.stage for series in rows}) > 1
    lost = [
        (
            f"{series.label} at {fixed(series.row.offered_rps)}/s" if several else series.label,
            1 - series.row.goodput_rps / series.row.offered_rps,
        )
        for series in rows
        if series.row.offered_rps and series.row.goodput_rps < series.row.offered_rps
    ]
    lost.sort(key=lambda entry: -entry[1])
    behind = [f"{label} ({share:.0%})" for label, share in lost if share >= 0.02]
    if behind:
        return f"Share of the offered requests that did not become good ones in time: {listing(behind)}. The others delivered what was offered."
    if any(series.row.offered_rps for series in rows):
        return "Every row delivered within the SLO what was offered, to within 2 %."
    return "Closed loop: users wait for their answers, so there is no offered rate to compare with."


def _table(rows: Sequence[Series]) -> Table:
    body = []
    for series in rows:
        row = series.row
        lag = "–" if row.generator.send_lag_p99_s is None else f"{row.generator.send_lag_p99_s * 1000:.1f} ms"
        good = PER_SECOND.full(row.goodput) if row.goodput and row.goodput.value is not None else fixed(row.goodput_rps)
        body.append(
            (
                series.label,
                row.stage,
                fixed(row.offered_rps),
                fixed(row.achieved_rps),
                good,
                fixed(row.images_per_s),
                fixed(row.megapixels_per_s),
                lag,
                f"{row.requests:,}",
            )
        )
    header = ("target", "stage", "offered /s", "completed /s", "within SLO /s", "images /s", "megapixels /s", "generator lag p99", "n")
    return Table(header, tuple(body))
