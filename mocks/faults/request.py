"""Lies about which requests are accepted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from testcard.mocks.exchange import Answer, Call, Problem
from testcard.mocks.faults.register import (
    BOUNDED,
    FLUX,
    GPT_EDIT,
    GPT_GENERATE,
    KEYED,
    LISTED,
    NANOGPT,
    NIM_IMAGE,
    QWEN_EDIT,
    QWEN_GENERATE,
    fault,
)

#: a value that the documents state, by operation, which the mock then refuses
_STATED = {
    ("nanogpt", "createImage"): ("size", "512x512"),
    ("nebul", "createImage"): ("quality", "auto"),
    ("nebul", "createImageEdit"): ("quality", "auto"),
    ("nebul", "createImageVariation"): ("quality", "auto"),
    ("nvidia-nim-image", "generateImage"): ("mode", "text-to-image"),
    ("nvidia-nim-vision", "createVisionChatCompletion"): ("stream", False),
    ("opengpu-relay", "generateStableDiffusion"): ("steps", 20),
    ("opengpu-relay", "generateFlux"): ("safety_tolerance", 6),
    ("opengpu-relay", "generateGemini"): ("aspect_ratio", "21:9"),
    ("opengpu-relay", "generateGptImage"): ("quality", "high"),
    ("opengpu-relay", "editGptImage"): ("quality", "high"),
    ("opengpu-relay", "generateQwen"): ("size", "1024x1024"),
    ("opengpu-relay", "editQwen"): ("size", "1024x1024"),
}


@fault("problems", "request.accepts-valid", KEYED)
def _refuses_a_stated_value(call: Call, problems: list[Problem]) -> list[Problem]:
    """Refuses one value that the documents state (a size, a quality, a bound)."""
    name, value = _STATED[call.provider, call.operation]
    if name in call.fields and call.fields[name] == value:
        return [*problems, Problem(name, "enum", f"{name} cannot be {value}")]
    return problems


#: an optional field, by operation, which the mock then does not know
_OPTIONAL = {
    ("nanogpt", "createImage"): "user",
    ("nebul", "createImage"): "user",
    ("nebul", "createImageEdit"): "user",
    ("nebul", "createImageVariation"): "user",
    ("nvidia-nim-image", "generateImage"): "seed",
    ("nvidia-nim-vision", "createVisionChatCompletion"): "temperature",
    ("opengpu-relay", "generateStableDiffusion"): "negative_prompt",
    ("opengpu-relay", "generateFlux"): "safety_tolerance",
    ("opengpu-relay", "generateGemini"): "aspect_ratio",
    ("opengpu-relay", "generateGptImage"): "quality",
    ("opengpu-relay", "editGptImage"): "quality",
    ("opengpu-relay", "generateQwen"): "seed",
    ("opengpu-relay", "editQwen"): "seed",
}


@fault("problems", "request.accepts-valid/unknown-field", KEYED)
def _refuses_an_optional_field(call: Call, problems: list[Problem]) -> list[Problem]:
    """Refuses every request that carries one of the documented optional fields."""
    name = _OPTIONAL[call.provider, call.operation]
    return [*problems, Problem(name, "additionalProperties", f"{name} is not known")] if name in call.fields else problems


#: two optional fields, by operation, of which the mock takes either and refuses both
_EITHER = {
    ("nanogpt", "createImage"): ("user", "seed"),
    ("nebul", "createImage"): ("user", "guidance"),
    ("nebul", "createImageEdit"): ("user", "guidance"),
    ("nebul", "createImageVariation"): ("user", "guidance"),
    ("opengpu-relay", "generateStableDiffusion"): ("negative_prompt", "steps"),
}


@fault("problems", "request.accepts-valid/combination", _EITHER)
def _refuses_two_together(call: Call, problems: list[Problem]) -> list[Problem]:
    """Takes each of two optional fields, and refuses requests that carry both."""
    one, other = _EITHER[call.provider, call.operation]
    if isinstance(call.fields, dict) and one in call.fields and other in call.fields:
        return [*problems, Problem(other, "not", f"{other} does not go together with {one}")]
    return problems


def _overlook(call: Call, problems: list[Problem], keywords: frozenset[str]) -> list[Problem]:
    """Drops the problems of these kinds, and the values they are about, so that the rest of the mock meets sound ones."""
    kept = []
    for problem in problems:
        if problem.keyword in keywords and isinstance(call.fields, dict):
            call.fields.pop(problem.place.split(".")[0], None)
        else:
            kept.append(problem)
    return kept


@fault("problems", "request.refuses-invalid", KEYED, also=("input.image-required",))
def _accepts_without_required(call: Call, problems: list[Problem]) -> list[Problem]:
    """Accepts requests that lack a required field."""
    return _overlook(call, problems, frozenset({"required"}))


@fault("problems", "request.refuses-invalid/ignores-bounds", BOUNDED)
def _ignores_bounds(call: Call, problems: list[Problem]) -> list[Problem]:
    """Accepts numbers below or above their bounds, as if they had not been sent."""
    return _overlook(call, problems, frozenset({"minimum", "maximum"}))


@fault("problems", "request.step", FLUX)
def _ignores_steps(call: Call, problems: list[Problem]) -> list[Problem]:
    """Accepts numbers off their step, as if they had not been sent."""
    return _overlook(call, problems, frozenset({"multipleOf"}))


@fault("problems", "request.n-range", (*GPT_GENERATE, *GPT_EDIT))
def _any_number_of_pictures(call: Call, problems: list[Problem]) -> list[Problem]:
    """Accepts any number of pictures, as if none had been sent."""
    return _overlook(call, problems, frozenset({"minimum", "maximum"}))


@fault("problems", "request.n-range/above", (*GPT_GENERATE, *GPT_EDIT))
def _too_many_pictures(call: Call, problems: list[Problem]) -> list[Problem]:
    """Accepts more pictures than it makes at a time, as if no number had been sent."""
    return _overlook(call, problems, frozenset({"maximum"}))


@fault("problems", "request.refuses-invalid/ignores-enums", LISTED)
def _ignores_enums(call: Call, problems: list[Problem]) -> list[Problem]:
    """Accepts words that are not among those listed, as if they had not been sent."""
    return _overlook(call, problems, frozenset({"enum"}))


@fault("problems", "request.refuses-invalid/ignores-types", KEYED)
def _ignores_types(call: Call, problems: list[Problem]) -> list[Problem]:
    """Accepts values of the wrong type, as if they had not been sent."""
    return _overlook(call, problems, frozenset({"type"}))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _texts(inner)


def _failed(call: Call, answer: Answer, breaks: Callable[[str], bool]) -> Answer:
    """The answer, or a 500 where a text of the request breaks the server. Pictures in text are no text."""
    if any(breaks(text) for text in _texts(call.fields) if " " in text):
        return Answer(500, {"error": {"message": "internal error", "type": "server_error", "param": None, "code": None}})
    return answer


@fault("answer", "request.text-survives", KEYED, also=("http.no-server-error",))
def _sixteen_bits(call: Call, answer: Answer) -> Answer:
    """Fails at characters beyond the sixteen-bit range."""
    return _failed(call, answer, lambda text: max(text) > "\uffff")


@fault("answer", "request.text-survives/control", KEYED, also=("http.no-server-error",))
def _no_nul(call: Call, answer: Answer) -> Answer:
    """Fails at a NUL."""
    return _failed(call, answer, lambda text: "\0" in text)


@fault("answer", "request.text-survives/long", KEYED, also=("http.no-server-error",))
def _short_column(call: Call, answer: Answer) -> Answer:
    """Fails at more than 4,096 characters."""
    return _failed(call, answer, lambda text: len(text) > 4096)


#: a field that the mock takes for another value than documented when it is left out
_OWN_DEFAULT = {
    ("nanogpt", "createImage"): ("guidance_scale", 3.0),
    ("nvidia-nim-image", "generateImage"): ("cfg_scale", 7),
    ("opengpu-relay", "generateFlux"): ("safety_tolerance", 4),
    ("opengpu-relay", "generateQwen"): ("size", "768x1024"),
    ("opengpu-relay", "editQwen"): ("size", "768x1024"),
}


def _own_default(call: Call, problems: list[Problem]) -> list[Problem]:
    name, value = _OWN_DEFAULT[call.provider, call.operation]
    if isinstance(call.fields, dict):
        call.fields.setdefault(name, value)
    return problems


@fault("problems", "request.default-applied", (*NANOGPT, *NIM_IMAGE, *FLUX))
def _another_default(call: Call, problems: list[Problem]) -> list[Problem]:
    """Takes another value than the documented default for a field that is left out."""
    return _own_default(call, problems)


@fault("problems", "request.default-applied/size", (*QWEN_GENERATE, *QWEN_EDIT), also=("image.size",))
def _another_size(call: Call, problems: list[Problem]) -> list[Problem]:
    """Makes pictures of another size than documented where none is asked for."""
    return _own_default(call, problems)


@fault("problems", "request.default-applied/steps", (*NANOGPT, *NIM_IMAGE))
def _fewer_steps(call: Call, problems: list[Problem]) -> list[Problem]:
    """Takes fewer steps than documented where no number is asked for."""
    name = {"nanogpt": "num_inference_steps", "nvidia-nim-image": "steps"}[call.provider]
    if isinstance(call.fields, dict):
        call.fields.setdefault(name, 20)
    return problems
