"""What the command's process asks of a load process: one JSON document on its standard input, key included, never on disk.

Everything in it is plain data, so that a later worker on another machine can be handed the same document.
"""

from __future__ import annotations

from typing import Any

import msgspec

from testcard.harness.runs.records import Block


class TargetJob(msgspec.Struct, frozen=True, kw_only=True):
    """A target: `provider` is an id or a folder, `prices` a `[prices.<provider>]` section as data."""

    provider: str
    base_url: str
    api_key: str | None
    illustrative_prices: bool
    may_leave_machine: bool
    prices: dict[str, Any] = {}


class CellJob(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the comparison: a model on an operation of a target (an index into the job's targets)."""

    target: int
    provider: str
    operation: str
    task: str
    model: str | None


class BlockJob(msgspec.Struct, frozen=True, kw_only=True):
    """One turn of a cell: warm-up, then `duration_s` measured seconds of a stage, in a round (from 1)."""

    cell: int
    round: int
    stage: str
    rate_rps: float | None
    users: int | None
    warmup_s: float
    duration_s: float

    @property
    def whole_s(self) -> float:
        """Seconds in which requests start."""
        return self.warmup_s + self.duration_s


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """A whole run. `repeats`: how many turns may be taken again because the generator was late in them (0 where that costs money). `started_s` is the run's start on this machine's monotonic clock; sample times count from it."""

    folder: str
    started_s: float
    seed: int
    worker: int = 0
    search: list[str] = []
    workload: dict[str, Any] = {}
    targets: list[TargetJob] = []
    cells: list[CellJob] = []
    blocks: list[BlockJob] = []
    max_requests: int | None = None
    max_cost_usd: float | None = None
    grace_s: float = 5.0
    repeats: int = 0


class Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line that a load process says: `ready`, `progress`, `block`, `fatal` or `done`."""

    event: str
    progress: dict[str, Any] | None = None
    block: Block | None = None
    message: str | None = None
    exit_code: int | None = None
    hint: str | None = None
    cpu_s: float | None = None
