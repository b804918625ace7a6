"""A server that takes and sends whatever it may: values of a near type, further fields, nulls, other formats, other spellings.

Below, on the wire: other orders and spellings of headers, chunks, compression; addresses as an object store signs them.
"""

from __future__ import annotations

import gzip
import math
from collections.abc import Mapping, MutableMapping, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlencode

import msgspec
from msgspec.structs import replace
from starlette.types import ASGIApp, Receive, Scope, Send

from testcard.mocks.exchange import Answer, Call, Parameters, PictureFormat, Problem, RenderedPicture
from testcard.mocks.request_body import Contract
from testcard.mocks.stages import StageHook
from testcard.mocks.store import PREFIX
from testcard.mocks.variants.variant import Variant, choice_of
from testcard.specs.loader import Provider
from testcard.specs.openapi import Schema
from testcard.specs.profile import OperationProfile

_TIME = "%Y%m%dT%H%M%SZ"


def as_signed_by_a_store(url: str, lifetime_s: float) -> str:
    """The mock's own address (`?expires=…&signature=…`) with the query that Amazon's signature version 4 has."""
    path, _, query = url.partition("?")
    own = parse_qs(query)
    lifetime = int(lifetime_s)
    signed = datetime.fromtimestamp(int(own["expires"][0]) - lifetime, UTC)
    told = {
        "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
        "X-Amz-Credential": f"mock/{signed:%Y%m%d}/eu/s3/aws4_request",
        "X-Amz-Date": signed.strftime(_TIME),
        "X-Amz-Expires": lifetime,
        "X-Amz-SignedHeaders": "host",
        "X-Amz-Signature": own["signature"][0],
    }
    return f"{path}?{urlencode(told)}"


def own_query(query: bytes) -> bytes:
    """The mock's own query again; any other query stays as it is."""
    told = parse_qs(query.decode("latin-1"))
    try:
        signed = datetime.strptime(told["X-Amz-Date"][0], _TIME).replace(tzinfo=UTC)
        expires = int(signed.timestamp()) + int(told["X-Amz-Expires"][0])
        return urlencode({"expires": expires, "signature": told["X-Amz-Signature"][0]}).encode()
    except (KeyError, ValueError):
        return query


#: pieces that a body is cut into, in bytes; primes, so that cuts fall anywhere
_PIECES = (1, 7, 4099, 65_521)
#: headers that a proxy on the way may add
_ADDED = [
    (b"Via", b"1.1 edge"),
    (b"X-Request-Id", b"5d1c7f2a"),
    (b"Set-Cookie", b"lane=1; Path=/; HttpOnly"),
    (b"Set-Cookie", b"region=eu; Path=/"),
    (b"Vary", b"Accept-Encoding"),
    (b"Access-Control-Allow-Headers", b"Authorization, X-API-Key, Content-Type"),
]


class Chunked:
    """Sends every body in pieces and without a length, every second one compressed where the client takes that, behind other headers."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._count = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request."""
        if scope["type"] != "http" or (scope["path"].startswith("/_testcard/") and not scope["path"].startswith(PREFIX)):
            await self._app(scope, receive, send)
            return
        self._count += 1
        if scope["path"].startswith(PREFIX):
            scope = {**scope, "query_string": own_query(scope["query_string"])}
        accepted = next((value for name, value in scope["headers"] if name == b"accept-encoding"), b"")
        await self._app(
            scope, receive, _Pieces(send, compress=b"gzip" in accepted and self._count % 2 == 0, head=scope["method"] == "HEAD")
        )


