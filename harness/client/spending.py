"""What a client may spend, in requests and USD: reserved before anything is sent, at the most that it can cost, corrected when it is known."""

from __future__ import annotations

import threading

from testcard.harness.client.errors import SpendingLimitReached
from testcard.harness.errors import UsageError
from testcard.harness.text.words import amount


class SpendingGuard:
    """A limit that clients of any number and thread may share: `SpendingGuard(max_requests=100, max_usd=2.0)`.

    Only requests that are billed count, each attempt of them. One whose price nobody states is refused where `max_usd` is set. What a request
    cost in the end replaces what was reserved for it; one whose answer never came keeps its reservation, for it may have been billed.
    """

    def __init__(self, *, max_requests: int | None = None, max_usd: float | None = None) -> None:
        if (max_requests is not None and max_requests < 0) or (max_usd is not None and not max_usd >= 0):
            raise UsageError("a spending limit cannot be below 0", hint="SpendingGuard(max_requests=100, max_usd=2.0)")
        self.max_requests = max_requests
        self.max_usd = max_usd
        self._lock = threading.Lock()
        self._requests = 0
        self._usd = 0.0

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

    def reserve(self, worst_usd: float | None) -> float:
        """Lets one request through that costs so much at most, and gives what was reserved; `SpendingLimitReached` where it would go over."""
        with self._lock:
            if self.max_requests is not None and self._requests >= self.max_requests:
                raise SpendingLimitReached(f"the limit of {self.max_requests} requests is reached")
            if self.max_usd is not None:
                if worst_usd is None:
                    raise SpendingLimitReached(
                        "no price is known for this request, so that nothing says whether it stays within the limit",
                        hint="state prices (pricing=Pricing(…), or [prices] in testcard.toml), or limit requests instead",
                    )
                if self._usd + worst_usd > self.max_usd + 1e-9:
                    left = max(0.0, self.max_usd - self._usd)
                    raise SpendingLimitReached(
                        f"the request can cost {amount(worst_usd)} and {amount(left)} of {amount(self.max_usd)} are left"
                    )
            self._requests += 1
            self._usd += worst_usd or 0.0
        return worst_usd or 0.0

    def settle(self, reserved_usd: float, cost_usd: float | None) -> None:
        """Puts what a request cost in place of what was reserved for it; None leaves the reservation, 0 takes it back."""
        if cost_usd is not None:
            with self._lock:
                self._usd += cost_usd - reserved_usd
