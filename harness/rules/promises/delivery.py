"""Rules about how pictures are handed over, and about the addresses that some of them stand behind: what they are, that they answer, how long they last."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from testcard.harness.rules import probes
from testcard.harness.rules.evidence import Observation, SeenExchange, SeenPicture, answered_at, delivered, evidence
from testcard.harness.rules.rule import openai_clause, rule
from testcard.harness.rules.scope import Scope
from testcard.harness.runs.records import Exchange
from testcard.harness.text.words import shortened, time_span
from testcard.harness.wire.addresses import fetchable
from testcard.harness.wire.fields import with_defaults
from testcard.harness.wire.pictures import MEDIA_TYPES, way

_PICTURE_TYPES = {"image/jpg": "jpeg", **{media_type: kind for kind, media_type in MEDIA_TYPES.items()}}
#: what object stores call a file that nobody told them the type of
_ANY_BYTES = frozenset({"application/octet-stream", "binary/octet-stream"})
_WAYS = {"binary": "a body of its own", "base64": "base64 in JSON", "url": "an address"}
_SHOWN = 60  # characters of an address that a report quotes at most


def _two_ways(scope: Scope) -> bool:
    response = scope.profile.response
    return scope.gives_pictures and None not in (response.base64, response.url) and response.base64 != response.url


def _known_way(scope: Scope) -> bool:
    """Whether one can choose, or there is one way only."""
    response = scope.profile.response
    one_way = bool(response.binary) or (response.base64 is None) is not (response.url is None)
    return scope.gives_pictures and (scope.field("delivery") is not None or one_way)


def may_give_urls(scope: Scope) -> bool:
    """Whether an answer of this operation may hold addresses of pictures."""
    return scope.gives_pictures and scope.profile.response.url is not None


def _wanted(scope: Scope, one: SeenExchange) -> Any:
    """How pictures are to be handed over: as asked, else the documented default or the only way; None where it is the server's choice."""
    response = scope.profile.response
    if one.asked.get("stream") is True:
        return None  # the events of a stream have their own places
    if response.binary or response.accept:
        return one.asked.get("delivery") or response.default_delivery
    if scope.field("delivery") is None:
        return "base64" if response.base64 is not None else "url"
    return with_defaults(scope.provider, scope.operation_id, one.asked, "delivery")


@rule("delivery.exclusive", level="must", clause=openai_clause("The image object"), applies=_two_ways, asks=probes.deliveries)
def exclusive(scope: Scope, seen: Sequence[SeenExchange]) -> Iterable[Observation]:
    """Each picture is delivered in exactly one way, as base64 or as a URL.

    Shares the base requests, and those for each way, with delivery.as-asked.
    """
    for one in delivered(seen):
        for seen_picture in one.pictures:
            picture = seen_picture.picture
            if picture.base64 is not None and picture.url is not None:
                yield Observation("broken", f"{picture.place} holds both base64 and a URL", (one.id,), picture.place)
            elif picture.base64 is None and picture.url is None and picture.data is None:
                yield Observation("broken", f"{picture.place} holds neither base64 nor a URL", (one.id,), picture.place)
            else:
                yield Observation("pass", exchanges=(one.id,))


@rule("delivery.as-asked", level="must", clause=openai_clause("Create image · response_format"), applies=_known_way, asks=probes.deliveries)
def as_asked(scope: Scope, seen: Sequence[SeenExchange]) -> Iterable[Observation]:
    """Pictures come in the way that was asked for, or in the only one that is documented.

    Base64 where a URL could be asked for is only noted: a service may have no URLs to give. Shares the base requests, and those
    for each way, with delivery.exclusive.
    """
    choice = scope.field("delivery") is not None
    for one in delivered(seen):
        wanted = _wanted(scope, one)
        for seen_picture in one.pictures if wanted is not None else ():
            picture = seen_picture.picture
            came = way(picture)
            if came not in ("base64", "url", "binary"):
                yield Observation("unproven", f"{picture.place} does not hold one of base64 and a URL", (one.id,))
            elif came == wanted:
                yield Observation("pass", exchanges=(one.id,))
            elif "binary" in (came, wanted):
                detail = f"the picture came as {_WAYS[came]} where {_WAYS[wanted]} was asked for or is documented"
                yield Observation("broken", detail, (one.id,), picture.place)
            elif wanted == "base64":
                what = "was asked for" if one.asked.get("delivery") else "is documented"
                yield Observation("broken", f"{picture.place} holds a URL where base64 {what}", (one.id,), picture.place)
            else:
                what = "was asked for" if choice else "is documented"
                detail = f"{picture.place} holds base64 where a URL {what}"
                yield Observation("note" if choice else "broken", detail, (one.id,), picture.place)


