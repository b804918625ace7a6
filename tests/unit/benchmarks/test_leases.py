"""A budget that several workers spend is never exceeded, and where little is left nothing of it waits where it is not needed."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import gevent
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from testcard.benchmarks.fleet.leases import Grant, Lease, LeasedBudget, Ledger, Lending

WORST_USD = 0.014


def sent(ledger: Ledger, turns: list[int], workers: int) -> tuple[int, bool]:
    """How many requests go out when workers want to send in this order, up to the first refusal; and whether one was refused."""
    leases = [Lease(ledger.max_requests, ledger.max_cost_usd) for _ in range(workers)]
    count = 0
    for worker in turns:
        lease = leases[worker % workers]
        while not lease.reserve(WORST_USD):
            grant = ledger.lease(WORST_USD, workers)
            if grant.refusal is not None:
                return count, True
            lease.add(grant)
        count += 1
        if lease.is_low(WORST_USD) and (grant := ledger.lease(WORST_USD, workers)).refusal is None:
            lease.add(grant)
    return count, False


@given(
    affordable=st.integers(1, 15),
    spare=st.floats(0, 0.99),
    turns=st.lists(st.integers(0, 3), min_size=16, max_size=40),
    by_count=st.booleans(),
)
def test_every_request_that_can_be_paid_for_is_sent(affordable: int, spare: float, turns: list[int], by_count: bool) -> None:
    """Whichever of four workers has requests due: the first refusal comes when as many were sent as one process could have."""
    ledger = Ledger(affordable, None) if by_count else Ledger(None, (affordable + spare) * WORST_USD)
    assert sent(ledger, turns, 4) == (affordable, True)


@given(affordable=st.integers(1, 400), turns=st.lists(st.integers(0, 8), max_size=500), workers=st.integers(1, 9), both=st.booleans())
def test_a_budget_is_never_exceeded(affordable: int, turns: list[int], workers: int, both: bool) -> None:
    """Of requests, of money, and of both."""
    ledger = Ledger(affordable if both else None, (affordable + 0.5) * WORST_USD)
    assert sent(ledger, turns, workers)[0] <= affordable


def all_sent(ledger: Ledger, turns: list[int], workers: int) -> tuple[int, bool]:
    """As `sent`, with the master's dealings between them: what others hold is asked back before anybody is refused."""
    lending, leases = Lending(ledger), {str(worker): Lease(ledger.max_requests, ledger.max_cost_usd) for worker in range(workers)}
    refused: set[str] = set()

    def carry_out(steps: Iterator[tuple[str, Grant | None]]) -> None:
        for name, grant in steps:
            if grant is None:
                carry_out(lending.returned(name, *leases[name].empty(), list(leases)))
            elif grant.refusal is None:
                leases[name].add(grant)
            else:
                refused.add(name)

    for count, turn in enumerate(turns):
        name = str(turn % workers)
        while not leases[name].reserve(WORST_USD):
            carry_out(lending.asked(name, WORST_USD, list(leases)))
            if name in refused:
                return count, True
        if leases[name].is_low(WORST_USD):
            carry_out(lending.asked(name, WORST_USD, list(leases)))
            refused.clear()
    return len(turns), False


@given(affordable=st.integers(1, 120), spare=st.floats(0, 0.99), workers=st.integers(2, 5), data=st.data(), by_count=st.booleans())
def test_a_lease_of_several_strands_none_of_them(affordable: int, spare: float, workers: int, data: st.DataObject, by_count: bool) -> None:
    """However large the leases were, and whoever has nothing more to send: all that can be paid for is sent before anybody is refused."""
    turns = data.draw(st.lists(st.integers(0, workers - 1), min_size=affordable + 1, max_size=affordable + 5))
    ledger = Ledger(affordable, None) if by_count else Ledger(None, (affordable + spare) * WORST_USD)
    assert all_sent(ledger, turns, workers) == (affordable, True)


