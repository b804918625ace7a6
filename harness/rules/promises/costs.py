"""Rules about what an answer says it cost and what is left."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise

from testcard.harness.rules import probes
from testcard.harness.rules.evidence import Observation, SeenExchange
from testcard.harness.rules.rule import Probe, openai_clause, rule
from testcard.harness.rules.scope import Scope
from testcard.specs.pointers import at

#: Sums of binary fractions are off by less than this, in USD.
_DUST_USD = 1e-6


def _cost_place(scope: Scope) -> str | None:
    amount = scope.profile.response.cost
    return amount.at if amount is not None else None


def _balance_place(scope: Scope) -> str | None:
    amount = scope.profile.response.balance
    return amount.at if amount is not None else None


def _states_cost(scope: Scope) -> bool:
    return scope.profile.response.cost is not None and scope.task is not None


def _states_balance(scope: Scope) -> bool:
    return _states_cost(scope) and scope.profile.response.balance is not None


def _paid(seen: Sequence[SeenExchange]) -> Iterator[tuple[SeenExchange, float | None]]:
    """Carried out requests with the cost that their answer states."""
    for one in seen:
        if one.carried_out and one.answer is not None and one.answer.task is None and one.answer.problem is None:
            yield one, one.answer.cost_usd


@rule("answer.cost-not-negative", level="should", clause=openai_clause("usage"), applies=_states_cost, asks=probes.base)
def cost_not_negative(scope: Scope, seen: Sequence[SeenExchange]) -> Iterable[Observation]:
    """The cost that an answer states is an amount, and not negative."""
    for one, cost in _paid(seen):
        if cost is None:
            yield Observation("unsupported", "the answer states no cost", (one.id,))
        elif cost < 0 or not math.isfinite(cost):
            seen_as = f"the cost is {cost:g}" if math.isfinite(cost) else "the cost is beyond every number"
            yield Observation("broken", seen_as, (one.id,), _cost_place(scope))
        else:
            yield Observation("pass", exchanges=(one.id,))


def _one_at_a_time(scope: Scope) -> Iterator[Probe]:
    """Requests that other rules ask for as well, sent with no other under way: one twice as expensive, one repeated, one with another prompt."""
    assert scope.task is not None
    yield from probes.base(scope)
    for probe in (*probes.several(scope), *probes.seed_pair(scope), *probes.another_prompt(scope)):
        if not probe.first:
            yield replace(probe, alone=True)


@rule("answer.balance-falls", level="should", clause=openai_clause("usage"), applies=_states_balance, asks=_one_at_a_time, evidence="pair")
def balance_falls(scope: Scope, seen: Sequence[SeenExchange]) -> Iterable[Observation]:
    """The balance after a request is the balance before it less its cost, when requests run one at a time.

    Others may use the same account, so that a step may be off: the rule is broken only where not one of several steps fits.
    """
    exact = _exactness(scope, [one for one, _ in _paid(seen)])
    fitting: list[Observation] = []
    others: list[Observation] = []
    for ids, old, new, cost in _falls(scope, seen):
        if cost <= exact:
            others.append(Observation("unproven", f"the balance is too coarse to show a cost of {cost:g}", ids))
        elif abs(old - new - cost) <= exact:
            fitting.append(Observation("pass", exchanges=ids))
        else:
            fell = "did not change" if abs(old - new) <= exact else f"fell by {old - new:.6g}" if old > new else f"rose by {new - old:.6g}"
            others.append(Observation("broken", f"the cost is {cost:g} and the balance {fell}", ids, _balance_place(scope)))
    yield from fitting
    for one in others:
        yield replace(one, word="unproven") if fitting and one.word == "broken" else one
    if not fitting and not others:
        yield Observation("unproven", "no two answers one after the other state a cost and a balance")


def _falls(scope: Scope, seen: Sequence[SeenExchange]) -> Iterator[tuple[tuple[str, str], float, float, float]]:
    """Two balances with the ids of the answers that state them, and what was to be paid in between: one request, or several in a row."""
    start: tuple[str, float] | None = None
    last: SeenExchange | None = None
    paid = 0.0
    for before, after in _pairs(scope, seen):
        if before is not last:
            start, paid = _balance(before), 0.0
        last, here = after, _balance(after)
        cost = after.answer.cost_usd if after.answer is not None else None
        if cost is None or cost <= 0:
            start, paid = here, 0.0
            continue
        paid += cost
        if here is not None:
            if start is not None:
                yield (start[0], here[0]), start[1], here[1], paid
            start, paid = here, 0.0


def _balance(one: SeenExchange) -> tuple[str, float] | None:
    balance = one.answer.balance_usd if one.answer is not None else None
    return None if balance is None else (one.id, balance)


def _pairs(scope: Scope, seen: Sequence[SeenExchange]) -> Iterator[tuple[SeenExchange, SeenExchange]]:
    """Billed requests one after the other, with no third of any operation that may have been billed under way from the first to the second."""
    sent = [one for one in seen if one.sent_by_check and (one.exchange.billed or one.status is None)]
    sent.sort(key=lambda one: one.exchange.sent_s)
    busy_until = 0.0
    for index, (before, after) in enumerate(pairwise(sent)):
        one, two = before.exchange, after.exchange
        following = sent[index + 2].exchange.sent_s if index + 2 < len(sent) else two.done_s
        lone = busy_until <= one.sent_s and one.done_s <= two.sent_s and two.done_s <= following
        lone = lone and not any(began < two.done_s and ended > one.sent_s for began, ended in scope.elsewhere)
        if lone and before.status is not None and after.status is not None:
            yield before, after
        busy_until = max(busy_until, one.done_s)


def _exactness(scope: Scope, seen: Sequence[SeenExchange]) -> float:
    """How far a stated balance may be off because it is rounded, in USD: to whole ones where all are whole numbers, else to cents or less."""
    stated = [at(one.answer.json, _balance_place(scope) or "") for one in seen if one.answer is not None]
    numbers = [value for value in stated if isinstance(value, int | float) and not isinstance(value, bool)]
    if all(isinstance(value, int) for value in numbers):
        return 1.0
    decimals = max(len(json.dumps(value).partition(".")[2].rstrip("0")) for value in numbers)
    return max(_DUST_USD, 10.0 ** -max(2, decimals))


@rule(
    "answer.cost-grows", level="info", clause=openai_clause("Create image · n"), applies=_states_cost, asks=probes.several, evidence="pair"
)
def cost_grows(scope: Scope, seen: Sequence[SeenExchange]) -> Iterable[Observation]:
    """More pictures cost more than fewer.

    Only answers with as many pictures as were asked for are compared.
    """
    paid = [(one, cost) for one, cost in _paid(seen) if cost is not None and len(one.pictures) == _number(one)]
    for one, cost in paid:
        for other, more in paid:
            few, many = (_number(each) for each in (one, other))
            if few < many and _else(one) == _else(other):
                if more > cost:
                    yield Observation("pass", exchanges=(one.id, other.id))
                else:
                    detail = f"{_pictures(few)} for {cost:g}, {_pictures(many)} for {more:g}"
                    yield Observation("note", detail, (one.id, other.id), _cost_place(scope))


def _number(one: SeenExchange) -> int:
    number = one.asked.get("n")
    return number if isinstance(number, int) else 1


def _else(one: SeenExchange) -> str:
    """All that was asked for beside the number."""
    return json.dumps({name: value for name, value in one.asked.items() if name != "n"}, sort_keys=True, default=str)


def _pictures(number: int) -> str:
    return "1 picture was billed" if number == 1 else f"{number} pictures"


RULES = (cost_not_negative, balance_falls, cost_grows)
