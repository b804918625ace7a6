"""What a provider's mock reads and writes, and how it words its errors; each provider has a subclass, or follows its profile."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, Literal

import msgspec

from testcard.mocks.exchange import Answer, Call, Headers, Key, Parameters, Refused, RenderedPicture
from testcard.mocks.request_body import Contract
from testcard.mocks.store import State, Task
from testcard.specs.loader import Provider
from testcard.specs.prices import Billable

#: bodies up to this size are served without a limit stated by the provider
_BODY_BYTES = 32_000_000
_SMALL_BODY_BYTES = 200_000
_KINDS = {
    402: "insufficient_quota",
    500: "server_error",
    502: "server_error",
    503: "server_error",
    504: "server_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
}

_OPENAI_PATHS = ("/images/generations", "/images/edits", "/images/variations", "/chat/completions")


def openai_error(refused: Refused) -> dict[str, Any]:
    """The body of an error in the shape of OpenAI's API."""
    kind = _KINDS.get(refused.status, "invalid_request_error")
    return {"error": {"message": refused.message, "type": kind, "param": refused.param, "code": refused.code}}


@dataclass(frozen=True, slots=True)
class ErrorStyle:
    """How a provider refuses: the body of its errors and the statuses it chooses.

    `invalid` is the status for a body that breaks the schema, `unknown_model` the one for a model that is not served, `reused_key` the one
    for an idempotency key that comes again with another body, `challenge` what a 401 says in WWW-Authenticate.
    """

    body: Callable[[Refused], dict[str, Any]] = openai_error
    invalid: int = 400
    unknown_model: int = 404
    reused_key: int = 409
    challenge: str = "Bearer"


