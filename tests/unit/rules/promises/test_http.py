"""Rules about HTTP itself, and about how wrong requests are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from testcard.harness.check.judging.levels import clause_of, level_of
from testcard.harness.rules import probes
from testcard.harness.rules.promises import RULES
from testcard.harness.rules.scope import Scope
from testcard.specs.loader import bundled_ids, load_provider

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


def test_status_documented(recorded: Any) -> None:
    """A documented status and one that HTTP implies pass, 418 and 203 break it, silence proves nothing, 5xx is another rule's."""
    rule = "http.status-documented"
    assert recorded(NANOGPT).add(200, {"data": []}).add(401, expects="unauthorised").add(422, expects="refuse").words(rule) == {"pass"}
    assert recorded(NANOGPT).add(203, {"data": []}).words(rule) == {"broken"}
    assert recorded(NANOGPT).add(418, expects="refuse").words(rule) == {"broken"}
    assert recorded(NANOGPT).add(302).words(rule) == {"broken"}
    assert recorded(NANOGPT).add(500).add(None, failure="timeout").words(rule) == set()


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 415, 422, 429])
def test_a_strict_server_has_no_undocumented_status(status: int, recorded: Any) -> None:
    """Every status that HTTP gives for a refusal is taken, documented or not."""
    assert recorded(QWEN).add(status, expects="refuse").words("http.status-documented") == {"pass"}


def test_no_server_error(recorded: Any) -> None:
    """A 5xx or a broken connection breaks it; a timeout proves nothing; Relay's 504 after five minutes is announced."""
    rule = "http.no-server-error"
    assert recorded(NANOGPT).add(200, {"data": []}).add(400).words(rule) == {"pass"}
    assert recorded(NANOGPT).add(503).words(rule) == {"broken"}
    assert recorded(NANOGPT).add(None, failure="broken").words(rule) == {"broken"}
    assert recorded(NANOGPT).add(None, failure="timeout").words(rule) == {"unproven"}
    assert recorded(QWEN).add(504, took_s=300.5).words(rule) == {"pass"}
    assert recorded(QWEN).add(504, took_s=20).words(rule) == {"broken"}


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
    assert recorded(QWEN).add(None, failure="timeout", took_s=330).words(rule) == {"unproven"}  # http.answered is broken
    assert recorded(QWEN).add(None, failure="connect", took_s=3).words(rule) == {"unproven"}
    assert not RULES[rule].applies(NANOGPT)
    assert not RULES[rule].applies(TASK)


def test_answered(recorded: Any) -> None:
    """No answer in the documented time, or in the check's, breaks it; what was given up sooner proves nothing."""
    rule = "http.answered"
    assert recorded(NANOGPT).add(200).add(400).add(None, failure="broken").words(rule) == {"pass"}
    assert recorded(NANOGPT).add(None, failure="timeout", took_s=30).words(rule) == {"broken"}
    assert recorded(NANOGPT).add(None, failure="given-up", took_s=10).words(rule) == {"unproven"}
    assert recorded(QWEN).add(None, failure="timeout", took_s=330).words(rule) == {"broken"}
    assert recorded(QWEN).add(None, failure="timeout", took_s=30).words(rule) == {"unproven"}  # five minutes are documented
    assert recorded(NANOGPT).add(None, failure="connect").words(rule) == set()


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


@pytest.mark.parametrize(
    ("status", "word"), [(400, "broken"), (415, "broken"), (422, "broken"), (401, "pass"), (403, "pass"), (409, "pass"), (429, "pass")]
)
def test_steady_in_what_is_refused(recorded: Any, status: int, word: str) -> None:
    """What was carried out once is not refused the next time, unless for who asked or when; a wrong key is another request."""
    assert recorded(NANOGPT).add(200).add(status).words("http.steady") == {word}
    assert recorded(NANOGPT).add(status).add(200).words("http.steady") == {word}
    assert recorded(NANOGPT).add(200).add(status, expects="unauthorised").words("http.steady") == {"pass"}


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


# ── refusals ──────────────────────────────────────────────────────────────────────────────────────────────────────────
NEBUL = Scope(load_provider("nebul"), "createImage")
EDIT = Scope(load_provider("nebul"), "createImageEdit")
FLUX = Scope(load_provider("opengpu-relay"), "generateFlux")


def asked(run: Any, rule: str, status: int | None, answer: Any = None, *, base: bool = True, method: str = "POST", **more: Any) -> Any:
    """A base request and the request that this rule asked for, answered with a status."""
    run.add(200 if base else 400)
    run.add(status, answer, probe="generate/x", base="generate/base", expects="refuse", rules=[rule], level="should", change="x", **more)
    record = run.records[-1]
    run.records[-1] = msgspec.structs.replace(record, request=msgspec.structs.replace(record.request, method=method))
    return run


