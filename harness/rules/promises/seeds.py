"""Rules about seeds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from testcard.harness.rules import probes
from testcard.harness.rules.evidence import Observation, SeenExchange, apart_by, delivered, place_of, same_picture
from testcard.harness.rules.rule import Probe, openai_clause, rule
from testcard.harness.rules.scope import Scope


def _has_a_seed(scope: Scope) -> bool:
    return scope.gives_pictures and scope.field("seed") is not None


@rule("seed.repeatable", level="should", clause=openai_clause("seed"), applies=_has_a_seed, asks=probes.seed_pair)
def repeatable(scope: Scope, seen: Sequence[SeenExchange]) -> Iterable[Observation]:
    """The same seed with the same parameters gives the same pixels, picture by picture."""
    groups: dict[tuple[str, str, str], list[SeenExchange]] = {}
    for one in seen:
        request = one.exchange.request
        if one.carried_out and one.waiting is None and one.asked.get("seed") is not None:
            content = request.body.text or request.body.base64 or request.body.sha256 or ""
            groups.setdefault((request.method, request.url, content), []).append(one)
    for group in groups.values():
        first, *others = group
        for other in others:
            yield _compared(first, other)


def _compared(first: SeenExchange, other: SeenExchange) -> Observation:
    ids = (first.id, other.id)
    if len(first.pictures) != len(other.pictures) or not first.pictures:
        return Observation("unproven", f"{len(first.pictures)} and {len(other.pictures)} pictures came", ids)
    differing = 0
    for one, two in zip(first.pictures, other.pictures, strict=True):
        if one.info is None or two.info is None or one.info.problem or two.info.problem:
            return Observation("unproven", "a picture of the pair could not be looked at", ids)
        differing += one.info.pixels_sha256 != two.info.pixels_sha256
    if differing:
        seed = first.asked["seed"]
        return Observation("broken", f"{differing} of {len(first.pictures)} pictures differ although seed {seed} was sent twice", ids)
    return Observation("pass", exchanges=ids)


def _another_seed(scope: Scope) -> Iterator[Probe]:
    """The base request of the first task, and the same with another seed."""
    if scope.task is None or scope.field("seed") is None:
        return
    yield from probes.base(scope, scope.task)
    request = scope.base_request(scope.task)
    if request.seed is not None:
        yield probes.variant(scope, "seed:another", replace(request, seed=request.seed + 1), change=f"seed {request.seed + 1}")


@rule("seed.varies", level="should", clause=openai_clause("seed"), applies=_has_a_seed, asks=_another_seed)
def varies(scope: Scope, seen: Sequence[SeenExchange]) -> Iterable[Observation]:
    """Another seed gives another picture.

    Needs one picture beyond the base request's.
    """
    for first, other in apart_by(seen, "seed.varies", "seed"):
        ids, same = (first.id, other.id), same_picture(first, other)
        if same is None:
            yield Observation("unproven", "the pictures of two seeds could not be compared", ids)
        elif same:
            yield Observation("broken", f"the seeds {first.asked['seed']} and {other.asked['seed']} gave the same picture", ids)
        else:
            yield Observation("pass", exchanges=ids)


def _says_its_seed(scope: Scope) -> bool:
    return _has_a_seed(scope) and scope.profile.response.item_seed is not None


@rule("seed.echoed", level="info", clause=openai_clause("seed"), applies=_says_its_seed, asks=probes.base)
def echoed(scope: Scope, seen: Sequence[SeenExchange]) -> Iterable[Observation]:
    """The answer names the seed that was asked for, beside the first picture.

    Of several pictures, the others may have seeds of their own. Needs no request of its own.
    """
    for one in delivered(seen):
        asked = one.asked.get("seed")
        if not isinstance(asked, int) or not one.pictures:
            continue
        first = one.pictures[0]
        if first.picture.seed is None:
            yield Observation("unsupported", "the answer does not say a seed", (one.id,))
        elif first.picture.seed == asked:
            yield Observation("pass", exchanges=(one.id,))
        else:
            detail = f"seed {asked} was asked for, picture {place_of(first)} says {first.picture.seed}"
            yield Observation("broken", detail, (one.id,), first.picture.place)


RULES = (repeatable, varies, echoed)
