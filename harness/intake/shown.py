"""Text of strangers as it may stand on a terminal and in a file: what would act on its reader is spelt out."""

from __future__ import annotations

import re
from typing import Any

from testcard.harness.intake.limits import limits

#: Signs that turn the direction of a text, end its lines, are halves of letters, or hide within a word, as in the name of a host. Joiners of
#: letters and of emoji stay.
_UNSEEN = "\u00ad\u061c\u180e\u200b\u2060-\u2064\ufff9-\ufffb\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff"
#: Control characters but for the end of a line and a tab.
_ACTING = re.compile(f"[\x00-\x08\x0b-\x1f\x7f-\x9f{_UNSEEN}]")
#: The same without those that our own output is drawn with: escape sequences, the begin of the line, a step back.
_ACTING_IN_OURS = re.compile(f"[\x00-\x07\x0b\x0c\x0e-\x1a\x1c-\x1f\x7f-\x9f{_UNSEEN}]")


def as_text(text: str) -> str:
    """A stranger's text with each control character and each sign of direction as it is written in source: `\\x1b`, `\\u202e`."""
    return text if text.isascii() and text.isprintable() else _ACTING.sub(_spelt, text)


def as_words(text: str) -> str:
    """What an error says, as text: its beginning, and how much was cut."""
    most = limits().error_chars
    return as_text(text) if len(text) <= most else f"{as_text(text[:most])}… ({len(text) - most:,} characters more)"


def mistake(error: BaseException) -> str:
    """What an exception of ours says that bytes of a stranger led to, as text."""
    return as_text(f"{type(error).__name__}: {error}"[:300])


def words_of(value: Any) -> str:
    """All words in a JSON value, names and texts, one after another: what an error of any shape says, and no more than is read of one."""
    most = limits().error_chars
    found: list[str] = []
    left, to_read = most, [value]
    while to_read and left > 0:
        one = to_read.pop()
        if isinstance(one, dict):
            to_read += [part for pair in list(one.items())[:left][::-1] for part in pair[::-1]]
        elif isinstance(one, list):
            to_read += one[:left][::-1]
        elif one is not None:
            word = one[:left] if isinstance(one, str) else str(one)
            found.append(word)
            left -= len(word) + 1
    return " ".join(found)


def as_output(text: str) -> str:
    """What is about to be written to a terminal, by us and in part by strangers: of control characters only those that we draw with.

    The others are written as JSON escapes them, `\\u009b`: what is written may be JSON, and stays it, with the same value.
    """
    return text if text.isascii() and text.isprintable() else _ACTING_IN_OURS.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _spelt(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"
