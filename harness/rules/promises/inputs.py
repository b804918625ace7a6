"""Rules about the pictures and masks that requests carry: whether an edit keeps to what is marked, which pictures have to be taken, which refused."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

from testcard.harness.rules import probes
from testcard.harness.rules.evidence import Observation, SeenExchange, SeenPicture, delivered, evidence, place_of, shown
from testcard.harness.rules.rule import Probe, http_clause, openai_clause, rule
from testcard.harness.rules.schema_judge import clip
from testcard.harness.rules.scope import Scope
from testcard.harness.rules.sent_pictures import REMOTE_PICTURE, edit_mask, input_picture, large_picture, no_picture
from testcard.harness.wire.decode import message_anywhere
from testcard.harness.wire.encode import build
from testcard.harness.wire.fields import wire_fields
from testcard.harness.wire.model import InputImage, TaskRequest
from testcard.harness.wire.pictures import MaskedChange, change
from testcard.specs.profile import Meaning, Task, WireField

# ── masks ─────────────────────────────────────────────────────────────────────────────────────────────────────────────
# Services scale, re-encode and redraw, so the picture that was sent and the one that came are compared small (64×64), by how much
# a colour channel differs in the mean: where the mask marks, and where it does not. All three rules look at one edited picture.

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
    """Whether the profile says which part may change, or names a convention that does."""
    field = _mask_field(scope)
    return field is not None and (
        field.edits is not None or scope.provider.rule_entry("image.mask-polarity", scope.operation_id) is not None
    )


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


def _changes(scope: Scope, seen: Sequence[SeenExchange]) -> Iterator[tuple[SeenExchange, SeenPicture, MaskedChange] | Observation]:
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


def _kept_to_a_part(change: MaskedChange) -> bool:
    """Whether something changed, and one part clearly more than the other."""
    return change.most >= CHANGED and change.most >= CLEARLY_MORE * change.least


def _said(picture: SeenPicture, change: MaskedChange) -> str:
    where = f"picture {place_of(picture)} differs from the one sent by {change.marked:.0f} of 255 where the mask marks"
    return f"{where} and by {change.unmarked:.0f} elsewhere"


@rule("image.mask-respected", level="should", clause=_CLAUSE, applies=_takes_a_mask, asks=_with_a_mask)
def mask_respected(scope: Scope, seen: Sequence[SeenExchange]) -> Iterable[Observation]:
    """An edit with a mask changes the picture, and changes one side of the mask's border clearly more than the other.

    Clearly: at least twice as much on average. Which side it should be is judged by image.mask-polarity. The three rules about
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
            what = "nothing was edited" if change.most < CHANGED else "the edit did not keep to the mask"
            yield Observation("broken", f"{what}: {_said(picture, change)}", evidence(one, picture), picture.picture.place)


@rule("image.mask-polarity", level="should", clause=_CLAUSE, applies=_says_what_it_means, asks=_with_a_mask)
def mask_polarity(scope: Scope, seen: Sequence[SeenExchange]) -> Iterable[Observation]:
    """What an edit changes is what the mask marks: the white part, or the transparent one under the OpenAI convention.

    The mask marks in the documented way only; where no document says which, in both ways at once. Judged where an edit kept to one
    side of the mask's border; the three rules about masks share one picture.
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
            detail = f"the edit changed the part that the mask does not mark: {_said(picture, change)}"
            yield Observation("broken", detail, evidence(one, picture), picture.picture.place)


@rule("image.unmasked-survives", level="info", clause=_CLAUSE, applies=_takes_a_mask, asks=_with_a_mask)
def unmasked_survives(scope: Scope, seen: Sequence[SeenExchange]) -> Iterable[Observation]:
    """What the mask does not mark stays about as it was.

    About: to within 12 of 255 on average, which leaves room for encoding and for models that redraw the whole picture. Judged
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


# ── pictures ──────────────────────────────────────────────────────────────────────────────────────────────────────────
# A request without its picture, or with something else in its place, proves something only when the same request with a sound picture
# was carried out in the same run. Where that one may be refused and was, a target may do without.


