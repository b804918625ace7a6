"""The rules about answers in words, on exchanges made by hand: kept, broken, and what proves nothing."""

from __future__ import annotations

import base64
import io
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from testcard.harness.check.judging.levels import level_of
from testcard.harness.rules.promises import RULES, vision
from testcard.harness.rules.scope import Scope
from testcard.harness.wire.encode import build
from testcard.harness.wire.fields import wire_fields
from testcard.mocks.faults import FAULTS
from testcard.specs.loader import BUNDLED, load_provider

VISION = Scope(load_provider("nvidia-nim-vision"), "createVisionChatCompletion")
IMAGES = Scope(load_provider("nanogpt"), "createImage")
FAMILY = [rule for rule in RULES if rule.startswith("vision.")]
ASKED = {"task": "describe", "prompt": vision.LONG_QUESTION, "max_tokens": 16}


def completion(text: Any = "A grey gradient.", *, finish: Any = "stop", tokens: Any = 4, **message: Any) -> dict[str, Any]:
    told = {"role": "assistant", "content": text, **message}
    usage = {"usage": {"prompt_tokens": 9, "completion_tokens": tokens, "total_tokens": 13}} if tokens is not None else {}
    return {"id": "c1", "object": "chat.completion", "choices": [{"index": 0, "message": told, "finish_reason": finish}], **usage}


def words(recorded: Any, rule: str, answer: Any, *, asked: dict[str, Any] | None = None, **more: Any) -> set[str]:
    found: set[str] = recorded(VISION).add(200, answer, asked=asked or ASKED, **more).words(rule)
    return found


def test_all_are_kept_by_an_ordinary_completion(recorded: Any) -> None:
    """Choices, the assistant's role, words, a known finish reason, no more tokens than allowed."""
    for rule in ("vision.choices", "vision.role", "vision.content", "vision.finish-reason", "vision.max-tokens"):
        assert words(recorded, rule, completion()) == {"pass"}, rule


def test_choices(recorded: Any) -> None:
    """An empty list and a choice without a message break it; that the list is missing is told by another rule."""
    rule = "vision.choices"
    assert words(recorded, rule, {"choices": []}) == {"broken"}
    assert words(recorded, rule, {"choices": [{"text": "A gradient."}]}) == {"broken"}
    assert words(recorded, rule, {"choices": None}) == words(recorded, rule, {}) == set()
    assert words(recorded, rule, completion(), expects="refuse") == set()


def test_role(recorded: Any) -> None:
    """Another role and none break it; one of another type is the schema's."""
    assert words(recorded, "vision.role", completion(role="user")) == {"broken"}
    assert words(recorded, "vision.role", completion(role=None)) == {"broken"}
    assert words(recorded, "vision.role", completion(role=3)) == set()


@pytest.mark.parametrize(
    ("said", "word"),
    [
        ("chat.completion", "pass"),
        ("text_completion", "broken"),
        ("chat.completion.chunk", "broken"),
        ("", "broken"),
        (None, "unsupported"),
    ],
)
def test_object(recorded: Any, said: str | None, word: str) -> None:
    """Another word than the convention's breaks it; none says nothing, and one of another type is the schema's."""
    assert words(recorded, "vision.object", {**completion(), "object": said}) == {word}
    assert words(recorded, "vision.object", {**completion(), "object": 3}) == set()
    assert level_of(VISION, RULES["vision.object"]) == "should"


@pytest.mark.parametrize(("listed", "applies"), [("enum: [chat]", False), ("const: answer", False), ("const: chat.completion", True)])
def test_object_where_the_document_lists_a_word(tmp_path: Path, listed: str, *, applies: bool) -> None:
    """The user's own document goes before the convention."""
    folder = tmp_path / "own"
    shutil.copytree(BUNDLED / "nvidia-nim-vision", folder)
    document = (folder / "openapi.yaml").read_text("utf-8")
    changed = re.sub(r"object: \{type: string[^}]*\}", f"object: {{type: string, {listed}}}", document)
    assert changed != document
    (folder / "openapi.yaml").write_text(changed, "utf-8")
    own = Scope(load_provider(str(folder)), "createVisionChatCompletion")
    assert RULES["vision.object"].applies(own) is applies


