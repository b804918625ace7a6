"""From the task's terms to one operation's wire names, driven by the profile alone, and the way back; a task request as data for a run folder."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, fields
from typing import Any, NoReturn

from testcard.harness.errors import ContractViolation
from testcard.harness.wire.model import InputImage, TaskRequest
from testcard.harness.wire.pictures import data_url, encode_base64
from testcard.specs.loader import Provider
from testcard.specs.openapi import Operation, Schema
from testcard.specs.pointers import MISSING, look_up, parts_of, whole_number
from testcard.specs.profile import OperationProfile, Task, WireField
from testcard.specs.schemas import schema_at, stated_value

#: Terms of a task request that become one field of the same meaning, value for value.
_PLAIN_TERMS = (
    "prompt", "negative_prompt", "n", "seed", "steps", "guidance", "strength", "sampler", "quality", "background", "format", "delivery",
    "aspect_ratio", "style", "megapixels", "tier", "safety_tolerance", "user", "max_tokens", "temperature", "stream",
)  # fmt: skip
#: Terms without which a request asks for nothing: nobody else may choose them.
_SAID = frozenset({"prompt", "messages", "image", "mask", "model", "async", "stream"})
#: Those among them that are sent all the same where a request has to carry them: as the profile says, off where it says nothing.
_SWITCHES = frozenset({"async", "stream"})
_PIXELS = re.compile(r"([1-9][0-9]{0,5})x([1-9][0-9]{0,5})")
#: A tier stands for pictures of about one area whatever their shape; so far from it is still that tier.
_TIER_SLACK = 0.15
_RATIO_SLACK = 0.03


@dataclass(frozen=True, slots=True)
class WireFields:
    """One request in wire names, not yet bytes: parameters of path, query and header, and body fields.

    File parts of a multipart body are `InputImage`s; a list of them becomes repeated parts.
    """

    operation: str
    path: dict[str, Any] = field(default_factory=dict)
    body: dict[str, Any] = field(default_factory=dict)
    query: dict[str, Any] = field(default_factory=dict)
    headers: dict[str, Any] = field(default_factory=dict)


def always_sent(profile: OperationProfile) -> tuple[dict[str, Any], dict[str, Any]]:
    """The query and header parameters that every request of an operation carries, with the profile's values."""
    query = {name: entry.send for name, entry in profile.query.items() if entry.send is not None}
    return query, {name: entry.send for name, entry in profile.headers.items() if entry.send is not None}


def mode_of(request: TaskRequest) -> str:
    """What a request amounts to by what it carries: inpaint (a mask), image-to-image (a picture), text-to-image."""
    if request.mask is not None:
        return "inpaint"
    return "image-to-image" if request.images else "text-to-image"


def pixel_size(size: object) -> tuple[int, int] | None:
    """(width, height) where the size names pixels, as a pair or as "512x512"; None for words, for no size and for anything else."""
    if isinstance(size, str):
        match = _PIXELS.fullmatch(size)
        return (int(match[1]), int(match[2])) if match else None
    return size if isinstance(size, tuple) else None


def contract_place(provider: Provider, operation: Operation, *keys: str | int) -> str:
    """Where a contract says something: the OpenAPI file's name and line, and the operation."""
    return f"{provider.id}/openapi.yaml:{operation.line(*keys)}, {operation.id}"


def fields_hint(provider: Provider) -> str:
    """The next step for whoever asked for something the contract does not have."""
    return f"testcard providers {provider.id} shows its operations and fields"


def wire_fields(provider: Provider, request: TaskRequest, operation: str | None = None) -> WireFields:
    """The request in the wire names of `operation` (default: the task's own).

    Raises `ContractViolation` for what cannot be said there: a task the operation does not do, a term it has no field
    for, more pictures than it takes, pixels that none of its sizes stand for. Values are not judged (see `check_contract`).
    """
    provider = provider.for_model(request.model)
    operation_id = operation or provider.default_operation(request.task)
    provider = provider.for_body(operation_id, request.extra)
    return _Mapping(provider, request, provider.operation(operation_id), provider.operation_profile(operation_id)).run()


