"""What load does: latency against the offered rate, what of it was delivered, how the rest ended, and how late the generator itself was."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from testcard.harness.runs.records import OUTCOMES, Estimate
from testcard.harness.statistics.percentiles import nearest
from testcard.harness.statistics.rates import wilson
from testcard.harness.text.words import MILLISECONDS, NONE, PER_SECOND, PERCENT, Unit, clean, count, fixed, is_unsure, listing, percent
from testcard.reports.content.evidence import Evidence, Series
from testcard.reports.content.exhibits import Table
from testcard.reports.figures import palette
from testcard.reports.figures.style import Sketch, canvas, colour, fit_axis, heading, keys, linear_axis, marker, row_labels

RATE_LEVELS = ("p50", "p95", "p99")
#: A row is saturated where its share of good answers is more than this below what it was at its lowest rate, and surely so.
LOSS = 0.05
_KINDS = (("offered", "|"), ("completed", "o"), ("within SLO", "D"))
_FLOOR_S = 1e-5  # a hundredth of a millisecond: less is not told apart from nothing


# ── p50, p95 and p99 against the offered rate; stages at which a row is saturated are ringed ──────────────────────────


def latency_against_rate(all_stages: Sequence[Series], unit: Unit) -> Sketch | None:
    """The figure, or None where no row was measured at two offered rates."""
    lines = _lines(all_stages)
    levels = [name for name in RATE_LEVELS if any(_estimate(series, name) for members in lines for series in members)]
    if not lines or not levels:
        return None

    def draw() -> Figure:
        step = 33
        figure, panels = canvas(max(0.95 + 1.75 * len(levels), 0.95 + len(lines) * step / 72), rows=len(levels))
        top = max(series.row.offered_rps or 0.0 for members in lines for series in members)
        for axes, name in zip(panels, levels, strict=True):
            axes.grid(True, axis="both")
            bounds = [bound * unit.factor for members in lines for series in members for bound in _rate_bounds(_estimate(series, name))]
            fit_axis(axes, "y", bounds, sparse=True)
            linear_axis(axes, "x", 0, top * 1.06)
            for members in lines:
                _line(axes, members, name, unit)
            heading(axes, f"{name} latency, {unit.name}", "lower is better" if axes is panels[0] else None, pad_pt=6)
            axes.tick_params(labelbottom=axes is panels[-1])
        panels[-1].set_xlabel("offered, requests per second  ·  ring: saturated  ·  hollow: unsure")
        entries = []
        for members in lines:
            full = saturated_from(members)
            note = f"n = {sum(series.timed for series in members):,}"
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

    return Sketch("latency-against-rate", "Latency under rising load", _rate_caption(lines, unit), _rate_table(lines, unit), draw)


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
        sure = estimate.low is not None and not is_unsure(estimate)
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
    """Good requests a second as a share of those offered: less than the share of requests that were good where the target fell behind."""
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


def _rate_bounds(estimate: Estimate | None) -> list[float]:
    return [] if estimate is None else [bound for bound in (estimate.low, estimate.value, estimate.high) if bound is not None]


def _rate_caption(lines: Sequence[Sequence[Series]], unit: Unit) -> str:
    full = [(members, stage) for members in lines if (stage := saturated_from(members)) is not None]
    parts = [
        f"{members[0].label} at {fixed(stage.row.offered_rps)} requests per second ({percent(_good_share(stage))} of it good, {percent(_good_share(members[0]))} at its lowest rate)"
        for members, stage in full
    ]
    calm = [members[0].label for members in lines if saturated_from(members) is None]
    said = f"Saturated: {listing(parts)}. " if parts else ""
    held = f"No saturation up to the highest rate offered: {listing(calm)}. " if calm else ""
    return f"{said}{held}Saturated means that good requests a second, as a share of those offered, fell by more than {LOSS * 100:.0f} points from the lowest rate, and by more than chance."


def _rate_table(lines: Sequence[Sequence[Series]], unit: Unit) -> Table:
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
                    percent(_good_share(series), 1),
                    *(unit.full(series.row.latency_s.get(name)) for name in RATE_LEVELS),
                    "saturated" if over else "holds",
                    f"{series.row.requests:,}",
                )
            )
    return Table(("target", "stage", "offered /s", "good of offered", *RATE_LEVELS, "state", "n"), tuple(rows))


# ── offered, completed and within-SLO throughput ──────────────────────────────────────────────────────────────────────


def throughput(rows: Sequence[Series]) -> Sketch | None:
    """The figure over all stages, or None where nothing was sent."""
    if not rows:
        return None
    stages = {(series.bench, series.row.stage) for series in rows}
    several = len(stages) > 1 and all(series.row.offered_rps is not None for series in rows)
    return Sketch(
        "throughput",
        "Offered, completed, within the SLO",
        _throughput_caption(rows),
        _throughput_table(rows),
        lambda: _curves(rows) if several else _dots(rows),
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


def _throughput_caption(rows: Sequence[Series]) -> str:
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
    behind = [f"{label} by {percent(share)}" for label, share in lost if share >= 0.02]
    if behind:
        others = " The others delivered what was offered." if len(behind) < len(rows) else ""
        return f"Good requests a second fall short of those offered: {listing(behind)} (late, failed, or the target fell behind).{others}"
    if any(series.row.offered_rps for series in rows):
        return "Every row delivered within the SLO what was offered, to within 2 %."
    return "Closed loop: users wait for their answers, so there is no offered rate to compare with."


def _throughput_table(rows: Sequence[Series]) -> Table:
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


# ── how requests ended: shares of each outcome, stacked, with the good ones greyed so that the rest stands out ────────


def outcomes(rows: Sequence[Series]) -> Sketch | None:
    """The figure, or None where no request failed (a sentence says that better)."""
    if not any(series.row.errors for series in rows):
        return None
    kinds = _outcome_kinds(rows)

    def draw() -> Figure:
        figure, (axes,) = canvas(1.2 + 0.4 * len(rows), left=0.235, right=0.97, top_in=0.62)
        top = max(sum(_outcome_share(series, kind) for kind in kinds) for series in rows)
        axes.grid(True, axis="x")
        axes.set_xlim(0, top * 1.12)
        axes.xaxis.set_major_formatter(lambda value, _: f"{value * 100:.3g} %")
        axes.set_ylim(len(rows) - 0.45, -0.6)
        for place, series in enumerate(rows):
            left = 0.0
            for kind in kinds:
                share = _outcome_share(series, kind)
                axes.barh(place, share, left=left, height=0.5, color=_outcome_tint(kind), linewidth=0)
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
            axes.annotate("■", (0, 1), xycoords="axes fraction", xytext=(at, 14), textcoords="offset points", color=_outcome_tint(kind))
            axes.annotate(kind, (0, 1), xycoords="axes fraction", xytext=(at + 13, 14), textcoords="offset points", color=palette.INK.light)
            at += 13 + 5.6 * len(kind) + 14
        heading(axes, "", "lower is better", pad_pt=14)
        return figure

    return Sketch("outcomes", "How requests failed", _outcome_caption(rows), _outcome_table(rows), draw)


def _outcome_kinds(rows: Sequence[Series]) -> list[str]:
    seen = {kind for series in rows for kind, number in series.row.errors.items() if number}
    return [kind for kind in OUTCOMES if kind in seen] + sorted(seen - set(OUTCOMES))


def _outcome_tint(kind: str) -> str:
    return palette.OUTCOME_COLOURS.get(kind, palette.MUTED).light


def _outcome_share(series: Series, kind: str) -> float:
    return series.row.errors.get(kind, 0) / series.row.requests if series.row.requests else 0.0


def _outcome_caption(rows: Sequence[Series]) -> str:
    worst = max(rows, key=lambda series: sum(series.row.errors.values()) / max(series.row.requests, 1))
    failed = sum(worst.row.errors.values())
    kinds = sorted(((number, kind) for kind, number in worst.row.errors.items() if number), reverse=True)
    said = listing([f"{number:,} {clean(kind)}" for number, kind in kinds], 4)
    limited = sum(series.row.errors.get("rate-limited", 0) for series in rows)
    rates = f" {count(limited, 'request')} met a rate limit (429)." if limited else " No request met a rate limit."
    where = f" at stage {clean(worst.row.stage)}" if len({series.row.stage for series in rows}) > 1 else ""
    return f"{worst.label}{where} fails most: {failed:,} of {count(worst.row.requests, 'request')} ({said}).{rates}"


def _outcome_table(rows: Sequence[Series]) -> Table:
    kinds = _outcome_kinds(rows)
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


# ── how late the load generator itself was ────────────────────────────────────────────────────────────────────────────


def send_lag(evidence: Evidence, all_stages: Sequence[Series]) -> Sketch | None:
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

    return Sketch("send-lag", "Did the generator keep up?", _lag_caption(rows), _lag_table(rows), draw)


def _lags(evidence: Evidence, series: Series) -> tuple[float, float, float, int] | None:
    """p50, p99 and the largest send lag in seconds after the warm-up, and their number."""
    frame = evidence.samples(series)
    lag = frame.loc[~frame["warmup"].fillna(False).to_numpy(dtype=bool), "lag_s"].to_numpy(dtype=float)
    lag = np.sort(lag[~np.isnan(lag)])
    if not len(lag):
        return None
    return nearest(lag, 0.5), nearest(lag, 0.99), float(lag[-1]), len(lag)


def _lag_caption(rows: Sequence[tuple[Series, tuple[float, float, float, int]]]) -> str:
    series, (_, p99, _, _) = max(rows, key=lambda row: row[1][1])
    p50 = series.row.latency_s.get("p50")
    against = f", {percent(p99 / p50.value, 1)} of that row's median latency" if p50 is not None and p50.value else ""
    doubt = any(_was_bottleneck(each) for each, _ in rows)
    said = " In some stages it was the bottleneck; those stages are inconclusive and say so." if doubt else ""
    return (
        f"In every row 99 % of the requests were sent within {MILLISECONDS.text(p99)} ms of when they could have been (the latest: {series.label}"
        f"{against}). This is Testcard's own lateness, not the service's; it is part of every latency, which counts from the scheduled start.{said}"
    )


def _was_bottleneck(series: Series) -> bool:
    """Whether the load generator limited a row: by its word, or, in runs of before, which have none, by the row's note."""
    row = series.row
    if row.generator.limit is not None:
        return True
    return row.outcome == "inconclusive" and any(said in (row.note or "") for said in ("load generator was", "bottleneck"))


def _lag_table(rows: Sequence[tuple[Series, tuple[float, float, float, int]]]) -> Table:
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
