"""Waivers: what they cover does not count while they hold; expired ones fail, idle and needless ones are told."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import date

import pytest

from testcard.harness.check.judging.verdicts import Conclusion, judge_all
from testcard.harness.check.judging.waivers import waive
from testcard.harness.cli.check import text as present
from testcard.harness.config import WaiverSection
from testcard.harness.errors import Exit, worst
from testcard.harness.rules.evidence import Observation, SeenExchange
from testcard.harness.rules.promises import RULES
from testcard.harness.rules.scope import Scope
from testcard.specs.loader import load_provider

NEBUL = load_provider("nebul")
SCOPES = [Scope(NEBUL, operation) for operation in NEBUL.profile.operations]
DAY = date(2026, 11, 20)


def judged(words: dict[str, str], *, strict: bool = False, level: str = "must", scopes: Sequence[Scope] = SCOPES) -> Conclusion:
    """Verdicts of these rules on every operation, each with the word that a rule's observation has."""

    def saying(word: str) -> object:
        def judge(scope: Scope, seen: Sequence[SeenExchange]) -> Iterable[Observation]:
            return [Observation(word, "seen", ("e1",), level=level)]  # type: ignore[arg-type]

        return judge

    rules = [replace(RULES[name], judge=saying(word)) for name, word in words.items()]  # type: ignore[arg-type]
    return judge_all(scopes, rules, [], strict=strict)


def waiver(rule: str = "image.count", operation: str | None = None, *, expires: date = DAY, provider: str = "nebul") -> WaiverSection:
    return WaiverSection(
        rule=rule, provider=provider, operation=operation, reason="ticket 12", owner="ann@example.com", expires=expires.isoformat()
    )  # type: ignore[arg-type]


def waived(
    before: Conclusion, *waivers: WaiverSection, rules: Sequence[str] = tuple(RULES), scopes: Sequence[Scope] = SCOPES
) -> Conclusion:
    return waive(before, waivers, scopes=scopes, rules=rules, on=DAY)


def test_a_waived_finding_does_not_count() -> None:
    """It keeps what was seen, says by whom and why it is waived, and neither outcome nor exit code count it."""
    before = judged({"image.count": "broken", "image.decodes": "pass"})
    assert before.exit_code == Exit.GATE_FAILED
    after = waived(before, waiver())
    found = [one for one in after.verdicts if one.rule == "image.count"]
    assert {one.verdict for one in found} == {"waived"}
    assert (found[0].detail, found[0].level, found[0].exchanges) == ("seen", "must", ["e1"])
    assert found[0].waiver is not None
    assert (found[0].waiver.instead_of, found[0].waiver.owner, found[0].waiver.expires) == ("fail", "ann@example.com", "2026-11-20")
    assert (after.outcome, after.exit_code) == ("pass", Exit.PASS)
    assert [(note.state, len(note.findings)) for note in after.waivers] == [("used", 3)]
    assert not list(present.waivers(after))
    assert not any(line for line in present.findings(after, {}))
    assert any("fail, waived until 2026-11-20 by ann@example.com: ticket 12" in line for line in present.table(after))


def test_a_waiver_covers_what_it_names_and_nothing_else() -> None:
    """Another operation, another rule, another provider still count; a glob covers a family."""
    before = judged({"image.count": "broken", "image.decodes": "broken"})
    after = waived(before, waiver(operation="createImage"))
    assert [(one.rule, one.operation) for one in after.verdicts if one.verdict == "waived"] == [("image.count", "createImage")]
    assert after.exit_code == Exit.GATE_FAILED
    assert waived(before, waiver("image.*")).exit_code == Exit.PASS
    other = waived(before, waiver("image.*", provider="nanogpt"))
    assert (other.verdicts, other.waivers, other.exit_code) == (before.verdicts, (), Exit.GATE_FAILED)


def test_a_should_is_waived_for_strict_too() -> None:
    """A waived should does not fail a strict run."""
    before = judged({"image.count": "broken"}, level="should", strict=True)
    assert before.exit_code == Exit.GATE_FAILED
    after = waived(before, waiver())
    assert after.exit_code == Exit.PASS
    assert after.verdicts[0].waiver is not None
    assert after.verdicts[0].waiver.instead_of == "deviates"


@pytest.mark.parametrize("level", ["must", "should"])
def test_an_expired_waiver_fails_the_run(level: str) -> None:
    """The day after its last, the finding counts again; the run fails and says why, even where only a should is broken."""
    before = judged({"image.count": "broken"}, level=level)
    assert waived(before, waiver(expires=DAY)).exit_code == Exit.PASS
    after = waived(before, waiver(operation="createImage", expires=date(2026, 11, 19)))
    assert (after.outcome, after.exit_code) == ("fail", Exit.GATE_FAILED)
    assert after.verdicts == before.verdicts
    assert after.waivers[0].state == "expired"
    assert after.waivers[0].detail == "has expired: image.count on createImage counts again"
    said = list(present.waivers(after))
    assert said == [
        "The waiver of image.count on createImage has expired: image.count on createImage counts again (ann@example.com, until 2026-11-19: ticket 12)."
    ]


