"""Where a request's time goes, and how latency went over the run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from testcard.harness.statistics.summary import SAME_POLL_S
from testcard.harness.text.words import NONE, Unit, count, listing, percent
from testcard.reports.content.evidence import Evidence, Series
from testcard.reports.content.exhibits import Table
from testcard.reports.figures import palette
from testcard.reports.figures.style import Sketch, canvas, colour, fit_axis, heading, linear_axis, row_labels

PHASES = tuple(palette.PHASE_COLOURS)
MOST_PANELS = 12
MOST_POINTS = 20_000


# ── shares of the mean latency: waiting to be sent, connecting, queueing, generating, receiving, downloading ──────────


def time_split(evidence: Evidence, rows: Sequence[Series], unit: Unit) -> Sketch | None:
    """The figure, or None where no request was answered, or no row has the times that make up its latency."""
    parts = [(series, *_means(evidence, series)) for series in rows]
    parts = [part for part in parts if part[2]]
    if not parts:
        return None
    drawn = [name for name in PHASES if any(means[name] > 0 for _, means, _ in parts)]

    def draw() -> Figure:
        figure, (axes,) = canvas(1.2 + 0.42 * len(parts), left=0.235, right=0.86, top_in=0.62)
        axes.grid(True, axis="x")
        axes.set_xlim(0, 1)
        axes.set_xticks([0, 0.25, 0.5, 0.75, 1.0], ["0 %", "25 %", "50 %", "75 %", "100 %"])
        axes.set_ylim(len(parts) - 0.45, -0.6)
        for place, (_, means, _) in enumerate(parts):
            left, whole = 0.0, sum(means.values())
            for name in drawn:
                share = means[name] / whole
                axes.barh(
                    place,
                    share,
                    left=left,
                    height=0.52,
                    color=palette.PHASE_COLOURS[name].light,
                    edgecolor=palette.SURFACE.light,
                    linewidth=0.6,
                )
                left += share
            axes.annotate(
                f"{unit.text(whole)} {unit.name}",
                (1, place),
                xytext=(8, 0),
                textcoords="offset points",
                va="center",
                fontsize=8.5,
                color=palette.INK.light,
                annotation_clip=False,
            )
        row_labels(axes, [(series.label, f"n = {n:,}") for series, _, n in parts])
        axes.set_xlabel("share of the mean latency of delivered requests  ·  right: that mean, lower is better")
        at = 0.0
        for name in drawn:
            corner: dict[str, Any] = {"xycoords": "axes fraction", "textcoords": "offset points"}
            axes.annotate("■", (0, 1), xytext=(at, 14), color=palette.PHASE_COLOURS[name].light, **corner)
            axes.annotate(name, (0, 1), xytext=(at + 13, 14), color=palette.INK.light, **corner)
            at += 13 + 5.6 * len(name) + 16
        heading(axes, "", pad_pt=14)
        return figure

    return Sketch("time-split", "Where the time goes", _split_caption(parts), _split_table(parts, unit), draw)


def _means(evidence: Evidence, series: Series) -> tuple[dict[str, float], int]:
    """Mean seconds of each phase over the delivered requests after the warm-up, and their number. They sum to the mean latency."""
    frame = evidence.samples(series)
    warm = frame["warmup"].fillna(False).to_numpy(dtype=bool)
    frame = frame[~warm & frame["outcome"].isin(["ok", "slow"]).to_numpy(dtype=bool)]
    column = {name: frame[name].to_numpy(dtype=float) for name in ("scheduled_s", "sent_s", "first_byte_s", "last_byte_s", "done_s")}
    known = ~np.isnan(np.column_stack(list(column.values()))).any(axis=1)
    n = int(known.sum())
    if not n:
        return dict.fromkeys(PHASES, 0.0), 0
    at = {name: values[known] for name, values in column.items()}
    optional = {name: np.nan_to_num(frame[name].to_numpy(dtype=float)[known]) for name in ("connect_s", "queue_s", "download_s")}
    total = at["done_s"] - at["scheduled_s"]
    # A task that was done at the first poll that did not call it waiting was not seen to wait so long: it may as well have been at work.
    seen = at["done_s"] - optional["download_s"] - at["last_byte_s"] - optional["queue_s"] > SAME_POLL_S
    parts = {
        "wait to send": at["sent_s"] - at["scheduled_s"],
        "connect": optional["connect_s"],
        "queue": np.where(seen, optional["queue_s"], 0.0),
        "receive": at["last_byte_s"] - at["first_byte_s"],
        "download": optional["download_s"],
    }
    means = {name: max(float(values.mean()), 0.0) for name, values in parts.items()}
    # What the service itself needs is the rest: until its first byte, and for a task until it is finished, pauses between polls included.
    means["generate"] = max(float(total.mean()) - sum(means.values()), 0.0)
    return {name: means[name] for name in PHASES}, n


def _split_caption(parts: Sequence[tuple[Series, dict[str, float], int]]) -> str:
    said = []
    for name, verb in (
        ("generate", "generating"),
        ("queue", "queueing"),
        ("download", "downloading"),
        ("wait to send", "waiting to be sent"),
    ):
        members = [series.label for series, means, _ in parts if max(means, key=lambda phase: means[phase]) == name]
        if members:
            said.append(f"{verb} at {listing(members)}")
    first = f"Most of the time goes into {listing(said)}. " if said else ""
    return (
        f"{first}Generate is the time that the service takes until its first byte, and for a task until it is finished, pauses between polls "
        "included; receive is from the first to the last byte of the answer. Pictures are decoded after the clock has stopped, so decoding "
        "is part of no latency."
    )


def _split_table(parts: Sequence[tuple[Series, dict[str, float], int]], unit: Unit) -> Table:
    rows = []
    for series, means, n in parts:
        whole = sum(means.values())
        cells = [f"{unit.text(means[name])} ({percent(means[name] / whole)})" if means[name] > 0 else NONE for name in PHASES]
        rows.append((series.label, f"{n:,}", *cells, unit.text(whole)))
    return Table(("target", "delivered", *(f"{name}, {unit.name}" for name in PHASES), f"mean latency, {unit.name}"), tuple(rows))


# ── latency of every request: a panel for each row, warm-up hatched, failures as a rug at the foot ────────────────────


def latency_over_time(evidence: Evidence, rows: Sequence[Series], unit: Unit) -> Sketch | None:
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

    return Sketch("latency-over-time", "Latency over time", _timeline_caption(panels, drawn, unit), _timeline_table(panels, unit), draw)


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


def _timeline_caption(panels: list[tuple[Series, dict[str, Any]]], drawn: list[tuple[Series, dict[str, Any]]], unit: Unit) -> str:
    failures = {series.label: int((~data["good"]).sum()) for series, data in panels}
    failed = [f"{label} {number:,}" for label, number in failures.items() if number]
    said = f"Failed requests, as red ticks at the foot: {listing(failed)}. " if failed else "No request failed. "
    warm = sum(int(data["warmup"].sum()) for _, data in panels)
    hatched = f"Hatched: warm-up ({count(warm, 'request')}), shown here and left out of everything else. " if warm else ""
    rest = f" Of {len(panels)} rows the first {len(drawn)} are drawn." if len(drawn) < len(panels) else ""
    return f"{said}{hatched}Gaps are the other targets' turns: targets are interleaved in rounds, so that drift affects all of them equally.{rest}"


def _timeline_table(panels: list[tuple[Series, dict[str, Any]]], unit: Unit) -> Table:
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
