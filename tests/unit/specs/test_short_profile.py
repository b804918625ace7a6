"""A profile says what the document does not: everything else is recognised by names, formats and descriptions."""

from __future__ import annotations

import copy
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from testcard.harness.wire.decode import told
from testcard.harness.wire.model import AsyncTask
from testcard.specs.errors import SpecError
from testcard.specs.errors_recognised import success_word
from testcard.specs.lint import lint
from testcard.specs.loader import bundled_ids, load_provider
from testcard.specs.profile import AsyncProtocol, Profile
from testcard.specs.recognition import field_data, picture_places
from testcard.specs.tasks_recognised import _reference, _state, states_of

OPENAI_KIND: dict[str, Any] = {
    "openapi": "3.0.3",
    "info": {"title": "Sixth", "version": "1"},
    "servers": [{"url": "https://api.sixth.example/v1"}],
    "security": [{"key": []}],
    "paths": {
        "/images/generations": {
            "post": {
                "operationId": "createImage",
                "requestBody": {
                    "required": True,
                    "content": {
                        "application/json": {
                            "schema": {
                                "type": "object",
                                "required": ["prompt", "model"],
                                "properties": {
                                    "prompt": {"type": "string"},
                                    "model": {"type": "string", "enum": ["six-1", "six-2"]},
                                    "n": {"type": "integer", "minimum": 1, "maximum": 4, "default": 1},
                                    "size": {"type": "string", "enum": ["1024x1024", "512x512"]},
                                    "quality": {"type": "string", "enum": ["high", "low"]},
                                    "response_format": {"type": "string", "enum": ["url", "b64_json"]},
                                    "seed": {"type": "integer", "nullable": True},
                                    "image": {"type": "string", "description": "A data URL of the picture to start from."},
                                    "colour": {"type": "string"},
                                },
                            }
                        }
                    },
                },
                "responses": {
                    "200": {
                        "description": "Pictures.",
                        "content": {
                            "application/json": {
                                "schema": {
                                    "type": "object",
                                    "required": ["created", "data"],
                                    "properties": {
                                        "created": {"type": "integer"},
                                        "data": {
                                            "type": "array",
                                            "items": {
                                                "type": "object",
                                                "properties": {"url": {"type": "string"}, "b64_json": {"type": "string"}},
                                            },
                                        },
                                        "usage": {
                                            "type": "object",
                                            "properties": {"input_tokens": {"type": "integer"}, "total_tokens": {"type": "integer"}},
                                        },
                                    },
                                }
                            }
                        },
                    },
                    "400": {
                        "description": "Refused.",
                        "content": {
                            "application/json": {
                                "schema": {
                                    "type": "object",
                                    "properties": {
                                        "error": {
                                            "type": "object",
                                            "properties": {"message": {"type": "string"}, "code": {"type": "string"}},
                                        }
                                    },
                                }
                            }
                        },
                    },
                },
            }
        }
    },
    "components": {"securitySchemes": {"key": {"type": "apiKey", "in": "header", "name": "X-Key"}}},
}
SHORT = "schema: testcard.profile/1\nid: sixth\noperations: [createImage]\n"


def opened(folder: Path, profile: str = SHORT, document: dict[str, Any] | None = None) -> Profile:
    folder.mkdir(exist_ok=True)
    (folder / "openapi.yaml").write_text(yaml.safe_dump(document or OPENAI_KIND, sort_keys=False), encoding="utf-8")
    (folder / "profile.yaml").write_text(profile, encoding="utf-8")
    load_provider.__globals__["_load"].cache_clear()
    return load_provider(str(folder)).profile


