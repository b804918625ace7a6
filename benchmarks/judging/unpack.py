"""Large answers taken apart before they are parsed, because of 1.4 MB of JSON all but some hundred bytes are base64. Pure."""

from __future__ import annotations

import binascii
import secrets

import pybase64

#: Strings from this length on are worth it, and bodies from four times of it.
MANY_BYTES = 16 * 1024
#: After so many quotation marks without an end it is another kind of document.
_QUOTES = 1000
#: Begins every mark; no server can know it.
_MARK = f"testcard-{secrets.token_hex(8)}-"


def unpacked(body: bytes) -> tuple[bytes, dict[str, bytes]]:
    """JSON text with a short mark in place of each long string of base64, and what each mark stands for, decoded.

    Parsing looks at every byte for escapes and encoding, which the strict decoding of base64 rules out as well; so each byte is
    looked at once. What stands between two quotation marks and is nothing but base64 (with or without the head of a data URL) is
    a string: outside of strings there is a comma or a colon, and an escape is no base64. Whatever is not strict stays where it is.
    So the result is valid JSON exactly when `body` is.
    """
    if len(body) < 4 * MANY_BYTES:
        return body, {}
    view = memoryview(body)
    pieces: list[bytes | memoryview] = []
    found: dict[str, bytes] = {}
    kept, quote = 0, body.find(b'"')
    for _ in range(_QUOTES):
        if quote < 0:
            break
        following = body.find(b'"', quote + 1)
        if following - quote > MANY_BYTES and (data := _decoded(body, view, quote + 1, following)) is not None:
            mark = f"{_MARK}{len(found)}"
            found[mark] = data
            pieces += (view[kept : quote + 1], mark.encode())
            kept = following
        quote = following
    if not found:
        return body, {}
    return b"".join([*pieces, view[kept:]]), found


def _decoded(body: bytes, view: memoryview, begin: int, end: int) -> bytes | None:
    if body.startswith(b"data:", begin):
        comma = body.find(b",", begin, begin + 100)
        if comma < 0 or not body.endswith(b";base64", begin, comma):
            return None
        begin = comma + 1
    try:
        return pybase64.b64decode(view[begin:end], validate=True)
    except (binascii.Error, ValueError):
        return None
