"""What a fault is, the operations it can apply to, the register of all of them, and how often one that is switched on takes hold."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from testcard.mocks.stages import NO_HOOKS, Hook, Stage, StageHook, StageHooks
from testcard.specs.errors import UsageError
from testcard.specs.loader import Provider

#: a provider's id and the id of one of its operations
Place = tuple[str, str]
#: whether an operation of a provider can tell a fault
Own = Callable[[Provider, str], bool]


@dataclass(frozen=True, slots=True)
class Fault:
    """A lie by name: the rule it breaks, where it can be told, what it does, and the other rules it cannot help tripping.

    `places` are operations of the providers that come with Testcard; `own` says of any other provider's whether it can be told there.
    """

    name: str
    rule: str
    places: tuple[Place, ...]
    also: tuple[str, ...]
    does: str
    hook: StageHook = field(repr=False)
    own: Own | None = field(default=None, repr=False)

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

    def told_at(self, provider: Provider, operation: str) -> bool:
        """As `applies`, of any provider: one of a user's own too."""
        if provider.id in _BUNDLED:
            return self.applies(provider.id, operation)
        return self.own is not None and self.own(provider, operation)

    def told_by(self, provider: Provider) -> bool:
        """Whether any operation of the provider can tell it."""
        return any(self.told_at(provider, operation) for operation in provider.profile.operations)


FAULTS: dict[str, Fault] = {}


def fault(
    stage: Stage, name: str, places: Iterable[Place] = (), *, also: Sequence[str] = (), own: Own | None = None
) -> Callable[[Hook], Hook]:
    """Registers the decorated function as the fault `name`; the first line of its docstring says what it does."""

    def register(function: Hook) -> Hook:
        if name in FAULTS:
            raise ValueError(f"the fault {name} is registered twice")
        does = (function.__doc__ or "").strip().splitlines()[0]
        FAULTS[name] = Fault(name, name.partition("/")[0], tuple(places), tuple(also), does, StageHook(stage, function), own)
        return function

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


class FaultSource:
    """Says for each request of one operation which hooks hold: the variant's always, before the faults that are switched on."""

    def __init__(self, provider: Provider, operation: str, active: Sequence[ActiveFault], hooks: Sequence[StageHook] = ()) -> None:
        self._always = StageHooks(hooks) if hooks else NO_HOOKS
        self._hooks = tuple(hooks)
        self._active = tuple(ActiveFault(one.fault, one.rate) for one in active if one.fault.told_at(provider, operation))

    def next(self) -> StageHooks:
        """The hooks of the next request."""
        if not self._active:
            return self._always
        return StageHooks([*self._hooks, *(one.fault.hook for one in self._active if one.holds())])


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

_BUNDLED = frozenset(provider for provider, _ in EVERY)


def own_pictures(provider: Provider, operation: str) -> bool:
    """Operations of a user's own provider that make pictures."""
    profile = provider.operation_profile(operation)
    return profile.kind == "images" and bool(profile.tasks)


def own_keyed(provider: Provider, operation: str) -> bool:
    """Those of them that need a key."""
    return own_pictures(provider, operation) and provider.profile.auth.header is not None


def own_authorized(provider: Provider, operation: str) -> bool:
    """Those of them whose key is in the header Authorization."""
    header = provider.profile.auth.header
    return own_pictures(provider, operation) and header is not None and header.name.lower() == "authorization"


def own_measured(provider: Provider, operation: str) -> bool:
    """Those of them whose pictures have a size that a request names in pixels."""
    meanings = {field.means for field in provider.operation_profile(operation).fields.values()}
    return own_pictures(provider, operation) and ("size" in meanings or {"width", "height"} <= meanings)


def own_seeded(provider: Provider, operation: str) -> bool:
    """Those of them that take a seed."""
    return own_pictures(provider, operation) and provider.operation_profile(operation).wire_name("seed") is not None


def own_prompted(provider: Provider, operation: str) -> bool:
    """Those of them that take a prompt."""
    return own_pictures(provider, operation) and provider.operation_profile(operation).wire_name("prompt") is not None


def own_binary(provider: Provider, operation: str) -> bool:
    """Those of them that answer with the picture itself."""
    return own_pictures(provider, operation) and provider.operation_profile(operation).response.default_delivery == "binary"


def own_events(provider: Provider, operation: str) -> bool:
    """Those of them that stream pictures."""
    return own_pictures(provider, operation) and provider.operation_profile(operation).response.events is not None


def own_tasks(provider: Provider, operation: str) -> bool:
    """Those of them whose every request becomes a task."""
    protocol = provider.protocol(operation)
    return own_pictures(provider, operation) and protocol is not None and protocol.flag is None


def own_cancels(provider: Provider, operation: str) -> bool:
    """Operations of a user's own provider that call tasks off."""
    protocol = provider.protocol(operation)
    return protocol is not None and protocol.cancel is not None and protocol.cancel.operation == operation


def own_polls(provider: Provider, operation: str) -> bool:
    """Operations of a user's own provider that are asked about a task, and those whose tasks they are."""
    protocol = provider.protocol(operation)
    return protocol is not None and protocol.flag is None and (own_tasks(provider, operation) or operation in protocol.operations)


def own_failing(provider: Provider, operation: str) -> bool:
    """As `own_polls`, where the provider has a word for a task that failed."""
    protocol = provider.protocol(operation)
    return own_polls(provider, operation) and protocol is not None and protocol.word("failed") is not None
