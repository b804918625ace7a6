"""What a calibration found, as its JSON file has it (`testcard.calibration/1`). Times in seconds, rates per second."""

from __future__ import annotations

from typing import Literal

import msgspec


class Level(msgspec.Struct, frozen=True, kw_only=True):
    """One level of load that was tried.

    `offered_rps` is None for the closed loop that finds the peak. `cpu_s_per_request`: CPU time of all load processes while they
    sent, over the requests sent. `cpu_percent` of the busiest process, where 100 is one core. `trusted`: the send lag's p99 is at
    most 10 ms or 1 % of p50, no request was left out, and at least 99 % of what was offered was achieved; `why` says what was not.
    """

    offered_rps: float | None
    achieved_rps: float
    requests: int
    send_lag_p99_s: float | None
    cpu_s_per_request: float
    cpu_percent: float | None
    trusted: bool
    why: str | None = None


class Answers(msgspec.Struct, frozen=True, kw_only=True):
    """The levels tried with one kind of answer; `trusted_rps` is the highest of those below the first that was not trusted.

    `checked`: `structure` (JSON, base64, hash, header, structure and checksums of the picture) or `pixels` (every pixel decoded
    as well). `at_ceiling`: no level was distrusted, so more may well be possible.
    """

    name: str
    bytes: int
    checked: Literal["structure", "pixels"]
    peak_rps: float
    peak_cpu_s_per_request: float
    trusted_rps: float | None
    at_ceiling: bool
    levels: list[Level]


class Quantile(msgspec.Struct, frozen=True, kw_only=True):
    """A percentile of latency: what the server's timeline makes of it, and what was measured. `off`: relative difference."""

    name: str
    true_s: float
    measured_s: float
    off: float


class Fidelity(msgspec.Struct, frozen=True, kw_only=True):
    """One server of known timing. `within`: p50, p90 and p95 are off by at most 5 %, or 2 ms where that is more.

    `server_late_p99_s`: how late the server itself answered, which no generator can know.
    """

    name: str
    requests: int
    quantiles: list[Quantile]
    within: bool
    server_late_p99_s: float | None = None


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """Where it was measured. `load_1min`: the system's load average before the start."""

    cpus: int
    platform: str
    python: str
    load_1min: float | None = None


class Calibration(msgspec.Struct, frozen=True, kw_only=True):
    """A whole calibration: `pass`, or `inconclusive` with the reason why this machine cannot be trusted now."""

    schema: str = "testcard.calibration/1"
    tool_version: str
    created: str
    took_s: float
    processes: int
    machine: Machine
    answers: list[Answers]
    fidelity: list[Fidelity]
    outcome: Literal["pass", "inconclusive"]
    reason: str | None = None
