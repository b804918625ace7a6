"""What a cell asks for: task requests from workload and profile, and their bytes, encoded once before the clock starts."""

from __future__ import annotations

import io
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from testcard.benchmarks.plan.workload import CHEAPEST, SAME, Workload, benign_prompts
from testcard.harness.errors import ContractViolation
from testcard.harness.wire.encode import encode
from testcard.harness.wire.fields import pixel_size, task_value, with_defaults
from testcard.harness.wire.model import InputImage, TaskRequest, WireRequest
from testcard.harness.wire.pictures import input_image
from testcard.specs.loader import Provider
from testcard.specs.profile import Task

#: Stands for the seed while a request is encoded; fresh seeds have as many digits, so that no length changes.
SLOT_SEED = 1_987_654_321
_SEEDS = (1_000_000_000, 2_147_483_647)
_CHEAP_TERMS = ("steps", "quality", "tier", "max_tokens")
_WITH_PICTURE = ("edit", "variation", "describe")


def task_requests(
    provider: Provider, operation: str, task: Task, model: str | None, workload: Workload, sizes: Sequence[str] = ()
) -> list[TaskRequest]:
    """One request for each prompt and combination of size, number of pictures and steps, in an order that uses the combinations in
    turn: `sizes`, else the workload's.

    `same` of a cell that was given no size (`plan.sizes`) asks for none.
    """
    profile = provider.operation_profile(operation)
    prompts = benign_prompts() if workload.prompts == "benign" else workload.prompts
    if "prompt" not in {field.means for field in profile.fields.values()} and profile.kind != "chat":
        prompts = ("",)
    seeded = workload.seeds != "none" and profile.wire_name("seed") is not None
    common = TaskRequest(
        task=task,
        model=model,
        seed=SLOT_SEED if seeded else None,
        images=(source_picture(),) if task in _WITH_PICTURE else (),
        stream=True if workload.stream and profile.wire_name("stream") else None,
        asynchronous=True if workload.asynchronous and profile.wire_name("async") else None,
        extra=workload.extra,
    )
    found = []
    sizes = sizes or workload.sizes
    turns = list(product(sizes, _pictures(provider, operation, workload), _steps(provider, operation, workload)))
    for index in range(max(len(prompts), len(turns))):
        prompt, (size, number, steps) = prompts[index % len(prompts)], turns[index % len(turns)]
        if task == "describe":
            prompt = f"Describe the picture in one sentence. Does it show {prompt}?"
        terms: dict[str, Any] = {"prompt": prompt or None, "n": number}
        if size == CHEAPEST:
            terms |= cheapest_terms(provider, operation, model)
        elif profile.kind != "chat" and size != SAME:
            terms["size"] = size if size == "auto" else tuple(map(int, size.split("x")))
        if task == "describe":  # an answer of few words, which says as much of speed and costs less
            terms |= {name: value for name, value in cheapest_terms(provider, operation, model).items() if name == "max_tokens"}
        if steps is not None:
            terms["steps"] = steps
        found.append(replace(common, **terms))
    return found


def _pictures(provider: Provider, operation: str, workload: Workload) -> tuple[int | None, ...]:
    """How many pictures requests ask for: as the workload says, else one, which is said only where the document's default is another."""
    if provider.operation_profile(operation).wire_name("n") is None:
        return (None,)
    if workload.n is None and with_defaults(provider, operation, {}, "n") not in (None, 1):
        return (1,)
    return workload.n if isinstance(workload.n, tuple) else (workload.n,)


def _steps(provider: Provider, operation: str, workload: Workload) -> tuple[int | None, ...]:
    """How many steps requests ask for, of an operation that has such a field."""
    if provider.operation_profile(operation).wire_name("steps") is None:
        return (None,)
    return workload.steps if isinstance(workload.steps, tuple) else (workload.steps,)