_MEGABYTE = 1_000_000
#: what servers say that looked for a picture at its address
_LOOKED_FOR = re.compile(
    r"getaddrinfo|enotfound|eai_again|name or service not known|name resolution|nodename nor servname|no such host"
    r"|(?:could ?n[o']t|cannot|can't|failed to|unable to|failure|error)\s+(?:to\s+)?(?:resolv|fetch|download|retriev|reach|connect)",
    re.IGNORECASE,
)
#: what those say that refuse it for being one
_AS_AN_ADDRESS = re.compile(r"data[ -]?ur[il]|data:|base64|not (?:be )?(?:supported|allowed|accepted)|unsupported", re.IGNORECASE)


def _editing_task(scope: Scope) -> Task | None:
    """The first task whose requests carry a picture."""
    if not scope.gives_pictures or scope.field("image") is None:
        return None
    return next((task for task in scope.profile.tasks if scope.base_request(task).images), None)


def _takes_pictures(scope: Scope) -> bool:
    return _editing_task(scope) is not None


def _on_the_base(scope: Scope, task: Task, key: str, request: TaskRequest, *, change: str, place: str | None) -> Probe:
    return Probe(f"{task}/{key}", scope.operation_id, request, "refuse", base=f"{task}/base", change=change, place=place)


def _judged(seen: Sequence[SeenExchange], rule_id: str, decide: Callable[[SeenExchange], Observation]) -> Iterator[Observation]:
    """What the answers to a rule's own requests say; nothing where the request they were made from was not carried out."""
    for one in seen:
        # The base requests serve the rule as well: they are judged by others.
        if not one.sent_by_check or rule_id not in one.case.rules or one.case.base is None:
            continue
        if not one.base_accepted:
            free = any(other.exchange.probe == one.case.base and other.case.expects == "may-refuse" and other.refused for other in seen)
            what = "the same request with a sound picture was refused, as it may be" if free else "the base request was not carried out"
            yield Observation("unsupported" if free else "unproven", f"{one.case.change}: {what}", (one.id,))
        elif one.out_of_reach is not None:
            yield Observation("unproven", f"{one.case.change}: {one.out_of_reach}", (one.id,))
        elif one.error_as_success is not None:
            yield Observation("unproven", f"{one.case.change}: an error sent as status {one.status}", (one.id,))
        else:
            yield decide(one)


def _has_to_be_refused(one: SeenExchange) -> Observation:
    if one.refused:
        return Observation("pass", exchanges=(one.id,))
    return Observation("broken", f"{one.case.change}: answered with status {one.status}", (one.id,), one.case.place, one.case.level)


# ── what a picture may be ─────────────────────────────────────────────────────────────────────────────────────────────


def _inline_fields(scope: Scope) -> list[tuple[str, WireField]]:
    """Fields for pictures that have to be data URLs, and nothing else."""
    return [
        (name, entry)
        for name, entry in scope.profile.fields.items()
        if entry.means == "image" and entry.format == "data-url" and not entry.also_formats
    ]


def _inline_only(scope: Scope) -> bool:
    return _takes_pictures(scope) and bool(_inline_fields(scope))


def _remote_pictures(scope: Scope) -> Iterator[Probe]:
    """An edit whose picture stands at an address, in each field for pictures."""
    task = _editing_task(scope)
    if task is None:
        return
    yield from probes.base(scope, task)
    request = scope.base_request(task)
    names = tuple(name for name, entry in scope.profile.fields.items() if entry.means == "image")
    for name, entry in _inline_fields(scope):
        probe = _on_the_base(scope, task, f"remote:{name}", request, change=f"{name} = an address", place=f"/{name}")
        yield replace(probe, remove=names, put={name: [REMOTE_PICTURE] if entry.many else REMOTE_PICTURE})


@rule("input.data-url-only", level="must", clause=http_clause("15.5.1 400 Bad Request"), applies=_inline_only, asks=_remote_pictures)
def data_url_only(scope: Scope, seen: Sequence[SeenExchange]) -> Iterable[Observation]:
    """Where pictures have to be sent as data URLs, the address of a picture is refused with a 4xx.

    The address lies under .invalid, which never exists (RFC 6761), so that nobody is asked: it has to be refused for being an
    address. A refusal that says that the picture was looked for and not found proves nothing. Shares the base requests of edits;
    billed only where the promise is broken.
    """
    return _judged(seen, "input.data-url-only", _an_address_is_refused)


