"""What happens while a check or a benchmark runs, as data: frozen events in the order in which they happen.

`check(options)` and `bench(options)` give them; terminal progress, `--json`, GitHub annotations, the pytest plugin and tests are
consumers of the same ones. Whoever consumes them may look, and count; nothing that it does changes what is sent.

    Planned                  once, before anything is sent
    (Sent | Answered | Spent)*   a check tells of each request; a benchmark of many at once, twice a second
    Noted*                   what a person may want to know meanwhile, such as what a stage of a search showed
    Stopped                  nothing more is sent, and why; a second one where a person then interrupts
    Judged*                  a check: each rule on each operation; a benchmark: each row of its summary
    Finished                 once, last; not after an error, which is raised instead

Times ending in `_s` are seconds since the run's start, on its own monotonic clock. Amounts are US dollars; None is an amount
that nobody knows, never 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from testcard.harness.errors import Exit
from testcard.harness.runs.records import Exchange, Outcome, Saturations, Spend, Summary, SummaryRow, Verdict, Verdicts
from testcard.harness.stops import Stop, StopReason, sentence

Kind = Literal["check", "bench"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedTarget:
    """Where a run is going to send: provider id, its name for people, base URL, whether one of Testcard's mocks answers there.

    `embedded`: the mock was started for this run, because no base URL was given.
    """

    provider: str
    name: str
    base_url: str
    mock: bool
    embedded: bool
    on_this_machine: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """What is going to be sent, before anything is.

    `requests`, `images` and `cost_usd` are the most that it can come to within the limits; None where nobody can say.
    `duration_s` is how long a benchmark's turns take; a check has none. `folder` is the run's.
    """

    kind: Kind
    targets: tuple[PlannedTarget, ...]
    requests: int | None
    images: int | None
    cost_usd: float | None
    folder: Path
    duration_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """A request of a check is on its way (`exchange` is the id that its record will have), or `requests` of a benchmark are."""

    at_s: float
    operation: str | None = None
    exchange: str | None = None
    billed: bool = False
    requests: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadState:
    """How a benchmark is going: where in the plan it is, what is offered and achieved there, and how its latest stage answers.

    `provider` (its name in samples), `model` and `operation` are those of the turn under way; `rounds` how many turns each stage has,
    None where nobody knows it before the end, as in a search. `planned_s` grows where turns are taken again. `left_s`: seconds that the
    rest will take, which is less than the plan's where a budget ends turns; None: as planned.
    """

    passed_s: float
    planned_s: float
    provider: str | None
    model: str | None
    operation: str | None
    stage: str | None
    round: int | None
    rounds: int | None
    offered_rps: float | None
    users: int | None
    achieved_rps: float
    in_flight: int
    p50_s: float | None
    p95_s: float | None
    stage_requests: int
    left_s: float | None = None
    outcomes: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """An answer of a check, or its failure, as it was just appended to the run folder; or `requests` of a benchmark.

    `surprising` counts those that look wrong at first sight. That is no verdict: rules judge when everything is there.
    """

    at_s: float
    exchange: Exchange | None = None
    requests: int = 1
    surprising: int = 0
    load: LoadState | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """What was spent so far, and how much of the plan is done: `done` of `total` requests of a check, seconds of a benchmark."""

    spend: Spend
    done: float
    total: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Noted:
    """A sentence for people about how a run goes, without a full stop. Nothing hangs on it.

    `failure`: it is the first failure of its kind, with the target's words, which is told to those too who want it quiet.
    """

    sentence: str
    failure: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopped:
    """Nothing more is sent, although more was planned. `stop` says why, for programs; `sentence` for people."""

    stop: Stop

    @property
    def sentence(self) -> str:
        """Why, in one sentence without a full stop."""
        return sentence(self.stop)

    @property
    def interrupted(self) -> bool:
        """Whether a person or a signal said so."""
        return self.stop.reason is StopReason.INTERRUPTED


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """One verdict of a check, or one row of a benchmark's summary."""

    verdict: Verdict | None = None
    row: SummaryRow | None = None

    @property
    def broken(self) -> bool:
        """Whether it says that something is wrong: a promise was broken, or an objective missed."""
        if self.verdict is not None:
            return self.verdict.verdict in ("fail", "deviates")
        return self.row is not None and self.row.outcome == "fail"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """The run is over and its folder is sealed. `reason` says in a sentence why it is no pass, where a sentence can.

    `stop` is set where the run as a whole was stopped. `prices` says where prices come from. `not_sent` counts those of the `planned`
    requests that were not sent although verdicts lack them, and `stops` says why, each reason once. `saturations`: what a search found.
    """

    outcome: Outcome
    exit_code: Exit
    folder: Path
    spend: Spend
    reason: str | None = None
    stop: Stop | None = None
    prices: Literal["illustrative", "list", "config", "none"] = "none"
    planned: int = 0
    not_sent: int = 0
    stops: tuple[Stop, ...] = ()
    verdicts: Verdicts | None = None
    summary: Summary | None = None
    saturations: Saturations | None = None


Event = Planned | Sent | Answered | Spent | Noted | Stopped | Judged | Finished

__all__ = ["Answered", "Event", "Finished", "Judged", "Kind", "LoadState", "Noted", "Planned", "PlannedTarget", "Sent", "Spent", "Stopped"]
