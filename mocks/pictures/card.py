"""A test card as pixels, and as bytes in each format."""

from __future__ import annotations

import io

from PIL import Image, ImageDraw

from testcard.mocks.exchange import PictureFormat
from testcard.mocks.pictures import bands
from testcard.mocks.pictures.layout import Layout


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
