"""multipart/form-data (RFC 7578) with a boundary that follows from the content, so that equal requests are equal bytes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from testcard.harness.wire.model import InputImage


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
