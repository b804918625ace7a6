"""How a stage goes so far, and a run, put together from what its processes say. Pure.

Latencies are counted in buckets, few enough to be sent on twice a second.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from testcard.harness.statistics.percentiles import nearest_rank

#: Buckets are so wide: what is shown is within 1 % of the exact figure.
WIDTH = 1.02
_STEP = math.log(WIDTH)
#: Nothing shorter is told apart.
SHORTEST_S = 1e-5

Buckets = dict[int, int]


def key_of(cell: int, stage: str) -> str:
    """The name of a cell's stage in a tally."""
    return f"{cell}/{stage}"


class Tally:
    """Counts the latencies of each stage, over all its rounds; `begin` says which one comes."""

    def __init__(self) -> None:
        self.key = ""
        self._buckets: Buckets = {}
        self._stages: dict[str, Buckets] = {}

    def begin(self, cell: int, stage: str) -> None:
        """The next latencies are this stage's."""
        self.key = key_of(cell, stage)
        self._buckets = self._stages.setdefault(self.key, {})

    def add(self, latency_s: float) -> None:
        """Counts one request."""
        bucket = int(math.log(max(latency_s, SHORTEST_S)) // _STEP)
        self._buckets[bucket] = self._buckets.get(bucket, 0) + 1

    def state(self) -> tuple[str, Buckets]:
        """The present stage and its buckets."""
        return self.key, dict(self._buckets)


def total(tallies: Iterable[tuple[str, Mapping[int, int]]], key: str) -> Buckets:
    """The buckets of one stage from several processes, together; those that are at another stage are left out."""
    found: Buckets = {}
    for stage, buckets in tallies:
        if stage == key:
            for bucket, count in buckets.items():
                found[bucket] = found.get(bucket, 0) + count
    return found


def quantile_s(buckets: Mapping[int, int], q: float) -> float | None:
    """The latency below which a share `q` lies (nearest rank, the middle of its bucket), or None for none."""
    rank = nearest_rank(sum(buckets.values()), q)
    for bucket in sorted(buckets):
        rank -= buckets[bucket]
        if rank <= 0:
            return math.exp((bucket + 0.5) * _STEP)
    return None


def together(states: Sequence[dict[str, Any]], stage: str = "") -> dict[str, Any]:
    """One state of several engines' (see `Engine.progress`): sums, outcomes together, percentiles of the stage (see `tally.key_of`) so far."""
    outcomes: Counter[str] = Counter()
    for state in states:
        outcomes.update(state["outcomes"])
    buckets = total((state["tally"] for state in states), stage)
    return {
        "workers": len(states),
        "requests": sum(state["requests"] for state in states),
        "in_flight": sum(state["in_flight"] for state in states),
        "rate_rps": sum(state["rate_rps"] for state in states),
        "spent_usd": sum(state["spent_usd"] for state in states),
        "failed": sum(count for outcome, count in outcomes.items() if outcome not in ("ok", "interrupted")),
        "outcomes": dict(outcomes.most_common()),
        "stage_requests": sum(buckets.values()),
        "p50_s": _shown_s(buckets, 0.5),
        "p95_s": _shown_s(buckets, 0.95),
    }


def _shown_s(buckets: Mapping[int, int], q: float) -> float | None:
    """A percentile of the answers so far; None where none lies beyond it (p95 of fewer than 20), as in the summary."""
    n = sum(buckets.values())
    return quantile_s(buckets, q) if nearest_rank(n, q) < n else None
