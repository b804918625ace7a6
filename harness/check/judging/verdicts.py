"""From what rules observed to one verdict for each rule and operation, with gaps of the document apart; and the line of the document at
which a finding is shown.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from testcard.harness.check.judging.levels import Unsent, level_of, reference_of, softer
from testcard.harness.errors import Exit, worst
from testcard.harness.intake.limits import limits
from testcard.harness.intake.shown import as_text, mistake
from testcard.harness.rules.evidence import BytesOf, Inspect, Observation, SeenExchange, implied, said_by, see
from testcard.harness.rules.rule import Rule
from testcard.harness.rules.schema_judge import located
from testcard.harness.rules.scope import Scope
from testcard.harness.runs.folder import in_plan_order
from testcard.harness.runs.records import (
    CheckedTarget,
    Exchange,
    RuleFailure,
    SpecGap,
    Spend,
    Verdict,
    Verdicts,
    VerdictWord,
    WaiverNote,
)
from testcard.harness.wire.model import PictureInfo
from testcard.harness.wire.pictures import inspect, look
from testcard.specs.openapi import Operation
from testcard.specs.pointers import parts_of, whole_number
from testcard.specs.profile import Level
from testcard.specs.reading import Pointer

_BROKEN_WORD: dict[str, VerdictWord] = {"must": "fail", "should": "deviates", "info": "info"}
_STRENGTH: dict[Level, int] = {"must": 0, "should": 1, "info": 2, "none": 3}
_EVIDENCE = 10  # exchanges that a verdict names at most
_RAISING = 5  # exchanges that a rule may raise on before the rest is given up for it
_DETAILS = 3  # different things seen that a verdict spells out

#: Requests that were planned and not sent, by operation and rule.
NotSent = Mapping[tuple[str, str], Sequence[Unsent]]


@dataclass(frozen=True)
class Conclusion:
    """Everything that a run says about its target. `errors` are our own; `left_out`: answers that were too much to be judged together,
    which is `judged_bytes`.
    """

    verdicts: tuple[Verdict, ...]
    spec_gaps: tuple[SpecGap, ...]
    errors: tuple[RuleFailure, ...]
    strict: bool = False
    stopped: bool = False
    waivers: tuple[WaiverNote, ...] = ()
    left_out: int = 0
    judged_bytes: int = 0

    @property
    def told_left_out(self) -> str | None:
        """That answers were left out, in a sentence; None where none was."""
        if not self.left_out:
            return None
        them = f"{self.left_out} large answer{'s were' if self.left_out != 1 else ' was'} recorded and not judged"
        if self.judged_bytes < limits().judged_bytes:
            return f"{them}, so that the check ends soon (testcard check --rejudge RUN judges them)"
        return f"{them}: more than {self.judged_bytes:,} bytes together (judged_bytes under [limits])"

    @property
    def failed(self) -> bool:
        """Whether a must was broken (with `strict`: or a should), or a waiver has expired whose finding is still there."""
        broken = any(one.verdict == "fail" or (self.strict and one.verdict == "deviates") for one in self.verdicts)
        return broken or any(note.state == "expired" and note.findings for note in self.waivers)

    @property
    def undecided(self) -> bool:
        """Whether a must (with `strict`: or a should) was not judged, nothing was, or the run was stopped."""
        counting = ("must", "should") if self.strict else ("must",)
        unjudged = any(one.level in counting and one.verdict in ("not-run", "unproven") for one in self.verdicts)
        return self.stopped or unjudged or self.empty

    @property
    def empty(self) -> bool:
        """Whether not one promise was judged, because what all of them need was refused or is not offered: a pass would rest on nothing."""
        return bool(self.verdicts) and all(one.verdict == "unsupported" for one in self.verdicts)

    @property
    def outcome(self) -> Literal["pass", "fail", "inconclusive"]:
        """The word of verdicts.json."""
        return "fail" if self.failed else "inconclusive" if self.undecided else "pass"

    @property
    def exit_codes(self) -> list[Exit]:
        """Every exit code that holds for the verdicts; none for a pass."""
        holding = ((self.errors, Exit.INTERNAL), (self.failed, Exit.GATE_FAILED), (self.undecided, Exit.INCONCLUSIVE))
        return [code for holds, code in holding if holds]

    @property
    def exit_code(self) -> Exit:
        """The exit code of the verdicts alone."""
        return worst(self.exit_codes)

    def record(self, provider: str, base_url: str, mock: bool, spend: Spend) -> Verdicts:
        """verdicts.json."""
        return Verdicts(
            provider=provider,
            target=CheckedTarget(base_url=base_url, mock=mock),
            outcome=self.outcome,
            spend=spend,
            verdicts=list(self.verdicts),
            spec_gaps=list(self.spec_gaps),
            waivers=list(self.waivers),
            errors=list(self.errors),
        )


def judge_records(
    scopes: Sequence[Scope],
    rules: Sequence[Rule],
    exchanges: Sequence[Exchange],
    bytes_of: BytesOf,
    *,
    not_sent: NotSent | None = None,
    strict: bool = False,
    stopped: bool = False,
    started: float | None = None,
    looking: Inspect = inspect,
    live: bool = False,
    decoding_s: float = math.inf,
    judged_bytes: int | None = None,
) -> Conclusion:
    """The verdicts on recorded exchanges. `started`: Unix seconds at which the run's clock stood at 0; `live` as in the run's settings.

    `decoding_s`: how long pictures may be decoded in all; of those after that only the structure is looked at. `judged_bytes`: where less
    is to be judged than the limit of that name allows.
    """
    provider = scopes[0].provider if scopes else None
    scopes = [replace(scope, started=started) for scope in scopes]
    evidence = JudgedBodies(bytes_of, looking, decoding_s, judged_bytes)
    shown = [one for one in in_plan_order(exchanges) if one.failure != "stale" and evidence.holds(one)]
    seen = see(provider, shown, evidence.bytes_of, looking=evidence.inspect, live=live) if provider is not None else []
    found = judge_all(scopes, rules, seen, not_sent=not_sent, strict=strict, stopped=stopped)
    return replace(found, left_out=evidence.left_out, judged_bytes=evidence.most)


class JudgedBodies:
    """The bodies of a run as they are judged: the same picture is looked at once, and in all no more is held than the limits allow.

    What is beyond that is not judged (it stays in the run): of what it would have shown nothing is said.
    """

    def __init__(self, bytes_of: BytesOf, looking: Inspect, decoding_s: float = math.inf, most: int | None = None) -> None:
        self._left_s = decoding_s
        self.bytes_of = bytes_of
        self._look = looking
        self._size = 0
        self.most = min(limits().judged_bytes, most) if most is not None else limits().judged_bytes
        self._infos: dict[bytes, PictureInfo] = {}
        self.left_out = 0

    def holds(self, exchange: Exchange) -> bool:
        """Whether there is room for the exchange's answer."""
        size = exchange.response.body.size if exchange.response is not None else 0
        if size > _SMALL_BYTES:
            if self._size + size > self.most:
                self.left_out += 1
                return False
            self._size += size
        return True

    def inspect(self, data: bytes) -> PictureInfo:
        """What the bytes of a picture are."""
        digest = hashlib.sha256(data).digest()  # of small ones too: five kilobytes may be 36 megapixels, and come 64 times an answer
        found = self._infos.get(digest)
        if found is None:
            began_s = time.monotonic()
            found = self._look(data) if self._in_time(data) else inspect(data, pixels=False)
            self._left_s -= time.monotonic() - began_s
            self._infos[digest] = found
        return found

    def _in_time(self, data: bytes) -> bool:
        """Whether a picture can be decoded in the time that is left. Small files have millions of pixels too, and none can be stopped."""
        if self._left_s == math.inf:
            return True
        seen = look(data)
        return (seen.width_px or 0) * (seen.height_px or 0) <= self._left_s * _PIXELS_PER_S