class ProviderFormat:
    """One provider's way of reading requests and writing answers.

    Subclasses give `parameters` and `body` for pictures, or `complete` for chat. `clock` gives unix seconds. `strict`: nothing
    beyond what the documents state is taken.
    """

    errors = ErrorStyle()

    def __init__(self, provider: Provider, clock: Callable[[], float], *, strict: bool = False) -> None:
        self.provider = provider
        self.clock = clock
        self.strict = strict
        self.contracts = {name: Contract(provider, name, strict=strict) for name in provider.profile.operations}
        self.balance_usd: float | None = None
        self._price_usd = lru_cache(maxsize=256)(self._reckoned_usd)
        self.models = {name: frozenset(provider.models(name)) for name in provider.profile.operations}

    def body_limit(self, operation: str) -> int:
        """Bytes above which a request body is refused with 413: midway between what must pass and what is clearly above.

        A strict mock takes what must pass and no more; where nothing is stated, what a small server would.
        """
        limits = self.provider.profile.limits
        if self.strict:
            return limits.upload_accept_bytes or _SMALL_BODY_BYTES
        if limits.upload_above_bytes is None:
            return _BODY_BYTES
        return (limits.upload_above_bytes + (limits.upload_accept_bytes or limits.upload_above_bytes - 2)) // 2

    def refusal(self, refused: Refused, operation: str | None = None) -> Answer:
        """The answer that a refusal becomes, in the provider's own shape; of an operation, where it reached one."""
        return Answer(refused.status, self.errors.body(refused), headers=refused.headers)

    def as_sent(self, answer: Answer, operation: str) -> Answer:
        """The answer with the status that it travels under: a refusal's own, but where a provider sends its errors as successes."""
        return answer

    def keyless(self, key: Key) -> Refused:
        """The refusal of a request without the right key."""
        challenge = ("www-authenticate", self.errors.challenge)
        code = "invalid_api_key" if key == "wrong" else "missing_api_key"
        return Refused(401, f"the key is {key}", code=code, headers=(challenge,))

    def moderated(self) -> Refused:
        """The refusal of a prompt for its content."""
        return Refused(self.errors.invalid, "the prompt was refused by the content policy", code="content_policy_violation")

    def cost_usd(self, call: Call, parameters: Parameters) -> float:
        """What the pictures cost, at the profile's illustrative price; 0 where it has none."""
        model, size = call.fields.get("model"), (parameters.width_px, parameters.height_px)
        return self._price_usd(model, call.operation, parameters.n, *size, len(parameters.images))

    def _reckoned_usd(self, model: str | None, operation: str, images: int, width_px: int, height_px: int, input_images: int) -> float:
        entry = self.provider.price_entry(model, operation, "illustrative")
        billed = Billable(images=images, width_px=width_px, height_px=height_px, input_images=input_images)
        return round((entry.price.usd(billed) if entry else None) or 0.0, 6)

    def charge(self, cost_usd: float) -> None:
        """Takes this from the balance, where one is kept."""
        if self.balance_usd is not None:
            self.balance_usd = round(self.balance_usd - cost_usd, 6)

    def parameters(self, call: Call) -> Parameters:
        """The pictures that a valid body asks for; `Refused` for what the schema cannot say."""
        raise Refused(404, "this operation makes no pictures")

    def body(self, call: Call, parameters: Parameters, rendered: Sequence[RenderedPicture]) -> Any:
        """The JSON of a successful answer."""
        raise Refused(404, "this operation makes no pictures")

    async def complete(self, call: Call) -> Answer:
        """The answer to a chat."""
        raise Refused(404, "this operation does not chat")

    def elsewhere(self, method: str, path: str, key: Key) -> Answer | None:
        """What answers at an address that the document does not name; None where nothing does. `key` says what key came with the request.

        By default the list of models beside operations that have the paths of OpenAI's API. Raises `Refused` for a request that is refused there.
        """
        prefix, found, name = path.partition("/models")
        if method != "GET" or not found or prefix not in self._openai_prefixes or (name and not name.startswith("/")):
            return None
        if key != "right":
            raise self.keyless(key)
        listed = [self._model(one) for one in dict.fromkeys(one for models in self.models.values() for one in sorted(models))]
        if not name:
            return Answer(200, {"object": "list", "data": listed})
        one = next((model for model in listed if model["id"] == name[1:]), None)
        if one is None:
            raise Refused(404, f"there is no model {name[1:81]}", param="model", code="model_not_found")
        return Answer(200, one)

    @cached_property
    def _openai_prefixes(self) -> frozenset[str]:
        """What comes before the last two parts of the paths that OpenAI's API has."""
        paths = (operation.path for operation in self.provider.openapi.operations.values())
        return frozenset(path.removesuffix(end) for path in paths for end in _OPENAI_PATHS if path.endswith(end))

    def _model(self, name: str) -> dict[str, Any]:
        owner = name.partition("/")[0] if "/" in name else self.provider.id
        return {"id": name, "object": "model", "created": int(self.clock()), "owned_by": owner}

    def wants_task(self, call: Call) -> bool:
        """Whether the answer is to be fetched later."""
        return False

    def accepted(self, call: Call, reference: str) -> Any:
        """The body of the 202 for an accepted task."""
        raise Refused(404, "this provider has no tasks")

    def accepted_headers(self, call: Call, reference: str) -> Headers:
        """What is said of an accepted task in headers."""
        return ()

    def replayed_headers(self) -> Headers:
        """What is said with a task that an equal idempotency key had accepted before."""
        return ()

    def poll_wait_s(self, call: Call) -> float:
        """Seconds that a poll may be held for the task to end."""
        return 0.0

    def success_status(self, operation: str) -> int:
        """The status of a request that was carried out."""
        return 200

    def accept_status(self, operation: str) -> int:
        """The status with which a task is accepted."""
        return 202

    def media_type(self, operation: str, status: int) -> str:
        """The media type of an answer's JSON."""
        return "application/json"

    def new_reference(self) -> str:
        """What a new task is asked for by."""
        return "0x" + secrets.token_hex(20)

    def task_reference(self, call: Call) -> str:
        """The reference of the task that a poll asks about."""
        return next(iter(call.path.values()))

    def answers_as(self, call: Call, parameters: Parameters) -> Literal["json", "binary", "events"]:
        """What the answer to a request is: JSON, the picture itself, or a stream of events."""
        return "json"

    def headers(self, call: Call, parameters: Parameters, rendered: Sequence[RenderedPicture]) -> Headers:
        """What a successful answer says in its headers."""
        return ()

    def events(self, call: Call, parameters: Parameters, rendered: Sequence[RenderedPicture]) -> list[Any]:
        """The events of a stream of pictures: their data, in order."""
        raise Refused(404, "this operation streams no pictures")

    def event(self, operation: str, data: Any) -> bytes:
        """An event as it is sent."""
        return b"data: " + (data if isinstance(data, bytes) else msgspec.json.encode(data)) + b"\n\n"

    def asked_of_task(self, operation: str) -> Literal["progress", "result", "cancel"]:
        """What an operation about a task is for."""
        return "progress"

    def result(self, task: Task, state: State, operation: str) -> Any:
        """What a completed task came to, where another operation than the poll gives it; `Refused` before that."""
        raise Refused(404, "results are no operation here")

    def progress_status(self, operation: str, state: State) -> int:
        """The status of a poll."""
        return 200

    def progress(self, task: Task, state: State, age_s: float, operation: str | None = None, call: Call | None = None) -> Any:
        """The body of a poll: the task's state, and once it is terminal its result or error."""
        raise Refused(404, "this provider has no tasks")

    def lifetime_s(self, operation: str) -> float:
        """Seconds for which an address of a picture answers."""
        return self.provider.operation_profile(operation).response.url_lifetime_s or 3600.0

    def check_model(self, call: Call, model: Any) -> None:
        """`Refused` when the operation serves no such model."""
        if model is not None and model not in self.models[call.operation]:
            raise Refused(self.errors.unknown_model, f"there is no model {str(model)[:80]}", param="model", code="model_not_found")
