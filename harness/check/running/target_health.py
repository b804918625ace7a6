"""Target health: is anything there, is the key taken, is the account in order? If not, going on makes no sense.

Under what conditions a plan is carried out, and how that ended.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from testcard.harness.check.generation.plan import PlanStep
from testcard.harness.check.running.transport import TIMEOUT_S, Received
from testcard.harness.errors import KeyRefused, TargetUnreachable
from testcard.harness.redaction import Redactor
from testcard.harness.rules.evidence import error_in
from testcard.harness.runs.records import RuleFailure
from testcard.harness.stops import Stop, StopReason
from testcard.harness.wire.addresses import may_ask
from testcard.harness.wire.decode import speaks_of_account
from testcard.harness.wire.model import Answer
from testcard.specs.loader import Provider

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

    `spared` names those that were left out because they could have shown nothing new; no verdict lacks them. `mistakes`: answers that made
    Testcard itself raise while it followed or recorded them.
    """

    not_sent: dict[int, Stop] = field(default_factory=dict)
    spared: dict[int, Spared] = field(default_factory=dict)
    stopped: Stop | None = None
    interrupted: bool = False
    mistakes: list[RuleFailure] = field(default_factory=list)


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


UNREACHABLE_IN_A_ROW = 3
_DETAIL_CHARS = 160


class TargetHealth:
    """What the answers so far say about the target as a whole. `stop` is called with the reason where nothing more should be sent.

    `of` says why a step is not worth sending: no base request of its operation got an answer, or each was refused.
    """

    def __init__(self, provider: Provider, settings: CheckSettings, redact: Redactor, stop: Callable[[Stop], None]) -> None:
        self._provider = provider
        self._settings = settings
        self._redact = redact
        self._stop = stop
        self._heard = False
        self._unreachable = 0
        self._keyed = 0
        self._accepted = 0
        self._bases: dict[str, dict[str, Stop | None]] = {}

    def judge(self, step: PlanStep, received: Received, answer: Answer | None) -> None:
        """Ends the run where going on makes no sense: nothing there, key refused, account empty.

        A key is refused by a 401 that comes before any success with it, whatever failed before; a 403 says so only as the first
        answer to it, because later it may be about one prompt or model. `KeyRefused` and `TargetUnreachable` are raised.
        """
        if received.failure in ("connect", "tls"):
            self._unreachable_again(received)
            return
        self._heard = True
        self._unreachable = 0
        if step.first:
            self._bases.setdefault(step.operation, {})[step.probe] = self._futile(step, received, answer)
        if step.key_use != "right" or received.status is None or self._settings.api_key is None:
            return
        status, said = (answer.status, answer.error_message or "") if answer is not None else (received.status, "")
        self._judge_key(step, status, said)

    def of(self, step: PlanStep) -> Stop | None:
        """Why nothing can be learnt from this step any more; None where something can.

        What is made from a request that was refused shows nothing; nor does the rest of an operation none of whose bases was carried out.
        """
        bases = self._bases.get(step.operation)
        if step.first or not bases:
            return None
        if step.base in bases:
            return bases[step.base]
        return None if None in bases.values() else next(iter(bases.values()))

    def _futile(self, step: PlanStep, received: Received, answer: Answer | None) -> Stop | None:
        """Why an operation whose base request was answered so is not asked for more; a 429 asks for patience only.

        A 2xx that holds an error is one of them.
        """
        if received.failure == "timeout":
            return Stop(reason=StopReason.OPERATION_SILENT, target=step.operation)
        status = answer.status if answer is not None else received.status
        said = error_in(answer) if status is not None and status < 300 else None
        if step.expects != "accept" or status is None or (status < 300 and said is None) or status == 429:
            return None
        said = said if said is not None else (answer.error_message or "") if answer is not None else ""
        detail = self._redact.text(said)[:_DETAIL_CHARS]
        return Stop(reason=StopReason.OPERATION_REFUSED, target=step.operation, status=status, detail=detail)

    def _unreachable_again(self, received: Received) -> None:
        self._unreachable += 1
        base_url = self._settings.base_url
        if not self._heard and self._unreachable == 1:
            what = "the TLS handshake failed" if received.failure == "tls" else "nothing answers"
            raise TargetUnreachable(
                f"{what} at {base_url} ({received.detail})",
                hint="check the address and that the server runs: testcard mock starts one here",
            )
        if self._unreachable >= UNREACHABLE_IN_A_ROW:
            self._stop(Stop(reason=StopReason.TARGET_UNREACHABLE, target=base_url, count=self._unreachable))

    def _judge_key(self, step: PlanStep, status: int, message: str) -> None:
        self._keyed += 1
        target = self._settings.base_url
        if status < 300:
            self._accepted += 1
        elif status == 402 or (status == 403 and self._keyed > 1 and speaks_of_account(message)):
            detail = self._redact.text(message)[:_DETAIL_CHARS]
            self._stop(Stop(reason=StopReason.ACCOUNT_REFUSED, target=target, status=status, detail=detail))
        elif not self._accepted and (status == 401 or (status == 403 and self._keyed == 1)):
            variable = self._provider.profile.auth.key_env
            raise KeyRefused(
                f"{self._provider.profile.name} at {target} refused the key with status {status}",
                hint=f"set TESTCARD_API_KEY (or {variable}) to a valid key; for a server that needs none add --no-auth",
            )
        elif status == 401 and step.expects == "accept":
            self._stop(Stop(reason=StopReason.KEY_REFUSED, target=target, status=status, count=self._accepted))
