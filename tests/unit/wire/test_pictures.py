"""Pictures and base64, pure: properties over arbitrary bytes, and files cut at every place."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from testcard.harness.wire import pictures
from testcard.harness.wire.decode import decode
from testcard.harness.wire.model import DeliveredPicture, InputImage, WireResponse
from testcard.harness.wire.pictures import data_url, encode_base64, input_image, inspect, lenient_base64, look, placed, strict_base64, way
from testcard.specs.loader import load_provider
from testcard.specs.pointers import at
from testkit.pictures import encoded, opened

QUICK = settings(max_examples=60, deadline=None)


def picture(kind: str, size: tuple[int, int] = (24, 16), colour: tuple[int, int, int] | None = None) -> bytes:
    image = Image.new("RGB", size, colour or (0, 0, 0))
    if colour is None:
        image.putdata([((x * 9) % 256, (y * 13) % 256, (x * y) % 256) for y in range(size[1]) for x in range(size[0])])
    return encoded(image, kind)


@QUICK
@given(st.binary(max_size=300))
def test_base64_round_trips(data: bytes) -> None:
    """What is encoded decodes to itself, strictly and leniently, and agrees with the standard library."""
    text = encode_base64(data)
    assert text == base64.b64encode(data).decode()
    assert strict_base64(text) == data
    assert lenient_base64(text) == data


@QUICK
@given(st.binary(min_size=1, max_size=100))
def test_lenient_base64_reads_what_servers_send(data: bytes) -> None:
    """Data URLs, line breaks, URL-safe letters and missing padding are read; strictly they are refused."""
    plain = base64.b64encode(data).decode()
    odd = [f"data:image/png;base64,{plain}", "\r\n".join([plain[:2], plain[2:]]), base64.urlsafe_b64encode(data).decode().rstrip("=")]
    for text in odd:
        assert lenient_base64(text) == data
        if text != plain:
            assert strict_base64(text) is None


@QUICK
@given(st.text(max_size=60))
def test_base64_never_raises(text: str) -> None:
    """Any text at all is either bytes or None."""
    strict = strict_base64(text)
    lenient_base64(text)
    if strict is not None:
        assert base64.b64decode(text, validate=True) == strict


def test_a_data_url_names_its_media_type() -> None:
    """data:TYPE;base64,DATA."""
    assert data_url(InputImage(b"abc", "image/webp")) == "data:image/webp;base64,YWJj"


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp"])
def test_a_whole_picture_is_recognised(kind: str) -> None:
    """Format, size and wholeness, with and without decoding."""
    data = picture(kind)
    for pixels in (True, False):
        info = inspect(data, pixels=pixels)
        assert (info.format, info.width_px, info.height_px, info.problem) == (kind, 24, 16, None)
    assert inspect(data).blank is False
    assert inspect(picture(kind, colour=(9, 9, 9))).blank is True


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp"])
def test_a_picture_cut_anywhere_has_a_problem(kind: str) -> None:
    """Every proper prefix is found out, by decoding and by structure alone."""
    data = picture(kind)
    # Two bytes of a JPEG's end mark are all that a decoder can do without, and a WebP may carry one byte of padding.
    for length in range(len(data) - 2):
        assert inspect(data[:length]).problem is not None, length
        assert look(data[:length]).problem is not None, length


def test_one_flipped_bit_of_a_png_is_seen_without_decoding() -> None:
    """The checksums of the chunks are looked at."""
    data = bytearray(picture("png"))
    data[len(data) // 2] ^= 1
    assert "checksum" in str(look(bytes(data)).problem)


def test_equal_pixels_are_equal_whatever_the_compression() -> None:
    """Two files of the same pixels share the pixel hash and differ in the file hash."""
    one, other = inspect(picture("png")), inspect(encoded(opened(picture("png")), compress_level=0))
    assert one.pixels_sha256 == other.pixels_sha256
    assert one.sha256 != other.sha256


@QUICK
@given(st.binary(max_size=200))
def test_inspect_never_raises(data: bytes) -> None:
    """Any bytes get a verdict."""
    assert inspect(data).problem is not None
    assert inspect(b"\x89PNG\r\n\x1a\n" + data).problem is not None


def test_an_input_picture_gets_its_media_type_from_its_header() -> None:
    """A JPEG called .png is sent as image/jpeg."""
    image = input_image(picture("jpeg"), "liar.png")
    assert (image.media_type, image.name) == ("image/jpeg", "liar.png")
    assert input_image(b"junk").media_type == "image/png"


PNG = base64.b64encode(picture("png")).decode()
URL = "https://pictures.example/1.png"


@pytest.mark.parametrize(
    ("provider", "operation", "body", "expected"),
    [
        ("nanogpt", "createImage", {"data": [{"b64_json": PNG}, {"url": URL}]}, [("/data/0/b64_json", "base64"), ("/data/1/url", "url")]),
        ("nanogpt", "createImage", {"data": [{"b64_json": PNG, "url": URL}]}, [("/data/0/b64_json", "base64")]),
        ("nanogpt", "createImage", {"data": [{"b64_json": f"data:image/png;base64,{PNG}"}]}, [("/data/0/b64_json", "data-url")]),
        ("nanogpt", "createImage", {"data": [{"url": f"data:image/png;base64,{PNG}"}]}, [("/data/0/url", "data-url")]),
        ("nanogpt", "createImage", {"data": [{"b64_json": URL}, {"url": PNG}]}, [("/data/0/b64_json", "url"), ("/data/1/url", "base64")]),
        ("nanogpt", "createImage", {"data": [{}, 3, None]}, []),
        ("nanogpt", "createImage", {"error": {"message": PNG}}, []),
        ("nvidia-nim-image", "generateImage", {"artifacts": [{"base64": PNG}]}, [("/artifacts/0/base64", "base64")]),
        ("opengpu-relay", "generateFlux", {"images": [PNG, PNG]}, [("/images/0", "base64"), ("/images/1", "base64")]),
        ("opengpu-relay", "generateQwen", {"urls": [URL]}, [("/urls/0", "url")]),
        ("nvidia-nim-vision", "createVisionChatCompletion", {"choices": [{"message": {"content": PNG}}]}, []),
    ],
)
def test_where_an_answer_holds_its_pictures(provider: str, operation: str, body: Any, expected: list[tuple[str, str]]) -> None:
    """The place of the text that is the picture, or leads to it, and how it is spelt: as it really is, wherever it stands."""
    known = load_provider(provider)
    response = WireResponse(200, (("content-type", "application/json"),), json.dumps(body).encode())
    found = list(placed(known, operation, decode(known, operation, response)))
    assert found == expected
    assert all(isinstance(at(body, place), str) for place, _ in found)


def test_where_a_finished_task_holds_its_pictures() -> None:
    """In its result; or anywhere that the operation itself has them, where a poll is answered with the result alone."""
    relay = load_provider("opengpu-relay")
    for body, places in (
        ({"task_id": "t", "status": "completed", "result": {"urls": [URL, URL]}}, ["/result/urls/0", "/result/urls/1"]),
        ({"urls": [URL]}, ["/urls/0"]),
        ({"task_id": "t", "status": "running"}, []),
    ):
        answer = decode(relay, "getTask", WireResponse(200, (), json.dumps(body).encode()))
        assert [place for place, _ in placed(relay, "generateQwen", answer)] == places


def test_only_what_begins_with_a_scheme_is_an_address() -> None:
    """Where base64 belongs: http://, and no text of megabytes that has a :// somewhere. Looked for near its begin, for a text may be long."""
    assert way(DeliveredPicture(0, base64="http://127.0.0.1/x.png")) == "url"
    assert way(DeliveredPicture(0, base64="x" * 100 + "://127.0.0.1/x.png")) == "base64"


