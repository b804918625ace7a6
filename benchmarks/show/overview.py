"""How a run goes, put together from what its engines say. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from testcard.benchmarks.show.tally import quantile_s, total


def together(states: Sequence[dict[str, Any]], stage: str = "") -> dict[str, Any]:
    """One state of several engines' (see `Engine.progress`): sums, outcomes together, percentiles of the stage (see `tally.key_of`) so far."""
    outcomes: Counter[str] = Counter()
    for state in states:
        outcomes.update(state["outcomes"])
    buckets = total((state["tally"] for state in states), stage)
    return {
        "workers": len(states),
        "requests": sum(state["requests"] for state in states),
        "in_flight": sum(state["in_flight"] for state in states),
        "rate_rps": sum(state["rate_rps"] for state in states),
        "spent_usd": sum(state["spent_usd"] for state in states),
        "failed": sum(count for outcome, count in outcomes.items() if outcome not in ("ok", "interrupted")),
        "outcomes": dict(outcomes.most_common()),
        "stage_requests": sum(buckets.values()),
        "p50_s": quantile_s(buckets, 0.5),
        "p95_s": quantile_s(buckets, 0.95),
    }
