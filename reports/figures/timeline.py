"""Latency of every request over the run: a panel for each row, warm-up hatched, failures as a rug at the foot."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from testcard.harness.text.words import Unit, count, listing
from testcard.reports.content.evidence import Evidence, Series
from testcard.reports.figures import palette
from testcard.reports.figures.drawing import Table
from testcard.reports.figures.style import Sketch, canvas, colour, fit_axis, heading, linear_axis

MOST_PANELS = 12
MOST_POINTS = 20_000


def sketch(evidence: Evidence, rows: Sequence[Series], unit: Unit) -> Sketch | None:
    """The figure, or None without samples. Beyond 12 rows the rest is in the table only."""
    panels = []
    for series in rows:
        frame = evidence.samples(series)
        if not len(frame):
            continue
        data = {
            "at": frame["scheduled_s"].to_numpy(dtype=float),
            "latency": (frame["done_s"] - frame["scheduled_s"]).to_numpy(dtype=float) * unit.factor,
            "warmup": frame["warmup"].fillna(False).to_numpy(dtype=bool),
            "good": frame["outcome"].isin(["ok", "slow"]).to_numpy(dtype=bool),
        }
        panels.append((series, data))
    if not panels:
        return None
    drawn = panels[:MOST_PANELS]

    def draw() -> Figure:
        figure, all_axes = canvas(0.95 + 1.02 * len(drawn), right=0.97, rows=len(drawn))
        values = [float(v) for _, data in drawn for v in _range(data)]
        end = max(float(data["at"].max()) for _, data in drawn)
        start = min(float(data["at"].min()) for _, data in drawn)
        for (series, data), axes in zip(drawn, all_axes, strict=True):
            axes.grid(True, axis="y")
            logarithmic = fit_axis(axes, "y", values, sparse=True)
            _panel(axes, series, data, logarithmic)
            linear_axis(axes, "x", start - 0.01 * (end - start), end + 0.01 * (end - start))
            heading(axes, f"{series.label} · n = {len(data['at']):,}", pad_pt=5)
            axes.tick_params(labelbottom=axes is all_axes[-1])
        all_axes[-1].set_xlabel(f"scheduled start, s since the run began  ·  latency in {unit.name}, lower is better")
        return figure

    return Sketch("latency-over-time", "Latency over time", _caption(panels, drawn, unit), _table(panels, unit), draw)


def _range(data: dict[str, Any]) -> list[float]:
    latency = data["latency"][data["good"]]
    return [float(latency.min()), float(latency.max())] if len(latency) else []


def _panel(axes: Axes, series: Series, data: dict[str, Any], logarithmic: bool) -> None:
    tint = colour(series).light
    for begin, stop in _spans(data["at"], data["warmup"]):
        axes.axvspan(begin, stop, facecolor="none", edgecolor=palette.FAINT.light, hatch="////", linewidth=0)
    good = np.flatnonzero(data["good"])
    if len(good) > MOST_POINTS:
        good = good[np.linspace(0, len(good) - 1, MOST_POINTS).astype(np.intp)]
    axes.plot(
        data["at"][good],
        data["latency"][good],
        linestyle="none",
        marker=".",
        markersize=3.6,
        markeredgewidth=0,
        color=tint,
        alpha=0.6,
        rasterized=True,
    )
    bad = data["at"][~data["good"]]
    if len(bad):
        axes.plot(
            bad[:MOST_POINTS],
            np.full(len(bad[:MOST_POINTS]), 0.06),
            linestyle="none",
            marker="|",
            markersize=9,
            markeredgewidth=1.3,
            color=palette.BAD.light,
            transform=axes.get_xaxis_transform(),
            clip_on=False,
            rasterized=len(bad) > 500,
        )


def _spans(at: Any, warm: Any) -> list[tuple[float, float]]:
    """Stretches of time in which every scheduled request was warm-up; a pause (another target's turn) ends a stretch."""
    order = np.argsort(at, kind="stable")
    times, flags = at[order], warm[order]
    steps = np.diff(times)
    pause = steps > 20 * np.median(steps) if len(steps) else steps
    found: list[tuple[float, float]] = []
    for place in np.flatnonzero(flags):
        if found and place and flags[place - 1] and not pause[place - 1]:
            found[-1] = (found[-1][0], float(times[place]))
        else:
            found.append((float(times[place]), float(times[place])))
    return found


def _caption(panels: list[tuple[Series, dict[str, Any]]], drawn: list[tuple[Series, dict[str, Any]]], unit: Unit) -> str:
    failures = {series.label: int((~data["good"]).sum()) for series, data in panels}
    failed = [f"{label} {number:,}" for label, number in failures.items() if number]
    said = f"Failed requests, as red ticks at the foot: {listing(failed)}. " if failed else "No request failed. "
    warm = sum(int(data["warmup"].sum()) for _, data in panels)
    hatched = f"Hatched: warm-up ({count(warm, 'request')}), shown here and left out of everything else. " if warm else ""
    rest = f" Of {len(panels)} rows the first {len(drawn)} are drawn." if len(drawn) < len(panels) else ""
    return f"{said}{hatched}Gaps are the other targets' turns: targets are interleaved in rounds, so that drift hits all alike.{rest}"


def _table(panels: list[tuple[Series, dict[str, Any]]], unit: Unit) -> Table:
    rows = []
    for series, data in panels:
        good = data["latency"][data["good"]] / unit.factor
        spread = (unit.text(float(good.min())), unit.text(float(good.max()))) if len(good) else ("–", "–")
        begin, end = float(data["at"].min()), float(data["at"].max())
        rows.append(
            (
                series.label,
                f"{len(data['at']):,}",
                f"{int(data['warmup'].sum()):,}",
                f"{int((~data['good']).sum()):,}",
                *spread,
                f"{begin:,.1f} to {end:,.1f}",
            )
        )
    return Table(
        ("target", "requests", "warm-up", "failed", f"shortest, {unit.name}", f"longest, {unit.name}", "scheduled, s"), tuple(rows)
    )
