"""How requests ended: shares of each outcome, stacked, with the good ones greyed so that the rest stands out."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from testcard.harness.runs.records import OUTCOMES
from testcard.harness.text.words import PERCENT, clean, count, listing
from testcard.reports.content.evidence import Series
from testcard.reports.content.exhibits import Table
from testcard.reports.figures import palette
from testcard.reports.figures.style import Sketch, canvas, heading, row_labels


def sketch(rows: Sequence[Series]) -> Sketch | None:
    """The figure, or None where no request failed (a sentence says that better)."""
    if not any(series.row.errors for series in rows):
        return None
    kinds = _kinds(rows)

    def draw() -> Figure:
        figure, (axes,) = canvas(1.2 + 0.4 * len(rows), left=0.235, right=0.97, top_in=0.62)
        top = max(sum(_share(series, kind) for kind in kinds) for series in rows)
        axes.grid(True, axis="x")
        axes.set_xlim(0, top * 1.12)
        axes.xaxis.set_major_formatter(lambda value, _: f"{value * 100:.3g} %")
        axes.set_ylim(len(rows) - 0.45, -0.6)
        for place, series in enumerate(rows):
            left = 0.0
            for kind in kinds:
                share = _share(series, kind)
                axes.barh(place, share, left=left, height=0.5, color=_tint(kind), linewidth=0)
                left += share
            text = "none" if left == 0 else f"{left * 100:.3g} %"
            axes.annotate(
                text, (left, place), xytext=(6, 0), textcoords="offset points", va="center", fontsize=8.5, color=palette.INK.light
            )
        several = len({series.row.stage for series in rows}) > 1
        stage = {series.row.stage: f"{clean(series.row.stage)} · " if several else "" for series in rows}
        row_labels(axes, [(series.label, f"{stage[series.row.stage]}n = {series.row.requests:,}") for series in rows])
        axes.set_xlabel("share of measured requests that failed")
        at = 0.0
        for kind in kinds:
            axes.annotate("■", (0, 1), xycoords="axes fraction", xytext=(at, 14), textcoords="offset points", color=_tint(kind))
            axes.annotate(kind, (0, 1), xycoords="axes fraction", xytext=(at + 13, 14), textcoords="offset points", color=palette.INK.light)
            at += 13 + 5.6 * len(kind) + 14
        heading(axes, "", "lower is better", pad_pt=14)
        return figure

    return Sketch("outcomes", "How requests failed", _caption(rows), _table(rows), draw)


def _kinds(rows: Sequence[Series]) -> list[str]:
    seen = {kind for series in rows for kind, number in series.row.errors.items() if number}
    return [kind for kind in OUTCOMES if kind in seen] + sorted(seen - set(OUTCOMES))


def _tint(kind: str) -> str:
    return palette.OUTCOME_COLOURS.get(kind, palette.MUTED).light


def _share(series: Series, kind: str) -> float:
    return series.row.errors.get(kind, 0) / series.row.requests if series.row.requests else 0.0


def _caption(rows: Sequence[Series]) -> str:
    worst = max(rows, key=lambda series: sum(series.row.errors.values()) / max(series.row.requests, 1))
    failed = sum(worst.row.errors.values())
    kinds = sorted(((number, kind) for kind, number in worst.row.errors.items() if number), reverse=True)
    said = listing([f"{number:,} {clean(kind)}" for number, kind in kinds], 4)
    limited = sum(series.row.errors.get("rate-limited", 0) for series in rows)
    rates = f" {count(limited, 'request')} met a rate limit (429)." if limited else " No request met a rate limit."
    where = f" at stage {clean(worst.row.stage)}" if len({series.row.stage for series in rows}) > 1 else ""
    return f"{worst.label}{where} fails most: {failed:,} of {count(worst.row.requests, 'request')} ({said}).{rates}"


def _table(rows: Sequence[Series]) -> Table:
    kinds = _kinds(rows)
    body = [
        (
            series.label,
            series.row.stage,
            f"{series.row.requests:,}",
            f"{series.row.ok:,}",
            *(f"{series.row.errors.get(kind, 0):,}" for kind in kinds),
            PERCENT.full(series.row.error_rate),
        )
        for series in rows
    ]
    return Table(("target", "stage", "n", "delivered", *kinds, "error rate"), tuple(body))
