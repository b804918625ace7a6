"""Bytes of strangers: which are opened as pictures, which are read as JSON."""

from __future__ import annotations

import ast
import io
import math
import struct
import zlib
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from PIL import EpsImagePlugin, Image, features

from testcard.harness import intake
from testcard.harness.intake.json_values import BeyondLimits, read_json, strict_json
from testcard.harness.intake.limits import IntakeLimits, changed, limits, parsed, use_limits
from testcard.harness.intake.pictures import NoPicture, open_picture
from testcard.harness.wire.pictures import input_image, inspect, look
from testcard.harness.wire.sse import ChatStream, EventStream, StreamEvent

ROOT = Path(intake.__file__).parent.parent.parent
#: Where Pillow may open anything at all; mocks share no code with the harness.
OPENERS = {"harness/intake/pictures.py", "mocks/pictures/inputs.py"}
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
    assert width * height > limits().pixels
    info = inspect(png_claiming(width, height))
    assert (info.problem, info.pixels_sha256) == (problem, None)
    assert not recwarn.list


def test_what_a_decoder_holds_several_times_counts_twice() -> None:
    """A WebP of 34 bytes, an AVIF and a JPEG of several scans take their decoders up to 16 bytes a pixel: half as many are decoded."""
    use_limits(changed(IntakeLimits(), {"pixels": 8192}))
    try:
        for kind, options in (("WEBP", {}), ("AVIF", {}), ("JPEG", {"progressive": True}), ("JPEG", {}), ("PNG", {}), ("GIF", {})):
            if kind == "AVIF" and not features.check("avif"):
                continue
            several = kind in ("WEBP", "AVIF") or bool(options)
            for width, height, decoded in ((64, 64, True), (65, 64, not several), (128, 65, False)):
                buffer = io.BytesIO()
                Image.new("RGB", (width, height), (9, 9, 9)).save(buffer, kind, **options)
                info = inspect(buffer.getvalue())
                assert (info.pixels_sha256 is not None, info.width_px, info.height_px) == (decoded, width, height), kind
                assert info.problem == (None if decoded else f"claims {width}x{height} pixels")
    finally:
        use_limits(IntakeLimits())


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
        ('"\\ud800"', "\ufffd"),
        ('{"\ud800": ["\ud800"]}', {"\ufffd": ["\ufffd"]}),
    ],
)
def test_json_as_clients_read_it(text: bytes | str, value: Any) -> None:
    """Other encodings, a byte order mark, numbers beyond a float and lone surrogates are read; of the latter what can be written down."""
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
    assert strict_json(b'["\\ud800"]') == ["\ufffd"]
    for text in (b"\xef\xbb\xbf[1]", "[1]".encode("utf-16")):
        with pytest.raises(ValueError, match=r"\S"):
            strict_json(text)


def test_a_stream_survives_an_event_nested_without_end() -> None:
    """It used to raise RecursionError, and with it the check or the load user."""
    chat = ChatStream()
    assert chat.add(StreamEvent("[" * 100_000)) is None
    assert chat.problem == "an event's data is no JSON object"


@pytest.mark.parametrize("reader", [read_json, strict_json])
def test_json_within_its_limits(reader: Any) -> None:
    """Nesting, members and length have limits that say so; brackets and escaped quotation marks inside strings count for nothing."""
    most = limits()
    deep = b"[" * most.json_depth + b"]" * most.json_depth
    assert reader(deep)
    for text in (b"[" + deep + b"]", b'{"a":' * 500 + b"1" + b"}" * 500):
        with pytest.raises(BeyondLimits, match="nested too deeply"):
            reader(text)
    with pytest.raises(BeyondLimits, match="members and items"):
        reader(b"[" + b"0," * most.json_values + b"0]")
    assert reader(b'["' + b"[{" * 5000 + b'\\"' * 5000 + b'"]')
    with pytest.raises(ValueError, match=r"\S"):
        reader(b'["' + b"[" * 100 + b'\\"' * 200_000)  # a string without end: each byte is looked at once


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (b"18446744073709551615", 2**64 - 1),
        (b"1" + b"0" * 400, float("inf")),
        (b"-1" + b"0" * 5000, float("-inf")),
        (b'{"a": [123456789012345678901234]}', {"a": [1.2345678901234568e23]}),
    ],
)
def test_an_integer_has_an_end(text: bytes, value: Any) -> None:
    """What no machine word holds is a float, so that nothing that calculates with an answer's number overflows."""
    for reader in (read_json, strict_json):
        found = reader(text)
        assert found == value
        assert type(found) is type(value)


