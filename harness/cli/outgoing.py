"""The streams of a terminal, as the last place where a key can be caught: what is written passes the redactor, whoever wrote it.

And as the last place where a stranger's control characters become text.
"""

from __future__ import annotations

import sys
from typing import Any

#: A shorter end of a piece is not held back for what may follow it.
_LEAST_HELD = 4


class Outgoing:
    """A text stream that lets no key through that this process has read, also not in two pieces.

    The end of a piece that may be the beginning of a key is held back until the next piece, or `release`.
    """

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._held = ""

    def write(self, text: str) -> int:
        """Writes the text without keys; the number of characters is that of what was given, as for any stream."""
        # Not imported here: a command that has read no key has not loaded it, and `testcard --version` does not need it.
        redaction: Any = sys.modules.get("testcard.harness.redaction")
        if redaction is None:
            self._stream.write(_shown(text))
            return len(text)
        whole = self._held + text
        held = redaction.may_begin_key(whole, _LEAST_HELD)
        self._held = whole[len(whole) - held :]
        shown = redaction.redacted(whole[: len(whole) - held])
        if shown:
            self._stream.write(_shown(shown))
        return len(text)

    def release(self) -> None:
        """Writes what was held back: no more comes."""
        held, self._held = self._held, ""
        if held:
            self._stream.write(_shown(held))

    def writelines(self, lines: Any) -> None:
        """Writes each."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _shown(text: str) -> str:
    """The text without anything that would act on the terminal, but for what Testcard draws with."""
    if text.isascii() and text.isprintable():
        return text
    from testcard.harness.intake.shown import as_output

    return as_output(text)
