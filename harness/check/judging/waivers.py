"""Broken promises that are known and do not count for a while, and what became of each waiver in a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from fnmatch import fnmatchcase
from typing import Literal

import msgspec

from testcard.harness.check.judging.verdicts import Conclusion
from testcard.harness.config import WaiverSection
from testcard.harness.rules.promises import RULES
from testcard.harness.rules.scope import Scope
from testcard.harness.runs.records import Verdict, Waived, WaiverNote

State = Literal["used", "expired", "unused", "unexpected-pass"]
_BROKEN = ("fail", "deviates")
_OPEN = ("not-run", "unproven")


def waive(judged: Conclusion, waivers: Sequence[WaiverSection], *, scopes: Sequence[Scope], rules: Sequence[str], on: date) -> Conclusion:
    """The verdicts with what the waivers cover on the day `on` set to `waived`, and a note on each waiver that concerns this run.

    Of several waivers for one finding the first that has not expired covers it. A waiver concerns the run when it names the
    provider and something that the chosen `rules` and `scopes` hold, or something that nobody knows, which is told as unused.
    """
    provider = scopes[0].provider if scopes else None
    mine = [one for one in waivers if provider is not None and one.provider == provider.id and _concerns(one, scopes, rules)]
    valid = [one for one in mine if on <= one.expires]
    covered = tuple(_covered(verdict, valid) for verdict in judged.verdicts)
    left = replace(judged, verdicts=covered)
    return replace(left, waivers=tuple(_note(one, judged, left, on) for one in mine))


def _concerns(waiver: WaiverSection, scopes: Sequence[Scope], rules: Sequence[str]) -> bool:
    """Whether the run could have met what it names: a run narrowed with --rule or --operation says nothing of the rest."""
    chosen = {scope.operation_id for scope in scopes}
    elsewhere = waiver.operation is not None and waiver.operation not in chosen
    if elsewhere and waiver.operation in scopes[0].provider.profile.operations:
        return False
    return any(fnmatchcase(rule, waiver.rule) for rule in rules) or not any(fnmatchcase(rule, waiver.rule) for rule in RULES)


def _names(waiver: WaiverSection, verdict: Verdict) -> bool:
    return fnmatchcase(verdict.rule, waiver.rule) and waiver.operation in (None, verdict.operation)


def _covered(verdict: Verdict, valid: Sequence[WaiverSection]) -> Verdict:
    waiver = next((one for one in valid if _names(one, verdict)), None)
    if waiver is None or verdict.verdict not in _BROKEN:
        return verdict
    why = Waived(
        instead_of=verdict.verdict,  # type: ignore[arg-type] # one of _BROKEN
        reason=waiver.reason,
        owner=waiver.owner,
        expires=waiver.expires.isoformat(),
    )
    return msgspec.structs.replace(verdict, verdict="waived", waiver=why)


def _note(waiver: WaiverSection, before: Conclusion, after: Conclusion, on: date) -> WaiverNote:
    """What became of a waiver; `before` are the verdicts without any, `after` with all of them."""
    named = [one for one in before.verdicts if _names(waiver, one)]
    expired = on > waiver.expires
    found = [one for one in (after if expired else before).verdicts if _names(waiver, one) and one.verdict in _BROKEN]
    open_words = list(dict.fromkeys(one.verdict for one in named if one.verdict in _OPEN))
    kept = any(one.verdict in ("pass", "info") for one in named)
    state: State = "expired" if expired else "used" if found else "unexpected-pass" if kept and not open_words else "unused"
    return WaiverNote(
        rule=waiver.rule,
        operation=waiver.operation,
        reason=waiver.reason,
        owner=waiver.owner,
        expires=waiver.expires.isoformat(),
        state=state,
        findings=[(one.rule, one.operation) for one in found],
        detail=_said(state, found, named, open_words),
    )


def _said(state: State, found: Sequence[Verdict], named: Sequence[Verdict], open_words: Sequence[str]) -> str:
    if state == "used":
        return f"covers {len(found)} finding{'s' if len(found) != 1 else ''}"
    if state == "expired":
        if not found:
            return "has expired, and nothing that it named counts: remove it"
        whom = ", ".join(f"{one.rule} on {one.operation}" for one in found[:3]) + (f" and {len(found) - 3} more" if len(found) > 3 else "")
        return f"has expired: {whom} count{'s' if len(found) == 1 else ''} again"
    if state == "unexpected-pass":
        return "is not needed: what it names is kept; remove it"
    if open_words:
        return f"is unused: what it names was {' or '.join(open_words)}"
    return "is unused: what it names does not apply" if named else "is unused: no verdict has the rule and operation that it names"
