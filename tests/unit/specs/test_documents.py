"""API documents as they come are read into one form; what cannot be used is said with file, line and key, and nothing ends in a traceback."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from testcard.harness.rules.schema_judge import judge_response
from testcard.specs.errors import SpecError, UsageError
from testcard.specs.lint import lint, notes
from testcard.specs.loader import Provider, load_provider
from testcard.specs.openapi import OpenApi, read_openapi
from testcard.specs.proposal import DocumentAnswers, propose
from testcard.specs.reading import read_document
from testcard.specs.schemas import allows_null, body_schema, made_up_value, type_of

PROFILE: dict[str, Any] = {
    "schema": "testcard.profile/1",
    "id": "odd",
    "name": "Odd",
    "document": "odd.example",
    "base_urls": ["https://odd.example"],
    "auth": {"header": {"name": "Authorization", "prefix": "Bearer "}, "key_env": "ODD_KEY"},
    "tasks": {"generate": {"operation": "draw"}},
    "models": [],
    "operations": {
        "draw": {"tasks": ["generate"], "fields": {"prompt": {"means": "prompt"}}, "response": {"pictures": "/data/*", "url": "url"}}
    },
}
ANSWER = {
    "type": "object",
    "properties": {"data": {"type": "array", "items": {"type": "object", "properties": {"url": {"type": "string"}}}}},
}


def document(request: Any, answer: Any = ANSWER, *, version: str = "3.0.3", **further: Any) -> dict[str, Any]:
    """A document of one operation, `draw`."""
    operation = {
        "operationId": "draw",
        "requestBody": {"required": True, "content": {"application/json": {"schema": request}}},
        "responses": {"200": {"description": "Pictures.", "content": {"application/json": {"schema": answer}}}},
    }
    return {
        "openapi": version,
        "info": {"title": "Odd", "version": "1"},
        "paths": {"/draw": {"post": operation}},
        **further,
    }


def written(folder: Path, data: Any, name: str = "openapi.yaml", profile: dict[str, Any] | None = None) -> Path:
    folder.mkdir(exist_ok=True)
    text = json.dumps(data) if name.endswith(".json") else yaml.safe_dump(data, sort_keys=False)
    (folder / name).write_text(text, encoding="utf-8")
    (folder / "profile.yaml").write_text(yaml.safe_dump(PROFILE if profile is None else profile, sort_keys=False), encoding="utf-8")
    return folder


def opened(folder: Path, data: Any, **further: Any) -> Provider:
    return load_provider(str(written(folder, data, **further)))


PROMPTED = {"type": "object", "required": ["prompt"], "properties": {"prompt": {"type": "string"}}}


def judged(provider: Provider, body: Any) -> list[str]:
    """What the checker's judge says of an answer."""
    headers = [("content-type", "application/json")]
    return [
        f"{one.place} {one.message}"
        for one in judge_response(provider, "draw", status=200, headers=headers, body=json.dumps(body).encode())
    ]


@pytest.mark.parametrize("name", ["openapi.yaml", "api.yml", "v1.json", "The API.JSON"])
def test_a_document_is_found_under_any_name(tmp_path: Path, name: str) -> None:
    """The only document of a folder is the provider's, as YAML or JSON."""
    provider = opened(tmp_path / "odd", document(PROMPTED), name=name)
    assert provider.openapi.source.path.name == name
    assert lint(provider.folder) == []


def test_two_documents_want_a_choice(tmp_path: Path) -> None:
    """With several documents the profile says which; without that, both are named."""
    folder = written(tmp_path / "odd", document(PROMPTED), name="a.yaml")
    (folder / "b.json").write_text(json.dumps(document(PROMPTED)), encoding="utf-8")
    with pytest.raises(SpecError, match=r"several API documents: a\.yaml, b\.json"):
        load_provider(str(folder))
    assert "a.yaml, b.json" in str(lint(folder)[0])
    written(folder, document(PROMPTED), name="a.yaml", profile={**PROFILE, "openapi": "b.json"})
    assert load_provider(str(folder)).openapi.source.path.name == "b.json"


