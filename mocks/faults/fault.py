"""What a fault is, the operations it can apply to, the register of all of them, and how often one that is switched on takes hold."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from testcard.specs.errors import UsageError

#: Where a request is on its way, and what a fault gets beside the call and may return in another form:
#: `method` the refusal of an undocumented method, None to serve it · `key` the refusal for a missing or wrong key, or None ·
#: `unread` the refusal of a body for its media type or because it cannot be read, None to read what there is of it ·
#: `problems` the body's departures from the schema · `order` the pictures asked for · `drawn` the pictures' bytes ·
#: `delivered` the same with base64 or address · `body` the JSON of a successful answer · `events` the pieces of a stream ·
#: `answer` any answer, errors too, before it is sent
Stage = Literal["method", "key", "unread", "problems", "order", "drawn", "delivered", "body", "events", "answer"]
Place = tuple[str, str]
Hook = Callable[[Any, Any], Any]


class Turn(Protocol):
    """Something that is done to every request it holds for, at one stage: a fault's lie, or a variant's habit."""

    @property
    def stage(self) -> Stage:
        """Where on the way of a request."""

    @property
    def hook(self) -> Hook:
        """The function."""


@dataclass(frozen=True, slots=True)
class Fault:
    """A lie by name: the rule it breaks, where it can be told, what it does, and the other rules it cannot help tripping."""

    name: str
    rule: str
    places: tuple[Place, ...]
    also: tuple[str, ...]
    does: str
    stage: Stage
    hook: Hook = field(repr=False)

    @property
    def providers(self) -> tuple[str, ...]:
        """Ids of the providers whose mocks can tell it."""
        return tuple(dict.fromkeys(provider for provider, _ in self.places))

    @property
    def operations(self) -> tuple[str, ...]:
        """Operation ids it applies to, over all its providers; `applies` says which belongs to which."""
        return tuple(dict.fromkeys(operation for _, operation in self.places))

    def applies(self, provider: str, operation: str) -> bool:
        """Whether the fault can be told by this operation of this provider."""
        return (provider, operation) in self.places


FAULTS: dict[str, Fault] = {}


def lie(stage: Stage, name: str, places: Iterable[Place], *, also: Sequence[str] = ()) -> Callable[[Hook], Hook]:
    """Registers the decorated function as the fault `name`; the first line of its docstring says what it does."""

    def register(hook: Hook) -> Hook:
        if name in FAULTS:
            raise ValueError(f"the fault {name} is registered twice")
        does = (hook.__doc__ or "").strip().splitlines()[0]
        FAULTS[name] = Fault(name, name.partition("/")[0], tuple(places), tuple(also), does, stage, hook)
        return hook

    return register


@dataclass(slots=True)
class ActiveFault:
    """A fault that is switched on for a share of the requests it applies to: the share is kept exactly, in an even rhythm."""

    fault: Fault
    rate: float = 1.0
    _seen: int = 0

    def holds(self) -> bool:
        """Whether the next request is lied to."""
        self._seen += 1
        return int(self._seen * self.rate + 1e-9) > int((self._seen - 1) * self.rate + 1e-9)


def parse_fault(text: str) -> ActiveFault:
    """`NAME` or `NAME@RATE`, the rate above 0 and at most 1; `UsageError` with the nearest names for anything else."""
    name, _, share = text.partition("@")
    if name not in FAULTS:
        near = difflib.get_close_matches(name, FAULTS, n=3, cutoff=0.4)
        raise UsageError(
            f"there is no fault {name}",
            hint=("did you mean " + " or ".join(near) + "? " if near else "") + "testcard mock --list-faults prints them all",
        )
    try:
        rate = float(share) if share else 1.0
    except ValueError:
        rate = 0.0
    if not 0 < rate <= 1:
        raise UsageError(f"{text}: a rate is above 0 and at most 1", hint=f"for every tenth request write {name}@0.1")
    return ActiveFault(FAULTS[name], rate)


class Lies:
    """The faults that hold for one request, after the habits of the mock's variant; false when there are none."""

    __slots__ = ("_told",)

    def __init__(self, told: Sequence[Turn] = ()) -> None:
        self._told = tuple(told)

    def __bool__(self) -> bool:
        return bool(self._told)

    def tell(self, stage: Stage, call: Any, value: Any) -> Any:
        """`value` as the habits and faults of this stage make it."""
        for turn in self._told:
            if turn.stage == stage:
                value = turn.hook(call, value)
        return value


NO_LIES = Lies()