class _Pieces:
    def __init__(self, send: Send, *, compress: bool, head: bool) -> None:
        self._send = send
        self._compress = compress
        self._head = head
        self._start: MutableMapping[str, Any] = {}

    async def __call__(self, message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self._start = message
            if self._streams or self._head:
                self._compress = False
            headers = [(name.title(), value) for name, value in message["headers"] if name.lower() != b"content-length"]
            coded = [(b"Content-Encoding", b"gzip")] if self._compress else []
            await self._send({**message, "headers": [*_ADDED, *coded, *reversed(headers)]})
            return
        body: bytes = message.get("body", b"")
        if self._compress and not message.get("more_body"):
            body = gzip.compress(body, 1)
        await self._in_pieces(body, more=message.get("more_body", False))

    @property
    def _streams(self) -> bool:
        return any(name.lower() == b"content-type" and value.startswith(b"text/event-stream") for name, value in self._start["headers"])

    async def _in_pieces(self, body: bytes, *, more: bool) -> None:
        position = 0
        for size in _PIECES:
            if position + size < len(body):
                await self._send({"type": "http.response.body", "body": body[position : position + size], "more_body": True})
                position += size
        await self._send({"type": "http.response.body", "body": body[position:], "more_body": more})


#: what no client can do without; everything else in an answer may be missing
_NEEDED = frozenset({
    "data", "artifacts", "images", "urls", "b64_json", "url", "base64", "choices", "message", "content", "role", "finish_reason",
    "prompt_tokens", "completion_tokens", "total_tokens", "id", "object", "status", "task_id", "task_address", "result", "poll_url",
})  # fmt: skip
#: sizes of real Gemini pictures at the tier 1K
_GEMINI = {"1:1": (1024, 1024), "2:3": (848, 1264), "3:2": (1264, 848), "3:4": (896, 1200), "4:3": (1200, 896), "4:5": (928, 1152),
           "5:4": (1152, 928), "9:16": (768, 1376), "16:9": (1376, 768), "21:9": (1584, 672)}  # fmt: skip
_UNREADABLE = object()


class _Operation:
    """What the generous server makes of one operation."""

    def __init__(self, provider: Provider, operation: str, contract: Contract) -> None:
        self._provider = provider
        self._operation = operation
        self._profile: OperationProfile = provider.operation_profile(operation)
        self._contract = contract
        self._schema = provider.operation(operation).response_schema(200) or {}

    def hooks(self) -> Sequence[StageHook]:
        """At every stage at which there is something to overlook or to add."""
        return (
            StageHook("problems", self.problems),
            StageHook("parameters", self.parameters),
            StageHook("delivered", self.delivered),
            StageHook("body", self.body),
            StageHook("answer", self.answer),
        )

    def problems(self, call: Call, problems: list[Problem]) -> list[Problem]:
        """Overlooks wrong types where the value can be read as one of the right type."""
        if not problems or not isinstance(call.fields, dict):
            return problems
        read: dict[str, Any] = {}
        for name, value in call.fields.items():
            schema = self._contract.properties.get(name)
            if value is None and name not in self._contract.required:
                continue
            read[name] = value if schema is None or name in self._contract.files else _read(value, schema)
            if read[name] is _UNREADABLE:
                return problems
        if any(name in self._contract.files for name in read) or self._contract.problems(read):
            return problems
        call.fields = read
        return []

    def parameters(self, call: Call, parameters: Parameters) -> Parameters:
        """Chooses size, format and delivery where the documents leave the choice to the server."""
        asked: dict[str, Any] = {entry.means: call.fields[name] for name, entry in self._profile.fields.items() if name in call.fields}
        if parameters.width_px and self._free_size(asked):
            width, height = choice_of(call, "size", ((768, 512), (640, 640), (512, 768)))
            parameters = replace(parameters, width_px=width, height_px=height)
        if "aspect_ratio" in asked and asked["aspect_ratio"] in _GEMINI:
            scale = self._profile.response.tier_edge_px.get(asked.get("tier", "1K"), 1024) / 1024
            width, height = _GEMINI[asked["aspect_ratio"]]
            parameters = replace(parameters, width_px=int(width * scale), height_px=int(height * scale))
        if self._free_format(asked) and not parameters.transparent:
            parameters = replace(parameters, format=self._own_format())
        if self._provider.id == "nanogpt" and parameters.delivery == "url" and choice_of(call, "fallback", (False, True)):
            parameters = replace(parameters, delivery="base64")
        return parameters

    def _free_size(self, asked: Mapping[str, Any]) -> bool:
        if {"width", "height", "aspect_ratio", "tier"} & set(asked):
            return False
        return asked.get("size", "auto") == "auto" and (asked.get("size") is not None or self._profile.response.default_size is None)

    def _free_format(self, asked: Mapping[str, Any]) -> bool:
        return asked.get("format") is None

    def _own_format(self) -> PictureFormat:
        return "webp" if "webp" in self._profile.response.formats and self._profile.response.url else "jpeg"

    def delivered(self, call: Call, delivered: list[RenderedPicture]) -> list[RenderedPicture]:
        """Addresses signed as an object store does it."""
        lifetime_s = self._profile.response.url_lifetime_s or 3600.0
        return [replace(one, url=as_signed_by_a_store(one.url, lifetime_s)) if one.url else one for one in delivered]

    def body(self, call: Call, body: Any) -> Any:
        """Further fields wherever the schema is open; others that may be absent are null, or absent, now and then."""
        if self._profile.kind == "task":
            return {**body, **({} if body.get("result") else {"result": None}), "task_address": None, "progress": 0.5}
        changed = _opened(call, body, self._schema, "")
        if isinstance(changed.get("usage"), dict) and "total_tokens" in changed["usage"] and "completion_tokens" not in changed["usage"]:
            changed["usage"]["total_tokens"] += 1024  # what the picture itself took
        for place, name in ((changed, "created"), (changed.get("usage"), "total_tokens")):
            if isinstance(place, dict) and isinstance(place.get(name), int) and choice_of(call, f"{name} spelt", (False, True)):
                place[name] = float(place[name])  # 5.0 is an integer in JSON Schema
        return changed

    def answer(self, call: Call, answer: Answer) -> Answer:
        """JSON in another spelling, events with everything that the format allows around them, tasks with an absolute address."""
        if answer.status == 202 and isinstance(answer.json, dict):
            answer.json = {
                "task_id": answer.json["task_id"],
                "status": "queued",
                "poll_url": call.origin + answer.json["poll_url"],
                "eta": None,
            }
        if answer.events is not None:
            answer.events = _decorated(answer.events)
            answer.media_type = "text/event-stream; charset=utf-8"
        elif answer.data is None and answer.json is not None:
            answer.data = _spelt(answer.json, choice_of(call, "spelling", ("pretty", "escaped", "reversed")))
            answer.media_type = choice_of(call, "media type", ("application/json; charset=utf-8", "Application/JSON", "application/json"))
        return answer


def _read(value: Any, schema: Mapping[str, Any]) -> Any:
    """The value as one of the schema's type, itself where it is one, `_UNREADABLE` where it cannot be read so."""
    kind = schema.get("type")
    if kind == "string" and isinstance(value, bool | int | float):
        return str(value).lower() if isinstance(value, bool) else str(value)
    if kind in ("integer", "number") and isinstance(value, str | bool | float):
        try:
            number = float(value)
        except ValueError:
            return _UNREADABLE
        if not math.isfinite(number):
            return _UNREADABLE
        return int(number) if kind == "integer" else number
    if kind == "boolean" and not isinstance(value, bool):
        return {"true": True, "1": True, "false": False, "0": False}.get(str(value).lower(), _UNREADABLE)
    if kind == "array" and isinstance(value, str | dict):
        return [value]
    return value


def _opened(call: Call, value: Any, schema: Schema, at: str) -> Any:
    if isinstance(value, list):
        return [_opened(call, item, schema.get("items", {}), f"{at}[]") for item in value]
    if not isinstance(value, dict) or "oneOf" in schema or schema.get("additionalProperties") is False:
        return value
    changed: dict[str, Any] = {"x_trace": "a1b2", "x_region": None}
    for name, inner in value.items():
        fate = choice_of(call, f"{at}/{name}", ("kept", "kept", "null", "absent"))
        if name in _NEEDED or name not in schema.get("properties", {}) or fate == "kept":
            changed[name] = _opened(call, inner, schema.get("properties", {}).get(name, {}), f"{at}/{name}")
        elif fate == "null":
            changed[name] = None
    return changed


def _spelt(value: Any, how: str) -> bytes:
    plain = msgspec.json.encode(value)
    if how == "pretty":
        return b"\n  " + msgspec.json.format(plain, indent=2) + b"\r\n"
    if how == "escaped":
        return plain.replace(b"/", b"\\/")
    return msgspec.json.encode(dict(reversed(value.items())) if isinstance(value, dict) else value)


def _decorated(events: Sequence[bytes]) -> list[bytes]:
    """The events between comments, with other line ends, the space after the colon left out of every second one.

    No ids: the openai package takes a comment after an id for an event without data.
    """
    changed = [b": open\r\n\r\n", b"retry: 3000\r\n"]
    for number, event in enumerate(events):
        body = event.removesuffix(b"\n\n").removeprefix(b"data: ")
        lead = b"" if number % 2 else b" "
        changed.append(b"event: message\r\ndata:%s%s\r\n\r\n" % (lead, body))
        if number % 3 == 0:
            changed.append(b": keep-alive\n\n")
    return changed


def _hooks(provider: Provider, operation: str, contract: Contract) -> Sequence[StageHook]:
    return _Operation(provider, operation, contract).hooks()


GENEROUS = Variant("generous", hooks=_hooks, wrap=Chunked, latency="uniform:0,0.03", file_media_type="application/octet-stream")
