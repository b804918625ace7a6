"""What ends a run, or holds a target back: a refused key, an account without credit, refusals all alike, a wish to wait."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Protocol

from testcard.benchmarks.load.process import Failure
from testcard.benchmarks.load.tally import FINE
from testcard.benchmarks.net.receive import Reply
from testcard.benchmarks.net.transport import clock
from testcard.benchmarks.plan.cells import Cell
from testcard.harness.errors import Exit
from testcard.harness.redaction import redacted
from testcard.harness.stops import Stop, StopReason, next_step
from testcard.harness.text.words import one_line, shortened
from testcard.harness.wire.decode import retry_after, speaks_of_account, status_of

#: So much of a 403's body is read for whether it is about the account or about one prompt or model.
_READ_BYTES = 4096
#: So many 403s of a target in a row are about the account, whatever they say.
_FORBIDDEN_IN_A_ROW = 5
#: So many refusals of a row that all say the same, before it delivered anything, are about what is asked for, and about all of it.
_ALIKE_IN_A_ROW = 3
#: Statuses that ask for patience or for money, not for another request.
_NO_REFUSALS = (402, 403, 408, 425, 429)
#: So much of a server's words is shown.
_SHOWN_CHARS = 300
#: A run of hexadecimal digits with a number among them; looked at from its begin only, for a message may be thousands of such letters.
_NUMBERS = re.compile(r"(?<![0-9a-f-])[a-f-]*+[0-9][0-9a-f-]*")


class _Beginning:
    """A row's requests until one is delivered, in the order in which they were sent.

    `alike`: the latest of those that are judged without a gap, counted back to the first that was refused in other words.
    """

    def __init__(self) -> None:
        self.alike = 0
        self._said: tuple[int, str] | None = None
        self._sent = 0
        self._done = 0
        self._most = 0
        self._ahead: dict[int, tuple[int, str] | None] = {}

    def sends(self) -> int:
        """The place of one more."""
        self._sent += 1
        self._most = max(self._most, self._sent - self._done - len(self._ahead))
        return self._sent - 1

    def ends(self, place: int, said: tuple[int, str] | None) -> bool:
        """How the request at that place was refused (None: it was not); whether so many in order were refused alike as were ever under
        way at once, and three at least."""
        self._ahead[place] = said
        while self._done in self._ahead:
            said = self._ahead.pop(self._done)
            self._done += 1
            self.alike = 0 if said is None else self.alike + 1 if said == self._said else 1
            self._said = said
        return self.alike >= max(_ALIKE_IN_A_ROW, self._most)


class Stopping(Protocol):
    """How a run is stopped; with `cut`, what is in flight gets its grace only."""

    def __call__(self, stop: Stop, *, cut: bool = True) -> None:
        """Sends nothing more."""


class StopConditions:
    """Looks at every answer for what no further request can mend, and stops the run for it.

    `fatal`: what ended the run as an error. `on_hold` hears of a target that asked to wait. `failures`: for each row and way to fail the
    first one, in a sentence with the server's words.
    """

    def __init__(self, stop: Stopping) -> None:
        self.fatal: Failure | None = None
        self.on_hold: Callable[[int, float], None] | None = None
        self.hold_until_s: dict[int, float] = {}
        self._stop = stop
        self.failures: dict[str, str] = {}
        self._delivered: set[int] = set()
        self._beginnings: dict[int, _Beginning] = {}
        self._answered: set[int] = set()
        self._accepted: set[int] = set()
        self._forbidden: dict[int, int] = {}

    def look(self, cell: Cell, reply: Reply | None) -> None:
        """Stops the run for a key that is refused before anything succeeded, and for an account without credit.

        A 403 says that of the key only as the first answer to it: later it may be about one prompt or model.
        With --live, nothing more is sent to a target before the time that its 429 asks for.
        """
        status = _stood_for(cell, reply)
        if reply is None or status is None:
            return
        target = cell.target
        is_first = target not in self._answered
        self._answered.add(target)
        if target not in self._accepted and (status == 401 or (status == 403 and is_first)):
            stop = Stop(reason=StopReason.KEY_REFUSED, target=cell.label, status=status)
            when = "to the first request" if is_first else "before any request succeeded"
            self.fatal = Failure(message=f"{cell.label} answered {status} {when}", hint=next_step(stop), exit_code=Exit.TARGET)
            self._stop(stop)
            return
        if 200 <= status < 300:
            self._accepted.add(target)
            if self._forbidden:
                self._forbidden.pop(target, None)
        elif status == 402:
            self._stop(Stop(reason=StopReason.ACCOUNT_REFUSED, target=cell.label, status=status), cut=False)
        elif status == 403:
            count = self._forbidden[target] = self._forbidden.get(target, 0) + 1
            if speaks_of_account(reply.content()[:_READ_BYTES].decode("utf-8", "replace")):
                self._stop(Stop(reason=StopReason.ACCOUNT_REFUSED, target=cell.label, status=status), cut=False)
            elif count >= _FORBIDDEN_IN_A_ROW:
                self._stop(Stop(reason=StopReason.ALL_REFUSED, target=cell.label, status=status, count=count), cut=False)
        elif status == 429 and cell.may_leave_machine and (wait := asked_to_wait_s(cell, reply)):
            self.hold(target, clock() + wait)
            if self.on_hold is not None:
                self.on_hold(target, self.hold_until_s[target])

    def sends(self, cell: Cell) -> int:
        """A request is about to be sent: its place, from 0, in the order of its row's requests, by which `judged` knows it again."""
        if cell.index in self._delivered:
            return 0  # nobody asks any more
        return self._beginnings.setdefault(cell.index, _Beginning()).sends()

    def judged(self, cell: Cell, reply: Reply | None, outcome: str, detail: str, place: int) -> None:
        """Keeps the first failure of each kind, and stops the run where a row's first requests are all refused with the same words.

        `place`: what `sends` gave it. The first as they were sent, not as they were answered: a refusal is answered and judged sooner
        than a picture.
        """
        if outcome in FINE:
            self._delivered.add(cell.index)
            self._beginnings.pop(cell.index, None)
            return
        status = _stood_for(cell, reply)
        if not detail and reply is not None and reply.failure is None:
            detail = reply.content()[:_READ_BYTES].decode("utf-8", "replace")  # an error in a shape that nobody documents
        words = shortened(one_line(redacted(detail)).strip(), _SHOWN_CHARS)
        kind = f"{cell.index} {outcome}"
        if kind not in self.failures:
            answered = "no answer" if status is None else f"status {status}"
            self.failures[kind] = f"first {outcome} of {cell.label} {cell.operation}: {answered}{f', {words}' if words else ''}"
        if (beginning := self._beginnings.get(cell.index)) is None:
            return
        alike = (status or 0, _NUMBERS.sub("#", detail.lower()))
        if beginning.ends(place, alike if outcome == "refused" and status not in _NO_REFUSALS else None):
            count = beginning.alike
            self._stop(Stop(reason=StopReason.ALL_REFUSED, target=cell.label, status=status, count=count, detail=words), cut=False)

    def hold(self, target: int, until_s: float) -> None:
        """Nothing more is to be sent to the target before that time of the load clock."""
        self.hold_until_s[target] = max(self.hold_until_s.get(target, 0.0), until_s)

    def holds_s(self, target: int, now_s: float) -> float:
        """Seconds for which nothing is to be sent to the target; zero or less: it may be."""
        return self.hold_until_s.get(target, 0.0) - now_s if self.hold_until_s else 0.0


def _stood_for(cell: Cell, reply: Reply | None) -> int | None:
    """The status that an answer stands for: its own, but for an error that is sent as a success; None without an answer."""
    status = reply.status if reply is not None else None
    if reply is None or status is None or not 200 <= status < 300 or reply.failure is not None:
        return status
    return status if cell.provider.profile.errors.success is None else status_of(cell.provider, reply.response())


def asked_to_wait_s(cell: Cell, reply: Reply) -> float | None:
    """Seconds that a 429 asks to wait by its Retry-After field, or None."""
    wanted = cell.provider.profile.errors.retry_after_header.lower()
    found = {name.lower(): value for name, value in reply.headers}
    return retry_after(found.get(wanted), found.get("date"))
