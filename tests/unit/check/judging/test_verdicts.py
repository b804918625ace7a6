"""From observations to verdicts: which word wins, at which level, with which evidence, and what the exit code is."""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Sequence
from dataclasses import replace

import pytest
from PIL import Image

from testcard.harness.check.judging.levels import Unsent
from testcard.harness.check.judging.verdicts import JudgedBodies, judge_all, spec_gaps
from testcard.harness.errors import Exit
from testcard.harness.rules.evidence import Observation, SeenExchange, Word
from testcard.harness.rules.promises import RULES
from testcard.harness.rules.scope import Scope
from testcard.harness.runs.records import Body, Case, Exchange, SeenResponse, SentRequest, Spend, Verdict
from testcard.harness.wire.model import Answer
from testcard.harness.wire.pictures import PictureInfo, inspect
from testcard.specs.loader import load_provider

SCOPE = Scope(load_provider("nanogpt"), "createImage")
RELAY = Scope(load_provider("opengpu-relay"), "generateQwen")


def saying(*observations: Observation, rule: str = "image.size", scope: Scope = SCOPE, **more: object) -> Verdict:
    """The verdict when a rule observes this."""

    def judge(scope: Scope, seen: Sequence[SeenExchange]) -> Iterable[Observation]:
        return observations

    judged = judge_all([scope], [replace(RULES[rule], judge=judge)], [], **more)  # type: ignore[arg-type]
    return judged.verdicts[0]


@pytest.mark.parametrize(
    ("words", "verdict"),
    [
        (("pass",), "pass"),
        (("pass", "broken"), "fail"),
        (("pass", "unproven"), "pass"),
        (("pass", "unsupported"), "pass"),
        (("pass", "note"), "info"),
        (("unproven", "unsupported"), "unproven"),
        (("unsupported",), "unsupported"),
        ((), "unproven"),
    ],
)
def test_the_strongest_word_wins(words: tuple[str, ...], verdict: str) -> None:
    """Broken beats all, a pass beats what could not be seen, and seeing nothing is unproven, never a pass."""
    assert saying(*(Observation(word) for word in words)).verdict == verdict  # type: ignore[arg-type]


def test_levels_decide_the_word() -> None:
    """A broken must fails, a broken should deviates; an observation can be softer than its rule but never harder."""
    assert saying(Observation("broken", "x")).verdict == "fail"
    assert saying(Observation("broken", "x"), rule="seed.repeatable", scope=RELAY).verdict == "deviates"
    assert saying(Observation("broken", "x", level="should")).verdict == "deviates"
    assert saying(Observation("broken", "x", level="info")).verdict == "info"
    assert saying(Observation("broken", "x", level="must"), rule="seed.repeatable", scope=RELAY).level == "should"


def test_the_worst_is_told_first() -> None:
    """With a must and a should broken, the verdict is the must's, with its details and evidence first."""
    verdict = saying(Observation("broken", "soft", ("e2",), level="should"), Observation("broken", "hard", ("e1",)))
    assert (verdict.verdict, verdict.level, verdict.detail, verdict.exchanges) == ("fail", "must", "hard; and 1 more", ["e1", "e2"])


def test_details_are_counted_not_repeated() -> None:
    """Forty equal findings are one line with a number."""
    verdict = saying(*(Observation("broken", "same", (f"e{number}",)) for number in range(40)))
    assert verdict.detail == "same (40 times)"
    assert len(verdict.exchanges) == 10


def test_what_was_not_sent_is_not_run() -> None:
    """A rule whose requests were left out is not-run, however much held; a break that was seen stays a break."""
    missing = {("createImage", "image.size"): [Unsent("the budget is spent"), Unsent("the budget is spent", "should")]}
    verdict = saying(Observation("pass"), not_sent=missing)
    assert verdict.verdict == "not-run"
    assert verdict.detail == "2 requests not sent: the budget is spent; it held 1 time where it was seen"
    assert (verdict.level, verdict.verdict) == ("must", "not-run")
    assert saying(Observation("broken", "x"), not_sent=missing).verdict == "fail"


