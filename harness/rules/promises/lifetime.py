"""The rule about how long addresses of pictures last, by what they say themselves and by fetching one once more."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import parse_qsl, urlsplit

from testcard.harness.rules import probes
from testcard.harness.rules.evidence import Seen, SeenPicture
from testcard.harness.rules.promises.delivery import may_give_urls, no_url, urls
from testcard.harness.rules.rule import Observation, openai_clause, rule
from testcard.harness.rules.scope import Scope

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


def _answered_at(scope: Scope, one: Seen, picture: SeenPicture) -> float | None:
    """Unix time at which the address was in hand: by the server's clock where it names one, else by the run's."""
    for exchange in (one.exchange, *picture.downloads):
        dates = [value for name, value in exchange.response.headers if name.lower() == "date"] if exchange.response else []
        try:
            return parsedate_to_datetime(dates[0]).timestamp()
        except (ValueError, IndexError):
            continue
    return None if scope.started is None else scope.started + one.exchange.done_s


@rule(URL_LIFETIME, level="must", clause=openai_clause("The image object · url"), applies=_has_a_lifetime, asks=probes.deliveries)
def url_lifetime(scope: Scope, seen: Sequence[Seen]) -> Iterable[Observation]:
    """The URL of a picture lasts about as long as the document says.

    About: three quarters of it. Seen from the end that a signed URL states, and from one URL of the operation that is fetched
    once more when everything else of a check is done. Shares the requests for pictures by URL with the rules about delivery.
    """
    promised_s = scope.profile.response.url_lifetime_s or 0.0
    for one, picture in urls(scope, seen):
        if picture is None:
            yield no_url(one)
            continue
        stated_s = stated_lifetime_s(picture.picture.url or "", _answered_at(scope, one, picture))
        later = list(_later(one, picture, promised_s))
        yield from later
        if stated_s is None and not later:
            yield Observation("unproven", f"the URL of {picture.picture.place} does not say when it ends", (one.id,))
        elif stated_s is not None and stated_s >= ABOUT * promised_s:
            yield Observation("pass", exchanges=(one.id,))
        elif stated_s is not None:
            detail = f"the URL of {picture.picture.place} ends after {_span(stated_s)}, {_span(promised_s)} are documented"
            yield Observation("broken", detail, (one.id,), picture.picture.place)


def _later(one: Seen, picture: SeenPicture, promised_s: float) -> Iterator[Observation]:
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
            detail = f"the URL of {picture.picture.place} answered with {status} after {_span(age_s)}, {_span(promised_s)} are documented"
            yield Observation("broken", detail, ids, picture.picture.place)
        else:
            what = f"status {status}" if status is not None else f"no answer ({again.failure})"
            yield Observation("unproven", f"the URL of {picture.picture.place} gave {what} the second time", ids)


def _span(seconds: float) -> str:
    unit, size = next(
        ((unit, size) for unit, size in (("days", 86400), ("hours", 3600), ("minutes", 60)) if abs(seconds) >= size), ("s", 1)
    )
    return f"{seconds / size:.3g} {unit}"


RULES = (url_lifetime,)
