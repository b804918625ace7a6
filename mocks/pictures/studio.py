"""Turns an order into encoded pictures: the quick way for plain PNG cards, in a worker thread for everything that takes longer."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from PIL import Image

from testcard.mocks.exchange import Drawn, Order
from testcard.mocks.pictures import bands, card, png
from testcard.mocks.pictures.layout import layout


class Studio:
    """Draws orders. Keeps recent pictures that took long, by content; at most `keep_bytes` of them."""

    def __init__(self, *, keep_bytes: int = 64_000_000) -> None:
        self._threads = ThreadPoolExecutor(max_workers=2, thread_name_prefix="studio")
        self._kept: OrderedDict[bytes, bytes] = OrderedDict()
        self._kept_bytes = 0
        self._keep_bytes = keep_bytes
        self._warm: set[tuple[int, int, int]] = set()

    async def draw(self, order: Order) -> list[Drawn]:
        """`order.n` pictures, each different; the same ones again when the order has a seed and is made again."""
        seed = secrets.randbits(32) if order.seed is None else order.seed
        quick = order.format == "png" and not order.transparent and not order.images
        return [Drawn(await self._picture(order, _digest(order, seed, index), quick), seed, order.format) for index in range(order.n)]

    async def _picture(self, order: Order, digest: bytes, quick: bool) -> bytes:
        if quick:
            # A card of this size and variant that was drawn before costs microseconds; the first one takes a thread.
            card_of = (order.width_px, order.height_px, _variant(digest))
            if card_of in self._warm:
                return _quick(order, digest)
            data = await self._in_thread(_quick, order, digest)
            self._warm.add(card_of)
            return data
        place = digest + order.format.encode()
        kept = self._kept.get(place)
        if kept is None:
            kept = await self._in_thread(_slow, order, digest)
            self._keep(place, kept)
        return kept

    async def _in_thread(self, make: Callable[[Order, bytes], bytes], order: Order, digest: bytes) -> bytes:
        return await asyncio.get_running_loop().run_in_executor(self._threads, make, order, digest)

    def _keep(self, place: bytes, data: bytes) -> None:
        if place in self._kept:
            return
        self._kept[place] = data
        self._kept_bytes += len(data)
        while self._kept_bytes > self._keep_bytes:
            _, oldest = self._kept.popitem(last=False)
            self._kept_bytes -= len(oldest)


def _digest(order: Order, seed: int, index: int) -> bytes:
    text = f"{seed}|{index}|{order.width_px}x{order.height_px}|{order.transparent}|".encode()
    return hashlib.blake2b(text + order.salt, digest_size=16).digest()


def _variant(digest: bytes) -> int:
    return digest[0] % bands.VARIANTS


def _quick(order: Order, digest: bytes) -> bytes:
    return png.write(layout(order.width_px, order.height_px), bands.short(order.caption), _variant(digest), digest)


def _slow(order: Order, digest: bytes) -> bytes:
    plan = layout(order.width_px, order.height_px)
    picture = card.compose(plan, bands.short(order.caption), _variant(digest), digest)
    if order.images:
        source = order.images[0].resize(picture.size) if order.images[0].size != picture.size else order.images[0]
        edit = order.edit.resize(picture.size, Image.Resampling.NEAREST) if order.edit is not None else None
        picture = card.repaint(source, picture, order.strength, edit, (digest[1], digest[2], digest[3]))
        side = max(1, min(picture.size) // 5)
        for place, further in enumerate(order.images[1:] if edit is None else ()):
            picture.paste(further.resize((side, side)), (place * side % max(1, picture.width - side), 0))
    if order.transparent:
        picture = card.cut_out(picture, plan)
    return card.encode(picture, order.format)
