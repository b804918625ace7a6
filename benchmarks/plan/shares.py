"""The budget is the plan: `--max-requests` and `--max-cost` divided over targets, stages and rounds before anything is sent. Pure.

Every target gets as many requests as every other, at every stage that can use them, spread evenly over the rounds; rounds for which
nothing is left are not begun. So a run that ends with its budget ends where its plan does. A share of money is counted at worst
cases; a closed loop whose answers turn out cheaper sends more for it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from testcard.benchmarks.plan.job import BlockJob
from testcard.harness.errors import UsageError
from testcard.harness.text.prices import amount

#: A closed loop's turn of fewer requests has no warm-up, for it could be all of it.
WARMED = 50
#: (cell, place of the first ask, so many requests from there on) → what they can cost at most, in USD.
Cost = Callable[[int, int, int], float]


def divided(
    blocks: Sequence[BlockJob],
    due: Sequence[int],
    *,
    max_requests: int | None,
    max_cost_usd: float | None,
    cost: Cost,
) -> list[BlockJob]:
    """The turns, each with its share. Those that nothing bounds, or that the limits leave room for, come back as they are.

    `due` says how many requests of each turn are due (of an open loop). A turn of an open loop that is cut down keeps its rate and
    has exactly its share of arrivals, and no warm-up; nor has a small share of a closed loop: every request that is paid for counts.
    A limit of 0 divides nothing: the run sends nothing and says so. `UsageError` where a limit does not give every row one request.
    """
    if not blocks or not (max_requests or max_cost_usd):
        return list(blocks)
    cells, rounds = 1 + max(block.cell for block in blocks), max(block.round for block in blocks)
    needs = _needs(blocks, due, rounds)

    def requests(level: int) -> float:
        return cells * sum(_least(level, need) for need in needs.values())

    def usd(level: int) -> float:
        return sum(cost(cell, 0, _least(level, need)) for cell in range(cells) for need in needs.values())

    by_count, by_cost = _level(requests, needs, max_requests), _level(usd, needs, max_cost_usd)
    rows = cells * len(needs)
    if by_count == 0:
        raise UsageError(
            f"--max-requests {max_requests} does not give each of {rows} rows one request",
            hint=f"allow {rows} or more, or name fewer targets, models or stages",
        )
    if by_cost == 0:
        raise UsageError(
            f"--max-cost {max_cost_usd:g} does not give each of {rows} rows one request, which can cost {amount(usd(1))} together",
            hint=f"allow {amount(usd(1))} or more, or name fewer targets, models or stages",
        )
    factor = max(1.0, max_cost_usd / usd(by_cost)) if max_cost_usd and by_cost is not None and usd(by_cost) > 0 else 1.0
    found = []
    for block in blocks:
        need = needs[block.stage]

        def share(level: int | None, block: BlockJob = block, need: int | None = need) -> int | None:
            return None if level is None else split(_least(level, need), rounds)[block.round - 1]

        counted, paid = share(by_count), share(by_cost)
        level = min((each for each in (by_count, by_cost) if each is not None), default=0)
        begin = sum(split(_least(level, need), rounds)[: block.round - 1])
        if counted == 0 or paid == 0:
            continue
        if block.rate_rps is None:
            money = None if paid is None else cost(block.cell, begin, paid) * factor
            few = any(part is not None and part < WARMED for part in (counted, paid))
            warmup_s = 0.0 if few else block.warmup_s
            found.append(msgspec.structs.replace(block, warmup_s=warmup_s, max_requests=counted, max_cost_usd=money or None, begin=begin))
            continue
        if all(level is None or need is None or level >= need for level in (by_count, by_cost)):
            found.append(block)
            continue
        most = min(part for part in (counted, paid) if part is not None)
        found.append(
            msgspec.structs.replace(block, warmup_s=0.0, duration_s=most / block.rate_rps, exact=True, max_requests=most, begin=begin)
        )
    return found


def split(whole: int, rounds: int) -> list[int]:
    """So many requests over so many rounds, the earlier ones getting one more where they do not divide evenly."""
    each, rest = divmod(whole, rounds)
    return [each + (number < rest) for number in range(rounds)]


def _needs(blocks: Sequence[BlockJob], due: Sequence[int], rounds: int) -> dict[str, int | None]:
    """Stage → as many requests as the target with the most arrivals has there; None: as many as the users get through."""
    found: dict[str, int | None] = {}
    sums: dict[tuple[str, int], int] = {}
    for block, number in zip(blocks, due, strict=True):
        key = (block.stage, block.cell)
        sums[key] = sums.get(key, 0) + number
        found[block.stage] = None if block.rate_rps is None else max(found.get(block.stage) or 0, sums[key])
    return found


def _least(level: int, need: int | None) -> int:
    return level if need is None else min(level, need)


def _level(taken: Callable[[int], float], needs: dict[str, int | None], limit: float | None) -> int | None:
    """The most requests a row that a limit allows, where `taken` says what so many come to; None where it bounds nothing."""
    if not limit:
        return None
    most = max((need for need in needs.values() if need is not None), default=0)
    if None not in needs.values() and taken(most) <= limit + 1e-9:
        return None
    low, high = 0, 1
    while taken(high) <= limit + 1e-9:
        low, high = high, 2 * high
        if low > 10**12:  # nothing costs anything
            return None
    while low + 1 < high:
        middle = (low + high) // 2
        low, high = (middle, high) if taken(middle) <= limit + 1e-9 else (low, middle)
    return low
