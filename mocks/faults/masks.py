"""Lies about masks."""

from __future__ import annotations

from dataclasses import replace

from PIL import Image, ImageOps

from testcard.mocks.exchange import Call, Order
from testcard.mocks.faults.fault import lie
from testcard.mocks.faults.places import MASK_SPELT_OUT, MASKED


@lie("order", "image.mask-respected", MASKED)
def _mask_ignored(call: Call, order: Order) -> Order:
    """Edits the whole picture, mask or no mask."""
    return replace(order, edit=None)


@lie("order", "image.mask-respected/nothing-edited", MASKED)
def _nothing_edited(call: Call, order: Order) -> Order:
    """Sends the picture back as it came when there is a mask."""
    return order if order.edit is None else replace(order, edit=Image.new("L", order.edit.size, 0))


@lie("order", "image.mask-polarity", MASK_SPELT_OUT)
def _mask_inverted(call: Call, order: Order) -> Order:
    """Edits what the mask does not mark and keeps what it does."""
    return order if order.edit is None else replace(order, edit=ImageOps.invert(order.edit))


@lie("order", "image.unmasked-survives", MASKED)
def _rest_brightened(call: Call, order: Order) -> Order:
    """Edits where the mask says so, and brightens the rest."""
    if order.edit is None or not order.images:
        return order
    first, *others = order.images
    return replace(order, images=(first.point(lambda value: min(255, value + 16)), *others))