@pytest.mark.parametrize("rule", ["http.malformed-refused", "http.media-type-refused"])
def test_unreadable_bodies_are_refused(recorded: Any, rule: str) -> None:
    """Any 4xx refuses; a success or a redirect does not; a 5xx, silence and a refused base prove nothing."""
    for status in (400, 413, 415, 422):
        assert asked(recorded(NANOGPT), rule, status).words(rule) == {"pass"}
    for status in (200, 202, 302):
        assert asked(recorded(NANOGPT), rule, status).words(rule) == {"broken"}
    for status in (500, 429, None):
        assert asked(recorded(NANOGPT), rule, status).words(rule) == {"unproven"}
    assert asked(recorded(NANOGPT), rule, 400, base=False).words(rule) == {"unproven"}
    assert asked(recorded(NANOGPT), "request.refuses-invalid", 200).words(rule) == set()


def test_undocumented_methods_are_refused(recorded: Any) -> None:
    """405 with Allow, any other 4xx or 501 refuses; 405 without Allow and a success break it; a redirect is noted."""
    rule = "http.method-refused"
    assert asked(recorded(NANOGPT), rule, 405, method="GET", headers=[("Allow", "POST")]).words(rule) == {"pass"}
    for status in (404, 401, 403, 501):
        assert asked(recorded(NANOGPT), rule, status, method="PUT").words(rule) == {"pass"}
    assert asked(recorded(NANOGPT), rule, 405, method="GET").words(rule) == {"broken"}
    assert asked(recorded(NANOGPT), rule, 200, method="GET").words(rule) == {"broken"}
    assert asked(recorded(NANOGPT), rule, 302, method="GET").words(rule) == {"note"}
    assert asked(recorded(NANOGPT), rule, 503, method="GET").words(rule) == {"unproven"}


def test_an_error_as_success(recorded: Any) -> None:
    """A 2xx that holds an error, or no picture at all, breaks it; refusals and pictures keep it; a failed task is told as one."""
    rule = "http.error-not-200"
    for body in (
        {"error": {"message": "moderated"}},
        {"error": 400, "message": "no"},
        {"detail": "no"},
        {"data": [], "errors": ["no"]},
        {"data": []},
    ):
        assert recorded(NANOGPT).add(200, body).words(rule) == {"broken"}, body
    assert recorded(NANOGPT).add(200, {"error": "no prompt"}, expects="refuse").words(rule) == {"broken"}
    assert recorded(VISION).add(200, {"error": "no"}).words(rule) == {"broken"}
    assert recorded(NANOGPT).add(400, {"error": 400, "message": "no"}).add(200, {"data": [{"url": "u"}], "error": None}).words(rule) == {
        "pass"
    }
    assert recorded(VISION).add(200, {"choices": [{"message": {"content": ""}, "finish_reason": "stop"}], "error": None}).words(rule) == {
        "pass"
    }
    assert recorded(FLUX).add(202, {"task_id": "t", "status": "queued", "message": "queued"}).words(rule) == {"pass"}
    failed = {"task_id": "t", "status": "failed", "error": "no"}
    assert recorded(TASK).add(200, failed, source="poll").words(rule) == set()
    assert recorded(NANOGPT).add(500, {"error": "no"}).words(rule) == set()


def test_an_error_as_success_carries_nothing_out(recorded: Any) -> None:
    """A stated request answered so was not carried out, and its content is nobody else's matter."""
    run = recorded(NANOGPT).add(200, {"error": {"message": "moderated"}})
    assert run.words("request.accepts-valid") == {"broken"}
    assert run.words("image.count") == run.words("image.decodes") == set()
    assert recorded(NANOGPT).add(200, {"error": "no"}, expects="may-refuse").words("request.accepts-valid") == {"unsupported"}


@pytest.mark.parametrize("status", [400, 401, 404, 429])
def test_the_documented_error(recorded: Any, status: int) -> None:
    """NanoGPT's errors are {error: integer, message: string}; the other shapes that are known in public break it."""
    rule = "http.error-shape"
    run = recorded(NANOGPT).add(status, {"error": status, "message": "no"}, expects="refuse")
    assert run.words(rule) == {"pass"}
    for body in (b"", {"error": {"message": "no"}}, {"error": "no", "message": "no"}, {"message": "no"}, {"error": status}, [], b"no"):
        assert recorded(NANOGPT).add(status, body, expects="refuse").words(rule) == {"broken"}, body


def test_error_levels() -> None:
    """The documented 400 is a must, other statuses and other providers' conventions are shoulds; NIM promises no shape, only words."""
    rule = RULES["http.error-shape"]
    assert (level_of(NANOGPT, rule, 400), level_of(NANOGPT, rule, 401), level_of(NEBUL, rule, 400)) == ("must", "should", "should")
    assert all(rule.applies(scope) for scope in (NANOGPT, NEBUL, FLUX, TASK, NIM, VISION))
    assert (level_of(NIM, rule, 400), clause_of(NIM, rule).heading) == ("should", "15.5 Client Error 4xx")


