"""What documents that somebody publishes have in common beyond the rules of OpenAPI: each is used as it is, or told with its place."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from testcard.harness.rules.schema_judge import judge_response
from testcard.harness.wire.encode import encode_body
from testcard.harness.wire.fields import wire_fields
from testcard.harness.wire.model import TaskRequest
from testcard.specs.errors import SpecError
from testcard.specs.errors_recognised import error_data
from testcard.specs.lint import lint, notes
from testcard.specs.loader import Provider, load_provider
from testcard.specs.openapi import read_openapi
from testcard.specs.proposal import DocumentAnswers, propose
from testcard.specs.reading import read_document
from testcard.specs.recognition import delivery_words, field_data, response_data
from testcard.specs.tasks_recognised import task_data

TEXT: dict[str, Any] = {"type": "string"}
PICTURES = {"type": "object", "properties": {"images": {"type": "array", "items": {"type": "string", "format": "byte"}}}}


def json_body(schema: Any, media_type: str = "application/json") -> dict[str, Any]:
    """The content of one media type."""
    return {"description": "as it says", "content": {media_type: {"schema": schema}}}


def paths(properties: dict[str, Any], responses: dict[str, Any] | None = None, **beside: Any) -> dict[str, Any]:
    """One operation, `draw`, with a prompt and these fields."""
    schema = {"type": "object", "required": ["prompt"], "properties": {"prompt": TEXT, **properties}}
    operation = {
        "operationId": "draw",
        "requestBody": {"content": {"application/json": {"schema": schema}}},
        "responses": responses or {"200": json_body(PICTURES)},
        **beside,
    }
    return {"/draw": {"post": operation}}


def written(folder: Path, found: dict[str, Any], *, version: str = "3.1.0", profile: str = "operations: [draw]", **beside: Any) -> Path:
    """A provider's folder with these paths."""
    folder.mkdir(exist_ok=True)
    document = {"openapi": version, "info": {"title": "Wild", "version": "1"}, "paths": found, **beside}
    (folder / "openapi.json").write_text(json.dumps(document), encoding="utf-8")
    (folder / "profile.yaml").write_text(f"schema: testcard.profile/1\nid: wild\n{profile}\n", encoding="utf-8")
    return folder


def opened(folder: Path, found: dict[str, Any], **further: Any) -> Provider:
    """The provider of that folder."""
    return load_provider(str(written(folder, found, **further)))


def sent(provider: Provider, **terms: Any) -> dict[str, Any]:
    """What a request for a boat sends."""
    return wire_fields(provider, TaskRequest(task="generate", prompt="a boat", **terms)).body


# ── what breaks OpenAPI's rules and stands in nobody's way ────────────────────────────────────────────────────────────


def test_a_number_for_exclusive_minimum_in_3_0_is_a_note(tmp_path: Path) -> None:
    """As fal's documents have it: the bound holds, lint has no problem with it, and says so."""
    place = written(tmp_path / "wild", paths({"steps": {"type": "integer", "exclusiveMinimum": 0}}), version="3.0.4")
    assert lint(place) == []
    assert [one for one in notes(place) if "used all the same" in one.message]
    assert load_provider(str(place)).operation("draw").properties["steps"]["exclusiveMinimum"] == 0


@pytest.mark.parametrize(
    ("schema", "kept"),
    [
        ({"type": "integer", "default": "None"}, False),
        ({"type": "string", "enum": ["a", "b"], "default": "c"}, False),
        ({"type": "integer", "minimum": 2, "default": 1}, False),
        ({"type": "boolean", "default": 0}, False),
        ({"type": ["integer", "null"], "default": None}, True),
        ({"type": "number", "default": 3}, True),
        ({"type": "string", "enum": ["a", "b"], "default": "b"}, True),
    ],
)
def test_a_default_that_its_schema_does_not_allow_is_left_aside(tmp_path: Path, schema: dict[str, Any], kept: bool) -> None:
    """It is noted, by line, and no request, mock or judge goes by it."""
    place = written(tmp_path / "wild", paths({"odd": schema}))
    assert lint(place) == []
    assert any("does not allow its own default" in one.message for one in notes(place)) is not kept
    assert ("default" in load_provider(str(place)).operation("draw").properties["odd"]) is kept


