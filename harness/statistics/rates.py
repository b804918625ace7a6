"""How long a row's rounds were, and how many requests a second it achieved."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np

from testcard.harness.statistics.columns import Columns, Floats, Mask
from testcard.harness.statistics.serial import Blocks

#: How many standard errors the growth of latency has to be away from none, and from how many rounds on these tell its error.
SURE = 3.0
CLUSTERS = 4


def round_lengths(data: Columns, declared_s: float | None) -> Floats:
    """Seconds of each round in which requests were scheduled: the declared length in equal parts, else the span of the starts."""
    edges = data.edges
    sizes = np.diff(edges)
    if not len(sizes):
        return np.empty(0)
    if declared_s is not None:
        return np.full(len(sizes), declared_s / len(sizes))
    starts = data.scheduled[edges[:-1]]
    spans = data.scheduled[edges[1:] - 1] - starts
    # n starts lie n − 1 gaps apart; the stage goes on for one more.
    lengths = np.where(sizes > 1, spans * sizes / np.maximum(sizes - 1, 1), data.done[edges[:-1]] - starts)
    return np.nan_to_num(np.maximum(lengths, 0.0))


def block_lengths(data: Columns, cut: Blocks, lengths: Floats, declared_s: float | None) -> Floats:
    """Seconds that each block of requests stands for; a block of a round covers the time between its first start and the next block's."""
    if not len(data.scheduled):
        return np.full(max(cut.count, 1), (declared_s or 0.0) / max(cut.count, 1))
    edges = data.edges
    if cut.count == len(lengths):
        return lengths
    owner = np.searchsorted(edges, cut.starts[:-1], side="right") - 1
    pieces = np.empty(cut.count)
    for index in range(len(lengths)):
        mine = np.flatnonzero(owner == index)
        first = data.scheduled[cut.starts[mine]]
        ends = np.append(first[1:], data.scheduled[edges[index]] + lengths[index])
        length = np.maximum(np.diff(np.append(first, ends[-1])), 0.0)
        pieces[mine] = length * (lengths[index] / length.sum() if length.sum() > 0 else 0.0)
    return pieces


def spent_s(data: Columns, delivered: Mask, lengths: Floats, users: int | None) -> Floats:
    """Seconds that each round took to bring in its answers, never less than the seconds in which it was scheduled.

    Open loop: a server that keeps up answers each request a latency later, so its answers take as long to come in as the
    requests took to go out, and neither the first latency nor the last counts. A server that falls behind answers later and
    later: where latency grows by b seconds for every second of schedule (least squares over all rounds, each about its own
    mean; 0 unless b is more than `SURE` standard errors), the requests of s seconds come back within (1 + b)·s. So a saturated server shows its own rate, and nobody shows
    more than was offered. Closed loop: requests never overlap more than there are users, so a round took at least the sum
    of its latencies over the number of users (Little's law).
    """
    edges = data.edges
    latency = data.done - data.scheduled
    taken = lengths.copy()
    if users is not None:
        for index in range(len(lengths)):
            part = slice(edges[index], edges[index + 1])
            known = ~np.isnan(latency[part])
            if known.any():
                until = float(np.nanmax(data.done[part])) - float(data.scheduled[edges[index]])
                taken[index] = max(lengths[index], min(float(np.sum(latency[part], where=known)) / users, until))
        return taken
    growth = _growth(data, delivered, latency)
    for index in range(len(lengths)):
        part = slice(edges[index], edges[index + 1])
        answered = data.scheduled[part][delivered[part]]
        if len(answered):
            taken[index] = max(lengths[index], (1.0 + growth) * float(answered[-1] - data.scheduled[edges[index]]))
    return taken


def _growth(data: Columns, delivered: Mask, latency: Floats) -> float:
    """Seconds by which latency grows for each second of schedule within a round; 0 where it does not, or not surely."""
    edges = data.edges
    across, along, squares, count = [], [], 0.0, 0
    for start, stop in pairwise(edges):
        mine = delivered[start:stop]
        if np.count_nonzero(mine) < 2:
            continue
        at, took = data.scheduled[start:stop][mine], latency[start:stop][mine]
        at, took = at - at.mean(), took - took.mean()
        across.append(float(at @ took))
        along.append(float(at @ at))
        squares += float(took @ took)
        count += len(at)
    total = sum(along)
    if total <= 0 or count <= len(along) + 1:
        return 0.0
    growth = sum(across) / total
    left = max(squares - growth * growth * total, 0.0) / (count - len(along) - 1)
    variance = left / total
    if len(along) >= CLUSTERS:  # what a queue leaves behind is alike within a round, so rounds tell the error too
        scores = [a - growth * b for a, b in zip(across, along, strict=True)]
        variance = max(variance, sum(score * score for score in scores) / total**2 * len(along) / (len(along) - 1))
    return growth if growth > SURE * math.sqrt(variance) else 0.0


def per_second(count: float, duration_s: float) -> float:
    """A count over seconds; 0 without any."""
    return float(count) / duration_s if duration_s > 0 else 0.0
