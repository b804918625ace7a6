"""What a variant is, and the draws by which it varies: from the request alone, so that equal requests are treated alike."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import msgspec
from starlette.types import ASGIApp

from testcard.mocks.exchange import Call
from testcard.mocks.field_meaning import plain
from testcard.mocks.request_body import Contract
from testcard.mocks.stages import StageHook
from testcard.specs.loader import Provider

T = TypeVar("T")


def _none(provider: Provider, operation: str, contract: Contract) -> Sequence[StageHook]:
    return ()


def _unwrapped(app: ASGIApp) -> ASGIApp:
    return app


@dataclass(frozen=True, slots=True)
class Variant:
    """One way to keep every contract.

    `strict`: nothing beyond what the documents state is taken . `hooks` gives what it does to the requests of one operation,
    `wrap` changes how answers look on the wire. `latency`: the pace when none was asked for, as `testcard mock --latency`
    takes it. `file_media_type`: the type under which pictures are delivered by address, None for their own.
    """

    name: str
    strict: bool = False
    hooks: Callable[[Provider, str, Contract], Sequence[StageHook]] = _none
    wrap: Callable[[ASGIApp], ASGIApp] = _unwrapped
    latency: str | None = None
    file_media_type: str | None = None


PLAIN = Variant("plain")


def choice_of(call: Call, question: str, choices: Sequence[T]) -> T:
    """One of the choices, the same for equal requests and questions."""
    asked = [call.operation, sorted(call.path.items()), sorted((name, plain(value)) for name, value in call.fields.items()), question]
    digest = hashlib.blake2b(msgspec.json.encode(asked), digest_size=4).digest()
    return choices[int.from_bytes(digest, "big") % len(choices)]