@pytest.mark.parametrize("default", [float("inf"), float("-inf"), 10**400, 1e308])
@pytest.mark.parametrize("kind", ["integer", ["integer", "null"], ["integer", {}, 7]])
def test_a_default_of_any_size_is_read(tmp_path: Path, kind: Any, default: float) -> None:
    """Whatever number stands there, the document is read, or refused with a place."""
    place = written(tmp_path / "wild", paths({"odd": {"type": kind, "default": default}}))
    lint(place)
    with suppress(SpecError):
        assert opened(tmp_path / "wild", paths({"odd": {"type": kind, "default": default}})).operation("draw").properties["odd"]


def test_an_answer_that_fits_several_alternatives_is_no_fault_of_the_server(tmp_path: Path) -> None:
    """`oneOf` over shapes that overlap is the document's doing; what fits none of them still breaks it."""
    either = {
        "oneOf": [{"type": "object", "properties": {"message": TEXT}}, {"type": "object", "properties": {"problem": {"type": "object"}}}]
    }
    provider = opened(tmp_path / "wild", paths({}, {"200": json_body(PICTURES), "400": json_body(either)}))

    def judged(body: Any) -> list[str]:
        headers = [("content-type", "application/json")]
        return [one.message for one in judge_response(provider, "draw", status=400, headers=headers, body=json.dumps(body).encode())]

    assert judged({"message": "no"}) == []
    assert judged({"message": 3, "problem": 3})[0].startswith("matches none of the 2 alternatives")


# ── keys ──────────────────────────────────────────────────────────────────────────────────────────────────────────────

SCHEMES = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "basic": {"type": "http", "scheme": "basic"},
    "query": {"type": "apiKey", "in": "query", "name": "key"},
    "cookie": {"type": "apiKey", "in": "cookie", "name": "session"},
    "header": {"type": "apiKey", "in": "header", "name": "X-Key"},
    "mutual": {"type": "mutualTLS"},
}


def keyed(folder: Path, security: Any, profile: str = "operations: [draw]") -> Path:
    """A provider that is let in so."""
    return written(folder, paths({}), profile=profile, security=security, components={"securitySchemes": SCHEMES})


@pytest.mark.parametrize(
    ("security", "said"),
    [
        ([{"query": []}], "components.securitySchemes.query: lets requests in by a key in the query"),
        ([{"cookie": []}], "components.securitySchemes.cookie: lets requests in by a key in the cookie"),
        ([{"mutual": []}], "components.securitySchemes.mutual: lets requests in by mutualTLS"),
        ([{"bearer": [], "header": []}], "components.securitySchemes.header: is asked for together with bearer"),
    ],
)
def test_a_way_in_that_requests_cannot_take_is_refused_with_its_place(tmp_path: Path, security: Any, said: str) -> None:
    """Lint and every command say which scheme it is, why, and what to write; once the profile says it, nothing is left."""
    place = keyed(tmp_path / "a", security)
    (problem,) = lint(place)
    assert said in str(problem)
    assert "auth: {header: {name: …}}" in problem.message
    with pytest.raises(SpecError) as caught:
        load_provider(str(place))
    assert problem.message in str(caught.value)
    assert lint(keyed(tmp_path / "b", security, "auth: {}\noperations: [draw]")) == []


@pytest.mark.parametrize(
    ("security", "header"),
    [
        ([{"query": []}, {"header": []}], "X-Key: "),
        ([{"bearer": [], "header": []}, {"bearer": []}], "Authorization: Bearer "),
        ([{"basic": []}], "Authorization: Basic "),
        ([], None),
        ([{}, {"query": []}], None),
    ],
)
def test_one_way_with_one_header_is_enough(tmp_path: Path, security: Any, header: str | None) -> None:
    """Whatever other ways there are."""
    found = load_provider(str(keyed(tmp_path / "wild", security))).profile.auth.header
    assert (f"{found.name}: {found.prefix}" if found is not None else None) == header


