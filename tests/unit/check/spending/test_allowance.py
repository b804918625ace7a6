"""What an operation may be billed for: enough of a kind is enough, spare requests fill the room that is left, whatever the timing."""

from __future__ import annotations

import random
from dataclasses import replace
from functools import cache

import pytest

from testcard.harness.check.generation.plan import Plan, PlanStep, choose_rules, make_plan
from testcard.harness.check.spending.allowance import ENOUGH, MOST_IMAGES, Allowance, most_images
from testcard.harness.pricing import Pricing
from testcard.specs.loader import load_provider

NANOGPT = load_provider("nanogpt")


@cache
def whole_plan() -> Plan:
    return make_plan(NANOGPT, Pricing(NANOGPT, mock=True), rules=choose_rules(()), operations=("createImage",))


def step(number: int, *, kind: str | None = None, spare: bool = False, images: int = 1) -> PlanStep:
    return replace(whole_plan().steps[0], number=number, kind=kind, spare=spare, images=images, first=False)


def carried_out(steps: list[PlanStep], accepts: set[int], concurrency: int, order: random.Random) -> list[int]:
    """The numbers of the steps that are sent when requests end in a random order; those in `accepts` are billed."""
    allowance = Allowance(steps)
    under_way: list[PlanStep] = []
    sent: list[int] = []

    def one_ends() -> None:
        ended = under_way.pop(order.randrange(len(under_way)))
        allowance.end(ended, ended.weight if ended.number in accepts else 0, ended.number in accepts)

    for one in steps:
        while len(under_way) >= concurrency:
            one_ends()
        while (word := allowance.admission(one)) == "wait":
            one_ends()
        if word == "go":
            allowance.begin(one)
            under_way.append(one)
            sent.append(one.number)
    while under_way:
        one_ends()
    return sent


def test_of_a_kind_two_are_carried_out() -> None:
    """A server that takes everything is asked twice in each way; one that refuses is asked all of it."""
    steps = [step(number, kind="ab"[number % 2]) for number in range(20)]
    everything = set(range(20))
    for concurrency in (1, 8):
        assert carried_out(steps, everything, concurrency, random.Random(1)) == [0, 1, 2, 3]
        assert carried_out(steps, set(), concurrency, random.Random(1)) == list(range(20))
        assert carried_out(steps, {4, 5, 8}, concurrency, random.Random(1)) == [*range(9), *range(9, 20, 2)]
    assert ENOUGH == 2


def test_spare_requests_fill_what_is_left() -> None:
    """After 36 pictures there is room for four more; refused ones cost nothing and make room."""
    steps = [*(step(number) for number in range(36)), *(step(number, spare=True) for number in range(36, 60))]
    assert len(carried_out(steps, set(range(60)), 8, random.Random(2))) == MOST_IMAGES
    assert len(carried_out(steps, set(range(10, 60)), 8, random.Random(2))) == 50
    dear = [*(step(number) for number in range(36)), *(step(number, spare=True, images=3) for number in range(36, 40))]
    assert carried_out(dear, set(range(60)), 8, random.Random(2)) == list(range(37))


def test_what_is_needed_later_is_kept_free() -> None:
    """A broken request that comes before certain ones never takes the room that they need."""
    steps = [*(step(number, kind="x") for number in range(5)), *(step(number) for number in range(5, 44))]
    assert carried_out(steps, set(range(50)), 4, random.Random(3)) == [0, *range(5, 44)]


@pytest.mark.parametrize("seed", range(40))
def test_the_same_answers_lead_to_the_same_requests(seed: int) -> None:
    """Whatever the concurrency and whichever request ends first, the same steps are sent."""
    source = random.Random(seed)
    steps = [
        step(number, kind=source.choice([None, "a", "b", "c"]), spare=source.random() < 0.3, images=source.choice([1, 1, 1, 2, 5]))
        for number in range(60)
    ]
    accepts = {number for number in range(60) if source.random() < 0.6}
    alone = carried_out(steps, accepts, 1, random.Random(0))
    for concurrency in (2, 8, 32):
        assert carried_out(steps, accepts, concurrency, random.Random(seed + concurrency)) == alone
    billed = sum(one.weight for one in steps if one.number in accepts and one.number in alone)
    certain = sum(one.weight for one in steps if not one.elastic)
    assert billed <= max(MOST_IMAGES, certain)


def test_a_plan_says_what_it_can_be_billed_for_at_most() -> None:
    """The number of pictures that --plan prints counts elastic steps only as far as there is room."""
    whole = whole_plan()
    assert sum(one.images for one in whole.steps) > MOST_IMAGES
    assert most_images(whole.steps) == MOST_IMAGES
    assert sum(one.weight for one in whole.steps if not one.elastic) <= MOST_IMAGES
