"""Errors of the harness, one tree with an exit code and a hint each.

    TestcardError                    4
    ├── UsageError                   2   (testcard.specs.errors)
    │   ├── SpecError                2
    │   └── ContractViolation        2   a task request that the provider's contract does not allow; nothing was sent
    ├── TargetError                  3
    │   ├── TargetUnreachable        3   nothing answers at the base URL
    │   └── KeyRefused               3   401 before any keyed request succeeded, or 403 as the first answer to one
    ├── Inconclusive                 5   budget or quota spent, generator saturated, too few samples
    └── Interrupted                130   Ctrl-C; what was recorded is kept

What a client's caller meets (RequestRefused, RateLimited, ServerFailed, …) is in `testcard.harness.client.errors`.
"""

from __future__ import annotations

from enum import IntEnum

from testcard.specs.errors import SpecError, TestcardError, UsageError


class Exit(IntEnum):
    """Exit codes of every command. When several hold, `worst` picks: 130, 4, 2, 3, 1, 5."""

    PASS = 0
    GATE_FAILED = 1
    USAGE = 2
    TARGET = 3
    INTERNAL = 4
    INCONCLUSIVE = 5
    INTERRUPTED = 130

    @property
    def words(self) -> str:
        """The code for a person."""
        return _WORDS[self]


_WORDS = {
    Exit.PASS: "pass",
    Exit.GATE_FAILED: "gate failed",
    Exit.USAGE: "usage error",
    Exit.TARGET: "target unreachable or key refused",
    Exit.INTERNAL: "internal error",
    Exit.INCONCLUSIVE: "inconclusive",
    Exit.INTERRUPTED: "interrupted",
}
_ORDER = (Exit.INTERRUPTED, Exit.INTERNAL, Exit.USAGE, Exit.TARGET, Exit.GATE_FAILED, Exit.INCONCLUSIVE, Exit.PASS)


def worst(codes: list[Exit]) -> Exit:
    """The code that a command exits with when its parts ended with `codes`; PASS for none."""
    return min(codes, key=_ORDER.index, default=Exit.PASS)


class ContractViolation(UsageError):
    """A task request that the contract does not allow: says the field, what is wrong and where the contract says so."""

    def __init__(self, message: str, *, field: str, where: str, hint: str | None = None) -> None:
        super().__init__(f"{field}: {message} ({where})", hint=hint)
        self.field = field
        self.where = where


class TargetError(TestcardError):
    """The target cannot be worked with at all (exit 3)."""

    exit_code = Exit.TARGET


class TargetUnreachable(TargetError):
    """Nothing answers at the base URL."""


class KeyRefused(TargetError):
    """The target answered 401 before it took any request that carried the key, or 403 to the first of them."""


class Inconclusive(TestcardError):
    """Not enough was seen to judge: budget or quota spent, generator saturated, too few samples (exit 5)."""

    exit_code = Exit.INCONCLUSIVE


class Interrupted(TestcardError):
    """Ctrl-C or SIGTERM; the partial run is saved (exit 130)."""

    exit_code = Exit.INTERRUPTED


__all__ = [
    "ContractViolation",
    "Exit",
    "Inconclusive",
    "Interrupted",
    "KeyRefused",
    "SpecError",
    "TargetError",
    "TargetUnreachable",
    "TestcardError",
    "UsageError",
    "worst",
]
