"""Rules about HTTP itself, on exchanges made by hand: kept, broken, unproven."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from testcard.harness.check.judging.levels import level_of
from testcard.harness.rules.registry import RULES
from testcard.harness.rules.scope import Scope
from testcard.specs.loader import load_provider

NANOGPT = Scope(load_provider("nanogpt"), "createImage")
NIM = Scope(load_provider("nvidia-nim-image"), "generateImage")
VISION = Scope(load_provider("nvidia-nim-vision"), "createVisionChatCompletion")
QWEN = Scope(load_provider("opengpu-relay"), "generateQwen")
TASK = Scope(load_provider("opengpu-relay"), "getTask")
HTML = (("content-type", "text/html; charset=utf-8"),)
PAGE = b"<!doctype html><html><body>error</body></html>"


def last(run: Any, *, method: str | None = None, complete: bool | None = None, **changes: Any) -> Any:
    """The run with something of its last exchange changed."""
    record = run.records[-1]
    if method is not None:
        changes["request"] = msgspec.structs.replace(record.request, method=method)
    if complete is not None:
        changes["response"] = msgspec.structs.replace(record.response, complete=complete)
    run.records[-1] = msgspec.structs.replace(record, **changes)
    return run


def test_an_undocumented_method_has_no_documented_answer(recorded: Any) -> None:
    """What a GET gets is held neither against the statuses of the POST nor against its schema; a 5xx is one all the same."""
    run = last(recorded(NANOGPT).add(302, PAGE, expects="refuse", headers=HTML), method="GET")
    assert run.words("http.status-documented") == run.words("schema.response") == run.words("http.error-shape") == set()
    assert run.words("http.no-server-error") == {"pass"}
    assert last(recorded(NANOGPT).add(501, expects="refuse"), method="PUT").words("http.no-server-error") == {"pass"}
    assert last(recorded(NANOGPT).add(500, expects="refuse"), method="PUT").words("http.no-server-error") == {"broken"}
    assert recorded(NANOGPT).add(501).words("http.no-server-error") == {"broken"}


@pytest.mark.parametrize(
    "media_type",
    ["application/json", "application/json; charset=utf-8", "Application/JSON", "application/vnd.api+json", "application/problem+json"],
)
def test_json_under_any_of_its_names(recorded: Any, media_type: str) -> None:
    """JSON may come with parameters, in other letters and under a name that ends in +json."""
    assert recorded(NANOGPT).add(200, {"data": []}, headers=[("content-type", media_type)]).words("http.media-type") == {"pass"}


@pytest.mark.parametrize(
    ("answer", "media_type"),
    [({"data": []}, "text/plain"), ({"data": []}, "text/html"), ({"data": []}, "text/event-stream"), (PAGE, "application/json"), (PAGE, "text/html"),
     (b"\x89PNG\r\n\x1a\n", "application/json"), (b"\x89PNG\r\n\x1a\n", "image/png")],
)  # fmt: skip
def test_a_media_type_that_is_untrue_or_not_documented(recorded: Any, answer: Any, media_type: str) -> None:
    """A success under a type that the document does not give, or whose bytes are something else, breaks it as a must."""
    observations = recorded(NANOGPT).add(200, answer, headers=[("content-type", media_type)]).observations("http.media-type")
    assert [(one.word, one.level) for one in observations] == [("broken", "must")]


def test_media_types_that_no_document_gives(recorded: Any) -> None:
    """Of a refusal without documented body only an untruth is told, as a deviation; so is a missing type; an empty body needs none."""
    rule = "http.media-type"
    for answer, headers in ((PAGE, HTML), (b"go away", [("content-type", "text/plain")]), (b"", [("content-type", "text/html")])):
        assert recorded(NIM).add(400, answer, expects="refuse", headers=headers).words(rule) <= {"pass"}
    lie = recorded(NIM).add(400, PAGE, expects="refuse", headers=[("content-type", "application/json")]).observations(rule)
    assert [(one.word, one.level) for one in lie] == [("broken", "should")]
    missing = recorded(NANOGPT).add(200, {"data": []}, headers=[("content-type", "")]).observations(rule)
    assert [(one.word, one.level) for one in missing] == [("broken", "should")]


def test_either_documented_type_of_a_chat(recorded: Any) -> None:
    """Where the document gives JSON and an event stream, either is a documented type."""
    stream = b'data: {"choices": []}\n\ndata: [DONE]\n\n'
    assert recorded(VISION).add(200, stream, headers=[("content-type", "text/event-stream")]).words("http.media-type") == {"pass"}
    assert recorded(VISION).add(200, {"choices": []}).words("http.media-type") == {"pass"}


def test_a_body_that_breaks_off(recorded: Any) -> None:
    """A body shorter than declared, or without last chunk, breaks it; a timeout in the middle proves nothing; no other rule tells it again."""
    rule = "http.body-complete"
    cut = last(recorded(NANOGPT).add(200, b'{"da'), complete=False, failure="broken", failure_detail="peer closed connection")
    assert cut.words(rule) == {"broken"}
    assert cut.words("http.no-server-error") == {"pass"}
    assert cut.words("request.accepts-valid") == {"unproven"}
    assert cut.words("schema.response") == cut.words("image.count") == cut.words("http.media-type") == set()
    assert last(recorded(NANOGPT).add(200, b'{"da'), complete=False, failure="timeout").words(rule) == {"unproven"}
    assert recorded(NANOGPT).add(200, {"data": []}).add(204, b"").words(rule) == {"pass"}
    assert recorded(NANOGPT).add(None, failure="broken").words(rule) == set()


def test_json_that_stops_early(recorded: Any) -> None:
    """Half of the JSON, sent as if it were all, is an incomplete body and nothing else."""
    run = recorded(NANOGPT).add(200, b'{"created": 1, "data": [{"b64_json": "iVBOR')
    assert run.words("http.body-complete") == {"broken"}
    assert run.words("schema.response") == run.words("http.media-type") - {"pass"} == run.words("image.count") == set()


def test_a_page_called_json_is_told_by_its_media_type(recorded: Any) -> None:
    """A page that calls itself JSON breaks http.media-type alone; text that calls itself JSON breaks the schema."""
    page = recorded(NANOGPT).add(200, PAGE)
    assert (page.words("http.media-type"), page.words("schema.response")) == ({"broken"}, set())
    text = recorded(NANOGPT).add(200, b"{'created': 1}")
    assert (text.words("http.media-type"), text.words("schema.response")) == ({"pass"}, {"broken"})


def test_answer_time(recorded: Any) -> None:
    """Within the documented five minutes, or a 504 at their end; a check that gives up earlier proves nothing."""
    rule = "http.answer-time"
    assert recorded(QWEN).add(200, took_s=299).add(504, took_s=301).words(rule) == {"pass"}
    assert recorded(QWEN).add(200, took_s=301).words(rule) == {"broken"}
    assert recorded(QWEN).add(None, failure="timeout", took_s=330).words(rule) == {"broken"}
    assert recorded(QWEN).add(None, failure="timeout", took_s=30).words(rule) == {"unproven"}
    assert recorded(QWEN).add(None, failure="connect", took_s=3).words(rule) == {"unproven"}
    assert not RULES[rule].applies(NANOGPT)
    assert not RULES[rule].applies(TASK)


def test_steady(recorded: Any) -> None:
    """A request that fails now and then breaks it; one that fails always proves nothing here; two requests are not one."""
    rule = "http.steady"
    assert recorded(NANOGPT).add(200).add(200).add(400, request={"a": 1}).words(rule) == {"pass"}
    assert recorded(NANOGPT).add(200).add(503).words(rule) == {"broken"}
    assert recorded(NANOGPT).add(200).add(None, failure="broken").words(rule) == {"broken"}
    assert recorded(NANOGPT).add(500).add(500).words(rule) == {"unproven"}
    assert recorded(NANOGPT).add(200).add(500, request={"n": 2}).words(rule) == set()
    assert recorded(NANOGPT).add(200).add(429).add(None, failure="timeout").words(rule) == {"pass"}
    assert recorded(QWEN).add(200).add(504, took_s=300).words(rule) == {"pass"}


def test_levels_follow_the_documents() -> None:
    """Whole bodies and steadiness are musts everywhere; the answer time is Relay's promise."""
    assert {level_of(scope, RULES["http.body-complete"]) for scope in (NANOGPT, NIM, VISION, QWEN, TASK)} == {"must"}
    assert level_of(QWEN, RULES["http.answer-time"]) == "must"
    assert level_of(TASK, RULES["http.media-type"]) == "should"


def test_a_connection_closed_on_a_large_body(recorded: Any) -> None:
    """Of a body that may be too large it proves nothing; of a small one, or one that must be taken, it is a failure."""
    rule, large = "http.no-server-error", {"image": "x" * 1_100_000}
    assert recorded(NANOGPT).add(None, failure="broken", request=large, expects="may-refuse").words(rule) == {"unproven"}
    assert recorded(NANOGPT).add(None, failure="broken", request=large).words(rule) == {"broken"}
    assert recorded(NANOGPT).add(None, failure="broken", expects="may-refuse").words(rule) == {"broken"}
