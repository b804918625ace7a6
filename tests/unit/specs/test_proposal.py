"""A profile is proposed from a document alone; what the document does not say is guessed and asked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from testcard.specs.completion import completed
from testcard.specs.errors import UsageError
from testcard.specs.errors_recognised import error_data
from testcard.specs.openapi import read_openapi
from testcard.specs.proposal import MOST_QUESTIONS, DocumentAnswers, Proposal, propose
from testcard.specs.reading import read_document


def document(folder: Path, paths: dict[str, Any], **beside: Any) -> Path:
    """A document with these paths."""
    path = folder / "openapi.json"
    path.write_text(json.dumps({"openapi": "3.1.0", "info": {"title": "T", "version": "1"}, "paths": paths, **beside}), encoding="utf-8")
    return path


def submit(properties: dict[str, Any], answer: Any, required: tuple[str, ...] = ("prompt",), **beside: Any) -> dict[str, Any]:
    """A POST that takes a prompt."""
    schema = {"type": "object", "required": list(required), "properties": {"prompt": {"type": "string"}, **properties}}
    content = {} if answer is None else {"content": {"application/json": {"schema": answer}}}
    return {
        "post": {
            "requestBody": {"content": {"application/json": {"schema": schema}}},
            "responses": {"200": {"description": "ok", **content}},
            **beside,
        }
    }


def proposed(folder: Path, paths: dict[str, Any], **answers: Any) -> Proposal:
    """The proposal for these paths."""
    return propose(read_document(document(folder, paths)), "mine", DocumentAnswers(**answers))


PICTURE = {"type": "object", "properties": {"images": {"type": "array", "items": {"type": "string", "format": "byte"}}}}


def test_only_operations_that_make_pictures_are_taken_up(tmp_path: Path) -> None:
    """Chat, video and settings stay out, however many there are."""
    others = {
        f"/v1/{name}": submit({}, {"type": "object", "properties": {"url": {"type": "string"}}})
        for name in ("videos", "audio/speech", "chat/completions")
    }
    found = proposed(tmp_path, {**others, "/v1/images": submit({}, PICTURE)})
    assert found.data["operations"] == ["post_v1_images"]


def test_what_the_document_does_not_say_is_asked_with_its_flag(tmp_path: Path) -> None:
    """A value that nobody gave, the model, the key's header, the address and the price are questions; answers replace the guesses."""
    paths = {
        "/{tenant}/images": submit({"model": {"type": "string"}, "account": {"type": "string"}}, PICTURE, ("prompt", "model", "account")),
    }
    asked = proposed(tmp_path, paths)
    assert [(one.flag, one.form) for one in asked.questions] == [
        ("--model", "ID"),
        ("--send", "account=VALUE"),
        ("--send", "tenant=VALUE"),
        ("--base-url", "URL"),
        ("--key-header", "'NAME: WORD'"),
        ("--price", "USD"),
    ]
    answered = proposed(
        tmp_path,
        paths,
        models=("m1",),
        send={"account": "a", "tenant": "t"},
        base_url="https://x.example",
        key_header=("X-Key", ""),
        usd_each=0.02,
    )
    assert answered.questions == ()
    entry = answered.data["operations"]["post_tenant_images"]
    assert entry == {"fields": {"account": {"means": "other", "send": "a"}}, "path": {"tenant": {"means": "other", "send": "t"}}}
    assert answered.data["models"] == ["m1"]
    assert answered.data["auth"] == {"header": {"name": "X-Key", "prefix": ""}, "key_env": "MINE_API_KEY"}


