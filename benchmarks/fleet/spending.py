"""A worker's side of the budget: what it holds a lease for."""

from __future__ import annotations

from typing import Any

import gevent.event

from testcard.benchmarks.fleet import messages as m
from testcard.benchmarks.fleet.leases import Lease
from testcard.benchmarks.load.budget import Budget


class LeasedBudget(Budget):
    """The budget of a worker: what it holds a lease for; asks for more in time, and waits where it has to."""

    def __init__(self, ask: Any) -> None:
        super().__init__()
        self.lease = Lease()
        self._ask = ask
        self._asked = False
        self._dry = False
        self._answered = gevent.event.Event()

    def reserve(self, worst_usd: float | None) -> bool:
        """As `Budget.reserve`; may wait for the master's answer."""
        worst = worst_usd or 0.0
        while not self.lease.take(worst):
            if self._dry:
                return False
            self._send(worst)
            self._answered.wait()
        if self.lease.is_low() and not self._dry:
            self._send(worst)
        self.requests += 1
        self.reserved_usd += worst
        return True

    def settle(self, worst_usd: float | None, cost_usd: float | None) -> None:
        """As `Budget.settle`."""
        super().settle(worst_usd, cost_usd)
        self.lease.settle(worst_usd or 0.0, cost_usd)

    def granted(self, message: m.Granted) -> None:
        """The master's answer."""
        self._asked = False
        if message.grant.refusal is not None:
            self._dry, self.refusal = True, message.grant.refusal
        else:
            self.lease.add(message.grant)
        self._answered.set()

    def give_back(self) -> tuple[int, float]:
        """What is left, at the end of a turn; the next turn may ask again."""
        while self._asked and self._answered.wait(5.0) is False:
            break
        self._dry = False
        return self.lease.empty()

    def _send(self, worst: float) -> None:
        if not self._asked:
            self._asked = True
            self._answered.clear()
            self._ask(m.Ask(worst_usd=worst))