class _Mapping:
    """One translation; a class only because its steps share six values."""

    def __init__(self, provider: Provider, request: TaskRequest, operation: Operation, profile: OperationProfile) -> None:
        self.provider = provider
        self.request = request
        self.operation = operation
        self.profile = profile
        self.properties = operation.properties
        self.names = profile.names
        self.model_asked_for = request.model or provider.default_model(operation.id, request.task)
        self.path: dict[str, Any] = {}
        self.body: dict[str, Any] = {}

    def run(self) -> WireFields:
        request = self.request
        if request.task not in self.profile.tasks:
            tasks = ", ".join(self.profile.tasks) or "none (it belongs to another operation)"
            self.refuse("task", f"{self.operation.id} cannot do {request.task}", hint=f"what it does: {tasks}")
        self.model()
        if self.profile.kind == "chat":
            self.messages()
        else:
            self.pictures()
        self.size()
        self.mode()
        for term in _PLAIN_TERMS:
            value = getattr(request, term)
            if value is not None and not (self.profile.kind == "chat" and term == "prompt"):
                self.plain(term, value)
        if request.asynchronous is not None:
            name = self.names.get("async")
            if name is not None:
                self.body[name] = request.asynchronous
            elif request.asynchronous:
                self.refuse("asynchronous", f"{self.operation.id} has no asynchronous form")
        for name, entry in self.profile.fields.items():
            if entry.send is not None:
                self.body.setdefault(name, entry.send)
        for name, entry in self.profile.path.items():
            if entry.send is not None:
                self.path.setdefault(name, entry.send)
        self.required()
        query, headers = always_sent(self.profile)
        accept = self.profile.response.accept.get(request.delivery or self.profile.response.default_delivery)
        if accept is not None:
            headers["accept"] = accept
        for name, value in request.extra.items():
            there = query if name in self.profile.query else headers if name in self.profile.headers else self.body
            there[name] = value
        return WireFields(self.operation.id, self.path, self._in_documented_order(), query, headers)

    def _in_documented_order(self) -> dict[str, Any]:
        body = nested(self.body)
        ordered = {name: body[name] for name in self.properties if name in body}
        ordered.update(body)
        return ordered

    def required(self) -> None:
        """What the document requires and nobody said: the profile's value, else the one that the document states."""
        further_in = [name for name in self.profile.fields if name.startswith("/") and is_required(self.operation, name)]
        for name in (*self.operation.required, *further_in):
            entry = self.profile.fields.get(name)
            said = entry is None or (entry.means in _SAID and entry.means not in _SWITCHES)
            if name in self.body or entry is None or said or any(other.startswith(f"/{name}/") for other in self.body):
                continue
            value = entry.cheapest if entry.cheapest is not None else next(iter(entry.must_accept), None)
            value = stated_value(self.schema(name)) if value is None and entry.means != "stream" else value
            if value is not MISSING and value is not None:
                self.body[name] = value

    def schema(self, name: str) -> Mapping[str, Any]:
        """What the document says of a field, by its wire name."""
        return schema_of(self.properties, name)

    def refuse(self, term: str, message: str, *, hint: str | None = None) -> NoReturn:
        raise ContractViolation(
            message, field=term, where=contract_place(self.provider, self.operation), hint=hint or fields_hint(self.provider)
        )

    def entry(self, name: str) -> WireField:
        found = self.provider.field(self.operation.id, name, self.model_asked_for)
        return found if found is not None else self.profile.fields[name]

    def spelt(self, name: str, value: Any) -> Any:
        entry = self.entry(name)
        spelt = entry.values.get(str(value), value)
        if entry.means == "size" and spelt == value:
            spelt = self._with_their_sign(entry, value)
        return str(spelt) if entry.format == "text" else spelt

    def _with_their_sign(self, entry: WireField, size: Any) -> Any:
        """A size that the profile does not spell, with the sign between its edges that those have which it spells (`512*512`)."""
        edges = pixel_size(size)
        for word, wire in entry.values.items():
            known = pixel_size(word)
            if edges is not None and known is not None and str(wire).startswith(str(known[0])) and str(wire).endswith(str(known[1])):
                sign = str(wire)[len(str(known[0])) : -len(str(known[1]))]
                return f"{edges[0]}{sign}{edges[1]}" if len(sign) == 1 else size
        return size

    def model(self) -> None:
        parts = {name: entry for name, entry in self.profile.path.items() if entry.means == "model"}
        name = self.names.get("model")
        model = self.request.model
        if model is None and (parts or (name is not None and is_required(self.operation, name))):
            model = self.model_asked_for
        if model is None:
            return
        if parts:
            pieces = model.split("/", 1)
            for parameter, entry in parts.items():
                if entry.part is None:
                    self.path[parameter] = model
                elif entry.part < len(pieces):
                    self.path[parameter] = pieces[entry.part]
                else:
                    self.refuse(
                        "model", f'"{model}" has no publisher', hint=f"write it as {self.provider.default_model(self.operation.id)}"
                    )
        elif name is not None:
            self.body[name] = self.spelt(name, model)
        elif model not in self.provider.models(self.operation.id):
            known = ", ".join(self.provider.models(self.operation.id)) or "(none named)"
            self.refuse("model", f'{self.operation.id} always uses its own model, not "{model}"', hint=f"its model is: {known}")

    def pictures(self) -> None:
        images = self.request.images
        fields = [(name, self.entry(name)) for name, entry in self.profile.fields.items() if entry.means == "image"]
        if images and not fields:
            self.refuse("image", f"{self.operation.id} takes no picture")
        single = sorted(((entry.index or 0, name) for name, entry in fields if not entry.many))
        many = next((name for name, entry in fields if entry.many), None)
        if many is not None and (len(images) > 1 or (images and not single)):
            self.body[many] = [self.picture(many, image) for image in images]
        elif len(images) > len(single):
            self.refuse(
                "image", f"{self.operation.id} takes at most {len(single)} picture{'s' if len(single) != 1 else ''}, not {len(images)}"
            )
        else:
            for image, (_, name) in zip(images, single, strict=False):
                self.body[name] = self.picture(name, image)
        if self.request.mask is not None:
            mask = self.names.get("mask")
            if mask is None:
                self.refuse("mask", f"{self.operation.id} takes no mask")
            self.body[mask] = self.picture(mask, self.request.mask)

    def picture(self, name: str, image: InputImage) -> Any:
        spelling = self.entry(name).format
        if spelling == "url-or-base64":
            return image.url if image.url is not None else encode_base64(image.data)
        if image.url is not None:
            if image.url.startswith("data:") and spelling == "data-url":
                return image.url
            self.refuse(name, "takes the picture itself, not an address", hint="download it and pass the bytes or the file")
        if spelling == "file":
            return image
        return data_url(image) if spelling == "data-url" else encode_base64(image.data)

    def messages(self) -> None:
        name = self.names.get("messages")
        if self.request.mask is not None:
            self.refuse("mask", f"{self.operation.id} takes no mask")
        if name is None or name in self.request.extra:
            return
        content: list[Any] = []
        if self.request.prompt is not None:
            content.append({"type": "text", "text": self.request.prompt})
        for image in self.request.images:
            address = image.url if image.url is not None else data_url(image)
            content.append({"type": "image_url", "image_url": {"url": address}})
        self.body[name] = [{"role": "user", "content": content}]

    def size(self) -> None:
        size = self.request.size
        if size is None:
            return
        name = self.names.get("size")
        pixels = pixel_size(size)
        if name is not None:
            spelling = f"{pixels[0]}x{pixels[1]}" if pixels else size
            self.body[name] = self.spelt(name, spelling)
            return
        if pixels is None:
            self.refuse("size", f'{self.operation.id} does not know the size "{size}"', hint="give it in pixels, such as 1024x1024")
        width, height = self.names.get("width"), self.names.get("height")
        if width is not None and height is not None:
            self.body[width], self.body[height] = (self.spelt(name, edge) for name, edge in zip((width, height), pixels, strict=True))
            return
        ratio, tier = self.names.get("aspect_ratio"), self.names.get("tier")
        if ratio is None:
            self.refuse("size", f"{self.operation.id} has no field for the size of the picture")
        self.body[ratio] = self.nearest_ratio(ratio, pixels)
        if tier is not None:
            self.body[tier] = self.nearest_tier(tier, pixels)

    def choices(self, name: str) -> list[str]:
        listed = self.schema(name).get("enum") or self.entry(name).must_accept
        return [str(task_value(self.entry(name), value)) for value in listed if value is not None]

    def nearest_ratio(self, name: str, pixels: tuple[int, int]) -> str:
        wanted = pixels[0] / pixels[1] if pixels[1] else 0.0
        for choice in self.choices(name):
            width, height = (whole_number(side) for side in (choice.partition(":")[0], choice.partition(":")[2]))
            if width and height and abs(wanted / (width / height) - 1) <= _RATIO_SLACK:
                return str(self.spelt(name, choice))
        return self.refuse(
            "size",
            f"{pixels[0]}x{pixels[1]} is none of the shapes of {self.operation.id}",
            hint=f"its shapes: {', '.join(self.choices(name))}",
        )

    def nearest_tier(self, name: str, pixels: tuple[int, int]) -> str:
        edges = self.profile.response.tier_edge_px
        for choice in self.choices(name):
            if choice in edges and abs(pixels[0] * pixels[1] / edges[choice] ** 2 - 1) <= _TIER_SLACK:
                return choice
        return self.refuse(
            "size",
            f"{pixels[0]}x{pixels[1]} is near none of the resolutions of {self.operation.id}",
            hint="its resolutions, for a square: " + ", ".join(f"{tier} ({edge}x{edge})" for tier, edge in edges.items()),
        )

    def mode(self) -> None:
        name = self.names.get("mode")
        if name is None or name in self.request.extra:
            return
        mode = self.spelt(name, mode_of(self.request))
        if mode != self.schema(name).get("default"):
            self.body[name] = mode

    def plain(self, term: str, value: Any) -> None:
        name = self.names.get(term)
        if name is not None:
            self.body[name] = self.spelt(name, value)
            return
        response = self.profile.response
        already_so = (
            (term == "n" and value == 1)
            or (term == "format" and response.formats == (value,))
            or (term == "delivery" and (value == response.default_delivery or value in response.accept))
            or (term == "stream" and value is True and response.events is not None)
            or (term == "stream" and value is False)
        )
        if not already_so:
            self.refuse(term, f"{self.operation.id} has no field for it", hint=self._alternative(term))

    def _alternative(self, term: str) -> str:
        others = [
            operation_id
            for operation_id, profile in self.provider.profile.operations.items()
            if self.request.task in profile.tasks and any(entry.means == term for entry in profile.fields.values())
        ]
        if others:
            return f"leave it out, or use an operation that has it: {', '.join(others)}"
        return "leave it out: no operation of this provider has it for this task"


