"""A recorded request made ready to be sent again, and two answers to one request held side by side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from testcard.harness.check.running.transport import Received
from testcard.harness.redaction import KEY_PLACEHOLDER
from testcard.harness.runs.records import Exchange
from testcard.harness.wire.billing import worst_case
from testcard.harness.wire.model import InputImage, TaskRequest, WireRequest
from testcard.harness.wire.pictures import inspect, lenient_base64
from testcard.specs.loader import Provider
from testcard.specs.pointers import pointer_of
from testcard.specs.prices import Billable

MOST_DIFFERENCES = 20
_SHOWN_CHARS = 60
#: Headers that differ between any two answers and say nothing about them.
_ALWAYS_NEW = frozenset({"date", "age", "content-length", "connection", "keep-alive", "transfer-encoding", "set-cookie"})
_TERMS = {field.name for field in fields(TaskRequest)}


def needs_key(exchange: Exchange) -> bool:
    """Whether the key went along with the request."""
    return any(KEY_PLACEHOLDER in value for _, value in exchange.request.headers)


def moved(url: str, recorded_base: str, base_url: str | None) -> str:
    """The address of a recorded request, at another base URL where one is named; what lies elsewhere stays there."""
    if base_url is None or not (url == recorded_base or url.startswith((recorded_base + "/", recorded_base + "?"))):
        return url
    return base_url + url[len(recorded_base) :]


def request_again(exchange: Exchange, content: bytes, *, url: str, api_key: str | None) -> WireRequest:
    """The recorded request with the key put back where it stood."""
    headers = tuple((name, value.replace(KEY_PLACEHOLDER, api_key or "")) for name, value in exchange.request.headers)
    return WireRequest(exchange.operation, exchange.request.method, url, headers, content, exchange.billed)


def most_billed(provider: Provider, exchange: Exchange) -> Billable | None:
    """The most that a request can be billed for when it is carried out; None for one that costs nothing."""
    profile = provider.profile.operations.get(exchange.operation)
    if exchange.source in ("poll", "fetch") or profile is None or not profile.billed:
        return None
    return worst_case(provider, exchange.operation, _terms(exchange.asked))


def _terms(asked: Mapping[str, Any]) -> TaskRequest:
    """The terms that a record keeps, with stand-ins for its pictures, which are counted and not looked at."""
    terms = {name: value for name, value in asked.items() if name in _TERMS and name not in ("images", "mask", "task")}
    if isinstance(terms.get("size"), list):
        terms["size"] = tuple(terms["size"])
    images = tuple(InputImage() for _ in asked.get("images", ()))
    return TaskRequest(task=asked.get("task", "generate"), images=images, mask=InputImage() if asked.get("mask") else None, **terms)


@dataclass(frozen=True, slots=True)
class ComparedAnswer:
    """One answer as it is compared. `status` None: none came, and `failure` says why. `took_s` is until its last byte."""

    status: int | None
    headers: tuple[tuple[str, str], ...]
    body: bytes
    took_s: float
    failure: str | None = None

    @classmethod
    def recorded(cls, exchange: Exchange, body: bytes) -> ComparedAnswer:
        """The answer of a run folder."""
        response = exchange.response
        headers = tuple(response.headers) if response is not None else ()
        failure = exchange.failure_detail or exchange.failure
        return cls(response.status if response else None, headers, body, exchange.done_s - exchange.sent_s, failure)

    @classmethod
    def sent(cls, sent: Received, body: bytes, headers: Sequence[tuple[str, str]]) -> ComparedAnswer:
        """The answer that came just now; body and headers without the key."""
        return cls(sent.status, tuple(headers), body, sent.done_s - sent.sent_s, sent.detail or sent.failure)

    @property
    def media_type(self) -> str | None:
        """What the answer says it is."""
        return next((value for name, value in self.headers if name.lower() == "content-type"), None)


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that differs: a place (a JSON pointer into the body, or what it is called) and how it was and is."""

    place: str
    before: str
    now: str


def differences(before: ComparedAnswer, now: ComparedAnswer, read: Any) -> list[Difference]:
    """What differs between two answers, status first; of the bodies' differences the first `MOST_DIFFERENCES`.

    `read` turns a body into JSON, or None where it is none. Pictures are compared by what they are, not by their bytes.
    """
    found = []
    if before.status != now.status or before.failure != now.failure:
        found.append(Difference("status", _told(before), _told(now)))
    found += _headers(before, now)
    if before.body == now.body:
        return found
    one, other = read(before.body), read(now.body)
    if one is not None and other is not None:
        found += _limited(_json(one, other, ""))
    else:
        found.append(Difference("body", _bytes(before.body), _bytes(now.body)))
    return found


def _told(reply: ComparedAnswer) -> str:
    return (
        str(reply.status) + (f" ({reply.failure})" if reply.failure else "") if reply.status is not None else f"no answer ({reply.failure})"
    )


def _headers(before: ComparedAnswer, now: ComparedAnswer) -> Iterator[Difference]:
    old, new = ({name.lower(): value for name, value in reply.headers if name.lower() not in _ALWAYS_NEW} for reply in (before, now))
    for name in dict.fromkeys((*old, *new)):
        if old.get(name) != new.get(name):
            yield Difference(f"header {name}", _short(old.get(name, "missing")), _short(new.get(name, "missing")))


def _limited(found: Iterator[Difference]) -> list[Difference]:
    shown: list[Difference] = []
    for one in found:
        if len(shown) == MOST_DIFFERENCES:
            return [*shown, Difference("…", "more", "more")]
        shown.append(one)
    return shown


def _json(before: Any, now: Any, place: str) -> Iterator[Difference]:
    if isinstance(before, dict) and isinstance(now, dict):
        for name in dict.fromkeys((*before, *now)):
            below = place + pointer_of((name,))
            if name not in now or name not in before:
                yield Difference(
                    below, _value(before[name]) if name in before else "missing", _value(now[name]) if name in now else "missing"
                )
            else:
                yield from _json(before[name], now[name], below)
    elif isinstance(before, list) and isinstance(now, list):
        if len(before) != len(now):
            yield Difference(place, f"{len(before)} items", f"{len(now)} items")
        for number, (one, other) in enumerate(zip(before, now, strict=False)):
            yield from _json(one, other, f"{place}/{number}")
    elif type(before) is not type(now) or before != now:
        yield Difference(place, _value(before), _value(now))


def _value(value: Any) -> str:
    if isinstance(value, dict | list):
        return f"{'an object' if isinstance(value, dict) else 'a list'} of {len(value)}"
    if isinstance(value, str):
        data = lenient_base64(value) if len(value) > _SHOWN_CHARS else None
        return (_picture(data) if data is not None else None) or _short(value)
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _bytes(data: bytes) -> str:
    return _picture(data) or f"{len(data)} bytes"


def _picture(data: bytes) -> str | None:
    picture = inspect(data)
    if picture.format is None or picture.problem is not None:
        return None
    return f"{picture.format} {picture.width_px}x{picture.height_px}, pixels {str(picture.pixels_sha256)[:12]}, {len(data)} bytes"


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN_CHARS else f"{text[:_SHOWN_CHARS]}… ({len(text)} characters)"
