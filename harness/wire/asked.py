"""A task request as data for a run folder: what was asked, with pictures as hash and size instead of bytes."""

from __future__ import annotations

import hashlib
from dataclasses import fields
from typing import Any

from testcard.harness.wire.model import InputImage, TaskRequest


def asked_record(request: TaskRequest) -> dict[str, Any]:
    """The terms that were set, JSON-able; `size` as [width, height] or a word, pictures as {sha256, size, media_type} or {url}."""
    record: dict[str, Any] = {}
    for field in fields(request):
        value = getattr(request, field.name)
        if value is None or value == () or (field.name == "extra" and not value):
            continue
        record[field.name] = _plain(value)
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
