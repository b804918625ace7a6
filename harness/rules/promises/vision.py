"""Rules about answers in words to questions about pictures, and about the pictures that such a question may not carry."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from testcard.harness.rules import probes
from testcard.harness.rules.evidence import FINISHES, Observation, SeenExchange, may_be_empty, whole_number
from testcard.harness.rules.rule import Probe, http_clause, openai_clause, rule
from testcard.harness.rules.scope import Scope
from testcard.harness.rules.sent_pictures import padded_picture
from testcard.harness.wire.model import Answer, InputImage

#: A question whose honest answer is longer than any limit that a check sets.
LONG_QUESTION = "Describe this picture in great detail: at least twenty long sentences, and at least five hundred words."
#: Some tokenizers join two words to one token; a text with more words than this for each token was not cut.
_WORDS_PER_TOKEN = 2
_MIB = 1 << 20
#: what a completion calls itself in the convention of OpenAI's API
_COMPLETION = "chat.completion"
_UNDECODABLE, _TOO_LARGE = "vision.undecodable-refused", "vision.too-large"


def _chats(scope: Scope) -> bool:
    return scope.profile.kind == "chat" and scope.task is not None


def _takes_a_limit(scope: Scope) -> bool:
    return _chats(scope) and scope.field("max_tokens") is not None


def _has_an_upload_limit(scope: Scope) -> bool:
    return _chats(scope) and scope.provider.profile.limits.upload_above_bytes is not None


def _base(scope: Scope) -> Iterator[Probe]:
    if scope.task is not None and _chats(scope):
        yield from probes.base(scope, scope.task)


def _completions(seen: Sequence[SeenExchange]) -> Iterator[tuple[SeenExchange, list[Any]]]:
    """Carried out requests whose answer is a completion in JSON, with its choices; a missing list is answer.required-fields'."""
    for one in seen:
        if one.carried_out and one.answer is not None and isinstance(one.answer.json, dict):
            choices = one.answer.json.get("choices")
            if isinstance(choices, list):
                yield one, choices


def _each_choice(seen: Sequence[SeenExchange]) -> Iterator[tuple[SeenExchange, str, Mapping[str, Any]]]:
    for one, choices in _completions(seen):
        for number, choice in enumerate(choices):
            if isinstance(choice, dict):
                yield one, f"/choices/{number}", choice


@rule("vision.choices", level="must", clause=openai_clause("Chat completion object · choices"), applies=_chats, asks=_base)
def choices(scope: Scope, seen: Sequence[SeenExchange]) -> Iterable[Observation]:
    """A completion has at least one choice, and each choice has a message."""
    for one, found in _completions(seen):
        empty = next((number for number, choice in enumerate(found) if not isinstance(choice, dict) or choice.get("message") is None), None)
        if not found:
            yield Observation("broken", "choices is empty", (one.id,), "/choices")
        elif empty is not None:
            yield Observation("broken", f"choice {empty} has no message", (one.id,), f"/choices/{empty}")
        else:
            yield Observation("pass", exchanges=(one.id,))


@rule("vision.role", level="should", clause=openai_clause("Chat completion object · choices.message.role"), applies=_chats, asks=_base)
def role(scope: Scope, seen: Sequence[SeenExchange]) -> Iterable[Observation]:
    """The message of a completion has the role assistant."""
    for one, place, choice in _each_choice(seen):
        message = choice.get("message")
        if not isinstance(message, dict):
            continue
        said = message.get("role")
        if said == "assistant":
            yield Observation("pass", exchanges=(one.id,))
        elif said is None or isinstance(said, str):
            detail = "the message has no role" if said is None else f"the message's role is {said[:40]}"
            yield Observation("broken", detail, (one.id,), f"{place}/message/role")


@rule("vision.content", level="must", clause=openai_clause("Chat completion object · choices.message.content"), applies=_chats, asks=_base)
def content(scope: Scope, seen: Sequence[SeenExchange]) -> Iterable[Observation]:
    """The message of a completion has text in it.

    Where a filter cut it, or hardly any tokens were allowed, it may have none.
    """
    for one, place, choice in _each_choice(seen):
        message = choice.get("message")
        text = message.get("content") if isinstance(message, dict) else ""
        if not isinstance(message, dict) or not (text is None or isinstance(text, str)):
            continue
        if text is not None and text.strip():
            yield Observation("pass", exchanges=(one.id,))
        elif may_be_empty(one, choice.get("finish_reason")):
            yield Observation("unproven", "the text is empty, as it may be here", (one.id,))
        else:
            detail = "the message has no content" if text is None else "the message's content is empty"
            yield Observation("broken", detail, (one.id,), f"{place}/message/content")


