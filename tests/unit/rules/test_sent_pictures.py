"""The pictures that requests of a check carry: small, valid, the same bytes every time."""

from __future__ import annotations

import io

import pytest
from PIL import Image, ImageChops

from testcard.harness.rules.sent_pictures import edit_mask, input_mask, input_picture, large_picture, no_picture
from testcard.harness.wire.pictures import inspect


def test_inputs_are_pictures() -> None:
    """The pictures that requests carry decode and are the same bytes each time."""
    for image in (input_picture(), input_mask()):
        info = inspect(image.data)
        assert (info.format, info.width_px, info.height_px, info.problem) == ("png", 256, 256, None)
        assert len(image.data) < 4096
    input_picture.cache_clear()
    assert input_picture() == input_picture()


def test_each_mask_says_it_in_the_documented_way_only() -> None:
    """White on black has no transparency, the transparent mask no white, and both mark the same part; undocumented is both."""
    white, transparent, both = (Image.open(io.BytesIO(edit_mask(marks).data)) for marks in ("white", "transparent", None))
    assert white.mode == "RGB"
    assert transparent.convert("RGB").getextrema() == ((0, 0),) * 3
    assert ImageChops.invert(transparent.getchannel("A")).tobytes() == white.convert("L").tobytes()
    assert both.convert("L").tobytes() == white.convert("L").tobytes()
    assert both.getchannel("A").tobytes() == transparent.getchannel("A").tobytes()


@pytest.mark.parametrize("size", [10_000, 65_537, 2_924_001])
def test_a_large_picture_is_a_picture(size: int) -> None:
    """It has the bytes asked for, decodes to its end, shows noise, and is the same every time."""
    data = large_picture(size).data
    assert len(data) == size
    info = inspect(data)
    assert (info.format, info.problem, info.blank) == ("png", None, False)
    picture = Image.open(io.BytesIO(data))
    assert picture.size[0] == 1024
    assert picture.size[0] * picture.size[1] * 3 > 0.6 * size
    large_picture.cache_clear()
    assert large_picture(size).data == data


def test_what_is_no_picture() -> None:
    """It passes for a PNG by its first bytes and for nothing by the rest."""
    data = no_picture().data
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    assert inspect(data).problem is not None
