"""The public names: what `testcard.harness.api` exports is exactly what is documented, can be imported, and costs nothing before."""

from __future__ import annotations

import ast
import dataclasses
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

from testcard.harness import api, events

EXPECTED = [
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


def test_the_exported_names_are_these() -> None:
    """A name that joins or leaves the public surface has to join or leave this list too."""
    assert sorted(api.__all__) == sorted(EXPECTED)
    assert dir(api) == sorted(EXPECTED)


@pytest.mark.parametrize("name", api.__all__)
def test_each_name_can_be_imported_and_is_described(name: str) -> None:
    """Every public name resolves, and is described where a reader looks for it."""
    found = getattr(api, name)
    if name == "Event":  # a union of classes, which are public and described themselves
        assert {each.__name__ for each in get_args(found)} <= set(api.__all__)
    else:
        assert (found.__doc__ or "").strip()
        assert found.__name__ == name
        assert found.__module__.startswith("testcard.")


def test_type_checkers_see_the_same_names() -> None:
    """What a type checker is told to import is what is imported when the program runs, from the same place.

    Benchmarks are named only: the harness must not import them.
    """
    tree = ast.parse(Path(api.__file__).read_text(encoding="utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    told = {alias.name: node.module for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    benchmarks = {name: home for name, home in api._HOME_OF.items() if home.startswith("testcard.benchmarks.")}
    assert told | benchmarks == api._HOME_OF
    assert set(api._HOME_OF) == set(api.__all__)


def test_an_unknown_name_is_said_as_python_says_it() -> None:
    """A name that is not exported is an AttributeError, so that hasattr works."""
    assert not hasattr(api, "Runner")


def test_importing_the_public_names_imports_nothing_else() -> None:
    """A program that only reads runs does not pay for Locust, pandas or the client."""
    code = "import sys, testcard.harness.api as api; print([m for m in ('httpx','locust','pandas','msgspec') if m in sys.modules])"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.strip() == "[]"


@pytest.mark.parametrize("event", get_args(events.Event), ids=lambda kind: kind.__name__)
def test_events_are_frozen_and_slotted(event: type) -> None:
    """A consumer cannot change what the next one sees."""
    assert dataclasses.is_dataclass(event)
    assert event.__dataclass_params__.frozen  # type: ignore[attr-defined]
    assert "__slots__" in vars(event)