@pytest.mark.parametrize(
    ("text", "tokens", "word"),
    [
        ("A gradient.", 3, "pass"),
        ("A gradient.", 0, "broken"),
        ("A gradient.", None, "unsupported"),
        ("A gradient.", -1, None),
        ("", 0, None),
    ],
)
def test_tokens_counted(recorded: Any, text: str, tokens: int | None, word: str | None) -> None:
    """No token beside text breaks it; no text has none to count."""
    assert words(recorded, "vision.tokens-counted", completion(text, tokens=tokens)) == ({word} if word else set())


@pytest.mark.parametrize(("usage", "word"), [({"completion_tokens": 3}, "pass"), ({"completion_tokens": 0}, "broken"), (None, None)])
def test_tokens_of_a_stream_are_counted(recorded: Any, usage: dict[str, int] | None, word: str | None) -> None:
    """As of any other answer, where the stream states a usage; it need not."""
    chunks: list[dict[str, Any]] = [{"choices": [{"index": 0, "delta": {"content": "A gradient."}, "finish_reason": "stop"}]}]
    chunks += [{"choices": [], "usage": usage}] if usage is not None else []
    streamed = "".join(f"data: {json.dumps(one)}\n\n" for one in chunks) + "data: [DONE]\n\n"
    more = {"asked": {**ASKED, "stream": True}, "headers": [("content-type", "text/event-stream")]}
    assert words(recorded, "vision.tokens-counted", streamed.encode(), **more) == ({word} if word else set())


@pytest.mark.parametrize(("text", "word"), [("A gradient.", "pass"), ("", "broken"), (" \n", "broken"), (None, "broken")])
def test_content(recorded: Any, text: str | None, word: str) -> None:
    """A message without words breaks it, unless a filter took them or hardly any tokens were allowed."""
    assert words(recorded, "vision.content", completion(text)) == {word}
    allowed = "pass" if word == "pass" else "unproven"
    assert words(recorded, "vision.content", completion(text, finish="content_filter")) == {allowed}
    assert words(recorded, "vision.content", completion(text), asked={**ASKED, "max_tokens": 1}) == {allowed}


def test_content_of_another_type_is_the_schemas(recorded: Any) -> None:
    """A list of parts where a text belongs is told once, by schema.response."""
    assert words(recorded, "vision.content", completion([{"type": "text", "text": "A gradient."}])) == set()


@pytest.mark.parametrize(
    ("finish", "word"),
    [("stop", "pass"), ("length", "pass"), ("content_filter", "pass"), ("eos", "broken"), ("", "broken"), (None, "broken")],
)
def test_finish_reason(recorded: Any, finish: str | None, word: str) -> None:
    """One of the words that clients know."""
    assert words(recorded, "vision.finish-reason", completion(finish=finish)) == {word}


@pytest.mark.parametrize(
    ("text", "tokens", "word"),
    [
        ("A gradient.", 16, "pass"),
        ("A gradient.", 16.0, "pass"),
        ("A gradient.", 17, "broken"),
        ("word " * 33, 16, "broken"),
        ("word " * 33, None, "broken"),
        ("word " * 32, 16, "pass"),
        ("A gradient.", None, "unproven"),
        ("A gradient.", "many", "unproven"),
    ],
)
def test_max_tokens(recorded: Any, text: str, tokens: Any, word: str) -> None:
    """The answer's own count and the length of its text may not exceed what was allowed."""
    assert words(recorded, "vision.max-tokens", completion(text, tokens=tokens)) == {word}