def test_three_lines_are_a_profile(tmp_path: Path) -> None:
    """A provider of the usual kind needs its operations named; key, address, models, fields, pictures and errors stand in its document."""
    profile = opened(tmp_path / "sixth")
    assert lint(tmp_path / "sixth") == []
    assert (profile.name, profile.document, profile.base_urls) == ("Sixth", "openapi.yaml", ("https://api.sixth.example/v1",))
    assert profile.auth.header is not None
    assert (profile.auth.header.name, profile.auth.key_env) == ("X-Key", "SIXTH_API_KEY")
    assert [model.id for model in profile.models] == ["six-1", "six-2"]
    assert {task: default.operation for task, default in profile.tasks.items()} == {"generate": "createImage", "edit": "createImage"}
    entry = profile.operations["createImage"]
    assert {name: field.means for name, field in entry.fields.items()} == {
        "prompt": "prompt", "model": "model", "n": "n", "size": "size", "quality": "quality", "response_format": "delivery", "seed": "seed",
        "image": "image", "colour": "other",
    }  # fmt: skip
    assert (entry.fields["size"].cheapest, entry.fields["quality"].cheapest, entry.fields["n"].cheapest) == ("512x512", "low", 1)
    assert entry.fields["response_format"].values == {"base64": "b64_json"}
    assert entry.fields["image"].format == "data-url"
    assert entry.needs == {"edit": ("image",)}
    assert (entry.response.pictures, entry.response.base64, entry.response.url) == ("/data/*", "b64_json", "url")
    assert entry.response.usage == {"prompt_tokens": "/usage/input_tokens", "total_tokens": "/usage/total_tokens"}
    assert (profile.errors.message, profile.errors.code) == (("/error/message",), ("/error/code",))


def test_what_the_profile_says_stands(tmp_path: Path) -> None:
    """A meaning that it gives replaces what was recognised; anything else is added to it."""
    profile = opened(
        tmp_path / "sixth",
        SHORT.replace("operations: [createImage]", "operations:\n  createImage:\n    fields:\n      colour: style\n      size: {may_refuse: [512x512], cheapest: 1024x1024}\n")
        + "models: [six-2]\nname: Six\n",
    )  # fmt: skip
    fields = profile.operations["createImage"].fields
    assert (fields["colour"].means, fields["size"].means, fields["size"].cheapest) == ("style", "size", "1024x1024")
    assert fields["seed"].means == "seed"
    assert ([model.id for model in profile.models], profile.name) == (["six-2"], "Six")


def test_a_mistake_in_a_short_profile_has_its_line(tmp_path: Path) -> None:
    """Unknown words are told with their line."""
    with pytest.raises(SpecError, match="did you mean style") as caught:
        opened(tmp_path / "a", SHORT.replace("[createImage]", "\n  createImage:\n    fields: {colour: styel}"))
    assert caught.value.line == 5


def test_a_document_without_an_address_needs_none_in_the_profile(tmp_path: Path) -> None:
    """Where every user has a server of their own, the base URL comes with the command."""
    assert opened(tmp_path / "b", document={**OPENAI_KIND, "servers": [{"url": "/v1"}]}).base_urls == ()


@pytest.mark.parametrize("provider", bundled_ids())
def test_what_is_said_in_full_stays_as_it_is(provider: str, tmp_path: Path) -> None:
    """A profile that says everything, as a bundled one is once it is completed, gets nothing added."""
    loaded = load_provider(provider)
    shutil.copytree(loaded.folder, tmp_path / provider)
    whole = loaded.profile.model_dump(mode="json", by_alias=True, exclude_unset=True)
    (tmp_path / provider / "profile.yaml").write_text(yaml.safe_dump(whole, sort_keys=False), encoding="utf-8")
    assert load_provider(str(tmp_path / provider)).profile == loaded.profile


