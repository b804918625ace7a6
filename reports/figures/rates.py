"""p50, p95 and p99 against the offered rate, where a run has several stages; stages at which a row is saturated are ringed."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from testcard.harness.runs.records import Estimate
from testcard.harness.statistics.ratios import wilson
from testcard.harness.text.words import Unit, clean, fixed, listing
from testcard.reports.content.evidence import Series
from testcard.reports.figures import palette
from testcard.reports.figures.drawing import Table
from testcard.reports.figures.style import Sketch, canvas, colour, fit_axis, heading, keys, linear_axis, marker

LEVELS = ("p50", "p95", "p99")
#: A row is saturated where its share of good answers is more than this below what it was at its lowest rate, and surely so.
LOSS = 0.05


def sketch(all_stages: Sequence[Series], unit: Unit) -> Sketch | None:
    """The figure, or None where no row was measured at two offered rates."""
    lines = _lines(all_stages)
    levels = [name for name in LEVELS if any(_estimate(series, name) for members in lines for series in members)]
    if not lines or not levels:
        return None

    def draw() -> Figure:
        step = 33
        figure, panels = canvas(max(0.95 + 1.75 * len(levels), 0.95 + len(lines) * step / 72), rows=len(levels))
        top = max(series.row.offered_rps or 0.0 for members in lines for series in members)
        for axes, name in zip(panels, levels, strict=True):
            axes.grid(True, axis="both")
            bounds = [bound * unit.factor for members in lines for series in members for bound in _bounds(_estimate(series, name))]
            fit_axis(axes, "y", bounds, sparse=True)
            linear_axis(axes, "x", 0, top * 1.06)
            for members in lines:
                _line(axes, members, name, unit)
            heading(axes, f"{name} latency, {unit.name}", "lower is better" if axes is panels[0] else None, pad_pt=6)
            axes.tick_params(labelbottom=axes is panels[-1])
        panels[-1].set_xlabel("offered, requests per second  ·  ring: saturated  ·  hollow: too few samples for an interval")
        entries = []
        for members in lines:
            full = saturated_from(members)
            note = f"n = {sum(series.row.requests for series in members):,}"
            entries.append(
                (
                    colour(members[0]),
                    marker(members[0]),
                    members[0].label,
                    note if full is None else f"{note} · saturated at {fixed(full.row.offered_rps)}/s",
                )
            )
        keys(panels[0], entries, step_pt=step)
        return figure

    return Sketch("latency-against-rate", "Latency under rising load", _caption(lines, unit), _table(lines, unit), draw)


def _line(axes: Axes, members: Sequence[Series], name: str, unit: Unit) -> None:
    tint, mark = colour(members[0]).light, marker(members[0])
    shown = [(series, estimate) for series in members if (estimate := _estimate(series, name)) is not None]
    at = [series.row.offered_rps or 0.0 for series, _ in shown]
    axes.plot(at, [(estimate.value or 0.0) * unit.factor for _, estimate in shown], color=tint, linewidth=1.3)
    limit = saturated_from(members)
    for where, (series, estimate) in zip(at, shown, strict=True):
        value = (estimate.value or 0.0) * unit.factor
        if estimate.low is not None and estimate.high is not None:
            axes.plot([where, where], [estimate.low * unit.factor, estimate.high * unit.factor], color=tint, linewidth=1.4, alpha=0.6)
        sure = estimate.low is not None
        axes.plot([where], [value], linestyle="none", marker=mark, color=tint, markerfacecolor=tint if sure else "none")
        if limit is not None and (series.row.offered_rps or 0.0) >= (limit.row.offered_rps or 0.0):
            axes.plot(
                [where],
                [value],
                linestyle="none",
                marker="o",
                markersize=14,
                markerfacecolor="none",
                markeredgewidth=1.2,
                color=palette.INK.light,
                clip_on=False,
            )


def _lines(all_stages: Sequence[Series]) -> list[list[Series]]:
    """Rows that were offered at least two different rates, each with its stages from the lowest rate up."""
    found: dict[int, list[Series]] = {}
    for series in all_stages:
        if series.row.offered_rps:
            found.setdefault(series.index, []).append(series)
    lines = [sorted(members, key=lambda series: series.row.offered_rps or 0.0) for members in found.values()]
    return [members for members in lines if len({series.row.offered_rps for series in members}) > 1]


def _good_share(series: Series) -> float:
    return min(series.row.goodput_rps / series.row.offered_rps, 1.0) if series.row.offered_rps else 0.0


def saturated_from(members: Sequence[Series]) -> Series | None:
    """The first stage that answers well more than 5 points less often than the lowest rate, by more than chance; None without one.

    More than chance: the two shares' Wilson 95 % intervals are apart. A slow or faulty row is the same at every rate, and with
    few requests at the lowest one its share there is anybody's guess.
    """
    first, before = _good_share(members[0]), _bounds_of_share(members[0])
    for series in members[1:]:
        if _good_share(series) < first - LOSS and _bounds_of_share(series)[1] < before[0]:
            return series
    return None


def _bounds_of_share(series: Series) -> tuple[float, float]:
    found = wilson(round(_good_share(series) * series.row.requests), series.row.requests)
    return (0.0 if found.low is None else found.low, 1.0 if found.high is None else found.high)


def _estimate(series: Series, name: str) -> Estimate | None:
    estimate = series.row.latency_s.get(name)
    return estimate if estimate is not None and estimate.value is not None else None


def _bounds(estimate: Estimate | None) -> list[float]:
    return [] if estimate is None else [bound for bound in (estimate.low, estimate.value, estimate.high) if bound is not None]


def _caption(lines: Sequence[Sequence[Series]], unit: Unit) -> str:
    full = [(members, stage) for members in lines if (stage := saturated_from(members)) is not None]
    parts = [
        f"{members[0].label} at {fixed(stage.row.offered_rps)} requests per second ({_good_share(stage):.0%} good, {_good_share(members[0]):.0%} at its lowest rate)"
        for members, stage in full
    ]
    calm = [members[0].label for members in lines if saturated_from(members) is None]
    said = f"Saturated: {listing(parts)}. " if parts else ""
    held = f"No saturation up to the highest rate offered: {listing(calm)}. " if calm else ""
    return f"{said}{held}Saturated means that the share of requests that came back good fell by more than {LOSS * 100:.0f} points from the lowest rate, and by more than chance."


def _table(lines: Sequence[Sequence[Series]], unit: Unit) -> Table:
    rows = []
    for members in lines:
        limit = saturated_from(members)
        for series in members:
            over = limit is not None and (series.row.offered_rps or 0.0) >= (limit.row.offered_rps or 0.0)
            rows.append(
                (
                    series.label,
                    clean(series.row.stage),
                    fixed(series.row.offered_rps),
                    f"{_good_share(series):.1%}",
                    *(unit.full(series.row.latency_s.get(name)) for name in LEVELS),
                    "saturated" if over else "holds",
                    f"{series.row.requests:,}",
                )
            )
    return Table(("target", "stage", "offered /s", "good", *LEVELS, "state", "n"), tuple(rows))
