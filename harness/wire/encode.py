"""A task request becomes the bytes of an HTTP request."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import quote, urlencode, urljoin, urlsplit

import msgspec

from testcard.harness.errors import UsageError
from testcard.harness.wire.addresses import same_origin, sendable
from testcard.harness.wire.contract import check_contract
from testcard.harness.wire.decode import most_pictures
from testcard.harness.wire.fields import WireFields, always_sent, wire_fields
from testcard.harness.wire.model import Headers, InputImage, TaskRequest, WireRequest
from testcard.harness.wire.pictures import encode_base64
from testcard.specs.loader import Provider
from testcard.specs.profile import OperationProfile, ResponseMap, TaskCall

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
    wanted = request.n or 1
    if (most := most_pictures(provider, fields.operation, wanted)) < wanted:
        raise UsageError(
            f"{wanted:,} pictures are asked for at once, and {most:,} of an answer are taken",
            hint=f"--limit pictures={wanted}, or several requests",
        )
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

    A parameter under `path` that the document has in the query goes there. Without a key no key header is sent. `media_type` replaces the documented one and decides the body's coding (multipart
    and form as such, anything else as JSON). `headers` replace those of the same name. `stream` asks for an event stream.
    """
    operation = provider.operation(fields.operation)
    profile = provider.operation_profile(fields.operation)
    path = operation.path
    for name in operation.path_parameters:
        usual = profile.path[name].send if name in profile.path and profile.path[name].send is not None else ""
        path = path.replace("{" + name + "}", quote(str(fields.path.get(name, usual)), safe=""))
    body = b""
    query, parameters = always_sent(profile)
    in_query = {name: value for name, value in fields.path.items() if name in operation.query_parameters}
    query, parameters = {**query, **in_query, **fields.query}, {**parameters, **fields.headers}
    if query:
        path += "?" + urlencode(query)
    own = {"accept": EVENTS if stream else _accepted(profile.response)}
    own |= {name.lower(): str(value) for name, value in parameters.items() if not (stream and name.lower() == "accept")}
    content_type = media_type or operation.request_media_type
    if content_type is not None:
        sent = fields.body
        if not content_type.partition(";")[0].strip().endswith("json"):
            sent = flattened(profile, sent)
        content_type, body = encode_body(sent, content_type) if not operation.listed else (content_type, json_bytes([_jsonable(sent)]))
        own["content-type"] = content_type
    own |= dict(_key_headers(provider, api_key))
    merged = _merged(own.items(), headers)
    return WireRequest(operation.id, operation.method, base_url.rstrip("/") + path, merged, body, profile.billed, stream)


def _accepted(where: ResponseMap) -> str:
    """What an answer may be, where nobody asked for one delivery by a header of its own."""
    return ", ".join((*where.binary, JSON)) if where.binary else JSON


def flattened(profile: OperationProfile, body: Mapping[str, Any]) -> dict[str, Any]:
    """The body as a form's fields: objects and lists of them one by one where the profile has their names so (`a[b]`, `a.b`)."""
    flat: dict[str, Any] = {}
    for name, value in body.items():
        entry = profile.fields.get(name)
        spelling = entry.nested if entry is not None else "json"
        listed = isinstance(value, list | tuple) and any(isinstance(item, Mapping) for item in value)
        if spelling != "json" and (isinstance(value, Mapping) or listed):
            flat.update(_leaves(name, value, spelling))
        else:
            flat[name] = value
    return flat


