"""Under what conditions a plan is carried out, and how that ended."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from testcard.harness.check.running.transport import TIMEOUT_S
from testcard.harness.stops import Stop, StopReason
from testcard.harness.wire.addresses import may_ask

#: Seconds that sending may take in all, on this machine and elsewhere.
MAX_TIME_S, LIVE_MAX_TIME_S = 15 * 60.0, 60 * 60.0
#: Seconds that all waits after a 429 may take together.
PATIENCE_S = 60.0
#: Why a step that can show nothing new was left out: enough of its kind were carried out, its operation was billed for as many pictures
#: as a check asks for, or the run was stopped before it.
Spared = Literal["enough of its kind", "no room", "stopped"]


@dataclass
class PlanOutcome:
    """How carrying out a plan ended. `not_sent` says of each step that was left out why; `stopped` why all the rest was.

    `spared` names those that were left out because they could have shown nothing new; no verdict lacks them.
    """

    not_sent: dict[int, Stop] = field(default_factory=dict)
    spared: dict[int, Spared] = field(default_factory=dict)
    stopped: Stop | None = None
    interrupted: bool = False


@dataclass(frozen=True)
class CheckSettings:
    """How a plan is carried out. `poll_interval_s` None takes the profile's. `live`: a target on this machine may lead off it.

    `timeout_s`: how long a whole answer is waited for, of a request, a poll or a download; `max_time_s`: how long all of it may take;
    `told_max_time_s`: the time for the whole check, of which that is a part, as it is told.
    """

    base_url: str
    api_key: str | None
    concurrency: int = 8
    poll_interval_s: float | None = None
    patience_s: float = PATIENCE_S
    live: bool = False
    timeout_s: float = TIMEOUT_S
    max_time_s: float | None = None
    told_max_time_s: float | None = None

    def may_ask(self, url: str) -> bool:
        """Whether an address that an answer names may be asked."""
        return may_ask(url, asked=self.base_url, live=self.live)


INTERRUPTED = Stop(reason=StopReason.INTERRUPTED)