def test_one_that_waits_for_a_worker_that_dies_is_answered() -> None:
    """What the dead one held counts as spent; the other one is refused instead of waiting for ever."""
    lending = Lending(Ledger(8, None))
    assert [grant.requests for _, grant in lending.asked("dies", None, ["dies", "asks"]) if grant is not None] == [2]
    for _ in range(6):
        assert [name for name, grant in lending.asked("asks", None, ["dies", "asks"]) if grant is not None] == ["asks"]
    assert list(lending.asked("asks", None, ["dies", "asks"])) == [("dies", None)]
    ((name, grant),) = lending.returned("dies", 0, 0.0, ["asks"])
    assert name == "asks"
    assert grant is not None
    assert grant.refusal is not None


class Fleet:
    """Workers that share a budget, in this process: each sends what it may, and an answer shows some turns later what it costs."""

    def __init__(self, affordable: float, times: float, slow: list[int]) -> None:
        usd = affordable * WORST_USD
        self.lending = Lending(Ledger(None, usd))
        names = [str(number) for number in range(len(slow))]
        self.budgets = {name: LeasedBudget(None, usd, partial(self._asked, name), partial(self._returned, name)) for name in names}
        self.billed_usd = 0.0
        self._times = times
        self._slow = slow

    def _asked(self, name: str, worst_usd: float, least_usd: float, times: float) -> None:
        self.lending.ledger.times = max(self.lending.ledger.times, times)
        self._told(self.lending.asked(name, worst_usd, list(self.budgets), least_usd))

    def _returned(self, name: str, requests: int, usd: float, times: float) -> None:
        self.lending.ledger.times = max(self.lending.ledger.times, times)
        self._told(self.lending.returned(name, requests, usd, list(self.budgets)))

    def _told(self, steps: Iterator[tuple[str, Grant | None]]) -> None:
        for name, grant in steps:
            budget = self.budgets[name]
            gevent.spawn(budget.asked_back) if grant is None else gevent.spawn(budget.granted, grant)

    def _answer(self, budget: LeasedBudget, after: int) -> None:
        for _ in range(after):
            gevent.sleep(0)
        budget.is_sure = True
        budget.settle(WORST_USD, self._times * WORST_USD)

    def _work(self, name: str, requests: int) -> None:
        budget, flight = self.budgets[name], []
        budget.is_sure = False
        for _ in range(requests):
            while budget.must_wait(WORST_USD):
                gevent.sleep(0)
            if not budget.reserve(WORST_USD):
                break
            self.billed_usd += self._times * WORST_USD
            flight.append(gevent.spawn(self._answer, budget, self._slow[int(name)]))
        gevent.joinall(flight, raise_error=True)
        self._returned(name, *budget.give_back(), budget.times)

    def run(self, requests: int) -> None:
        """All of them at once, each with so many requests due."""
        gevent.joinall([gevent.spawn(self._work, name, requests) for name in self.budgets], raise_error=True)


@settings(deadline=None)
@given(
    affordable=st.floats(4, 60),
    times=st.sampled_from([1.0, 1.5, 2.0, 4.0]),
    slow=st.lists(st.integers(0, 40), min_size=1, max_size=4),
    requests=st.integers(1, 40),
)
def test_workers_learn_what_a_target_bills_before_they_overspend(affordable: float, times: float, slow: list[int], requests: int) -> None:
    """A target that bills up to four times the price, and a first wave from several workers: never over, and what there is gets used."""
    fleet = Fleet(affordable, times, slow)
    fleet.run(requests)
    assert fleet.billed_usd <= affordable * WORST_USD + 1e-9
    request_usd = times * WORST_USD  # one of a worker may stay unsent where the last money lies with others
    assert fleet.billed_usd >= min(requests * len(slow) * request_usd, affordable * WORST_USD) - (len(slow) + 1) * request_usd


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_one_worker_alone_finds_out_what_the_last_money_buys(workers: int) -> None:
    """Money for two pictures at the price, from a target that bills each twice: one request, whoever has one due."""
    fleet = Fleet(2.5, 2.0, [5] * workers)
    fleet.run(3)
    assert fleet.billed_usd == pytest.approx(2 * WORST_USD)