def test_swagger_is_refused_with_a_converter(tmp_path: Path) -> None:
    """Swagger 2.0 is named as what it is, with something that converts it, by lint and by the loader in the same words."""
    folder = written(tmp_path / "odd", {"swagger": "2.0", "info": {}, "paths": {}})
    with pytest.raises(SpecError, match="swagger2openapi") as caught:
        load_provider(str(folder))
    assert caught.value.exit_code == 2
    assert caught.value.what in {problem.message for problem in lint(folder)}


def test_references_to_other_files_of_the_folder(tmp_path: Path) -> None:
    """Schemas, parameters and whole paths may stand in other files, which refer on; a problem there names that file."""
    folder = tmp_path / "odd"
    (folder / "parts").mkdir(parents=True)
    (folder / "parts" / "image.yaml").write_text("Picture:\n  type: object\n  properties:\n    url: {$ref: 'text.json#/Text'}\n")
    (folder / "parts" / "text.json").write_text('{"Text": {"type": "string"}}')
    data = document(PROMPTED, {"type": "object", "properties": {"data": {"type": "array", "items": {"$ref": "parts/image.yaml#/Picture"}}}})
    provider = opened(folder, data)
    assert lint(folder) == []
    assert judged(provider, {"data": [{"url": "https://a.example"}]}) == []
    assert judged(provider, {"data": [{"url": 7}]}) == ["/data/0/url is the number 7, documented is string"]
    before = provider.spec_digest
    (folder / "parts" / "text.json").write_text('{"Text": {"type": "strong"}}')
    problem = lint(folder)[0]
    assert problem.file.endswith("text.json")
    assert "strong" in problem.message
    assert OpenApi(read_openapi(folder / "openapi.yaml").files).digest != before


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ("../secret.yaml#/A", "leads out of the provider's folder"),
        ("https://example.com/a.yaml", "is an address"),
        ("missing.yaml#/A", "there is no missing.yaml"),
        ("#/components/schemas/Nothing", "points to nothing in this file"),
    ],
)
def test_a_reference_that_leads_nowhere(tmp_path: Path, reference: str, said: str) -> None:
    """Lint and loader say the same of it, at its line."""
    (tmp_path / "secret.yaml").write_text("A: {type: string}\n")
    folder = written(tmp_path / "odd", document({"$ref": reference}))
    with pytest.raises(SpecError, match=said) as caught:
        load_provider(str(folder))
    assert caught.value.line
    assert [problem.line for problem in lint(folder) if said in problem.message] == [caught.value.line]


def test_what_is_not_used_is_left_alone(tmp_path: Path) -> None:
    """Of hundreds of operations the profile names one: the others may be as broken as they like."""
    data = document(PROMPTED, openapi="3.0.3")
    for number in range(300):
        broken = {"requestBody": {"content": {"application/json": {"schema": {"$ref": f"#/components/schemas/Gone{number}"}}}}}
        data["paths"][f"/other/{number}"] = {"post": broken, "get": {"operationId": "same", "responses": None}}
    provider = opened(tmp_path / "odd", data)
    assert list(provider.openapi.operations) == ["draw"]
    assert lint(provider.folder) == []
    assert provider.openapi.methods("/other/7") == {"GET", "POST"}


def test_an_operation_without_an_id_gets_one(tmp_path: Path) -> None:
    """Method and path make it."""
    data = document(PROMPTED)
    del data["paths"]["/draw"]["post"]["operationId"]
    data["paths"]["/v1/{deployment-id}/draw"] = data["paths"].pop("/draw")
    openapi = read_openapi(written(tmp_path / "odd", data) / "openapi.yaml")
    assert list(openapi.operations) == ["post_v1_deployment_id_draw"]
    assert openapi.operations["post_v1_deployment_id_draw"].path_parameters == {"deployment-id": {"type": "string"}}