def values_by_meaning(profile: OperationProfile, body: Mapping[str, Any]) -> dict[str, Any]:
    """What a body holds, keyed by meaning (the first field of each meaning that is there)."""
    found: dict[str, Any] = {}
    for name, entry in profile.fields.items():
        value = value_at(body, name)
        if value is not MISSING:
            found.setdefault(entry.means, value)
    return found


# ── wire names that lead further in ───────────────────────────────────────────────────────────────────────────────────


def value_at(body: Mapping[str, Any], name: str) -> Any:
    """What a body holds under a wire name, a property's or a pointer; `MISSING` where it holds nothing."""
    if name.startswith("/") and name not in body:
        return look_up(body, name)
    return body.get(name, MISSING)


def nested(body: Mapping[str, Any]) -> dict[str, Any]:
    """The body with each value whose name is a pointer where that leads: objects and lists are made on the way, and filled up to its place."""
    found = {name: value for name, value in body.items() if not name.startswith("/")}
    for name, value in body.items():
        if name.startswith("/"):
            first, *rest = parts_of(name)
            found[first] = _with(found.get(first), rest, value)
    return found


def _with(there: Any, parts: list[str], value: Any) -> Any:
    if not parts:
        return value
    first, rest = parts[0], parts[1:]
    if first.isdigit():
        items = list(there) if isinstance(there, list | tuple) else []
        items += [{}] * (int(first) + 1 - len(items))
        items[int(first)] = _with(items[int(first)], rest, value)
        return items
    return {
        **(there if isinstance(there, Mapping) else {}),
        first: _with(there.get(first) if isinstance(there, Mapping) else None, rest, value),
    }


