"""What a caller of the client meets when a request does not end in pictures or text.

    ClientError                        1
    ├── RequestRefused                 1   any other 4xx: the target refuses what its contract allows
    │   ├── AuthenticationFailed       3   401 or 403 (also a harness KeyRefused)
    │   ├── PaymentRequired            5   402: the account is out of credit
    │   └── RateLimited                5   429, with the time to wait where the target says it
    ├── ServerFailed                   1   5xx
    ├── SpendingLimitReached       5   a SpendingGuard of the caller's own lets nothing more through; nothing was sent
    ├── AddressNotAllowed              2   an answer leads off this machine, and the caller did not allow that
    ├── TimedOut                       1   no whole answer within the time limit
    ├── ConnectionFailed               3   nothing answers there (also a harness TargetUnreachable)
    └── ContractBroken                 1   a success that is none: no picture, undecodable, cut off, both or neither of url and base64
        └── TaskFailed                 1   an async task that failed, or never came to an end

A request that the contract does not allow is never sent: that is `testcard.harness.errors.ContractViolation` (2).
"""

from __future__ import annotations

from typing import Any

from testcard.harness.client.results import HttpExchange
from testcard.harness.errors import Exit, KeyRefused, TargetUnreachable, TestcardError
from testcard.harness.redaction import redacted
from testcard.harness.wire.model import Answer


class ClientError(TestcardError):
    """The root; `operation` was asked, `answer` is what was understood of the response (None where none came), `exchange` the request with
    what came of it, byte for byte and without the key (None where nothing was sent).

    No message shows a key, although transports quote what a server sent. `answer` is the server's own data and may.
    """

    exit_code: int = Exit.GATE_FAILED

    def __init__(self, message: str, *, operation: str = "", answer: Answer | None = None, hint: str | None = None) -> None:
        super().__init__(redacted(message), hint=redacted(hint) if hint is not None else None)
        self.operation = operation
        self.answer = answer
        self.exchange: HttpExchange | None = None


class RequestRefused(ClientError):
    """A 4xx answer: its status, and the message and code that the target gave."""

    @property
    def status(self) -> int | None:
        """The HTTP status, or the one that an error in a success stands for."""
        return self.answer.status if self.answer else None

    @property
    def code(self) -> Any:
        """The target's own error code, where it gives one."""
        return self.answer.error_code if self.answer else None


class AuthenticationFailed(RequestRefused, KeyRefused):
    """401 or 403: the key is missing, wrong, or not entitled to this."""

    exit_code = Exit.TARGET


class PaymentRequired(RequestRefused):
    """402: the account has no credit left."""

    exit_code = Exit.INCONCLUSIVE


class RateLimited(RequestRefused):
    """429. `retry_after_s` is how long the target says to wait, in seconds; None where it does not say."""

    exit_code = Exit.INCONCLUSIVE

    @property
    def retry_after_s(self) -> float | None:
        """Seconds to wait before the next request."""
        return self.answer.retry_after_s if self.answer else None


class ServerFailed(ClientError):
    """A 5xx answer. Whether the request was billed is unknown, so it is never sent again by itself."""

    @property
    def status(self) -> int | None:
        """The HTTP status."""
        return self.answer.status if self.answer else None


class SpendingLimitReached(ClientError):
    """The caller's own limit of requests or USD. Nothing was sent."""

    exit_code = Exit.INCONCLUSIVE

    def __init__(self, message: str, *, hint: str = "") -> None:
        wider = "raise the limit (--max-cost, --max-requests, or the SpendingGuard of a program), or ask for less"
        super().__init__(message, hint=hint or wider)


class AddressNotAllowed(ClientError):
    """A picture or task lies where the caller did not allow to go. The request itself was carried out and may have been billed."""

    exit_code = Exit.USAGE


class TimedOut(ClientError):
    """No whole answer within the time limit. Whether the request was billed is unknown."""


class ConnectionFailed(ClientError, TargetUnreachable):
    """No connection, or one that broke before an answer came."""

    exit_code = Exit.TARGET


class ContractBroken(ClientError):
    """An answer that its status calls a success and that is of no use. `answer` holds what there was: it may have been billed."""

    def __init__(self, message: str, *, operation: str = "", answer: Answer | None = None, hint: str | None = None) -> None:
        super().__init__(message, operation=operation, answer=answer, hint=hint or "testcard check says what else the target breaks")


class TaskFailed(ContractBroken):
    """An async task that failed, or did not end within the documented time. `moderated`: it was refused for its content."""

    def __init__(
        self, message: str, *, operation: str = "", answer: Answer | None = None, hint: str | None = None, moderated: bool = False
    ) -> None:
        super().__init__(message, operation=operation, answer=answer, hint=hint)
        self.moderated = moderated