#: So many pixels a second are decoded and hashed on a slow machine.
_PIXELS_PER_S = 2e7
#: Smaller bodies are not counted.
_SMALL_BYTES = 64 * 1024


def judge_all(
    scopes: Sequence[Scope],
    rules: Sequence[Rule],
    seen: Sequence[SeenExchange],
    *,
    not_sent: NotSent | None = None,
    strict: bool = False,
    stopped: bool = False,
) -> Conclusion:
    """Every rule on every operation it applies to, in the order of the scopes and rules."""
    verdicts: list[Verdict] = []
    gaps: list[SpecGap] = []
    errors = [
        RuleFailure(rule="", operation=one.exchange.operation, message=one.raised, exchanges=[one.id])
        for one in seen
        if one.raised is not None
    ]
    for scope in scopes:
        here = [one for one in seen if one.exchange.operation == scope.operation_id]
        scope = replace(scope, elsewhere=_elsewhere(scope, seen))
        for rule in rules:
            level = level_of(scope, rule)
            if level == "none" or not rule.applies(scope):
                continue
            observations, raised = observed(rule, scope, here)
            errors += raised
            unsent = (not_sent or {}).get((scope.operation_id, rule.id), ())
            verdicts.append(_verdict(scope, rule, level, observations, here, unsent))
        gaps += spec_gaps(scope, [one for one in here if one.raised is None])
    return Conclusion(tuple(verdicts), tuple(gaps), tuple(errors), strict, stopped)


