"""Rules about the pictures that come back. Pictures that do not decode break image.decodes alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from testcard.harness.rules import probes
from testcard.harness.rules.asked import parse_size, with_defaults
from testcard.harness.rules.evidence import Seen
from testcard.harness.rules.pictures import decoded, delivered, evidence, gives_pictures, place_of, undecoded
from testcard.harness.rules.rule import Observation, openai_clause, rule
from testcard.harness.rules.scope import Scope
from testcard.harness.wire.pictures import lenient_base64, strict_base64
from testcard.specs.profile import Clause

_KNOWN_FORMATS = {"png": "png", "jpeg": "jpeg", "jpg": "jpeg", "webp": "webp"}


#: Where base64 is what the rule says, whoever sends it.
_RFC_4648 = Clause(document="RFC 4648", heading="4 Base 64 Encoding", source="http")


def _in_base64(scope: Scope) -> bool:
    return scope.gives_pictures and scope.profile.response.base64 is not None


def _sized(scope: Scope) -> bool:
    return scope.gives_pictures and (scope.field("size") is not None or scope.field("width") is not None)


@rule("image.count", level="must", clause=openai_clause("Create image · n"), applies=gives_pictures, asks=probes.several)
def count(scope: Scope, seen: Sequence[Seen]) -> Iterable[Observation]:
    """As many pictures come back as were asked for.

    Where the operation has no field for a number, one request is answered with one picture.
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
def decodes(scope: Scope, seen: Sequence[Seen]) -> Iterable[Observation]:
    """Every picture decodes completely.

    A picture that stands behind a URL is fetched without the key first.
    """
    for one in delivered(seen):
        for picture in one.pictures:
            if picture.info is not None and picture.info.problem is None:
                yield Observation("pass", exchanges=evidence(one, picture))
            elif picture.info is not None:
                detail = f"picture {place_of(picture)} of {picture.info.size_bytes} bytes: {picture.info.problem}"
                yield Observation("broken", detail, evidence(one, picture), picture.picture.place)
            else:
                word = "broken" if picture.target_fault else "unproven"
                detail = f"picture {place_of(picture)} {picture.missing}"
                yield Observation(word, detail, evidence(one, picture), picture.picture.place)  # type: ignore[arg-type]


@rule("image.base64-strict", level="should", clause=_RFC_4648, applies=_in_base64, asks=probes.base)
def base64_strict(scope: Scope, seen: Sequence[Seen]) -> Iterable[Observation]:
    """Base64 is standard: no data: prefix, no line breaks, no letters of the URL alphabet, padded to its end.

    What no reading makes base64 of is for image.decodes. Shares every answer with pictures in base64.
    """
    for one in delivered(seen):
        for picture in one.pictures:
            text, place = picture.picture.base64, picture.picture.place
            if text is None:
                continue
            if strict_base64(text) is not None:
                yield Observation("pass", exchanges=(one.id,))
            elif lenient_base64(text) is None:
                yield Observation("unproven", f"picture {place_of(picture)} is not base64", (one.id,))
            else:
                yield Observation("broken", f"picture {place_of(picture)} {_looseness(text)}", (one.id,), place)


def _looseness(text: str) -> str:
    """In what way base64 that can be read is not standard."""
    if text.startswith("data:"):
        return "begins with data:"
    if any(letter.isspace() for letter in text):
        return "holds line breaks or spaces"
    return "uses the URL alphabet" if "-" in text or "_" in text else "is not padded to a multiple of four letters"


@rule("image.size", level="must", clause=openai_clause("Create image · size"), applies=_sized, asks=probes.sizes)
def size(scope: Scope, seen: Sequence[Seen]) -> Iterable[Observation]:
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


def _wanted_size(scope: Scope, one: Seen) -> tuple[int, int] | None:
    asked = one.asked.get("size")
    if asked is None and one.asked.get("task") != "edit":
        asked = with_defaults(scope.provider, scope.operation_id, one.asked, "size") or scope.profile.response.default_size
    if isinstance(asked, list | tuple) and len(asked) == 2:
        return int(asked[0]), int(asked[1])
    return parse_size(asked)


@rule("image.format", level="must", clause=openai_clause("Create image · output_format"), applies=gives_pictures, asks=probes.formats)
def picture_format(scope: Scope, seen: Sequence[Seen]) -> Iterable[Observation]:
    """A picture is in the format that was asked for, and in the one that the answer says it is in.

    Where none was asked for, any format that the document allows will do.
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


RULES = (count, base64_strict, decodes, size, picture_format)
