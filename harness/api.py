"""The public names of Testcard, in one place: `from testcard.harness.api import Client, RunReader`.

`testcard` is a namespace shared by five folders, so it has no names of its own; whatever a program may rely on is here, and
everything that is not here may move. Each name is imported when it is first asked for: importing this module costs nothing.

    clients    Client, AsyncClient, what they give (Result, Picture, streams of text and previews, handles of tasks), what they take (Retry,
               SpendingGuard, Mask, hooks), run_batch, and what they raise
    check      check(CheckOptions(...)) gives a CheckRun, whose events are read in a loop; rejudge(RejudgeOptions(...)) judges a recorded one
    bench      bench(BenchOptions(...)) gives a BenchRun, whose events are read in a loop; Workload, TargetSection, FleetJob and SearchPlan say
               what of. Benchmarks are named here and not imported, not even for type checkers: the harness knows nothing of them
    runs       RunReader (a run folder), Exit (the exit codes)
    events     what a check and a benchmark give while they run; Stop and StopReason say why one ended early
    settings   PricesSection with its prices (PerImage, PerMegapixel, Grid, PerTier, PerSteps, PerToken), WaiverSection: what options take that a configuration has as a section
    providers  load_provider, bundled_ids
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from testcard.harness.extras import extra_of, requirement, resolve

if TYPE_CHECKING:
    from testcard.harness.check.options import CheckOptions, RejudgeOptions
    from testcard.harness.check.rejudge import rejudge
    from testcard.harness.check.run import CheckRun, check
    from testcard.harness.client import (
        AddressNotAllowed,
        AsyncClient,
        AsyncPreviewStream,
        AsyncTaskHandle,
        AsyncTextStream,
        AuthenticationFailed,
        BatchItem,
        BatchOutcome,
        Client,
        ClientError,
        ClientEvent,
        ConnectionFailed,
        ContractBroken,
        HttpExchange,
        Mask,
        OpenTelemetryHook,
        PaymentRequired,
        Picture,
        Preview,
        PreviewStream,
        RateLimited,
        RequestRefused,
        Result,
        Retry,
        ServerFailed,
        SpendingGuard,
        SpendingLimitReached,
        TaskFailed,
        TaskHandle,
        TaskUpdate,
        TextStream,
        TimedOut,
        Timings,
        log_calls,
        run_batch,
        run_batch_async,
    )
    from testcard.harness.config import PricesSection, TargetSection, WaiverSection
    from testcard.harness.errors import (
        ContractViolation,
        Exit,
        Inconclusive,
        Interrupted,
        KeyRefused,
        SpecError,
        TargetError,
        TargetUnreachable,
        TestcardError,
        UsageError,
    )
    from testcard.harness.events import Answered, Event, Finished, Judged, LoadState, Noted, Planned, PlannedTarget, Sent, Spent, Stopped
    from testcard.harness.runs.folder import RunReader
    from testcard.harness.stops import Stop, StopReason
    from testcard.specs.loader import Provider, bundled_ids, load_provider
    from testcard.specs.prices import Grid, PerImage, PerMegapixel, PerSteps, PerTier, PerToken

_HOMES: dict[str, tuple[str, ...]] = {
    "testcard.harness.check.options": ("CheckOptions", "RejudgeOptions"),
    "testcard.harness.check.rejudge": ("rejudge",),
    "testcard.harness.check.run": ("CheckRun", "check"),
    "testcard.harness.client": (
        "AddressNotAllowed",
        "AsyncClient",
        "AsyncPreviewStream",
        "AsyncTaskHandle",
        "AsyncTextStream",
        "AuthenticationFailed",
        "BatchItem",
        "BatchOutcome",
        "Client",
        "ClientError",
        "ClientEvent",
        "ConnectionFailed",
        "ContractBroken",
        "HttpExchange",
        "Mask",
        "OpenTelemetryHook",
        "PaymentRequired",
        "Picture",
        "Preview",
        "PreviewStream",
        "RateLimited",
        "RequestRefused",
        "Result",
        "Retry",
        "ServerFailed",
        "SpendingGuard",
        "SpendingLimitReached",
        "TaskFailed",
        "TaskHandle",
        "TaskUpdate",
        "TextStream",
        "TimedOut",
        "Timings",
        "log_calls",
        "run_batch",
        "run_batch_async",
    ),
    "testcard.harness.errors": (
        "ContractViolation",
        "Exit",
        "Inconclusive",
        "Interrupted",
        "KeyRefused",
        "SpecError",
        "TargetError",
        "TargetUnreachable",
        "TestcardError",
        "UsageError",
    ),
    "testcard.harness.events": (
        "Answered",
        "Event",
        "Finished",
        "Judged",
        "LoadState",
        "Noted",
        "Planned",
        "PlannedTarget",
        "Sent",
        "Spent",
        "Stopped",
    ),
    "testcard.harness.config": ("PricesSection", "TargetSection", "WaiverSection"),
    "testcard.harness.stops": ("Stop", "StopReason"),
    "testcard.specs.prices": ("Grid", "PerImage", "PerMegapixel", "PerSteps", "PerTier", "PerToken"),
    "testcard.harness.runs.folder": ("RunReader",),
    "testcard.specs.loader": ("Provider", "bundled_ids", "load_provider"),
}
#: As `_HOMES`, of a folder that the harness must not import.
_BENCHMARKS: dict[str, tuple[str, ...]] = {
    "testcard.benchmarks.plan.job": ("FleetJob",),
    "testcard.benchmarks.plan.workload": ("Workload", "load_workload"),
    "testcard.benchmarks.run.bench": ("BenchRun", "bench"),
    "testcard.benchmarks.run.options": ("BenchOptions",),
    "testcard.benchmarks.search.bracket": ("SearchPlan",),
}
BenchOptions: Any
BenchRun: Any
FleetJob: Any
SearchPlan: Any
Workload: Any
bench: Any
load_workload: Any
_HOME_OF = {name: home for homes in (_HOMES, _BENCHMARKS) for home, names in homes.items() for name in names}

__all__ = [
    "AddressNotAllowed",
    "Answered",
    "AsyncClient",
    "AsyncPreviewStream",
    "AsyncTaskHandle",
    "AsyncTextStream",
    "AuthenticationFailed",
    "BatchItem",
    "BatchOutcome",
    "BenchOptions",
    "BenchRun",
    "CheckOptions",
    "CheckRun",
    "Client",
    "ClientError",
    "ClientEvent",
    "ConnectionFailed",
    "ContractBroken",
    "ContractViolation",
    "Event",
    "Exit",
    "Finished",
    "FleetJob",
    "Grid",
    "HttpExchange",
    "Inconclusive",
    "Interrupted",
    "Judged",
    "KeyRefused",
    "LoadState",
    "Mask",
    "Noted",
    "OpenTelemetryHook",
    "PaymentRequired",
    "PerImage",
    "PerMegapixel",
    "PerSteps",
    "PerTier",
    "PerToken",
    "Picture",
    "Planned",
    "PlannedTarget",
    "Preview",
    "PreviewStream",
    "PricesSection",
    "Provider",
    "RateLimited",
    "RejudgeOptions",
    "RequestRefused",
    "Result",
    "Retry",
    "RunReader",
    "SearchPlan",
    "Sent",
    "ServerFailed",
    "SpecError",
    "SpendingGuard",
    "SpendingLimitReached",
    "Spent",
    "Stop",
    "StopReason",
    "Stopped",
    "TargetError",
    "TargetSection",
    "TargetUnreachable",
    "TaskFailed",
    "TaskHandle",
    "TaskUpdate",
    "TestcardError",
    "TextStream",
    "TimedOut",
    "Timings",
    "UsageError",
    "WaiverSection",
    "Workload",
    "bench",
    "bundled_ids",
    "check",
    "load_provider",
    "load_workload",
    "log_calls",
    "rejudge",
    "run_batch",
    "run_batch_async",
]


def __getattr__(name: str) -> Any:
    """The public object of this name, imported now."""
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        found = globals()[name] = resolve(f"{home}:{name}")
    except ModuleNotFoundError as error:
        if (extra := extra_of(error.name)) is None:
            raise
        said = f"{name} needs more than the base install: pip install '{requirement([extra])}'"
        raise ModuleNotFoundError(said, name=error.name) from error
    return found


def __dir__() -> list[str]:
    return sorted(__all__)
