"""Records of what a benchmark found: summary.json and saturation.json."""

from __future__ import annotations

from typing import Any, Literal

from testcard.harness.runs.measures import AsyncTasks, Delivery, Estimate, Money, RateLimits, Steadiness, Stream
from testcard.harness.runs.record import Record
from testcard.harness.stops import Stop


class Generator(Record, frozen=True, kw_only=True):
    """How the load generator itself did in a stage.

    `limit`: how it was itself the bottleneck. `late`: it sent late; `busy`: its event loop had no time left; `unsent`: it never
    sent some of what was due. None: it was not, or an earlier version wrote the run (whose row says it in its note).
    """

    send_lag_p99_s: float | None
    cpu_percent: float | None
    limit: Literal["late", "busy", "unsent"] | None = None


class Gate(Record, frozen=True, kw_only=True):
    """One threshold with what was observed."""

    expression: str
    observed: Estimate
    verdict: Literal["pass", "fail", "inconclusive"]
    detail: str = ""


class SummaryRow(Record, frozen=True, kw_only=True):
    """One provider × model × operation × stage of a benchmark. Percentile keys: p50, p90, p95, p99 (p99.9 may follow).

    `target` is the place (from 0) of its target in run.json's list; None in runs that do not record it. Images and megapixels per
    second are those of requests that got what they asked for. `invalid_pictures` counts the outcome of that name by what was
    wrong (`FLAWS`).
    """

    provider: str
    model: str | None
    operation: str
    stage: str
    offered_rps: float | None
    achieved_rps: float
    requests: int
    ok: int
    errors: dict[str, int]
    latency_s: dict[str, Estimate]
    service_s: dict[str, Estimate]
    ttfb_s: dict[str, Estimate]
    images_per_s: float
    megapixels_per_s: float
    goodput_rps: float
    cost_usd_per_image: Estimate | None
    generator: Generator
    outcome: Literal["pass", "fail", "inconclusive"]
    duration_s: float = 0.0
    rounds: int = 1
    users: int | None = None
    error_rate: Estimate | None = None
    wasted_usd: float | None = None
    cost_usd_per_1000_good_images: Estimate | None = None
    goodput: Estimate | None = None
    gates: list[Gate] = []
    note: str | None = None
    target: int | None = None
    invalid_pictures: dict[str, int] = {}
    delivery: Delivery | None = None
    stream: Stream | None = None
    tasks: AsyncTasks | None = None
    rate_limits: RateLimits | None = None
    money: Money | None = None
    steadiness: Steadiness | None = None


class Summary(Record, frozen=True, kw_only=True):
    """summary.json."""

    schema: Literal["testcard.summary/1"] = "testcard.summary/1"
    rows: list[SummaryRow]
    workload: dict[str, Any] = {}
    slo: list[str] = []


class SaturationStage(Record, frozen=True, kw_only=True):
    """A stage that a search for saturation tried. `sure`: 95 % intervals decided, else the figures alone."""

    rate_rps: float
    held: bool
    sure: bool
    why: str = ""
    achieved_rps: float | None = None
    requests: int = 0


class Saturation(Record, frozen=True, kw_only=True):
    """What a search found for one row: the highest rate that held, the lowest that broke, and where between them it surely lies.

    `low_rps` and `high_rps` are the highest rate that surely held and the lowest that surely broke. `target` as in summary.json.
    `stop`: what ended the search before it had its answer.
    """

    provider: str
    model: str | None
    operation: str
    target: int | None
    holds_rps: float | None
    breaks_rps: float | None
    low_rps: float | None
    high_rps: float | None
    broke_first: str | None
    conclusive: bool
    sentence: str
    stages: list[SaturationStage] = []
    stop: Stop | None = None


class Saturations(Record, frozen=True, kw_only=True):
    """saturation.json of a benchmark with --find-saturation."""

    schema: Literal["testcard.saturation/1"] = "testcard.saturation/1"
    results: list[Saturation]
    slo: list[str] = []
