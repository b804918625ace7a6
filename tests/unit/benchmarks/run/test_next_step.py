"""The next step after an inconclusive benchmark names the flag that was the bound: time where no budget was stated."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from testcard.benchmarks.run.options import BenchOptions
from testcard.benchmarks.run.output import _next_step
from testcard.harness.errors import Exit
from testcard.harness.events import Finished
from testcard.harness.runs.records import Estimate, Gate, Generator, Spend, Summary, SummaryRow

ROW = SummaryRow(
    provider="p", model="m", operation="o", stage="s", offered_rps=5.0, achieved_rps=5.0, requests=20, ok=20, errors={}, latency_s={},
    service_s={}, ttfb_s={}, images_per_s=5.0, megapixels_per_s=1.0, goodput_rps=5.0, cost_usd_per_image=None,
    generator=Generator(send_lag_p99_s=None, cpu_percent=None), outcome="inconclusive",
)  # fmt: skip


def step(more: int | None, **limits: Any) -> str:
    """After 20 requests in each of two rows, which this many more would decide."""
    gate = Gate(expression="p95<8s", observed=Estimate(value=None, n=20), verdict="inconclusive", more_requests=more)
    rows = [msgspec.structs.replace(ROW, target=target, gates=[gate]) for target in (0, 1)]
    end = Finished(outcome="inconclusive", exit_code=Exit.INCONCLUSIVE, folder=Path("run"), spend=Spend(), summary=Summary(rows=rows))
    return _next_step(end, BenchOptions(**limits))


@pytest.mark.parametrize(
    ("limits", "known", "unknown"),
    [
        ({}, "a longer --duration", "a longer --duration"),
        (
            {"max_requests": 40},
            "--max-requests 144, and time for them (--duration)",
            "a larger --max-requests, and time for them (--duration)",
        ),
        (
            {"max_cost_usd": 1.0},
            "a higher --max-cost, and time for them (--duration)",
            "a higher --max-cost, and time for them (--duration)",
        ),
    ],
)
def test_it_names_the_bound(limits: dict[str, Any], known: str, unknown: str) -> None:
    """A limit that nobody stated bounds nothing, and time alone adds nothing to a budget that is used up."""
    assert step(52, **limits) == f"about 72 requests a row would decide, if they are like these: {known}"
    assert step(None, **limits) == f"more samples: {unknown}"