@pytest.mark.parametrize("name", ["x-api-key", "Authorization", "Ocp-Apim-Subscription-Key", "api-key", "X-Access-Token"])
def test_a_header_parameter_that_is_named_for_a_key_carries_it(tmp_path: Path, name: str) -> None:
    """Where the document has no scheme at all; it is then no parameter that needs a value."""
    parameter = {"name": name, "in": "header", "required": True, "schema": TEXT}
    place = written(tmp_path / "wild", paths({}, parameters=[parameter]))
    assert lint(place) == []
    header = load_provider(str(place)).profile.auth.header
    assert header is not None
    assert (header.name, header.prefix) == (name, "Bearer " if name == "Authorization" else "")


def test_a_proposal_asks_for_the_header(tmp_path: Path) -> None:
    """With a guess that lint accepts."""
    place = keyed(tmp_path / "wild", [{"query": []}])
    proposal = propose(read_document(place / "openapi.json"), "wild", DocumentAnswers())
    assert [one.guess for one in proposal.questions if one.flag == "--key-header"] == ["none: it needs no key"]
    assert proposal.data["auth"] == {}


# ── errors of several shapes ──────────────────────────────────────────────────────────────────────────────────────────


def test_an_error_is_looked_for_at_the_places_of_every_shape(tmp_path: Path) -> None:
    """In the document's order; a body that is but a text is its own message, and is tried last."""
    plain = {"type": "object", "properties": {"message": TEXT}}
    responses = {
        "200": json_body(PICTURES),
        "401": json_body(TEXT),
        "400": json_body({"type": "object", "properties": {"error": {"type": "object", "properties": {"message": TEXT, "code": TEXT}}}}),
        "404": json_body(plain),
        "429": json_body(TEXT, "text/plain"),
    }
    operation = opened(tmp_path / "wild", paths({}, responses)).operation("draw")
    assert error_data(operation) == {"message": ["/error/message", "/message", ""], "code": ["/error/code"]}


# ── fields and answers ────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("name", "schema", "expected"),
    [
        ("options[seed]", {"type": "integer"}, {"means": "seed"}),
        ("output.format", {"type": "string", "enum": ["png", "jpg"]}, {"means": "format"}),
        ("image[]", {"type": "array", "items": {"type": "string", "format": "binary"}}, {"means": "image", "many": True}),
        ("ratio", {"type": "string", "enum": ["1920:1080", "720:720"]}, {"means": "size", "cheapest": "720:720"}),
        ("size", {"type": "string", "default": "1024*1024"}, {"means": "size", "values": {"1024x1024": "1024*1024"}}),
        ("promptText", TEXT, {"means": "prompt"}),
        ("numVariations", {"type": "integer", "maximum": 4}, {"means": "n"}),
        ("image_file", {"type": "string", "format": "binary"}, {"means": "image", "format": "file"}),
    ],
)
def test_a_field_is_recognised(name: str, schema: dict[str, Any], expected: dict[str, Any]) -> None:
    """By the last part of a name that leads into an object, by sizes whatever the field is called."""
    found = field_data(name, schema)
    assert {key: found.get(key) for key in expected} == expected


def test_words_for_delivery_in_a_description() -> None:
    """A field that lists no words and tells them all the same."""
    told = {
        "type": ["string", "null"],
        "default": "url",
        "description": "Can be url or b64_json. With b64_json it comes as base64, not as a url.",
    }
    assert delivery_words(told) == {"url": "url", "base64": "b64_json"}
    assert delivery_words({"type": "string", "description": "The kind of url."}) == {}


