"""What a request's wire fields ask for, in the task's own terms: the way back from `wire_fields`, for requests that a generator made.

Values that are not of the kind their meaning needs (a fuzzed `n: "many"`) are left out: nobody can hold a server to them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from testcard.harness.wire.encode import WireFields
from testcard.harness.wire.model import InputImage, TaskRequest
from testcard.specs.loader import Provider
from testcard.specs.profile import OperationProfile, Task, WireField

_SIZE = re.compile(r"^([1-9][0-9]{0,5})x([1-9][0-9]{0,5})$")
_KINDS: dict[str, type | tuple[type, ...]] = {
    "prompt": str, "negative_prompt": str, "n": int, "seed": int, "steps": int, "guidance": (int, float), "sampler": str,
    "strength": (int, float), "quality": str, "background": str, "format": str, "delivery": str, "user": str,
    "aspect_ratio": str, "tier": str, "safety_tolerance": int, "max_tokens": int, "temperature": (int, float), "stream": bool,
}  # fmt: skip


def parse_size(text: object) -> tuple[int, int] | None:
    """Width and height in pixels of "512x512"; None for anything else."""
    found = _SIZE.match(text) if isinstance(text, str) else None
    return (int(found[1]), int(found[2])) if found else None


def task_value(field: WireField, wire_value: Any) -> Any:
    """The task's word for a wire value, where the profile translates them."""
    for word, spelt in field.values.items():
        if spelt == wire_value:
            return word
    return wire_value


def task_terms(provider: Provider, fields: WireFields, task: Task | None = None) -> TaskRequest:
    """The task request that would be encoded as these fields, as far as their values make sense."""
    profile = provider.operation_profile(fields.operation)
    terms: dict[str, Any] = {}
    images: list[InputImage] = []
    width = height = None
    parts: dict[int, str] = {}
    for name, value in fields.path.items():
        entry = profile.path.get(name)
        if entry is not None and entry.means == "model" and isinstance(value, str):
            parts[entry.part or 0] = value
    if parts:
        terms["model"] = "/".join(parts[index] for index in sorted(parts))
    for name, value in fields.body.items():
        entry = profile.fields.get(name)
        if entry is None:
            continue
        value = _numeric(entry, value)
        if entry.means == "model" and isinstance(value, str):
            terms["model"] = value
        elif entry.means == "size" and isinstance(value, str):
            terms["size"] = parse_size(value) or value
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
    if width is not None and height is not None:
        terms["size"] = (width, height)
    if terms.get("delivery") not in (None, "base64", "url"):
        del terms["delivery"]
    return TaskRequest(task=task or _task(profile, bool(images)), images=tuple(images), **terms)


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
    for name, entry in profile.fields.items():
        if entry.means == meaning:
            default = provider.operation(operation_id).properties.get(name, {}).get("default")
            return None if default is None else task_value(entry, default)
    return None
