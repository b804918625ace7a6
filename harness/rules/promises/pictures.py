"""Rules about the pictures that come back: that they decode, are what was asked for and show something, as far as that can be told without taste.

Pictures that do not decode break image.decodes alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from testcard.harness.rules import probes
from testcard.harness.rules.evidence import (
    Observation,
    SeenExchange,
    apart_by,
    decoded,
    delivered,
    evidence,
    gives_pictures,
    place_of,
    same_picture,
    shown,
    undecoded,
)
from testcard.harness.rules.rule import Probe, openai_clause, rule
from testcard.harness.rules.scope import Scope
from testcard.harness.wire.fields import pixel_size, with_defaults
from testcard.harness.wire.pictures import MEDIA_TYPES, lenient_base64, strict_base64
from testcard.specs.profile import Clause

_KNOWN_FORMATS = {"jpg": "jpeg", **{kind: kind for kind in MEDIA_TYPES}}
#: Where base64 is what the rule says, whoever sends it.
_RFC_4648 = Clause(document="RFC 4648", heading="4 Base 64 Encoding", source="http")


def _in_base64(scope: Scope) -> bool:
    return scope.gives_pictures and scope.profile.response.base64 is not None


def _sized(scope: Scope) -> bool:
    """Whether a size can be asked for: a free text of which neither file names a value is none that a check can send."""
    if not scope.gives_pictures:
        return False
    field = scope.field("size")
    if field is None or scope.field("width") is not None:
        return scope.field("width") is not None
    stated = (field[1].cheapest, field[1].send, *scope.must_accept("size"), *scope.may_refuse("size"))
    return any(value is not None for value in stated)


@rule("image.count", level="must", clause=openai_clause("Create image · n"), applies=gives_pictures, asks=probes.several)
def count(scope: Scope, seen: Sequence[SeenExchange]) -> Iterable[Observation]:
    """As many pictures come back as were asked for.

    Where the operation has no field for a number, one picture is expected.
    """
    counted = scope.field("n") is not None
    for one in delivered(seen):
        number = with_defaults(scope.provider, scope.operation_id, one.asked, "n") if counted else None
        number = number if isinstance(number, int) else 1
        came = len(one.pictures)
        if came == number:
            yield Observation("pass", exchanges=(one.id,))
        else:
            yield Observation("broken", f"{_pictures(number)} asked for, {came} came", (one.id,), scope.profile.response.pictures)


def _pictures(number: int) -> str:
    return "1 picture was" if number == 1 else f"{number} pictures were"


@rule("image.decodes", level="must", clause=openai_clause("Create image · returns"), applies=gives_pictures, asks=probes.base)
def decodes(scope: Scope, seen: Sequence[SeenExchange]) -> Iterable[Observation]:
    """Every picture decodes completely.

    A picture behind a URL is downloaded first, without the key. An item that holds no picture where the document puts one breaks it
    too: under another name no client finds it; where there are two ways to hand a picture over and delivery.exclusive is a must, that
    rule alone is broken.
    """
    for one in delivered(seen):
        for picture in one.pictures:
            if picture.info is not None and picture.info.problem is None:
                yield Observation("pass", exchanges=evidence(one, picture))
            elif picture.info is not None:
                detail = f"picture {place_of(picture)} of {picture.info.size_bytes} bytes: {picture.info.problem}"
                yield Observation("broken", detail, evidence(one, picture), picture.picture.place)
            else:
                left = picture.picture.base64 is None and picture.picture.url is None and _judged_elsewhere(scope, one)
                word = "broken" if picture.target_fault and not left else "unproven"
                detail = f"picture {place_of(picture)}{':' if (picture.missing or '').startswith('its ') else ''} {picture.missing}"
                yield Observation(word, detail, evidence(one, picture), picture.picture.place)  # type: ignore[arg-type]


@rule("image.base64-strict", level="should", clause=_RFC_4648, applies=_in_base64, asks=probes.base)
def base64_strict(scope: Scope, seen: Sequence[SeenExchange]) -> Iterable[Observation]:
    """Base64 is standard: no data: prefix, no line breaks, no letters of the URL alphabet, padded at its end.

    Text that is no base64 in any reading is judged by image.decodes. Needs no request of its own.
    """
    for one in delivered(seen):
        for picture in one.pictures:
            text, place = picture.picture.base64, picture.picture.place
            if text is not None and (scope.profile.response.data_url or _either_way(scope)):
                # A data URL is what is promised, or may come as well as an address: what stands behind its head is base64.
                text = text.partition(";base64,")[2] if text.startswith("data:") else text
            if text is None:
                continue
            if strict_base64(text) is not None:
                yield Observation("pass", exchanges=(one.id,))
            elif lenient_base64(text) is None:
                yield Observation("unproven", f"picture {place_of(picture)} is not base64", (one.id,))
            else:
                yield Observation("broken", f"picture {place_of(picture)} {_looseness(text)}", (one.id,), place)


def _either_way(scope: Scope) -> bool:
    """Whether base64 and addresses have one place, so that the server chooses."""
    response = scope.profile.response
    return response.base64 is not None and response.base64 == response.url


def _judged_elsewhere(scope: Scope, one: SeenExchange) -> bool:
    """Whether that there is no picture breaks another must already: of a task, of an answer that is no JSON, of one that keeps a single
    picture (answer.required-fields), of a place for each of two ways (delivery.exclusive)."""
    response = scope.profile.response
    reads = one.answer is not None and isinstance(one.answer.json, dict | list)
    if one.polls or not reads or "*" not in (response.pictures or ""):
        return True
    if response.base64 is None or response.url is None or response.base64 == response.url:
        return False
    entry = scope.provider.rule_entry("delivery.exclusive", scope.operation_id)
    return entry is None or entry.level in (None, "must")


def _looseness(text: str) -> str:
    """In what way base64 that can be read is not standard."""
    if text.startswith("data:"):
        return "begins with data:"
    if any(letter.isspace() for letter in text):
        return "holds line breaks or spaces"
    return "uses the URL alphabet" if "-" in text or "_" in text else "is not padded to a multiple of four letters"


@rule("image.size", level="must", clause=openai_clause("Create image · size"), applies=_sized, asks=probes.sizes)
def size(scope: Scope, seen: Sequence[SeenExchange]) -> Iterable[Observation]:
    """A picture has the width and height that were asked for, or the documented default."""
    for one in delivered(seen):
        wanted = _wanted_size(scope, one)
        if wanted is None:
            continue
        yield from undecoded(one)
        for picture, info in decoded(one):
            if (info.width_px, info.height_px) == wanted:
                yield Observation("pass", exchanges=(one.id,))
            else:
                detail = f"{wanted[0]}x{wanted[1]} was asked for, the picture is {info.width_px}x{info.height_px}"
                yield Observation("broken", detail, evidence(one, picture), picture.picture.place)


def _wanted_size(scope: Scope, one: SeenExchange) -> tuple[int, int] | None:
    asked = one.asked.get("size")
    if asked is None and one.asked.get("task") != "edit":
        asked = with_defaults(scope.provider, scope.operation_id, one.asked, "size") or scope.profile.response.default_size
    if isinstance(asked, list | tuple) and len(asked) == 2:
        return int(asked[0]), int(asked[1])
    return pixel_size(asked)


@rule("image.format", level="must", clause=openai_clause("Create image · output_format"), applies=gives_pictures, asks=probes.formats)
def picture_format(scope: Scope, seen: Sequence[SeenExchange]) -> Iterable[Observation]:
    """A picture is in the format that was asked for, and in the one that the answer names.

    Where none was asked for, any format that the document allows is right.
    """
    allowed = scope.profile.response.formats
    for one in delivered(seen):
        yield from undecoded(one)
        wanted = _KNOWN_FORMATS.get(str(one.asked.get("format")).lower())
        stated = _KNOWN_FORMATS.get(str(one.answer.echoes.get("format")).lower()) if one.answer else None
        for picture, info in decoded(one):
            where = evidence(one, picture)
            if wanted is not None and info.format != wanted:
                yield Observation("broken", f"{wanted} was asked for, the picture is {info.format}", where, picture.picture.place)
            elif stated is not None and info.format != stated:
                yield Observation("broken", f"the answer says {stated}, the picture is {info.format}", where, picture.picture.place)
            elif wanted is None and info.format not in allowed:
                detail = f"the picture is {info.format}; documented are {', '.join(allowed)}"
                yield Observation("broken", detail, where, picture.picture.place)
            else:
                yield Observation("pass", exchanges=(one.id,))


# ── what they show ────────────────────────────────────────────────────────────────────────────────────────────────────


#: a pixel of a transparent background is more transparent than opaque
_HALF = 128


def _counted(scope: Scope) -> bool:
    return scope.gives_pictures and scope.field("n") is not None


def _prompted(scope: Scope) -> bool:
    return scope.gives_pictures and scope.field("prompt") is not None


def _may_be_transparent(scope: Scope) -> bool:
    values = (*scope.must_accept("background"), *scope.may_refuse("background"))
    return scope.gives_pictures and "transparent" in values


#: A picture of fewer pixels may be of one colour and show all that it can.
_TOO_SMALL_TO_SHOW = 16


@rule("image.not-blank", level="should", clause=openai_clause("Create image · returns"), applies=gives_pictures, asks=probes.base)
def not_blank(scope: Scope, seen: Sequence[SeenExchange]) -> Iterable[Observation]:
    """A picture shows something: its pixels are not all alike, and not all transparent.

    A picture that the answer says was withheld proves nothing. Needs no request of its own.
    """
    for one in delivered(seen):
        yield from undecoded(one)
        for picture, info in decoded(one):
            finish = picture.picture.finish or ""
            if not info.blank:
                yield Observation("pass", exchanges=(one.id,))
            elif (info.width_px or 0) * (info.height_px or 0) < _TOO_SMALL_TO_SHOW:
                continue
            elif picture.picture.withheld:
                yield Observation("unproven", f"picture {place_of(picture)} was withheld ({finish[:40]})", (one.id,))
            else:
                detail = f"picture {place_of(picture)} of {info.width_px}x{info.height_px} pixels shows nothing"
                yield Observation("broken", detail, evidence(one, picture), picture.picture.place)


@rule("image.distinct", level="should", clause=openai_clause("Create image · n"), applies=_counted, asks=probes.several)
def distinct(scope: Scope, seen: Sequence[SeenExchange]) -> Iterable[Observation]:
    """Pictures that come in one answer differ from each other.

    Compared pixel by pixel, in the request for several pictures that image.count makes.
    """
    for one in delivered(seen):
        asked = one.asked.get("n")
        if len(one.pictures) < 2 and not (isinstance(asked, int) and asked > 1):
            continue
        pixels = [info.pixels_sha256 for _, info in shown(one)]
        if len(pixels) < 2:
            yield Observation("unproven", f"{len(pixels)} of {asked or len(one.pictures)} pictures could be compared", (one.id,))
        elif len(set(pixels)) == len(pixels):
            yield Observation("pass", exchanges=(one.id,))
        else:
            detail = f"of {len(pixels)} pictures that came together {len(set(pixels))} differ"
            yield Observation("broken", detail, (one.id,), scope.profile.response.pictures)


@rule("image.follows-prompt", level="should", clause=openai_clause("Create image · prompt"), applies=_prompted, asks=probes.another_prompt)
def follows_prompt(scope: Scope, seen: Sequence[SeenExchange]) -> Iterable[Observation]:
    """Another prompt gives another picture, under the same seed where there is one.

    Needs one picture beyond the base request's. Without a seed this only tells fixed pictures from generated ones.
    """
    for first, other in apart_by(seen, "image.follows-prompt", "prompt"):
        ids, same = (first.id, other.id), same_picture(first, other)
        if same is None:
            yield Observation("unproven", "the pictures of two prompts could not be compared", ids)
        elif same:
            yield Observation("broken", "two different prompts gave the same picture", ids)
        else:
            yield Observation("pass", exchanges=ids)


def _transparent_background(scope: Scope) -> Iterator[Probe]:
    """The base request of the first task, and the same with a transparent background."""
    if scope.task is None or not _may_be_transparent(scope):
        return
    yield from probes.base(scope, scope.task)
    request = replace(scope.base_request(scope.task), background="transparent")
    yield probes.variant(scope, "background:transparent", request, change="background transparent")


@rule(
    "image.transparent",
    level="should",
    clause=openai_clause("Create image · background"),
    applies=_may_be_transparent,
    asks=_transparent_background,
)
def transparent(scope: Scope, seen: Sequence[SeenExchange]) -> Iterable[Observation]:
    """A picture has transparent pixels where a transparent background was asked for, and none where an opaque one was.

    A server may refuse a transparent background. Needs one picture beyond the base request's.
    """
    for one in delivered(seen):
        asked = one.asked.get("background")
        if asked not in ("transparent", "opaque") or one.asked.get("format") in ("jpeg", "jpg"):
            continue
        for picture, info in shown(one):
            alpha = 255 if info.lowest_alpha is None else info.lowest_alpha
            where, place = evidence(one, picture), picture.picture.place
            if asked == "transparent" and alpha >= _HALF:
                detail = f"a transparent background was asked for; the {info.format} picture {place_of(picture)} is opaque"
                yield Observation("broken", detail, where, place)
            elif asked == "opaque" and alpha < _HALF:
                yield Observation(
                    "broken", f"an opaque background was asked for; picture {place_of(picture)} has transparent pixels", where, place
                )
            else:
                yield Observation("pass", exchanges=(one.id,))


# ── asked for by shape and resolution tier instead of pixels ──────────────────────────────────────────────────────────


#: how far width / height may be off the ratio: services round to multiples of 8, 16 or 32 pixels
RATIO_SLACK = 0.03
#: how far the area may be off that of the tier's square; the tiers' areas lie a factor of four apart
TIER_SLACK = 0.25
_RATIO = re.compile(r"([1-9][0-9]{0,3}):([1-9][0-9]{0,3})")


def _shaped(scope: Scope) -> bool:
    return scope.gives_pictures and scope.field("aspect_ratio") is not None


def _tiered(scope: Scope) -> bool:
    return scope.gives_pictures and scope.field("tier") is not None and bool(scope.profile.response.tier_edge_px)


def _ratio(value: object) -> float | None:
    """Width / height of "16:9"; None for anything else."""
    found = _RATIO.fullmatch(value) if isinstance(value, str) else None
    return int(found[1]) / int(found[2]) if found else None


def _extreme_ratios(scope: Scope) -> Iterator[Probe]:
    """The base request, and the widest and the highest documented shape: a shape that is ignored or swapped shows in those."""
    found = scope.field("aspect_ratio")
    if scope.task is None or found is None:
        return
    yield from probes.base(scope, scope.task)
    request = scope.base_request(scope.task)
    known = sorted((ratio, value) for value in scope.must_accept("aspect_ratio") if (ratio := _ratio(value)) is not None)
    for _, value in dict.fromkeys((known[0], known[-1])) if known else ():
        yield probes.variant(scope, f"aspect_ratio:{value}", replace(request, aspect_ratio=value), change=f"{found[0]} = {value}")


def _tiers(scope: Scope) -> Iterator[Probe]:
    """The base request, and the cheapest other tier whose size is known: the first that is documented."""
    found = scope.field("tier")
    if scope.task is None or found is None:
        return
    yield from probes.base(scope, scope.task)
    request = scope.base_request(scope.task)
    known = [value for value in scope.must_accept("tier") if value in scope.profile.response.tier_edge_px and value != request.tier]
    for value in known[:1]:
        yield probes.variant(scope, f"tier:{value}", replace(request, tier=value), change=f"{found[0]} = {value}")


@rule("image.ratio", level="should", clause=openai_clause("Create image · size"), applies=_shaped, asks=_extreme_ratios)
def shape(scope: Scope, seen: Sequence[SeenExchange]) -> Iterable[Observation]:
    """A picture's width and height are in the ratio that was asked for, or in the documented default, to within 3 percent.

    Needs pictures of the widest and the tallest documented shape beyond the base request's; judges every other answer as well.
    """
    for one in delivered(seen):
        asked = with_defaults(scope.provider, scope.operation_id, one.asked, "aspect_ratio")
        wanted = _ratio(asked)
        if wanted is None:
            continue
        yield from undecoded(one)
        for picture, info in decoded(one):
            if not info.width_px or not info.height_px:
                continue
            came = info.width_px / info.height_px
            if abs(came / wanted - 1) <= RATIO_SLACK:
                yield Observation("pass", exchanges=(one.id,))
            else:
                detail = f"{asked} was asked for, the picture is {info.width_px}x{info.height_px} ({came:.3g} to 1, not {wanted:.3g})"
                yield Observation("broken", detail, evidence(one, picture), picture.picture.place)


@rule("image.tier", level="should", clause=openai_clause("Create image · size"), applies=_tiered, asks=_tiers)
def tier(scope: Scope, seen: Sequence[SeenExchange]) -> Iterable[Observation]:
    """A picture has about as many pixels as the square of its resolution tier, whatever its shape.

    About: to within a quarter, where the next tier has four times as many. Needs one picture in another tier beyond the base
    request's; judges every other answer as well.
    """
    edges = scope.profile.response.tier_edge_px
    for one in delivered(seen):
        asked = with_defaults(scope.provider, scope.operation_id, one.asked, "tier")
        if asked not in edges:
            continue
        yield from undecoded(one)
        wanted = edges[asked] ** 2
        for picture, info in decoded(one):
            area = (info.width_px or 0) * (info.height_px or 0)
            if abs(area / wanted - 1) <= TIER_SLACK:
                yield Observation("pass", exchanges=(one.id,))
            else:
                detail = (
                    f"{asked} was asked for, the picture has {info.width_px}x{info.height_px} pixels, {area / wanted:.2g} times its area"
                )
                yield Observation("broken", detail, evidence(one, picture), picture.picture.place)


RULES = (
    count,
    base64_strict,
    decodes,
    size,
    picture_format,
    not_blank,
    distinct,
    follows_prompt,
    transparent,
    shape,
    tier,
)
