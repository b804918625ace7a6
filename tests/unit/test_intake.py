"""Bytes of strangers: which are opened as pictures, which are read as JSON."""

from __future__ import annotations

import ast
import io
import struct
import zlib
from pathlib import Path
from typing import Any

import pytest
from PIL import EpsImagePlugin, Image

from testcard.harness import intake
from testcard.harness.intake import MOST_PIXELS, NoPicture, open_picture, read_json, strict_json
from testcard.harness.wire.pictures import input_image, inspect, look
from testcard.harness.wire.sse import ChatStream, StreamEvent

ROOT = Path(intake.__file__).parent.parent
#: Where Pillow may open anything at all; mocks share no code with the harness.
OPENERS = {"harness/intake.py", "mocks/pictures/inputs.py"}
EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 64\n%%EndComments\n%%EOF\n"


def encoded(kind: str) -> bytes:
    """A real picture of 64 by 48 pixels."""
    buffer = io.BytesIO()
    Image.linear_gradient("L").resize((64, 48)).convert("RGB").save(buffer, kind)
    return buffer.getvalue()


def empty_tiff() -> bytes:
    """The header of a TIFF of 512 by 512 pixels, and nothing of what it describes."""
    tags = [(256, 512), (257, 512), (258, 8), (259, 1), (262, 1), (273, 8), (277, 1), (278, 512), (279, 512 * 512)]
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + struct.pack("<I", 0)


def png_claiming(width: int, height: int) -> bytes:
    """A PNG of a few bytes that says it is this large."""
    data = bytearray(encoded("PNG"))
    data[16:24] = struct.pack(">II", width, height)
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    return bytes(data)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "AVIF"])
def test_what_services_send_is_opened(kind: str) -> None:
    """All five formats, with their size."""
    if kind == "AVIF":
        pytest.importorskip("PIL._avif", reason="this Pillow reads no AVIF")
    assert open_picture(encoded(kind)).size == (64, 48)
    info = inspect(encoded(kind))
    assert (info.format, info.width_px, info.height_px, info.problem) == (kind.lower(), 64, 48, None)


def test_an_eps_starts_no_program(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow hands an EPS to Ghostscript: a target's bytes would run a program of ours. It is no picture here."""

    def started(*_: Any, **__: Any) -> Any:
        raise AssertionError("a target's bytes started a program")

    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", started)
    info = inspect(EPS)
    assert (info.format, info.problem) == (None, "is no picture of a known format")


@pytest.mark.parametrize(
    "data", [EPS, empty_tiff(), encoded("BMP"), encoded("ICO"), encoded("PPM")], ids=["eps", "tiff", "bmp", "ico", "ppm"]
)
def test_nothing_else_is_a_picture(data: bytes) -> None:
    """A TIFF's header alone counted as a picture of its size; of other formats no provider speaks."""
    assert look(data).format is None
    with pytest.raises(NoPicture):
        open_picture(data)


def test_a_second_picture_behind_the_first_leaves_a_jpeg_a_jpeg() -> None:
    """Cameras and some services append pictures (MPO); the file is a JPEG all the same."""
    first, second = (Image.linear_gradient("L").resize((64, edge)).convert("RGB") for edge in (48, 32))
    buffer = io.BytesIO()
    first.save(buffer, "MPO", save_all=True, append_images=[second])
    assert (look(buffer.getvalue()).format, look(buffer.getvalue()).problem) == ("jpeg", None)


@pytest.mark.parametrize(
    ("width", "height", "problem"),
    [(10_000, 10_000, "claims 10000x10000 pixels"), (60_000, 60_000, "claims more pixels than are ever decoded")],
)
def test_claimed_pixels_are_not_decoded(width: int, height: int, problem: str, recwarn: pytest.WarningsRecorder) -> None:
    """A few bytes that claim a hundred million pixels are told by their claim; nothing is warned of in passing."""
    assert width * height > MOST_PIXELS
    info = inspect(png_claiming(width, height))
    assert (info.problem, info.pixels_sha256) == (problem, None)
    assert not recwarn.list


def test_a_users_own_file_is_sent_as_what_it_is() -> None:
    """Formats that are not opened are named by their first bytes: whether a provider takes a BMP is for the provider to say."""
    assert input_image(encoded("BMP")).media_type == "image/bmp"
    assert input_image(empty_tiff()).media_type == "image/tiff"
    assert input_image(b"whatever").media_type == "image/png"
    assert (input_image(encoded("JPEG")).media_type, input_image(encoded("JPEG")).name) == ("image/jpeg", "image.jpg")


def _opened(path: Path) -> list[ast.Call]:
    """Calls of `Image.open` in a file, by whatever name the module goes there."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == "PIL"
        for alias in node.names
        if alias.name == "Image"
    }
    return [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "open"
        and (ast.unparse(node.func.value) in names or ast.unparse(node.func.value).endswith("PIL.Image"))
    ]


def test_pictures_are_opened_in_one_place() -> None:
    """`Image.open` stands in one function of the harness and in one of the mocks, each with the formats that it may open."""
    files = [path for folder in ("specs", "harness", "mocks", "benchmarks", "reports") for path in (ROOT / folder).rglob("*.py")]
    opening = {path.relative_to(ROOT).as_posix(): calls for path in files if (calls := _opened(path))}
    assert set(opening) == OPENERS
    assert all(len(calls) == 1 and any(word.arg == "formats" for word in calls[0].keywords) for calls in opening.values())


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (b'{"a": 1}', {"a": 1}),
        (b"\xef\xbb\xbf[1]", [1]),
        ('{"a": "é"}'.encode("utf-16"), {"a": "é"}),
        (b"1e999", float("inf")),
        ('"\\ud800"', "\ud800"),
        ('["\ud800"]', ["\ud800"]),
    ],
)
def test_json_as_clients_read_it(text: bytes | str, value: Any) -> None:
    """Other encodings, a byte order mark, numbers beyond a float and lone surrogates are read."""
    assert read_json(text) == value


@pytest.mark.parametrize("text", [b"", b"NaN", b"[Infinity]", b"{", b"\xff\xfe\xff", b"[" * 100_000, '{"a":' * 100_000, b"1" * 5000 + b"x"])
def test_what_is_no_json(text: bytes | str) -> None:
    """Whatever it is, one kind of error says that it cannot be read; nesting without end is no other."""
    with pytest.raises(ValueError, match=r"\S"):
        read_json(text)
    with pytest.raises(ValueError, match=r"\S"):
        strict_json(text if isinstance(text, bytes) else text.encode())


def test_strict_json_is_the_standards() -> None:
    """RFC 8259 allows no byte order mark and no UTF-16; a lone surrogate, escaped, is grammar."""
    assert strict_json(b'["\\ud800"]') == ["\ud800"]
    for text in (b"\xef\xbb\xbf[1]", "[1]".encode("utf-16")):
        with pytest.raises(ValueError, match=r"\S"):
            strict_json(text)


def test_a_stream_survives_an_event_nested_without_end() -> None:
    """It used to raise RecursionError, and with it the check or the load user."""
    chat = ChatStream()
    assert chat.add(StreamEvent("[" * 100_000)) is None
    assert chat.problem == "an event's data is no JSON object"
