"""Whatever small document comes: what lint accepts, its own mock keeps, in the eyes of the check."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from testcard.harness.selftest.mock_runs import full_plan, judge_mock
from testcard.specs.lint import lint
from testcard.specs.loader import load_provider

#: Documents that are tried; more of them with TESTCARD_GENERATED_DOCUMENTS=200.
EXAMPLES = int(os.environ.get("TESTCARD_GENERATED_DOCUMENTS", "6"))

TEXT: dict[str, Any] = {"type": "string"}
#: Fields by name, with the schemas that an API may give them.
FIELDS: dict[str, list[dict[str, Any]]] = {
    "n": [{"type": "integer", "minimum": 1, "maximum": 4, "default": 1}, {"type": "integer", "default": 2}, {"type": ["integer", "null"]}],
    "num_images": [{"type": "integer", "exclusiveMinimum": 0, "maximum": 3}],
    "size": [
        {"type": "string", "enum": ["256x256", "512x512"]},
        {"type": "string", "default": "512x512"},
        {"type": ["string", "null"], "enum": ["256x256", "auto", None], "default": "auto"},
        {"anyOf": [TEXT, {"type": "string", "enum": ["256x256", "512x512"]}]},
        {"type": "string", "enum": ["square_256x256", "wide_512x256"]},
        {"type": "string", "enum": ["1K", "2K"]},
    ],
    "width": [{"type": "integer", "minimum": 64, "maximum": 512, "multipleOf": 64}, {"type": "integer", "default": 256}],
    "height": [{"type": "integer", "minimum": 64, "maximum": 512, "multipleOf": 64}, {"type": "integer", "default": 256}],
    "aspectRatio": [
        {"type": "string", "enum": ["1:1", "16:9"], "default": "16:9"},
        {"type": "string", "enum": ["ASPECT_1_1", "ASPECT_9_16"]},
    ],
    "seed": [{"type": "integer"}, {"type": "integer", "minimum": 0, "maximum": 99}, {"oneOf": [{"type": "integer"}, {"type": "null"}]}],
    "guidanceScale": [{"type": "number", "minimum": 0, "maximum": 20, "default": 7.5}],
    "steps": [{"type": "integer", "minimum": 1, "maximum": 50}, {"type": "string", "pattern": "^[0-9]+$"}],
    "negative_prompt": [TEXT, {"type": ["string", "null"], "maxLength": 100}],
    "output_format": [
        {"type": "string", "enum": ["png", "jpeg"], "default": "jpeg"},
        {"type": "string", "enum": ["image/webp", "image/png"]},
    ],
    "response_format": [{"type": "string", "enum": ["url", "b64_json"]}, {"type": "string", "enum": ["b64_json"]}],
    "quality": [{"type": "string", "enum": ["low", "high"], "default": "high"}],
    "model": [TEXT, {"type": "string", "enum": ["m-1", "m-2"]}, {"type": "string", "default": "m-1"}],
    "image": [{"type": "string", "description": "A picture as base64."}, {"type": "string", "description": "A data URL."}],
    "enhance": [{"type": "boolean", "default": True}],
    "colour": [{"type": "object", "required": ["r"], "properties": {"r": {"type": "integer", "minimum": 0, "maximum": 255}}}],
    "kind": [{"type": "string", "enum": ["photo"]}, {"const": "photo"}],
    "webhook": [{"type": "string", "format": "uri"}],
}
ITEM: dict[str, Any] = {
    "b64_json": {"type": "object", "required": ["b64_json"], "properties": {"b64_json": TEXT, "url": {"type": ["string", "null"]}}},
    "url": {
        "type": "object",
        "properties": {"url": {"type": "string", "format": "uri"}, "seed": {"type": "integer"}, "nsfw": {"type": "boolean"}},
    },
    "both": {"type": "object", "properties": {"b64_json": TEXT, "url": TEXT}},
}


def _object(properties: dict[str, Any], required: tuple[str, ...] = ()) -> dict[str, Any]:
    return {"type": "object", "required": list(required), "properties": properties}


ANSWERS: list[dict[str, Any]] = [
    *(_object({"created": {"type": "integer"}, "data": {"type": "array", "items": item}}, ("created", "data")) for item in ITEM.values()),
    _object({"images": {"type": "array", "items": {"type": "string", "format": "byte"}}, "info": TEXT}, ("images", "info")),
    _object({"result": {"oneOf": [_object({"image": {"type": "string", "description": "base64"}}, ("image",)), {"type": "null"}]}}),
    {"type": "array", "items": ITEM["url"]},
    _object(
        {"output": {"type": "array", "items": {"type": "string", "format": "uri"}}, "id": {"type": "string", "format": "uuid"}}, ("id",)
    ),
    {
        "allOf": [
            _object({"ok": {"type": "boolean", "enum": [True]}}, ("ok",)),
            _object({"data": _object({"images": {"type": "array", "items": ITEM["url"]}})}),
        ]
    },
]
STATES = [
    ["queued", "running", "done", "failed"],
    ["PENDING", "SUCCEEDED", "FAILED", "CANCELED"],
    ["waiting", "ready", "error", "moderated"],
]


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    """An API with one operation that makes pictures, at once or as a task."""
    names = draw(st.lists(st.sampled_from(sorted(FIELDS)), unique=True, max_size=6))
    fields = {name: draw(st.sampled_from(FIELDS[name])) for name in names}
    required = tuple(name for name in names if name != "image" and draw(st.booleans()))
    body = _object(
        {"prompt": draw(st.sampled_from([TEXT, {"type": "string", "minLength": 1, "maxLength": 500}])), **fields}, ("prompt", *required)
    )
    media_type = draw(st.sampled_from(["application/json", "application/json", "multipart/form-data", "application/x-www-form-urlencoded"]))
    if media_type == "application/json" and draw(st.booleans()):
        body = _object({"input": body, "options": _object({"tiling": {"type": "boolean"}})}, ("input",))
    answer = draw(st.sampled_from(ANSWERS))
    operation: dict[str, Any] = {"operationId": "make", "requestBody": {"required": True, "content": {media_type: {"schema": body}}}}
    paths: dict[str, Any] = {"/v1/make": {"post": operation}}
    if draw(st.booleans()):
        operation["parameters"] = [
            {"name": "api-version", "in": "query", "required": True, "schema": {"type": "string", "default": "2026-01"}}
        ]
    refused = {
        "content": {
            "application/json": {
                "schema": _object({"error": _object({"message": TEXT, "code": {"type": ["string", "null"]}}, ("message",))})
            }
        }
    }
    if draw(st.integers(0, 3)) == 0:
        state = {"type": "string", "enum": draw(st.sampled_from(STATES))}
        accepted = _object({"task_id": TEXT, "status": state}, ("task_id",))
        operation["responses"] = {
            draw(st.sampled_from(["200", "201", "202"])): {"description": "a", "content": {"application/json": {"schema": accepted}}}
        }
        polled = answer if answer.get("type") == "object" else ANSWERS[0]
        polled = {**polled, "required": ["status"], "properties": {**polled["properties"], "status": state}}
        place = draw(st.sampled_from(["/v1/tasks/{task_id}", "/v1/tasks"]))
        parameter = {"name": "task_id", "in": "path" if "{" in place else "query", "required": True, "schema": TEXT}
        paths[place] = {
            "get": {
                "operationId": "ask",
                "parameters": [parameter],
                "responses": {"200": {"description": "a", "content": {"application/json": {"schema": polled}}}},
            }
        }
    elif draw(st.integers(0, 4)) == 0:
        operation["responses"] = {
            "200": {
                "description": "a",
                "content": {f"image/{kind}": {"schema": {"type": "string", "format": "binary"}} for kind in ("png", "jpeg", "webp")},
            }
        }
    else:
        operation["responses"] = {"200": {"description": "a", "content": {"application/json": {"schema": answer}}}}
    operation["responses"]["400"] = {"description": "no", **refused}
    schemes = {"key": draw(st.sampled_from([{"type": "http", "scheme": "bearer"}, {"type": "apiKey", "in": "header", "name": "X-Key"}]))}
    found: dict[str, Any] = {"openapi": "3.1.0", "info": {"title": "Generated", "version": "1"}, "paths": paths}
    return found | ({"security": [{"key": []}], "components": {"securitySchemes": schemes}} if draw(st.booleans()) else {})


def test_what_lint_accepts_its_own_mock_keeps(tmp_path_factory: Any) -> None:
    """For any document of these parts, with a profile that only lists its operations."""
    numbers = itertools.count()
    root: Path = tmp_path_factory.mktemp("generated")
    accepted = []

    @settings(max_examples=EXAMPLES, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
    @given(documents())
    def held(document: dict[str, Any]) -> None:
        folder = root / f"d{next(numbers)}"
        folder.mkdir()
        (folder / "openapi.json").write_text(json.dumps(document), encoding="utf-8")
        operations = [entry["operationId"] for item in document["paths"].values() for entry in item.values()]
        (folder / "profile.yaml").write_text(
            f"schema: testcard.profile/1\nid: generated\noperations: {operations}\n".replace("'", '"'), encoding="utf-8"
        )
        if lint(folder):
            return
        accepted.append(folder)
        verdicts = asyncio.run(judge_mock(full_plan(load_provider(str(folder)), 0), [])).verdicts
        assert [(one.rule, one.detail) for one in verdicts if one.verdict in ("fail", "deviates")] == []
        assert [(one.rule, one.detail) for one in verdicts if one.level == "must" and one.verdict in ("unproven", "not-run")] == []

    held()
    assert len(accepted) > EXAMPLES // 3