@pytest.mark.parametrize("wrapped", [False, True])
def test_null_where_3_0_calls_it_nullable(tmp_path: Path, wrapped: bool) -> None:
    """A null in a `nullable` field is valid for both judges, also where the type stands in a reference or in an `allOf`."""
    field = (
        {"nullable": True, "allOf": [{"$ref": "#/components/schemas/Word"}]}
        if wrapped
        else {"type": "string", "nullable": True, "enum": ["a"]}
    )
    answer = {"type": "object", "properties": {"data": {"type": "array", "nullable": True}, "word": field}}
    data = document(PROMPTED, answer, components={"schemas": {"Word": {"type": "string", "enum": ["a"]}}})
    provider = opened(
        tmp_path / "odd",
        data,
        profile={**PROFILE, "operations": {"draw": {**PROFILE["operations"]["draw"], "response": {"pictures": "/data/*", "url": ""}}}},
    )
    assert judged(provider, {"data": None, "word": None}) == []
    assert judged(provider, {"word": "b"})
    schema = provider.operation("draw").response_schema(200)
    assert jsonschema_rs.Draft202012Validator(schema).is_valid({"data": None, "word": None})


def test_a_boolean_exclusive_minimum(tmp_path: Path) -> None:
    """3.0's `exclusiveMinimum: true` means that the minimum itself is not allowed."""
    number = {"type": "number", "minimum": 0, "exclusiveMinimum": True, "maximum": 1, "exclusiveMaximum": False}
    provider = opened(tmp_path / "odd", document({**PROMPTED, "properties": {**PROMPTED["properties"], "cfg": number}}))
    assert provider.operation("draw").properties["cfg"] == {"type": "number", "exclusiveMinimum": 0, "maximum": 1}


def test_an_enum_that_says_a_value_twice(tmp_path: Path) -> None:
    """It says it once."""
    provider = opened(
        tmp_path / "odd", document({**PROMPTED, "properties": {**PROMPTED["properties"], "size": {"enum": ["a", "b", "a", 1, True]}}})
    )
    assert provider.operation("draw").properties["size"] == {"enum": ["a", "b", 1, True]}
    assert lint(provider.folder) == []


def test_media_types_with_parameters_and_several(tmp_path: Path) -> None:
    """`application/json; charset=utf-8` is JSON; of several types the profile may name the one to write."""
    data = document(PROMPTED)
    body = data["paths"]["/draw"]["post"]["requestBody"]
    body["content"] = {
        "text/plain": {"schema": {}},
        "Application/JSON; charset=utf-8": {"schema": PROMPTED},
        "multipart/form-data": {"schema": PROMPTED},
    }
    assert opened(tmp_path / "odd", data).operation("draw").request_media_type == "application/json"
    profile = {**PROFILE, "operations": {"draw": {**PROFILE["operations"]["draw"], "media_type": "multipart/form-data"}}}
    assert opened(tmp_path / "form", data, profile=profile).operation("draw").request_media_type == "multipart/form-data"


def test_parameters_of_path_query_and_header(tmp_path: Path) -> None:
    """They are known by where they go; a path's own hold for its operations, which may say them anew."""
    data = document(
        PROMPTED, components={"parameters": {"v": {"in": "query", "name": "api-version", "required": True, "schema": {"default": "1"}}}}
    )
    item = data["paths"].pop("/draw")
    data["paths"]["/d/{deployment-id}/draw"] = {
        **item,
        "parameters": [{"$ref": "#/components/parameters/v"}, {"in": "header", "name": "X-Team", "schema": {"type": "string"}}],
    }
    operation = opened(tmp_path / "odd", data).operation("draw")
    assert list(operation.query_parameters) == ["api-version"]
    assert list(operation.header_parameters) == ["X-Team"]
    assert operation.required_parameters == {("query", "api-version"), ("path", "deployment-id")}


def test_server_urls(tmp_path: Path) -> None:
    """Variables stand at their defaults, a path stays, an empty one is none."""
    servers = [{"url": "https://{region}.odd.example/v1/", "variables": {"region": {"default": "eu"}}}, {"url": ""}, {"url": "/api"}]
    assert opened(tmp_path / "odd", document(PROMPTED, servers=servers)).operation("draw").servers == ("https://eu.odd.example/v1", "/api")


