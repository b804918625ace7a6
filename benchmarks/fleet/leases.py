"""The budget of a run that several workers spend: leased in blocks by the master, returned when a turn ends. Pure.

A worker never spends more than it holds a lease for, so the limit holds whatever messages are late or lost; a lease that
does not come back (its worker died) counts as spent. Leases shrink as the rest does, down to a single request, and hold money for whole
requests; a single one is asked for when it is due and not ahead. Where nothing is left, what the others hold and have not used is asked back
before anybody is refused. So the whole budget can be used: nothing of it waits where it is not needed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from testcard.harness.stops import Stop, StopReason

LARGEST = 1000


class Grant(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker may spend more (None: without limit), or why nothing."""

    requests: int | None = None
    usd: float | None = None
    refusal: Stop | None = None


class Ledger:
    """The master's account: what of the limits is not leased out."""

    def __init__(self, max_requests: int | None, max_cost_usd: float | None) -> None:
        self.max_requests = max_requests
        self.max_cost_usd = max_cost_usd
        self._requests = max_requests
        self._usd = max_cost_usd

    def lease(self, worst_usd: float | None, workers: int) -> Grant:
        """A lease for one of so many workers whose next request can cost `worst_usd`."""
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
            usd = max(worst, worst * int(part / worst)) if worst > 0.0 else part
        if self._requests is not None and requests is not None:
            self._requests -= requests
        if self._usd is not None and usd is not None:
            self._usd -= usd
        return Grant(requests=requests, usd=usd)

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
        self._waiting: dict[str, tuple[float | None, set[str]]] = {}

    def asked(self, who: str, worst_usd: float | None, present: Sequence[str]) -> Iterator[tuple[str, Grant | None]]:
        """One of those present needs a lease; its next request can cost so much."""
        grant = self.ledger.lease(worst_usd, max(1, len(present)))
        others = {one for one in present if one != who and one in self._holding}
        if grant.refusal is not None and others:
            self._waiting[who] = (worst_usd, others)
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
        for waiting, (worst_usd, others) in list(self._waiting.items()):
            others.discard(who)
            if not others and self._waiting.pop(waiting, None) is not None:
                yield from self.asked(waiting, worst_usd, present)


class Lease:
    """What a worker holds: requests and dollars left (None: without limit)."""

    def __init__(self) -> None:
        self.requests: int | None = 0
        self.usd: float | None = 0.0
        self._granted_requests = 0
        self._granted_usd = 0.0
        self._worst_usd = 0.0

    def add(self, grant: Grant) -> None:
        """Adds what was granted."""
        self.requests = None if grant.requests is None or self.requests is None else self.requests + grant.requests
        self.usd = None if grant.usd is None or self.usd is None else self.usd + grant.usd
        self._granted_requests = grant.requests or 0
        self._granted_usd = grant.usd or 0.0

    def take(self, worst_usd: float) -> bool:
        """Whether one more request fits; if so, it and its worst case are taken."""
        self._worst_usd = worst_usd
        if (self.requests is not None and self.requests < 1) or (self.usd is not None and self.usd + 1e-12 < worst_usd):
            return False
        if self.requests is not None:
            self.requests -= 1
        if self.usd is not None:
            self.usd -= worst_usd
        return True

    def settle(self, worst_usd: float, cost_usd: float | None) -> None:
        """Gives back what a request cost less than its worst case; an unknown cost is the worst case."""
        if self.usd is not None and cost_usd is not None:
            self.usd += worst_usd - cost_usd

    def is_low(self) -> bool:
        """Whether it is time to ask for more: less than half of the last grant is left, and that was for more than one request. What is
        asked for ahead when hardly anything is left may stay unused here, and is missed by the worker whose request is due.
        """
        if (self.requests is not None and self._granted_requests <= 1) or (
            self.usd is not None and self._granted_usd < 2 * self._worst_usd - 1e-12
        ):
            return False
        return (self.requests is not None and 2 * self.requests < self._granted_requests) or (
            self.usd is not None and 2 * self.usd < self._granted_usd
        )

    def empty(self) -> tuple[int, float]:
        """Takes out what is left, to be given back."""
        left = (self.requests or 0, self.usd or 0.0)
        self.requests, self.usd = 0, 0.0
        self._granted_requests, self._granted_usd = 0, 0.0
        return left
