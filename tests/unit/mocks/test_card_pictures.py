"""Test-card pictures are real, of the size asked for, and the same again for the same order."""

from __future__ import annotations

import asyncio
import base64
import io
import zlib

import pytest
from msgspec.structs import replace
from PIL import Image, ImageChops

from testcard.mocks.exchange import Parameters, PictureFormat
from testcard.mocks.pictures import bands, renderer
from testcard.mocks.pictures.bands import layout
from testcard.mocks.pictures.renderer import Renderer, content, repeatable_renderer

SIZES = [(1, 1), (2, 5), (7, 300), (31, 31), (32, 32), (33, 47), (64, 64), (100, 257), (256, 256), (1024, 64), (768, 1344)]


def parameters(width: int = 96, height: int = 96, **changes: object) -> Parameters:
    return replace(Parameters(width, height, "a red boat", b"salt", seed=7), **changes)  # type: ignore[arg-type]


def draw(wanted: Parameters, renderer: Renderer | None = None) -> list[Image.Image]:
    pictures = [Image.open(io.BytesIO(one.data)) for one in asyncio.run((renderer or Renderer()).draw(wanted))]
    for picture in pictures:
        picture.load()
    return pictures


@pytest.mark.parametrize("size", SIZES)
def test_png_holds_the_composed_pixels(size: tuple[int, int]) -> None:
    """The PNG that is put together from compressed bands decodes to exactly the pixels that are drawn one by one."""
    plan = layout(*size)
    for variant in range(bands.VARIANTS):
        digest = bytes([variant, 1, 2, 3])
        picture = Image.open(io.BytesIO(renderer.write(plan, "a red boat", variant, digest)))
        picture.verify()
        picture = Image.open(io.BytesIO(renderer.write(plan, "a red boat", variant, digest)))
        assert picture.size == size
        assert picture.mode == "RGB"
        assert ImageChops.difference(picture, renderer.compose(plan, "a red boat", variant, digest)).getbbox() is None


@pytest.mark.parametrize("size", [*SIZES, (1000, 40), (4096, 40)])
def test_a_picture_s_chunks_and_checksums_are_right(size: tuple[int, int]) -> None:
    """Every chunk has its CRC, and the pixels are one zlib stream with its Adler-32, as a decoder reads them that checks everything."""
    for number in range(4):
        data = renderer.write(layout(*size), "a red boat", number, bytes([number, 255 - number, 2, 3] * 16))
        at, packed = 8, b""
        while at < len(data):
            length = int.from_bytes(data[at : at + 4], "big")
            body = data[at + 4 : at + 8 + length]
            assert zlib.crc32(body) == int.from_bytes(data[at + 8 + length : at + 12 + length], "big")
            packed += body[4:] if body[:4] == b"IDAT" else b""
            at += 12 + length
        assert len(zlib.decompress(packed)) == size[1] * (1 + 3 * size[0])


@pytest.mark.parametrize("size", SIZES)
def test_pieces_of_base64_make_up_the_picture(size: tuple[int, int]) -> None:
    """Base64 that is put together from pieces which were encoded before is that of the whole picture, for captions of any length."""
    for number, caption in enumerate(("", "a", "a red boat on a calm lake")):
        asked = (layout(*size), caption, number % bands.VARIANTS, bytes([number, 1, 2, 3]))
        assert base64.b64decode(b"".join(renderer.write_in_base64(*asked)), validate=True) == renderer.write(*asked)


@pytest.mark.parametrize("form", ["png", "jpeg", "webp"])
@pytest.mark.parametrize("size", [(1, 1), (31, 90), (256, 192)])
def test_format_size_and_number_are_as_asked(form: PictureFormat, size: tuple[int, int]) -> None:
    """An order gives as many pictures as it says, of its size, in its format."""
    pictures = draw(parameters(*size, n=3, format=form))
    assert [picture.format for picture in pictures] == [form.upper()] * 3
    assert [picture.size for picture in pictures] == [size] * 3


def test_pictures_repeat_with_a_seed_and_only_then() -> None:
    """Seed and parameters decide every pixel; n, the format and a fresh server do not change them; a missing seed does."""
    first, second = draw(parameters(n=2)), draw(parameters(n=1))
    assert first[0].tobytes() == second[0].tobytes()
    assert first[0].tobytes() == draw(parameters(format="webp"))[0].tobytes()
    assert first[0].tobytes() != first[1].tobytes()
    for changed in (parameters(seed=8), parameters(salt=b"other"), parameters(seed=None), parameters(seed=None)):
        assert draw(changed)[0].tobytes() != first[0].tobytes()
    renderer = Renderer()
    assert draw(parameters(seed=None), renderer)[0].tobytes() != draw(parameters(seed=None), renderer)[0].tobytes()