@rule(
    "vision.finish-reason",
    level="should",
    clause=openai_clause("Chat completion object · choices.finish_reason"),
    applies=_chats,
    asks=_base,
)
def finish_reason(scope: Scope, seen: Sequence[SeenExchange]) -> Iterable[Observation]:
    """A completion says why it ended, with a finish reason that clients know."""
    for one, place, choice in _each_choice(seen):
        said = choice.get("finish_reason")
        if said in FINISHES:
            yield Observation("pass", exchanges=(one.id,))
        elif said is None or isinstance(said, str):
            detail = "there is no finish_reason" if said is None else f"the finish_reason is {said[:40]!r}"
            yield Observation("broken", detail, (one.id,), f"{place}/finish_reason")


def _calls_itself_otherwise(scope: Scope) -> bool:
    """Whether the document lists other words for what the answer is, so that the convention's is not expected."""
    schema = scope.operation.response_schema(200) or {}
    listed = schema.get("properties", {}).get("object", {})
    words = listed.get("enum") or ([listed["const"]] if "const" in listed else [_COMPLETION])
    return _COMPLETION not in words


def _says_what_it_is(scope: Scope) -> bool:
    return _chats(scope) and not _calls_itself_otherwise(scope)


@rule("vision.object", level="should", clause=openai_clause("Chat completion object · object"), applies=_says_what_it_is, asks=_base)
def completion_object(scope: Scope, seen: Sequence[SeenExchange]) -> Iterable[Observation]:
    """A completion that says what it is says `chat.completion`.

    Where the document lists another word for it, that one holds, and schema.response judges it. One that does not say it breaks nothing.
    """
    for one, _ in _completions(seen):
        said = one.answer.json.get("object") if one.answer is not None and isinstance(one.answer.json, dict) else None
        if said == _COMPLETION:
            yield Observation("pass", exchanges=(one.id,))
        elif said is None:
            yield Observation("unsupported", "the answer does not say what it is", (one.id,))
        elif isinstance(said, str):
            yield Observation("broken", f"object is {said[:40]!r}, not {_COMPLETION}", (one.id,), "/object")


def _counts_its_tokens(scope: Scope) -> bool:
    return _chats(scope) and "completion_tokens" in scope.profile.response.usage


@rule(
    "vision.tokens-counted", level="should", clause=openai_clause("Chat completion object · usage"), applies=_counts_its_tokens, asks=_base
)
def tokens_counted(scope: Scope, seen: Sequence[SeenExchange]) -> Iterable[Observation]:
    """An answer with text in it counts at least one token for it.

    Streamed answers too, where they state a usage. A negative count is judged by answer.usage-integers.
    """
    for one in seen:
        answer = one.answer
        if not one.carried_out or answer is None or not (answer.text or "").strip():
            continue
        took = whole_number(answer.usage.completion_tokens) if answer.usage is not None else None
        if took is None:
            if one.asked.get("stream") is not True:
                yield Observation("unsupported", "the answer does not say how many tokens it used", (one.id,))
        elif took == 0:
            words = len((answer.text or "").split())
            detail = f"a text of {words} word{'s' if words != 1 else ''} is counted as 0 tokens"
            yield Observation("broken", detail, (one.id,), scope.profile.response.usage.get("completion_tokens"))
        elif took > 0:
            yield Observation("pass", exchanges=(one.id,))


# ── length ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _cut(scope: Scope) -> Iterator[Probe]:
    """A question whose answer does not fit into the tokens that are allowed."""
    if scope.task is None or not _takes_a_limit(scope):
        return
    yield from _base(scope)
    request = replace(scope.base_request(scope.task), prompt=LONG_QUESTION)
    yield probes.variant(scope, "cut", request, change="a question whose answer has to be cut")


def _allowed(seen: Sequence[SeenExchange]) -> Iterator[tuple[SeenExchange, Answer, int, int | None]]:
    """Carried out requests with a limit, with their answers in words (streamed ones too), the limit and the tokens they say they took."""
    for one in seen:
        most = whole_number(one.asked.get("max_tokens"))
        if one.carried_out and one.answer is not None and one.answer.text is not None and most is not None:
            usage = one.answer.usage
            yield one, one.answer, most, whole_number(usage.completion_tokens) if usage is not None else None


def _too_long(answer: Answer, most: int) -> bool:
    return len((answer.text or "").split()) > _WORDS_PER_TOKEN * most


@rule("vision.max-tokens", level="should", clause=openai_clause("Create chat completion · max_tokens"), applies=_takes_a_limit, asks=_cut)
def max_tokens(scope: Scope, seen: Sequence[SeenExchange]) -> Iterable[Observation]:
    """An answer uses no more tokens than were allowed: by its own count, and by its length."""
    for one, answer, most, took in _allowed(seen):
        if took is not None and took > most:
            yield Observation("broken", f"{most} tokens were allowed, {took} were used", (one.id,), "/usage/completion_tokens")
        elif _too_long(answer, most):
            words = len((answer.text or "").split())
            yield Observation("broken", f"{most} tokens were allowed, the text has {words} words", (one.id,), "/choices/0/message/content")
        elif took is None:
            if one.asked.get("stream") is not True:
                yield Observation("unproven", "the answer does not say how many tokens it used", (one.id,))
        else:
            yield Observation("pass", exchanges=(one.id,))


