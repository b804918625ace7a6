"""How a run goes, put together from what its engines say. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any


def together(states: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """One state of several engines' (see `Engine.progress`): sums, outcomes together, percentiles of the latest latencies."""
    outcomes: Counter[str] = Counter()
    for state in states:
        outcomes.update(state["outcomes"])
    recent = sorted(latency for state in states for latency in state["recent_s"])
    return {
        "workers": len(states),
        "requests": sum(state["requests"] for state in states),
        "in_flight": sum(state["in_flight"] for state in states),
        "rate_rps": sum(state["rate_rps"] for state in states),
        "spent_usd": sum(state["spent_usd"] for state in states),
        "failed": sum(count for outcome, count in outcomes.items() if outcome not in ("ok", "interrupted")),
        "outcomes": dict(outcomes.most_common()),
        "p50_s": recent[len(recent) // 2] if recent else None,
        "p95_s": recent[int(0.95 * (len(recent) - 1))] if recent else None,
    }
