"""Records of what a check concludes: verdicts.json, and the badge made of it."""

from __future__ import annotations

from typing import Literal

import msgspec

from testcard.harness.runs.record import Record

#: What shows a finding: one exchange is the smallest example, two answers are held side by side, or their pictures are looked at.
EvidenceKind = Literal["exchange", "pair", "pictures"]
VerdictWord = Literal["pass", "fail", "deviates", "info", "unsupported", "unproven", "not-run", "waived"]
_OF_PICTURES = ("image", "seed", "delivery")
Level = Literal["must", "should", "info"]
#: From what matters most to what matters least, where one word has to stand for several.
SEVERITY: tuple[VerdictWord, ...] = ("fail", "deviates", "unproven", "not-run", "waived", "info", "pass", "unsupported")
#: From the strongest promise to the weakest, where one level has to stand for several.
LEVELS: tuple[Level, ...] = ("must", "should", "info")


class ClauseRef(Record, frozen=True, kw_only=True):
    """Where the promise is made."""

    document: str
    heading: str


class Waived(Record, frozen=True, kw_only=True):
    """Why a broken promise does not count: the word that it would have, and the waiver's reason, owner and last day (ISO 8601)."""

    instead_of: Literal["fail", "deviates"]
    reason: str
    owner: str
    expires: str


class Verdict(Record, frozen=True, kw_only=True):
    """One rule judged on one operation. `detail` is what was seen against what was promised; `place` is a pointer into the request,
    the answer or the OpenAPI file, and `line` is where that file says what belongs there, else where the operation stands.

    `waiver` is set where the word is `waived`. `area` is the group of rules that the rule stands in, `evidence` what shows a finding.
    """

    rule: str
    operation: str
    level: Literal["must", "should", "info"]
    verdict: VerdictWord
    detail: str = ""
    clause: ClauseRef
    exchanges: list[str] = []
    place: str | None = None
    line: int | None = None
    title: str = ""
    waiver: Waived | None = None
    area: str = ""
    evidence: EvidenceKind | None = None

    def __post_init__(self) -> None:
        """Fills in what runs of before did not say: then as now the first word of a rule's id named its area."""
        if not self.area:
            msgspec.structs.force_setattr(self, "area", self.rule.partition(".")[0])
        if self.evidence is None:
            msgspec.structs.force_setattr(self, "evidence", "pictures" if self.area in _OF_PICTURES else "exchange")


class WaiverNote(Record, frozen=True, kw_only=True):
    """What became of a waiver in a run, with the rules and operations that it covers (expired: would cover).

    `used`: it covers a finding. `expired`: its last day is over; what it covers counts, and the run fails. `unused`: nothing
    that it names was decided. `unexpected-pass`: what it names is kept. `detail` says it in a sentence.
    """

    rule: str
    operation: str | None
    reason: str
    owner: str
    expires: str
    state: Literal["used", "expired", "unused", "unexpected-pass"]
    findings: list[tuple[str, str]] = []
    detail: str = ""


class RuleFailure(Record, frozen=True, kw_only=True):
    """A rule that raised while it judged: a mistake of Testcard's own, never a verdict on the target."""

    rule: str
    operation: str
    message: str


class SpecGap(Record, frozen=True, kw_only=True):
    """Something the provider's document leaves out (an undocumented 401, say); never the server's fault. `line`: of the OpenAPI file."""

    operation: str
    detail: str
    line: int | None = None


class Spend(Record, frozen=True, kw_only=True):
    """What a run sent and what it cost; `cost_usd` is None when no price is known."""

    requests: int = 0
    billed_requests: int = 0
    images: int = 0
    cost_usd: float | None = None


class CheckedTarget(Record, frozen=True, kw_only=True):
    """The target of verdicts.json."""

    base_url: str
    mock: bool


class Verdicts(Record, frozen=True, kw_only=True):
    """verdicts.json."""

    schema: Literal["testcard.verdicts/1"] = "testcard.verdicts/1"
    provider: str
    target: CheckedTarget
    outcome: Literal["pass", "fail", "inconclusive"]
    spend: Spend
    verdicts: list[Verdict]
    spec_gaps: list[SpecGap] = []
    waivers: list[WaiverNote] = []
    errors: list[RuleFailure] = []


class Badge(Record, frozen=True, kw_only=True):
    """badge.json, in the shape that shields.io's endpoint badges read."""

    schemaVersion: Literal[1] = 1  # noqa: N815 (shields.io's name)
    label: str
    message: str
    color: str