def test_a_picture_in_hand_is_not_fetched() -> None:
    """Base64 and an address beside it: the base64 is the picture, and nothing is asked of the address."""
    both, alone, neither = (DeliveredPicture(0, base64=text, url=url) for text, url in ((PNG, URL), (None, URL), (None, None)))
    assert [one.address for one in (both, alone, neither)] == [None, URL, None]


def _changed(picture: bytes, at: int, byte: int, cut: int) -> bytes:
    at %= len(picture)
    return (picture[:at] + bytes([byte]) + picture[at + 1 :])[: len(picture) - cut]


PLAIN = [
    encoded(Image.new(mode, (9, 7), 1), **options)
    for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")
    for options in ({}, {"dpi": (72, 72)}, {"pnginfo": None, "optimize": True})
]


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(PLAIN), st.integers(0, 200), st.integers(0, 255), st.sampled_from([0, 0, 0, 1, 12, 30]))
def test_a_plain_png_is_seen_as_pillow_sees_it(picture: bytes, at: int, byte: int, cut: int) -> None:
    """Whole, changed in a byte anywhere, and cut off: format, size and whether there is a problem are the same without the short way."""
    data = _changed(picture, at, byte, cut)
    quick = look(data)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pictures, "_plain_png_size", lambda data: None)
        slow = look(data)
    assert quick == slow


@pytest.mark.parametrize("mode", ["1", "L", "LA", "RGB", "RGBA"])
def test_a_plain_png_needs_no_pillow(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """That is what nearly every picture of a load is."""

    def refuse(data: bytes) -> None:
        raise AssertionError("opened")

    monkeypatch.setattr(pictures, "open_picture", refuse)
    assert look(encoded(Image.new(mode, (9, 7), 1))) == pictures.Look("png", 9, 7, None)
