"""What the command's process asks of a load process: one JSON document on its standard input, key included, never on disk.

Everything in it is plain data, so that a later worker on another machine can be handed the same document.
"""

from __future__ import annotations

import secrets
from dataclasses import fields
from typing import Any

import msgspec

from testcard.harness.intake.limits import IntakeLimits, changed, use_limits
from testcard.harness.wire.addresses import allow_host

#: So many seconds has what is in flight when a run is stopped early.
GRACE_S = 0.8


class TargetJob(msgspec.Struct, frozen=True, kw_only=True):
    """A target: `provider` is an id or a folder, `prices` a `[prices.<provider>]` section as data.

    `key_env` names the variable that a worker on another machine takes its key from, beside those of the provider.
    `digests` of the provider's two files tell whether such a worker has the same ones.
    """

    provider: str
    base_url: str
    api_key: str | None = None
    key_env: str | None = None
    illustrative_prices: bool
    may_leave_machine: bool
    prices: dict[str, Any] = {}
    digests: list[str] = []


class CellJob(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the comparison: a model on an operation of a target (an index into the job's targets).

    `sizes` are asked for in turn; empty: the workload's.
    """

    target: int
    provider: str
    operation: str
    task: str
    model: str | None
    sizes: list[str] = []


class BlockJob(msgspec.Struct, frozen=True, kw_only=True):
    """One turn of a cell: warm-up, then `duration_s` measured seconds of a stage, in a round (from 1). `exact`: see `offsets_of`.

    `max_requests` and `max_cost_usd` are its share of the run's budget (`plan.turn_order`): a turn that has used it up is over, and whole.
    `begin`: the place of the ask that its first request takes, so that short turns together ask for every prompt and size.
    """

    cell: int
    round: int
    stage: str
    rate_rps: float | None
    users: int | None
    warmup_s: float
    duration_s: float
    exact: bool = False
    max_requests: int | None = None
    max_cost_usd: float | None = None
    begin: int = 0

    def arrivals_key(self, seed: int) -> str:
        """What the turn's arrivals are drawn from: the same for every cell, however many processes share it, and when it is taken again.

        Of two targets at one rate, one would else be offered a tenth more requests than the other, by our own dice.
        """
        return f"{seed}/{self.stage}/{self.round}"

    def seeds_key(self, seed: int, *, again: bool) -> str:
        """What the turn's picture seeds are drawn from: another for every cell, so that no target answers from what another asked."""
        return f"{seed}/{self.cell}/{self.stage}/{self.round}{'/again' if again else ''}"

    @property
    def whole_s(self) -> float:
        """Seconds in which requests start."""
        return self.warmup_s + self.duration_s


class FleetJob(msgspec.Struct, frozen=True, kw_only=True):
    """Load from several processes: this one only leads. It listens on `host`:`port` (0: any free one) and waits for `workers`.

    `spawn`: it starts them itself, on this machine, and hands them their keys; else they come and bring their own. `secret`: what
    their messages are authenticated with.
    """

    workers: int
    spawn: bool
    secret: str = msgspec.field(default_factory=lambda: secrets.token_hex(32))
    host: str = "127.0.0.1"
    port: int = 0


class WorkerJob(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker process is told: where its master is, and the secret that they share.

    `keys`: those of the job's targets, when the master started it; else it reads its own, and `live` allows it to send them
    off this machine.
    """

    master_host: str
    master_port: int
    secret: str
    keys: list[str | None] | None = None
    key_file: str | None = None
    live: bool = False
    search: list[str] = []


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """A whole run. `repeats`: how many turns may be taken again because the generator was late in them (0 where that costs money). `started_s` is the run's start on this machine's monotonic clock; sample times count from it.

    `limits`: those of `harness.intake.limits` that are not the defaults. `allowed_hosts`: where answers may lead too. `more`: after the blocks further ones are asked for, until none come. `web`: HOST:PORT of Locust's own web page.
    """

    folder: str
    started_s: float
    seed: int
    worker: int = 0
    fleet: FleetJob | None = None
    more: bool = False
    web: str | None = None
    search: list[str] = []
    workload: dict[str, Any] = {}
    targets: list[TargetJob] = []
    cells: list[CellJob] = []
    blocks: list[BlockJob] = []
    max_requests: int | None = None
    max_cost_usd: float | None = None
    max_downloads: int | None = None
    grace_s: float = GRACE_S
    limits: dict[str, float] = {}
    allowed_hosts: list[str] = []
    repeats: int = 0


def take_limits(job: Job) -> None:
    """Lets the limits hold in this process that hold in the command's."""
    for host in job.allowed_hosts:
        allow_host(host)
    whole = {one.name for one in fields(IntakeLimits) if isinstance(one.default, int)}
    use_limits(changed(IntakeLimits(), {name: int(value) if name in whole else value for name, value in job.limits.items()}))