@pytest.mark.parametrize(
    ("name", "schema", "expected"),
    [
        ("numInferenceSteps", {"type": "integer"}, {"means": "steps"}),
        ("num_images", {"type": ["integer", "null"], "maximum": 8}, {"means": "n", "cheapest": 1}),
        ("width", {"type": "integer", "minimum": 256, "multipleOf": 32, "maximum": 1440}, {"means": "width", "cheapest": 512}),
        ("height", {"type": "integer", "minimum": 600, "multipleOf": 8}, {"means": "height", "cheapest": 600}),
        ("size", {"type": "string", "enum": ["1024*1024", "720*1280"]}, {"means": "size", "cheapest": "720*1280"}),
        ("resolution", {"type": "string", "enum": ["1K", "4K"]}, {"means": "tier", "cheapest": "1K"}),
        ("aspect_ratio", {"type": "string", "enum": ["16x9", "1x1"]}, {"means": "aspect_ratio", "cheapest": "1x1"}),
        ("output_format", {"type": "string", "enum": ["image/png", "image/jpeg"]}, {"means": "format", "cheapest": "image/png"}),
        ("input_image_2", {"type": "string", "description": "Base64 encoded image or URL"}, {"format": "url-or-base64", "index": 1}),
        ("image", {"type": "string", "format": "binary"}, {"means": "image", "format": "file"}),
        ("image[]", {"type": "array", "items": {"type": "string", "format": "binary"}}, {"format": "file", "many": True}),
        ("image_url", {"type": "string", "format": "uri"}, {"means": "other"}),
        ("prompt", {"type": "object", "properties": {"text": {}}}, {"means": "other"}),
        ("seed", {"type": "string"}, {"means": "seed", "format": "text"}),
        ("format", {"type": "string", "enum": ["mp4", "gif"]}, {"means": "other"}),
    ],
)
def test_a_field_is_recognised(name: str, schema: dict[str, Any], expected: dict[str, Any]) -> None:
    """By its name in any spelling, then by what its schema lists and says."""
    found = field_data(name, schema)
    assert {key: found.get(key) for key in expected} == expected


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"properties": {"images": {"type": "array", "items": {"type": "string", "description": "base64"}}}}, {"pictures": "/images/*", "base64": ""}),
        ({"properties": {"image": {"type": "string", "description": "The picture in base64"}}}, {"pictures": "/image", "base64": ""}),
        ({"type": "array", "items": {"properties": {"url": {"type": "string"}}}}, {"pictures": "/*", "url": "url"}),
        ({"properties": {"url": {"type": "string"}, "status_url": {"type": "string"}}}, {"pictures": "", "url": "url"}),
        ({"properties": {"artifacts": {"items": {"properties": {"base64": {"type": "string"}, "seed": {"type": "integer"}}}}}}, {"pictures": "/artifacts/*", "base64": "base64", "item_seed": "seed"}),
        ({"properties": {"id": {"type": "string"}, "polling_url": {"type": "string"}}}, {}),
        ({"properties": {"images": {"type": "array", "items": {"type": "string"}, "description": "Data URLs: data:image/png;base64,…"}}}, {"pictures": "/images/*", "base64": "", "url": None, "data_url": True}),
        ({"properties": {"generations": {"items": {"properties": {"img": {"type": "string", "description": "A base64-encoded .webp file or a link to it."}}}}}}, {"pictures": "/generations/*", "base64": "img", "url": "img", "data_url": None}),
        ({"properties": {"images": {"type": "array", "items": {"type": "string"}}}}, {"pictures": "/images/*", "base64": "", "url": "", "default_delivery": "url"}),
        ({"properties": {"images": {"type": "array", "items": {"type": "string", "format": "uri"}}}}, {"pictures": "/images/*", "base64": None, "url": ""}),
    ],
)  # fmt: skip
def test_pictures_are_found_in_an_answer(schema: dict[str, Any], expected: dict[str, Any]) -> None:
    """In lists, alone, at the root, below names that pictures have; not where an address leads elsewhere."""
    found = picture_places(schema)
    assert {key: found.get(key) for key in expected} == expected
    assert bool(found) is bool(expected)


def test_states_are_told_by_their_words() -> None:
    """A provider's words for how far a task is."""
    words = ["Task not found", "Pending", "Request Moderated", "Content Moderated", "Ready", "Error", "IN_PROGRESS", "IN_QUEUE", "canceled"]
    assert states_of(words) == {
        "failed": ["Task not found", "Error"],
        "queued": ["Pending", "IN_QUEUE"],
        "moderated": ["Request Moderated", "Content Moderated"],
        "completed": ["Ready"],
        "running": ["IN_PROGRESS"],
        "cancelled": ["canceled"],
    }


def test_a_required_limit_of_tokens_is_sent_as_the_document_states_it(tmp_path: Path) -> None:
    """Its default is a value that the document says; whether to stream has to be said by the profile."""
    (tmp_path / "profile.yaml").write_text("schema: testcard.profile/1\nid: limited\noperations: [ask]\n", encoding="utf-8")
    fields = {
        "messages": {"type": "array", "items": {"type": "object"}},
        "max_tokens": {"type": "integer", "default": 64},
        "stream": {"type": "boolean"},
    }
    body = {"schema": {"type": "object", "required": ["messages", "max_tokens"], "properties": fields}}
    ask: dict[str, Any] = {"operationId": "ask", "responses": {"200": {"description": "ok"}}}
    ask["requestBody"] = {"required": True, "content": {"application/json": body}}
    document = {"openapi": "3.1.0", "info": {"title": "T", "version": "1"}, "paths": {"/ask": {"post": ask}}}
    (tmp_path / "openapi.yaml").write_text(yaml.safe_dump(document), encoding="utf-8")
    assert lint(tmp_path) == []
    body["schema"]["required"] = ["messages", "stream"]
    (tmp_path / "openapi.yaml").write_text(yaml.safe_dump(document), encoding="utf-8")
    assert [problem.key for problem in lint(tmp_path)] == ["operations.ask.fields.stream"]


