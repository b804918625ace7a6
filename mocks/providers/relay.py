"""OpenGPU Network Relay: seven endpoints with a form of answer each, and tasks to come back for."""

from __future__ import annotations

import math
import secrets
from collections.abc import Callable, Sequence
from typing import Any, cast

from PIL import Image

from testcard.mocks.exchange import Answer, Call, Headers, Key, Parameters, PictureFormat, Refused, RenderedPicture
from testcard.mocks.field_meaning import checked_size, read_n, read_size, salt
from testcard.mocks.pictures import bands, inputs, renderer
from testcard.mocks.pictures.bands import layout
from testcard.mocks.providers.provider_format import ErrorStyle, ProviderFormat
from testcard.mocks.store import State, Task
from testcard.specs.loader import Provider

_TIERS = {"1K": 1, "2K": 2, "4K": 4}
_ASIDE = ("n", "async", "seed", "output_format")
_SQUARE = (1024, 1024)
#: operations whose pictures come as addresses, and the field that lists them
_LISTS = {"generateGptImage": "images", "editGptImage": "images", "generateQwen": "urls", "editQwen": "urls"}


#: seconds for which a poll is held at most
_LONGEST_POLL_S = 30.0

#: the codes of the provider's published client, by the mock's own and by status
_CODES = {
    "invalid_api_key": "INVALID_API_KEY",
    "missing_api_key": "MISSING_CREDENTIALS",
    "task_not_found": "TASK_NOT_FOUND",
    "model_not_found": "MODEL_NOT_FOUND",
    "rate_limit_exceeded": "RATE_LIMITED",
    "idempotency_key_reused": "IDEMPOTENCY_KEY_REUSED",
    "insufficient_credits": "INSUFFICIENT_CREDITS",
    "account_inactive": "ACCOUNT_INACTIVE",
    "content_policy": "CONTENT_POLICY_DECLINED",
    "stopping": "SERVICE_UNAVAILABLE",
}
_CODES_BY_STATUS = {
    400: "VALIDATION_ERROR",
    402: "INSUFFICIENT_CREDITS",
    403: "SCOPE_DENIED",
    422: "VALIDATION_ERROR",
    429: "RATE_LIMITED",
    500: "INTERNAL_ERROR",
    502: "UPSTREAM_ERROR",
    503: "SERVICE_UNAVAILABLE",
    504: "UPSTREAM_TIMEOUT",
}
_KINDS = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error"}


def _code(refused: Refused) -> str:
    return _CODES.get(refused.code) or _CODES_BY_STATUS.get(refused.status) or refused.code.upper()


def _kind(status: int) -> str:
    return _KINDS.get(status, "invalid_request_error" if status < 500 else "server_error")


def _error(refused: Refused) -> dict[str, Any]:
    """The error of the provider's published client."""
    error = {"code": _code(refused), "type": _kind(refused.status), "source": "relay", "message": refused.message}
    return {"detail": refused.message, "error": {**error, "request_id": f"req_{secrets.token_hex(8)}"}}