def test_transparent_background_has_transparent_and_opaque_pixels() -> None:
    """A transparent card lets the background through and keeps its subject."""
    for form in ("png", "webp"):
        picture = draw(parameters(128, 128, transparent=True, format=form))[0]
        assert picture.mode == "RGBA"
        assert picture.getchannel("A").getextrema() == (0, 255)
        assert picture.getpixel((0, 0))[3] == 0  # type: ignore[index]


def test_an_edit_starts_from_its_picture() -> None:
    """The lower the strength, the closer an edit is to the picture it started from."""

    def distance(strength: float) -> int:
        edited = draw(parameters(images=(source,), strength=strength))[0]
        return sum(value * count for value, count in enumerate(ImageChops.difference(edited, source).convert("L").histogram()))

    source = Image.new("RGB", (96, 96), (200, 120, 40))
    assert 0 < distance(0.0) < distance(0.5) < distance(1.0)


def test_a_mask_keeps_what_it_covers() -> None:
    """Under a mask every pixel outside it survives, and every picture of the order differs inside it, however small it is."""
    source = Image.effect_mandelbrot((96, 96), (-2, -1.5, 1, 1.5), 100).convert("RGB")
    edit = Image.new("L", (96, 96), 0)
    edit.paste(255, (10, 12, 14, 15))
    pictures = draw(parameters(images=(source,), edit=edit, n=3))
    holes = set()
    for picture in pictures:
        assert ImageChops.difference(picture, source).getbbox() == (10, 12, 14, 15)
        holes.add(picture.crop((10, 12, 14, 15)).tobytes())
    assert len(holes) == 3


def test_an_edit_has_the_size_asked_for() -> None:
    """A picture of another size is scaled to the one asked for, and a mask with it."""
    source = Image.new("RGB", (48, 24), (1, 2, 3))
    edit = Image.new("L", (24, 48), 0)
    edit.paste(255, (0, 0, 12, 48))
    picture = draw(parameters(128, 64, images=(source, source), edit=edit))[0]
    assert picture.size == (128, 64)
    assert ImageChops.difference(picture, Image.new("RGB", (128, 64), (1, 2, 3))).getbbox() == (0, 0, 64, 64)


def test_captions_survive_any_prompt() -> None:
    """No prompt is too long or too strange to be written on a card."""
    for prompt in ("", "x" * 10_000, "\x00\x1b[31m\n\t", "𓂀 ☃ שלום", "'\"<&>"):
        assert draw(parameters(64, 64, caption=prompt, seed=None))[0].size == (64, 64)


def test_a_renderer_without_chance_repeats_itself() -> None:
    """Two such renderers give the same pictures for the same orders, in their sequence; orders that differ share none."""
    here, there = repeatable_renderer(), repeatable_renderer()
    wanted = parameters(seed=None)
    first, second = draw(wanted, here)[0].tobytes(), draw(wanted, here)[0].tobytes()
    assert first != second
    assert [draw(wanted, there)[0].tobytes() for _ in range(2)] == [first, second]
    assert draw(parameters(seed=None, caption="another"), there)[0].tobytes() not in (first, second)


def test_shared_pictures_are_told_apart_by_all_that_they_are_drawn_from() -> None:
    """A mock that lies about one part of an order finds no picture that another one drew for the whole of it."""
    grey, white = Image.new("RGB", (64, 64), (90, 90, 90)), Image.new("RGB", (64, 64), (255, 255, 255))
    mask = Image.new("L", (64, 64), 255)
    orders = [
        parameters(64, 64),
        parameters(64, 64, caption="another"),
        parameters(64, 64, transparent=True),
        parameters(64, 64, format="webp"),
        *(parameters(64, 64, images=images, edit=edit, strength=strength)
          for images in ((grey,), (white,), (grey, white)) for edit in (None, mask) for strength in (0.2, 0.9)),
    ]  # fmt: skip
    assert len({content(one) for one in orders}) == len(orders)
    assert content(parameters(seed=1)) == content(parameters(seed=2))
    shared = repeatable_renderer()
    for one in orders:
        assert draw(one, shared)[0].tobytes() == draw(one)[0].tobytes()
