"""Pictures of answers as rules look at them: whose answers can be judged, which pictures decode, what to name as evidence."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from testcard.harness.rules.evidence import Seen, SeenPicture
from testcard.harness.rules.rule import Observation
from testcard.harness.rules.scope import Scope
from testcard.harness.wire.model import PictureInfo


def gives_pictures(scope: Scope) -> bool:
    """Whether the operation's answers carry pictures."""
    return scope.gives_pictures


def delivered(seen: Sequence[Seen]) -> Iterator[Seen]:
    """Carried out requests whose answer can be read; one that is no JSON and a task that did not finish are left to other rules."""
    for one in seen:
        if one.carried_out and one.waiting is None and one.answer is not None and isinstance(one.answer.json, dict):
            yield one


def decoded(one: Seen) -> Iterator[tuple[SeenPicture, PictureInfo]]:
    """The pictures of an answer that decode completely; the others break image.decodes alone."""
    for picture in one.pictures:
        if picture.info is not None and picture.info.problem is None:
            yield picture, picture.info


def shown(one: Seen) -> Iterator[tuple[SeenPicture, PictureInfo]]:
    """Those that decode and show something; blank ones break image.not-blank alone and say nothing about what was asked for."""
    for picture, info in decoded(one):
        if not info.blank:
            yield picture, info


def undecoded(one: Seen) -> Iterator[Observation]:
    """That nothing is proved by an answer none of whose pictures decode."""
    if one.pictures and not any(True for _ in decoded(one)):
        withheld = next((picture for picture in one.pictures if picture.withheld), None)
        why = f"picture {place_of(withheld)} {withheld.missing}" if withheld is not None else "no picture of the answer could be looked at"
        yield Observation("unproven", why, (one.id,))


def asked_by(seen: Sequence[Seen], rule_id: str) -> Iterator[Seen]:
    """The answers that can be judged to requests that this rule asked for itself, alone or with others."""
    for one in delivered(seen):
        if rule_id in one.case.rules:
            yield one


def place_of(picture: SeenPicture) -> str:
    """Where the picture stands in its answer, in words."""
    return picture.picture.place or f"#{picture.picture.index}"


def evidence(one: Seen, picture: SeenPicture) -> tuple[str, ...]:
    """The exchanges to look at: the answer, and the one that fetched the picture."""
    return (one.id, picture.fetched) if picture.fetched else (one.id,)


def apart_by(seen: Sequence[Seen], rule_id: str, term: str) -> Iterator[tuple[Seen, Seen]]:
    """Pairs of answers to requests of this rule that asked for all the same but for one term: the first of each kind with every other."""
    groups: dict[str, list[Seen]] = {}
    for one in asked_by(seen, rule_id):
        if one.asked.get(term) is not None:
            rest = {name: value for name, value in one.asked.items() if name != term}
            groups.setdefault(json.dumps(rest, sort_keys=True, default=str), []).append(one)
    for first, *others in groups.values():
        for other in others:
            if other.asked[term] != first.asked[term]:
                yield first, other


def same_picture(first: Seen, other: Seen) -> bool | None:
    """Whether two answers have a picture in common, pixel by pixel; None when either has none that shows anything."""
    one, two = ({info.pixels_sha256 for _, info in shown(answer)} for answer in (first, other))
    return bool(one & two) if one and two else None