def _an_address_is_refused(one: SeenExchange) -> Observation:
    said = (one.answer.error_message or message_anywhere(one.answer.json) or "") if one.answer is not None else ""
    if one.refused and _LOOKED_FOR.search(said) and not _AS_AN_ADDRESS.search(said):
        detail = f"{one.case.change}: refused with status {one.status} because nothing was found there ({clip(said)})"
        return Observation("unproven", detail, (one.id,))
    return _has_to_be_refused(one)


def _undecodable(scope: Scope) -> Iterator[Probe]:
    """An edit whose picture begins as a PNG and is none."""
    task = _editing_task(scope)
    if task is None:
        return
    yield from probes.base(scope, task)
    request = scope.base_request(task)
    broken = replace(request, images=(no_picture(),))
    name = scope.profile.wire_name("image")
    yield _on_the_base(scope, task, "undecodable-image", broken, change=f"{name} = bytes that are no picture", place=f"/{name}")


@rule(
    "input.undecodable-refused",
    level="should",
    clause=http_clause("15.5.1 400 Bad Request"),
    applies=_takes_pictures,
    asks=_undecodable,
)
def undecodable_refused(scope: Scope, seen: Sequence[SeenExchange]) -> Iterable[Observation]:
    """Bytes that are no picture are refused with a 4xx where a picture is expected.

    They are sent in valid base64, or as a file, and begin as a PNG does. Shares the base requests of edits; billed only where the
    promise is broken.
    """
    return _judged(seen, "input.undecodable-refused", _has_to_be_refused)


# ── how large it may be ───────────────────────────────────────────────────────────────────────────────────────────────


def _accepts_up_to(scope: Scope) -> bool:
    return _takes_pictures(scope) and scope.provider.profile.limits.upload_accept_bytes is not None


def _has_a_limit(scope: Scope) -> bool:
    return _takes_pictures(scope) and scope.provider.profile.limits.upload_above_bytes is not None


def _upload(scope: Scope, body_bytes: int | None, *, at_least: bool) -> Iterator[Probe]:
    """An edit with a picture so large that the whole body has this size, or just misses it on the right side."""
    task = _editing_task(scope)
    if task is None or body_bytes is None:
        return
    yield from probes.base(scope, task)
    base = scope.base_request(task)
    request = replace(base, images=(_filling(scope, base, body_bytes, at_least=at_least), *base.images[1:]))
    change = f"a picture that makes the body {body_bytes / _MEGABYTE:.3g} MB"
    yield replace(probes.variant(scope, f"upload:{body_bytes}", request, change=change, expects="may-refuse"), base=f"{task}/base")


