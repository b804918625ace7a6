"""A second server for the five contracts, written from the providers' documents alone: no code, profile or schema of ours is used.

It exists to be lied through (tests/peers/seeding): what the check finds here it does not find because it knows our mocks.
Pictures are blocks of pseudo-random colours; validation is by hand; errors follow each document where it has a form.
"""

from __future__ import annotations

from .forwarding import Forwarding
from .nanogpt import NanoGpt
from .nebul import Nebul
from .nim_image import NimImage
from .nim_vision import NimVision
from .painting import encoded, paint
from .recorded import with_examples
from .relay import Relay
from .server import KEY, Reply, Server

__all__ = ["KEY", "SERVERS", "Forwarding", "Reply", "Server", "encoded", "paint", "with_examples"]

SERVERS: dict[str, type[Server]] = {
    "nanogpt": NanoGpt, "nebul": Nebul, "nvidia-nim-image": NimImage, "nvidia-nim-vision": NimVision, "opengpu-relay": Relay,
}  # fmt: skip