def test_what_only_shoulds_lack_leaves_no_must_open() -> None:
    """All requests that the must hangs on were sent, and it held: not-run as a should. Where nothing showed it, it stays unproven."""
    missing = {("createImage", "image.size"): [Unsent("the budget is spent", "should"), Unsent("the budget is spent", "info")]}
    verdict = saying(Observation("pass"), not_sent=missing)
    assert (verdict.level, verdict.verdict) == ("should", "not-run")
    assert verdict.detail.startswith("2 requests not sent, for a should only: the budget is spent; it held 1 time")
    open_still = saying(Observation("unproven", "no base"), not_sent=missing)
    assert (open_still.level, open_still.verdict) == ("must", "unproven")
    assert saying(Observation("broken", "x"), not_sent=missing).verdict == "fail"


def test_a_rule_switched_off_has_no_verdict() -> None:
    """Level none in the profile: the rule says nothing about the operation."""
    assert judge_all([SCOPE], [RULES["image.format"]], []).verdicts == ()


def test_clauses_come_from_the_profile() -> None:
    """A verdict cites the provider's document and the line of the OpenAPI file."""
    verdict = saying(Observation("pass"))
    assert verdict.clause.document == SCOPE.provider.profile.document
    assert verdict.line == SCOPE.operation.line()
    assert verdict.title == RULES["image.size"].sentence


def test_a_rule_that_raises_is_our_error() -> None:
    """It is named, the other rules are judged, and the exit code is 4: never a pass."""

    def judge(scope: Scope, seen: Sequence[SeenExchange]) -> Iterable[Observation]:
        raise KeyError("oh")

    judged = judge_all([SCOPE], [replace(RULES["image.size"], judge=judge), RULES["image.count"]], [])
    assert [(error.rule, error.message) for error in judged.errors] == [("image.size", "KeyError: 'oh'")]
    assert [one.verdict for one in judged.verdicts] == ["unproven", "unproven"]
    assert judged.exit_code == Exit.INTERNAL


@pytest.mark.parametrize(("seen_before", "word"), [("pass", "unproven"), ("broken", "fail")])
def test_what_a_rule_raises_on_is_named_and_the_rest_is_judged_by_it(seen_before: Word, word: str) -> None:
    """Two answers of nine make it raise: both are named, what it found broken in the others stands, and nothing passes."""

    def judge(scope: Scope, seen: Sequence[SeenExchange]) -> Iterable[Observation]:
        for one in seen:
            if one.status in (207, 208):
                raise OverflowError(f"oh\x1b {one.status}")
            yield Observation(seen_before if one.status == 204 else "pass", exchanges=(one.id,))

    seen = [recorded(200 + number, exchange=f"e{number}") for number in range(9)]
    judged = judge_all([SCOPE], [replace(RULES["image.size"], judge=judge)], seen)
    assert [one.exchanges for one in judged.errors] == [["e7"], ["e8"]]
    assert "\x1b" not in judged.errors[0].message
    assert judged.verdicts[0].verdict == word
    assert judged.exit_code == Exit.INTERNAL


@pytest.mark.parametrize(
    ("words", "level", "strict", "stopped", "code"),
    [
        (("pass",), "must", False, False, Exit.PASS),
        (("broken",), "must", False, False, Exit.GATE_FAILED),
        (("broken",), "should", False, False, Exit.PASS),
        (("broken",), "should", True, False, Exit.GATE_FAILED),
        (("unproven",), "must", False, False, Exit.INCONCLUSIVE),
        (("unproven",), "should", False, False, Exit.INCONCLUSIVE),
        (("pass",), "must", False, True, Exit.INCONCLUSIVE),
        (("broken",), "must", False, True, Exit.GATE_FAILED),
        (("unsupported",), "must", False, False, Exit.INCONCLUSIVE),
        (("unsupported", "pass"), "must", False, False, Exit.PASS),
    ],
)
def test_exit_codes(words: tuple[str, ...], level: str, strict: bool, stopped: bool, code: Exit) -> None:
    """1 for a broken must (with --strict a should), 5 for an unproven must, a stopped run or one in which nothing was judged, 0 otherwise."""

    def judge(scope: Scope, seen: Sequence[SeenExchange]) -> Iterable[Observation]:
        return [Observation(word, "x", level=level) for word in words]  # type: ignore[arg-type]

    judged = judge_all([SCOPE], [replace(RULES["image.size"], judge=judge)], [], strict=strict, stopped=stopped)
    assert judged.exit_code == code
    assert judged.record("nanogpt", "http://t", True, Spend()).outcome == judged.outcome


