"""Lies about answers in words: what a completion holds, how long it is, which pictures are taken."""

from __future__ import annotations

from typing import Any

from testcard.mocks.exchange import Answer, Call, Problem, Refused
from testcard.mocks.faults.register import VISION, fault
from testcard.mocks.pictures import inputs


def _changed(body: dict[str, Any], **choice: Any) -> dict[str, Any]:
    """The completion with its first choice changed."""
    first, *others = body["choices"]
    return {**body, "choices": [{**first, **choice}, *others]}


@fault("body", "vision.object", VISION)
def _another_object(call: Call, body: dict[str, Any]) -> dict[str, Any]:
    """Calls itself `text_completion`, as completions of another kind do."""
    return {**body, "object": "text_completion"}


@fault("body", "vision.tokens-counted", VISION)
def _no_tokens(call: Call, body: dict[str, Any]) -> dict[str, Any]:
    """Counts no token for the text."""
    usage = body["usage"]
    return {**body, "usage": {**usage, "completion_tokens": 0, "total_tokens": usage["prompt_tokens"]}}


@fault("body", "vision.choices", VISION)
def _no_choice(call: Call, body: dict[str, Any]) -> dict[str, Any]:
    """Sends a completion without a choice."""
    return {**body, "choices": []}


@fault("body", "vision.choices/no-message", VISION)
def _no_message(call: Call, body: dict[str, Any]) -> dict[str, Any]:
    """Sends the text beside the choice's message, as completions of another kind have it."""
    first = body["choices"][0]
    return {**body, "choices": [{"index": 0, "text": first["message"]["content"], "finish_reason": first["finish_reason"]}]}


@fault("body", "vision.role", VISION)
def _another_role(call: Call, body: dict[str, Any]) -> dict[str, Any]:
    """Says that the user wrote the answer."""
    return _changed(body, message={**body["choices"][0]["message"], "role": "user"})


@fault("body", "vision.content", VISION)
def _empty_content(call: Call, body: dict[str, Any]) -> dict[str, Any]:
    """Sends an empty text."""
    return _changed(body, message={**body["choices"][0]["message"], "content": ""})


@fault("body", "vision.content/missing", VISION)
def _no_content(call: Call, body: dict[str, Any]) -> dict[str, Any]:
    """Sends a message without a text."""
    return _changed(body, message={"role": "assistant"})


@fault("body", "vision.finish-reason", VISION)
def _no_finish_reason(call: Call, body: dict[str, Any]) -> dict[str, Any]:
    """Does not say why the text ended."""
    return {**body, "choices": [{name: value for name, value in choice.items() if name != "finish_reason"} for choice in body["choices"]]}


@fault("body", "vision.finish-reason/unknown", VISION)
def _unknown_finish_reason(call: Call, body: dict[str, Any]) -> dict[str, Any]:
    """Says `eos` where clients know `stop`."""
    return _changed(body, finish_reason="eos")


@fault("problems", "vision.max-tokens", VISION)
def _limit_ignored(call: Call, problems: list[Problem]) -> list[Problem]:
    """Ignores max_tokens."""
    if isinstance(call.fields, dict):
        call.fields.pop("max_tokens", None)
    return problems


@fault("body", "vision.max-tokens/hidden", VISION)
def _limit_ignored_and_hidden(call: Call, body: dict[str, Any]) -> dict[str, Any]:
    """Writes far more than max_tokens allows and counts no more than it allows."""
    if call.fields.get("max_tokens") is None:
        return body
    message = body["choices"][0]["message"]
    more = " and so on" * (2 * int(call.fields["max_tokens"]))
    return _changed(body, message={**message, "content": message["content"] + more})


@fault("body", "vision.length-finish", VISION)
def _cut_says_stop(call: Call, body: dict[str, Any]) -> dict[str, Any]:
    """Says `stop` of a text that was cut."""
    return _changed(body, finish_reason="stop")


@fault("problems", "vision.undecodable-refused", VISION)
def _blind(call: Call, problems: list[Problem]) -> list[Problem]:
    """Answers about pictures that cannot be decoded as if they were at some address."""
    for part in _picture_parts(call.fields):
        try:
            inputs.decode(inputs.from_data_url(part["url"], "url"), "url")
        except Refused:
            part["url"] = "https://example.org/somewhere.png"
    return problems


def _picture_parts(fields: Any) -> list[dict[str, str]]:
    """The `image_url` objects of a well-formed conversation whose address is a data URL."""
    found = []
    messages = fields.get("messages") if isinstance(fields, dict) else None
    for message in messages if isinstance(messages, list) else ():
        content = message.get("content") if isinstance(message, dict) else None
        for part in content if isinstance(content, list) else ():
            place = part.get("image_url") if isinstance(part, dict) else None
            if isinstance(place, dict) and str(place.get("url")).startswith("data:"):
                found.append(place)
    return found


@fault("answer", "vision.too-large", VISION)
def _too_large_unprocessable(call: Call, answer: Answer) -> Answer:
    """Refuses a body that is too large with 422 where the documents say 413."""
    if answer.status == 413:
        answer.status = 422
    return answer
