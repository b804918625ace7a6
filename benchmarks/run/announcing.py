"""What is said before anything is sent: how much is planned, for how long, and what it can cost."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import click

from testcard.benchmarks.plan.asks import asks, task_requests
from testcard.benchmarks.plan.job import CellJob
from testcard.benchmarks.plan.workload import Workload
from testcard.benchmarks.search.bracket import SearchPlan
from testcard.harness.errors import UsageError
from testcard.harness.targets import OpenTarget
from testcard.harness.wire.billing import worst_case


def say_plan(
    targets: Sequence[OpenTarget],
    cells: Sequence[CellJob],
    workload: Workload,
    max_cost: float | None,
    search: SearchPlan | None,
    say: Callable[[str], None],
    *,
    live: bool,
) -> None:
    """Says how many requests are planned and what they can cost; `UsageError` for a cost limit on a model without a price."""
    requests = 0.0
    dollars = 0.0
    unpriced: list[str] = []
    for cell in cells:
        target = targets[cell.target]
        requested = task_requests(target.provider, cell.operation, cell.task, cell.model, workload)  # type: ignore[arg-type]
        # Encoded here too, so that what the contract does not allow is told before a run exists.
        ready = asks(
            target.provider, cell.operation, requested, base_url=target.base_url, api_key=None, fresh_seeds=workload.seeds == "fresh"
        )
        ask = ready[0].request
        price = target.pricing.price(cell.model, cell.operation)
        each = None if price is None else price.usd(worst_case(target.provider, cell.operation, ask))
        if each is None:
            unpriced.append(f"{cell.provider} {cell.model or cell.operation}")
            if max_cost is not None:
                raise UsageError(
                    f"--max-cost cannot be kept: there is no price for {cell.model or cell.operation} of {cell.provider}",
                    hint="set " + target.pricing.missing_key(cell.model),
                )
        for stage in workload.stage:
            if stage.rate_rps is not None and search is None:
                count = stage.rate_rps * (stage.duration_s + workload.warmup_s * workload.rounds)
                requests += count
                dollars += count * (each or 0.0)
    seconds = sum(stage.duration_s + workload.warmup_s * workload.rounds for stage in workload.stage) * len(cells)
    amount = f"about {requests:.0f} requests" if requests else "as many requests as the users get through"
    if search is not None:
        amount = f"up to {search.max_stages} stages each, from {search.start_rps:g}/s on, as many requests as that takes"
    cost = f", at most about ${dollars:.2f}" if requests and dollars else ""
    missing = f" (no price: {', '.join(unpriced)})" if unpriced else ""
    if live:  # said to those too who want it quiet
        click.echo("live: check that the provider's terms allow load tests; every request below can cost money", err=True)
    say(
        f"plan: workload {workload.name or 'of the flags'}, {len(cells)} × {len(workload.stage)} stage(s), {workload.rounds} round(s), "
        f"{seconds:.0f} s, {amount}{cost}{missing}"
        if search is None
        else f"plan: search of {len(cells)} × saturation, {amount}{missing}"
    )
