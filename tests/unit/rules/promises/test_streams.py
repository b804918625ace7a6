"""The rules about streams, on bodies made by hand: kept, broken, and what proves nothing. Each defect breaks one rule."""

from __future__ import annotations

import json
from typing import Any

import pytest

from testcard.harness.rules.promises import RULES
from testcard.harness.rules.promises.streams import looks_like_events, read_frames
from testcard.harness.rules.scope import Scope
from testcard.mocks.faults import FAULTS
from testcard.specs.loader import load_provider

VISION = Scope(load_provider("nvidia-nim-vision"), "createVisionChatCompletion")
OF_PICTURES = ("stream.pictures", "stream.previews")
FAMILY = [rule for rule in RULES if rule.startswith("stream.") and rule not in OF_PICTURES]
ASKED = {"task": "describe", "stream": True, "max_tokens": 16}
EVENTS = "text/event-stream"


def chunk(content: str | None = None, finish: str | None = None, **more: Any) -> dict[str, Any]:
    delta = {} if content is None else {"content": content}
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return {"id": "c1", "object": "chat.completion.chunk", "model": "m", "choices": [choice], **more}


def body(*events: Any, done: bool = True) -> bytes:
    parts = [event if isinstance(event, bytes) else json.dumps(event).encode() for event in events]
    return b"".join(b"data: " + part + b"\n\n" for part in [*parts, *([b"[DONE]"] if done else [])])


WHOLE = (chunk("A grey "), chunk("gradient."), chunk(finish="stop"))


def verdicts(recorded: Any, streamed: bytes, media_type: str = EVENTS, **asked: Any) -> dict[str, set[str]]:
    """What each rule of the family says of an answer to a request for a stream."""
    of = recorded(VISION).add(200, streamed, asked={**ASKED, **asked}, headers=[("content-type", media_type)])
    return {rule: of.words(rule) for rule in FAMILY}


def broken(found: dict[str, set[str]]) -> list[str]:
    return [rule for rule, words in found.items() if "broken" in words]


@pytest.mark.parametrize(
    "streamed",
    [
        body(*WHOLE),
        body(*WHOLE).replace(b"\n", b"\r\n"),
        body(*WHOLE).replace(b"\n", b"\r"),
        body(*WHOLE).replace(b"data: ", b"data:"),
        b"\xef\xbb\xbf" + body(*WHOLE),
        b": hello\n\nretry: 3000\n\n" + body(*WHOLE).replace(b"data:", b"id: 1\nevent: message\nx-proxy: 7\ndata:"),
        body(*WHOLE, {**chunk(), "choices": [], "usage": {"completion_tokens": 3}}),
        body({**chunk(), "choices": [], "object": "chat.completion.chunk", "model": ""}, *WHOLE),
        body(chunk("A ", "") | {"model": "m"}, chunk("gradient.", finish="length")),
        body(*WHOLE) + b": bye\n\n",
        body(json.dumps(WHOLE[0], indent=1).replace("\n", "\ndata: ").encode(), *WHOLE[1:]),
    ],
    ids=[
        "plain",
        "crlf",
        "cr",
        "no space",
        "bom",
        "comments and fields",
        "usage chunk",
        "empty first",
        "finish with text",
        "last comment",
        "lines",
    ],
)
def test_conforming_streams(recorded: Any, streamed: bytes) -> None:
    """Whatever the format allows keeps all of them."""
    assert verdicts(recorded, streamed) == {rule: {"pass"} for rule in FAMILY}
    assert verdicts(recorded, streamed, f"{EVENTS}; charset=utf-8") == {rule: {"pass"} for rule in FAMILY}


