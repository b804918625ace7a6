"""How a stage goes so far, and a run, put together from what its processes say. Pure.

Latencies are counted in buckets, few enough to be sent on twice a second.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from testcard.harness.events import LoadState
from testcard.harness.statistics.percentiles import nearest_rank

#: Buckets are so wide: what is shown is within 1 % of the exact figure.
WIDTH = 1.02
_STEP = math.log(WIDTH)
#: Nothing shorter is told apart.
SHORTEST_S = 1e-5

Buckets = dict[int, int]
#: Outcomes that are no errors of the target.
FINE = ("ok", "slow", "interrupted")


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


def shown_s(buckets: Mapping[int, int], q: float) -> float | None:
    """A percentile of the answers so far; None where none lies beyond it (p95 of fewer than 20), as in the summary."""
    n = sum(buckets.values())
    return quantile_s(buckets, q) if nearest_rank(n, q) < n else None


class EngineState(msgspec.Struct, frozen=True, kw_only=True):
    """How it goes in one load process, or in several together. `tally`: the present stage (see `key_of`) and its buckets.

    `failures`: the first of each row and kind (see `StopConditions`), in a sentence.
    """

    requests: int
    in_flight: int
    images: int
    rate_rps: float
    spent_usd: float
    outcomes: dict[str, int]
    tally: tuple[str, Buckets]
    cpu_s: float
    failures: dict[str, str] = {}


class RunState(msgspec.Struct, frozen=True, kw_only=True):
    """How a run goes: where in the plan it is, and what was sent, delivered and spent so far."""

    load: LoadState
    requests: int
    images: int
    spent_usd: float
    failures: dict[str, str] = {}

    @classmethod
    def nothing(cls) -> RunState:
        """Before anything is sent."""
        load = LoadState(
            passed_s=0.0, planned_s=0.0, provider=None, model=None, operation=None, stage=None, round=None, rounds=None, offered_rps=None,
            users=None, achieved_rps=0.0, in_flight=0, p50_s=None, p95_s=None, stage_requests=0,
        )  # fmt: skip
        return cls(load=load, requests=0, images=0, spent_usd=0.0)

    @property
    def answered(self) -> int:
        """Requests that have ended, whichever way."""
        return sum(self.load.outcomes.values())

    @property
    def failed(self) -> int:
        """Those of them that did not bring what was asked for, for the target's sake."""
        return sum(count for outcome, count in self.load.outcomes.items() if outcome not in FINE)


def together(states: Sequence[EngineState], key: str = "") -> EngineState:
    """One state of several engines': sums, outcomes together (most frequent first), the buckets of one stage."""
    outcomes: Counter[str] = Counter()
    for state in states:
        outcomes.update(state.outcomes)
    return EngineState(
        requests=sum(state.requests for state in states),
        in_flight=sum(state.in_flight for state in states),
        images=sum(state.images for state in states),
        rate_rps=sum(state.rate_rps for state in states),
        spent_usd=sum(state.spent_usd for state in states),
        outcomes=dict(outcomes.most_common()),
        tally=(key, total((state.tally for state in states), key)),
        cpu_s=sum(state.cpu_s for state in states),
        # Several processes see a first one each: the first of them is told.
        failures={kind: text for state in reversed(states) for kind, text in state.failures.items()},
    )
