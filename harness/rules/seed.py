"""Rules about seeds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from testcard.harness.rules import probes
from testcard.harness.rules.evidence import Seen
from testcard.harness.rules.rule import Observation, openai_clause, rule
from testcard.harness.rules.scope import Scope


def _has_a_seed(scope: Scope) -> bool:
    return scope.gives_pictures and scope.field("seed") is not None


@rule("seed.repeatable", level="should", clause=openai_clause("seed"), applies=_has_a_seed, asks=probes.seed_pair)
def repeatable(scope: Scope, seen: Sequence[Seen]) -> Iterable[Observation]:
    """The same seed with the same parameters gives the same pixels, picture by picture."""
    groups: dict[tuple[str, str, str], list[Seen]] = {}
    for one in seen:
        request = one.exchange.request
        if one.carried_out and one.waiting is None and one.asked.get("seed") is not None:
            content = request.body.text or request.body.base64 or request.body.sha256 or ""
            groups.setdefault((request.method, request.url, content), []).append(one)
    for group in groups.values():
        first, *others = group
        for other in others:
            yield _compared(first, other)


def _compared(first: Seen, other: Seen) -> Observation:
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


RULES = (repeatable,)