def recorded(
    status: int, *, expects: str = "refuse", rules: Sequence[str] = (), exchange: str = "e1", change: str = "a change"
) -> SeenExchange:
    record = Exchange(
        id=exchange,
        operation="createImage",
        probe="generate/x",
        source="probe",
        case=Case(expects=expects, change=change, rules=list(rules)),  # type: ignore[arg-type]
        request=SentRequest(method="POST", url="http://t", headers=[], body=Body(size=0, text="")),
        response=SeenResponse(status=status, headers=[], body=Body(size=0, text="")),
        sent_s=0,
        done_s=1,
    )
    return SeenExchange(record, b"", None)


def test_gaps_are_apart() -> None:
    """An undocumented 401 is a gap of the document, listed with what it answered; a 418 is none."""
    gaps = spec_gaps(SCOPE, [recorded(401), recorded(401), recorded(400), recorded(418), recorded(500)])
    assert [(gap.status, gap.answered) for gap in gaps] == [(401, "a change")]
    assert gaps[0].detail == "status 401 is not documented; it answered a change"


def test_what_may_be_refused_and_was_is_unsupported() -> None:
    """A rule whose only requests were declined, as they may be, is unsupported and not unproven."""
    declined = recorded(422, expects="may-refuse", rules=["image.size"])
    judged = judge_all([SCOPE], [RULES["image.size"]], [declined])
    assert judged.verdicts[0].verdict == "unsupported"
    assert judged.verdicts[0].detail == "what it needs was refused with status 422, as it may be: a change"


def test_a_plain_request_that_was_declined_is_told_in_the_servers_words() -> None:
    """A request without a change has nothing else to name, such as one for a model that there is not."""
    plain = recorded(422, expects="may-refuse", rules=["image.size"], change="")
    declined = replace(plain, answer=Answer(422, error_message="there is no model nosuch"))
    judged = judge_all([SCOPE], [RULES["image.size"]], [declined])
    assert judged.verdicts[0].detail == "what it needs was refused with status 422 (there is no model nosuch), as it may be"


@pytest.mark.parametrize(("left_s", "decoded"), [(math.inf, True), (0.5, False)])
def test_a_small_file_of_many_pixels_is_not_decoded_in_a_hurry(left_s: float, decoded: bool) -> None:
    """What a picture costs is its pixels, not its bytes: where time is short, one that cannot be decoded in it is looked at from outside."""
    buffer = io.BytesIO()
    Image.new("1", (5000, 5000)).save(buffer, "PNG")
    assert len(buffer.getvalue()) < 16 * 1024
    seen = JudgedBodies(lambda body: b"", inspect, left_s).inspect(buffer.getvalue())
    assert (seen.width_px, seen.problem, seen.pixels_sha256 is not None) == (5000, None, decoded)


def test_the_same_small_picture_is_decoded_once() -> None:
    """Five kilobytes may be 36 megapixels, and come 64 times in each answer."""
    looked: list[bytes] = []

    def look_at(data: bytes) -> PictureInfo:
        looked.append(data)
        return inspect(data)

    bodies = JudgedBodies(lambda body: b"", look_at)
    assert len({bodies.inspect(b"no picture, and small") for _ in range(64)}) == 1
    assert len(looked) == 1
