"""Where a request may be of several kinds, the model (or the profile) says of which: check, mock and client then go by that one."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from testcard.harness.api import Client
from testcard.harness.errors import ContractViolation
from testcard.harness.selftest.mock_runs import full_plan, judge_mock
from testcard.harness.wire.contract import open_to
from testcard.harness.wire.fields import wire_fields
from testcard.harness.wire.model import TaskRequest
from testcard.mocks.app import create_app
from testcard.mocks.serving import serving
from testcard.specs.errors import SpecError
from testcard.specs.lint import lint
from testcard.specs.loader import Provider, load_provider
from testcard.specs.schemas import alternatives

TEXT: dict[str, Any] = {"type": "string"}
ANSWER = {
    "type": "object",
    "required": ["data"],
    "properties": {"data": {"type": "array", "items": {"type": "object", "required": ["b64_json"], "properties": {"b64_json": TEXT}}}},
}


def kind(models: list[str], required: tuple[str, ...] = (), **properties: Any) -> dict[str, Any]:
    """One kind of request: its models, its own fields and which of them it needs, and no others."""
    return {
        "type": "object",
        "required": ["model", "prompt", *required],
        "properties": {"model": {"type": "string", "enum": models}, "prompt": TEXT, **properties},
        "additionalProperties": False,
    }


LARGE = kind(
    ["large", "huge"], ("steps",), size={"type": "string", "enum": ["512x512", "1024x1024"]}, steps={"type": "integer", "default": 4}
)
SMALL = kind(["small"], size={"type": "string", "enum": ["256x256"]}, seed={"type": "integer"})
EDITING = kind(["editing"], ("image", "notes"), image={"type": "string", "format": "byte", "description": "base64"}, notes=TEXT)


def folder(root: Path, body: Any, profile: str = "operations: [draw]", **beside: Any) -> Path:
    """A provider whose one operation takes this body."""
    operation = {
        "operationId": "draw",
        "requestBody": {"required": True, "content": {"application/json": {"schema": body}}},
        "responses": {"200": {"description": "Pictures.", "content": {"application/json": {"schema": ANSWER}}}},
    }
    document = {"openapi": "3.1.0", "info": {"title": "Kinds", "version": "1"}, "paths": {"/draw": {"post": operation}}, **beside}
    root.mkdir(exist_ok=True)
    (root / "openapi.json").write_text(json.dumps(document), encoding="utf-8")
    (root / "profile.yaml").write_text(f"schema: testcard.profile/1\nid: kinds\n{profile}\n", encoding="utf-8")
    return root


def families(root: Path, profile: str = "operations: [draw]") -> Path:
    """A provider with three families of models, told apart by a discriminator with a mapping."""
    schemas = {"Editing": EDITING, "Large": LARGE, "Small": SMALL}
    body = {
        "oneOf": [{"$ref": f"#/components/schemas/{name}"} for name in schemas],
        "discriminator": {"propertyName": "model", "mapping": {"small": "#/components/schemas/Small"}},
    }
    return folder(root, body, profile, components={"schemas": schemas})


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Provider:
    """The families, as a profile of three lines has them."""
    place = families(tmp_path_factory.mktemp("families") / "kinds")
    assert lint(place) == []
    return load_provider(str(place))


def body(provider: Provider, **terms: Any) -> dict[str, Any]:
    """What a request for a boat sends."""
    return wire_fields(provider, TaskRequest(task="generate", prompt="a boat", **terms)).body


def test_a_model_is_asked_in_its_own_kind_of_request(provider: Provider) -> None:
    """Requests are of the first kind that a prompt is enough for; a model of another kind brings that one's fields and no others."""
    assert body(provider) == {"model": "large", "prompt": "a boat", "steps": 4}
    assert body(provider, model="huge", size=(512, 512)) == {"model": "huge", "prompt": "a boat", "size": "512x512", "steps": 4}
    assert body(provider, model="small", seed=3, size=(256, 256)) == {"model": "small", "prompt": "a boat", "size": "256x256", "seed": 3}
    with pytest.raises(ContractViolation, match="steps"):
        body(provider, model="small", steps=4)
    with pytest.raises(ContractViolation, match="seed"):
        body(provider, model="large", seed=4)


def test_models_of_all_kinds_are_known_but_for_those_that_need_what_nobody_says(provider: Provider) -> None:
    """The list is closed over all kinds; one that cannot be asked for is told by what it lacks."""
    assert provider.models("draw") == ("large", "huge", "small")
    assert open_to(provider, ["draw"], "editing") == ("draw",)
    with pytest.raises(SpecError, match="notes: is required, and neither file says what to send"):
        provider.for_model("editing")


