"""What the mock of a provider has to say for itself, and the readings of fields that several of them share."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import msgspec

from testcard.mocks.exchange import Answer, Call, Drawn, Order, Refused, Upload
from testcard.mocks.request_body import Contract
from testcard.mocks.store import Files, State, Task
from testcard.specs.loader import Provider

#: bodies up to this size are served without a limit stated by the provider
_BODY_BYTES = 32_000_000
_SMALL_BODY_BYTES = 200_000
MAX_SIDE_PX = 4096
MAX_N = 10
_SIZE = re.compile(r"([1-9]\d{0,4})x([1-9]\d{0,4})")


@dataclass(frozen=True, slots=True)
class Shop:
    """What a provider's mock works with. `clock` gives unix seconds. `strict`: it takes nothing beyond what the documents state."""

    provider: Provider
    files: Files
    clock: Callable[[], float]
    strict: bool = False


class Manners:
    """One provider's way of reading and writing. Subclasses give `order` and `body` for pictures, or `complete` for chat.

    `invalid` is the status for a body that breaks the schema, `unknown_model` the one for a model that is not served.
    """

    invalid = 400
    unknown_model = 404
    challenge = "Bearer"

    def __init__(self, shop: Shop) -> None:
        self.shop = shop
        self.provider = shop.provider
        self.contracts = {name: Contract(shop.provider, name, strict=shop.strict) for name in shop.provider.profile.operations}
        self.models = {name: frozenset(shop.provider.models(name)) for name in shop.provider.profile.operations}

    def body_limit(self, operation: str) -> int:
        """Bytes above which a request body is refused with 413: midway between what must pass and what is clearly above.

        A strict mock takes what must pass and no more; where nothing is stated, what a small server would.
        """
        limits = self.provider.profile.limits
        if self.shop.strict:
            return limits.upload_accept_bytes or _SMALL_BODY_BYTES
        if limits.upload_above_bytes is None:
            return _BODY_BYTES
        return (limits.upload_above_bytes + (limits.upload_accept_bytes or limits.upload_above_bytes - 2)) // 2

    def error(self, refused: Refused) -> dict[str, Any]:
        """The body of an error: the shape of OpenAI's API, unless a provider has its own."""
        kind = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error"}
        return {
            "error": {
                "message": refused.message,
                "type": kind.get(refused.status, "invalid_request_error"),
                "param": refused.param,
                "code": refused.code,
            }
        }

    def order(self, call: Call) -> Order:
        """The pictures that a valid body asks for; `Refused` for what the schema cannot say."""
        raise Refused(404, "this operation makes no pictures")

    def body(self, call: Call, order: Order, drawn: Sequence[Drawn]) -> dict[str, Any]:
        """The JSON of a successful answer."""
        raise Refused(404, "this operation makes no pictures")

    async def complete(self, call: Call) -> Answer:
        """The answer to a chat."""
        raise Refused(404, "this operation does not chat")

    def wants_task(self, call: Call) -> bool:
        """Whether the answer is to be fetched later."""
        return False

    def accepted(self, call: Call, reference: str) -> dict[str, Any]:
        """The body of the 202 for an accepted task."""
        raise Refused(404, "this provider has no tasks")

    def progress(self, task: Task, state: State, age_s: float) -> dict[str, Any]:
        """The body of a poll: the task's state, and once it is terminal its result or error."""
        raise Refused(404, "this provider has no tasks")

    def lifetime_s(self, operation: str) -> float:
        """Seconds for which an address of a picture answers."""
        return self.provider.operation_profile(operation).response.url_lifetime_s or 3600.0

    def check_model(self, call: Call, model: Any) -> None:
        """`Refused` when the operation serves no such model."""
        if model is not None and model not in self.models[call.operation]:
            raise Refused(self.unknown_model, f"there is no model {str(model)[:80]}", param="model", code="model_not_found")


def salt(call: Call, without: Sequence[str], *, always: bool = False) -> bytes:
    """A digest of every field that may change the pixels: all but those named `without`, which only say how much, how or to whom.

    Empty without a seed, since every picture is new then, unless `always`: for answers that say which seed they were drawn from.
    """
    if call.fields.get("seed") is None and not always:
        return b""
    sent = [(name, _plain(value)) for name, value in sorted(call.fields.items()) if name not in without]
    return hashlib.blake2b(msgspec.json.encode([sorted(call.path.items()), sent]), digest_size=16).digest()


def _plain(value: Any) -> Any:
    if isinstance(value, Upload):
        return hashlib.blake2b(value.data, digest_size=16).hexdigest()
    return [_plain(item) for item in value] if isinstance(value, list) else value


def read_size(value: Any, automatic: tuple[int, int], param: str = "size") -> tuple[int, int]:
    """Width and height in pixels of WIDTHxHEIGHT, `automatic` for nothing or "auto"; `Refused` with 400 for others."""
    if value is None or value == "auto":
        return automatic
    sides = _sides(value)
    if sides is None:
        raise Refused(400, f"{param} has to be auto or WIDTHxHEIGHT", param=param)
    return checked_size(*sides, param)


@lru_cache(maxsize=256)
def _sides(text: str) -> tuple[int, int] | None:
    found = _SIZE.fullmatch(text)
    return (int(found[1]), int(found[2])) if found is not None else None


def checked_size(width: int, height: int, param: str) -> tuple[int, int]:
    """The size, when this mock can draw it; `Refused` with 400 otherwise."""
    if not (1 <= width <= MAX_SIDE_PX and 1 <= height <= MAX_SIDE_PX):
        raise Refused(400, f"{param}: width and height have to be between 1 and {MAX_SIDE_PX} pixels", param=param)
    return width, height


def read_n(fields: Mapping[str, Any], most: int = MAX_N) -> int:
    """How many pictures; `Refused` with 400 outside 1 to `most`."""
    n = int(fields.get("n") or 0) if fields.get("n") is not None else 1
    if not 1 <= n <= most:
        raise Refused(400, f"n has to be between 1 and {most}", param="n")
    return n


def one_of(fields: Mapping[str, Any], name: str, words: Sequence[str]) -> str:
    """The field's word, the first of `words` when it was not sent; `Refused` with 400 for another."""
    value = fields.get(name)
    if value is None:
        return words[0]
    if value not in words:
        raise Refused(400, f"{name} has to be one of {', '.join(words)}", param=name)
    return str(value)
