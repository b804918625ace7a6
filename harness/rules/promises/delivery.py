"""Rules about how pictures are handed over, and about the addresses that some of them stand behind."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal
from urllib.parse import urlsplit

from testcard.harness.rules import probes
from testcard.harness.rules.asked import with_defaults
from testcard.harness.rules.evidence import Seen, SeenPicture
from testcard.harness.rules.pictures import delivered, evidence
from testcard.harness.rules.rule import Observation, openai_clause, rule
from testcard.harness.rules.scope import Scope
from testcard.harness.runs.records import Exchange
from testcard.harness.wire.encode import fetchable
from testcard.harness.wire.model import DeliveredPicture
from testcard.harness.wire.pictures import lenient_base64, look

Way = Literal["base64", "url", "both", "neither"]
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_PICTURE_TYPES = {"image/png": "png", "image/jpeg": "jpeg", "image/jpg": "jpeg", "image/webp": "webp", "image/gif": "gif"}
#: what object stores call a file that nobody told them the type of
_ANY_BYTES = frozenset({"application/octet-stream", "binary/octet-stream"})
_SHOWN = 60  # characters of an address that a report quotes at most


def _two_ways(scope: Scope) -> bool:
    response = scope.profile.response
    return scope.gives_pictures and None not in (response.base64, response.url) and response.base64 != response.url


def _known_way(scope: Scope) -> bool:
    """Whether one can choose, or there is one way only."""
    response = scope.profile.response
    return scope.gives_pictures and (scope.field("delivery") is not None or (response.base64 is None) is not (response.url is None))


def may_give_urls(scope: Scope) -> bool:
    """Whether an answer of this operation may hold addresses of pictures."""
    return scope.gives_pictures and scope.profile.response.url is not None


def way(picture: DeliveredPicture) -> Way:
    """How a picture is really handed over, wherever it stands: an address where base64 belongs is an address."""
    if picture.base64 is not None and picture.url is not None:
        return "both"
    if picture.base64 is not None:
        return "url" if _SCHEME.match(picture.base64) else "base64"
    if picture.url is not None:
        data = None if _SCHEME.match(picture.url) or picture.url.startswith("data:") else lenient_base64(picture.url)
        return "base64" if data is not None and look(data).format is not None else "url"
    return "neither"


def _wanted(scope: Scope, one: Seen) -> Any:
    """How pictures are to be handed over: as asked, else the documented default or the only way; None where it is the server's choice."""
    response = scope.profile.response
    if scope.field("delivery") is None:
        return "base64" if response.base64 is not None else "url"
    return with_defaults(scope.provider, scope.operation_id, one.asked, "delivery")


@rule("delivery.exclusive", level="must", clause=openai_clause("The image object"), applies=_two_ways, asks=probes.deliveries)
def exclusive(scope: Scope, seen: Sequence[Seen]) -> Iterable[Observation]:
    """Each picture is handed over in exactly one way, base64 or URL.

    Shares the base requests and those for each way with delivery.as-asked.
    """
    for one in delivered(seen):
        for seen_picture in one.pictures:
            picture = seen_picture.picture
            if picture.base64 is not None and picture.url is not None:
                yield Observation("broken", f"{picture.place} holds both base64 and a URL", (one.id,), picture.place)
            elif picture.base64 is None and picture.url is None:
                yield Observation("broken", f"{picture.place} holds neither base64 nor a URL", (one.id,), picture.place)
            else:
                yield Observation("pass", exchanges=(one.id,))


@rule("delivery.as-asked", level="must", clause=openai_clause("Create image · response_format"), applies=_known_way, asks=probes.deliveries)
def as_asked(scope: Scope, seen: Sequence[Seen]) -> Iterable[Observation]:
    """Pictures come in the way that was asked for, or in the only one that is documented.

    Base64 where one could ask for a URL is noted: a service may have no URLs to give. Shares the base requests and those for
    each way with delivery.exclusive.
    """
    choice = scope.field("delivery") is not None
    for one in delivered(seen):
        wanted = _wanted(scope, one)
        for seen_picture in one.pictures if wanted is not None else ():
            picture = seen_picture.picture
            came = way(picture)
            if came not in ("base64", "url"):
                yield Observation("unproven", f"{picture.place} does not hold one of base64 and a URL", (one.id,))
            elif came == wanted:
                yield Observation("pass", exchanges=(one.id,))
            elif wanted == "base64":
                what = "was asked for" if one.asked.get("delivery") else "is documented"
                yield Observation("broken", f"{picture.place} holds a URL where base64 {what}", (one.id,), picture.place)
            else:
                what = "was asked for" if choice else "is documented"
                detail = f"{picture.place} holds base64 where a URL {what}"
                yield Observation("note" if choice else "broken", detail, (one.id,), picture.place)


def urls(scope: Scope, seen: Sequence[Seen]) -> Iterator[tuple[Seen, SeenPicture | None]]:
    """Every picture handed over by address, with its answer; None for the picture where a URL was asked for and base64 came."""
    for one in delivered(seen):
        by_url = [picture for picture in one.pictures if way(picture.picture) == "url" and picture.picture.url is not None]
        for picture in by_url:
            yield one, picture
        if not by_url and one.pictures and _wanted(scope, one) == "url":
            yield one, None


def no_url(one: Seen) -> Observation:
    """What such an answer says about addresses."""
    return Observation("unsupported", "base64 came where a URL was wanted", (one.id,))


