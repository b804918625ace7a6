"""New over old with its interval for each row and metric, beside the zone that counts as noise."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from testcard.harness.statistics import sentences
from testcard.harness.statistics.compare import METRICS, Change, Comparison
from testcard.harness.text.words import clean, listing
from testcard.reports.figures import palette
from testcard.reports.figures.drawing import Table
from testcard.reports.figures.style import Sketch, canvas, heading, linear_axis, log_axis, row_labels

#: Rows that a page has room for; what changed comes first, the table below the figure has all of them.
MOST = 40
_TINTS = {"worse": palette.SERIES[1], "better": palette.SERIES[2], "within noise": palette.MUTED, "no decision": palette.FAINT}
_MARKS = {"worse": "D", "better": "s", "within noise": "o", "no decision": "o"}


def sketch(comparison: Comparison) -> Sketch | None:
    """The forest plot, or None where no ratio is known."""
    known = [change for change in comparison.changes if _drawable(change)]
    if not known:
        return None
    order = {metric: place for place, metric in enumerate(METRICS)}
    moved = [change for change in known if change.verdict in ("worse", "better")]
    quiet = [change for change in known if change.verdict not in ("worse", "better") and not _still(change)]
    shown = (moved + quiet)[:MOST] or known[:MOST]
    shown.sort(key=lambda change: (order[change.metric], change.target, change.stage))
    several = len({(change.operation, change.stage, change.model) for change in shown}) > 1

    def draw() -> Figure:
        figure, (axes,) = canvas(1.15 + 0.4 * len(shown), left=0.27, right=0.97, top_in=0.6)
        ends = [end for change in shown for end in _ends(change)] + [1 / (1 + shown[0].noise), 1 + shown[0].noise]
        low, high = min(ends), max(ends)
        if high / low > 4:
            log_axis(axes, "x", low / 1.1, high * 1.1)
        else:
            linear_axis(axes, "x", low - 0.05 * (high - low), high + 0.05 * (high - low))
        axes.set_ylim(len(shown) - 0.4, -0.6)
        axes.grid(True, axis="x")
        for place, change in enumerate(shown):
            zone = (1 / (1 + change.noise), 1 + change.noise)
            axes.barh(place, zone[1] - zone[0], left=zone[0], height=1.0, color=palette.GRID.light, linewidth=0)
        axes.axvline(1.0, color=palette.MUTED.light, linewidth=1)
        for place, change in enumerate(shown):
            tint = _TINTS[change.verdict].light
            assert change.change is not None
            assert change.change.value is not None
            axes.plot(_ends(change)[:2], [place, place], color=tint, linewidth=2.2, solid_capstyle="butt")
            axes.plot([change.change.value], [place], linestyle="none", marker=_MARKS[change.verdict], markersize=6.5, color=tint)
        row_labels(axes, [(f"{change.metric.title} · {clean(change.target)}", _note(change, several)) for change in shown])
        axes.set_xlabel("new / old")
        heading(axes, "diamond: worse · square: better · circle: within noise · band: noise", "1 is no change", pad_pt=12)
        return figure

    return Sketch("baseline-ratios", "New over old", _caption(comparison, known, shown), _table(comparison.changes), draw)


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


def _note(change: Change, several: bool) -> str:
    rounds = f"{change.rounds[0]} against {change.rounds[1]} rounds"
    return f"{clean(change.operation)}, {clean(change.stage)} · {rounds}" if several else rounds


def _caption(comparison: Comparison, known: Sequence[Change], shown: Sequence[Change]) -> str:
    parts = []
    for word in ("worse", "better"):
        names = [
            f"{change.metric.title} of {clean(change.target)} ({sentences.extent(change)})" for change in known if change.verdict == word
        ]
        if names:
            parts.append(f"{word.capitalize()}: {listing(names, 4)}.")
    if not parts:
        parts.append("No ratio is surely outside the noise.")
    left = len(known) - len(shown)
    if left:
        parts.append(f"{left} more that did not move are in the table only.")
    parts.append(
        "Lines are 95 % intervals of Welch's t on logarithms of round values; a change counts where the rounds differ (Holm, 5 %) and it is beyond "
        "the band with 90 % confidence. Of latency and cost less is better, of throughput and goodput more."
    )
    return " ".join(parts)


def _table(changes: Sequence[Change]) -> Table:
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