def test_a_size_is_spelt_with_the_sign_of_those_that_are_known(tmp_path: Path) -> None:
    """`512*768` where the document's own is `1024*1024`."""
    provider = opened(tmp_path / "wild", paths({"size": {"type": "string", "default": "1024*1024"}}))
    assert sent(provider, size=(512, 768))["size"] == "512*768"
    assert sent(provider, size=(1024, 1024))["size"] == "1024*1024"


@pytest.mark.parametrize(("field", "value"), [("{means: stream, cheapest: false}", False), ("{means: stream, send: true}", True)])
def test_whether_to_stream_is_sent_where_it_has_to_be(tmp_path: Path, field: str, value: bool) -> None:
    """What the profile says is sent; planning no longer stops over a required field that nobody fills in."""
    found = paths(
        {"stream": {"type": "boolean"}},
        {"200": {"description": "ok", "content": {**json_body(PICTURES)["content"], "text/event-stream": {}}}},
    )
    found["/draw"]["post"]["requestBody"]["content"]["application/json"]["schema"]["required"].append("stream")
    place = written(tmp_path / "wild", found, profile=f"operations: {{draw: {{fields: {{stream: {field}}}}}}}")
    assert lint(place) == []
    assert sent(load_provider(str(place)))["stream"] is value


def test_a_required_switch_for_tasks_is_off_unless_somebody_says(tmp_path: Path) -> None:
    """`async` in a list of what is required is sent as false."""
    found = paths({"async": {"type": "boolean"}})
    found["/draw"]["post"]["requestBody"]["content"]["application/json"]["schema"]["required"].append("async")
    assert sent(opened(tmp_path / "wild", found))["async"] is False


@pytest.mark.parametrize(("stated", "usual"), [("application/json", "base64"), ("image/*", "binary"), (None, "base64")])
def test_a_picture_in_json_or_as_the_body_is_asked_for_by_accept(tmp_path: Path, stated: str | None, usual: str) -> None:
    """What the document says is usual is; a list of pictures is, where it says nothing."""
    parameter = {"name": "Accept", "in": "header", "schema": {"type": "string", **({"default": stated} if stated else {})}}
    answer = json_body(PICTURES)
    answer["content"]["image/png"] = {"schema": {"type": "string", "format": "binary"}}
    operation = opened(tmp_path / "wild", paths({}, {"200": answer}, parameters=[parameter])).operation("draw")
    found = response_data(operation)
    assert found["default_delivery"] == usual
    assert found["accept"] == {"base64": "application/json", "binary": "image/png"}


def test_an_object_in_a_form_is_a_part_of_json() -> None:
    """As OpenAPI has it for a part whose schema is an object."""
    _, body = encode_body({"job": {"config": {"prompt": "a boat"}}, "n": 1}, "multipart/form-data")
    assert b'name="job"\r\nContent-Type: application/json\r\n\r\n{"config": {"prompt": "a boat"}}' in body
    assert b'name="n"\r\n\r\n1' in body


# ── tasks ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_address_of_a_task_may_stand_in_a_header(tmp_path: Path) -> None:
    """An acceptance without a body; words for states that each alternative says for itself."""
    accepted = {"202": {"description": "accepted", "headers": {"Operation-Location": {"schema": TEXT}}}}
    state = [{"type": "object", "properties": {"status": {"const": word}}} for word in ("PENDING", "SUCCEEDED", "FAILED")]
    state[1]["properties"]["output"] = {"type": "array", "items": {"type": "string", "format": "uri"}}
    ask = {
        "operationId": "ask",
        "parameters": [{"name": "task-id", "in": "path", "required": True, "schema": TEXT}],
        "responses": {"200": json_body({"oneOf": state})},
    }
    place = written(tmp_path / "wild", {**paths({}, accepted), "/tasks/{task-id}": {"get": ask}})
    operations = read_openapi(place / "openapi.json").operations
    found = task_data(operations["draw"], [operations["ask"]])
    assert found is not None
    assert found["poll_url"] == "header:operation-location"
    assert found["states"] == {"queued": ["PENDING"], "completed": ["SUCCEEDED"], "failed": ["FAILED"]}