def test_without_a_limit_nothing_is_too_long(recorded: Any) -> None:
    """A request that allows any length is not judged."""
    assert words(recorded, "vision.max-tokens", completion("word " * 99), asked={"task": "describe"}) == set()


@pytest.mark.parametrize(
    ("finish", "tokens", "word"),
    [("length", 16, "pass"), ("length", None, "pass"), ("stop", 16, "broken"), ("stop", 9, "unproven"), ("stop", None, "unproven"),
     ("stop", 40, "unproven"), (None, 16, "unproven"), ("eos", 16, "unproven")],
)  # fmt: skip
def test_length_finish(recorded: Any, finish: str | None, tokens: int | None, word: str) -> None:
    """Only a text that took every token of a limit it cannot fit into is known to be cut."""
    assert words(recorded, "vision.length-finish", completion(finish=finish, tokens=tokens)) == {word}
    short = {**ASKED, "prompt": "Describe this picture in one short sentence."}
    assert words(recorded, "vision.length-finish", completion(finish=finish, tokens=tokens), asked=short) == set()


@pytest.mark.parametrize(
    ("status", "word"),
    [(400, "pass"), (413, "pass"), (415, "pass"), (422, "pass"), (404, "pass"), (200, "broken"), (500, "unproven"), (429, "unproven")],
)
def test_undecodable_refused(recorded: Any, status: int, word: str) -> None:
    """Any refusal keeps it, an answer breaks it, and without an answer about a real picture nothing is proved."""
    rule = "vision.undecodable-refused"

    def run(base: int) -> set[str]:
        of = recorded(VISION).add(base, completion(), probe="describe/base", asked=ASKED)
        of.add(status, completion(), probe="describe/undecodable:text", base="describe/base", expects="refuse", rules=[rule])
        found: set[str] = of.words(rule)
        return found

    assert run(200) == {word}
    assert run(400) == {"unproven"}


@pytest.mark.parametrize(
    ("status", "word"),
    [
        (413, "pass"),
        (400, "pass"),
        (200, "unsupported"),
        (422, "note"),
        (404, "note"),
        (403, "unproven"),
        (502, "unproven"),
        (None, "unproven"),
    ],
)
def test_too_large(recorded: Any, status: int | None, word: str) -> None:
    """413 and 400 keep it, taking the body is no mistake, another refusal is noted; a 5xx is another rule's."""
    rule = "vision.too-large"
    of = recorded(VISION).add(200, completion(), probe="describe/base", rules=[rule], asked=ASKED)
    failure = None if status is not None else "broken"
    of.add(status, {}, probe="describe/too-large", base="describe/base", expects="may-refuse", rules=[rule], failure=failure)
    assert of.words(rule) == {word}


def test_the_large_body_is_a_real_picture_of_the_profiles_size() -> None:
    """The body is as large as the profile says and hardly larger, and its picture decodes."""
    *_, probe = vision._oversized(VISION)
    request = build(VISION.provider, wire_fields(VISION.provider, probe.request, VISION.operation_id), base_url="http://t", api_key=None)
    above = VISION.provider.profile.limits.upload_above_bytes
    assert above is not None
    assert above <= len(request.body) < above + 2000
    url = json.loads(request.body)["messages"][0]["content"][1]["image_url"]["url"]
    picture = Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2])))
    picture.load()
    assert picture.size == (256, 256)


def test_where_they_apply() -> None:
    """To chats, at the levels of the document; every rule has a fault."""
    for rule in FAMILY:
        assert RULES[rule].applies(VISION)
        assert not RULES[rule].applies(IMAGES)
    levels = {rule: level_of(VISION, RULES[rule]) for rule in FAMILY}
    assert {rule for rule, level in levels.items() if level == "must"} == {"vision.choices", "vision.content", "vision.undecodable-refused"}
    assert levels["vision.too-large"] == "info"
    assert {fault.rule for fault in FAULTS.values()} >= set(FAMILY)
