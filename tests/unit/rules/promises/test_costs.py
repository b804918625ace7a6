"""What an answer says it cost and what is left of the balance: kept, broken, and too little to tell."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from testcard.harness.rules.promises import RULES
from testcard.harness.rules.scope import Scope
from testcard.specs.loader import load_provider

NANOGPT = Scope(load_provider("nanogpt"), "createImage")
NEBUL = Scope(load_provider("nebul"), "createImage")
FALLS = "answer.balance-falls"


def bill(cost: Any, balance: Any = None) -> dict[str, Any]:
    return {"data": [], "cost": cost, "remainingBalance": balance}


@pytest.mark.parametrize(("cost", "word"), [(0.014, "pass"), (0, "pass"), (-0.014, "broken"), (10**400, "broken"), (None, "unsupported")])
def test_cost_not_negative(cost: Any, word: str, recorded: Any) -> None:
    """Nothing and more pass; a minus, and what no amount can be, break it; no cost is none."""
    assert recorded(NANOGPT).add(200, bill(cost)).words("answer.cost-not-negative") == {word}
    assert not RULES["answer.cost-not-negative"].applies(NEBUL)


@pytest.mark.parametrize(
    ("balances", "words"),
    [
        ((10.0, 9.986, 9.972), {"pass"}),
        ((10.0, 10.0, 10.0), {"broken"}),
        ((10.0, 9.972, 9.944), {"broken"}),
        ((10.0, 10.014, 10.028), {"broken"}),
        ((10.0, 9.986, 9.5), {"pass", "unproven"}),
        ((10.0, 9.986, 14.972), {"pass", "unproven"}),
        ((10, 10, 10), {"unproven"}),
        ((None, None, None), {"unproven"}),
        ((10.0, None, 9.972), {"pass"}),
        ((10.0, None, 9.986), {"broken"}),
        ((None, 10.0, None, None, 9.958, 9.944), {"pass"}),
    ],
    ids=[
        "kept",
        "never changes",
        "twice the cost",
        "rises",
        "someone else pays too",
        "someone tops it up",
        "rounded",
        "not stated",
        "not always stated",
        "not always stated, wrong",
        "stated twice",
    ],
)
def test_balance_falls(balances: tuple[Any, ...], words: set[str], recorded: Any) -> None:
    """Each request takes its cost; what others do to the account is not the server's fault as long as one step fits."""
    run = recorded(NANOGPT)
    for balance in balances:
        run.add(200, bill(0.014, balance))
    assert run.words(FALLS) == words


def test_a_balance_in_cents_may_be_rounded(recorded: Any) -> None:
    """A balance with two decimals shows a cost of five cents, give or take one."""
    assert recorded(NANOGPT).add(200, bill(0.054, 9.99)).add(200, bill(0.054, 9.93)).words(FALLS) == {"pass"}
    assert recorded(NANOGPT).add(200, bill(0.054, 9.99)).add(200, bill(0.054, 9.99)).words(FALLS) == {"broken"}


def test_only_requests_one_at_a_time_count(recorded: Any) -> None:
    """Two at once, or a third that may have been charged meanwhile, prove nothing; one that was refused does not disturb."""
    both = recorded(NANOGPT).add(200, bill(0.014, 10.0), sent_s=0, took_s=5).add(200, bill(0.014, 10.0), sent_s=3, took_s=5)
    assert both.words(FALLS) == {"unproven"}

    def three(status: int | None, sent_s: float, took_s: float = 1.0) -> Any:
        run = recorded(NANOGPT).add(200, bill(0.014, 10.0), sent_s=0).add(200, bill(0.014, 10.0), sent_s=10)
        return run.add(status, bill(0.014, None), sent_s=sent_s, took_s=took_s, failure=None if status else "timeout").words(FALLS)

    assert three(200, 20.0) == {"broken"}
    assert three(200, 0.5) == three(200, 10.5) == three(200, 0.5, took_s=10.0) == {"unproven"}
    assert three(None, 5.0, took_s=20.0) == {"unproven"}
    assert three(400, 0.5) == {"broken"}


@pytest.mark.parametrize(
    ("span", "word"),
    [((5.0, 8.0), "unproven"), ((0.5, 3.0), "unproven"), ((10.5, 30.0), "unproven"), ((-9.0, 0.0), "broken"), ((11.0, 20.0), "broken")],
    ids=["between them", "during the first", "during the second", "before", "after"],
)
def test_requests_of_other_operations_are_paid_from_the_same_account(span: tuple[float, float], word: str, recorded: Any) -> None:
    """A request of another operation that was under way meanwhile may have been charged; before and after it does not matter."""
    run = recorded(replace(NANOGPT, elsewhere=(span,)))
    run.add(200, bill(0.014, 10.0), sent_s=0).add(200, bill(0.014, 10.0), sent_s=10, took_s=1.0)
    assert run.words(FALLS) == {word}


def test_a_cost_that_is_not_stated_ends_the_sum(recorded: Any) -> None:
    """Between two balances every request has to state what it cost."""
    run = recorded(NANOGPT)
    for cost, balance in ((0.014, 10.0), (None, None), (0.014, 9.5)):
        run.add(200, bill(cost, balance))
    assert run.words(FALLS) == {"unproven"}


def test_free_answers_and_negative_costs_say_nothing_of_the_balance(recorded: Any) -> None:
    """A cost of nothing moves nothing, and one below zero is another rule's."""
    assert recorded(NANOGPT).add(200, bill(0, 10.0)).add(200, bill(0, 10.0)).words(FALLS) == {"unproven"}
    assert recorded(NANOGPT).add(200, bill(-1, 10.0)).add(200, bill(-1, 10.0)).words(FALLS) == {"unproven"}


def test_the_pairs_are_asked_for_alone() -> None:
    """The rule asks for no request of its own: it has others' sent one at a time."""
    asked = list(RULES[FALLS].asks(NANOGPT))
    assert [probe.key for probe in asked if probe.alone] == ["generate/n:2", "generate/seed-again", "generate/prompt:another"]
    others = {
        probe.key
        for rule in ("image.count", "seed.repeatable", "image.decodes", "image.follows-prompt")
        for probe in RULES[rule].asks(NANOGPT)
    }
    assert {probe.key for probe in asked} <= others


def test_cost_grows(recorded: Any, picture: Any) -> None:
    """Two pictures for more than one pass; for as much they are noted; requests that differ otherwise, or come short, are not compared."""

    def asked(n: int, **more: Any) -> dict[str, Any]:
        return {"task": "generate", "n": n, "size": [256, 256], **more}

    def words(cost: float, number: int, **more: Any) -> set[str]:
        run = recorded(NANOGPT)
        for n, price, count in ((1, 0.014, 1), (2, cost, number)):
            answer = {**bill(price), "data": [{"b64_json": picture()}] * count}
            run.add(200, answer, asked=asked(n, **(more if n == 2 else {})))
        return set(run.words("answer.cost-grows"))

    assert words(0.028, 2) == {"pass"}
    assert words(0.014, 2) == {"note"}
    assert words(0.014, 1) == set()
    assert words(0.01, 2, seed=1) == set()
