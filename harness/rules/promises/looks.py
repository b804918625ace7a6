"""Rules about what pictures show, as far as that can be told without taste: something, something else each time, what was asked for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from testcard.harness.rules import probes
from testcard.harness.rules.evidence import Seen
from testcard.harness.rules.pictures import apart_by, decoded, delivered, evidence, gives_pictures, place_of, same_picture, shown, undecoded
from testcard.harness.rules.rule import Observation, Probe, openai_clause, rule
from testcard.harness.rules.scope import Scope

#: a pixel of a transparent background is more transparent than opaque
_HALF = 128
#: what services call a picture that they withheld
_WITHHELD = ("filter", "safety", "moderat", "block")


def _counted(scope: Scope) -> bool:
    return scope.gives_pictures and scope.field("n") is not None


def _prompted(scope: Scope) -> bool:
    return scope.gives_pictures and scope.field("prompt") is not None


def _may_be_transparent(scope: Scope) -> bool:
    values = (*scope.must_accept("background"), *scope.may_refuse("background"))
    return scope.gives_pictures and "transparent" in values


@rule("image.not-blank", level="should", clause=openai_clause("Create image · returns"), applies=gives_pictures, asks=probes.base)
def not_blank(scope: Scope, seen: Sequence[Seen]) -> Iterable[Observation]:
    """A picture shows something: not all of its pixels are alike, and not all are transparent.

    One that the answer says was withheld proves nothing. Shares every answer with pictures.
    """
    for one in delivered(seen):
        yield from undecoded(one)
        for picture, info in decoded(one):
            finish = picture.picture.finish or ""
            if not info.blank:
                yield Observation("pass", exchanges=(one.id,))
            elif any(word in finish.lower() for word in _WITHHELD):
                yield Observation("unproven", f"picture {place_of(picture)} was withheld ({finish[:40]})", (one.id,))
            else:
                detail = f"picture {place_of(picture)} of {info.width_px}x{info.height_px} pixels shows nothing"
                yield Observation("broken", detail, evidence(one, picture), picture.picture.place)


@rule("image.distinct", level="should", clause=openai_clause("Create image · n"), applies=_counted, asks=probes.several)
def distinct(scope: Scope, seen: Sequence[Seen]) -> Iterable[Observation]:
    """Pictures that come together differ from each other.

    Compared pixel by pixel. Shares the request for several pictures with image.count.
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
def follows_prompt(scope: Scope, seen: Sequence[Seen]) -> Iterable[Observation]:
    """Another prompt gives another picture, under the same seed where there is one.

    Asks for one picture beyond the base request's. Without a seed this tells only canned pictures apart from drawn ones.
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
def transparent(scope: Scope, seen: Sequence[Seen]) -> Iterable[Observation]:
    """A picture has transparent pixels where a transparent background was asked for, and none where an opaque one was.

    A server may refuse a transparent background. Asks for one picture beyond the base request's.
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


RULES = (not_blank, distinct, follows_prompt, transparent)
