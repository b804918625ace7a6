"""Cost of 1,000 good images against the median latency, with the rows that nothing beats on both joined as the Pareto frontier."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from testcard.harness.runs.records import Estimate
from testcard.harness.statistics.ranking import frontier
from testcard.harness.text.words import DOLLARS, Unit, listing
from testcard.reports.content.evidence import Series
from testcard.reports.content.exhibits import Table
from testcard.reports.figures import palette
from testcard.reports.figures.style import Sketch, canvas, colour, fit_axis, heading, keys, marker


def sketch(rows: Sequence[Series], unit: Unit, groups: Mapping[str, str]) -> Sketch | None:
    """The figure, or None where no row has both a price and a median. `groups`: by the key of a row what it is alike in with those
    that it may be held against; without a group there is one for all."""
    priced = [
        (series, x, y)
        for series in rows
        if (x := _p50(series)) and x.value is not None and (y := series.row.cost_usd_per_1000_good_images) and y.value is not None
    ]
    if not priced:
        return None
    failing = [place for place, (series, _, _) in enumerate(priced) if series.fails]
    best: list[int] = []
    for group in dict.fromkeys(groups.get(series.key, "") for series, _, _ in priced):
        mine = [place for place, (series, _, _) in enumerate(priced) if groups.get(series.key, "") == group and place not in failing]
        best += [mine[place] for place in frontier([priced[place][1:] for place in mine])]
    apart = len({groups.get(series.key, "") for series, _, _ in priced}) > 1

    def draw() -> Figure:
        step = 33
        figure, (axes,) = canvas(max(4.0, 0.95 + len(priced) * step / 72))
        axes.grid(True, axis="both")
        fit_axis(axes, "x", [bound * unit.factor for _, x, _ in priced for bound in (x.low, x.value, x.high) if bound is not None])
        fit_axis(axes, "y", [bound for _, _, y in priced for bound in (y.low, y.value, y.high) if bound is not None])
        corner: list[tuple[float, float]] = []
        for place in [] if apart else best:  # a line joins only what is alike
            at, usd = priced[place][1].value or 0.0, priced[place][2].value or 0.0
            if not corner or usd < corner[-1][1]:
                corner.append((at, usd))
        if len(corner) > 1:
            axes.step(
                [x * unit.factor for x, _ in corner],
                [y for _, y in corner],
                where="post",
                color=palette.MUTED.light,
                linewidth=1.2,
                linestyle=(0, (4, 3)),
            )
        for place, (series, x, y) in enumerate(priced):
            tint = colour(series).light
            at, usd = (x.value or 0.0) * unit.factor, y.value or 0.0
            if x.low is not None and x.high is not None:
                axes.plot([x.low * unit.factor, x.high * unit.factor], [usd, usd], color=tint, linewidth=1.4, alpha=0.7)
            if y.low is not None and y.high is not None:
                axes.plot([at, at], [y.low, y.high], color=tint, linewidth=1.4, alpha=0.7)
            if place in best:
                axes.plot(
                    [at],
                    [usd],
                    linestyle="none",
                    marker="o",
                    markersize=17,
                    markerfacecolor="none",
                    markeredgewidth=1.1,
                    color=palette.MUTED.light,
                )
            axes.plot([at], [usd], linestyle="none", marker=marker(series), markersize=8, color=tint)
        axes.set_xlabel(f"p50 latency, {unit.name}")
        heading(axes, "$ for 1,000 good images", "nearer the lower left is better")
        keys(
            axes,
            [
                (colour(s), marker(s), s.label, f"{DOLLARS.said(y.value)}, n = {y.n:,}")
                for s, _, y in sorted(priced, key=lambda e: -(e[2].value or 0))
            ],
            step_pt=step,
        )
        return figure

    return Sketch(
        "cost-against-latency", "Cost against latency", _caption(rows, priced, best, failing, apart=apart), table(rows, unit), draw
    )


def _p50(series: Series) -> Estimate | None:
    return series.row.latency_s.get("p50")


def _caption(
    rows: Sequence[Series], priced: list[tuple[Series, Estimate, Estimate]], best: list[int], failing: list[int], *, apart: bool
) -> str:
    names = [priced[place][0].label for place in best]
    why = "none is clearly cheaper or faster without being clearly worse on the other axis"
    unpriced = [
        series.label
        for series in rows
        if series.row.cost_usd_per_1000_good_images is None and (series.row.images_per_s or not series.row.ok)
    ]
    missing = f" No price is known for {listing(unpriced)}." if unpriced else ""
    illustrative = any(series.party.target.prices == "illustrative" for series, _, _ in priced)
    label = " Prices are illustrative, made up for runs against mocks." if illustrative else ""
    said = f"No target beats {listing(names)} (ringed): {why}." if len(priced) > 1 else f"Only {priced[0][0].label} has a price."
    if not names:
        said = "No target is ringed."
    if apart and names:
        said += " Only what was asked for alike is held against each other."
    if failing:
        said += f" {listing([priced[place][0].label for place in failing])}: too many requests or pictures fail, so not on the frontier."
    return said + missing + label


def table(rows: Sequence[Series], unit: Unit) -> Table:
    """Price origin and cost figures of every row; "no price" where none is known, never 0."""
    body = []
    for series in rows:
        row = series.row
        absent = "delivers no pictures" if row.ok and not row.images_per_s else "no price"
        known = row.cost_usd_per_image is not None and row.cost_usd_per_image.value is not None
        body.append(
            (
                series.label,
                series.party.target.prices if known else "none",
                DOLLARS.full(row.cost_usd_per_image) if known else absent,
                DOLLARS.full(row.cost_usd_per_1000_good_images) if row.cost_usd_per_1000_good_images else absent,
                DOLLARS.said(row.wasted_usd),
                unit.full(row.latency_s.get("p50")),
            )
        )
    return Table(("target", "price", "per image", "per 1,000 good images", "wasted", "p50"), tuple(body))
