"""Rules about pictures that are asked for by shape and resolution tier instead of pixels."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from testcard.harness.rules import probes
from testcard.harness.rules.asked import with_defaults
from testcard.harness.rules.evidence import Seen
from testcard.harness.rules.pictures import decoded, delivered, evidence, undecoded
from testcard.harness.rules.rule import Observation, Probe, openai_clause, rule
from testcard.harness.rules.scope import Scope

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
def shape(scope: Scope, seen: Sequence[Seen]) -> Iterable[Observation]:
    """A picture's width and height stand in the ratio that was asked for, or the documented default, within 3 percent.

    Asks for the widest and the highest documented shape beyond the base request; judges every other answer as well.
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
def tier(scope: Scope, seen: Sequence[Seen]) -> Iterable[Observation]:
    """A picture has about as many pixels as the square that its resolution tier stands for, whatever its shape.

    About: within a quarter, where the next tier has four times as many. Asks for one tier beyond the base request's; judges
    every other answer as well.
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


RULES = (shape, tier)