def observed(rule: Rule, scope: Scope, seen: Sequence[SeenExchange]) -> tuple[list[Observation], list[RuleFailure]]:
    """What a rule observes, and where it raised: on those exchanges it is not judged, on the others it is.

    A promise that was not judged everywhere is not held: what was broken elsewhere stands, anything else is unproven. So it is with answers
    that could not be read.
    """
    unread = [one for one in seen if one.raised is not None]
    here, failures = [one for one in seen if one.raised is None], list[RuleFailure]()
    while True:
        try:
            observations = list(rule.judge(scope, here))
        except Exception as error:  # noqa: BLE001 (a rule may meet anything a server sends; its mistake must not hide the others)
            at = _raised_at(rule, scope, here) if len(failures) < _RAISING else None
            message = mistake(error)
            on = [here[at].id] if at is not None else []
            failures.append(RuleFailure(rule=rule.id, operation=scope.operation_id, message=message, exchanges=on))
            if at is None:
                observations = []
                break
            del here[at]
        else:
            break
    if not failures and not unread:
        return observations, []
    unjudged = [
        Observation("unproven", f"not judged, by a mistake of Testcard's own: reading the answer raised {one.raised}", (one.id,))
        for one in unread
    ]
    unjudged += [
        Observation("unproven", f"not judged, by a mistake of Testcard's own: the rule raised {one.message}", tuple(one.exchanges))
        for one in failures
    ]
    return [*(one for one in observations if one.word == "broken"), *unjudged], failures


def _raised_at(rule: Rule, scope: Scope, seen: Sequence[SeenExchange]) -> int | None:
    """The place of the exchange with which the rule begins to raise, by halving; None where it raises on nothing at all."""
    fewest, most = 0, len(seen)
    if not most or _raises(rule, scope, ()):
        return None
    while most - fewest > 1:
        middle = (fewest + most) // 2
        if _raises(rule, scope, seen[:middle]):
            most = middle
        else:
            fewest = middle
    return most - 1


def _raises(rule: Rule, scope: Scope, seen: Sequence[SeenExchange]) -> bool:
    try:
        list(rule.judge(scope, seen))
    except Exception:  # noqa: BLE001 (whatever it is: that it raises is asked)
        return True
    return False


def _elsewhere(scope: Scope, seen: Sequence[SeenExchange]) -> tuple[tuple[float, float], ...]:
    """From when to when requests of other operations were under way that may have been billed; a task is until its last poll."""
    return tuple(
        (one.exchange.sent_s, max((poll.exchange.done_s for poll in one.polls), default=one.exchange.done_s))
        for one in seen
        if one.sent_by_check and one.exchange.operation != scope.operation_id and (one.exchange.billed or one.status is None)
    )


def spec_gaps(scope: Scope, seen: Sequence[SeenExchange]) -> list[SpecGap]:
    """Statuses that HTTP implies and the document does not list, one entry each."""
    found: dict[int, SeenExchange] = {}
    for one in seen:
        status = one.http_status
        if status is not None and one.exchange.source != "fetch" and not scope.operation.documents(status) and implied(one):
            found.setdefault(status, one)
    return [
        SpecGap(
            operation=scope.operation_id,
            detail=f"status {status} is not documented; it answered {answered}",
            line=scope.operation.line("responses"),
            status=status,
            answered=answered,
        )
        for status, one in sorted(found.items())
        for answered in (one.case.change or one.exchange.probe,)
    ]


