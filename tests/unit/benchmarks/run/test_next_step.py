"""The next step after an inconclusive benchmark names the flag that was the bound: time where no budget was stated."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from testcard.benchmarks.plan.workload import Workload
from testcard.benchmarks.run.options import BenchOptions
from testcard.benchmarks.run.output import _next_step
from testcard.harness.errors import Exit
from testcard.harness.events import Finished
from testcard.harness.runs.records import Estimate, Gate, Generator, Saturation, Saturations, Spend, Summary, SummaryRow
from testcard.harness.stops import Stop, StopReason

ROW = SummaryRow(
    provider="p", model="m", operation="o", stage="s", offered_rps=5.0, achieved_rps=5.0, requests=20, ok=20, errors={}, latency_s={},
    service_s={}, ttfb_s={}, images_per_s=5.0, megapixels_per_s=1.0, goodput_rps=5.0, cost_usd_per_image=None,
    generator=Generator(send_lag_p99_s=None, cpu_percent=None), outcome="inconclusive",
)  # fmt: skip


def step(more: int | None, *, sent: int = 40, cost_usd: float | None = None, **limits: Any) -> str:
    """After 20 requests in each of two rows, which this many more would decide; `sent` and `cost_usd` of both together."""
    gate = Gate(expression="p95<8s", observed=Estimate(value=None, n=20), verdict="inconclusive", more_requests=more)
    rows = [msgspec.structs.replace(ROW, target=target, gates=[gate]) for target in (0, 1)]
    spend = Spend(requests=sent, cost_usd=cost_usd)
    end = Finished(outcome="inconclusive", exit_code=Exit.INCONCLUSIVE, folder=Path("run"), spend=spend, summary=Summary(rows=rows))
    workload = Workload.model_validate({"stage": [{"users": 1, "duration_s": 30}]})
    return _next_step(end, BenchOptions(workload=workload, **limits))


@pytest.mark.parametrize(
    ("limits", "known", "unknown"),
    [
        ({}, "a longer --duration, about 108 s", "a longer --duration"),
        (
            {"max_requests": 40},
            "--max-requests 144, and time for them (--duration)",
            "a larger --max-requests, and time for them (--duration)",
        ),
        (
            {"max_cost_usd": 1.0, "cost_usd": 0.99},
            "a higher --max-cost, and time for them (--duration)",
            "a higher --max-cost, and time for them (--duration)",
        ),
        # Time ended these: of the budget there was enough left for what is missing.
        ({"max_requests": 400}, "a longer --duration, about 108 s", "a longer --duration"),
        ({"max_cost_usd": 9.0, "cost_usd": 0.99}, "a longer --duration, about 108 s", "a longer --duration"),
        # Time ended this one too, but what it takes does not fit into the budget.
        ({"max_requests": 100}, "--max-requests 144, and time for them (--duration)", "a longer --duration"),
    ],
)
def test_it_names_the_bound(limits: dict[str, Any], known: str, unknown: str) -> None:
    """A limit that nobody stated, or that left enough over, bounds nothing, and time alone adds nothing to a budget that is used up."""
    assert step(52, **limits) == f"about 72 requests a row would decide, if they are like these: {known}"
    assert step(None, **limits) == f"more samples: {unknown}"


def test_a_search_that_its_budget_ended_asks_for_a_larger_one() -> None:
    """Neither time nor stages were missing."""
    found = Saturation(
        provider="p", model="m", operation="o", target=0, holds_rps=8.0, breaks_rps=None, low_rps=None, high_rps=None, broke_first=None,
        conclusive=False, sentence="", stop=Stop(reason=StopReason.REQUESTS_SPENT, limit=200),
    )  # fmt: skip
    end = Finished(
        outcome="inconclusive",
        exit_code=Exit.INCONCLUSIVE,
        folder=Path("run"),
        spend=Spend(requests=200),
        saturations=Saturations(results=[found]),
    )
    assert _next_step(end, BenchOptions(max_requests=200)) == "allow more with --max-requests: a whole search often takes about 1,500"