def urls(scope: Scope, seen: Sequence[SeenExchange]) -> Iterator[tuple[SeenExchange, SeenPicture | None]]:
    """Every picture handed over by address, with its answer; None for the picture where base64 came instead."""
    for one in delivered(seen):
        by_url = [picture for picture in one.pictures if way(picture.picture) == "url" and picture.picture.url is not None]
        for picture in by_url:
            yield one, picture
        if not by_url and one.pictures and (scope.field("delivery") is None or _wanted(scope, one) == "url"):
            yield one, None


def no_url(scope: Scope, one: SeenExchange) -> Observation:
    """What such an answer says about addresses."""
    why = "where a URL was wanted" if scope.field("delivery") is not None else "and no field asks for a URL"
    return Observation("unsupported", f"base64 came {why}", (one.id,))


@rule("delivery.url-absolute", level="must", clause=openai_clause("The image object · url"), applies=may_give_urls, asks=probes.deliveries)
def url_absolute(scope: Scope, seen: Sequence[SeenExchange]) -> Iterable[Observation]:
    """The URL of a picture is an absolute http or https address.

    Shares the requests for pictures by URL with the other rules about delivery.
    """
    for one, picture in urls(scope, seen):
        if picture is None:
            yield no_url(scope, one)
            continue
        url = picture.picture.url or ""
        if fetchable(url):
            yield Observation("pass", exchanges=(one.id,))
        else:
            detail = f"{picture.picture.place} holds {_unusable(url)}: {shortened(url, _SHOWN)}"
            yield Observation("broken", detail, (one.id,), picture.picture.place)


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


def _downloads(scope: Scope, seen: Sequence[SeenExchange]) -> Iterator[tuple[SeenExchange, SeenPicture, Exchange] | Observation]:
    """Each picture by URL with the exchange that fetched it first; an observation where there is none."""
    for one, picture in urls(scope, seen):
        if picture is None:
            yield no_url(scope, one)
        elif picture.withheld:
            yield Observation("unproven", f"{picture.picture.place} {picture.missing}", evidence(one, picture))
        elif not picture.downloads:
            yield Observation("unproven", f"{picture.picture.place}: the URL was not fetched", (one.id,))
        else:
            yield one, picture, picture.downloads[0]


def _asks_for_a_key(fetched: Exchange) -> bool:
    if fetched.response is None:
        return False
    challenged = fetched.response.header("www-authenticate") is not None
    return fetched.response.status in (401, 407) or (fetched.response.status == 403 and challenged)


@rule("delivery.url-fetchable", level="must", clause=openai_clause("The image object · url"), applies=may_give_urls, asks=probes.deliveries)
def url_fetchable(scope: Scope, seen: Sequence[SeenExchange]) -> Iterable[Observation]:
    """The URL of a picture answers with 200, after redirects if need be.

    A URL that asks for a key breaks delivery.url-keyless instead; no answer in time proves nothing. Shares the requests for
    pictures by URL with the other rules about delivery.
    """
    for found in _downloads(scope, seen):
        if isinstance(found, Observation):
            yield found
            continue
        one, picture, fetched = found
        ids, place = evidence(one, picture), picture.picture.place
        if fetched.response is None and fetched.failure in ("timeout", "given-up"):
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
def url_keyless(scope: Scope, seen: Sequence[SeenExchange]) -> Iterable[Observation]:
    """The URL of a picture can be downloaded without the key.

    The key is never sent to an address that an answer names. Shares the requests for pictures by URL with the other rules about
    delivery.
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
def url_is_image(scope: Scope, seen: Sequence[SeenExchange]) -> Iterable[Observation]:
    """The URL of a picture returns a picture, with a media type that matches it.

    A picture with a wrong media type counts as a deviation at most; application/octet-stream matches any. Whether the picture
    decodes to its end is judged by image.decodes. Shares the requests for pictures by URL with the other rules about delivery.
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
        media_type = fetched.response.media_type
        if picture.info is None:
            what = media_type or "bytes of no stated type"
            detail = f"the URL of {place} gives {what}, {fetched.response.body.size} bytes that are no picture"
            yield Observation("broken", detail, ids, place)
        elif media_type and media_type not in _ANY_BYTES and _PICTURE_TYPES.get(media_type) != picture.info.format:
            yield Observation("broken", f"the URL of {place} gives a {picture.info.format} picture as {media_type}", ids, place, "should")
        else:
            yield Observation("pass", exchanges=ids)


# ── how long addresses last ───────────────────────────────────────────────────────────────────────────────────────────


