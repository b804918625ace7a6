"""What the rest of Testcard asks a provider for."""

from __future__ import annotations

import pytest

from testcard.harness.rules.promises import RULES
from testcard.specs.errors import UsageError
from testcard.specs.loader import bundled_ids, load_provider
from testcard.specs.openapi import OpenApi
from testcard.specs.profile import Level, Task


@pytest.mark.parametrize(
    ("provider", "task", "operation", "model"),
    [
        ("nanogpt", "generate", "createImage", "hidream"),
        ("nanogpt", "edit", "createImage", "flux-kontext"),
        ("nebul", "generate", "createImage", "black-forest-labs/FLUX.1-Kontext-dev"),
        ("nebul", "edit", "createImageEdit", "black-forest-labs/FLUX.1-Kontext-dev"),
        ("nebul", "variation", "createImageVariation", "black-forest-labs/FLUX.1-Kontext-dev"),
        ("nvidia-nim-image", "generate", "generateImage", "black-forest-labs/flux.1-schnell"),
        ("nvidia-nim-vision", "describe", "createVisionChatCompletion", "meta/llama-3.2-90b-vision-instruct"),
        ("opengpu-relay", "generate", "generateStableDiffusion", "Realistic_Vision_V5.1.safetensors"),
        ("opengpu-relay", "edit", "editGptImage", "openai/gpt-image-1.5-I2I"),
    ],
)
def test_defaults_of_each_task(provider: str, task: Task, operation: str, model: str) -> None:
    """A task without further words goes to this operation and model."""
    loaded = load_provider(provider)
    assert loaded.default_operation(task) == operation
    assert loaded.default_model(operation, task) == model
    assert model in loaded.models(operation)


def test_a_task_that_is_not_offered_names_those_that_are() -> None:
    """Asking for what a provider cannot do says what it can."""
    with pytest.raises(UsageError) as caught:
        load_provider("nvidia-nim-vision").default_operation("edit")
    assert "describe" in str(caught.value.hint)
    with pytest.raises(UsageError) as caught:
        load_provider("nebul").operation("createVideo")
    assert "createImageEdit" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("provider", "rule", "operation", "status", "level"),
    [
        ("nanogpt", "seed.repeatable", "createImage", None, "must"),
        ("nvidia-nim-image", "seed.repeatable", "generateImage", None, "should"),
        ("nebul", "seed.repeatable", "createImage", None, "none"),
        ("opengpu-relay", "seed.repeatable", "generateFlux", None, "should"),
        ("opengpu-relay", "seed.repeatable", "generateStableDiffusion", None, "none"),
        ("opengpu-relay", "auth.required", "generateQwen", None, "should"),
        ("opengpu-relay", "auth.required", "getTask", None, "none"),
        ("opengpu-relay", "schema.response", "generateQwen", 200, "must"),
        ("opengpu-relay", "schema.response", "generateQwen", 202, "should"),
        ("opengpu-relay", "schema.response", "generateQwen", None, "must"),
        ("opengpu-relay", "schema.response", "getTask", 200, "should"),
        ("opengpu-relay", "image.size", "generateGemini", None, "none"),
        ("opengpu-relay", "image.size", "generateFlux", None, "must"),
        ("nvidia-nim-vision", "image.decodes", "createVisionChatCompletion", None, "none"),
        ("nanogpt", "no.such-rule", "createImage", None, None),
    ],
)
def test_levels_by_provider_operation_and_status(provider: str, rule: str, operation: str, status: int | None, level: Level | None) -> None:
    """A rule's level is looked up by provider, operation and, where it matters, the answer's status; the rule's own holds where the profile is silent."""
    entry = load_provider(provider).rule_entry(rule, operation, status)
    own = RULES[rule].level if rule in RULES else None
    assert (entry.level if entry and entry.level else own) == level


@pytest.mark.parametrize("provider", bundled_ids())
def test_the_first_twelve_rules_are_settled_for_every_operation(provider: str) -> None:
    """No operation leaves the clause of one of them open, but where it is HTTP's own."""
    loaded = load_provider(provider)
    rules = [
        "http.status-documented",
        "schema.response",
        "auth.required",
        "request.accepts-valid",
        "request.refuses-invalid",
        "image.count",
        "image.decodes",
        "image.size",
        "image.format",
        "delivery.exclusive",
        "seed.repeatable",
    ]
    for rule in rules:
        for operation in loaded.profile.operations:
            entry = loaded.rule_entry(rule, operation)
            assert entry is not None, (rule, operation)
            assert entry.clause is not None
            assert entry.clause.heading
            assert entry.clause.document


@pytest.mark.parametrize("provider", bundled_ids())
def test_every_body_field_has_a_meaning(provider: str) -> None:
    """Each documented field is in the profile, so nothing is sent as junk for want of knowing it."""
    loaded = load_provider(provider)
    for operation in loaded.openapi.operations.values():
        entry = loaded.operation_profile(operation.id)
        assert set(entry.fields) == set(operation.properties)
        assert set(entry.path) == set(operation.path_parameters)


@pytest.mark.parametrize("provider", bundled_ids())
def test_each_documented_choice_is_in_the_safe_domain(provider: str) -> None:
    """Every enum value, bound and default that the document states is sure to be accepted, or the field may be refused altogether."""
    loaded = load_provider(provider)
    for operation in loaded.openapi.operations.values():
        for name, schema in operation.properties.items():
            field = loaded.operation_profile(operation.id).fields[name]
            known = [*field.must_accept, *field.may_refuse]
            assert set(schema.get("enum", ())) <= set(known), (operation.id, name)
            stated = field.may_refuse if field.model_specific else field.must_accept
            for keyword in ("default", "minimum", "maximum"):
                if keyword in schema:
                    assert schema[keyword] in stated, (operation.id, name)


def test_what_only_some_models_know() -> None:
    """Fields that the documents call model-specific, or whose request varies by model, may be refused with any value; others may not."""
    specific = {
        (provider, operation.id, name)
        for provider in bundled_ids()
        for operation in load_provider(provider).openapi.operations.values()
        for name, field in load_provider(provider).operation_profile(operation.id).fields.items()
        if field.model_specific
    }
    nim, nano = ("nvidia-nim-image", "generateImage"), ("nanogpt", "createImage")
    assert specific == {
        *((*nim, name) for name in ("negative_prompt", "cfg_scale", "sampler", "steps", "width", "height")),
        *((*nano, name) for name in ("strength", "guidance_scale", "num_inference_steps", "kontext_max_mode")),
    }


def test_documented_statuses_and_schemas() -> None:
    """Statuses are documented or not; a class or a default stands for its members; schemas come dereferenced."""
    operation = load_provider("opengpu-relay").operation("generateQwen")
    assert [operation.documents(status) for status in (200, 202, 404, 500)] == [True, True, False, False]
    schema = operation.response_schema(202)
    assert schema is not None
    assert "task_id" in schema["properties"]
    assert operation.response_schema(200, "text/plain") is None
    assert load_provider("nvidia-nim-vision").operation("createVisionChatCompletion").response_schema(200, "text/event-stream") == {
        "type": "string"
    }
    assert isinstance(operation.document, OpenApi)
    assert operation.line("responses", "202") > operation.line("responses") > operation.line()
