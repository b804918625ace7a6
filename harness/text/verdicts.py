"""How verdicts look: a glyph and a meaning for each word, the worst of several, waivers in a sentence."""

from __future__ import annotations

from collections.abc import Iterable

from testcard.harness.runs.records import SEVERITY, Waived, WaiverNote

#: One character for each verdict, the same on a terminal and in a report; no two are alike, for those who see no colour.
GLYPHS = {
    "pass": "✓",
    "fail": "✗",
    "deviates": "≈",
    "info": "i",
    "unsupported": "–",
    "unproven": "?",
    "not-run": "○",
    "waived": "⊘",
    "inconclusive": "?",
}

MEANINGS = {
    "pass": "the promise was kept",
    "fail": "a must was broken",
    "deviates": "a should was broken",
    "info": "worth knowing, promised by nobody",
    "unsupported": "the contract does not offer this",
    "unproven": "the evidence does not allow a verdict",
    "not-run": "not tried (budget, or the run ended early)",
    "waived": "broken, and waived by the user",
}


def worst_word(words: Iterable[str]) -> str:
    """The verdict word that stands for several; `not-run` for none."""
    return min(words, key=SEVERITY.index, default="not-run")


def waiver_reason(waiver: Waived) -> str:
    """Until when, by whom and why a finding is waived."""
    return f"until {waiver.expires} by {waiver.owner}: {waiver.reason}"


def waiver_line(note: WaiverNote) -> str:
    """A waiver and what became of it in one sentence."""
    whom = note.rule + (f" on {note.operation}" if note.operation else "")
    return f"The waiver of {whom} {note.detail} ({note.owner}, until {note.expires}: {note.reason})."
