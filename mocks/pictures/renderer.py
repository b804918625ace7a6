"""Turns parameters into encoded pictures: the quick way for plain PNG cards, in a worker thread for everything that takes longer.

Writes a test card as PNG from parts that were compressed before, so that a fresh 1024² picture costs microseconds.

A zlib stream may be cut at full flushes: each band of the card is compressed alone, ends on a byte, and stands in an IDAT
chunk of its own with its CRC; only one row of pixels is new each time. The stream's Adler-32 is combined from the bands'.
"""

from __future__ import annotations

import asyncio
import io
import random
import zlib
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import blake2b

import numpy as np
import pybase64
from PIL import Image, ImageDraw

from testcard.mocks.exchange import Parameters, PictureFormat, RenderedPicture, base64_at
from testcard.mocks.pictures import bands
from testcard.mocks.pictures.bands import Layout, layout
from testcard.mocks.pictures.first_row import DATA_CRC, NO_FILTER, Row, first_row

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_ADLER = 65521
_ROWS = 256
_UP = b"\x02"
_CRC = 4


@dataclass(frozen=True, slots=True)
class Segment:
    """Filtered rows, compressed up to a full flush and wrapped as IDAT; `adler` and `length` are of the rows."""

    chunk: bytes
    adler: int
    length: int
    _cuts: dict[int, tuple[bytes, bytes, bytes]] = field(default_factory=dict)

    def cut(self, first: int) -> tuple[bytes, bytes, bytes]:
        """So many bytes, then as much as base64 can say by itself, in base64, then the rest. Each cut is made once."""
        found = self._cuts.get(first)
        if found is None:
            end = len(self.chunk) - (len(self.chunk) - first) % 3
            found = self._cuts[first] = (self.chunk[:first], pybase64.b64encode(self.chunk[first:end]), self.chunk[end:])
        return found


def _chunk(kind: bytes, data: bytes) -> bytes:
    body = kind + data
    return len(data).to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big")


def _segment(rows: Iterable[bytes]) -> Segment:
    packer = zlib.compressobj(1, zlib.DEFLATED, -15)
    packed, adler, length = [], 1, 0
    for some in rows:
        packed.append(packer.compress(some))
        adler, length = zlib.adler32(some, adler), length + len(some)
    packed.append(packer.flush(zlib.Z_FULL_FLUSH))
    return Segment(_chunk(b"IDAT", b"".join(packed)), adler, length)


def _filtered(picture: Image.Image) -> Iterator[bytes]:
    """Rows with PNG's Up filter, the first without: it leans on nothing above this band. So many at a time that little is copied."""
    width, height = picture.size
    above = np.zeros((1, width * 3), np.uint8)
    for top in range(0, height, _ROWS):
        strip = picture.crop((0, top, width, min(top + _ROWS, height)))
        pixels = np.concatenate((above, np.asarray(strip).reshape(strip.height, width * 3)))
        rows = np.empty((strip.height, width * 3 + 1), np.uint8)
        rows[:, 0] = 2
        rows[0, 0] = 2 if top else 0
        np.subtract(pixels[1:], pixels[:-1], out=rows[:, 1:])
        above = pixels[-1:]
        yield rows.tobytes()


@lru_cache(maxsize=512)
def _above(plan: Layout, variant: int, caption: str) -> tuple[tuple[Segment, ...], int]:
    """What comes between header and pattern, and the Adler-32 of its rows."""
    if not plan.bars:
        return (), 1
    upper, lower = _bars(plan, variant), _segment(_filtered(bands.caption(plan, caption)))
    return (upper, lower), _followed_by(upper.adler, lower)


