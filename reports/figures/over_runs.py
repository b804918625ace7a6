"""A run beside others: new over old with the zone that counts as noise, and figures over the runs of a history."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from testcard.harness.history.index import History
from testcard.harness.statistics import sentences
from testcard.harness.statistics.compare import METRICS, Change, Comparison
from testcard.harness.text.words import clean, fixed, listing
from testcard.reports.content.exhibits import Table
from testcard.reports.figures import palette
from testcard.reports.figures.style import Sketch, canvas, fit_axis, heading, keys, linear_axis, log_axis, row_labels

#: Rows that a page has room for; what changed comes first, the table below the figure has all of them.
MOST_CHANGES = 40
_TINTS = {
    "worse": palette.SERIES[1],
    "better": palette.SERIES[2],
    "below the margin": palette.MUTED,
    "no difference": palette.MUTED,
    "no decision": palette.FAINT,
}
_MARKS = {"worse": "D", "better": "s", "below the margin": "^", "no difference": "o", "no decision": "o"}
_PANELS = {
    "p50_s": ("p50 latency, s", "lower is better"),
    "p95_s": ("p95 latency, s", "lower is better"),
    "goodput_rps": ("goodput, requests per second", "more is better"),
    "cost_usd_per_1000_good_images": ("cost of 1,000 good images, USD", "lower is better"),
}
#: Lines that can be told apart in one panel; the table has all of them.
MOST_LINES = 8


# ── new over old with its interval for each row and metric ────────────────────────────────────────────────────────────


def new_over_old(comparison: Comparison) -> Sketch | None:
    """The forest plot, or None where no ratio is known."""
    known = [change for change in comparison.changes if _drawable(change)]
    if not known:
        return None
    order = {metric: place for place, metric in enumerate(METRICS)}
    moved = [change for change in known if change.verdict in ("worse", "better")]
    quiet = [change for change in known if change.verdict not in ("worse", "better") and not _still(change)]
    shown = (moved + quiet)[:MOST_CHANGES] or known[:MOST_CHANGES]
    shown.sort(key=lambda change: (order[change.metric], change.target, change.stage))
    several = len({(change.operation, change.stage, change.model) for change in shown}) > 1

    def draw() -> Figure:
        figure, (axes,) = canvas(1.15 + 0.4 * len(shown), left=0.27, right=0.97, top_in=0.6)
        ends = [end for change in shown for end in _ends(change)] + [1 / (1 + shown[0].margin), 1 + shown[0].margin]
        low, high = min(ends), max(ends)
        if high / low > 4:
            log_axis(axes, "x", low / 1.1, high * 1.1)
        else:
            linear_axis(axes, "x", low - 0.05 * (high - low), high + 0.05 * (high - low))
        axes.set_ylim(len(shown) - 0.4, -0.6)
        axes.grid(True, axis="x")
        for place, change in enumerate(shown):
            zone = (1 / (1 + change.margin), 1 + change.margin)
            axes.barh(place, zone[1] - zone[0], left=zone[0], height=1.0, color=palette.GRID.light, linewidth=0)
        axes.axvline(1.0, color=palette.MUTED.light, linewidth=1)
        for place, change in enumerate(shown):
            tint = _TINTS[change.verdict].light
            assert change.change is not None
            assert change.change.value is not None
            axes.plot(_ends(change)[:2], [place, place], color=tint, linewidth=2.2, solid_capstyle="butt")
            axes.plot([change.change.value], [place], linestyle="none", marker=_MARKS[change.verdict], markersize=6.5, color=tint)
        row_labels(axes, [(f"{change.metric.title} · {clean(change.target)}", _forest_note(change, several)) for change in shown])
        axes.set_xlabel("new / old")
        heading(
            axes,
            "diamond: worse · square: better · triangle: below the margin · circle: no difference · band: margin",
            "1 is no change",
            pad_pt=12,
        )
        return figure

    return Sketch("baseline-ratios", "New over old", _forest_caption(comparison, known, shown), _forest_table(comparison.changes), draw)


def _drawable(change: Change) -> bool:
    estimate = change.change
    return (
        not change.metric.share
        and change.verdict in _TINTS
        and estimate is not None
        and bool(estimate.value)
        and bool(estimate.low)
        and estimate.high is not None
    )


def _still(change: Change) -> bool:
    """Whether the figure is the same on both sides to the last digit shown: nothing to see in a plot."""
    return all(abs(end - 1.0) < 1e-6 for end in _ends(change))


def _ends(change: Change) -> list[float]:
    estimate = change.change
    return [] if estimate is None else [end for end in (estimate.low, estimate.high, estimate.value) if end is not None]


def _forest_note(change: Change, several: bool) -> str:
    rounds = f"{change.rounds[0]} against {change.rounds[1]} rounds"
    return f"{clean(change.operation)}, {clean(change.stage)} · {rounds}" if several else rounds


def _forest_caption(comparison: Comparison, known: Sequence[Change], shown: Sequence[Change]) -> str:
    parts = []
    for word in ("worse", "better"):
        names = [
            f"{change.metric.title} of {clean(change.target)} ({sentences.extent(change)})" for change in known if change.verdict == word
        ]
        if names:
            parts.append(f"{word.capitalize()}: {listing(names, 4)}.")
    if not parts:
        parts.append("No ratio is surely beyond the margin.")
    left = len(known) - len(shown)
    if left:
        parts.append(f"{left} more that did not move are in the table only.")
    parts.append(
        "Lines are 95 % intervals of Welch's t on logarithms of round values; a change counts where the rounds differ (Holm, 5 %) and it is beyond "
        "the band with 90 % confidence. Of latency and cost less is better, of throughput and goodput more."
    )
    return " ".join(parts)


def _forest_table(changes: Sequence[Change]) -> Table:
    rows = tuple(
        (
            clean(sentences.place(change)),
            change.metric.title,
            change.verdict,
            *sentences.figures(change),
            sentences.extent(change),
            f"{change.rounds[0]} / {change.rounds[1]}",
            "–" if change.p is None else f"{change.p:.2g}",
        )
        for change in changes
    )
    return Table(("row", "metric", "verdict", "new", "baseline", "change [95 %]", "rounds", "p (Holm)"), rows)


# ── figures over runs: a panel for each metric, a line for each row of equal fingerprint ──────────────────────────────


def over_the_runs(histories: Sequence[History]) -> Sketch | None:
    """The figure, or None where no row was measured in two comparable runs."""
    rows = [each for each in histories if len(each.points) > 1]
    panels = [metric for metric in _PANELS if any(each.metric == metric for each in rows)]
    if not panels:
        return None
    moments = sorted({point.started for each in rows for point in each.points})
    names = list(dict.fromkeys(_row_name(each) for each in sorted(rows, key=lambda each: -len(each.points))))[:MOST_LINES]
    labels = _shortest(rows, names)

    def draw() -> Figure:
        figure, axes = canvas(0.9 + 2.0 * len(panels), rows=len(panels))
        for panel, metric in zip(axes, panels, strict=True):
            mine = [each for each in rows if each.metric == metric and _row_name(each) in names]
            panel.grid(True, axis="y")
            fit_axis(panel, "y", [end for each in mine for point in each.points for end in (point.value, point.high or point.value)])
            for each in mine:
                place = names.index(_row_name(each))
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
                    f"{_run_count(rows, name)} runs",
                )
                for place, name in enumerate(names)
            ],
        )
        return figure

    return Sketch("history", "Over the runs", _history_caption(rows), _history_table(rows), draw)


def _row_name(each: History) -> str:
    return clean(" · ".join(part for part in (each.provider, each.model, each.operation, each.stage) if part))


def _shortest(rows: Sequence[History], names: Sequence[str]) -> dict[str, str]:
    """The provider alone where that tells the rows apart, else the whole name."""
    providers = {_row_name(each): clean(each.provider) for each in rows}
    unique = len({providers[name] for name in names}) == len(names)
    return {name: providers[name] if unique else name for name in names}


def _run_count(rows: Sequence[History], name: str) -> int:
    return max(len(each.points) for each in rows if _row_name(each) == name)


def _history_caption(rows: Sequence[History]) -> str:
    moved = [
        f"{_PANELS[each.metric][0].partition(',')[0]} of {_row_name(each)} is {each.trend.word}"
        for each in rows
        if each.metric in _PANELS and each.trend.word in ("rising", "falling")
    ]
    said = f"{listing(moved, 4)}." if moved else "No figure shows a trend."
    return f"{said} A trend is Mann and Kendall's, from 8 runs of equal fingerprint on. Thin lines are 95 % intervals."


def _history_table(rows: Sequence[History]) -> Table:
    body = tuple(
        (
            _row_name(each),
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
