"""What a variant is, and the draws by which it varies: from the request alone, so that equal requests are treated alike."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec
from starlette.types import ASGIApp

from testcard.mocks.exchange import Call, Upload
from testcard.mocks.faults.fault import Hook, Stage
from testcard.mocks.request_body import Contract
from testcard.specs.loader import Provider

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Habit:
    """What a variant does to every request at one stage (those of `testcard.mocks.faults.fault.Stage`)."""

    stage: Stage
    hook: Hook = field(repr=False)


def _none(provider: Provider, operation: str, contract: Contract) -> Sequence[Habit]:
    return ()


def _undressed(app: ASGIApp) -> ASGIApp:
    return app


@dataclass(frozen=True, slots=True)
class Variant:
    """One way to keep every contract.

    `strict`: nothing beyond what the documents state is taken (see `Shop.strict`). `habits` gives those of one operation,
    `dress` changes how answers look on the wire. `latency`: the pace when none was asked for, as `testcard mock --latency`
    takes it. `file_media_type`: the type under which pictures are delivered by address, None for their own.
    """

    name: str
    strict: bool = False
    habits: Callable[[Provider, str, Contract], Sequence[Habit]] = _none
    dress: Callable[[ASGIApp], ASGIApp] = _undressed
    latency: str | None = None
    file_media_type: str | None = None


PLAIN = Variant("plain")


def drawn(call: Call, question: str, choices: Sequence[T]) -> T:
    """One of the choices, the same for equal requests and questions."""
    told = [call.operation, sorted(call.path.items()), sorted((name, _plain(value)) for name, value in call.fields.items()), question]
    digest = hashlib.blake2b(msgspec.json.encode(told), digest_size=4).digest()
    return choices[int.from_bytes(digest, "big") % len(choices)]


def _plain(value: Any) -> Any:
    if isinstance(value, Upload):
        return hashlib.blake2b(value.data, digest_size=8).hexdigest()
    return [_plain(item) for item in value] if isinstance(value, list) else value