@dataclass(frozen=True, slots=True)
class _Frame:
    """What cards of one size, variant and caption have in common, ready to be put around the row that is new in each.

    `before` and `middle` are base64; `opening` are the bytes before the row that base64 cannot say by themselves, with how the row's chunk begins;
    `first` and `rest` are what comes before and after `middle`. `adler` is that of the rows above. `last` is the end of all in base64, where it
    does not depend on the row.
    """

    before: tuple[bytes, ...]
    opening: bytes
    row: Row
    adler: int
    below: Segment
    first: bytes
    middle: bytes
    rest: bytes
    last: bytes | None

    def in_base64(self, plan: Layout, digest: bytes) -> tuple[bytes, ...]:
        """The picture with the row of this digest, in pieces."""
        row = self.row
        code = row.code.translate(bands.colours(digest) + row.rest)
        new = pybase64.b64encode(b"".join((self.opening, code, zlib.crc32(code, DATA_CRC).to_bytes(_CRC, "big"), self.first)))
        last = self.last
        if last is None:
            last = pybase64.b64encode(self.rest + _end_after(plan, self.adler, digest))
        return (*self.before, new, self.middle, last)


@lru_cache(maxsize=512)
def _frame(plan: Layout, variant: int, caption: str) -> _Frame:
    above, adler = _above(plan, variant, caption)
    before: list[bytes] = []
    left = _header(plan.width, plan.height)
    for one in above:
        first, middle, rest = one.cut(-len(left) % 3)
        before += (pybase64.b64encode(left + first), middle)
        left = rest
    row, below = first_row(plan), _below(plan)
    opening = left + row.head
    first, middle, rest = below.cut(-(len(opening) + len(row.code) + _CRC) % 3)
    last = pybase64.b64encode(rest + _end_after(plan, adler, bytes(1))) if row.alike else None
    return _Frame(tuple(before), opening, row, adler, below, first, middle, rest, last)


@lru_cache(maxsize=96)
def _bars(plan: Layout, variant: int) -> Segment:
    return _segment(_filtered(bands.bars(plan, variant)))


@lru_cache(maxsize=128)
def _below(plan: Layout) -> Segment:
    """What follows the pattern's first row: under the Up filter it is the same for every picture of this size."""
    same = _UP + bytes(3 * plan.width)
    rows = [same * (plan.pattern[0] - 1)]
    for step, height in zip(bands.row_steps(plan), plan.pattern[1:], strict=True):
        rows += (_UP + step, same * (height - 1))
    if plan.ramp:
        rows += _filtered(bands.ramp(plan))
    return _segment(rows)


@lru_cache(maxsize=256)
def _header(width: int, height: int) -> bytes:
    fields = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes((8, 2, 0, 0, 0))
    return _SIGNATURE + _chunk(b"IHDR", fields) + _chunk(b"IDAT", b"\x78\x01")


_END = _chunk(b"IEND", b"")
#: the last chunk of pixels, which holds no more rows, up to their Adler-32; and the CRC so far
_LAST = (6).to_bytes(4, "big") + b"IDAT\x03\x00"
_LAST_CRC = zlib.crc32(_LAST[4:])


def _end(adler: int) -> bytes:
    """The end of a picture whose rows have this Adler-32."""
    last = adler.to_bytes(4, "big")
    return b"".join((_LAST, last, zlib.crc32(last, _LAST_CRC).to_bytes(_CRC, "big"), _END))


def write(plan: Layout, caption: str, variant: int, digest: bytes) -> bytes:
    """The card as PNG bytes; the pixels are those of `compose` for the same arguments."""
    segments, adler = _above(plan, variant, caption)
    row = first_row(plan)
    code = row.code.translate(bands.colours(digest) + row.rest)
    above = (_header(plan.width, plan.height), *(one.chunk for one in segments))
    new = (row.head, code, zlib.crc32(code, DATA_CRC).to_bytes(_CRC, "big"))
    return b"".join((*above, *new, _below(plan).chunk, _end_after(plan, adler, digest)))


def write_in_base64(plan: Layout, caption: str, variant: int, digest: bytes) -> tuple[bytes, ...]:
    """What `write` gives, in base64, in pieces: of what pictures share nothing is encoded or copied again."""
    return _frame(plan, variant, caption).in_base64(plan, digest)


