"""Figures over runs: a panel for each metric, a line for each row of equal fingerprint."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from testcard.harness.history.reading import History
from testcard.harness.text.words import clean, fixed, listing
from testcard.reports.figures import palette
from testcard.reports.figures.drawing import Table
from testcard.reports.figures.style import Sketch, canvas, fit_axis, heading, keys

_PANELS = {
    "p50_s": ("p50 latency, s", "lower is better"),
    "p95_s": ("p95 latency, s", "lower is better"),
    "goodput_rps": ("goodput, requests per second", "more is better"),
    "cost_usd_per_1000_good_images": ("cost of 1,000 good images, USD", "lower is better"),
}
#: Lines that can be told apart in one panel; the table has all of them.
MOST = 8


def sketch(histories: Sequence[History]) -> Sketch | None:
    """The figure, or None where no row was measured in two comparable runs."""
    rows = [each for each in histories if len(each.points) > 1]
    panels = [metric for metric in _PANELS if any(each.metric == metric for each in rows)]
    if not panels:
        return None
    moments = sorted({point.started for each in rows for point in each.points})
    names = list(dict.fromkeys(_name(each) for each in sorted(rows, key=lambda each: -len(each.points))))[:MOST]
    labels = _shortest(rows, names)

    def draw() -> Figure:
        figure, axes = canvas(0.9 + 2.0 * len(panels), rows=len(panels))
        for panel, metric in zip(axes, panels, strict=True):
            mine = [each for each in rows if each.metric == metric and _name(each) in names]
            panel.grid(True, axis="y")
            fit_axis(panel, "y", [end for each in mine for point in each.points for end in (point.value, point.high or point.value)])
            for each in mine:
                place = names.index(_name(each))
                tint, mark = palette.SERIES[place % len(palette.SERIES)].light, palette.MARKERS[place % len(palette.MARKERS)]
                at = [moments.index(point.started) + 1 for point in each.points]
                panel.plot(at, [point.value for point in each.points], color=tint, marker=mark, markersize=4.5, linewidth=1.2)
                for where, point in zip(at, each.points, strict=True):
                    if point.low is not None and point.high is not None:
                        panel.plot([where, where], [point.low, point.high], color=tint, linewidth=1, alpha=0.5)
            title, tag = _PANELS[metric]
            heading(panel, title, tag)
            panel.set_xlim(0.5, len(moments) + 0.5)
            panel.xaxis.set_major_locator(MaxNLocator(12, integer=True))
        axes[-1].set_xlabel(f"run, from {moments[0][:10]} to {moments[-1][:10]}")
        keys(
            axes[0],
            [
                (
                    palette.SERIES[place % len(palette.SERIES)],
                    palette.MARKERS[place % len(palette.MARKERS)],
                    labels[name],
                    f"{_runs(rows, name)} runs",
                )
                for place, name in enumerate(names)
            ],
        )
        return figure

    return Sketch("history", "Over the runs", _caption(rows), _table(rows), draw)


def _name(each: History) -> str:
    return clean(" · ".join(part for part in (each.provider, each.model, each.operation, each.stage) if part))


def _shortest(rows: Sequence[History], names: Sequence[str]) -> dict[str, str]:
    """The provider alone where that tells the rows apart, else the whole name."""
    providers = {_name(each): clean(each.provider) for each in rows}
    unique = len({providers[name] for name in names}) == len(names)
    return {name: providers[name] if unique else name for name in names}


def _runs(rows: Sequence[History], name: str) -> int:
    return max(len(each.points) for each in rows if _name(each) == name)


def _caption(rows: Sequence[History]) -> str:
    moved = [
        f"{_PANELS[each.metric][0].partition(',')[0]} of {_name(each)} is {each.trend.word}"
        for each in rows
        if each.metric in _PANELS and each.trend.word in ("rising", "falling")
    ]
    said = f"{listing(moved, 4)}." if moved else "No figure shows a trend."
    return f"{said} A trend is Mann and Kendall's, from 8 runs of equal fingerprint on. Thin lines are 95 % intervals."


def _table(rows: Sequence[History]) -> Table:
    body = tuple(
        (
            _name(each),
            each.metric,
            str(len(each.points)),
            fixed(each.points[0].value),
            fixed(each.points[-1].value),
            "–" if each.trend.latest is None else f"{each.trend.latest:.2f}",
            each.trend.word,
        )
        for each in rows
    )
    return Table(("row", "figure", "runs", "first", "latest", "latest / median before", "trend"), body)
