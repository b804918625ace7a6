"""What a client may spend, in requests and USD: reserved before anything is sent, at the most that it can cost, corrected when it is known."""

from __future__ import annotations

import threading
from collections.abc import Hashable
from dataclasses import dataclass

from testcard.harness.client.errors import SpendingLimitReached
from testcard.harness.errors import UsageError
from testcard.harness.text.words import amount
from testcard.harness.wire.billing import MOST_TIMES, UNKNOWN_TIMES


@dataclass(slots=True, eq=False)
class SetAside:
    """What is set aside for one request: `usd`, which is `asked_usd` by its price, or as many times that as others `of` its kind have cost.

    `awaited`: somebody is at it, so that others can wait for what it shows.
    """

    asked_usd: float
    usd: float
    of: Hashable
    awaited: bool = True


class SpendingGuard:
    """A limit that clients of any number and thread may share: `SpendingGuard(max_requests=100, max_usd=2.0)`.

    Only requests that are billed count, each attempt of them. One whose price nobody states is refused where `max_usd` is set. What a request
    counts as in the end, never less than its price, replaces what was reserved for it; one whose answer never came keeps its reservation, for
    it may have been billed. A target that bills more than the price is expected to do it again; until a first answer has shown what it bills,
    others wait where a few times the price of what is under way would not fit.
    """

    def __init__(self, *, max_requests: int | None = None, max_usd: float | None = None) -> None:
        if (max_requests is not None and max_requests < 0) or (max_usd is not None and not max_usd >= 0):
            raise UsageError("a spending limit cannot be below 0", hint="SpendingGuard(max_requests=100, max_usd=2.0)")
        self.max_requests = max_requests
        self.max_usd = max_usd
        self._lock = threading.Lock()
        self._requests = 0
        self._usd = 0.0
        #: What nobody knows the cost of: under way, handed in, given up, never answered.
        self._open: set[SetAside] = set()
        self._times: dict[Hashable, float] = {}

    def __repr__(self) -> str:
        return f"SpendingGuard(max_requests={self.max_requests}, max_usd={self.max_usd}, requests={self._requests}, usd={self._usd:.6f})"

    @property
    def requests(self) -> int:
        """Billed requests that were let through."""
        return self._requests

    @property
    def usd(self) -> float:
        """What is spent, and what is reserved for requests that are under way or whose end is unknown."""
        return self._usd

    def reserve(self, worst_usd: float | None, of: Hashable = None) -> SetAside | None:
        """Lets one request through that costs so much at most, and gives what is set aside for it; `SpendingLimitReached` where it would go over.

        None where it has to wait for what those under way show of what their kinds cost (a kind: a model of a provider, say).
        """
        with self._lock:
            if self.max_requests is not None and self._requests >= self.max_requests:
                raise SpendingLimitReached(f"the limit of {self.max_requests} requests is reached")
            worst = worst_usd or 0.0
            usd = worst * self._times.get(of, 1.0)
            if self.max_usd is not None:
                if worst_usd is None:
                    raise SpendingLimitReached(
                        "no price is known for this request, so that nothing says whether it stays within the limit",
                        hint="state prices (pricing=Pricing(…), or [prices] in testcard.toml), or limit requests instead",
                    )
                if self._usd + usd > self.max_usd + 1e-9:
                    left = max(0.0, self.max_usd - self._usd)
                    raise SpendingLimitReached(f"the request can cost {amount(usd)} and {amount(left)} of {amount(self.max_usd)} are left")
                if self._must_wait(usd, of):
                    return None
            self._requests += 1
            self._usd += usd
            held = SetAside(worst, usd, of)
            if worst:
                self._open.add(held)
        return held

    def _must_wait(self, usd: float, of: Hashable) -> bool:
        """Whether too little would be left if all whose kind has shown no cost yet cost a few times their price, and one of them is to show it."""
        most = (self.max_usd or 0.0) + 1e-9
        if UNKNOWN_TIMES * (self._usd + usd) <= most:
            return False
        unknown = [one for one in self._open if one.of not in self._times]
        more = sum(one.usd for one in unknown) + (usd if of not in self._times else 0.0)
        return any(one.awaited for one in unknown) and self._usd + usd + (UNKNOWN_TIMES - 1.0) * more > most

    def settle(self, held: SetAside, cost_usd: float | None, *, whole: bool = True) -> None:
        """Puts what a request counts as in place of what was set aside for it; None leaves that, 0 takes it back.

        `whole`: whether the answer can be seen through; otherwise what was set aside is the least that it counts as.
        """
        with self._lock:
            held.awaited = False
            if cost_usd is None:
                return
            self._open.discard(held)
            self._count(held, cost_usd if whole else max(cost_usd, held.usd))
            if held.asked_usd and cost_usd:
                before = self._times.get(held.of, 1.0)
                times = self._times[held.of] = min(max(before, cost_usd / held.asked_usd), MOST_TIMES)
                for one in self._open if times > before else ():
                    if one.of == held.of:
                        self._count(one, one.asked_usd * times)

    def _count(self, held: SetAside, usd: float) -> None:
        self._usd += usd - held.usd
        held.usd = usd

    def leave(self, held: SetAside, *, awaited: bool = False) -> None:
        """Nobody is to wait for it: it was handed in as a task, given up, or whoever reads it does something else (until `awaited`).

        What is set aside stays so until it is settled.
        """
        with self._lock:
            held.awaited = awaited
