"""Where the time goes: waiting to be sent, connecting, queueing, generating, receiving and downloading, as shares of the mean latency."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from testcard.harness.text.words import NONE, Unit, listing
from testcard.reports.content.evidence import Evidence, Series
from testcard.reports.figures import palette
from testcard.reports.figures.drawing import Table
from testcard.reports.figures.style import Sketch, canvas, heading, row_labels

PHASES = tuple(palette.PHASE_COLOURS)


def sketch(evidence: Evidence, rows: Sequence[Series], unit: Unit) -> Sketch | None:
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

    return Sketch("time-split", "Where the time goes", _caption(parts), _table(parts, unit), draw)


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
    parts = {
        "wait to send": at["sent_s"] - at["scheduled_s"],
        "connect": optional["connect_s"],
        "queue": optional["queue_s"],
        "receive": at["last_byte_s"] - at["first_byte_s"],
        "download": optional["download_s"],
    }
    means = {name: max(float(values.mean()), 0.0) for name, values in parts.items()}
    # What the service itself needs is the rest: until its first byte, and for a task until it is finished, pauses between polls included.
    means["generate"] = max(float(total.mean()) - sum(means.values()), 0.0)
    return {name: means[name] for name in PHASES}, n


def _caption(parts: Sequence[tuple[Series, dict[str, float], int]]) -> str:
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
        f"{first}Generate is all that the service needs until its first byte, and for a task until it is finished, pauses between polls "
        "included; receive is from the first to the last byte of the answer. Pictures are decoded after the clock has stopped, so decoding "
        "is in no latency."
    )


def _table(parts: Sequence[tuple[Series, dict[str, float], int]], unit: Unit) -> Table:
    rows = []
    for series, means, n in parts:
        whole = sum(means.values())
        cells = [f"{unit.text(means[name])} ({means[name] / whole:.0%})" if means[name] > 0 else NONE for name in PHASES]
        rows.append((series.label, f"{n:,}", *cells, unit.text(whole)))
    return Table(("target", "delivered", *(f"{name}, {unit.name}" for name in PHASES), f"mean latency, {unit.name}"), tuple(rows))
