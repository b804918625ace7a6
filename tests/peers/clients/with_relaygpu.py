"""relaygpu-client, the published client of OpenGPU Relay: every endpoint, sync and async, waited for and not, and its typed errors."""

from __future__ import annotations

import base64
from typing import Any

import relaygpu
from relaygpu import AsyncRelay, Relay
from reporting import case, check, errors, is_picture, png, refused, urls

NAME = "opengpu-relay"
URLS = urls()
URL = URLS[NAME]
IMAGE = base64.b64encode(png()).decode()
#: the operation of each model, and what it is asked
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "Realistic_Vision_V5.1.safetensors": ("generateStableDiffusion", {"prompt": "a red boat", "width": 64, "height": 64}),
    "black-forest-labs/FLUX-2-pro": ("generateFlux", {"prompt": "a red boat", "width": 64, "height": 64, "seed": 3}),
    "google/gemini-3-pro-T2I": ("generateGemini", {"prompt": "a red boat", "aspect_ratio": "1:1"}),
    "openai/gpt-image-1.5-T2I": ("generateGptImage", {"prompt": "a red boat", "n": 2}),
    "openai/gpt-image-1.5-I2I": ("editGptImage", {"prompt": "a red boat", "image": IMAGE}),
    "Qwen/qwen-image": ("generateQwen", {"prompt": "a red boat", "size": "64x64"}),
    "Qwen/qwen-image-edit": ("editQwen", {"prompt": "a red boat", "image": IMAGE, "size": "64x64"}),
}


def relay(key: str = "testcard", where: str = NAME) -> Relay:
    """The client, unchanged but for key and address."""
    return Relay(key, base_url=URLS[where], timeout=20)


def right(found: Any, asked: dict[str, Any]) -> None:
    """The pictures are as many as were asked for, and are pictures."""
    check(len(found.images) == asked.get("n", 1), f"{len(found.images)} pictures")
    for one in found.images:
        is_picture(one.to_bytes(), asked.get("width"), asked.get("height"))


def sync(model: str, *, later: bool) -> None:
    """One call of the sync client."""
    asked = MODELS[model][1]
    seen: list[str] = []
    with relay() as client:
        call = client.image.edit if "image" in asked else client.image.generate
        right(call(model, asked, async_=later or None, on_progress=lambda told: seen.append(told["status"])), asked)
    check(not later or seen[-1] == "completed", f"progress said {seen}")


async def awaited(model: str, *, later: bool) -> None:
    """One call of the async client."""
    asked = MODELS[model][1]
    async with AsyncRelay("testcard", base_url=URL, timeout=20) as client:
        found = await client.image.generate(model, asked, async_=later or None)
        check(len(found.images) == asked.get("n", 1), f"{len(found.images)} pictures")
        for one in found.images:
            is_picture(await one.to_bytes(), asked.get("width"), asked.get("height"))


def replayed() -> None:
    """A key that was accepted before answers with the same task and says so; with another body it is refused."""
    model, asked = "Qwen/qwen-image", MODELS["Qwen/qwen-image"][1]
    with relay() as client:
        first, again = (client.run(model, asked, wait=False, async_=True, idempotency_key="order-1") for _ in range(2))
        check(first["task_id"] == again["task_id"], "another task")
        check(first["replayed"] is False and again["replayed"] is True, "replayed is not said")
        other = {**asked, "prompt": "another"}
        error = refused(
            relaygpu.IdempotencyKeyReusedError,
            lambda: client.run(model, other, wait=False, async_=True, idempotency_key="order-1"),
        )
        check(error.code == "IDEMPOTENCY_KEY_REUSED" and error.status == 422, repr(error))
        check(client.tasks.wait(first["task_id"], timeout=10)["status"] == "completed", "not completed")


def typed(kind: type[relaygpu.RelayError], model: str, asked: dict[str, Any], *, key: str = "testcard", where: str = NAME) -> None:
    """The client raises this kind, with the request's id."""
    with Relay(key, base_url=URLS[where], retry=False) as client:
        error = refused(kind, lambda: client.image.generate(model, asked))
        check(type(error) is kind, f"{type(error).__name__} and not {kind.__name__}")
        check(bool(error.request_id), "no request id")


def failed() -> None:
    """A task that is refused while it runs ends as a failed task with a code."""
    with relay(where=f"{NAME}:moderated") as client:
        error = refused(relaygpu.TaskFailedError, lambda: client.image.generate("Qwen/qwen-image", {"prompt": "a red boat"}, async_=True))
        check(error.code == "CONTENT_POLICY_DECLINED", repr(error))


def catalogue() -> None:
    """Every model is listed and described with its route."""
    with Relay(base_url=URL) as client:
        check({row["name"] for row in client.models.list()} >= set(MODELS), "a model is missing")
        for model, (operation, _) in MODELS.items():
            detail = client.models.get(model)
            check(detail["endpoint"]["operation_id"] == operation and detail["status"] == "available", model)
        check(client.health()["status"] == "ok", "not healthy")


for one, (name, _) in MODELS.items():
    case(NAME, f"{name}", lambda one=one: sync(one, later=False))
    case(NAME, f"{name}, async task", lambda one=one: sync(one, later=True))
    case(NAME, f"{name}, AsyncRelay", lambda one=one: awaited(one, later=False))
    case(NAME, f"{name}, AsyncRelay and task", lambda one=one: awaited(one, later=True))
case(NAME, "models", catalogue)
case(NAME, "idempotency", replayed)
QWEN = "Qwen/qwen-image"
case(NAME, "401", lambda: typed(relaygpu.InvalidApiKeyError, QWEN, {"prompt": "x"}, key="wrong"))
case(NAME, "404 model", lambda: typed(relaygpu.ModelNotFoundError, "no/such-model", {"prompt": "x"}))
case(NAME, "404 task", lambda: refused(relaygpu.TaskNotFoundError, lambda: relay().tasks.get("0xdead")))
case(NAME, "422", lambda: typed(relaygpu.ValidationError, QWEN, {"prompt": 7}))
case(NAME, "400", lambda: typed(relaygpu.InvalidRequestError, QWEN, {"prompt": "x", "size": "1024"}))
for status, kind in (
    ("500", relaygpu.InternalError),
    ("moderated", relaygpu.ContentPolicyDeclinedError),
):
    case(NAME, status, lambda status=status, kind=kind: typed(kind, QWEN, {"prompt": "x"}, where=f"{NAME}:{status}"))
case(NAME, "failed task", failed)


def asked_once(where: str) -> None:
    """One call, which nothing repeats."""
    with Relay("testcard", base_url=URLS[where], retry=False) as client:
        client.image.generate(QWEN, {"prompt": "x"})


errors(NAME, "image.generate", asked_once)
