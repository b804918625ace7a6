"""The spending limit of one load process: reserved before a request is sent, settled when its cost is known, never exceeded."""

from __future__ import annotations

from testcard.harness.stops import Stop, StopReason


class Budget:
    """`max_requests` and `max_cost_usd` may be None (no limit). Single-threaded, as everything in a load process's event loop is.

    A request whose cost stays unknown (a timeout, say) keeps its worst case reserved. Polls and downloads belong to the
    request that they follow and are not counted.
    """

    def __init__(self, max_requests: int | None = None, max_cost_usd: float | None = None) -> None:
        self.max_requests = max_requests
        self.max_cost_usd = max_cost_usd
        self.requests = 0
        self.spent_usd = 0.0
        self.reserved_usd = 0.0
        self.refusal: Stop | None = None

    def reserve(self, worst_usd: float | None) -> bool:
        """Whether one more request may be sent; if so, its worst case is set aside. `refusal` says why not."""
        if self.max_requests is not None and self.requests >= self.max_requests:
            self.refusal = Stop(reason=StopReason.REQUESTS_SPENT, limit=self.max_requests)
            return False
        worst = worst_usd or 0.0
        if self.max_cost_usd is not None and self.spent_usd + self.reserved_usd + worst > self.max_cost_usd + 1e-12:
            spent = self.spent_usd + self.reserved_usd
            self.refusal = Stop(reason=StopReason.COST_SPENT, limit=self.max_cost_usd, spent=spent, following=worst)
            return False
        self.requests += 1
        self.reserved_usd += worst
        return True

    @property
    def is_spent(self) -> bool:
        """Whether a refusal is final: nothing on its way can turn out cheaper than what is reserved for it."""
        return self.reserved_usd < 1e-9 or (self.max_requests is not None and self.requests >= self.max_requests)

    def settle(self, worst_usd: float | None, cost_usd: float | None) -> None:
        """Replaces a reservation by what the request did cost; by its worst case where that is not known."""
        worst = worst_usd or 0.0
        self.reserved_usd = max(0.0, self.reserved_usd - worst)
        self.spent_usd += worst if cost_usd is None else cost_usd

    def release(self, worst_usd: float | None) -> None:
        """Takes back a reservation whose request was never sent."""
        self.reserved_usd = max(0.0, self.reserved_usd - (worst_usd or 0.0))
        self.requests -= 1
