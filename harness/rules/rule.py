"""What a rule is: one promise as data, with the requests it needs and a pure function that judges what was recorded; and the
area that it belongs to, with what a report shows as evidence of it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

from testcard.harness.rules.evidence import Observation, SeenExchange
from testcard.harness.rules.scope import Scope
from testcard.harness.runs.records import EvidenceKind
from testcard.harness.wire.model import Headers, TaskRequest
from testcard.specs.profile import Clause, Level

Expectation = Literal["accept", "may-refuse", "refuse", "unauthorised"]
KeyUse = Literal["right", "none", "wrong"]
_NOTHING: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Probe:
    """One request that a rule asks for; equal requests of several rules are sent once.

    `key` is stable between runs of one seed (`generate/size:512x512`). `remove` and `put` change the wire's body fields
    after encoding, which is how a request comes to break the contract. `base` is the key of the probe it differs from by
    `change` (words for a person). `level` caps what a broken promise here can count as. `repeat` marks the one kind of
    request that is sent although an equal one is: to see it answered twice. `first` orders probes before all others; `alone`
    marks those that are sent next, with no other request under way.
    `path` puts the path's parameters by wire name, for an operation that no task reaches; `headers` go along with the
    request (in place of its own of the same name); `after` is the key of the probe of the same operation that has to be
    answered before this one is sent. What no field can describe: `method` sends another HTTP method, `media_type` encodes
    the body for another media type, `raw_body` sends these bytes instead (b"": none, and no content type).
    """

    key: str
    operation: str
    request: TaskRequest
    expects: Expectation = "accept"
    remove: tuple[str, ...] = ()
    put: Mapping[str, Any] = field(default_factory=lambda: _NOTHING)
    only: tuple[str, ...] | None = None
    key_use: KeyUse = "right"
    base: str | None = None
    change: str = ""
    place: str | None = None
    level: Level = "must"
    repeat: bool = False
    first: bool = False
    alone: bool = False
    path: Mapping[str, str] = field(default_factory=lambda: _NOTHING)
    headers: Headers = ()
    after: str | None = None
    method: str | None = None
    media_type: str | None = None
    raw_body: bytes | None = None


Judge = Callable[[Scope, Sequence[SeenExchange]], Iterable[Observation]]
Asks = Callable[[Scope], Iterable[Probe]]
Applies = Callable[[Scope], bool]


def _always(scope: Scope) -> bool:
    return True


def _no_probes(scope: Scope) -> Iterable[Probe]:
    return ()


@dataclass(frozen=True, slots=True)
class Rule:
    """One promise. `level` and `clause` hold where the provider's profile says nothing of its own.

    `sentence` is what a report shows. `applies` decides from the profile whether the operation makes the promise at all.
    `asks` names the requests the rule needs; it judges every exchange of the operation, whoever asked for it. `evidence`: what
    shows a finding, one exchange, two held side by side, or pictures.
    """

    id: str
    level: Level
    clause: Clause
    sentence: str
    judge: Judge
    applies: Applies = _always
    asks: Asks = _no_probes
    explanation: str = ""
    evidence: EvidenceKind = "exchange"

    @property
    def area(self) -> Area:
        """What the rule is about, with those that stand beside it in reports."""
        return area_of(self.id)


def rule(
    rule_id: str,
    *,
    level: Level,
    clause: Clause,
    applies: Applies = _always,
    asks: Asks = _no_probes,
    evidence: EvidenceKind | None = None,
) -> Callable[[Judge], Rule]:
    """Makes a judge function a rule; the first line of its docstring is the sentence, the rest the explanation.

    `evidence`: where it is not what the rule's area has.
    """
    shown = evidence or area_of(rule_id).evidence

    def made(judge: Judge) -> Rule:
        lines = (inspect.getdoc(judge) or "").split("\n", 1)
        return Rule(rule_id, level, clause, lines[0], judge, applies, asks, lines[1].strip() if len(lines) > 1 else "", shown)

    return made


def http_clause(heading: str) -> Clause:
    """A clause of HTTP itself (RFC 9110)."""
    return Clause(document="RFC 9110", heading=heading, source="http")


def openai_clause(heading: str) -> Clause:
    """A clause of the OpenAI convention that many providers follow."""
    return Clause(document="OpenAI API reference", heading=heading, source="openai")


@dataclass(frozen=True, slots=True)
class Area:
    """What a group of rules is about. `word` begins their ids and names the group in reports; `evidence` holds unless a rule says otherwise."""

    word: str
    title: str
    evidence: EvidenceKind = "exchange"


AREAS: dict[str, Area] = {
    area.word: area
    for area in (
        Area("http", "HTTP itself: statuses, media types, whole bodies, refusals"),
        Area("auth", "The key"),
        Area("request", "What is accepted, what is refused"),
        Area("schema", "The documented shape of answers"),
        Area("answer", "What an answer says beside its pictures"),
        Area("image", "The pictures that come back", "pictures"),
        Area("input", "The pictures that requests carry"),
        Area("delivery", "How pictures are handed over, and their addresses", "pictures"),
        Area("seed", "Seeds", "pictures"),
        Area("async", "Work that is accepted now and fetched later", "pair"),
        Area("vision", "Answers in words to questions about pictures"),
        Area("stream", "Answers that come piece by piece"),
        Area("rate", "Rate limits"),
    )
}


def area_of(rule_id: str) -> Area:
    """The area of a rule, which the first word of its id names; `KeyError` for a word that is no area."""
    return AREAS[rule_id.partition(".")[0]]
