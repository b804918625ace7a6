"""Whether going on makes sense: is anything there, is the key taken, is the account in order?"""

from __future__ import annotations

from collections.abc import Callable

from testcard.harness.check.generation.plan import PlanStep
from testcard.harness.check.running.outcome import CheckSettings
from testcard.harness.check.running.transport import Received
from testcard.harness.errors import KeyRefused, TargetUnreachable
from testcard.harness.redaction import Redactor
from testcard.harness.wire.decode import speaks_of_account
from testcard.harness.wire.model import Answer
from testcard.specs.loader import Provider

UNREACHABLE_IN_A_ROW = 3


class TargetHealth:
    """What the answers so far say about the target as a whole. `stop` is called with the reason where nothing more should be sent.

    `silent` are the operations whose base request got no answer in time.
    """

    def __init__(self, provider: Provider, settings: CheckSettings, redact: Redactor, stop: Callable[[str], None]) -> None:
        self.silent: set[str] = set()
        self._provider = provider
        self._settings = settings
        self._redact = redact
        self._stop = stop
        self._unreachable = 0
        self._key_accepted = False

    def judge(self, step: PlanStep, sent: Received, answer: Answer | None, *, first: bool) -> None:
        """Ends the run where going on makes no sense: nothing there, key refused, account empty. `first`: nothing was answered before."""
        name, base_url = self._provider.profile.name, self._settings.base_url
        if sent.failure in ("connect", "tls"):
            self._unreachable += 1
            if not self._key_accepted and first:
                what = "the TLS handshake failed" if sent.failure == "tls" else "nothing answers"
                raise TargetUnreachable(
                    f"{what} at {base_url} ({sent.detail})",
                    hint="check the address and that the server runs: testcard mock starts one here",
                )
            if self._unreachable >= UNREACHABLE_IN_A_ROW:
                self._stop(f"{base_url} stopped answering")
            return
        self._unreachable = 0
        if step.first and sent.failure == "timeout":
            self.silent.add(step.operation)
        if step.key_use != "right" or sent.status is None or self._settings.api_key is None:
            return
        if sent.status in (401, 403) and not self._key_accepted and first:
            variable = self._provider.profile.auth.key_env
            raise KeyRefused(
                f"{name} at {base_url} refused the key with status {sent.status}",
                hint=f"set TESTCARD_API_KEY (or {variable}) to a valid key; for a server that needs none add --no-auth",
            )
        message = (answer.error_message or "") if answer is not None else ""
        if sent.status < 300:
            self._key_accepted = True
        elif sent.status == 402 or (sent.status == 403 and speaks_of_account(message)):
            self._stop(f"the account was refused with status {sent.status}" + (f": {self._redact.text(message)[:160]}" if message else ""))
        elif sent.status == 401 and step.expects == "accept":
            self._stop("the key was accepted before and is refused now (status 401)")
