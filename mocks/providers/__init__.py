"""How each provider reads what a request asks for, writes its answers and words its errors: one module each; any other provider follows its profile.

`testcard.mocks.providers.provider_format` says what such a module offers; `provider_format_of` finds it by the provider's id.
"""

from __future__ import annotations

from collections.abc import Callable

from testcard.mocks.providers.from_profile import FromProfile
from testcard.mocks.providers.nanogpt import NanoGpt
from testcard.mocks.providers.nebul import Nebul
from testcard.mocks.providers.nvidia_nim import NimImage, NimVision
from testcard.mocks.providers.provider_format import ProviderFormat
from testcard.mocks.providers.relay import Relay
from testcard.specs.loader import Provider

_FORMATS: dict[str, type[ProviderFormat]] = {
    "nanogpt": NanoGpt,
    "nebul": Nebul,
    "nvidia-nim-image": NimImage,
    "nvidia-nim-vision": NimVision,
    "opengpu-relay": Relay,
}


def provider_format_of(provider: Provider, clock: Callable[[], float], *, strict: bool) -> ProviderFormat:
    """The provider's own format, or the one that follows from its profile; arguments as `ProviderFormat` takes them."""
    return _FORMATS.get(provider.id, FromProfile)(provider, clock, strict=strict)
