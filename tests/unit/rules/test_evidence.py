"""What a body is, told from its bytes alone."""

from __future__ import annotations

import json

import pytest

from testcard.harness.rules.evidence import ends_too_early, kind_of, stated_kind

WHOLE = json.dumps({"data": [{"b64_json": "iVBORw0KGgo" * 50}], "note": 'a "quoted" } brace \\ and ü'}).encode()


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"<!DOCTYPE html><html>", "html"),
        (b"\r\n <HTML lang=en>", "html"),
        (b"<html><body>upstream error</body></html>", "html"),
        (b"\x89PNG\r\n\x1a\n....", "picture"),
        (b"\xff\xd8\xff\xe0", "picture"),
        (b"RIFF\x00\x00\x00\x00WEBPVP8 ", "picture"),
        (b"data: {}\n\n", "events"),
        (b"upstream error", None),
        (b"<note>xml</note>", None),
        (b"", None),
    ],
)
def test_kind_of_bytes(body: bytes, kind: str | None) -> None:
    """Pages, pictures and event streams are known by how they begin; of the rest nothing is claimed."""
    assert kind_of(body, is_json=False) == kind


def test_json_is_what_was_read_as_json() -> None:
    """Whether a body is JSON is for the reader of JSON to say."""
    assert kind_of(b"{}", is_json=True) == "json"


@pytest.mark.parametrize(
    ("media_type", "kind"),
    [
        ("application/json", "json"),
        ("application/problem+json", "json"),
        ("text/html", "html"),
        ("text/event-stream", "events"),
        ("image/webp", "picture"),
        ("image/svg+xml", None),
        ("text/plain", None),
        ("application/octet-stream", None),
        ("", None),
    ],
)
def test_kind_of_a_media_type(media_type: str, kind: str | None) -> None:
    """Types that may hold anything claim nothing."""
    assert stated_kind(media_type) == kind


@pytest.mark.parametrize("end", [1, 2, 20, len(WHOLE) // 2, len(WHOLE) - 1])
def test_json_that_lacks_its_end(end: int) -> None:
    """Wherever JSON is cut, it is seen to have no end."""
    assert ends_too_early(WHOLE[:end])


@pytest.mark.parametrize("body", [WHOLE, b"[]", b"{}", b"", b"null", b"{'python': 1}", b'{"a": NaN}', b'{"a": 1}}', b"<html>", b'{"a" 1}'])
def test_json_with_an_end_or_none(body: bytes) -> None:
    """Whole JSON is not cut, nor is what is wrong in another way."""
    assert not ends_too_early(body)


def test_a_text_that_ends_within_a_string_ends_too_early_whatever_was_in_it() -> None:
    """Brackets and an escaped quotation mark in the string that was cut count for nothing; in one that is whole neither."""
    assert ends_too_early(rb'["a]\"')
    assert ends_too_early(rb'{"a": "\\", "b": "}')
    assert not ends_too_early(rb'["a[\"", "\\"]')