def _verdict(
    scope: Scope, rule: Rule, level: Level, observations: Sequence[Observation], seen: Sequence[SeenExchange], unsent: Sequence[Unsent]
) -> Verdict:
    by_id = {one.id: one for one in seen}
    broken = [(_level(scope, rule, one, by_id), one) for one in observations if one.word == "broken"]
    for wanted in ("must", "should", "info"):
        worst = [one for at, one in broken if at == wanted]
        if worst:
            others = [one for at, one in broken if at != wanted]
            return _record(scope, rule, wanted, _BROKEN_WORD[wanted], worst, more=others, seen=by_id)
    words = {word: [one for one in observations if one.word == word] for word in ("pass", "note", "unproven", "unsupported")}
    passed = len(words["pass"])
    if unsent:
        # What it must was seen to the end where only softer requests are missing: then no must is left open.
        missing = min((softer(level, one.level) for one in unsent), key=_STRENGTH.__getitem__)
        decided = _verdict(scope, rule, level, observations, seen, ()) if missing != level else None
        if decided is not None and decided.verdict in ("unproven", "unsupported"):
            return decided
        only = "" if missing == level else f", for a {missing} only"
        detail = f"{len(unsent)} request{'s' if len(unsent) != 1 else ''} not sent{only}: {unsent[0].reason}" + (
            f"; it held {passed} time{'s' if passed != 1 else ''} where it was seen" if passed else ""
        )
        return _record(scope, rule, missing, "not-run", [], detail=detail, seen=by_id)
    if words["note"]:
        return _record(scope, rule, "info", "info", words["note"], seen=by_id)
    if passed:
        left = [f"{len(words[word])} {word}" for word in ("unproven", "unsupported") if words[word]]
        detail = ", ".join([f"held {passed} time{'s' if passed != 1 else ''}", *left])
        return _record(scope, rule, level, "pass", words["pass"], detail=detail, seen=by_id)
    if words["unproven"]:
        return _record(scope, rule, level, "unproven", words["unproven"], seen=by_id)
    if words["unsupported"]:
        return _record(scope, rule, level, "unsupported", words["unsupported"], seen=by_id)
    declined = [
        one
        for one in seen
        if rule.id in one.case.rules and one.case.expects == "may-refuse" and one.refused and one.base_accepted is not False
    ]
    if declined:
        # A plain request has no change to name.
        changes = ", ".join(dict.fromkeys(one.case.change for one in declined[:_DETAILS] if one.case.change))
        said = f"status {declined[0].status}{said_by(declined[0])}"
        detail = f"what it needs was refused with {said}, as it may be" + (f": {changes}" if changes else "")
        return _record(scope, rule, level, "unsupported", [], detail=detail, seen=by_id, ids=[one.id for one in declined])
    return _record(scope, rule, level, "unproven", [], detail="nothing that shows it was seen", seen=by_id)


def _level(scope: Scope, rule: Rule, observation: Observation, seen: Mapping[str, SeenExchange]) -> Level:
    status = next((seen[one].http_status for one in observation.exchanges if one in seen), None)
    level = softer(level_of(scope, rule, status), observation.level)
    return "info" if level == "none" else level


def _record(
    scope: Scope,
    rule: Rule,
    level: Level,
    word: VerdictWord,
    shown: Sequence[Observation],
    *,
    seen: Mapping[str, SeenExchange],
    detail: str | None = None,
    more: Sequence[Observation] = (),
    ids: Sequence[str] = (),
) -> Verdict:
    exchanges = list(dict.fromkeys([*ids, *(one for observation in (*shown, *more) for one in observation.exchanges)]))
    first = seen.get(exchanges[0]) if exchanges else None
    placed = next((one for one in shown if one.place or one.line), None)
    return Verdict(
        rule=rule.id,
        operation=scope.operation_id,
        level=level,  # type: ignore[arg-type] # `none` was left out before
        verdict=word,
        detail=as_text(_summary(shown, more) if detail is None else detail),
        clause=reference_of(scope, rule, first.http_status if first is not None else None),
        exchanges=exchanges[:_EVIDENCE],
        place=placed.place if placed is not None else None,
        line=_line(scope, placed, seen),
        title=rule.sentence,
        area=rule.area.word,
        evidence=rule.evidence,
    )


def _line(scope: Scope, placed: Observation | None, seen: Mapping[str, SeenExchange]) -> int:
    if placed is None:
        return scope.operation.line()
    protocol = scope.provider.protocol(scope.operation_id)
    about = next((seen[one] for one in placed.exchanges if one in seen), None)
    return line_of(scope.operation, placed, about, result=protocol.result if protocol is not None else None)


