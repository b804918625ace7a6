"""The budget of a run that several workers spend: leased in blocks by the master, returned when a turn ends. Pure, but for a worker's waiting.

A worker never spends more than it holds a lease for, so the limit holds whatever messages are late or lost; a lease that
does not come back (its worker died) counts as spent. Leases shrink as the rest does, down to a single request, and hold money for whole
requests; a single one is asked for when it is due and not ahead. Where nothing is left, what the others hold and have not used is asked back
before anybody is refused. So the whole budget can be used: nothing of it waits where it is not needed.

What a row's answers really cost, each worker learns by itself. Until it has, its lease holds a few times the price of what it has under way;
where there is not so much, one worker gets all that is left, and the others wait for what it finds out.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

import msgspec

from testcard.benchmarks.load.budget import Budget
from testcard.harness.stops import Stop, StopReason
from testcard.harness.wire.billing import UNKNOWN_TIMES

LARGEST = 1000


class Grant(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker may spend more (None: without limit), or why nothing. `rest`: it may be less than was asked for, and is all that there is.

    `times`: as many times a price as some worker's answers have cost.
    """

    requests: int | None = None
    usd: float | None = None
    refusal: Stop | None = None
    rest: bool = False
    times: float = 1.0


class Ledger:
    """The master's account: what of the limits is not leased out."""

    def __init__(self, max_requests: int | None, max_cost_usd: float | None) -> None:
        self.max_requests = max_requests
        self.max_cost_usd = max_cost_usd
        self.times = 1.0
        self._requests = max_requests
        self._usd = max_cost_usd

    def lease(self, worst_usd: float | None, workers: int, *, rest: bool = False) -> Grant:
        """A lease for one of so many workers whose next request can cost `worst_usd`; with `rest` all the money that there is."""
        requests, usd = self._requests, self._usd
        if requests is not None:
            if requests < 1:
                return Grant(refusal=Stop(reason=StopReason.REQUESTS_SPENT, limit=self.max_requests))
            requests = max(1, min(requests // (2 * workers), LARGEST))
        if usd is not None:
            worst = worst_usd or 0.0
            if worst > usd + 1e-12:
                assert self.max_cost_usd is not None
                gone = self.max_cost_usd - usd
                return Grant(refusal=Stop(reason=StopReason.COST_SPENT, limit=self.max_cost_usd, spent=gone, following=worst))
            part = usd / (2 * workers)
            usd = usd if rest else max(worst, worst * int(part / worst)) if worst > 0.0 else part
        if self._requests is not None and requests is not None:
            self._requests -= requests
        if self._usd is not None and usd is not None:
            self._usd -= usd
        return Grant(requests=requests, usd=usd, rest=rest, times=self.times)

    def give_back(self, requests: int, usd: float) -> None:
        """What a worker did not use of its leases."""
        if self._requests is not None:
            self._requests += requests
        if self._usd is not None:
            self._usd += usd


class Lending:
    """The master's dealings with those who hold leases. Each step gives who is to be told what: a grant, or None to give back what it can spare.

    One that asks when nothing is left waits until all others have given back, or are gone, and is refused if that was nothing.
    """

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self._holding: set[str] = set()
        self._asked_back: set[str] = set()
        self._waiting: dict[str, tuple[float | None, float | None, set[str]]] = {}

    def asked(
        self, who: str, worst_usd: float | None, present: Sequence[str], least_usd: float | None = None
    ) -> Iterator[tuple[str, Grant | None]]:
        """One of those present needs a lease; its next request can cost so much, and `least_usd` where nobody else holds anything."""
        grant = self.ledger.lease(worst_usd, max(1, len(present)))
        others = {one for one in present if one != who and one in self._holding}
        if grant.refusal is not None and not others and least_usd is not None:
            grant = self.ledger.lease(least_usd, 1, rest=True)
        if grant.refusal is not None and others:
            self._waiting[who] = (worst_usd, least_usd, others)
            for one in sorted(others - self._asked_back):
                self._asked_back.add(one)
                yield one, None
            return
        if grant.refusal is None:
            self._holding.add(who)
        yield who, grant

    def returned(self, who: str, requests: int, usd: float, present: Sequence[str]) -> Iterator[tuple[str, Grant | None]]:
        """One gave back what it has not used, whether it was asked to or its turn is over; or it is gone, with nothing."""
        self.ledger.give_back(requests, usd)
        self._holding.discard(who)
        self._asked_back.discard(who)
        for waiting, (worst_usd, least_usd, others) in list(self._waiting.items()):
            others.discard(who)
            if not others and self._waiting.pop(waiting, None) is not None:
                yield from self.asked(waiting, worst_usd, present, least_usd)


class Lease(Budget):
    """The budget of one worker: what of the run's it holds, as far as it was granted and not given back."""

    def __init__(self, max_requests: int | None, max_cost_usd: float | None) -> None:
        """Of a run with these limits: of each that there is, nothing is held yet."""
        super().__init__(None if max_requests is None else 0, None if max_cost_usd is None else 0.0)
        self.has_rest = False
        self._granted_requests = 0
        self._granted_usd = 0.0

    def add(self, grant: Grant) -> None:
        """Adds what was granted."""
        self.max_requests = None if self.max_requests is None else self.max_requests + (grant.requests or 0)
        self.max_cost_usd = None if self.max_cost_usd is None else self.max_cost_usd + (grant.usd or 0.0)
        self.has_rest = grant.rest
        self.times = max(self.times, grant.times)
        self._granted_requests = grant.requests or 0
        self._granted_usd = grant.usd or 0.0

    @property
    def is_used_up(self) -> bool:
        """Never for certain: there may be more to be had."""
        return False

    def needs_usd(self, worst_usd: float | None) -> tuple[float, float]:
        """What to ask for, so that one more request fits whatever it costs, and what is needed for it as far as is known."""
        worst, lacking = (worst_usd or 0.0) * self.times, self.lacks_usd(worst_usd)
        return max(worst, lacking if self.is_sure else self.lacks_usd(worst_usd, UNKNOWN_TIMES)), max(0.0, lacking)

    def is_low(self, worst_usd: float | None) -> bool:
        """Whether it is time to ask for more: less than half of the last grant is left, and that was for more than one request. What is
        asked for ahead when hardly anything is left may stay unused here, and is missed by the worker whose request is due.
        """
        worst = (worst_usd or 0.0) * self.times
        if (self.max_requests is not None and self._granted_requests <= 1) or (
            self.max_cost_usd is not None and self._granted_usd < 2 * worst - 1e-12
        ):
            return False
        return (self.max_requests is not None and 2 * (self.max_requests - self.requests) < self._granted_requests) or (
            self.max_cost_usd is not None and 2 * -self.lacks_usd(None) < self._granted_usd
        )

    def empty(self) -> tuple[int, float]:
        """Takes out what is left, to be given back; less than nothing where answers have cost more than it held."""
        requests = 0 if self.max_requests is None else self.max_requests - self.requests
        usd = -self.lacks_usd(None)
        if self.max_requests is not None:
            self.max_requests -= requests
        if self.max_cost_usd is not None:
            self.max_cost_usd -= usd
        self.has_rest = False
        self._granted_requests, self._granted_usd = 0, 0.0
        return requests, usd


class LeasedBudget(Lease):
    """The budget of a worker: what it holds a lease for; asks for more in time, and waits where it has to."""

    def __init__(
        self,
        max_requests: int | None,
        max_cost_usd: float | None,
        ask: Callable[[float, float, float], None],
        spare: Callable[[int, float, float], None],
    ) -> None:
        """`ask` and `spare` tell the master: what `needs_usd` gives, and what `empty` gives, each with the times that the target bills."""
        import gevent.event  # a worker's: the master reads this module without it

        super().__init__(max_requests, max_cost_usd)
        self._ask = ask
        self._spare = spare
        self._asked = self._asked_unsure = False
        self._dry: Stop | None = None
        self._due_usd: float | None = None  # of a request that has waited for what was granted, and has not gone out yet
        self._owes = False
        self._news = gevent.event.Event()

    def must_wait(self, worst_usd: float | None) -> bool:
        """As `Budget.must_wait`; what is short is asked for meanwhile. A first request waits for it, too: others send theirs beside it."""
        if not self.is_tight_for(worst_usd):
            return False
        if self.has_rest or self._dry is not None:
            return self.held_usd > 0
        self._due_usd = worst_usd or 0.0
        self._ask_for(worst_usd)
        return True

    def reserve(self, worst_usd: float | None) -> bool:
        """As `Budget.reserve`; may wait for the master's answer."""
        while not super().reserve(worst_usd):
            if self._dry is not None:
                self.refusal = self._dry
                return False
            self._due_usd = worst_usd or 0.0
            self._news.clear()
            self._ask_for(worst_usd)
            self._news.wait(1.0)
        self._due_usd = None
        self._settle_debt()
        if self.is_low(worst_usd) and self._dry is None:
            self._due_usd = worst_usd or 0.0
        self._ask_for(worst_usd)
        return True

    def settle(self, worst_usd: float | None, cost_usd: float | None) -> None:
        """As `Budget.settle`."""
        super().settle(worst_usd, cost_usd)
        self._news.set()
        self._settle_debt()

    def granted(self, grant: Grant) -> None:
        """The master's answer."""
        self._asked = False
        if grant.refusal is not None and self._asked_unsure:
            self.has_rest = True  # what is under way will show whether there is more to be had
        elif grant.refusal is not None:
            self._dry = grant.refusal
        else:
            self.add(grant)
        self._news.set()

    @property
    def may_give_back(self) -> bool:
        """Whether what is under way needs no more than is reserved for it, and nothing waits that can go out now: what is asked back before
        it was used would go round between workers for ever."""
        waits = self._due_usd is not None and self._fits(self._due_usd)
        return not waits and (self.is_sure or not self.held_usd)

    def asked_back(self) -> None:
        """Gives back what is left, as soon as it may."""
        self._owes = True
        self._settle_debt()

    def _settle_debt(self) -> None:
        if self._owes and self.may_give_back:
            self._owes = False
            self._spare(*self.empty(), self.times)

    def _fits(self, worst_usd: float) -> bool:
        """Whether such a request can go out by what is held."""
        if self.max_requests is not None and self.requests >= self.max_requests:
            return False
        return self.lacks_usd(worst_usd) <= 1e-12 and (self.has_rest or not self.is_tight_for(worst_usd))

    def give_back(self) -> tuple[int, float]:
        """What is left, at the end of a turn; the next turn may ask again."""
        until = time.monotonic() + 5.0
        while self._asked and time.monotonic() < until:
            self._news.clear()
            self._news.wait(1.0)
        self._dry, self._due_usd, self._owes = None, None, False
        return self.empty()

    def _ask_for(self, worst_usd: float | None) -> None:
        if not self._asked:
            self._asked, self._asked_unsure = True, self.held_usd > 0 and not self.is_sure
            self._ask(*self.needs_usd(worst_usd), self.times)