@pytest.mark.parametrize(
    ("streamed", "rule"),
    [
        (body(*WHOLE).replace(b"data: ", b""), "stream.frames"),
        (body(WHOLE[0], b'{"id": "c1", ', *WHOLE[1:]), "stream.frames"),
        (body(*WHOLE, b'"text"'), "stream.frames"),
        (body(*WHOLE).replace(b"\n\n", b"\n"), "stream.frames"),
        (body(*WHOLE)[:-1], "stream.frames"),
        (body(chunk("\xe9"), *WHOLE).replace(b"\\u00e9", b"\xe9"), "stream.frames"),
        (b"", "stream.frames"),
        (json.dumps({"choices": []}).encode(), "stream.frames"),
        (body(chunk("A ", id="c2"), *WHOLE), "stream.one-id"),
        (body(*[{name: value for name, value in one.items() if name != "id"} for one in WHOLE]), "stream.one-id"),
        (body(chunk("A ", id=""), *WHOLE), "stream.one-id"),
        (body(*[{**one, "id": [1]} for one in WHOLE]), "stream.one-id"),
        (body(*WHOLE[:2]), "stream.finish-reason"),
        (body(chunk("A ", "stop"), *WHOLE), "stream.finish-reason"),
        (body(*WHOLE[:2], chunk(finish="eos")), "stream.finish-reason"),
        (body(*WHOLE, done=False), "stream.terminated"),
        (body(*WHOLE[:2]) + body(WHOLE[2], done=False), "stream.terminated"),
        (body(chunk("  "), WHOLE[2]), "stream.text"),
        (body(*[{**one, "object": "chat.completion"} for one in WHOLE]), "stream.text"),
        (body(chunk("A ", model="other"), *WHOLE), "stream.text"),
        (body(WHOLE[0], {"error": {"message": "lost"}}, done=False), "stream.text"),
        (body({**chunk(), "choices": [{"index": 0, "text": "A gradient.", "finish_reason": "stop"}]}), "stream.text"),
    ],
)
def test_each_defect_breaks_its_own_rule(recorded: Any, streamed: bytes, rule: str) -> None:
    """And no other of the family."""
    assert broken(verdicts(recorded, streamed)) == [rule]


def test_json_for_a_stream_breaks_the_media_type_alone(recorded: Any) -> None:
    """The other rules have nothing to look at, and the completion itself is judged as one."""
    whole = json.dumps({"choices": [{"message": {"role": "assistant", "content": "A gradient."}, "finish_reason": "stop"}]}).encode()
    found = verdicts(recorded, whole, "application/json")
    assert found == {"stream.media-type": {"broken"}, **{rule: {"unproven"} for rule in FAMILY[1:]}}
    of = recorded(VISION).add(200, whole, asked=ASKED)
    assert of.words("vision.content") == {"pass"}


def test_events_under_another_name_are_read_all_the_same(recorded: Any) -> None:
    """Only the media type is wrong then."""
    assert verdicts(recorded, body(*WHOLE), "text/plain") == {"stream.media-type": {"broken"}, **{rule: {"pass"} for rule in FAMILY[1:]}}


def test_a_stream_that_nobody_asked_for(recorded: Any) -> None:
    """It breaks the media type's rule; an answer in JSON is no matter of this family."""
    assert broken(verdicts(recorded, body(*WHOLE), stream=False)) == ["stream.media-type"]
    assert verdicts(recorded, b"{}", "application/json", stream=False) == {rule: set() for rule in FAMILY}


def test_an_empty_text_that_may_be(recorded: Any) -> None:
    """A filter's cut or a limit of one token leaves nothing to say."""
    filtered = body(chunk(""), chunk(finish="content_filter"))
    assert verdicts(recorded, filtered)["stream.text"] == {"unproven"}
    assert verdicts(recorded, body(chunk(""), WHOLE[2]), max_tokens=1)["stream.text"] == {"unproven"}


def test_refusals_are_not_judged(recorded: Any) -> None:
    """What was refused, or broke off, is none of theirs."""
    of = recorded(VISION).add(400, {}, asked=ASKED)
    assert [of.words(rule) for rule in FAMILY] == [set()] * len(FAMILY)


def test_what_a_stream_looks_like() -> None:
    """A body is taken for events by how it begins."""
    assert all(map(looks_like_events, (b"data: {}\n\n", b": hi\n", b"\n\nevent: x\n", b"\xef\xbb\xbfdata:x", b"id:1\n")))
    assert not any(map(looks_like_events, (b"", b"{}", b"datum: 1", b"<html>", b'{"data": 1}')))
    assert read_frames(b"x" * 9).problems[-1] == "there is no event in it"


def test_where_they_apply() -> None:
    """To operations with a field for streams, those of pictures to none whose streams are words; every rule has a fault."""
    assert all(RULES[rule].applies(VISION) for rule in FAMILY)
    assert not any(RULES[rule].applies(VISION) for rule in OF_PICTURES)
    assert not any(RULES[rule].applies(Scope(load_provider("nebul"), "createImage")) for rule in FAMILY)
    assert {fault.rule for fault in FAULTS.values()} >= set(FAMILY)
