"""The judge says what is wrong with a response, where, and on which line of the contract, without quoting the body."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from testcard.harness.rules.schema_judge import SchemaProblem, judge, judge_response
from testcard.specs.loader import Provider, load_provider

JSON = (("Content-Type", "application/json"),)
PICTURE = {"b64_json": "A" * 2_000_000}

OPENAPI = """\
openapi: 3.1.0
info: {title: Small, version: 1.0.0}
servers: [{url: https://small.example/base}]
paths:
  /v1/{publisher}/{model}:
    servers: [{url: https://other.example}]
    post:
      operationId: make
      parameters:
        - {name: publisher, in: path, required: true, schema: {type: string}}
        - {name: model, in: path, required: true, schema: {type: string}}
      requestBody: {content: {application/json: {schema: {type: object, properties: {prompt: {type: string}}}}}}
      responses:
        200:
          description: unquoted on purpose
          headers:
            X-Count: {required: true, schema: {type: integer}}
          content:
            application/json: {schema: {$ref: '#/components/schemas/Answer'}}
            text/event-stream: {schema: {type: string}}
        4XX: {$ref: '#/components/responses/Refused'}
        '204': {description: nothing}
components:
  responses:
    Refused:
      description: refused
      content:
        application/problem+json: {schema: {type: object, required: [a/b, title]}}
  schemas:
    Item:
      type: object
      required: [kind]
      properties:
        kind: {enum: [x, y]}
        note: {type: string, maxLength: 3}
        share: {type: number, minimum: 0}
    Answer:
      type: object
      properties:
        items:
          type: array
          items: {$ref: '#/components/schemas/Item'}
"""
PROFILE = """\
schema: testcard.profile/1
id: small
name: Small
document: small.txt
base_urls: [https://small.example]
auth: {header: {name: X}, key_env: SMALL, clause: &c {document: small.txt, heading: All}}
tasks: {}
models: []
operations: {make: {clause: *c}}
"""


@pytest.fixture
def small(tmp_path: Path) -> Provider:
    (tmp_path / "openapi.yaml").write_text(OPENAPI)
    (tmp_path / "profile.yaml").write_text(PROFILE)
    return load_provider(f"{tmp_path}/.")


def nanogpt(body: Any, status: int = 200, headers: tuple[tuple[str, str], ...] = JSON) -> list[SchemaProblem]:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return judge_response(load_provider("nanogpt"), "createImage", status=status, headers=headers, body=data)


def found(problems: list[SchemaProblem]) -> list[tuple[str, str]]:
    return [(problem.place, problem.keyword) for problem in problems]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"created": 1, "data": [{"url": "https://x.example/1"}, {"b64_json": "aGk="}], "cost": 0.5, "remainingBalance": 3},
        {"data": [], "more": "fields than documented"},
        {"created": 1.0},
    ],
)
def test_what_the_document_allows_passes(body: Any) -> None:
    """Nothing is held against an answer that keeps the schema, extra fields where it is open included."""
    assert nanogpt(body) == []


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"created": "now"}, [("/created", "type")]),
        ({"created": 1.5}, [("/created", "type")]),
        ({"data": {}}, [("/data", "type")]),
        ({"data": [{"url": "u", "b64_json": "b"}]}, [("/data/0", "oneOf")]),
        ({"data": [{"b64_json": "b"}, {}]}, [("/data/1", "oneOf")]),
        ({"cost": "1", "remainingBalance": []}, [("/cost", "type"), ("/remainingBalance", "type")]),
        ([], [("", "type")]),
        (b"", [("", "body")]),
        (b"<html>", [("", "json")]),
        (b'{"cost": NaN}', [("", "json")]),
        (b'{"cost": 1} {', [("", "json")]),
        (b"\xef\xbb\xbf{}", [("", "json")]),
        (b"[" * 200_000, [("", "json")]),
    ],
)
def test_each_broken_promise_is_named_with_its_place(body: Any, expected: list[tuple[str, str]]) -> None:
    """One problem for each thing that is wrong, at its JSON pointer, by its keyword."""
    assert found(nanogpt(body)) == expected


def test_a_lone_surrogate_is_json() -> None:
    r"""RFC 8259's grammar allows "\ud800"; a strict parser's refusal is no violation."""
    assert nanogpt(b'{"paymentSource": "\\ud800"}') == []


def test_the_line_is_that_of_the_keyword_in_the_file() -> None:
    """A finding can point at the promise in openapi.yaml, through references."""
    provider = load_provider("nanogpt")
    (problem,) = nanogpt({"data": [{"url": "u", "b64_json": "b"}]})
    assert problem.schema_pointer.endswith("/properties/data/items/oneOf")
    assert "oneOf:" in provider.openapi.source.text.splitlines()[problem.line - 1]
    (problem,) = nanogpt({"message": "no"}, status=400)
    assert "required: [error, message]" in provider.openapi.source.text.splitlines()[problem.line - 1]
    assert problem.message == "lacks error"


def test_messages_never_quote_the_instance() -> None:
    """Two megabytes of base64 in the wrong place stay out of every message."""
    picture = PICTURE["b64_json"]
    for body in ({"data": [{**PICTURE, "url": picture}]}, {"created": picture}, {"data": picture}, {"data": [{picture: 1}]}):
        problems = nanogpt(body)
        assert problems
        assert all(len(problem.message) < 300 and "AAAA" not in problem.message.replace("A" * 59 + "…", "") for problem in problems)


@pytest.mark.parametrize("headers", [(), (("content-type", "text/html"),), (("Content-Type", ""),), (("content-type", ";;="),)])
def test_a_missing_or_wrong_content_type_is_a_problem(headers: tuple[tuple[str, str], ...]) -> None:
    """The media type is part of the promise; the body is still read when it is JSON."""
    assert found(nanogpt({}, headers=headers)) == [("header:content-type", "media-type")]
    assert found(nanogpt({"created": "x"}, headers=headers)) == [("header:content-type", "media-type"), ("/created", "type")]
    assert found(nanogpt(b"<html>", headers=headers)) == [("header:content-type", "media-type")]


@pytest.mark.parametrize(
    "value", ["application/json; charset=utf-8", "Application/JSON;", 'application/json; a="b=c"', "application/json;x"]
)
def test_parameters_of_the_media_type_do_no_harm(value: str) -> None:
    """Charset, odd parameters and letter case do not make JSON something else."""
    assert nanogpt({"created": 1}, headers=(("content-type", value),)) == []


def test_an_undocumented_status_is_left_to_its_own_rule() -> None:
    """No problem, and the reason is told apart from a pass."""
    provider = load_provider("nanogpt")
    judgement = judge(provider, "createImage", status=500, headers=JSON, body=b"oops")
    assert (judgement.problems, judgement.not_judged) == ((), "undocumented-status")
    assert judge(provider, "createImage", status=200, headers=JSON, body=b"{}").not_judged is None


def test_a_null_where_the_property_might_be_absent_is_marked() -> None:
    """Lenient readers take null for absent; the rule can tell it from a wrong type."""
    assert [(p.place, p.null_for_optional) for p in nanogpt({"cost": None, "created": "x"})] == [("/created", False), ("/cost", True)]
    assert [p.null_for_optional for p in nanogpt({"error": None, "message": "x"}, status=400)] == [False]


def test_operations_are_found_whatever_servers_and_path_say(small: Provider) -> None:
    """Path-level servers, templates and unquoted statuses play no part in finding the schema; headers are judged."""
    headers = (*JSON, ("x-count", "2"))
    assert judge_response(small, "make", status=200, headers=headers, body=b'{"items": [{"kind": "x"}]}') == []
    problems = judge_response(
        small, "make", status=200, headers=headers, body=b'{"items": [{"kind": "z", "note": "long", "share": -1}, {}]}'
    )
    assert found(problems) == [
        ("/items/0/kind", "enum"),
        ("/items/0/note", "maxLength"),
        ("/items/0/share", "minimum"),
        ("/items/1", "required"),
    ]
    lines = small.openapi.source.text.splitlines()
    assert [lines[problem.line - 1].split(":")[0].strip() for problem in problems] == ["kind", "note", "share", "required"]
    assert found(judge_response(small, "make", status=200, headers=JSON, body=b"{}")) == [("header:x-count", "required")]
    assert found(judge_response(small, "make", status=200, headers=(*JSON, ("X-Count", "two")), body=b"{}")) == [
        ("header:x-count", "schema")
    ]


def test_status_ranges_and_shared_responses_are_judged(small: Provider) -> None:
    """A 422 under 4XX, described by a reference, has to keep that schema and its media type."""
    problem_json = (("content-type", "application/problem+json"),)
    assert judge_response(small, "make", status=422, headers=problem_json, body=b'{"a/b": 1, "title": 2}') == []
    (problem,) = judge_response(small, "make", status=422, headers=problem_json, body=b'{"a/b": 1}')
    assert problem.message == "lacks title"
    assert problem.schema_pointer == "/components/responses/Refused/content/application~1problem+json/schema/required"
    assert found(judge_response(small, "make", status=422, headers=JSON, body=b'{"a/b": 1, "title": 2}')) == [
        ("header:content-type", "media-type")
    ]


@pytest.mark.parametrize(
    ("status", "media_type", "reason"), [(200, "text/event-stream; charset=utf-8", "event-stream"), (204, "text/plain", "no-schema")]
)
def test_streams_and_bodies_without_a_schema_are_not_judged(small: Provider, status: int, media_type: str, reason: str) -> None:
    """What this judge cannot know it says so, instead of a pass or a false alarm."""
    judgement = judge(small, "make", status=status, headers=(("content-type", media_type),), body=b"data: {}\n\n")
    assert (judgement.problems, judgement.not_judged) == ((), reason)


def test_a_thousand_broken_items_stay_a_readable_list() -> None:
    """The list of problems is bounded."""
    assert len(nanogpt({"data": [{}] * 1000})) == 50


@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(
    st.binary(max_size=40)
    | st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["data", "url", "b64_json", "created", "cost", "error", "message"]), inner, max_size=4)
        ),
    ).map(lambda value: json.dumps(value).encode())
)
def test_no_body_makes_the_judge_raise(body: bytes) -> None:
    """Whatever a stranger sends is judged, equal input alike, and the judge agrees with another validator on what is wrong."""
    for status in (200, 400):
        problems = nanogpt(body, status=status)
        assert nanogpt(body, status=status) == problems
    schema = load_provider("nanogpt").openapi.operations["createImage"].response_schema(200)
    try:
        value = json.loads(body, parse_constant=lambda _: body.hex())
    except ValueError:
        return
    if b"NaN" not in body and b"Infinity" not in body:
        assert jsonschema_rs.is_valid(schema, value) == (nanogpt(body) == [])