URL_LIFETIME = "delivery.url-lifetime"
#: documents say "about an hour" and "7 days": so much of that has to be there
ABOUT = 0.75
#: query parameters that give the end, in Unix seconds or milliseconds (CloudFront, S3 and GCS of old, many others)
_ENDS = ("expires", "exp", "expiry", "expires_at", "expire")
#: the prefixes of a signing date and a number of seconds (S3 and those like it, GCS)
_SIGNED = ("x-amz-", "x-goog-")
_FIRST_UNIX_TIME, _FIRST_IN_MS = 1e9, 1e12


def _has_a_lifetime(scope: Scope) -> bool:
    return may_give_urls(scope) and scope.profile.response.url_lifetime_s is not None


def stated_lifetime_s(url: str, now: float | None) -> float | None:
    """Seconds from `now` (Unix time) to the end that a signed address states; None where it states none.

    Without `now`, the lifetime that addresses state which give the time of signing as well.
    """
    try:
        query = {name.lower(): value for name, value in parse_qsl(urlsplit(url).query)}
    except ValueError:
        return None
    for prefix in _SIGNED:
        signed, lasts = _compact_time(query.get(f"{prefix}date")), _number(query.get(f"{prefix}expires"))
        if lasts is not None:
            return lasts if signed is None or now is None else signed + lasts - now
    ends = _end(query)
    return ends - now if ends is not None and now is not None else None


def _end(query: Mapping[str, str]) -> float | None:
    for name in _ENDS:
        value = _number(query.get(name))
        if value is not None and value >= _FIRST_UNIX_TIME:
            return value / 1000 if value >= _FIRST_IN_MS else value
    if "sig" in query and "se" in query:  # Azure's shared access signature
        try:
            moment = datetime.fromisoformat(query["se"])
        except ValueError:
            return None
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    return None


def _number(text: str | None) -> float | None:
    return float(text) if text is not None and text.isascii() and text.isdigit() and len(text) <= 16 else None


def _compact_time(text: str | None) -> float | None:
    try:
        return datetime.strptime(text or "", "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
    except ValueError:
        return None


def _in_hand_at(scope: Scope, one: SeenExchange, picture: SeenPicture) -> float | None:
    """Unix time at which the address was in hand: by the server's clock where it names one, else by the run's."""
    for exchange in (one.exchange, *picture.downloads):
        said = answered_at(exchange)
        if said is not None:
            return said
    return None if scope.started is None else scope.started + one.exchange.done_s


@rule(URL_LIFETIME, level="must", clause=openai_clause("The image object · url"), applies=_has_a_lifetime, asks=probes.deliveries)
def url_lifetime(scope: Scope, seen: Sequence[SeenExchange]) -> Iterable[Observation]:
    """The URL of a picture works for about as long as the document says.

    About: three quarters of that time. Judged by the end that a signed URL states, and by downloading one URL of the operation
    again when everything else of a check is done. Shares the requests for pictures by URL with the other rules about delivery.
    """
    promised_s = scope.profile.response.url_lifetime_s or 0.0
    for one, picture in urls(scope, seen):
        if picture is None:
            yield no_url(scope, one)
            continue
        stated_s = stated_lifetime_s(picture.picture.url or "", _in_hand_at(scope, one, picture))
        later = list(_later(one, picture, promised_s))
        yield from later
        if stated_s is None and not later:
            yield Observation("unproven", f"the URL of {picture.picture.place} does not say when it ends", (one.id,))
        elif stated_s is not None and stated_s >= ABOUT * promised_s:
            yield Observation("pass", exchanges=(one.id,))
        elif stated_s is not None:
            detail = f"the URL of {picture.picture.place} ends after {time_span(stated_s)}, {time_span(promised_s)} are documented"
            yield Observation("broken", detail, (one.id,), picture.picture.place)


def _later(one: SeenExchange, picture: SeenPicture, promised_s: float) -> Iterator[Observation]:
    """What fetching the address again shows, where it answered before and should still."""
    for again in picture.downloads[1:]:
        age_s = again.sent_s - one.exchange.done_s
        status = again.response.status if again.response is not None else None
        ids = (one.id, again.id)
        if age_s > ABOUT * promised_s:
            continue
        if status == 200:
            yield Observation("pass", exchanges=ids)
        elif status in (403, 404, 410):
            detail = f"the URL of {picture.picture.place} answered with {status} after {time_span(age_s)}, {time_span(promised_s)} are documented"
            yield Observation("broken", detail, ids, picture.picture.place)
        else:
            what = f"status {status}" if status is not None else f"no answer ({again.failure})"
            yield Observation("unproven", f"the URL of {picture.picture.place} gave {what} the second time", ids)


RULES = (
    exclusive,
    as_asked,
    url_absolute,
    url_fetchable,
    url_keyless,
    url_is_image,
    url_lifetime,
)
