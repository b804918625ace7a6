"""A budget that several workers spend is never exceeded, and where little is left nothing of it waits where it is not needed."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from testcard.benchmarks.fleet.leases import Lease, Ledger

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