class Liar:
    """Decides for each request of one operation which of the switched-on faults hold."""

    def __init__(self, provider: str, operation: str, active: Sequence[ActiveFault], habits: Sequence[Turn] = ()) -> None:
        self._habits = tuple(habits)
        self._active = tuple(ActiveFault(one.fault, one.rate) for one in active if one.fault.applies(provider, operation))

    def next(self) -> Lies:
        """The lies for the next request."""
        if not self._active and not self._habits:
            return NO_LIES
        return Lies([*self._habits, *(one.fault for one in self._active if one.holds())])


NANOGPT: tuple[Place, ...] = (("nanogpt", "createImage"),)
NEBUL: tuple[Place, ...] = (("nebul", "createImage"), ("nebul", "createImageEdit"), ("nebul", "createImageVariation"))
NIM_IMAGE: tuple[Place, ...] = (("nvidia-nim-image", "generateImage"),)
VISION: tuple[Place, ...] = (("nvidia-nim-vision", "createVisionChatCompletion"),)
STABLE_DIFFUSION: tuple[Place, ...] = (("opengpu-relay", "generateStableDiffusion"),)
FLUX: tuple[Place, ...] = (("opengpu-relay", "generateFlux"),)
GEMINI: tuple[Place, ...] = (("opengpu-relay", "generateGemini"),)
GPT_GENERATE: tuple[Place, ...] = (("opengpu-relay", "generateGptImage"),)
GPT_EDIT: tuple[Place, ...] = (("opengpu-relay", "editGptImage"),)
QWEN_GENERATE: tuple[Place, ...] = (("opengpu-relay", "generateQwen"),)
QWEN_EDIT: tuple[Place, ...] = (("opengpu-relay", "editQwen"),)
TASK: tuple[Place, ...] = (("opengpu-relay", "getTask"),)

RELAY_PICTURES = (*STABLE_DIFFUSION, *FLUX, *GEMINI, *GPT_GENERATE, *GPT_EDIT, *QWEN_GENERATE, *QWEN_EDIT)
PICTURES = (*NANOGPT, *NEBUL, *NIM_IMAGE, *RELAY_PICTURES)
KEYED = (*PICTURES, *VISION)
EVERY = (*KEYED, *TASK)
#: operations that take the number of pictures
COUNTED = (*NANOGPT, *NEBUL, *GPT_GENERATE, *GPT_EDIT)
#: operations whose answers may hold a picture as an address or as base64
EITHER_WAY = (*NANOGPT, *NEBUL)
SEEDED = (*NANOGPT, *NIM_IMAGE, *FLUX, *QWEN_GENERATE, *QWEN_EDIT)
#: operations that take a format, or promise one
FORMATTED = (*NEBUL, *NIM_IMAGE, *FLUX)
#: operations whose pictures have a size that was asked for or is documented (Gemini's have a shape and a tier)
MEASURED = tuple(place for place in PICTURES if place not in GEMINI)
#: operations for which the documents bound a number other than that of pictures, and those for which they list words
BOUNDED = (*NANOGPT, *FLUX)
LISTED = (*NANOGPT, *NIM_IMAGE, *VISION, *FLUX, *GEMINI, *GPT_GENERATE, *GPT_EDIT)
#: operations whose pictures come as base64 and in no other way, and those whose pictures come as addresses
BASE64_ONLY = (*NIM_IMAGE, *STABLE_DIFFUSION, *FLUX, *GEMINI)
URL_ONLY = (*GPT_GENERATE, *GPT_EDIT, *QWEN_GENERATE, *QWEN_EDIT)
BY_URL = (*EITHER_WAY, *URL_ONLY)
BY_BASE64 = (*EITHER_WAY, *BASE64_ONLY)
#: operations that take a picture, and those that cannot do without one
WITH_IMAGE = (*NANOGPT, *NEBUL[1:], *NIM_IMAGE, *FLUX, *GPT_EDIT, *QWEN_EDIT)
IMAGE_REQUIRED = (*NEBUL[1:], *NIM_IMAGE, *GPT_EDIT, *QWEN_EDIT)
#: operations that take a mask, and those for which someone says what it means
MASKED = (*NANOGPT, ("nebul", "createImageEdit"), *NIM_IMAGE, *GPT_EDIT)
MASK_SPELT_OUT = (*NANOGPT, ("nebul", "createImageEdit"), *GPT_EDIT)
#: operations for which a document says how long addresses last
LASTING = (*NANOGPT, *QWEN_GENERATE, *QWEN_EDIT)
#: operations that take a prompt
PROMPTED = tuple(place for place in PICTURES if place != ("nebul", "createImageVariation"))
