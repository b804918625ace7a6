"""Rules about how pictures are handed over."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from testcard.harness.rules import probes
from testcard.harness.rules.asked import with_defaults
from testcard.harness.rules.evidence import Seen
from testcard.harness.rules.rule import Observation, openai_clause, rule
from testcard.harness.rules.scope import Scope


def _two_ways(scope: Scope) -> bool:
    response = scope.profile.response
    return scope.gives_pictures and None not in (response.base64, response.url) and response.base64 != response.url


def _default(scope: Scope) -> Any:
    """How pictures are handed over to who does not choose, where the document says so."""
    return with_defaults(scope.provider, scope.operation_id, {}, "delivery")


@rule("delivery.exclusive", level="must", clause=openai_clause("The image object"), applies=_two_ways, asks=probes.deliveries)
def exclusive(scope: Scope, seen: Sequence[Seen]) -> Iterable[Observation]:
    """Each picture is handed over in exactly one way, base64 or URL, and as base64 where base64 was asked for.

    Base64 where a URL was asked for is noted: a service may have no URLs to give.
    """
    for one in seen:
        if not one.carried_out or one.waiting is not None:
            continue
        wanted = one.asked.get("delivery") or scope.profile.response.default_delivery
        chosen = one.asked.get("delivery") is not None
        for seen_picture in one.pictures:
            picture = seen_picture.picture
            if picture.base64 is not None and picture.url is not None:
                yield Observation("broken", f"{picture.place} holds both base64 and a URL", (one.id,), picture.place)
            elif picture.base64 is None and picture.url is None:
                yield Observation("broken", f"{picture.place} holds neither base64 nor a URL", (one.id,), picture.place)
            elif wanted == "base64" and picture.url is not None and (chosen or _default(scope) == "base64"):
                yield Observation("broken", f"{picture.place} holds a URL where base64 was asked for", (one.id,), picture.place)
            elif wanted == "url" and picture.base64 is not None:
                yield Observation("note", f"{picture.place} holds base64 where a URL was asked for", (one.id,), picture.place)
            else:
                yield Observation("pass", exchanges=(one.id,))


RULES = (exclusive,)