def test_a_task_without_words_for_its_states_is_asked_about(tmp_path: Path) -> None:
    """Where a poll's state is any text, the words are guessed and asked; so is the place of a picture of which nothing is said."""
    paths = {
        "/generate": submit({}, {"type": "object", "properties": {"id": {"type": "string"}}}, operationId="generate"),
        "/result": {
            "get": {
                "operationId": "result",
                "parameters": [{"name": "id", "in": "query", "required": True, "schema": {"type": "string"}}],
                "responses": {
                    "200": {
                        "description": "ok",
                        "content": {
                            "application/json": {"schema": {"type": "object", "properties": {"status": {"type": "string"}, "result": {}}}}
                        },
                    }
                },
            }
        },
    }
    found = proposed(tmp_path, paths)
    assert [one.flag for one in found.questions][:2] == ["--picture", "--states"]
    assert found.data["async"]["state"] == "/status"
    told = proposed(tmp_path, paths, picture=("url", "/result/sample"), states={"completed": ["Ready"], "failed": ["Error"]})
    assert told.data["operations"]["generate"]["response"] == {"pictures": "/result", "url": "sample", "default_delivery": "url"}
    assert told.data["async"]["states"] == {"completed": ["Ready"], "failed": ["Error"]}


def test_at_most_ten_questions(tmp_path: Path) -> None:
    """What is beyond ten keeps its guess unasked."""
    names = [f"field{number}" for number in range(15)]
    found = proposed(tmp_path, {"/images": submit({name: {"type": "string"} for name in names}, PICTURE, ("prompt", *names))})
    assert len(found.questions) == MOST_QUESTIONS
    assert set(found.data["operations"]["post_images"]["fields"]) == set(names)


def test_nothing_that_makes_pictures_is_said_with_the_next_step(tmp_path: Path) -> None:
    """The error names the operations that there are, and the flags."""
    with pytest.raises(UsageError, match="known to make pictures") as caught:
        proposed(tmp_path, {"/v1/things": submit({}, {"type": "object", "properties": {"ok": {"type": "boolean"}}})})
    assert "post_v1_things" in str(caught.value.hint)


def test_a_picture_that_only_an_address_names_is_left_out(tmp_path: Path) -> None:
    """An edit that a check could give no picture is named with the reason."""
    edit = submit({"image_url": {"type": "string", "description": "URL of a picture"}}, PICTURE, ("prompt", "image_url"))
    found = proposed(tmp_path, {"/images": submit({}, PICTURE), "/images/edits": edit})
    assert found.data["operations"] == ["post_images"]
    assert found.left_out == ("post_images_edits: image_url takes a picture by its address only",)


