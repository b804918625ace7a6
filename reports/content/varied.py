"""Latency where requests of one row differ: by size, number of pictures and steps, and the first request against the later ones."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from testcard.harness.statistics.percentiles import nearest, nearest_rank
from testcard.harness.text.words import NONE, Unit, clean, significant
from testcard.reports.content.comparison import too_few
from testcard.reports.content.evidence import Evidence, Series
from testcard.reports.content.exhibits import Panel, Table

_LEVELS = (("p50", 0.5), ("p95", 0.95))
_ANSWERED = ("ok", "slow")
#: A size is the one that was asked for where its area is that close.
_AREA_SLACK = 0.02
#: Characters of a size in pixels.
_LONGEST_SIZE = 40


def by_size(evidence: Evidence, rows: Sequence[Series], unit: Unit) -> Panel | None:
    """p50 and p95 of each size and number of pictures that came, and of the steps that were asked for; None where no row's requests
    differ in them."""
    body = []
    stepped = any(len(set(evidence.samples(series)["steps"].dropna())) > 1 for series in rows)
    for series in rows:
        frame = _measured(evidence.samples(series))
        frame = frame[frame["outcome"].isin(_ANSWERED).to_numpy(dtype=bool) & (frame["images"].fillna(0) > 0).to_numpy(dtype=bool)]
        if not len(frame):
            continue
        images = frame["images"].to_numpy(dtype=float)
        each = np.round(frame["megapixels"].fillna(0).to_numpy(dtype=float) / images, 4)
        steps = frame["steps"].fillna(0).to_numpy(dtype=int)
        kinds = sorted(set(zip(each.tolist(), images.tolist(), steps.tolist(), strict=True)))
        if len(kinds) < 2:
            continue
        latency = _latency(frame)
        for megapixels, number, of_steps in kinds:
            times = np.sort(latency[(each == megapixels) & (images == number) & (steps == of_steps)])
            shown = [_level(times, name, share, unit) for name, share in _LEVELS]
            body.append(
                (
                    series.label,
                    clean(series.row.stage),
                    _size(series, megapixels),
                    f"{number:.0f}",
                    *([str(of_steps or NONE)] if stepped else []),
                    *shown,
                    unit.text(times.mean()),
                    f"{len(times):,}",
                )
            )
    if not body:
        return None
    asked = " and by the steps that were asked for" if stepped else ""
    said = f"Requests that were answered, by the size and the number of the pictures that came{asked}. Lower is better."
    columns = ("target", "stage", "size", "pictures", *(["steps"] if stepped else []))
    header = (*columns, *(f"{name}, {unit.name}" for name, _ in _LEVELS), f"mean, {unit.name}", "n")
    title = "Latency by size, number of pictures and steps" if stepped else "Latency by size and number of pictures"
    return Panel("by-size", title, said, Table(header, tuple(body)))


def first_requests(evidence: Evidence, rows: Sequence[Series], unit: Unit) -> Panel | None:
    """The first request of all, and the first of each later turn, against the rest; None without samples.

    Warm-up counts as what it is here: the first requests are in it.
    """
    body = []
    for series in rows:
        frame = evidence.samples(series)
        frame = frame[frame["outcome"].isin(_ANSWERED).to_numpy(dtype=bool)].sort_values("scheduled_s")
        if len(frame) < 3:
            continue
        latency = _latency(frame)
        opens = ~frame["round"].duplicated().to_numpy(dtype=bool)
        opens[0] = False
        later = np.sort(latency[1:][~opens[1:]])
        if not len(later):
            continue
        usual = nearest(later, 0.5)
        firsts = np.sort(latency[opens])
        body.append(
            (
                series.label,
                clean(series.row.stage),
                unit.text(float(latency[0])),
                f"{significant(latency[0] / usual)} ×" if usual > 0 else NONE,
                unit.text(nearest(firsts, 0.5)) if len(firsts) > 1 else NONE,
                unit.text(usual),
                f"{len(frame):,}",
            )
        )
    if not body:
        return None
    said = (
        "A service that is idle may need to start: the very first request of a row, warm-up included, and the first of each later turn "
        "(after the turns of the others), against the median of all others. One request is no distribution: look at it again in another run."
    )
    header = (
        "target",
        "stage",
        f"first request, {unit.name}",
        "times the median",
        f"first of a turn p50, {unit.name}",
        f"later p50, {unit.name}",
        "n",
    )
    return Panel("first-requests", "First request against the later ones", said, Table(header, tuple(body)))


def _measured(frame: pd.DataFrame) -> pd.DataFrame:
    return frame[~frame["warmup"].fillna(False).to_numpy(dtype=bool)]


def _latency(frame: pd.DataFrame) -> npt.NDArray[np.float64]:
    return (frame["done_s"] - frame["scheduled_s"]).to_numpy(dtype=np.float64)


def _level(ascending: npt.NDArray[np.float64], name: str, share: float, unit: Unit) -> str:
    if nearest_rank(len(ascending), share) >= len(ascending):  # none lies beyond it
        return too_few(name, len(ascending))
    return unit.text(nearest(ascending, share))


def _size(series: Series, megapixels: float) -> str:
    """The size that was asked for, where one has this area; else the area."""
    for word in series.row.asked.get("size", "").split(" / "):
        width, _, height = word.partition("×")
        if not (width.isdecimal() and height.isdecimal() and len(word) <= _LONGEST_SIZE):  # a run's files can come from anybody
            continue
        if math.isclose(int(width) * int(height) / 1e6, megapixels, rel_tol=_AREA_SLACK):
            return word
    return f"{significant(megapixels)} MP"