def _summary(shown: Sequence[Observation], more: Sequence[Observation]) -> str:
    """The different things seen, the most frequent first, shortened."""
    counts: dict[str, int] = {}
    for one in shown:
        if one.detail:
            counts[one.detail] = counts.get(one.detail, 0) + 1
    ordered = sorted(counts, key=lambda text: -counts[text])
    parts = [text + (f" ({counts[text]} times)" if counts[text] > 1 else "") for text in ordered[:_DETAILS]]
    hidden = len(ordered) - len(parts) + len({one.detail for one in more})
    return "; ".join(parts) + (f"; and {hidden} more" if hidden > 0 else "")


_BRANCHES = ("oneOf", "anyOf", "allOf")


def line_of(operation: Operation, observation: Observation, one: SeenExchange | None, *, result: str | None = None) -> int:
    """The line for one observation; `one` is the exchange that it is about, as far as there is one.

    A place is a pointer into the file, into the request (where the exchange was made to break there), or into the answer, or
    names a header of it. `result` is where a task's state keeps what the operation itself would have answered.
    """
    if observation.line is not None:
        return observation.line
    place = observation.place
    if place and result and place.startswith(result + "/"):
        place = place.removeprefix(result)
    parts = parts_of(place or "")
    if place and parts:
        for pointer in _candidates(operation, parts, place, one):
            return located(operation.document, pointer)[1]
    return operation.line()


def _candidates(operation: Operation, parts: Sequence[str], place: str, one: SeenExchange | None) -> Iterator[Pointer]:
    if place.startswith("header:"):
        yield from _header(operation, place.removeprefix("header:"), one)
        return
    if parts[0] in ("paths", "components"):
        if _node(operation, tuple(parts)) is not None:
            yield tuple(parts)
        return
    asked = list(_schemas(operation, ("requestBody",)))
    answered = [schema for status in _statuses(operation, one) for schema in _schemas(operation, ("responses", status))]
    sent_so = one is not None and one.case.place == place
    for schema in [*asked, *answered] if sent_so else [*answered, *asked]:
        found = _below(operation, schema, parts)
        if found is not None:
            yield found


def _header(operation: Operation, name: str, one: SeenExchange | None) -> Iterator[Pointer]:
    """Where the answer's headers are described; of its content type, where the media types are."""
    for status in _statuses(operation, one)[:1]:
        response = (*operation.pointer, "responses", status)
        documented = _node(operation, (*response, "headers")) or {}
        yield from ((*response, "headers", each) for each in documented if each.lower() == name.lower())
        if name.lower() == "content-type" and _node(operation, (*response, "content")):
            yield (*response, "content")


def _statuses(operation: Operation, one: SeenExchange | None) -> list[str]:
    """The documented entries for the answer's status; then 200, whose body the result of a task has."""
    status = one.http_status if one is not None else None
    keys = [str(status), f"{status // 100}XX", "default"] if status is not None else []
    return [key for key in dict.fromkeys([*keys, "200"]) if key in operation.responses]


def _schemas(operation: Operation, below: tuple[str, ...]) -> Iterator[Pointer]:
    content = _node(operation, (*operation.pointer, *below, "content"))
    for media_type in content if isinstance(content, dict) else ():
        yield (*operation.pointer, *below, "content", media_type, "schema")


def _below(operation: Operation, schema: Pointer, parts: Sequence[str]) -> Pointer | None:
    """Where the schema says what stands at a place of its value; None where it says nothing about the whole of it."""
    if not parts:
        return schema
    node = _node(operation, schema)
    if not isinstance(node, dict):
        return None
    first, rest = parts[0], parts[1:]
    if first in node.get("properties", {}):
        return _below(operation, (*schema, "properties", first), rest)
    if (first == "*" or first.isdigit()) and "items" in node:
        return _below(operation, (*schema, "items"), rest)
    branches = ((*schema, word, index) for word in _BRANCHES for index in range(len(node.get(word, ()))))
    return next((found for branch in branches if (found := _below(operation, branch, parts)) is not None), None)


def _node(operation: Operation, pointer: Pointer) -> Any:
    """What stands at the pointer, references followed; None where nothing does."""
    node: Any = operation.document.raw
    for part in pointer:
        node = operation.document.deref(node)
        if isinstance(node, list):
            index = whole_number(str(part))
            node = node[index] if index is not None and index < len(node) else None
        else:
            node = node.get(part) if isinstance(node, dict) else None
        if node is None:
            return None
    return operation.document.deref(node)