def discriminated(mapping: dict[str, str] | None, *, enums: bool) -> dict[str, Any]:
    def variant(name: str) -> dict[str, Any]:
        kind = {"type": "string", "enum": [name]} if enums else {"type": "string"}
        return {"type": "object", "required": ["type", name], "properties": {"type": kind, name: {"type": "string"}}}

    one_of: dict[str, Any] = {"oneOf": [{"$ref": "#/components/schemas/Base64"}, {"$ref": "#/components/schemas/Address"}]}
    one_of["discriminator"] = {"propertyName": "type", **({"mapping": mapping} if mapping else {})}
    answer = {"type": "object", "properties": {"data": {"type": "array", "items": one_of}}}
    profile_url = {"schemas": {"Base64": variant("b64_json"), "Address": variant("url")}}
    return document(PROMPTED, answer, version="3.1.0", components=profile_url)


@pytest.mark.parametrize("mapping", [None, {"b64_json": "Base64", "url": "#/components/schemas/Address"}])
@pytest.mark.parametrize("enums", [True, False])
def test_alternatives_with_a_discriminator(tmp_path: Path, mapping: dict[str, str] | None, enums: bool) -> None:
    """A conforming answer passes, with or without mapping; what is wrong is said of the alternative that is meant."""
    provider = opened(tmp_path / "odd", discriminated(mapping, enums=enums))
    assert judged(provider, {"data": [{"type": "url", "url": "https://a.example"}, {"type": "b64_json", "b64_json": "aaaa"}]}) == []
    if enums or mapping:
        assert judged(provider, {"data": [{"type": "url", "b64_json": "aaaa"}]}) == ["/data/0 lacks url"]
        assert judged(provider, {"data": [{"type": "pdf", "url": "x"}]}) == [
            "/data/0 has a type of which there is none among the 2 alternatives"
        ]
    assert judged(provider, {"data": [{"url": "https://a.example"}]}) == [
        "/data/0 lacks type, which says which of the 2 alternatives it is"
    ]


def test_parts_of_a_request_add_up() -> None:
    """`allOf` of objects is one object; alternatives have the properties of all, and require what all do."""
    whole = body_schema({"allOf": [PROMPTED, {"properties": {"n": {"type": "integer"}}, "required": ["n"]}]})
    assert whole["required"] == ["prompt", "n"]
    assert list(whole["properties"]) == ["prompt", "n"]
    either = body_schema({"oneOf": [PROMPTED, {"properties": {"prompt": {}, "image": {}}, "required": ["prompt", "image"]}]})
    assert (either["required"], list(either["properties"])) == (["prompt"], ["prompt", "image"])


def test_or_null_is_part_of_the_type() -> None:
    """What frameworks write as `anyOf` with null is found as a type by whoever looks for one."""
    plain = body_schema({"properties": {"seed": {"anyOf": [{"type": "integer", "minimum": 1}, {"type": "null"}], "title": "Seed"}}})[
        "properties"
    ]["seed"]
    assert (type_of(plain), allows_null(plain), plain["minimum"], plain["title"]) == ("integer", True, 1, "Seed")


def test_what_is_left_aside_is_noted(tmp_path: Path) -> None:
    """Callbacks, and patterns that only another regular expression engine knows, do not stand in the way, and are said."""
    request = {**PROMPTED, "properties": {"prompt": {"type": "string", "pattern": "(?<a>x)\\K(?P>a)"}}}
    data = document(request)
    data["paths"]["/draw"]["post"]["callbacks"] = {
        "done": {"{$request.body#/url}": {"post": {"responses": {"200": {"description": "ok"}}}}}
    }
    folder = written(tmp_path / "odd", data)
    load_provider(str(folder))
    assert sorted((note.key or "").rpartition(".")[2] for note in notes(folder)) == ["callbacks", "pattern"]


@pytest.mark.parametrize("old", [True, False], ids=["3.0", "3.1"])
def test_what_is_no_list_of_names_is_left_aside(tmp_path: Path, old: bool) -> None:
    """`required: null` and `properties: null` say nothing; what is left aside is noted by place, and the document stays usable."""
    request = {"allOf": [PROMPTED, {"required": None, "properties": None}], "required": [7]}
    folder = written(tmp_path / "odd", document(request, version="3.0.3" if old else "3.1.0"))
    assert load_provider(str(folder)).operation("draw").properties
    assert {(note.key or "").rpartition(".")[2] for note in notes(folder)} == {"required", "properties"}