class _Cards:
    """Cards of one size and caption: what is before their seeds have a say. `frames` has one for each variant, once it was drawn.

    `digested` is what a card's digest is made of beside seed, number and salt.
    """

    __slots__ = ("caption", "digested", "frames", "plan")

    def __init__(self, width: int, height: int, caption: str) -> None:
        self.plan = layout(width, height)
        self.caption = bands.short(caption)
        self.digested = _digested(width, height, transparent=False)
        self.frames: list[_Frame | None] = [None] * bands.VARIANTS


# Few, for each holds on to its frames; one that is made again finds those that are kept.
_cards = lru_cache(maxsize=64)(_Cards)


def _end_after(plan: Layout, above: int, digest: bytes) -> bytes:
    """The end of a picture with this first row, where the rows above it have this Adler-32."""
    return _end(_followed_by(zlib.adler32(NO_FILTER + bands.first_row(plan, digest), above), _below(plan)))


def _followed_by(adler: int, rows: Segment) -> int:
    """The Adler-32 of what has this one with these rows after it."""
    low, high = adler & 0xFFFF, adler >> 16
    high = (high + (rows.adler >> 16) + rows.length * (low - 1)) % _ADLER
    return high << 16 | (low + (rows.adler & 0xFFFF) - 1) % _ADLER


def compose(plan: Layout, caption: str, variant: int, digest: bytes) -> Image.Image:
    """The card as an RGB picture."""
    picture = Image.new("RGB", (plan.width, plan.height))
    y = 0
    if plan.bars:
        picture.paste(bands.bars(plan, variant), (0, 0))
        picture.paste(bands.caption(plan, caption), (0, plan.bars))
        y = plan.bars + plan.caption
    picture.paste(bands.pattern(plan, digest), (0, y))
    if plan.ramp:
        picture.paste(bands.ramp(plan), (0, y + sum(plan.pattern)))
    return picture