def is_required(operation: Operation, name: str) -> bool:
    """Whether a field has to be there, by its wire name: in the body, or in the object that a pointer leads into."""
    if not name.startswith("/") or name in operation.properties:
        return name in operation.required
    *owner, last = parts_of(name)
    return last in (schema_at(operation.request_schema, owner).get("required") or ())


def schema_of(properties: Mapping[str, Any], name: str) -> Schema:
    """The schema of a field by its wire name, a property's or a pointer; empty where the document has none."""
    schema: Schema = {"properties": properties}
    for part in parts_of(name) if name.startswith("/") and name not in properties else (name,):
        inner = schema.get("items") if part.isdigit() else (schema.get("properties") or {}).get(part)
        schema = inner if isinstance(inner, Mapping) else {}
    return schema


# ── the way back ──────────────────────────────────────────────────────────────────────────────────────────────────────
# For requests that a generator made. Values that are not of the kind their meaning needs (a fuzzed `n: "many"`) are left out: nobody
# can hold a server to them.


_KINDS: dict[str, type | tuple[type, ...]] = {
    "prompt": str, "negative_prompt": str, "n": int, "seed": int, "steps": int, "guidance": (int, float), "sampler": str,
    "strength": (int, float), "quality": str, "background": str, "format": str, "delivery": str, "user": str,
    "aspect_ratio": str, "style": str, "megapixels": (int, float), "tier": str, "safety_tolerance": int, "max_tokens": int, "temperature": (int, float), "stream": bool,
}  # fmt: skip


