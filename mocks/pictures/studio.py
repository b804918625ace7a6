"""Turns an order into encoded pictures: the quick way for plain PNG cards, in a worker thread for everything that takes longer."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor

from PIL import Image

from testcard.mocks.exchange import Drawn, Order
from testcard.mocks.pictures import bands, card, png
from testcard.mocks.pictures.layout import layout

#: pictures up to this area are drawn in the event loop once their size has been seen
_QUICK_PX = 2_100_000


class Studio:
    """Draws orders. Keeps recent pictures that took long, by content; at most `keep_bytes` of them."""

    def __init__(self, *, keep_bytes: int = 64_000_000) -> None:
        self._threads = ThreadPoolExecutor(max_workers=2, thread_name_prefix="studio")
        self._kept: OrderedDict[bytes, bytes] = OrderedDict()
        self._kept_bytes = 0
        self._keep_bytes = keep_bytes
        self._seen: set[tuple[int, int]] = set()

    async def draw(self, order: Order) -> list[Drawn]:
        """`order.n` pictures, each different; the same ones again when the order has a seed and is made again."""
        seed = secrets.randbits(32) if order.seed is None else order.seed
        quick = order.format == "png" and not order.transparent and not order.images
        size = (order.width_px, order.height_px)
        if quick and size in self._seen and size[0] * size[1] <= _QUICK_PX:
            return [Drawn(self._quick(order, _digest(order, seed, index)), seed, order.format) for index in range(order.n)]
        loop = asyncio.get_running_loop()
        drawn = []
        for index in range(order.n):
            digest = _digest(order, seed, index)
            place = digest + order.format.encode()
            data = self._kept.get(place)
            if data is None:
                make = self._quick if quick else _slow
                data = await loop.run_in_executor(self._threads, make, order, digest)
                if not quick:
                    self._keep(place, data)
            drawn.append(Drawn(data, seed, order.format))
        if quick:
            self._seen.add(size)
        return drawn

    @staticmethod
    def _quick(order: Order, digest: bytes) -> bytes:
        return png.write(layout(order.width_px, order.height_px), bands.short(order.caption), digest[0] % bands.VARIANTS, digest)

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


def _slow(order: Order, digest: bytes) -> bytes:
    plan = layout(order.width_px, order.height_px)
    picture = card.compose(plan, bands.short(order.caption), digest[0] % bands.VARIANTS, digest)
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