@pytest.mark.parametrize("media_type", ["application/json", "text/event-stream"])
def test_a_field_asks_for_a_stream_where_the_document_has_one(tmp_path: Path, media_type: str) -> None:
    """Without a documented event stream nobody asks for one: its media type would be held against the server."""
    document = copy.deepcopy(OPENAI_KIND)
    operation = document["paths"]["/images/generations"]["post"]
    operation["requestBody"]["content"]["application/json"]["schema"]["properties"]["stream"] = {"type": "boolean"}
    operation["responses"]["200"]["content"].setdefault(media_type, {"schema": {"type": "string"}})
    profile = opened(tmp_path / "p", document=document)
    assert profile.operations["createImage"].fields["stream"].means == ("stream" if media_type == "text/event-stream" else "other")


@pytest.mark.parametrize(
    ("properties", "expected"),
    [
        ({"code": {"type": "integer", "description": "0 means success."}, "msg": {"type": "string"}}, ("/code", (0,))),
        ({"code": {"type": "integer", "enum": [200, 401, 402]}, "msg": {"type": "string"}}, ("/code", (200,))),
        ({"code": {"type": "string", "example": "00000"}, "message": {"type": "string"}}, ("/code", ())),
        ({"success": {"type": "boolean"}, "errors": {"type": "array", "items": {"type": "object"}}}, ("/success", (True,))),
        (
            {
                "base_resp": {
                    "type": "object",
                    "properties": {"status_code": {"type": "integer", "example": 0}, "status_msg": {"type": "string"}},
                }
            },
            ("/base_resp/status_code", (0,)),
        ),
        (
            {"errno": {"type": "integer", "description": "Any value other than 0 is an error."}, "errmsg": {"type": "string"}},
            ("/errno", (0,)),
        ),
        ({"code": {"type": "integer"}}, None),
        ({"success": {"type": "boolean", "enum": [True]}}, None),
        ({"code": {"type": "integer", "const": 0}, "msg": {"type": "string"}}, None),
        ({"error": {"type": "object", "properties": {"code": {"type": "integer"}, "message": {"type": "string"}}}}, None),
        ({"status": {"type": "string", "enum": ["success", "failed"]}}, None),
    ],
)
def test_what_tells_an_error_in_a_success_is_recognised(
    properties: dict[str, Any], expected: tuple[str, tuple[Any, ...]] | None, tmp_path: Path
) -> None:
    """A code beside words, or a flag; a task's state, an error's own place and a code without words are none."""
    document = copy.deepcopy(OPENAI_KIND)
    answers = document["paths"]["/images/generations"]["post"]["responses"]["200"]["content"]["application/json"]["schema"]
    answers["properties"] |= properties
    told = opened(tmp_path / "sixth", document=document).errors.success
    word = success_word(load_provider(str(tmp_path / "sixth")).operation("createImage"))
    assert (None if word is None else (word.at, word.values)) == expected
    assert (None if told is None else (told.at, told.values)) == (expected if expected and expected[1] else None)


def test_a_task_may_be_over_by_a_flag() -> None:
    """Where no word says how far a task is, `done` does; what stands at an error's place then says whether it failed."""
    answer = {"type": "object", "properties": {"done": {"type": "boolean"}, "finished": {"type": "integer"}, "error": {"type": "object"}}}
    assert _state(answer) == ("/done", {"completed": [True], "running": [False]})
    protocol = AsyncProtocol.model_validate({"state": "/done", "states": {"completed": True, "running": False}})
    assert (protocol.phase("true"), protocol.phase("false"), protocol.phase("yes")) == ("completed", "running", None)
    assert (protocol.word("completed"), protocol.word("running")) == (True, False)
    for state, error, phase in (
        ("true", None, "completed"),
        ("true", {"code": 5}, "failed"),
        ("false", True, "failed"),
        ("false", False, "running"),
    ):
        assert told(protocol, AsyncTask("1", state, error=error)).phase == phase


def test_a_reference_is_known_by_its_description(tmp_path: Path) -> None:
    """Whatever it is called."""
    assert _reference([(("result",), {"type": "string", "description": "Task id"})]) == ("result",)
    assert _reference([(("ticket",), {"type": "string", "description": "The ID of the job."})]) == ("ticket",)
    assert _reference([(("result",), {"type": "string", "description": "The outcome"})]) is None
