"""A server that refuses whatever it may refuse: values that no document states, fields that none names, bodies of no stated size."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from testcard.mocks.exchange import Answer, Call, Parameters, Problem, Refused
from testcard.mocks.request_body import Contract
from testcard.mocks.stages import StageHook
from testcard.mocks.variants.variant import Variant, choice_of
from testcard.specs.loader import Provider
from testcard.specs.profile import OperationProfile

_STATUSES = (400, 404, 413, 415, 422)
_LONGEST_PROMPT = 4000
_SMALLEST_PX = 64
_PART_KEYS = {"text": {"type", "text"}, "image_url": {"type", "image_url"}}


class _Operation:
    """What the strict server minds about one operation."""

    def __init__(self, provider: Provider, operation: str, contract: Contract) -> None:
        self._provider = provider
        self._operation = operation
        self._profile: OperationProfile = provider.operation_profile(operation)
        self._contract = contract
        self._own_errors = "http.error-shape" in provider.profile.rules

    def hooks(self) -> Sequence[StageHook]:
        """At every stage at which there is something to refuse or to keep short."""
        return (
            StageHook("key", self.key),
            StageHook("problems", self.problems),
            StageHook("parameters", self.parameters),
            StageHook("answer", self.answer),
        )

    def key(self, call: Call, refused: Refused | None) -> Refused | None:
        """A wrong key is forbidden rather than unauthorised, where the document does not say which."""
        sent = any(header.name.lower() in call.headers for header in self._provider.profile.auth.headers)
        if refused is not None and sent and not self._provider.operation(self._operation).documents(401):
            return Refused(403, "this key opens nothing here", code="forbidden")
        return refused

    def problems(self, call: Call, problems: list[Problem]) -> list[Problem]:
        """Refuses a body that breaks the schema with 400 or 422, and one that goes beyond the documents with any status that refuses."""
        if problems:
            raise Refused(choice_of(call, "invalid", (400, 422)), problems[0].message, param=problems[0].place or None)
        for param, what in self._objections(call):
            raise Refused(choice_of(call, f"refuse {param}", _STATUSES), f"{param} {what}", param=param)
        return problems

    def _objections(self, call: Call) -> Iterator[tuple[str, str]]:
        for name, value in call.path.items():
            stated = self._profile.path[name].must_accept
            if stated and value not in stated:
                yield name, "is not served here"
        for name, value in call.fields.items():
            if name not in self._contract.properties:
                yield name, "is not a field of this operation"
                continue
            entry = self._provider.field(self._operation, name, call.fields.get("model")) or self._profile.fields.get(name)
            if entry is None:
                continue
            if (
                entry.must_accept
                and not any(_same(value, stated) for stated in entry.must_accept)
                and not _bounded(value, self._contract.properties[name])
            ):
                yield name, "has a value that is not offered"
            elif entry.may_refuse and not entry.must_accept:
                yield name, "is not offered by this model"
            elif entry.means in ("prompt", "negative_prompt", "user"):
                yield from _text_objections(name, value)
            elif entry.format == "base64" and str(value).startswith("data:"):
                yield name, "has to be base64 alone"
            elif entry.means == "messages":
                yield from _message_objections(name, value)

    def parameters(self, call: Call, parameters: Parameters) -> Parameters:
        """Refuses pictures too small to work on, and masks of another size."""
        for picture in parameters.images:
            if min(picture.size) < _SMALLEST_PX:
                raise Refused(choice_of(call, "small", _STATUSES), f"pictures have to be at least {_SMALLEST_PX} pixels wide and high")
        if parameters.edit is not None and parameters.images and parameters.edit.size != parameters.images[0].size:
            raise Refused(choice_of(call, "mask size", _STATUSES), "the mask has to be as large as the picture", param="mask")
        return parameters

    def answer(self, call: Call, answer: Answer) -> Answer:
        """Errors in shapes of all kinds where the document gives none; successes with what is needed and no more."""
        if answer.status == 202 and isinstance(answer.json, dict):
            answer.json = {key: value for key, value in answer.json.items() if key in ("task_address", "status")}
        elif answer.status == 200 and self._profile.kind == "task" and isinstance(answer.json, dict):
            answer.json = {key: value for key, value in answer.json.items() if key not in ("task_id", "elapsed_seconds")}
        elif answer.status >= 400 and not self._own_errors:
            return _error(answer, call)
        return answer


def _error(answer: Answer, call: Call) -> Answer:
    shape = choice_of(call, "error shape", ("text", "problem", "list", "detail"))
    if shape == "text":
        answer.data, answer.media_type = b"the request was refused\n", "text/plain; charset=utf-8"
    elif shape == "list":
        answer.json = ["the request was refused"]
    elif shape == "problem":
        answer.json = {"type": "about:blank", "title": "Bad Request", "status": answer.status, "detail": "the request was refused"}
        answer.media_type = "application/problem+json"
    else:
        answer.json = {"detail": [{"loc": ["body"], "msg": "the request was refused", "type": "value_error"}]}
    return answer


def _same(value: Any, stated: Any) -> bool:
    """Whether two values are one in JSON; true is not 1."""
    return isinstance(value, bool) is isinstance(stated, bool) and value == stated


def _bounded(value: Any, schema: Mapping[str, Any]) -> bool:
    """Whether the document states bounds on both sides, which a valid value lies between."""
    return "minimum" in schema and "maximum" in schema and not isinstance(value, bool)


def _text_objections(name: str, value: str) -> Iterator[tuple[str, str]]:
    if not value.strip():
        yield name, "is empty"
    if len(value) > _LONGEST_PROMPT:
        yield name, f"is longer than {_LONGEST_PROMPT} characters"
    if any(ord(character) < 32 and character not in "\n\t" for character in value):
        yield name, "holds control characters"


def _message_objections(name: str, messages: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    if not messages:
        yield name, "is empty"
    for place, message in enumerate(messages):
        if set(message) != {"role", "content"} or not message["content"]:
            yield f"{name}.{place}", "has to hold a role and content and nothing else"
            continue
        for part in message["content"]:
            if set(part) != _PART_KEYS.get(part.get("type", "")):
                yield f"{name}.{place}.content", "has to hold text and image_url parts and nothing else"
            elif part["type"] == "text":
                yield from _text_objections(f"{name}.{place}.content", part["text"])


def _hooks(provider: Provider, operation: str, contract: Contract) -> Sequence[StageHook]:
    return _Operation(provider, operation, contract).hooks()


STRICT = Variant("strict", strict=True, hooks=_hooks)