class Relay(ProviderFormat):
    """Errors with detail, code and request id; invalid bodies are 422, as its framework has it."""

    errors = ErrorStyle(_error, invalid=422, reused_key=422, challenge="X-API-Key")

    def __init__(self, provider: Provider, clock: Callable[[], float], *, strict: bool = False) -> None:
        super().__init__(provider, clock, strict=strict)
        self._readers: dict[str, Callable[[Call], Parameters]] = {
            "generateStableDiffusion": self._stable_diffusion,
            "generateFlux": self._flux,
            "generateGemini": self._gemini,
            "generateGptImage": self._gpt,
            "editGptImage": self._gpt,
            "generateQwen": self._qwen,
            "editQwen": self._qwen,
        }

    def wants_task(self, call: Call) -> bool:
        """Whether the body says `"async": true`."""
        return call.fields.get("async") is True

    def accepted(self, call: Call, reference: str) -> dict[str, Any]:
        """Both names for the task, and the path to ask at."""
        return {
            "task_id": reference,
            "task_address": reference,
            "status": "queued",
            "poll_url": f"{call.root}/v2/tasks/{reference}",
            "message": "the task was accepted",
        }

    def progress(self, task: Task, state: State, age_s: float, operation: str | None = None, call: Call | None = None) -> dict[str, Any]:
        """The state with the seconds so far; the result is the sync answer's body."""
        body = {"task_id": task.reference, "task_address": task.reference, "status": state, "elapsed_seconds": int(age_s)}
        if state == "completed":
            body["result"] = task.result
        elif task.failure is not None:
            body |= {"error": task.failure.message, "error_code": _code(task.failure)}
        return body

    def refusal(self, refused: Refused, operation: str | None = None) -> Answer:
        """The error, with its request id in a header as well."""
        body = self.errors.body(refused)
        return Answer(refused.status, body, headers=(*refused.headers, ("x-request-id", body["error"]["request_id"])))

    def moderated(self) -> Refused:
        """422, with the code of the published client."""
        return Refused(422, "the provider declined this prompt", code="content_policy")

    def replayed_headers(self) -> Headers:
        """The mark of the published client."""
        return (("idempotency-replayed", "true"),)

    def poll_wait_s(self, call: Call) -> float:
        """What `wait` asks for, at most half a minute."""
        asked = call.query.get("wait", "")
        return min(float(asked), _LONGEST_POLL_S) if asked.isascii() and asked.isdigit() else 0.0

    def elsewhere(self, method: str, path: str, key: Key) -> Answer | None:
        """What the published client asks beside the document: the catalogue, which is public but refuses a wrong key, and whether the service is there."""
        if method != "GET":
            return None
        if path == "/v2/health":
            return Answer(200, {"status": "ok", "version": "testcard mock", "commit": "none"})
        if path == "/v2/models":
            self._refuse_wrong(key)
            return Answer(200, {"auto": {"relay": [self._row(model) for model in self._served]}, "model_restrictions_per_tier": {}})
        if path.startswith("/v2/models/"):
            self._refuse_wrong(key)
            name = path.removeprefix("/v2/models/")
            if name not in self._served:
                raise Refused(404, f"there is no model {name[:80]}", code="model_not_found")
            return Answer(200, self._detail(name))
        return None

    def _refuse_wrong(self, key: Key) -> None:
        if key == "wrong":
            raise self.keyless(key)

    @property
    def _served(self) -> dict[str, str]:
        """The operation of every model."""
        return {model: operation for operation, models in self.models.items() for model in sorted(models)}

    def _endpoint(self, model: str) -> dict[str, Any]:
        operation = self.provider.operation(self._served[model])
        named = self.provider.operation_profile(operation.id).wire_name("model") is not None
        return {
            "method": operation.method,
            "path": operation.path,
            "operation_id": operation.id,
            "model_in_body": named,
            "model_default": operation.properties.get("model", {}).get("default") if named else None,
            "async_default": False,
            "streams": False,
        }

    def _tag(self, model: str) -> str:
        tasks = self.provider.operation_profile(self._served[model]).tasks
        return "text-to-image" if "generate" in tasks else "image-to-image"

    def _row(self, model: str) -> dict[str, Any]:
        row = {"name": model, "display_name": model.rpartition("/")[2], "tag": self._tag(model), "endpoint": self._endpoint(model)}
        return {**row, "store_output_supported": False, "conductable": []}

    def _detail(self, model: str) -> dict[str, Any]:
        nothing = dict.fromkeys(("request_schema", "request_schema_url", "request_example", "response_schema", "response_schema_url"))
        facts = {"modes": ["auto"], "sources": ["relay"], "restricted_tiers": [], "pricing": [], "available": True, "status": "available"}
        return {**self._row(model), **nothing, **facts}

    def parameters(self, call: Call) -> Parameters:
        """The pictures asked for, read as the endpoint documents its fields."""
        return self._readers[call.operation](call)

    def body(self, call: Call, parameters: Parameters, rendered: Sequence[RenderedPicture]) -> dict[str, Any]:
        """A list of base64 or of addresses, as the endpoint documents."""
        if call.operation in _LISTS:
            return {_LISTS[call.operation]: [one.url for one in rendered]}
        return {"images": [one.base64 for one in rendered]}

    def _stable_diffusion(self, call: Call) -> Parameters:
        fields = call.fields
        self.check_model(call, fields.get("model"))
        if fields.get("steps", 20) < 1:
            raise Refused(422, "steps has to be at least 1", param="steps")
        width, height = checked_size(int(fields.get("width", 512)), int(fields.get("height", 512)), "width")
        return Parameters(width, height, fields.get("prompt", ""), salt(call, _ASIDE))

    def _flux(self, call: Call) -> Parameters:
        fields = call.fields
        names = [name for name in ("input_image", "input_image_2", "input_image_3", "input_image_4") if name in fields]
        images = tuple(inputs.opaque(inputs.decode(inputs.from_either(fields[name], name), name)) for name in names)
        width, height = checked_size(int(fields.get("width", 1024)), int(fields.get("height", 1024)), "width")
        form = cast("PictureFormat", fields.get("output_format", "png"))
        return Parameters(width, height, fields.get("prompt", ""), salt(call, _ASIDE), seed=fields.get("seed"), format=form, images=images)

    def _gemini(self, call: Call) -> Parameters:
        fields = call.fields
        across, down = map(int, fields.get("aspect_ratio", "1:1").split(":"))
        area = (1024 * _TIERS[fields.get("image_size", "1K")]) ** 2
        width, height = (round(math.sqrt(area * ratio) / 16) * 16 for ratio in (across / down, down / across))
        return Parameters(width, height, fields.get("prompt", ""), salt(call, _ASIDE))

    def _gpt(self, call: Call) -> Parameters:
        fields = call.fields
        width, height = read_size(fields.get("size"), _SQUARE)
        images: tuple[Image.Image, ...] = ()
        edit = None
        if "image" in fields:
            images = (inputs.opaque(inputs.decode(inputs.from_either(fields["image"], "image"), "image")),)
            if "mask" in fields:
                edit = inputs.white_edits(inputs.decode(inputs.from_either(fields["mask"], "mask"), "mask"))
        return Parameters(
            width, height, fields.get("prompt", ""), salt(call, _ASIDE), n=read_n(fields, 4), delivery="url", images=images, edit=edit
        )

    def _qwen(self, call: Call) -> Parameters:
        fields = call.fields
        width, height = read_size(fields.get("size"), _SQUARE)
        images: tuple[Image.Image, ...] = ()
        if "image" in fields:
            images = (self._at(fields["image"]),)
        return Parameters(
            width, height, fields.get("prompt", ""), salt(call, _ASIDE), seed=fields.get("seed"), delivery="url", images=images
        )

    def _at(self, text: str) -> Image.Image:
        """The picture at an address, in a data URL or in base64. Addresses are not fetched: a card drawn from the address stands in."""
        if text.startswith(("https://", "http://")):
            plan = layout(512, 512)
            return renderer.compose(plan, bands.short(text), len(text) % bands.VARIANTS, text.encode())
        return inputs.opaque(inputs.decode(inputs.from_either(text, "image"), "image"))