@pytest.mark.parametrize(
    ("body", "word"),
    [
        (b"", "broken"),
        (b" \n", "broken"),
        (b"<!DOCTYPE html><html>", "broken"),
        (b"<html><body>no</body></html>", "broken"),
        (b"no such model", "pass"),
        ({"detail": "no"}, "pass"),
        ([{"reason": 3}], "pass"),
    ],
)
def test_an_error_that_no_document_describes(recorded: Any, body: Any, word: str) -> None:
    """A JSON API that says nothing, or sends a page, breaks it; whatever else a program can read is right in any shape."""
    rule = "http.error-shape"
    assert recorded(NIM).add(400, body, expects="refuse").words(rule) == {word}
    assert recorded(NIM).add(413, body, expects="refuse").words(rule) == set()
    assert recorded(NIM).add(500, body, expects="refuse").words(rule) == set()


def test_a_shape_for_422_alone_is_that_of_no_other_refusal(recorded: Any) -> None:
    """It lists wrong fields, and frameworks document no other; all others have to be readable."""
    rule = "http.error-shape"
    scope = Scope(load_provider(str(Path(__file__).parents[3] / "fixtures" / "ways" / "webui")), "txt2img")
    assert recorded(scope).add(401, {"error": "no key"}).words(rule) == {"pass"}
    assert recorded(scope).add(401, b"").words(rule) == {"broken"}
    assert recorded(scope).add(422, {"detail": "prompt is missing"}).words(rule) == {"pass"}


ENVELOPE = Scope(load_provider(str(Path(__file__).parents[3] / "fixtures" / "ways" / "envelope")), "makeImage")


def test_errors_that_are_sent_as_successes_by_contract(recorded: Any) -> None:
    """One that the body tells is a refusal; a success that brings nothing breaks it; neither status nor schema of HTTP is blamed for it."""
    refused = {"id": "1", "base_resp": {"status_code": 2013, "status_msg": "prompt is missing"}}
    empty = {"id": "1", "base_resp": {"status_code": 0, "status_msg": "success"}}
    seen = recorded(ENVELOPE).add(200, refused, expects="refuse")
    for rule in ("http.error-not-200", "http.status-documented", "request.refuses-invalid", "http.error-shape"):
        assert seen.words(rule) in ({"pass"}, set()), rule
    assert seen.words("http.error-not-200") == {"pass"}
    assert recorded(ENVELOPE).add(200, empty, expects="refuse").words("http.error-not-200") == {"broken"}
    assert recorded(ENVELOPE).add(200, {"id": "1", "base_resp": {"status_code": 503}}).words("http.no-server-error") == {"broken"}


def test_errors_without_a_documented_schema(recorded: Any) -> None:
    """A message has to stand where the convention keeps it; what a server in front may send is not looked at."""
    rule = "http.error-shape"
    assert recorded(NEBUL).add(400, {"error": {"message": "no", "type": "t", "code": None}}, expects="refuse").words(rule) == {"pass"}
    assert recorded(NEBUL).add(400, {"detail": "no"}, expects="refuse").words(rule) == {"broken"}
    assert recorded(FLUX).add(422, {"detail": "no"}, expects="refuse").words(rule) == {"pass"}
    assert recorded(FLUX).add(422, {"detail": [{"loc": ["body"], "msg": "no"}]}, expects="refuse").words(rule) == {"pass"}
    assert recorded(FLUX).add(422, {"reason": "no"}, expects="refuse").words(rule) == {"broken"}
    assert recorded(NEBUL).add(413, b"<html>", expects="refuse").words(rule) == set()


@pytest.mark.parametrize(
    "scope",
    [pytest.param(Scope(load_provider(name), operation), id=f"{name}-{operation}") for name in bundled_ids() for operation in load_provider(name).profile.operations],
)  # fmt: skip
def test_what_these_rules_ask_for(scope: Scope) -> None:
    """No method of the path itself, nothing that can cost money but the base and its repetition, the same every time."""
    methods = {probe.method for probe in probes.other_methods(scope)} - {None}
    assert methods
    assert scope.operation.method not in methods
    for asks in (
        probes.other_methods,
        probes.malformed,
        probes.wrong_media_type,
        probes.repeated,
        probes.refusals,
    ):
        found = list(asks(scope))
        assert found == list(asks(scope))
        accepted = [probe for probe in found if probe.expects in ("accept", "may-refuse") and not probe.first]
        assert len({probe.key for probe in accepted}) <= (1 if asks is probes.repeated or scope.task is None else 0)


def test_a_form_is_cut_within_its_first_part() -> None:
    """A multipart body loses more than its last boundary, which many parsers forgive; JSON loses its last brace."""
    (form,) = [probe for probe in probes.malformed(EDIT) if probe.raw_body]
    assert form.raw_body is not None
    assert form.raw_body.count(b"Content-Disposition") == 1
    (json,) = [probe for probe in probes.malformed(NANOGPT) if probe.raw_body]
    assert json.raw_body is not None
    assert json.raw_body.startswith(b"{")
    assert not json.raw_body.endswith(b"}")
    assert not list(probes.malformed(TASK))
