"""A budget that several workers spend is never exceeded, and where little is left nothing of it waits where it is not needed."""

from __future__ import annotations

from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st

from testcard.benchmarks.fleet.leases import Grant, Lease, Ledger, Lending

WORST_USD = 0.014


def sent(ledger: Ledger, turns: list[int], workers: int) -> tuple[int, bool]:
    """How many requests go out when workers want to send in this order, up to the first refusal; and whether one was refused."""
    leases = [Lease() for _ in range(workers)]
    count = 0
    for worker in turns:
        lease = leases[worker % workers]
        while not lease.take(WORST_USD):
            grant = ledger.lease(WORST_USD, workers)
            if grant.refusal is not None:
                return count, True
            lease.add(grant)
        count += 1
        if lease.is_low() and (grant := ledger.lease(WORST_USD, workers)).refusal is None:
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
    lending, leases = Lending(ledger), {str(worker): Lease() for worker in range(workers)}
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
        while not leases[name].take(WORST_USD):
            carry_out(lending.asked(name, WORST_USD, list(leases)))
            if name in refused:
                return count, True
        if leases[name].is_low():
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
