"""A budget is never passed, whatever happens at once, and counts what was really spent."""

from __future__ import annotations

import random
import threading

import pytest

from testcard.harness.check.spending.budget import CheckBudget, Reservation, SpendingLimits


@pytest.mark.parametrize("seed", range(5))
def test_never_above_the_limit_at_32_threads(seed: int) -> None:
    """Spent and reserved together never pass a limit, with 32 threads that reserve, settle, keep and release as they like."""
    budget = CheckBudget(SpendingLimits(max_requests=400, max_images=57, max_cost_usd=1.0))
    over = threading.Event()
    held_images = 0
    lock = threading.Lock()

    def work(number: int) -> None:
        nonlocal held_images
        source = random.Random(seed * 100 + number)
        for _ in range(60):
            images = source.randint(1, 4)
            reservation = budget.reserve(billed=True, images=images, cost_usd=0.01 * images)
            if reservation is None:
                continue
            with lock:
                held_images += images
                if held_images > 57:
                    over.set()
            way = source.random()
            with lock:
                kept = images if way < 0.4 else source.randint(0, images) if way < 0.7 else 0
                held_images -= images - kept
                if way < 0.4:
                    budget.keep(reservation)
                elif way < 0.7:
                    budget.settle(reservation, images=kept, cost_usd=0.01 * kept)
                else:
                    budget.release(reservation)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    spend = budget.spend
    assert not over.is_set()
    assert spend.images <= 57
    assert spend.requests <= 400
    assert spend.cost_usd is not None
    assert spend.cost_usd <= 1.0 + 1e-9
    assert budget.in_flight == 0
    assert spend.images > 50


def test_refusals_cost_nothing() -> None:
    """A released reservation makes room again; it stays counted as a request."""
    budget = CheckBudget(SpendingLimits(max_images=1))
    for _ in range(3):
        reservation = budget.reserve(billed=True, images=1)
        assert reservation is not None
        assert budget.reserve(billed=True, images=1) is None
        budget.release(reservation)
    assert (budget.spend.requests, budget.spend.billed_requests, budget.spend.images) == (3, 0, 0)


def test_free_requests_need_room_for_requests_only() -> None:
    """Polls and fetched pictures are bounded by --max-requests and by nothing else."""
    budget = CheckBudget(SpendingLimits(max_requests=2, max_images=0, max_cost_usd=0))
    first = budget.reserve(billed=False)
    assert first is not None
    assert budget.reserve(billed=False) is not None
    assert budget.reserve(billed=False) is None


def test_an_unknown_price_never_fits_a_limit_on_cost() -> None:
    """A billed request that nobody can price is not sent when cost is limited."""
    assert CheckBudget(SpendingLimits(max_cost_usd=100.0)).reserve(billed=True, images=1, cost_usd=None) is None
    assert CheckBudget().reserve(billed=True, images=1, cost_usd=None) is not None


def test_a_round_sum_can_be_spent_to_the_last_cent() -> None:
    """Ten times 0.01 fit into 0.10, binary fractions or not."""
    budget = CheckBudget(SpendingLimits(max_cost_usd=0.1))
    for _ in range(10):
        reservation = budget.reserve(billed=True, images=1, cost_usd=0.01)
        assert reservation is not None
        budget.keep(reservation)
    assert budget.reserve(billed=True, images=1, cost_usd=0.01) is None
    assert budget.spend.cost_usd == pytest.approx(0.1)


def test_an_unstated_cost_is_not_zero() -> None:
    """When an answer's cost is not known, the sum is not known either."""
    budget = CheckBudget()
    reservation = budget.reserve(billed=True, images=1)
    assert reservation is not None
    budget.settle(reservation, images=1, cost_usd=None)
    assert budget.spend.cost_usd is None


def test_a_reservation_is_closed_once() -> None:
    """Closing it twice is a mistake of ours and says so."""
    budget = CheckBudget()
    reservation = budget.reserve(billed=True, images=1)
    assert reservation is not None
    budget.release(reservation)
    with pytest.raises(ValueError, match="closed before"):
        budget.release(reservation)


def test_a_target_that_brings_more_is_expected_to_do_it_again() -> None:
    """One picture too many the first time: from then on each reservation holds one more, or as many times more."""
    budget = CheckBudget(SpendingLimits(max_images=5))
    budget.settle(reserved(budget.reserve(billed=True, images=1)), images=2, cost_usd=None)
    first = reserved(budget.reserve(billed=True, images=1))
    assert (first.images, first.asked_images) == (2, 1)
    assert budget.reserve(billed=True, images=1) is None
    budget.release(first)
    assert budget.reserve(billed=True, images=2) is None
    assert reserved(budget.reserve(billed=True, images=1)).images == 2
    assert reserved(budget.reserve(billed=False, images=1)).images == 0


def test_a_target_that_charges_more_is_expected_to_do_it_again() -> None:
    """Twice the price the first time: ten cents are spent after five requests of one cent each."""
    budget = CheckBudget(SpendingLimits(max_cost_usd=0.10))
    sent = 0
    while (reservation := budget.reserve(billed=True, images=1, cost_usd=0.01)) is not None:
        budget.settle(reservation, images=1, cost_usd=0.02)
        sent += 1
    assert sent == 5
    assert budget.spend.cost_usd == 0.1


def test_nobody_knows_what_a_lost_answer_cost() -> None:
    """A request without an answer is booked at the worst that this target has shown, and teaches nothing."""
    budget = CheckBudget()
    budget.settle(reserved(budget.reserve(billed=True, images=1, cost_usd=0.01)), images=3, cost_usd=0.02)
    budget.keep(reserved(budget.reserve(billed=True, images=1, cost_usd=0.01)))
    assert budget.spend.images == 6
    assert budget.spend.cost_usd == 0.04
    assert reserved(budget.reserve(billed=True, images=1)).images == 3


def test_what_was_lost_before_the_first_answer_counts_as_that_one_did() -> None:
    """Nothing was known then: three times the price, as it turns out, for what was lost, too."""
    budget = CheckBudget(SpendingLimits(max_cost_usd=0.09))
    budget.keep(reserved(budget.reserve(billed=True, images=1, cost_usd=0.01)))
    budget.settle(reserved(budget.reserve(billed=True, images=1, cost_usd=0.01)), images=1, cost_usd=0.03)
    assert budget.spend.cost_usd == 0.06
    budget.keep(reserved(budget.reserve(billed=True, images=1, cost_usd=0.01)))
    assert budget.reserve(billed=True, images=1, cost_usd=0.01) is None


def reserved(reservation: Reservation | None) -> Reservation:
    assert reservation is not None
    return reservation


def test_what_an_answer_leads_to_is_kept_for_it() -> None:
    """Of four requests, one whose picture is to be fetched keeps a second; another of its kind fits, a third plain one does not."""
    budget = CheckBudget(SpendingLimits(max_requests=4))
    first = budget.reserve(billed=True, images=1, follow=1)
    second = budget.reserve(billed=True, images=1, follow=1)
    assert first is not None
    assert second is not None
    assert budget.reserve(billed=False) is None
    fetched = budget.reserve(billed=False, following=True)
    assert fetched is not None
    budget.followed(first)
    budget.followed(second)  # refused: it leads to nothing
    assert budget.reserve(billed=True, images=1, follow=1) is None
    assert budget.reserve(billed=False) is not None
    assert budget.reserve(billed=False, following=True) is None
