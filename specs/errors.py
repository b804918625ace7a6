"""The root of every error that Testcard shows a person, and the two that concern provider data.

TestcardError            exit 4 unless a subclass says otherwise
├── UsageError           exit 2   a flag, a configuration file, a combination of them
│   └── SpecError        exit 2   a provider's openapi.yaml or profile.yaml, with file, line and key
└── …                    the harness adds its own (see testcard.harness.errors)
"""

from __future__ import annotations

from pathlib import Path


class TestcardError(Exception):
    """An error with the exit code it leads to and the next step for whoever reads it.

    `exit_code` follows the table in the README; `hint` is one sentence or a command to try, without a final full stop.
    """

    __test__ = False  # the name starts with "Test", and pytest would collect it
    exit_code = 4

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(TestcardError):
    """A flag, a configuration file or a combination of them that cannot be carried out (exit 2)."""

    exit_code = 2


class SpecError(UsageError):
    """Provider data that cannot be used: says the file, the line and the key (exit 2)."""

    def __init__(self, message: str, *, file: Path | str, line: int | None = None, key: str | None = None, hint: str | None = None) -> None:
        place = str(file) + (f":{line}" if line else "")
        super().__init__(f"{place}: {key + ': ' if key else ''}{message}", hint=hint)
        self.what = message
        self.file = str(file)
        self.line = line
        self.key = key
