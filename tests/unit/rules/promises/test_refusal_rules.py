"""Rules about refusals and errors, on exchanges made by hand."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from testcard.harness.check.judging.levels import level_of
from testcard.harness.rules import http_probes
from testcard.harness.rules.registry import RULES
from testcard.harness.rules.scope import Scope
from testcard.specs.loader import bundled_ids, load_provider

NANOGPT = Scope(load_provider("nanogpt"), "createImage")
NEBUL = Scope(load_provider("nebul"), "createImage")
EDIT = Scope(load_provider("nebul"), "createImageEdit")
NIM = Scope(load_provider("nvidia-nim-image"), "generateImage")
VISION = Scope(load_provider("nvidia-nim-vision"), "createVisionChatCompletion")
FLUX = Scope(load_provider("opengpu-relay"), "generateFlux")
TASK = Scope(load_provider("opengpu-relay"), "getTask")


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
    for body in ({"error": {"message": "no"}}, {"error": "no", "message": "no"}, {"message": "no"}, {"error": status}, [], b"no"):
        assert recorded(NANOGPT).add(status, body, expects="refuse").words(rule) == {"broken"}, body


def test_error_levels() -> None:
    """The documented 400 is a must, other statuses and other providers' conventions are shoulds; NIM promises no shape."""
    rule = RULES["http.error-shape"]
    assert (level_of(NANOGPT, rule, 400), level_of(NANOGPT, rule, 401), level_of(NEBUL, rule, 400)) == ("must", "should", "should")
    assert [scope.operation_id for scope in (NANOGPT, NEBUL, FLUX, TASK, NIM, VISION) if not rule.applies(scope)] == [
        "generateImage",
        "createVisionChatCompletion",
    ]


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
    methods = {probe.method for probe in http_probes.other_methods(scope)} - {None}
    assert methods
    assert scope.operation.method not in methods
    for asks in (
        http_probes.other_methods,
        http_probes.malformed,
        http_probes.wrong_media_type,
        http_probes.repeated,
        http_probes.refusals,
    ):
        found = list(asks(scope))
        assert found == list(asks(scope))
        accepted = [probe for probe in found if probe.expects in ("accept", "may-refuse") and not probe.first]
        assert len({probe.key for probe in accepted}) <= (1 if asks is http_probes.repeated or scope.task is None else 0)


def test_a_form_is_cut_within_its_first_part() -> None:
    """A multipart body loses more than its last boundary, which many parsers forgive; JSON loses its last brace."""
    (form,) = [probe for probe in http_probes.malformed(EDIT) if probe.raw_body]
    assert form.raw_body is not None
    assert form.raw_body.count(b"Content-Disposition") == 1
    (json,) = [probe for probe in http_probes.malformed(NANOGPT) if probe.raw_body]
    assert json.raw_body is not None
    assert json.raw_body.startswith(b"{")
    assert not json.raw_body.endswith(b"}")
    assert not list(http_probes.malformed(TASK))