def cut_out(picture: Image.Image, plan: Layout) -> Image.Image:
    """The picture with a transparent background: what lies outside the circle of the bars band has alpha 0."""
    alpha = Image.new("L", picture.size, 0)
    pen = ImageDraw.Draw(alpha)
    if plan.bars:
        pen.ellipse(bands.ring(plan), fill=255)
        pen.rectangle((0, plan.bars, plan.width, plan.height), fill=255)
    else:
        pen.rectangle((0, plan.height // 2, plan.width, plan.height), fill=255)
    result = picture.convert("RGBA")
    result.putalpha(alpha)
    return result


def repaint(source: Image.Image, paint: Image.Image, strength: float, edit: Image.Image | None, tint: tuple[int, int, int]) -> Image.Image:
    """`source` with `paint` laid over it, more of it the higher the strength (0 to 1). All pictures have one size.

    The paint is tinted first, so that any part of two different edits differs. With a mask, what lies under white is painted in
    full and every other pixel survives; without one, the lowest eighth is painted in full, since it tells pictures apart.
    """
    paint = Image.blend(paint, Image.new("RGB", paint.size, tint), 0.35)
    if edit is not None:
        return Image.composite(paint, source, edit)
    share = 0.05 + 0.45 * min(max(strength, 0.0), 1.0)
    result = Image.blend(source, paint, share)
    top = source.height - max(1, source.height // 8)
    result.paste(paint.crop((0, top, paint.width, paint.height)), (0, top))
    return result


def encode(picture: Image.Image, form: PictureFormat) -> bytes:
    """The picture's bytes. PNG and WebP are lossless, so equal pixels stay equal; JPEG drops an alpha channel."""
    buffer = io.BytesIO()
    if form == "png":
        picture.save(buffer, "PNG", compress_level=1)
    elif form == "webp":
        picture.save(buffer, "WEBP", lossless=True, method=0)
    else:
        picture.convert("RGB").save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


# Seeds of pictures are no secrets, and asking the system for each takes longer than a picture's row.
_CHANCE = random.Random()


def draw_afresh() -> None:
    """After a fork: two processes are not to draw the same seeds."""
    _CHANCE.seed()


class PictureCache:
    """Keeps recent pictures by everything that they were drawn from; at most `keep_bytes` of them."""

    def __init__(self, *, keep_bytes: int = 64_000_000) -> None:
        self._kept: OrderedDict[bytes, bytes] = OrderedDict()
        self._kept_bytes = 0
        self._keep_bytes = keep_bytes

    def get(self, place: bytes) -> bytes | None:
        """The picture, if it is still there."""
        data = self._kept.get(place)
        if data is not None:
            self._kept.move_to_end(place)
        return data

    def keep(self, place: bytes, data: bytes) -> None:
        """Keeps a picture, and lets those go that were asked for longest ago."""
        if place in self._kept:
            return
        self._kept[place] = data
        self._kept_bytes += len(data)
        while self._kept_bytes > self._keep_bytes:
            _, oldest = self._kept.popitem(last=False)
            self._kept_bytes -= len(oldest)


class Renderer:
    """Renders pictures. Those that took long are kept in its cache, with `keep_all` the others too.

    `fresh` gives the seed, of 32 bits, of parameters that name none; with `keep_all` it is told what is drawn (see `content`).
    """

    def __init__(
        self,
        cache: PictureCache | None = None,
        *,
        fresh: Callable[[bytes], int] = lambda _: _CHANCE.getrandbits(32),
        keep_all: bool = False,
    ) -> None:
        self._threads = ThreadPoolExecutor(max_workers=2, thread_name_prefix="renderer")
        self._cache = cache or PictureCache()
        self._fresh = fresh
        self._keep_all = keep_all
        self._warm: set[tuple[int, int, int]] = set()

    async def draw(self, parameters: Parameters) -> list[RenderedPicture]:
        """`parameters.n` pictures, each different; the same ones again for the same parameters where they have a seed."""
        quick = parameters.format == "png" and not parameters.transparent and not parameters.images
        what = content(parameters) if self._keep_all else parameters.format.encode()
        seed = self._fresh(what) if parameters.seed is None else parameters.seed
        rendered = []
        digested = _digested(parameters.width_px, parameters.height_px, transparent=parameters.transparent)
        for index in range(parameters.n):
            digest = _digest(seed, index, digested, parameters.salt)
            if quick and not self._keep_all:
                data = (
                    _quick(parameters, digest) if self._is_warm(parameters, digest) else await self._first_of_its_kind(parameters, digest)
                )
            else:
                data = await self._kept_picture(parameters, digest, what, quick)
            rendered.append(RenderedPicture(data, seed, parameters.format))
        return rendered

    async def draw_in_base64(self, parameters: Parameters) -> tuple[list[RenderedPicture], list[tuple[bytes, ...]]]:
        """The same pictures without their bytes, each with the mark of a place (`base64_at`), and what belongs there."""
        if self._keep_all or parameters.format != "png" or parameters.transparent or parameters.images:
            drawn = await self.draw(parameters)
            return [RenderedPicture(b"", one.seed, one.format, base64_at(place)) for place, one in enumerate(drawn)], [
                (pybase64.b64encode(one.data),) for one in drawn
            ]
        seed = self._fresh(b"png") if parameters.seed is None else parameters.seed
        cards = _cards(parameters.width_px, parameters.height_px, parameters.caption)
        rendered, pieces = [], []
        for index in range(parameters.n):
            digest = _digest(seed, index, cards.digested, parameters.salt)
            variant = digest[0] % bands.VARIANTS
            frame = cards.frames[variant]
            if frame is None:
                if (cards.plan.width, cards.plan.height, variant) not in self._warm:
                    await self._first_of_its_kind(parameters, digest)
                frame = cards.frames[variant] = _frame(cards.plan, variant, cards.caption)
            pieces.append(frame.in_base64(cards.plan, digest))
            rendered.append(RenderedPicture(b"", seed, "png", base64_at(index)))
        return rendered, pieces

    async def _kept_picture(self, parameters: Parameters, digest: bytes, what: bytes, quick: bool) -> bytes:
        place = digest + what
        data = self._cache.get(place)
        if data is None:
            if quick and self._is_warm(parameters, digest):
                data = _quick(parameters, digest)
            else:
                data = await (self._first_of_its_kind(parameters, digest) if quick else self._in_thread(_slow, parameters, digest))
            self._cache.keep(place, data)
        return data

    def _is_warm(self, parameters: Parameters, digest: bytes) -> bool:
        """Whether a card of this size and variant was drawn before: then one costs microseconds; the first one takes a thread."""
        return (parameters.width_px, parameters.height_px, _variant(digest)) in self._warm

    async def _first_of_its_kind(self, parameters: Parameters, digest: bytes) -> bytes:
        data = await self._in_thread(_quick, parameters, digest)
        self._warm.add((parameters.width_px, parameters.height_px, _variant(digest)))
        return data

    async def _in_thread(self, make: Callable[[Parameters, bytes], bytes], parameters: Parameters, digest: bytes) -> bytes:
        return await asyncio.get_running_loop().run_in_executor(self._threads, make, parameters, digest)


class CountedSeeds:
    """Fresh seeds without chance: the same parameters get the same seeds in the same sequence, one time after the other."""

    def __init__(self) -> None:
        self._met: Counter[bytes] = Counter()

    def __call__(self, what: bytes) -> int:
        """The next seed for what is drawn."""
        self._met[what] += 1
        return int.from_bytes(blake2b(what + self._met[what].to_bytes(4, "big"), digest_size=4).digest(), "big")


def repeatable_renderer() -> Renderer:
    """A renderer without chance, whose pictures all such renderers of this process share: equal ones are drawn once for many mocks."""
    return Renderer(_shared_cache(), fresh=CountedSeeds(), keep_all=True)


@lru_cache(maxsize=1)
def _shared_cache() -> PictureCache:
    return PictureCache(keep_bytes=200_000_000)


def content(parameters: Parameters) -> bytes:
    """A digest of all that pictures are drawn from, but their seed and number."""
    pixels = [*parameters.images, *([parameters.edit] if parameters.edit is not None else ())]
    head = (
        parameters.width_px,
        parameters.height_px,
        parameters.caption,
        parameters.salt,
        parameters.format,
        parameters.transparent,
        parameters.strength,
        parameters.edit is None,
    )
    digest = blake2b(repr((head, [(one.mode, one.size) for one in pixels])).encode(), digest_size=16)
    for one in pixels:
        digest.update(one.tobytes())
    return digest.digest()


def _digested(width: int, height: int, *, transparent: bool) -> bytes:
    """What a picture's digest is made of beside its seed, its number and the salt."""
    return f"|{width}x{height}|{transparent}|".encode()


def _digest(seed: int, index: int, digested: bytes, salt: bytes) -> bytes:
    # As long as it gets: the pattern takes its colours from it.
    return blake2b(b"%d|%d%b%b" % (seed, index, digested, salt)).digest()


def _variant(digest: bytes) -> int:
    return digest[0] % bands.VARIANTS


def _quick(parameters: Parameters, digest: bytes) -> bytes:
    return write(layout(parameters.width_px, parameters.height_px), bands.short(parameters.caption), _variant(digest), digest)


def _slow(parameters: Parameters, digest: bytes) -> bytes:
    plan = layout(parameters.width_px, parameters.height_px)
    picture = compose(plan, bands.short(parameters.caption), _variant(digest), digest)
    if parameters.images:
        source = parameters.images[0].resize(picture.size) if parameters.images[0].size != picture.size else parameters.images[0]
        edit = parameters.edit.resize(picture.size, Image.Resampling.NEAREST) if parameters.edit is not None else None
        picture = repaint(source, picture, parameters.strength, edit, (digest[1], digest[2], digest[3]))
        side = max(1, min(picture.size) // 5)
        for place, further in enumerate(parameters.images[1:] if edit is None else ()):
            picture.paste(further.resize((side, side)), (place * side % max(1, picture.width - side), 0))
    if parameters.transparent:
        picture = cut_out(picture, plan)
    return encode(picture, parameters.format)
