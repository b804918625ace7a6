"""What a run folder holds, record by record. The published JSON Schemas in `schemas/` are generated from these.

run.json is here; `exchange_records`, `verdict_records`, `summary_records` and `sample_records` hold the others, and all can be
imported from here. Times ending in `_s` are monotonic seconds since the run's start; `started` and `ended` are UTC in ISO 8601.
"""

from __future__ import annotations

from typing import Any, Literal

from testcard.harness.runs.exchange_records import Body, Case, Exchange, PlacedPicture, SeenResponse, SentRequest
from testcard.harness.runs.measures import Estimate
from testcard.harness.runs.record import Record
from testcard.harness.runs.sample_records import FLAWS, OUTCOMES, SAMPLE_COLUMNS, Block
from testcard.harness.runs.summary_records import Gate, Generator, Saturation, Saturations, SaturationStage, Summary, SummaryRow
from testcard.harness.runs.verdict_records import (
    LEVELS,
    SEVERITY,
    Badge,
    CheckedTarget,
    ClauseRef,
    EvidenceKind,
    Level,
    RuleFailure,
    SpecGap,
    Spend,
    Verdict,
    Verdicts,
    VerdictWord,
    Waived,
    WaiverNote,
)
from testcard.harness.stops import Stop

Outcome = Literal["pass", "fail", "inconclusive", "error", "interrupted", "running"]


class Target(Record, frozen=True, kw_only=True):
    """What a run talked to. Digests are sha256 of openapi.yaml and profile.yaml."""

    provider: str
    name: str
    base_url: str
    mock: bool
    models: list[str] = []
    spec_digest: str = ""
    profile_digest: str = ""
    prices: Literal["illustrative", "list", "config", "none"] = "none"


class Environment(Record, frozen=True, kw_only=True):
    """Where a run happened: enough to tell whether two runs may be compared."""

    python: str
    platform: str
    cpu_count: int
    packages: dict[str, str] = {}


class Run(Record, frozen=True, kw_only=True):
    """run.json: the index of a run folder. `files` maps each kind of file to its path, relative to the folder.

    `reason` says in a sentence why the run is no pass; `stops` hold in words and numbers why nothing more was sent. None of them:
    everything planned was, or an earlier version wrote the run.
    """

    schema: Literal["testcard.run/1"] = "testcard.run/1"
    kind: Literal["check", "bench", "report", "evaluate", "selftest"]
    tool_version: str
    ruleset_version: str
    started: str
    ended: str | None = None
    outcome: Outcome = "running"
    exit_code: int | None = None
    reason: str | None = None
    stops: list[Stop] = []
    seed: int | None = None
    region: str | None = None
    targets: list[Target] = []
    config: dict[str, Any] = {}
    environment: Environment
    files: dict[str, str] = {}
    children: list[str] = []


RECORD_TYPES: dict[str, Any] = {
    "run": Run,
    "exchange": Exchange,
    "verdicts": Verdicts,
    "summary": Summary,
    "badge": Badge,
    "block": Block,
    "saturation": Saturations,
}

__all__ = [
    "FLAWS",
    "LEVELS",
    "OUTCOMES",
    "RECORD_TYPES",
    "SAMPLE_COLUMNS",
    "SEVERITY",
    "Badge",
    "Block",
    "Body",
    "Case",
    "CheckedTarget",
    "ClauseRef",
    "Environment",
    "Estimate",
    "EvidenceKind",
    "Exchange",
    "Gate",
    "Generator",
    "Level",
    "Outcome",
    "PlacedPicture",
    "RuleFailure",
    "Run",
    "Saturation",
    "SaturationStage",
    "Saturations",
    "SeenResponse",
    "SentRequest",
    "SpecGap",
    "Spend",
    "Summary",
    "SummaryRow",
    "Target",
    "Verdict",
    "VerdictWord",
    "Verdicts",
    "Waived",
    "WaiverNote",
]
