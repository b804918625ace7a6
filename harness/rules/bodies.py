"""What kind of content the bytes of a body are, whatever their header calls them."""

from __future__ import annotations

import re
from typing import Literal

Kind = Literal["json", "html", "picture", "events"]

_PICTURES = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF87a", b"GIF89a")
_HTML = re.compile(rb"<(?:!doctype\s+html|html|head|body|title)\b", re.IGNORECASE)
_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_NOT_BRACKETS = bytes(set(range(256)) - set(b'[]{}"'))


def kind_of(body: bytes, *, is_json: bool) -> Kind | None:
    """The kind that the bytes show beyond doubt, or None. `is_json`: whether they were read as a JSON object or array."""
    if is_json:
        return "json"
    start = body[:64].lstrip(b"\xef\xbb\xbf \t\r\n")
    if _HTML.match(start):
        return "html"
    if body.startswith(_PICTURES) or (body[:4] == b"RIFF" and body[8:12] == b"WEBP"):
        return "picture"
    if start.startswith((b"data:", b"event:")):
        return "events"
    return None


def stated_kind(media_type: str) -> Kind | None:
    """The kind that a media type (lower case, without parameters) stands for; None for types that may hold anything."""
    if media_type == "application/json" or media_type.endswith("+json"):
        return "json"
    if media_type in ("text/html", "application/xhtml+xml"):
        return "html"
    if media_type == "text/event-stream":
        return "events"
    return "picture" if media_type.startswith("image/") and not media_type.endswith("+xml") else None


def ends_too_early(body: bytes) -> bool:
    """Whether the bytes are the beginning of a JSON object or array whose end is missing."""
    if body.lstrip()[:1] not in (b"{", b"["):
        return False
    rest = _STRING.sub(b"", body).translate(None, _NOT_BRACKETS)
    opened = rest.count(b"{") + rest.count(b"[")
    closed = rest.count(b"}") + rest.count(b"]")
    return rest.count(b'"') % 2 == 1 or opened > closed
