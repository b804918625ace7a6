"""What a plan can cost at most: never less than any server can make of it, and no more than its pictures allow."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testcard.harness.check.spending.allowance import MOST_IMAGES, Allowance, most_images, most_usd


@dataclass(frozen=True)
class PlanStep:
    """As much of a plan's step as counts here."""

    operation: str = "a"
    billed: bool = True
    images: int = 1
    cost_usd: float | None = 0.01
    spare: bool = False
    kind: str | None = None

    @property
    def elastic(self) -> bool:
        return self.spare or self.kind is not None

    @property
    def weight(self) -> int:
        return max(1, self.images) if self.billed else 0


steps = st.lists(
    st.builds(
        PlanStep,
        operation=st.sampled_from(["a", "b"]),
        billed=st.sampled_from([True, True, True, False]),
        images=st.integers(0, 15),
        cost_usd=st.integers(0, 50).map(lambda cents: cents / 100),
        spare=st.booleans(),
        kind=st.sampled_from([None, "x", "y"]),
    ),
    max_size=20,
)


@given(steps, st.lists(st.booleans(), min_size=20, max_size=20))
def test_no_server_can_make_it_more_expensive(plan: list[PlanStep], takes: list[bool]) -> None:
    """Whatever a server carries out and refuses, in the order of the plan, both sums stay within what was said before."""
    allowance = Allowance(plan)  # type: ignore[arg-type]
    images, cost = 0, 0.0
    for step, taken in zip(plan, takes, strict=False):
        if allowance.admission(step) != "go":  # type: ignore[arg-type]
            continue
        allowance.begin(step)  # type: ignore[arg-type]
        allowance.end(step, step.weight if taken else 0, taken)  # type: ignore[arg-type]
        if taken and step.billed:
            images += step.images
            cost += step.cost_usd or 0.0
    assert images <= most_images(plan)
    assert cost <= (most_usd(plan) or 0.0) + 1e-9


@given(steps, st.integers(0, 60))
def test_a_limit_on_pictures_limits_the_cost(plan: list[PlanStep], limit: int) -> None:
    """With a limit no choice of requests within it costs more; a higher limit never says less."""
    most = most_usd(plan, limit)
    assert most is not None
    assert most_images(plan, limit) <= limit
    paid = [step for step in plan if step.billed and step.images]
    for size in (1, 2):
        for chosen in combinations(paid, size):
            fits = all(step.weight <= MOST_IMAGES or not step.elastic for step in chosen) and sum(step.images for step in chosen) <= limit
            if fits and sum(step.weight for step in chosen) <= MOST_IMAGES:
                assert sum(step.cost_usd or 0 for step in chosen) <= most + 1e-9
    assert most <= (most_usd(plan, limit + 1) or 0.0) + 1e-9 <= (most_usd(plan) or 0.0) + 2e-9


@pytest.mark.parametrize(
    ("plan", "images", "usd"),
    [
        ([], 0, 0.0),
        ([PlanStep(cost_usd=0.02)] * 3, 3, 0.06),
        ([PlanStep(cost_usd=0.01)] * 30 + [PlanStep(cost_usd=0.05, spare=True)] * 30, 40, 30 * 0.05 + 10 * 0.01),
        ([PlanStep()] * 50 + [PlanStep(cost_usd=9.0, spare=True)] * 5, 50, 5 * 9.0 + 35 * 0.01),
        ([PlanStep(), PlanStep(images=10**9, cost_usd=1e7, kind="x")], 1, 0.01),
        ([PlanStep(operation="a")] * 40 + [PlanStep(operation="b", spare=True)] * 50, 80, 0.80),
        ([PlanStep(images=0, cost_usd=0.001)] * 60, 0, 0.06),
        ([PlanStep(billed=False, cost_usd=0.0)] * 9 + [PlanStep(cost_usd=None)], 1, None),
        ([PlanStep(), PlanStep(images=100, cost_usd=None, kind="x")], 1, 0.01),
    ],
    ids=["nothing", "all of it", "the expensive ones", "more than forty that are certain", "ten to the nine", "two operations", "texts",
         "no price", "no price, never sent"],
)  # fmt: skip
def test_the_worst_that_can_happen(plan: list[PlanStep], images: int, usd: float | None) -> None:
    """The most expensive requests that there is room for, exactly; nothing is said where a price is missing that could count."""
    assert most_images(plan) == images
    found = most_usd(plan)
    assert found is None if usd is None else found == pytest.approx(usd)


def test_texts_are_no_pictures() -> None:
    """A limit on pictures leaves the answers of a chat to be paid for."""
    plan = [PlanStep(images=0, cost_usd=0.001)] * 7 + [PlanStep(cost_usd=0.5)] * 4
    assert most_usd(plan, 0) == pytest.approx(0.007)
    assert most_usd(plan, 1) == pytest.approx(0.507)
