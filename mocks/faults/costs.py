"""Lies about what an answer costs, and what is left on the account."""

from __future__ import annotations

from typing import Any

from testcard.mocks.exchange import Call
from testcard.mocks.faults.register import NANOGPT, fault

Body = dict[str, Any]


@fault("body", "answer.cost-not-negative", NANOGPT, also=("answer.cost-grows",))
def _negative_cost(call: Call, body: Body) -> Body:
    """States the cost as a booking, with a minus."""
    return {**body, "cost": -body["cost"]}


@fault("body", "answer.balance-falls", NANOGPT)
def _same_balance(call: Call, body: Body) -> Body:
    """Says that as much is left as before."""
    return {**body, "remainingBalance": 10_000.0}


@fault("body", "answer.balance-falls/twice", NANOGPT)
def _charged_twice(call: Call, body: Body) -> Body:
    """Takes twice the cost from the balance."""
    return {**body, "remainingBalance": round(2 * body["remainingBalance"] - 10_000.0, 6)}


@fault("body", "answer.balance-falls/rises", NANOGPT)
def _credited(call: Call, body: Body) -> Body:
    """Adds the cost to the balance."""
    return {**body, "remainingBalance": round(20_000.0 - body["remainingBalance"], 6)}


@fault("body", "answer.cost-grows", NANOGPT)
def _flat_rate(call: Call, body: Body) -> Body:
    """States, and takes, the cost of one picture whatever their number."""
    cost = round(body["cost"] / max(1, len(body["data"])), 6)
    return {**body, "cost": cost, "remainingBalance": round(body["remainingBalance"] + body["cost"] - cost, 6)}