def _leaves(name: str, value: Any, spelling: str) -> Iterable[tuple[str, Any]]:
    pairs: Iterable[tuple[Any, Any]]
    if isinstance(value, Mapping):
        pairs = value.items()
    elif isinstance(value, list | tuple):
        pairs = enumerate(value)
    else:
        return [(name, value)]
    named = ((f"{name}[{key}]" if spelling == "brackets" else f"{name}.{key}", item) for key, item in pairs)
    return [leaf for below, item in named for leaf in _leaves(below, item, spelling)]


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
    provider: Provider,
    reference: str | None,
    *,
    base_url: str,
    api_key: str | None,
    poll_url: str | None = None,
    submitted: str | None = None,
) -> WireRequest:
    """The request that asks how an async task is doing, by its reference, else by the address the provider gave (before it, where the
    profile has it so). `submitted`: the operation whose task it is.

    As in `get_request`, the key goes along only to the base URL's own origin.
    """
    protocol = provider.protocol(submitted) if submitted is not None else provider.profile.asynchronous
    if protocol is None:
        raise UsageError(f"{provider.profile.name} documents no asynchronous form")
    by_address = protocol.poll_by == "address" and poll_url is not None
    if reference is not None and protocol.operation is not None and protocol.parameter is not None and not by_address:
        return _about_task(provider, TaskCall(operation=protocol.operation, parameter=protocol.parameter), reference, base_url, api_key)
    if poll_url is None:
        raise UsageError("an async task can be polled only by a reference or an address")
    poll_url, base = poll_url.strip(), urlsplit(base_url)
    if poll_url.startswith("/") and not poll_url.startswith("//") and not poll_url.startswith(base.path.rstrip("/") + "/"):
        url = base_url.rstrip("/") + poll_url
    else:
        url = urljoin(base_url.rstrip("/") + "/", poll_url)
    return get_request(provider, url, protocol.operation or submitted or "", base_url=base_url, api_key=api_key)


def result_request(provider: Provider, submitted: str, reference: str, *, base_url: str, api_key: str | None) -> WireRequest:
    """The request for the result of a task of the operation `submitted`, where another operation gives it.

    It counts as one of the operation whose task it is: what answers it is read by that one's response map.
    """
    protocol = provider.protocol(submitted)
    if protocol is None or protocol.result_from is None:
        raise UsageError(f"{submitted} keeps no results elsewhere")
    return replace(_about_task(provider, protocol.result_from, reference, base_url, api_key), operation=submitted)


def cancel_request(provider: Provider, submitted: str, reference: str, *, base_url: str, api_key: str | None) -> WireRequest:
    """The request that calls off a task of the operation `submitted`; `UsageError` where the profile knows no way to."""
    protocol = provider.protocol(submitted)
    if protocol is None or protocol.cancel is None:
        raise UsageError(f"{submitted} has no way to cancel a task")
    return _about_task(provider, protocol.cancel, reference, base_url, api_key)


class UnusableReference(UsageError, ValueError):
    """A task is called something that no path can hold, such as `..`; ask for it by its address, where the provider gives one."""


#: No task is called anything longer.
_LONGEST_REFERENCE = 1024


def is_one_segment(reference: str) -> bool:
    """Whether a task's reference can be one segment of a path: no way up or to nowhere, no control character, not without end."""
    return (
        0 < len(reference) <= _LONGEST_REFERENCE
        and reference.strip(". ") != ""
        and not reference.startswith(("../", "./"))
        and "/../" not in reference
        and not reference.endswith("/..")
        and "\\" not in reference
        and reference.isprintable()
    )


def _about_task(provider: Provider, call: TaskCall, reference: str, base_url: str, api_key: str | None) -> WireRequest:
    if not is_one_segment(reference):
        raise UnusableReference(
            "the task's reference cannot be a segment of a path", hint="a reference is what the provider's answer names"
        )
    asked = {call.parameter: reference}
    in_path = call.parameter in provider.operation(call.operation).path_parameters
    fields = WireFields(call.operation, asked) if in_path else WireFields(call.operation, query=asked)
    return build(provider, fields, base_url=base_url, api_key=api_key)


def get_request(provider: Provider, url: str, operation: str, *, base_url: str, api_key: str | None) -> WireRequest:
    """The request for an address that an answer of `operation` gave, or for one that its redirect leads to.

    The key goes along only to the base URL's own origin: an address in an answer may point anywhere.
    """
    headers = _merged([("accept", JSON), *_key_headers(provider, api_key if same_origin(url, base_url) else None)], ())
    return WireRequest(operation, "GET", sendable(url), headers, b"", False)


def fetch_request(url: str, operation: str) -> WireRequest:
    """The request that downloads a picture from the address an answer gave; it never carries the key."""
    return WireRequest(operation, "GET", sendable(url), (("accept", "image/*, */*;q=0.5"),), b"", False)


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
    if isinstance(value, Mapping):  # OpenAPI's own rule for a part that is an object
        head += "\r\nContent-Type: application/json"
    text = value if isinstance(value, str) else json.dumps(value)
    return head.encode(), text.encode("utf-8", "surrogatepass")


def _quoted(text: str) -> str:
    # What browsers do (WHATWG HTML, "multipart/form-data encoding algorithm").
    return text.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")
