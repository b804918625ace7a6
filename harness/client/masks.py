"""Masks in the provider's polarity: what a caller means by white and by transparent, and what the provider takes it for."""

from __future__ import annotations

import io
from dataclasses import dataclass, replace
from typing import Literal, get_args

from PIL import Image

from testcard.harness.errors import UsageError
from testcard.harness.intake.pictures import open_picture
from testcard.harness.wire.contract import Choice
from testcard.harness.wire.model import InputImage
from testcard.specs.loader import Provider

Edits = Literal["white", "transparent"]


@dataclass(frozen=True, slots=True)
class Mask:
    """A mask with what it means: `Mask("hole.png", edits="transparent")`. The picture is a source as pictures to edit are.

    A provider that takes the other kind gets it converted, and the result's notes say so. A mask given as a picture alone is sent as it is.
    """

    picture: object
    edits: Edits = "white"


def in_polarity_of(provider: Provider, choice: Choice, mask: InputImage, edits: Edits) -> tuple[InputImage, str | None]:
    """The mask as the operation takes it, and a note where it had to be converted; `UsageError` where nobody says what it takes."""
    if edits not in get_args(Edits):
        raise UsageError(f"a mask marks nothing with {edits!r}", hint="edits is 'white' or 'transparent'")
    fields = provider.operation_profile(choice.operation).fields.values()
    wanted = next((field.edits for field in fields if field.means == "mask"), None)
    if wanted is None:
        raise UsageError(
            f"{provider.profile.name} does not say what a mask of {choice.operation} means",
            hint="give the picture itself; it is sent as it is",
        )
    if wanted == edits:
        return mask, None
    note = f"the mask was converted: {provider.profile.name} edits what is {wanted}, and this one marked it {edits}"
    return replace(mask, data=converted(mask.data, wanted), media_type="image/png", name="mask.png", url=None), note


def converted(data: bytes, wanted: Edits) -> bytes:
    """The other kind of mask with the same meaning, as PNG: `transparent` from one that marks with white, `white` from one that marks with
    transparency. Greys stay shares."""
    try:
        with open_picture(data) as picture:
            marked = (
                picture.convert("L")
                if wanted == "transparent"
                else picture.convert("RGBA").getchannel("A").point(lambda alpha: 255 - alpha)
            )
    except (OSError, ValueError) as error:
        raise UsageError(f"the mask cannot be read: {error}", hint="give a PNG") from None
    if wanted == "transparent":
        result = Image.new("RGBA", marked.size, (0, 0, 0, 255))
        result.putalpha(marked.point(lambda share: 255 - share))
    else:
        result = marked
    buffer = io.BytesIO()
    result.save(buffer, "PNG")
    return buffer.getvalue()
