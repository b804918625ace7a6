"""Text of strangers as it may stand on a terminal and in a file: what would act on its reader is spelt out."""

from __future__ import annotations

import re

#: Signs that turn the direction of a text, end its lines, or are halves of letters.
_UNSEEN = "\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff"
#: Control characters but for the end of a line and a tab.
_ACTING = re.compile(f"[\x00-\x08\x0b-\x1f\x7f-\x9f{_UNSEEN}]")
#: The same without those that our own output is drawn with: escape sequences, the begin of the line, a step back.
_ACTING_IN_OURS = re.compile(f"[\x00-\x07\x0b\x0c\x0e-\x1a\x1c-\x1f\x7f-\x9f{_UNSEEN}]")


def as_text(text: str) -> str:
    """A stranger's text with each control character and each sign of direction as it is written in source: `\\x1b`, `\\u202e`."""
    return text if text.isascii() and text.isprintable() else _ACTING.sub(_spelt, text)


def as_output(text: str) -> str:
    """What is about to be written to a terminal, by us and in part by strangers: of control characters only those that we draw with."""
    return text if text.isascii() and text.isprintable() else _ACTING_IN_OURS.sub(_spelt, text)


def _spelt(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"