@rule(
    "vision.length-finish",
    level="should",
    clause=openai_clause("Chat completion object · choices.finish_reason"),
    applies=_takes_a_limit,
    asks=_cut,
)
def length_finish(scope: Scope, seen: Sequence[SeenExchange]) -> Iterable[Observation]:
    """A text that was cut at the allowed length has the finish reason `length`.

    Judged where a long answer was asked for and all the allowed tokens were used. A text that was not cut is judged by
    vision.max-tokens, an unknown finish reason by vision.finish-reason.
    """
    for one, answer, most, took in _allowed(seen):
        if one.asked.get("prompt") != LONG_QUESTION or one.asked.get("stream") is True:
            continue
        if answer.finish_reason == "length":
            yield Observation("pass", exchanges=(one.id,))
        elif took == most and answer.finish_reason in FINISHES and not _too_long(answer, most):
            detail = f"all {most} tokens were used, and the finish_reason is {answer.finish_reason}"
            yield Observation("broken", detail, (one.id,), "/choices/0/finish_reason")
        else:
            yield Observation("unproven", "no text is known to have been cut", (one.id,))


# ── pictures that cannot be used ──────────────────────────────────────────────────────────────────────────────────────


def _undecodable(scope: Scope) -> Iterator[Probe]:
    """What calls itself a picture and is none: text, and base64 that is none."""
    if scope.task is None or not _chats(scope):
        return
    yield from _base(scope)
    request = scope.base_request(scope.task)
    text = InputImage(b"This is a sentence, and no picture of any format. " * 8, "image/png")
    no_base64 = InputImage(url="data:image/png;base64,%%% this is no base64 %%%")
    for key, image, change in (("text", text, "text in place of a picture"), ("no-base64", no_base64, "a data URL without base64")):
        yield Probe(
            f"{scope.task}/undecodable:{key}",
            scope.operation_id,
            replace(request, images=(image,)),
            "refuse",
            base=f"{scope.task}/base",
            change=change,
            place=f"/{scope.profile.wire_name('messages')}",
        )


@rule(_UNDECODABLE, level="must", clause=http_clause("15.5.1 400 Bad Request"), applies=_chats, asks=_undecodable)
def undecodable_refused(scope: Scope, seen: Sequence[SeenExchange]) -> Iterable[Observation]:
    """A picture that cannot be decoded is refused with a 4xx.

    Judged only where the same question about a real picture was answered.
    """
    for one in seen:
        if not one.sent_by_check or one.case.expects != "refuse" or _UNDECODABLE not in one.case.rules:
            continue
        if not one.base_accepted:
            yield Observation("unproven", f"{one.case.change}: the question about a real picture was not answered", (one.id,))
        elif one.out_of_reach is not None:
            yield Observation("unproven", f"{one.case.change}: {one.out_of_reach}", (one.id,))
        elif one.refused:
            yield Observation("pass", exchanges=(one.id,))
        else:
            yield Observation("broken", f"{one.case.change}: answered with status {one.status}", (one.id,), one.case.place)


def _oversized(scope: Scope) -> Iterator[Probe]:
    """The base request with a picture so large that the body is above the size that the profile takes for too large."""
    above = scope.provider.profile.limits.upload_above_bytes
    if scope.task is None or above is None or not _chats(scope):
        return
    yield from _base(scope)
    request = replace(scope.base_request(scope.task), images=(padded_picture(-(-above // 4) * 3),))
    yield probes.variant(scope, "too-large", request, change=f"a body of {above / _MIB:g} MiB", expects="may-refuse")


@rule(_TOO_LARGE, level="info", clause=http_clause("15.5.14 413 Content Too Large"), applies=_has_an_upload_limit, asks=_oversized)
def too_large(scope: Scope, seen: Sequence[SeenExchange]) -> Iterable[Observation]:
    """A body that is too large is refused with 413, or with 400.

    No document says what is too large: a server that accepts the body breaks nothing.
    """
    for one in seen:
        if not one.sent_by_check or _TOO_LARGE not in one.case.rules or one.case.base is None:
            continue
        if one.accepted:
            yield Observation("unsupported", f"{one.case.change} was accepted", (one.id,))
        elif one.status in (400, 413):
            yield Observation("pass", exchanges=(one.id,))
        elif one.out_of_reach is not None or one.status in (401, 403):
            yield Observation("unproven", one.out_of_reach or f"status {one.status}", (one.id,))
        else:
            yield Observation("note", f"{one.case.change} was answered with status {one.status}, not 413", (one.id,))


RULES = (
    completion_object,
    choices,
    role,
    content,
    finish_reason,
    tokens_counted,
    max_tokens,
    length_finish,
    undecodable_refused,
    too_large,
)
