"""Which area a rule belongs to, and what a report shows as evidence of what it found. The one place that says so."""

from __future__ import annotations

from dataclasses import dataclass

from testcard.harness.runs.records import EvidenceKind


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
