"""A task request becomes the bytes of an HTTP request."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote, urlencode, urljoin, urlsplit

import msgspec

from testcard.harness.errors import UsageError
from testcard.harness.wire.addresses import same_origin
from testcard.harness.wire.contract import check_contract
from testcard.harness.wire.fields import WireFields, always_sent, wire_fields
from testcard.harness.wire.model import Headers, InputImage, TaskRequest, WireRequest
from testcard.harness.wire.pictures import encode_base64
from testcard.specs.loader import Provider

JSON = "application/json"
MULTIPART = "multipart/form-data"
FORM = "application/x-www-form-urlencoded"
EVENTS = "text/event-stream"


def encode(
    provider: Provider, request: TaskRequest, *, base_url: str, api_key: str | None, operation: str | None = None, headers: Headers = ()
) -> WireRequest:
    """The HTTP request that asks `provider` for `request`; `ContractViolation` when its contract does not allow that."""
    fields = wire_fields(provider, request, operation)
    check_contract(provider, fields, request)
    return build(provider, fields, base_url=base_url, api_key=api_key, headers=headers, stream=bool(request.stream))


def build(
    provider: Provider,
    fields: WireFields,
    *,
    base_url: str,
    api_key: str | None,
    media_type: str | None = None,
    headers: Headers = (),
    stream: bool = False,
) -> WireRequest:
    """The HTTP request of these wire fields, unchecked: it may be as wrong as the caller wishes.

    Without a key no key header is sent. `media_type` replaces the documented one and decides the body's coding (multipart
    and form as such, anything else as JSON). `headers` replace those of the same name. `stream` asks for an event stream.
    """
    operation = provider.operation(fields.operation)
    profile = provider.operation_profile(fields.operation)
    path = operation.path
    for name in operation.path_parameters:
        path = path.replace("{" + name + "}", quote(str(fields.path.get(name, "")), safe=""))
    content_type = media_type or operation.request_media_type
    body = b""
    query, parameters = always_sent(profile)
    query, parameters = {**query, **fields.query}, {**parameters, **fields.headers}
    if query:
        path += "?" + urlencode(query)
    own: list[tuple[str, str]] = [
        ("accept", EVENTS if stream else JSON),
        *((name.lower(), str(value)) for name, value in parameters.items()),
    ]
    if content_type is not None:
        content_type, body = encode_body(fields.body, content_type)
        own.append(("content-type", content_type))
    own += _key_headers(provider, api_key)
    return WireRequest(operation.id, operation.method, base_url.rstrip("/") + path, _merged(own, headers), body, profile.billed, stream)


def encode_body(fields: Mapping[str, Any], media_type: str) -> tuple[str, bytes]:
    """Content type (with multipart's boundary) and bytes of a body of this media type."""
    if media_type.startswith(MULTIPART):
        return encode_multipart(fields)
    plain = _jsonable(fields)
    if media_type.startswith(FORM):
        pairs = [(name, item if isinstance(item, str) else json.dumps(item)) for name, value in plain.items() for item in _listed(value)]
        return media_type, urlencode(pairs).encode()
    return media_type, json_bytes(plain)


def json_bytes(value: Any) -> bytes:
    """Compact JSON. Numbers beyond 64 bits and lone surrogates, which a fast encoder refuses, are written all the same."""
    try:
        return msgspec.json.encode(value)
    except (OverflowError, UnicodeEncodeError, msgspec.EncodeError):
        return json.dumps(value, separators=(",", ":")).encode("ascii")


def poll_request(
    provider: Provider, reference: str | None, *, base_url: str, api_key: str | None, poll_url: str | None = None
) -> WireRequest:
    """The request that asks how an async task is doing, by its reference, else by the address the provider gave.

    As in `get_request`, the key goes along only to the base URL's own origin.
    """
    protocol = provider.profile.asynchronous
    if protocol is None:
        raise UsageError(f"{provider.profile.name} documents no asynchronous form")
    if reference is not None and protocol.operation is not None and protocol.parameter is not None:
        asked = {protocol.parameter: reference}
        in_path = protocol.parameter in provider.operation(protocol.operation).path_parameters
        fields = WireFields(protocol.operation, asked) if in_path else WireFields(protocol.operation, query=asked)
        return build(provider, fields, base_url=base_url, api_key=api_key)
    if poll_url is None:
        raise UsageError("an async task can be polled only by a reference or an address")
    base = urlsplit(base_url)
    if poll_url.startswith("/") and not poll_url.startswith("//") and not poll_url.startswith(base.path.rstrip("/") + "/"):
        url = base_url.rstrip("/") + poll_url
    else:
        url = urljoin(base_url.rstrip("/") + "/", poll_url)
    return get_request(provider, url, protocol.operation or "", base_url=base_url, api_key=api_key)


def get_request(provider: Provider, url: str, operation: str, *, base_url: str, api_key: str | None) -> WireRequest:
    """The request for an address that an answer of `operation` gave, or for one that its redirect leads to.

    The key goes along only to the base URL's own origin: an address in an answer may point anywhere.
    """
    headers = _merged([("accept", JSON), *_key_headers(provider, api_key if same_origin(url, base_url) else None)], ())
    return WireRequest(operation, "GET", url, headers, b"", False)


def fetch_request(url: str, operation: str) -> WireRequest:
    """The request that downloads a picture from the address an answer gave; it never carries the key."""
    return WireRequest(operation, "GET", url, (("accept", "image/*, */*;q=0.5"),), b"", False)


def _key_headers(provider: Provider, api_key: str | None) -> list[tuple[str, str]]:
    header = provider.profile.auth.header
    if api_key is None or header is None:
        return []
    return [(header.name.lower(), header.prefix + api_key)]


def _merged(own: Iterable[tuple[str, str]], others: Headers) -> Headers:
    replaced = {name.lower() for name, _ in others}
    return (*((name, value) for name, value in own if name not in replaced), *others)


def _jsonable(value: Any) -> Any:
    if isinstance(value, InputImage):
        return encode_base64(value.data)
    if isinstance(value, Mapping):
        return {key: _jsonable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_jsonable(item) for item in value]
    return value


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


# ── multipart/form-data (RFC 7578) ────────────────────────────────────────────────────────────────────────────────────


def encode_multipart(fields: Mapping[str, Any]) -> tuple[str, bytes]:
    """Content type and body. A list becomes repeated parts of one name, an `InputImage` a file part, None is left out.

    Numbers and truth values are written as JSON writes them; mappings and nested lists as JSON text.
    """
    parts: list[tuple[bytes, bytes]] = []
    for name, value in fields.items():
        for item in value if isinstance(value, list | tuple) else [value]:
            if item is not None:
                parts.append(_part(name, item))
    digest = hashlib.sha256()
    for head, content in parts:
        digest.update(len(head).to_bytes(8, "big") + head + len(content).to_bytes(8, "big") + content)
    # 24 hex digits of the content's own hash: a content that holds its own boundary would have to be a fixed point of SHA-256.
    boundary = "testcard-" + digest.hexdigest()[:24]
    mark = b"--" + boundary.encode()
    body = b"".join(mark + b"\r\n" + head + b"\r\n\r\n" + content + b"\r\n" for head, content in parts) + mark + b"--\r\n"
    return f"multipart/form-data; boundary={boundary}", body


def _part(name: str, value: Any) -> tuple[bytes, bytes]:
    head = f'Content-Disposition: form-data; name="{_quoted(name)}"'
    if isinstance(value, InputImage):
        head += f'; filename="{_quoted(value.name)}"\r\nContent-Type: {value.media_type}'
        return head.encode(), value.data
    if isinstance(value, bytes):
        return head.encode(), value
    text = value if isinstance(value, str) else json.dumps(value)
    return head.encode(), text.encode("utf-8", "surrogatepass")


def _quoted(text: str) -> str:
    # What browsers do (WHATWG HTML, "multipart/form-data encoding algorithm").
    return text.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")
