"""Freezes and spells: requests over a time that came one after the other, said as what they are.

A server that stopped for a second makes every request of that second long: thirty long requests, one event. A spell is a
run of successive requests (by their schedule, within a round) over the time, at least `LEAST`, which independent requests would
hardly ever bring: their longest run of that share among so many is at most so long in 99 of 100 cases.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from testcard.harness.runs.records import Spell

Floats = npt.NDArray[np.float64]
#: Fewest successive requests that are called a spell, and the chance that independent ones have such a run.
LEAST, CHANCE = 3, 0.01


def spells(scheduled_s: Floats, latency_s: Floats, rounds: npt.NDArray[np.generic], *, over_s: float) -> list[Spell]:
    """The spells over a time, of requests in time order; empty where their runs are what chance brings."""
    n = len(latency_s)
    long = latency_s > over_s
    count = int(np.count_nonzero(long))
    if count < LEAST or count == n:
        return []
    share = count / n
    # A run of length k begins at one place with chance (1 − share)·share^k; n such places bring one with at most n times that.
    least = max(LEAST, math.ceil(math.log(CHANCE / (n * (1.0 - share))) / math.log(share)))
    breaks = np.flatnonzero((long[1:] != long[:-1]) | (rounds[1:] != rounds[:-1])) + 1
    edges = np.concatenate(([0], breaks, [n]))
    found = []
    for start, stop in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        if long[start] and stop - start >= least:
            found.append(
                Spell(
                    requests=stop - start,
                    start_s=float(scheduled_s[start]),
                    end_s=float(scheduled_s[stop - 1]),
                    longest_s=float(latency_s[start:stop].max()),
                )
            )
    return found


def sentence(found: Sequence[Spell], *, over: str) -> str:
    """What is said of them: "one spell: 30 requests in a row over 0.2 s"; `over` says the time."""
    inside = sum(spell.requests for spell in found)
    if len(found) == 1:
        return f"one spell: {inside} requests in a row over {over}"
    return f"{len(found)} spells of requests in a row over {over}, {inside} in all, the longest of {max(spell.requests for spell in found)}"