def test_the_client_gets_a_picture_of_each_model(provider: Provider) -> None:
    """The mock takes each kind by its own rules, and refuses a mixture of two."""
    with serving(create_app([provider])) as url, Client(provider, base_url=url) as client:
        sizes = {"small": (256, 256), "huge": (512, 512)}
        assert [client.generate("a boat", model=model, size=size).pictures[0].width for model, size in sizes.items()] == [256, 512]
        mixed = {"model": "small", "prompt": "a boat", "steps": 4}
        answer = httpx.post(f"{url}/draw", json=mixed)
        assert answer.status_code == 400
        assert httpx.post(f"{url}/draw", json={**mixed, "model": "none"}).status_code == 400


@pytest.mark.parametrize("model", [None, "small"])
def test_a_check_holds_each_kind_to_its_own_fields(provider: Provider, model: str | None) -> None:
    """Nothing is broken on the provider's own mock, whichever kind is asked for."""
    verdicts = asyncio.run(judge_mock(full_plan(provider.for_model(model), 0), [])).verdicts
    assert [(one.rule, one.detail) for one in verdicts if one.verdict in ("fail", "deviates")] == []
    assert any(one.rule == "request.refuses-invalid" and one.verdict == "pass" for one in verdicts)


def test_a_profile_chooses_the_kind(tmp_path: Path) -> None:
    """By its model, its title or its schema's name; one that there is not is named with those that there are."""
    chosen = load_provider(str(families(tmp_path / "a", "operations: {draw: {alternative: small}}")))
    assert body(chosen) == {"model": "small", "prompt": "a boat"}
    wrong = families(tmp_path / "b", "operations: {draw: {alternative: medium}}")
    said = ["requests of draw are of no such kind; they are: large, editing, small" in str(one) for one in lint(wrong)]
    assert said == [True]
    with pytest.raises(SpecError, match="they are: large, editing, small"):
        load_provider(str(wrong))


def test_kinds_without_a_telling_value_go_by_title_or_number(tmp_path: Path) -> None:
    """A document need not say by a value which kind is meant."""
    plain = {"type": "object", "required": ["prompt"], "properties": {"prompt": TEXT}}
    titled = {"title": "From words", "type": "object", "required": ["words"], "properties": {"words": TEXT}}
    provider = load_provider(str(folder(tmp_path / "a", {"anyOf": [titled, plain]})))
    assert [one.name for one in provider.operation("draw").alternatives] == ["1", "From words"]
    named = folder(tmp_path / "b", {"anyOf": [titled, plain]}, "operations: {draw: {alternative: From words, fields: {words: prompt}}}")
    assert body(load_provider(str(named))) == {"words": "a boat"}


def test_what_only_bounds_a_request_is_no_kind_of_its_own() -> None:
    """`required` in alternatives says which fields go together; parts of a kind add up, the tighter bound holds."""
    bounded = {**LARGE, "anyOf": [{"required": ["size"]}, {"required": ["steps"]}]}
    assert alternatives(bounded) == []
    outer = {"properties": {"n": {"type": "integer", "maximum": 8, "enum": [1, 2, 4]}}}
    tight = [
        {"properties": {"n": {"type": "integer", "maximum": 4, "enum": [4, 2]}, "a": TEXT}},
        {"properties": {"b": TEXT}},
    ]
    first, second = alternatives({**outer, "oneOf": tight})
    assert first["properties"]["n"] == {"type": "integer", "maximum": 4, "enum": [2, 4]}
    assert list(second["properties"]) == ["n", "b"]


def test_a_body_that_is_a_list_of_one_object(tmp_path: Path) -> None:
    """It is sent as a list, read as one, and nothing else is taken."""
    place = folder(tmp_path / "kinds", {"type": "array", "minItems": 1, "items": {"oneOf": [EDITING, LARGE, SMALL]}})
    assert lint(place) == []
    provider = load_provider(str(place))
    with serving(create_app([provider])) as url, Client(provider, base_url=url) as client:
        assert client.generate("a boat", model="small", size=(256, 256)).pictures[0].width == 256
        good = {"model": "small", "prompt": "a boat"}
        assert httpx.post(f"{url}/draw", json=[good]).status_code == 200
        assert [httpx.post(f"{url}/draw", json=one).status_code for one in (good, [], [good, {"model": "small"}], [3])] == [400] * 4
    verdicts = asyncio.run(judge_mock(full_plan(provider, 0), [])).verdicts
    assert [(one.rule, one.detail) for one in verdicts if one.verdict in ("fail", "deviates")] == []


@pytest.mark.parametrize("schema", [{"type": "array", "items": TEXT}, TEXT])
def test_a_body_without_fields_is_refused_with_its_place(tmp_path: Path, schema: dict[str, Any]) -> None:
    """By lint and by the loader in the same words, at the line of the document."""
    place = folder(tmp_path / "kinds", schema)
    (problem,) = lint(place)
    assert "Testcard sends an object of fields, or a list of one such object" in problem.message
    assert problem.file.endswith("openapi.json")
    with pytest.raises(SpecError) as caught:
        load_provider(str(place))
    assert problem.message in str(caught.value)
    assert caught.value.exit_code == 2