def test_an_expired_waiver_of_what_is_kept_is_only_told() -> None:
    """Once mended, nothing counts; the waiver is to be removed."""
    after = waived(judged({"image.count": "pass"}), waiver(expires=date(2026, 1, 1)))
    assert after.exit_code == Exit.PASS
    assert after.waivers[0].detail == "has expired, and nothing that it named counts: remove it"


def test_a_second_waiver_takes_over_from_an_expired_one() -> None:
    """A renewed entry beside the old one covers the finding; the old one is told to be removed."""
    after = waived(judged({"image.count": "broken"}), waiver(expires=date(2026, 1, 1)), waiver(expires=date(2027, 1, 1)))
    assert after.exit_code == Exit.PASS
    assert [(note.state, bool(note.findings)) for note in after.waivers] == [("expired", False), ("used", True)]
    assert {one.waiver.expires for one in after.verdicts if one.waiver} == {"2027-01-01"}


@pytest.mark.parametrize(
    ("words", "rule", "operation", "state", "detail"),
    [
        ({"image.count": "pass"}, "image.count", None, "unexpected-pass", "is not needed"),
        ({"image.count": "pass", "image.decodes": "unproven"}, "image.*", None, "unused", "what it names was unproven"),
        ({"image.count": "unproven"}, "image.count", None, "unused", "was unproven"),
        ({"image.count": "unsupported"}, "image.count", None, "unused", "does not apply"),
        ({"image.count": "pass"}, "imgae.count", None, "unused", "no verdict has the rule"),
        ({"image.count": "pass"}, "image.count", "createPicture", "unused", "no verdict has the rule"),
        ({"image.count": "pass", "image.decodes": "broken"}, "image.*", None, "used", "covers 3 findings"),
    ],
)
def test_idle_waivers_are_told(words: dict[str, str], rule: str, operation: str | None, state: str, detail: str) -> None:
    """What is kept, was not decided, or does not exist is said, and changes no exit code."""
    before = judged(words)
    after = waived(before, waiver(rule, operation))
    assert after.waivers[0].state == state
    assert detail in after.waivers[0].detail
    assert after.exit_code == (before.exit_code if state != "used" else Exit.PASS)
    assert bool(list(present.waivers(after))) == (state != "used")


def test_a_narrowed_run_says_nothing_of_the_rest() -> None:
    """With --operation or --rule, a waiver of something that was not looked at is not called unused."""
    scopes = SCOPES[:1]
    before = judged({"image.count": "pass"}, scopes=scopes)
    other = SCOPES[1].operation_id
    assert waived(before, waiver(operation=other), rules=["image.count"], scopes=scopes).waivers == ()
    assert waived(before, waiver("auth.*"), rules=["image.count"], scopes=scopes).waivers == ()
    assert len(waived(before, waiver("*"), rules=["image.count"], scopes=scopes).waivers) == 1


@pytest.mark.parametrize("interrupted", [False, True])
@pytest.mark.parametrize("raised", [False, True])
@pytest.mark.parametrize("broken", ["", "must", "should"])
@pytest.mark.parametrize("expired", [False, True])
@pytest.mark.parametrize("undecided", ["", "must", "should", "stopped"])
@pytest.mark.parametrize("strict", [False, True])
def test_every_combination_has_its_exit_code(
    interrupted: bool, raised: bool, broken: str, expired: bool, undecided: str, strict: bool
) -> None:
    """130 before 4 before 1 before 5 before 0, whatever comes together."""

    def judge(word: str, level: str) -> object:
        return lambda scope, seen: [Observation(word, "x", level=level)]  # type: ignore[arg-type]

    def raising(scope: Scope, seen: Sequence[SeenExchange]) -> Iterable[Observation]:
        raise KeyError("oh")

    words = [("auth.required", "broken", broken)] * bool(broken)
    rules = [replace(RULES[name], judge=judge(word, level)) for name, word, level in words]  # type: ignore[arg-type]
    if undecided in ("must", "should"):
        # Level of a verdict that is open is the rule's own: one that this provider's table has as a must, one as a should.
        name = "image.count" if undecided == "must" else "seed.repeatable"
        rules.append(replace(RULES[name], judge=judge("unproven", "must"), applies=lambda scope: True))  # type: ignore[arg-type]
    if expired:
        rules.append(replace(RULES["image.decodes"], judge=judge("broken", "should")))  # type: ignore[arg-type]
    if raised:
        rules.append(replace(RULES["delivery.exclusive"], judge=raising, level="should"))
    scopes = SCOPES[:1]
    found = judge_all(scopes, rules, [], strict=strict, stopped=undecided == "stopped")
    after = waived(found, *([waiver("image.decodes", expires=date(2026, 1, 1))] if expired else []), scopes=scopes)
    failed = broken == "must" or (broken == "should" and strict) or expired
    open_verdicts = {one.level for one in after.verdicts if one.verdict == "unproven"}
    inconclusive = undecided == "stopped" or "must" in open_verdicts or (strict and "should" in open_verdicts)
    wanted = Exit.INTERNAL if raised else Exit.GATE_FAILED if failed else Exit.INCONCLUSIVE if inconclusive else Exit.PASS
    assert after.exit_code == wanted
    assert after.outcome == ("fail" if failed else "inconclusive" if inconclusive else "pass")
    assert worst([*after.exit_codes, *([Exit.INTERRUPTED] if interrupted else [])]) == (Exit.INTERRUPTED if interrupted else wanted)
