"""Pictures and base64, pure: properties over arbitrary bytes, and files cut at every place."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from testcard.harness.wire.model import InputImage
from testcard.harness.wire.pictures import data_url, encode_base64, input_image, inspect, lenient_base64, look, strict_base64
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
