"""Objectives that nobody asked for and that a budget cannot show to be kept count only where they are broken."""

from __future__ import annotations

import msgspec
import pytest

from testcard.benchmarks.run.finishing import Recorded, _without, conclude
from testcard.harness.errors import Exit
from testcard.harness.runs.records import Estimate, Gate, Generator, Spend, Summary, SummaryRow

ROW = SummaryRow(
    provider="p", model="m", operation="o", stage="s", offered_rps=5.0, achieved_rps=5.0, requests=20, ok=20, errors={}, latency_s={},
    service_s={}, ttfb_s={}, images_per_s=5.0, megapixels_per_s=1.0, goodput_rps=5.0, cost_usd_per_image=None,
    generator=Generator(send_lag_p99_s=None, cpu_percent=None), outcome="inconclusive",
)  # fmt: skip


def gate(expression: str, verdict: str) -> Gate:
    return Gate(expression=expression, observed=Estimate(value=None, n=20), verdict=verdict)  # type: ignore[arg-type]


def code(outcome: str, *gates: Gate, limit: str | None = None) -> Exit:
    row = msgspec.structs.replace(ROW, outcome=outcome, gates=list(gates), generator=msgspec.structs.replace(ROW.generator, limit=limit))
    recorded = Recorded(_without(Summary(rows=[row]), {"p95<8s"}), None, Spend())
    return conclude(recorded, [], interrupted=False, fatal=None).code


@pytest.mark.parametrize(
    ("outcome", "gates", "limit", "expected"),
    [
        ("inconclusive", [gate("p95<8s", "inconclusive")], None, Exit.PASS),
        ("fail", [gate("p95<8s", "fail")], None, Exit.GATE_FAILED),
        ("inconclusive", [gate("p95<8s", "inconclusive"), gate("p50<1s", "inconclusive")], None, Exit.INCONCLUSIVE),
        ("inconclusive", [gate("p50<1s", "inconclusive")], None, Exit.INCONCLUSIVE),
        ("inconclusive", [gate("p95<8s", "inconclusive")], "late", Exit.INCONCLUSIVE),
    ],
)
def test_undecided_it_is_no_reason_and_broken_it_is(outcome: str, gates: list[Gate], limit: str | None, expected: Exit) -> None:
    """What was asked for, and a generator that was the bottleneck, count as ever."""
    assert code(outcome, *gates, limit=limit) is expected


@pytest.mark.parametrize(
    ("ok", "limit", "reason"),
    [
        (20, None, "p o s: p95<8s is undecided: 20 are too few"),
        (0, None, "p o s: a remark"),
        (20, "late", "p o s: a remark"),
    ],
)
def test_the_reason_is_what_is_undecided_and_no_remark_beside_it(ok: int, limit: str | None, reason: str) -> None:
    """A remark (turns taken again) explains nothing where figures stand; a row without an answer and a late generator it does explain."""
    undecided = msgspec.structs.replace(gate("p95<8s", "inconclusive"), detail="20 are too few")
    row = msgspec.structs.replace(
        ROW, ok=ok, gates=[undecided], note="a remark", generator=msgspec.structs.replace(ROW.generator, limit=limit)
    )
    assert conclude(Recorded(Summary(rows=[row]), None, Spend()), [], interrupted=False, fatal=None).reason == reason
