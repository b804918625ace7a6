"""Pictures as bytes: what they are, whether they decode, how much one differs from another, and base64 both as the standard has it and as servers send it."""

from __future__ import annotations

import binascii
import hashlib
import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import pybase64
from PIL import Image, ImageChops, ImageFilter, ImageStat

from testcard.harness.intake.limits import limits
from testcard.harness.intake.pictures import NoPicture, may_decode, open_picture
from testcard.harness.wire.decode import decode_body
from testcard.harness.wire.model import Answer, DeliveredPicture, InputImage, PictureInfo
from testcard.specs.loader import Provider

Way = Literal["base64", "url", "binary", "both", "neither"]
#: How a picture is spelt at its place in a body; `bytes` where it is the body.
Spelling = Literal["base64", "data-url", "url", "bytes"]

#: So many of an answer's pictures are placed at most.
_MOST_PLACED = 100
#: No scheme is longer; without an end, base64 without a slash would be gone through from its begin to its end, and back.
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{0,40}://")
_PNG = b"\x89PNG\r\n\x1a\n"
#: Bits a channel that a PNG may have, by its kind of colour; and the chunks of a plain one beside its pixels, with their lengths.
_PNG_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 4: (8, 16), 6: (8, 16)}
_PLAIN = {b"IEND": 0, b"pHYs": 9, b"sRGB": 1, b"gAMA": 4}
_PLAIN_PARTS = 1000
#: Pixels that are looked at at a time; few enough to stay in a processor's cache.
_STRIP_PIXELS = 65_536
#: The formats that are looked at, as records name them, and their media types.
MEDIA_TYPES = {"png": "image/png", "jpeg": "image/jpeg", "webp": "image/webp", "gif": "image/gif", "avif": "image/avif"}
#: Further formats that a user's own file may have: they are sent as they are, and never opened.
_SENT_UNREAD = {b"BM": ("bmp", "image/bmp"), b"II*\x00": ("tiff", "image/tiff"), b"MM\x00*": ("tiff", "image/tiff")}


def inspect(data: bytes, *, pixels: bool = True, hashed: Any = hashlib.sha256) -> PictureInfo:
    """What the bytes of a picture are; never raises. `problem` says why they do not decode.

    With `pixels` every pixel is decoded, hashed (RGBA, so that files that differ only in compression compare equal) and
    looked at for blankness (all alike, or nothing to be seen) and transparency. Without, only `look` is asked. `hashed`: another
    function for the digests, called as hashlib's are, where they only tell this run's pictures apart and need not be sha256.
    """
    digest = hashed(data).hexdigest()
    seen = look(data)
    undecoded = PictureInfo(
        seen.format, seen.width_px, seen.height_px, len(data), digest, problem=seen.problem, absent=None if data else "empty"
    )
    if not pixels or seen.width_px is None:
        return undecoded
    try:
        picture = open_picture(data)
        if not may_decode(picture, data):
            return undecoded
        picture.load()
        pixel_digest, one_colour, lowest_alpha, highest_alpha = _pixels(picture, hashed)
    except Exception as error:  # noqa: BLE001 (Pillow's plugins raise whatever a hostile file makes them raise)
        problem = seen.problem or str(error) or type(error).__name__
        return PictureInfo(seen.format, seen.width_px, seen.height_px, len(data), digest, problem=problem)
    blank = highest_alpha == 0 or (one_colour and lowest_alpha == highest_alpha)
    return PictureInfo(seen.format, seen.width_px, seen.height_px, len(data), digest, pixel_digest, blank, seen.problem, lowest_alpha)


