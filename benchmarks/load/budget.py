"""What a run, or a turn of it, may still send and spend: every request is reserved at its worst case before it is sent."""

from __future__ import annotations

from testcard.harness.stops import Stop, StopReason
from testcard.harness.wire.billing import MOST_TIMES, UNKNOWN_TIMES

#: What sums of binary fractions leave over is nothing under way: who waits for its answer waits for ever.
_DUST_USD = 1e-12


class Budget:
    """`max_requests` and `max_cost_usd` may be None (no limit). Single-threaded, as everything in a load process's event loop is.

    A request whose cost stays unknown (a timeout, say) counts as its worst case. Polls and downloads belong to the
    request that they follow and are not counted. A target that charges more than the worst case is expected to do it again: what
    is under way, and what follows, is reserved at as many times its worst case, and what stayed unknown counts as that.

    `is_sure`: whether an answer has shown what those under way really cost; until then few are let out of a tight budget (`must_wait`).
    """

    def __init__(self, max_requests: int | None = None, max_cost_usd: float | None = None) -> None:
        self.max_requests = max_requests
        self.max_cost_usd = max_cost_usd
        self.requests = 0
        self.spent_usd = 0.0
        self.held_usd = 0.0  # worst cases of what is under way
        self.unknown_usd = 0.0  # worst cases of what nobody knows the cost of
        self.times = 1.0
        self.is_sure = True
        self.refusal: Stop | None = None

    @property
    def reserved_usd(self) -> float:
        """What is set aside for what is under way."""
        return self.held_usd * self.times

    def reserve(self, worst_usd: float | None) -> bool:
        """Whether one more request may be sent; if so, its worst case is set aside. `refusal` says why not."""
        if self.max_requests is not None and self.requests >= self.max_requests:
            self.refusal = Stop(reason=StopReason.REQUESTS_SPENT, limit=self.max_requests)
            return False
        if self.max_cost_usd is not None and self.lacks_usd(worst_usd) > 1e-12:
            spent, worst = self.spent_usd + self.reserved_usd, (worst_usd or 0.0) * self.times
            self.refusal = Stop(reason=StopReason.COST_SPENT, limit=self.max_cost_usd, spent=spent, following=worst)
            return False
        self.requests += 1
        self.held_usd += worst_usd or 0.0
        return True

    @property
    def is_spent(self) -> bool:
        """Whether a refusal is final: nothing on its way can turn out cheaper than what is reserved for it."""
        return self.reserved_usd < 1e-9 or self.is_used_up

    @property
    def is_used_up(self) -> bool:
        """Whether no further request is left of it, whatever the next one costs."""
        return self.max_requests is not None and self.requests >= self.max_requests

    def lacks_usd(self, worst_usd: float | None, times: float = 1.0) -> float:
        """How much more there would have to be for one more request, if it and all of unknown cost came to so many times what counts of them."""
        if self.max_cost_usd is None:
            return 0.0
        following = self.held_usd + self.unknown_usd + (worst_usd or 0.0)
        return self.spent_usd - self.unknown_usd * self.times + times * following * self.times - self.max_cost_usd

    def is_tight_for(self, worst_usd: float | None) -> bool:
        """Whether one more request beside those under way could overspend, as nobody knows yet how many times the price the target bills."""
        return not self.is_sure and self.lacks_usd(worst_usd, UNKNOWN_TIMES) > 1e-12

    def must_wait(self, worst_usd: float | None) -> bool:
        """Whether one more request has to wait for a first answer, which shows what those under way cost."""
        return self.held_usd > 0 and self.is_tight_for(worst_usd)

    def settle(self, worst_usd: float | None, cost_usd: float | None) -> None:
        """Replaces a reservation by what the request counts as (`Judgement.booked_usd`); by its worst case where that is not known."""
        worst = worst_usd or 0.0
        self._let_go(worst)
        self.spent_usd += worst * self.times if cost_usd is None else cost_usd
        if cost_usd is None:
            self.unknown_usd += worst
        elif worst and cost_usd > worst * self.times:
            times = min(cost_usd / worst, MOST_TIMES)
            self.spent_usd += self.unknown_usd * (times - self.times)
            self.times = times

    def release(self, worst_usd: float | None) -> None:
        """Takes back a reservation whose request was never sent."""
        self._let_go(worst_usd or 0.0)
        self.requests -= 1

    def _let_go(self, worst_usd: float) -> None:
        left = self.held_usd - worst_usd
        self.held_usd = left if left > _DUST_USD else 0.0