def task_value(field: WireField, wire_value: Any) -> Any:
    """The task's word for a wire value, where the profile translates them, and the number that text on the wire stands for."""
    for word, spelt in field.values.items():
        if spelt == wire_value:
            return word
    if field.format == "text" and isinstance(wire_value, str):
        with suppress(ValueError):
            return int(wire_value) if re.fullmatch(r"-?[0-9]{1,18}", wire_value) else float(wire_value)
    return wire_value


def task_terms(provider: Provider, fields: WireFields, task: Task | None = None) -> TaskRequest:
    """The task request that would be encoded as these fields, as far as their values make sense; fields of no meaning are in `extra`."""
    profile = provider.operation_profile(fields.operation)
    terms: dict[str, Any] = {}
    images: list[InputImage] = []
    width = height = None
    parts: dict[int, str] = {}
    extra: dict[str, Any] = {}
    for name, value in fields.path.items():
        entry = profile.path.get(name)
        if entry is not None and entry.means == "model" and isinstance(value, str):
            parts[entry.part or 0] = value
    if parts:
        terms["model"] = "/".join(parts[index] for index in sorted(parts))
    for name, entry in profile.fields.items():
        value = value_at(fields.body, name)
        if value is MISSING:
            continue
        value = _numeric(entry, value)
        if entry.means == "model" and isinstance(value, str):
            terms["model"] = value
        elif entry.means == "size" and isinstance(value, str):
            terms["size"] = pixel_size(value) or value
        elif entry.means == "width" and _is(value, int):
            width = value
        elif entry.means == "height" and _is(value, int):
            height = value
        elif entry.means == "async" and isinstance(value, bool):
            terms["asynchronous"] = value
        elif entry.means == "image":
            images += [_picture(item) for item in (value if isinstance(value, list | tuple) else [value])]
        elif entry.means == "mask":
            terms["mask"] = _picture(value)
        elif entry.means in _KINDS and _is(value, _KINDS[entry.means]):
            terms[entry.means] = task_value(entry, value)
        elif entry.means == "other" and isinstance(value, str | int | float):
            extra[name] = value
    if width is not None and height is not None:
        terms["size"] = (width, height)
    if terms.get("delivery") not in (None, "base64", "url", "binary"):
        del terms["delivery"]
    return TaskRequest(task=task or _task(profile, bool(images)), images=tuple(images), extra=extra, **terms)


def _task(profile: OperationProfile, has_pictures: bool) -> Task:
    if has_pictures and "edit" in profile.tasks:
        return "edit"
    return profile.tasks[0] if profile.tasks else "generate"


def _is(value: object, kind: type | tuple[type, ...]) -> bool:
    if isinstance(value, bool):
        return kind is bool
    return isinstance(value, kind)


def _numeric(entry: WireField, value: Any) -> Any:
    """A form field's text as the number it stands for (multipart has only text)."""
    if entry.format == "text":
        return task_value(entry, value)
    if entry.means in ("n", "seed", "steps", "width", "height") and isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,18}", value):
        return int(value)
    return value


def _picture(value: Any) -> InputImage:
    if isinstance(value, InputImage):
        return value
    if isinstance(value, bytes):
        return InputImage(value)
    return InputImage(str(value).encode() if value is not None else b"")


def with_defaults(provider: Provider, operation_id: str, asked: Mapping[str, Any], meaning: str) -> Any:
    """What was asked for a meaning, or the default that the document states for its field, or None."""
    if asked.get(meaning) is not None:
        return asked[meaning]
    profile = provider.operation_profile(operation_id)
    name = profile.names.get(meaning)
    if name is None:
        return None
    default = schema_of(provider.operation(operation_id).properties, name).get("default")
    return None if default is None else task_value(profile.fields[name], default)


# ── for a run folder ──────────────────────────────────────────────────────────────────────────────────────────────────


def asked_record(request: TaskRequest) -> dict[str, Any]:
    """The terms that were set, JSON-able; `size` as [width, height] or a word, pictures as {sha256, size, media_type} or {url}."""
    record: dict[str, Any] = {}
    for term in fields(request):
        value = getattr(request, term.name)
        if value is None or value == () or (term.name == "extra" and not value):
            continue
        record[term.name] = _plain(value)
    return record


def _plain(value: Any) -> Any:
    if isinstance(value, InputImage):
        if value.url is not None:
            return {"url": value.url}
        return {"sha256": hashlib.sha256(value.data).hexdigest(), "size": len(value.data), "media_type": value.media_type}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    if hasattr(value, "items"):
        return {str(key): _plain(item) for key, item in value.items()}
    return value