def test_a_default_response_is_no_success_where_another_status_is_documented(tmp_path: Path) -> None:
    """A task that is answered 201, with errors under `default`, is read from the 201."""
    state = {"type": "string", "enum": ["queued", "dreaming", "completed", "failed"]}
    assets = {"type": "object", "properties": {"image": {"type": "string", "format": "uri"}}}
    task = {"type": "object", "required": ["id", "state"], "properties": {"id": {"type": "string"}, "state": state, "assets": assets}}
    answers = {
        "201": {"description": "made", "content": {"application/json": {"schema": task}}},
        "default": {"description": "error", "content": {"application/json": {"schema": {"properties": {"detail": {"type": "string"}}}}}},
    }
    identity = [{"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}]
    poll = {"get": {"operationId": "getWork", "parameters": identity, "responses": {"200": answers["201"], "default": answers["default"]}}}
    made = submit({}, None)
    made["post"] |= {"operationId": "makeImage", "responses": answers}
    found = proposed(tmp_path, {"/generations": made, "/generations/{id}": poll})
    assert found.data["operations"] == ["makeImage", "getWork"]
    assert "pictures at /assets/image; a task, asked about by getWork" in found.told[0]


def test_a_list_of_addresses_holds_the_pictures_whatever_it_is_called(tmp_path: Path) -> None:
    """A list of texts whose format says address needs no well-known name; the state beside it makes the answer a task."""
    answer = {"type": "object", "properties": {"generated": {"type": "array", "items": {"type": "string", "format": "uri"}}}}
    found = proposed(tmp_path, {"/images": submit({}, answer)})
    assert "pictures at /generated/*" in found.told[0]
    assert "--picture" not in [question.flag for question in found.questions]


def test_one_picture_in_one_of_two_fields_comes_in_the_way_that_the_document_makes_usual(tmp_path: Path) -> None:
    """`image` and `url` side by side are one picture in two ways; the default of the field that asks is the usual one."""
    answer = {"properties": {"image": {"type": "string", "format": "base64"}, "url": {"type": "string", "format": "uri"}}}
    asked = {"response_format": {"type": "string", "enum": ["url", "b64"], "default": "b64"}}
    path = document(tmp_path, {"/images": submit(asked, answer)})
    openapi = read_openapi(path)
    entry = completed({"schema": "testcard.profile/1", "id": "mine", "operations": list(openapi.operations)}, openapi, "mine")
    (operation,) = entry["operations"].values()
    assert {key: operation["response"][key] for key in ("pictures", "base64", "url", "default_delivery")} == {
        "pictures": "",
        "base64": "image",
        "url": "url",
        "default_delivery": "base64",
    }


def test_a_list_of_messages_beside_a_list_of_errors_is_not_where_an_error_says_why(tmp_path: Path) -> None:
    """An envelope with `messages` (notices) and `errors` has its reason in the errors, in whichever order they stand."""
    one = {"type": "object", "properties": {"code": {"type": "integer"}, "message": {"type": "string"}}}
    for notices in ({"type": "string"}, one):
        lists = {"messages": {"type": "array", "items": notices}, "errors": {"type": "array", "items": one}}
        refused = {"4XX": {"description": "no", "content": {"application/json": {"schema": {"type": "object", "properties": lists}}}}}
        made = submit({}, PICTURE)
        made["post"]["responses"] |= refused
        openapi = read_openapi(document(tmp_path, {"/images": made}))
        assert error_data(next(iter(openapi.operations.values())))["message"] == ["/errors/0/message"]


def test_a_model_that_is_required_further_in_is_asked_for(tmp_path: Path) -> None:
    """Wherever in the body it stands."""
    inner = {
        "type": "object",
        "required": ["model_name"],
        "properties": {"model_name": {"type": "string", "description": "Such as a.safetensors"}},
    }
    asked = proposed(tmp_path, {"/images": submit({"request": inner}, PICTURE, ("prompt", "request"))})
    assert [(one.flag, one.guess) for one in asked.questions if one.flag == "--model"] == [("--model", "model")]
    assert asked.data["models"] == ["model"]


def test_a_code_whose_success_nobody_tells_is_asked_about(tmp_path: Path) -> None:
    """The status alone tells until then."""
    answer = {
        **PICTURE,
        "properties": {**PICTURE["properties"], "code": {"type": "integer", "description": "Error codes"}, "message": {"type": "string"}},
    }
    asked = proposed(tmp_path, {"/images": submit({}, answer)})
    assert [(one.flag, one.form) for one in asked.questions if one.flag == "--success"] == [("--success", "/code=VALUE")]
    assert "errors" not in asked.data
    answered = proposed(tmp_path, {"/images": submit({}, answer)}, success=("/code", (0,)))
    assert answered.data["errors"] == {"success": {"at": "/code", "values": [0]}}
    assert not [one for one in answered.questions if one.flag == "--success"]


@pytest.mark.parametrize(
    "beside",
    [
        {"example": {"model": "m1", "account": "a", "box": {"w": 3}}},
        {"examples": {"first": {"value": {"prompt": "x"}}, "second": {"value": {"model": "m1", "account": "a", "box": {"w": 3}}}}},
    ],
)
def test_what_the_example_of_a_whole_request_shows_is_not_asked_for(tmp_path: Path, beside: dict[str, Any]) -> None:
    """The model and what means nothing to us, also an object; an example within the field's own schema goes first."""
    fields = {
        "model": {"type": "string"},
        "account": {"type": "string"},
        "box": {"type": "object", "required": ["w"], "properties": {"w": {"type": "integer"}}},
    }
    paths = {"/images": submit(fields, PICTURE, ("prompt", "model", "account", "box"))}
    assert [one.flag for one in proposed(tmp_path, paths).questions][:1] == ["--model"]
    paths["/images"]["post"]["requestBody"]["content"]["application/json"] |= beside
    found = proposed(tmp_path, paths)
    assert [one.flag for one in found.questions] == ["--base-url", "--key-header", "--price"]
    profile = completed(found.data, read_openapi(document(tmp_path, paths)), "mine")
    assert "m1" in [model["id"] for model in profile["models"]]
