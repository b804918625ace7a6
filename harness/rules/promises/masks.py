"""Rules about masks: whether an edit keeps to what is marked. All three look at one edited picture.

Services scale, re-encode and redraw, so the picture that was sent and the one that came are compared small (64×64), by how
much a colour channel differs in the mean: where the mask marks, and where it does not.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from testcard.harness.rules import probes
from testcard.harness.rules.evidence import Seen, SeenPicture
from testcard.harness.rules.inputs import edit_mask, input_picture
from testcard.harness.rules.pictures import delivered, evidence, place_of, shown
from testcard.harness.rules.rule import Observation, Probe, openai_clause, rule
from testcard.harness.rules.scope import Scope
from testcard.harness.wire.changes import Change, change
from testcard.specs.profile import Task, WireField

#: of 255: less is what scaling and encoding do, not an edit
CHANGED = 8.0
#: an edit that keeps to the mask changes one part this many times as much as the other
CLEARLY_MORE = 2.0
#: of 255: what encoding and decoding a picture by a model may do to the part it should leave alone
SURVIVES = 12.0
_IDS = ("image.mask-respected", "image.mask-polarity", "image.unmasked-survives")
_CLAUSE = openai_clause("Create image edit · mask")


def _mask_field(scope: Scope) -> WireField | None:
    found = scope.field("mask") if scope.gives_pictures and scope.field("image") is not None else None
    return found[1] if found else None


def _takes_a_mask(scope: Scope) -> bool:
    return _mask_field(scope) is not None


def _says_what_it_means(scope: Scope) -> bool:
    field = _mask_field(scope)
    return field is not None and field.edits is not None


def _with_a_mask(scope: Scope) -> Iterator[Probe]:
    """An edit of the input picture with a mask, by a model that the document names for masks, where it names one.

    With as many steps as the service takes by itself: after the fewest, a repainted part may still look like its surroundings.
    """
    field = _mask_field(scope)
    if field is None:
        return
    task: Task = "edit" if "edit" in scope.profile.tasks else scope.profile.tasks[0]
    base = scope.base_request(task)
    model = scope.model or next(iter(field.models), base.model)
    request = replace(base, model=model, steps=None, images=(input_picture(),), mask=edit_mask(field.edits))
    probe = probes.variant(scope, "mask", request, change=f"with {scope.profile.wire_name('mask')}")
    if scope.tolerates(base):
        # The base may be refused where this one is not: it proves nothing about it.
        yield replace(probe, base=None)
        return
    yield from probes.base(scope, task)
    yield probe


def _changes(scope: Scope, seen: Sequence[Seen]) -> Iterator[tuple[Seen, SeenPicture, Change] | Observation]:
    """How each picture that an edit with a mask brought differs from the one that was sent."""
    field = _mask_field(scope)
    sent, mask = input_picture(), edit_mask(field.edits if field else None)
    known = [hashlib.sha256(image.data).hexdigest() for image in (sent, mask)]
    for one in delivered(seen):
        if not set(_IDS) & set(one.case.rules) or one.asked.get("mask") is None:
            continue
        images = one.asked.get("images") or [{}]
        if [images[0].get("sha256"), one.asked["mask"].get("sha256")] != known:
            yield Observation("unproven", "the picture and mask that were sent are not those of this version", (one.id,))
            continue
        found = [(picture, picture.data) for picture, _ in shown(one)]
        if not found:
            yield Observation("unproven", "no picture of the answer could be looked at", (one.id,))
        for picture, data in found:
            if data is not None:
                marks = "transparent" if field is not None and field.edits == "transparent" else "white"
                yield one, picture, change(sent.data, data(), mask.data, marks=marks)  # type: ignore[arg-type] # one of the two words


def _kept_to_a_part(change: Change) -> bool:
    """Whether something changed, and one part clearly more than the other."""
    return change.most >= CHANGED and change.most >= CLEARLY_MORE * change.least


def _said(picture: SeenPicture, change: Change) -> str:
    where = f"picture {place_of(picture)} differs from the one sent by {change.marked:.0f} of 255 where the mask marks"
    return f"{where} and by {change.unmarked:.0f} elsewhere"


@rule("image.mask-respected", level="should", clause=_CLAUSE, applies=_takes_a_mask, asks=_with_a_mask)
def mask_respected(scope: Scope, seen: Sequence[Seen]) -> Iterable[Observation]:
    """An edit with a mask changes the picture, and one side of the mask's border clearly more than the other.

    Clearly: at least twice as much in the mean. Which side it should be is for image.mask-polarity. The three rules about
    masks share one picture.
    """
    for found in _changes(scope, seen):
        if isinstance(found, Observation):
            yield found
            continue
        one, picture, change = found
        if _kept_to_a_part(change):
            yield Observation("pass", exchanges=evidence(one, picture))
        else:
            what = "nothing was edited" if change.most < CHANGED else "the mask was not kept to"
            yield Observation("broken", f"{what}: {_said(picture, change)}", evidence(one, picture), picture.picture.place)


@rule("image.mask-polarity", level="should", clause=_CLAUSE, applies=_says_what_it_means, asks=_with_a_mask)
def mask_polarity(scope: Scope, seen: Sequence[Seen]) -> Iterable[Observation]:
    """What changes is what the mask marks: the white part, or where the OpenAI convention holds the transparent one.

    The mask marks in the documented way only. Judged where an edit kept to one side of the mask's border; the three rules
    about masks share one picture.
    """
    for found in _changes(scope, seen):
        if isinstance(found, Observation):
            yield found
            continue
        one, picture, change = found
        if not _kept_to_a_part(change):
            yield Observation("unproven", f"no part was clearly edited: {_said(picture, change)}", (one.id,))
        elif change.marked > change.unmarked:
            yield Observation("pass", exchanges=evidence(one, picture))
        else:
            detail = f"the part was edited that the mask does not mark: {_said(picture, change)}"
            yield Observation("broken", detail, evidence(one, picture), picture.picture.place)


@rule("image.unmasked-survives", level="info", clause=_CLAUSE, applies=_takes_a_mask, asks=_with_a_mask)
def unmasked_survives(scope: Scope, seen: Sequence[Seen]) -> Iterable[Observation]:
    """What the mask does not mark stays about as it was.

    About: within 12 of 255 in the mean, which leaves room for encoding and for models that redraw the whole picture. Judged
    where the marked part was edited; the three rules about masks share one picture.
    """
    for found in _changes(scope, seen):
        if isinstance(found, Observation):
            yield found
            continue
        one, picture, change = found
        if not _kept_to_a_part(change) or change.marked < change.unmarked:
            yield Observation("unproven", f"the marked part was not clearly edited: {_said(picture, change)}", (one.id,))
        elif change.unmarked <= SURVIVES:
            yield Observation("pass", exchanges=evidence(one, picture))
        else:
            yield Observation("broken", _said(picture, change), evidence(one, picture), picture.picture.place)


RULES = (mask_respected, mask_polarity, unmasked_survives)