def stated(requests: Sequence[TaskRequest]) -> dict[str, str]:
    """What the requests of a cell ask for beside prompt and seed, in words; what is not sent is left out, what varies is listed."""
    found: dict[str, str] = {}
    for name in ("task", "size", "n", "quality", "steps", "delivery", "stream", "asynchronous"):
        words = dict.fromkeys(_word(value) for request in requests if (value := getattr(request, name)) is not None)
        if words and not (name == "n" and list(words) == ["1"]):  # one picture is what every operation gives by itself
            found[name] = " / ".join(words)
    return found


def _word(value: object) -> str:
    return "×".join(map(str, value)) if isinstance(value, tuple) else "yes" if value is True else str(value)


def cheapest_terms(provider: Provider, operation: str, model: str | None) -> dict[str, Any]:
    """The profile's cheapest size, steps, quality, tier and max_tokens, as far as it states them."""
    terms: dict[str, Any] = {}
    pixels: dict[str, Any] = {}
    for name in provider.operation_profile(operation).fields:
        field = provider.field(operation, name, model)
        if field is None or field.cheapest is None:
            continue
        if field.means in _CHEAP_TERMS:
            terms[field.means] = task_value(field, field.cheapest)
        elif field.means in ("width", "height"):
            pixels[field.means] = task_value(field, field.cheapest)
        elif field.means == "size":
            word = task_value(field, field.cheapest)
            terms["size"] = pixel_size(word) or word
    if len(pixels) == 2:
        terms["size"] = (pixels["width"], pixels["height"])
    return terms


def source_picture() -> InputImage:
    """The picture that edits, variations and descriptions work on: a 256 × 256 PNG gradient, always the same bytes."""
    from PIL import Image

    ramp = Image.linear_gradient("L")
    picture = Image.merge("RGB", (ramp, ramp.rotate(90), ramp.rotate(180)))
    file = io.BytesIO()
    picture.save(file, "PNG")
    return input_image(file.getvalue(), "gradient.png")


@dataclass(frozen=True, slots=True)
class Ask:
    """One request of a cell, with its wire form; `seeded` when the seed stands in exactly one place of the body, to be set anew.

    `alike`: the place of the first ask of the cell with the same bytes.
    """

    request: TaskRequest
    wire: WireRequest
    seeded: bool
    alike: int = 0

    @property
    def pieces(self) -> tuple[bytes, bytes]:
        """The body before and after the seed; the whole body and nothing where there is no seed to set."""
        if not self.seeded:
            return self.wire.body, b""
        before, _, after = self.wire.body.partition(str(SLOT_SEED).encode())
        return before, after


def asks(
    provider: Provider, operation: str, requests: Sequence[TaskRequest], *, base_url: str, api_key: str | None, fresh_seeds: bool
) -> list[Ask]:
    """The requests encoded, each once. Raises `ContractViolation` where the contract does not allow one of them."""
    found: list[Ask] = []
    for request in requests:
        if request.seed is not None and not fresh_seeds:
            request = replace(request, seed=42)
        try:
            wire = encode(provider, request, base_url=base_url, api_key=api_key, operation=operation)
        except ContractViolation as error:
            if error.field != "seed" or not fresh_seeds:
                raise
            request = replace(request, seed=42)
            wire = encode(provider, request, base_url=base_url, api_key=api_key, operation=operation)
        slots = wire.body.count(str(SLOT_SEED).encode())
        seeded = fresh_seeds and slots == 1
        alike = next((place for place, other in enumerate(found) if (other.wire.url, other.wire.body) == (wire.url, wire.body)), len(found))
        found.append(Ask(request, wire, seeded, alike))
    return found


def seed_stream(key: str) -> Iterator[bytes]:
    """Fresh seeds of ten digits, below 2³¹, the same for the same key."""
    draw = random.Random(key).random
    low, high = _SEEDS
    while True:
        yield b"%d" % (low + int(draw() * (high - low)))  # a third of what randrange takes


def task_of(provider: Provider, operation: str, wanted: str) -> Task:
    """The task that an operation is loaded with: the wanted one where it does it, else its first."""
    tasks = provider.operation_profile(operation).tasks
    if wanted in tasks:
        return wanted
    return tasks[0]