def _pixels(picture: Image.Image, hashed: Any) -> tuple[str, bool, int, int]:
    """A digest of the picture's RGBA pixels, whether all have one colour, and the lowest and highest alpha.

    Strip by strip: the whole picture in RGBA, once more as bytes, would take as much memory again and twice the time.
    """
    width, height = picture.size
    digest = hashed(f"{width}x{height}:".encode())
    colour: Any = None
    one_colour, clear = True, picture.has_transparency_data
    lowest_alpha, highest_alpha = (255, 0) if clear else (255, 255)
    rows = max(1, _STRIP_PIXELS // max(width, 1))
    for top in range(0, height, rows):
        strip = picture.crop((0, top, width, min(top + rows, height))).convert("RGBA")
        digest.update(strip.tobytes())
        if one_colour:
            extrema: Any = strip.getextrema()
            colour = colour or extrema[:3]
            one_colour = extrema[:3] == colour and all(low == high for low, high in colour)
        if clear:
            low, high = strip.getchannel("A").getextrema()
            lowest_alpha, highest_alpha = min(lowest_alpha, int(low)), max(highest_alpha, int(high))  # type: ignore[arg-type] # of one band
    return digest.hexdigest(), one_colour, lowest_alpha, highest_alpha


@dataclass(frozen=True, slots=True)
class Look:
    """What a picture's header says and whether the file is whole; no pixel was decoded."""

    format: str | None
    width_px: int | None
    height_px: int | None
    problem: str | None


def look(data: bytes) -> Look:
    """Format and size from the header, and whether the file's structure is whole, at a hundredth of what decoding costs.

    PNG: every chunk with its checksum up to the end mark. JPEG: the end mark. WebP: Pillow looks at the length. Never raises.
    """
    if (size := _plain_png_size(data)) is not None:
        return Look("png", *size, None)
    try:
        picture = open_picture(data)
    except NoPicture as error:
        return Look(None, None, None, str(error))
    kind = (picture.format or "").lower() or None
    if kind == "mpo":  # a JPEG with further pictures behind the first
        kind = "jpeg"
    width, height = picture.size
    if not may_decode(picture, data):
        return Look(kind, width, height, f"claims {width}x{height} pixels")
    return Look(kind, width, height, _structure_problem(kind, data))


def _plain_png_size(data: bytes) -> tuple[int, int] | None:
    """Size of a PNG that is whole, within the limits, and has nothing in it but pixels; None for all others, which Pillow opens.

    Nearly every picture of a load is one, and to open it with Pillow takes eight times as long.
    """
    if len(data) < 45 or data[:8] != _PNG or data[8:16] != b"\x00\x00\x00\rIHDR" or len(data) > limits().picture_bytes:
        return None
    width, height, depth, colour, *rest = struct.unpack_from(">IIBBBBB", data, 16)
    if not 0 < width * height <= limits().pixels or depth not in _PNG_DEPTHS.get(colour, ()) or rest not in ([0, 0, 0], [0, 0, 1]):
        return None
    view, position, pixels = memoryview(data), 33, False
    if zlib.crc32(view[12:29]) != int.from_bytes(view[29:33], "big"):
        return None
    for _ in range(_PLAIN_PARTS):
        if position + 12 > len(data):
            return None
        length, name = struct.unpack_from(">I4s", data, position)
        end = position + 8 + length
        if end + 4 > len(data) or (name != b"IDAT" and _PLAIN.get(name) != length):
            return None
        if zlib.crc32(view[position + 4 : end]) != int.from_bytes(view[end : end + 4], "big"):
            return None
        if name == b"IEND":
            return (width, height) if pixels else None
        pixels = pixels or name == b"IDAT"
        position = end + 4
    return None


def _structure_problem(kind: str | None, data: bytes) -> str | None:
    if kind == "png":
        return _png_problem(data)
    if kind == "jpeg" and b"\xff\xd9" not in data[-4096:]:
        return "the JPEG has no end mark"
    return None


def _png_problem(data: bytes) -> str | None:
    view = memoryview(data)
    position, parts = 8, 0
    while position + 12 <= len(data):
        parts += 1
        if parts > limits().picture_parts:
            return f"has more than {limits().picture_parts:,} chunks"
        length = int.from_bytes(view[position : position + 4], "big")
        name = bytes(view[position + 4 : position + 8])
        end = position + 8 + length
        if end + 4 > len(data):
            return "the PNG is cut off"
        if zlib.crc32(view[position + 4 : end]) != int.from_bytes(view[end : end + 4], "big"):
            return f"a PNG chunk ({name.decode('ascii', 'replace')}) has a wrong checksum"
        if name == b"IEND":
            return None
        position = end + 4
    return "the PNG is cut off"


def input_image(data: bytes, name: str | None = None) -> InputImage:
    """The bytes as a picture to send, with the media type that their header shows (PNG when it shows none)."""
    kind = look(data).format
    if kind is None:
        kind, media_type = next((known for start, known in _SENT_UNREAD.items() if data.startswith(start)), ("png", "image/png"))
    else:
        media_type = MEDIA_TYPES[kind]
    return InputImage(data, media_type, name or f"image.{'jpg' if kind == 'jpeg' else kind}")


#: From the letters of URL-safe base64 to the standard's.
_STANDARD = bytes.maketrans(b"-_", b"+/")


def strict_base64(text: str | bytes) -> bytes | None:
    """The decoded bytes of standard base64 (RFC 4648 section 4, padded, no line breaks, no data: prefix), else None."""
    try:
        return pybase64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None


def lenient_base64(text: str) -> bytes | None:
    """The decoded bytes of base64 as servers really send it: data URLs, line breaks, URL-safe letters, padding left out."""
    if text.startswith("data:"):
        head, comma, text = text.partition(",")
        if not comma or not head.endswith(";base64"):
            return None
    data = strict_base64(text)
    if data is not None:
        return data
    if not text.isascii():
        return None
    letters = text.encode("ascii").translate(_STANDARD, b" \t\r\n\v\f\x1c\x1d\x1e\x1f").rstrip(b"=")
    return strict_base64(letters + b"=" * (-len(letters) % 4))


def encode_base64(data: bytes) -> str:
    """Standard base64, padded, on one line."""
    return pybase64.b64encode(data).decode("ascii")


def data_url(image: InputImage) -> str:
    """The picture as a data URL of its media type."""
    return f"data:{image.media_type};base64,{encode_base64(image.data)}"


# ── how an answer hands them over ─────────────────────────────────────────────────────────────────────────────────────


def way(picture: DeliveredPicture) -> Way:
    """How a picture is really handed over, wherever it stands: an address where base64 belongs is an address."""
    if picture.data is not None:
        return "binary"
    if picture.base64 is not None and picture.url is not None:
        return "both"
    if picture.base64 is not None:
        return "url" if _SCHEME.match(picture.base64) else "base64"
    if picture.url is not None:
        data = None if _SCHEME.match(picture.url) or picture.url.startswith("data:") else lenient_base64(picture.url)
        return "base64" if data is not None and look(data).format is not None else "url"
    return "neither"


def placed(provider: Provider, operation: str, answer: Answer) -> Iterator[tuple[str, Spelling]]:
    """Where an answer's JSON holds the pictures that `operation` was asked for, and how they are spelt there.

    Those of a finished task's result too, whether it stands in the task's answer or is an answer by itself.
    """
    protocol = provider.protocol(operation)
    found: tuple[DeliveredPicture, ...] = ()
    above = ""
    if protocol is not None and answer.task is not None and answer.task.result is not None:
        found, above = decode_body(provider, operation, answer.task.result).pictures, protocol.result
    if not found:
        found, above = answer.pictures or decode_body(provider, operation, answer.json).pictures, ""
    for picture in found[:_MOST_PLACED]:
        if picture.data is not None:
            yield "", "bytes"
            continue
        text = picture.base64 if picture.base64 is not None else picture.url
        if text is not None:
            inline = picture.base64 is not None if (kind := way(picture)) == "both" else kind == "base64"
            yield above + picture.value_place, "data-url" if text.startswith("data:") else "base64" if inline else "url"


# ── how much one differs from another ───────────────────────────────────────────────────────────────────────────────
# Inside and outside of what a mask marks. Looked at small, at 64×64, because services scale, re-encode and redraw: single pixels prove
# nothing. A ring along the mask's border is left out, where edits are blended in.


EDGE_PX = 64
_RING = 7  # pixels of the small picture that the ring along the border is wide
_FULL, _NONE = 250, 5


@dataclass(frozen=True, slots=True)
class MaskedChange:
    """Mean difference of a colour channel, 0 to 255, where the mask marks and where it does not."""

    marked: float
    unmarked: float

    @property
    def most(self) -> float:
        """The larger of the two."""
        return max(self.marked, self.unmarked)

    @property
    def least(self) -> float:
        """The smaller of the two."""
        return min(self.marked, self.unmarked)


def change(before: bytes, after: bytes, mask: bytes, *, marks: Literal["white", "transparent"]) -> MaskedChange:
    """How `after` differs from `before` (encoded pictures of any size, which are scaled alike).

    The mask marks what is white in it, or what is transparent. `ValueError` when a picture does not decode, or when either
    part of the mask is empty.
    """
    try:
        first, second, masked = (_whole(data).convert("RGBA") for data in (before, after, mask))
    except Exception as error:  # noqa: BLE001 (Pillow's plugins raise whatever a hostile file makes them raise)
        raise ValueError(str(error)) from None
    difference = ImageChops.difference(_small(first), _small(second))
    marked = masked.getchannel("A").point(lambda alpha: 255 - alpha) if marks == "transparent" else _flat(masked).convert("L")
    marked = marked.resize((EDGE_PX, EDGE_PX), Image.Resampling.BOX)
    inside = _shrunk(marked.point(lambda value: 255 if value >= _FULL else 0))
    outside = _shrunk(marked.point(lambda value: 255 if value <= _NONE else 0))
    return MaskedChange(_mean(difference, inside), _mean(difference, outside))


def _whole(data: bytes) -> Image.Image:
    picture = open_picture(data)
    if not may_decode(picture, data):
        raise ValueError(f"claims {picture.width}x{picture.height} pixels")
    return picture


def _small(picture: Image.Image) -> Image.Image:
    return _flat(picture).resize((EDGE_PX, EDGE_PX), Image.Resampling.BOX)


def _flat(picture: Image.Image) -> Image.Image:
    """The picture as RGB, laid on white where it is transparent."""
    ground = Image.new("RGB", picture.size, (255, 255, 255))
    ground.paste(picture, mask=picture.getchannel("A"))
    return ground


def _shrunk(area: Image.Image) -> Image.Image:
    return area.filter(ImageFilter.MinFilter(_RING))


def _mean(difference: Image.Image, area: Image.Image) -> float:
    if area.getbbox() is None:
        raise ValueError("the mask marks everything or nothing")
    means = ImageStat.Stat(difference, area).mean
    return sum(means) / len(means)