def _filling(scope: Scope, request: TaskRequest, body_bytes: int, *, at_least: bool) -> InputImage:
    """The picture that fills a body to this size: its bytes stand there as they are, or four for three in base64."""
    fields = wire_fields(scope.provider, request, scope.operation_id)
    spare = body_bytes - len(build(scope.provider, fields, base_url="", api_key=None).body)
    small = len(request.images[0].data)
    found = scope.field("image")
    if found is not None and found[1].format == "file":
        return large_picture(small + spare)
    letters = -(-small // 3) * 4 + spare
    return large_picture((-(-letters // 4) if at_least else letters // 4) * 3)


def _just_under(scope: Scope) -> Iterator[Probe]:
    return _upload(scope, scope.provider.profile.limits.upload_accept_bytes, at_least=False)


def _clearly_above(scope: Scope) -> Iterator[Probe]:
    return _upload(scope, scope.provider.profile.limits.upload_above_bytes, at_least=True)


@rule("input.size-accepted", level="must", clause=http_clause("15.5.14 413 Content Too Large"), applies=_accepts_up_to, asks=_just_under)
def size_accepted(scope: Scope, seen: Sequence[SeenExchange]) -> Iterable[Observation]:
    """A picture just under the documented limit is accepted, even where the limit applies to the whole body.

    The picture is noise, which cannot be made smaller. Needs one edited picture beyond the base request's.
    """

    def taken(one: SeenExchange) -> Observation:
        if one.accepted:
            return Observation("pass", exchanges=(one.id,))
        return Observation("broken", f"{one.case.change}: refused with status {one.status}", (one.id,), one.case.place)

    return _judged(seen, "input.size-accepted", taken)


@rule("input.size-above", level="info", clause=http_clause("15.5.14 413 Content Too Large"), applies=_has_a_limit, asks=_clearly_above)
def size_above(scope: Scope, seen: Sequence[SeenExchange]) -> Iterable[Observation]:
    """A picture clearly above the documented limit is refused with a 4xx.

    A server may accept more than it documents: worth knowing, and no violation. A 5xx breaks http.no-server-error. Billed only
    where the picture is accepted.
    """

    def refused(one: SeenExchange) -> Observation:
        if one.refused:
            return Observation("pass", exchanges=(one.id,))
        return Observation("broken", f"{one.case.change}: accepted with status {one.status}", (one.id,), one.case.place)

    return _judged(seen, "input.size-above", refused)


# ── whether there is one ──────────────────────────────────────────────────────────────────────────────────────────────


def _without(scope: Scope, meaning: Meaning) -> Iterator[Probe]:
    """Requests without the field of this meaning, where the schema requires it."""
    name = scope.profile.wire_name(meaning)
    for probe in probes.missing(scope) if name in scope.operation.required else ():
        if probe.first or probe.remove == (name,):
            yield probe


def _modes_with(scope: Scope, *meanings: str) -> list[str]:
    """Words of the mode field that cannot do without all of these."""
    if scope.field("mode") is None:
        return []
    return [mode for mode, needs in scope.profile.needs.items() if mode not in scope.profile.tasks and set(meanings) <= set(needs)]


def _image_needed(scope: Scope) -> bool:
    return scope.gives_pictures and (scope.profile.wire_name("image") in scope.operation.required or bool(_modes_with(scope, "image")))


def _mask_needed(scope: Scope) -> bool:
    return scope.gives_pictures and (scope.profile.wire_name("mask") in scope.operation.required or bool(_modes_with(scope, "mask")))


def _without_the_image(scope: Scope) -> Iterator[Probe]:
    yield from _without(scope, "image")
    if _modes_with(scope, "image") and scope.task is not None:
        yield from probes.base(scope, scope.task)
        yield from probes.unfinished_modes(scope)


def _without_the_mask(scope: Scope) -> Iterator[Probe]:
    yield from _without(scope, "mask")
    found, task = scope.field("mode"), _editing_task(scope)
    for mode in _modes_with(scope, "image", "mask"):
        if found is None or task is None:
            return
        yield from probes.base(scope, task)
        change = f"{found[0]} = {mode} with a picture and without a mask"
        probe = _on_the_base(scope, task, f"no-mask-for:{mode}", scope.base_request(task), change=change, place=f"/{found[0]}")
        yield replace(probe, put={found[0]: mode})


@rule(
    "input.image-required",
    level="must",
    clause=openai_clause("Create image edit · image"),
    applies=_image_needed,
    asks=_without_the_image,
)
def image_required(scope: Scope, seen: Sequence[SeenExchange]) -> Iterable[Observation]:
    """A request that works on a picture is refused with a 4xx when the picture is missing.

    Where the schema does not require the picture but a mode cannot do without it, accepting the request counts as a deviation.
    Shares its requests with request.refuses-invalid; they are billed only where the promise is broken.
    """
    return _judged(seen, "input.image-required", _has_to_be_refused)


@rule(
    "input.mask-required",
    level="should",
    clause=openai_clause("Create image edit · mask"),
    applies=_mask_needed,
    asks=_without_the_mask,
)
def mask_required(scope: Scope, seen: Sequence[SeenExchange]) -> Iterable[Observation]:
    """A request to edit by mask is refused with a 4xx when the mask is missing.

    Shares the base requests of edits; billed only where the promise is broken.
    """
    return _judged(seen, "input.mask-required", _has_to_be_refused)


RULES = (
    mask_respected,
    mask_polarity,
    unmasked_survives,
    data_url_only,
    undecodable_refused,
    size_accepted,
    size_above,
    image_required,
    mask_required,
)