@pytest.mark.parametrize(
    "text",
    [
        "", "[]", "7", "openapi: 3.0.0", "openapi: 3.1.0\npaths: 7", "openapi: 3.1.0\npaths: {/a: 7, /b: {post: 8}}", "a: &a [*a]",
        "openapi: 3.0.0\npaths: {/draw: {post: {operationId: draw, parameters: [7, {name: x}], requestBody: {content: 7}}}}",
        "openapi: 3.0.0\npaths: {/draw: {post: {operationId: draw, requestBody: {content: {application/json: {schema: 7}}}}}}",
        "openapi: 3.0.0\npaths: {/draw: {post: {operationId: draw, responses: [1]}}}", "x: !!int abc", "{\"a\": \"\\ud800\"}",
        "openapi: 3.0.0\npaths: {/draw: {$ref: '#/paths/~1draw'}}", "\t", "a: " + "[" * 400, "openapi: 4.0.0",
        "openapi: 3.0.0\ncomponents: {schemas: {A: {$ref: '#/components/schemas/A'}}}\n"
        "paths: {/draw: {post: {operationId: draw, requestBody: {content: {application/json: {schema: {$ref: '#/components/schemas/A'}}}}}}}",
    ],
)  # fmt: skip
def test_no_document_ends_in_a_traceback(tmp_path: Path, text: str) -> None:
    """Whatever stands in the file, lint says what is wrong, and the loader refuses it as a mistake in a file, in words that lint has too."""
    folder = written(tmp_path / "odd", {})
    (folder / "openapi.yaml").write_text(text, encoding="utf-8", errors="surrogatepass")
    problems = lint(folder)
    assert problems
    with pytest.raises(SpecError) as caught:
        load_provider(str(folder))
    assert caught.value.what in {problem.message for problem in problems}


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.sampled_from(["string", "array", "object", "#/components/schemas/A", "x", "", 10**9, float("inf")]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(
        ["$ref", "type", "properties", "items", "allOf", "oneOf", "anyOf", "nullable", "enum", "discriminator", "required", "schema",
         "content", "application/json", "200", "parameters", "name", "in", "default", "exclusiveMinimum", "minimum", "pattern",
         "const", "minItems", "multipleOf", "mapping", "propertyName", "tags"]
    ), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(request=JSON, answer=JSON, parameters=JSON, old=st.booleans())
def test_no_generated_document_ends_in_a_traceback(tmp_path: Path, request: Any, answer: Any, parameters: Any, old: bool) -> None:
    """Generated rubbish where schemas and parameters belong: refused with a place, or usable by both judges."""
    data = document(request, answer, version="3.0.3" if old else "3.1.0", components={"schemas": {"A": answer}})
    data["paths"]["/draw"]["post"]["parameters"] = parameters
    folder = written(tmp_path / "odd", data)
    load_provider.__globals__["_load"].cache_clear()
    lint(folder)
    with suppress(SpecError, UsageError):
        propose(read_document(folder / "openapi.yaml"), "odd", DocumentAnswers())
    try:
        provider = load_provider(str(folder)).for_model("x")
    except SpecError:
        return
    assert all(line.startswith(("/", " ")) for line in judged(provider, {"data": []}))
    assert provider.operation("draw").properties is not None


def test_a_list_is_made_no_longer_than_a_thousand() -> None:
    """However many items a document asks for, nobody waits for a gigabyte of them; such a list is not made at all."""
    assert len(made_up_value({"type": "array", "items": {"type": "integer"}, "minItems": 3})) == 3
    assert not isinstance(made_up_value({"type": "array", "items": {"type": "integer"}, "minItems": 10**12}), list)


@pytest.mark.parametrize(
    ("schema", "kind"),
    [
        ({"enum": [1, 4, 100]}, "integer"),
        ({"enum": ["a", None]}, "string"),
        ({"const": True}, "boolean"),
        ({"enum": [1, "a"]}, None),
        ({"enum": []}, None),
        ({"enum": [None]}, None),
        ({"type": "number", "enum": [1]}, "number"),
        ({"enum": [[1]]}, None),
    ],
)
def test_what_a_schema_lists_says_its_type(schema: dict[str, Any], kind: str | None) -> None:
    """A list of whole numbers is of integers, though no type is named."""
    assert type_of(schema) == kind
