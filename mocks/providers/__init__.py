"""How each provider reads an order out of a request, writes its answers and words its errors: one module each; any other provider follows its profile.

`testcard.mocks.providers.manners` says what such a module offers; `manners_of` finds it by the provider's id.
"""

from __future__ import annotations

from testcard.mocks.providers.from_profile import FromProfile
from testcard.mocks.providers.manners import Manners, Shop
from testcard.mocks.providers.nanogpt import NanoGpt
from testcard.mocks.providers.nebul import Nebul
from testcard.mocks.providers.nvidia_nim import NimImage, NimVision
from testcard.mocks.providers.relay import Relay

_MANNERS: dict[str, type[Manners]] = {
    "nanogpt": NanoGpt,
    "nebul": Nebul,
    "nvidia-nim-image": NimImage,
    "nvidia-nim-vision": NimVision,
    "opengpu-relay": Relay,
}


def manners_of(shop: Shop) -> Manners:
    """The provider's own manners, or those that follow from its profile."""
    return _MANNERS.get(shop.provider.id, FromProfile)(shop)
