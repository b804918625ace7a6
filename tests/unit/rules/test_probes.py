"""What rules ask for: requests inside the documented domain, the same every time, with stable keys."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from typing import Any

import pytest
import python_multipart
from jsonschema import Draft202012Validator

from testcard.harness.check.generation.plan import make_plan
from testcard.harness.pricing import Pricing
from testcard.harness.rules import probes
from testcard.harness.rules.promises import RULES
from testcard.harness.rules.rule import Probe
from testcard.harness.rules.scope import Scope
from testcard.harness.wire.encode import build, encode
from testcard.harness.wire.fields import wire_fields
from testcard.harness.wire.model import WireRequest
from testcard.specs.loader import bundled_ids, load_provider
from testcard.specs.openapi import Operation

SCOPES = [
    pytest.param(Scope(load_provider(name), operation), id=f"{name}-{operation}")
    for name in bundled_ids()
    for operation, profile in load_provider(name).profile.operations.items()
    if profile.kind != "task"
]


def breaches(operation: Operation, wire: WireRequest) -> list[str]:
    """In what the bytes of a request break the operation's OpenAPI schema, by a validator that is not ours."""
    media_type = dict(wire.headers).get("content-type", "")
    if media_type.startswith("multipart/"):
        body: Any = {}
        headers = {"Content-Type": media_type.encode(), "Content-Length": str(len(wire.body)).encode()}
        python_multipart.parse_form(
            headers,
            io.BytesIO(wire.body),
            lambda field: body.setdefault(field.field_name.decode(), _told(field.value.decode())),
            lambda file: body.setdefault(file.field_name.decode(), "a file"),
        )
        schema = {**operation.request_schema, "properties": {name: _text(entry) for name, entry in operation.properties.items()}}
    else:
        body, schema = json.loads(wire.body), operation.request_schema
    found = [f"{error.json_path}: {error.message[:100]}" for error in Draft202012Validator(schema).iter_errors(body)]
    return found + [f"{name} is not documented" for name in body if name not in operation.properties]


def _told(text: str) -> Any:
    return json.loads(text) if text.lstrip("-").isdigit() else text


def _text(entry: Any) -> Any:
    """The schema of a form's field; of a file, that there is one (it may come alone where several may)."""
    return {} if "contentMediaType" in str(entry) or "binary" in str(entry) else entry


@pytest.mark.parametrize("scope", SCOPES)
def test_base_requests_keep_the_contract(scope: Scope) -> None:
    """The request that everything is proved against breaks nothing in the OpenAPI file, as it goes over the wire."""
    for task in scope.profile.tasks:
        wire = encode(scope.provider, scope.base_request(task), base_url="http://t", api_key=None, operation=scope.operation_id)
        assert breaches(scope.operation, wire) == []


@pytest.mark.parametrize("name", bundled_ids())
def test_requests_that_are_called_valid_keep_the_contract(name: str) -> None:
    """No request that a rule asks for is called valid that the OpenAPI file forbids: judged by the bytes that are sent."""
    provider = load_provider(name)
    plan = make_plan(
        provider,
        Pricing(provider, mock=True),
        rules=tuple(RULES.values()),
        operations=tuple(provider.profile.operations),
        seed=0,
        cases=False,
    )
    steps = [step for step in plan.steps if step.expects in ("accept", "may-refuse")]
    assert len(steps) > 5
    wrong = {
        step.probe: found
        for step in steps
        if (found := breaches(provider.operation(step.operation), step.wire(provider, "http://t", None)))
    }
    assert wrong == {}


def test_what_breaks_the_contract_is_seen_in_the_bytes() -> None:
    """The two tests above can fail: a wrong type, a missing field and one that nobody documents are told, of JSON and of a form."""
    for name, operation, required in (("nanogpt", "createImage", "prompt"), ("nebul", "createImageEdit", "model")):
        scope = Scope(load_provider(name), operation)
        assert scope.task is not None
        sent = wire_fields(scope.provider, scope.base_request(scope.task), operation)
        kept = build(scope.provider, sent, base_url="http://t", api_key=None)
        assert breaches(scope.operation, kept) == []
        lacking = {field: value for field, value in sent.body.items() if field != required}
        for body in (lacking, {**sent.body, "n": "many"}, {**sent.body, "fog": 1}):
            assert breaches(scope.operation, build(scope.provider, replace(sent, body=body), base_url="http://t", api_key=None)) != []


def identity(probe: Probe) -> tuple[object, ...]:
    """What makes two probes one request."""
    wire = (probe.request, probe.remove, probe.put, probe.only, probe.key_use, probe.path, probe.headers)
    return (*wire, probe.method, probe.media_type, probe.raw_body)


@pytest.mark.parametrize("scope", SCOPES)
def test_a_key_stands_for_one_request(scope: Scope) -> None:
    """Rules that ask for the same key ask for the same request, so that one answer can serve them all."""
    asked = {}
    for rule in RULES.values():
        for probe in rule.asks(scope) if rule.applies(scope) else ():
            known = asked.setdefault(probe.key, probe)
            assert identity(known) == identity(probe)


def test_a_wide_and_a_high_size_are_tried() -> None:
    """Of width and height both orders are asked for, so that swapped or ignored fields are seen."""
    keys = [probe.key for probe in probes.sizes(Scope(load_provider("opengpu-relay"), "generateFlux"))]
    assert keys == ["generate/base", "generate/size:96x64", "generate/size:64x96"]


def test_the_polling_operation_is_reached_through_a_task() -> None:
    """Rules on an operation that polls ask for a request that submits a task."""
    (probe,) = probes.base(Scope(load_provider("opengpu-relay"), "getTask"))
    assert probe.operation != "getTask"
    assert probe.request.asynchronous is True


def test_the_seed_changes_the_prompt() -> None:
    """Another seed of the run asks for other pictures, so that a cache of the provider's cannot answer for it."""
    provider = load_provider("nanogpt")
    prompts = {Scope(provider, "createImage", seed).base_request("generate").prompt for seed in range(8)}
    assert len(prompts) == 8