def test_a_stream_has_an_end() -> None:
    """Events and the length of a line are limited; what was read before counts, and why no more is read is told. Ids are not compared each with each."""
    use_limits(changed(IntakeLimits(), {"sse_events": 100, "sse_line_bytes": 1000}))
    try:
        stream = EventStream()
        events = stream.feed(b"".join(b'data: {"id": "%d"}\n\n' % number for number in range(150)))
        assert (len(events), stream.feed(b"data: {}\n\n")) == (100, [])
        assert stream.cut == "the stream has more than 100 events; the rest was not read"
        stream = EventStream()
        for _ in range(30):
            stream.feed(b"x" * 100)
        assert stream.cut == "a line of the stream is longer than 1,000 characters; the rest was not read"
    finally:
        use_limits(IntakeLimits())


def test_a_limit_is_set_by_its_name() -> None:
    """As in testcard.toml or as `--limit body_bytes=1MiB`; what is none, or out of range, is told by name."""
    assert changed(IntakeLimits(), dict([parsed("body_bytes=1MiB"), parsed("bytes_per_s=0.5")])) == IntakeLimits(
        body_bytes=1024 * 1024, bytes_per_s=0.5
    )
    for text in (
        "body=1",
        "body_bytes",
        "body_bytes=much",
        "body_bytes=1e999",
        "body_bytes=nan",
        "json_depth=0",
        "json_depth=1e9",
        "json_depth=7.5",
    ):
        with pytest.raises(ValueError, match=r"limit|json_depth|body_bytes"):
            changed(IntakeLimits(), dict([parsed(text)]))


def test_every_limit_stands_in_its_page() -> None:
    """With its default and what it is of; the page names no other."""
    page = (ROOT / "docs" / "limits.md").read_text(encoding="utf-8")
    table = page.partition("## With what it is tried")[0]
    rows = {f"| `{one.name}` | {one.default:,} | {one.metadata['says']} |" for one in fields(IntakeLimits)}
    assert rows == {line for line in table.splitlines() if line.startswith("| `")}


def _written(kind: str, **more: object) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (16, 16), (200, 30, 40)).save(out, kind, **more)
    return out.getvalue()


def _parts_without_end() -> Iterator[tuple[str, bytes]]:
    gif, jpeg, png = _written("GIF"), _written("JPEG"), _written("PNG")
    packed = struct.pack(">I", 6) + b"iCCPk\0\0abc" + bytes(4)
    yield "segments behind a filled marker", b"\xff\xd8" + b"\xff" * 3 + b"\xff\xe0\0\x02" * 20_000 + jpeg[2:]
    yield "bytes that fill up", b"\xff\xd8" + b"\xff" * 20_000 + jpeg[2:]
    yield "what is no segment", b"\xff\xd8" + b"\0" * 20_000 + jpeg[2:]
    yield "EXIF of many segments", b"\xff\xd8" + (b"\xff\xe1\xff\xff" + b"Exif\0\0" + bytes(65_527)) * 20 + jpeg[2:]
    yield "chunks behind the pixels", png[:-12] + (bytes(4) + b"juNk" + bytes(4)) * 20_000 + png[-12:]
    yield "colour profiles", png[:33] + packed * 200 + png[33:]
    yield "comments of a GIF", gif[:-1] + b"!\xfe\1a\0" * 20_000 + b";"
    yield "blocks of one comment", gif[:-1] + b"!\xfe" + b"\1a" * 20_000 + b"\0;"
    yield "what is no block", gif[:-1] + b"\0" * 20_000 + b";"
    yield "frames without a control block", gif[:-1] + (b"," + bytes(9) + b"\2\2\x44\1\0") * 100 + b";"


@pytest.mark.parametrize(("of", "data"), list(_parts_without_end()), ids=lambda one: one if isinstance(one, str) else "")
def test_a_picture_s_parts_are_bounded_however_they_are_hidden(of: str, data: bytes) -> None:
    """Pillow takes each of them apart, a byte at a time what is none: seconds that nobody can interrupt."""
    with pytest.raises(NoPicture, match="has more than"):
        open_picture(data)


def test_ordinary_pictures_are_opened() -> None:
    """With profiles, comments, progressive scans and frames."""
    frames = [Image.new("P", (16, 16), number) for number in range(40)]
    out = io.BytesIO()
    frames[0].save(out, "GIF", save_all=True, append_images=frames[1:], comment=b"c" * 1000)
    for data in (
        out.getvalue(),
        _written("JPEG", progressive=True, comment=b"c" * 1000, icc_profile=bytes(100_000), exif=b"Exif\0\0II*\0" + bytes(60_000)),
        _written("PNG", icc_profile=bytes(1000)),
    ):
        assert open_picture(data).load() is not None


@pytest.mark.parametrize("read", [read_json, strict_json])
def test_thousands_of_long_numbers_are_read_as_floats_at_once(read: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """msgspec makes an integer of each, which takes quadratic time: 34 MB of them took a check seconds for each look."""
    monkeypatch.setattr("msgspec.json.decode", lambda text: pytest.fail("it was left to msgspec"))
    text = b'{"cost": 3, "more": [' + b",".join([b"1" * 4300] * 300) + b"]}"
    found = read(text)
    assert found["cost"] == 3
    assert set(found["more"]) == {math.inf}