@rule("delivery.url-absolute", level="must", clause=openai_clause("The image object · url"), applies=may_give_urls, asks=probes.deliveries)
def url_absolute(scope: Scope, seen: Sequence[Seen]) -> Iterable[Observation]:
    """The URL of a picture is an absolute http or https address.

    Shares the requests for pictures by URL with the other rules about delivery.
    """
    for one, picture in urls(scope, seen):
        if picture is None:
            yield no_url(one)
            continue
        url = picture.picture.url or ""
        if fetchable(url):
            yield Observation("pass", exchanges=(one.id,))
        else:
            shown = url if len(url) <= _SHOWN else url[: _SHOWN - 1] + "…"
            yield Observation("broken", f"{picture.picture.place} holds {_unusable(url)}: {shown}", (one.id,), picture.picture.place)


def _unusable(url: str) -> str:
    """Why an address cannot be fetched, in words."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "no address"
    if parts.scheme == "data":
        return "a data: URL"
    if not parts.scheme:
        return "a relative address"
    if parts.scheme not in ("http", "https"):
        return f"an address of the scheme {parts.scheme[:20]}"
    return "an address with a name and password" if parts.username is not None else "an address without a host"


def _downloads(scope: Scope, seen: Sequence[Seen]) -> Iterator[tuple[Seen, SeenPicture, Exchange] | Observation]:
    """Each picture by URL with the exchange that fetched it first; an observation where there is none."""
    for one, picture in urls(scope, seen):
        if picture is None:
            yield no_url(one)
        elif picture.withheld:
            yield Observation("unproven", f"{picture.picture.place} {picture.missing}", evidence(one, picture))
        elif not picture.downloads:
            yield Observation("unproven", f"{picture.picture.place}: the URL was not fetched", (one.id,))
        else:
            yield one, picture, picture.downloads[0]


def _asks_for_a_key(fetched: Exchange) -> bool:
    if fetched.response is None:
        return False
    challenged = any(name.lower() == "www-authenticate" for name, _ in fetched.response.headers)
    return fetched.response.status in (401, 407) or (fetched.response.status == 403 and challenged)


@rule("delivery.url-fetchable", level="must", clause=openai_clause("The image object · url"), applies=may_give_urls, asks=probes.deliveries)
def url_fetchable(scope: Scope, seen: Sequence[Seen]) -> Iterable[Observation]:
    """The URL of a picture answers with 200, after redirects if need be.

    A request for a key breaks delivery.url-keyless alone; silence for too long proves nothing. Shares the requests for
    pictures by URL with the other rules about delivery.
    """
    for found in _downloads(scope, seen):
        if isinstance(found, Observation):
            yield found
            continue
        one, picture, fetched = found
        ids, place = evidence(one, picture), picture.picture.place
        if fetched.response is None and fetched.failure == "timeout":
            yield Observation("unproven", f"the URL of {place} gave no answer in time", ids)
        elif fetched.response is None:
            yield Observation("broken", f"the URL of {place} gave no answer ({fetched.failure})", ids, place)
        elif _asks_for_a_key(fetched) or fetched.response.status == 429:
            yield Observation("unproven", f"the URL of {place} answered with status {fetched.response.status}", ids)
        elif fetched.response.status != 200 or not fetched.response.complete:
            what = f"status {fetched.response.status}" if fetched.response.status != 200 else "a body cut short"
            yield Observation("broken", f"the URL of {place} answered with {what}", ids, place)
        else:
            yield Observation("pass", exchanges=ids)


@rule("delivery.url-keyless", level="should", clause=openai_clause("The image object · url"), applies=may_give_urls, asks=probes.deliveries)
def url_keyless(scope: Scope, seen: Sequence[Seen]) -> Iterable[Observation]:
    """The URL of a picture can be fetched without the key.

    The key is never sent to an address that an answer names. Shares the requests for pictures by URL with the other rules
    about delivery.
    """
    for found in _downloads(scope, seen):
        if isinstance(found, Observation):
            yield found
            continue
        one, picture, fetched = found
        ids, place = evidence(one, picture), picture.picture.place
        if fetched.response is not None and _asks_for_a_key(fetched):
            yield Observation("broken", f"the URL of {place} asks for a key: status {fetched.response.status}", ids, place)
        elif fetched.response is not None and fetched.response.status == 200:
            yield Observation("pass", exchanges=ids)
        else:
            yield Observation("unproven", f"the URL of {place} did not answer with 200", ids)


@rule("delivery.url-is-image", level="must", clause=openai_clause("The image object · url"), applies=may_give_urls, asks=probes.deliveries)
def url_is_image(scope: Scope, seen: Sequence[Seen]) -> Iterable[Observation]:
    """The URL of a picture gives a picture, under a media type that fits it.

    A picture under a wrong media type counts as a deviation at most; bytes of unknown type are taken for what they are.
    Whether the picture decodes to its end is for image.decodes. Shares the requests for pictures by URL with the other rules
    about delivery.
    """
    for found in _downloads(scope, seen):
        if isinstance(found, Observation):
            yield found
            continue
        one, picture, fetched = found
        ids, place = evidence(one, picture), picture.picture.place
        if fetched.response is None or fetched.response.status != 200 or not fetched.response.complete:
            yield Observation("unproven", f"the URL of {place} did not answer with 200", ids)
            continue
        named = next((value for name, value in fetched.response.headers if name.lower() == "content-type"), "")
        media_type = named.partition(";")[0].strip().lower()
        if picture.info is None:
            what = media_type or "bytes of no stated type"
            detail = f"the URL of {place} gives {what}, {fetched.response.body.size} bytes that are no picture"
            yield Observation("broken", detail, ids, place)
        elif media_type and media_type not in _ANY_BYTES and _PICTURE_TYPES.get(media_type) != picture.info.format:
            yield Observation("broken", f"the URL of {place} gives a {picture.info.format} picture as {media_type}", ids, place, "should")
        else:
            yield Observation("pass", exchanges=ids)


RULES = (exclusive, as_asked, url_absolute, url_fetchable, url_keyless, url_is_image)
