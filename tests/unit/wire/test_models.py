"""Models that no profile lists: only a document that lists all of them refuses others, and it is said where."""

from __future__ import annotations

from pathlib import Path

import pytest

from testcard.harness.errors import UsageError
from testcard.harness.wire.contract import closed_list, open_to, unlisted
from testcard.specs.loader import Provider, load_provider

DOCUMENT = """
openapi: 3.1.0
info: {{title: Odd, version: "1"}}
servers: [{{url: "https://odd.example/v1"}}]
paths:
  /images/generations:
    post:
      operationId: createImage
      requestBody:
        required: true
        content:
          application/json:
            schema:
              type: object
              required: [prompt]
              properties:
                prompt: {{type: string}}
                model: {model}
      responses:
        "200":
          description: pictures
          content:
            application/json:
              schema:
                type: object
                properties:
                  data: {{type: array, items: {{type: object, properties: {{b64_json: {{type: string}}}}}}}}
"""
PROFILE = "schema: testcard.profile/1\nid: odd\nname: Odd\noperations: [createImage]\nmodels: [tidy-1]\n"


def provider(folder: Path, model: str) -> Provider:
    (folder / "openapi.yaml").write_text(DOCUMENT.format(model=model), encoding="utf-8")
    (folder / "profile.yaml").write_text(PROFILE, encoding="utf-8")
    return load_provider(str(folder))


@pytest.mark.parametrize(
    "model",
    [
        "{type: string, description: 'The model, e.g. tidy-1.', example: tidy-1}",
        "{anyOf: [{type: string}, {type: string, enum: [tidy-1, tidy-2]}]}",
    ],
    ids=["examples", "text or one of a list"],
)
def test_examples_close_nothing(tmp_path: Path, model: str) -> None:
    """Another model is asked for, with a word on what was probably meant."""
    odd = provider(tmp_path, model)
    assert closed_list(odd, "createImage") is None
    assert open_to(odd, ("createImage",), "tidy-9") == ("createImage",)
    said = unlisted(odd, ("createImage",), "tidy-9")
    assert said is not None
    assert "did you mean tidy-1?" in said, said
    assert unlisted(odd, ("createImage",), "tidy-1") is None


@pytest.mark.parametrize(
    "model",
    [
        "{type: string, enum: [tidy-1, tidy-2]}",
        "{oneOf: [{const: tidy-1}, {enum: [tidy-2]}]}",
        "{allOf: [{type: string}, {enum: [tidy-1, tidy-2]}]}",
    ],
)
def test_a_list_refuses_what_is_not_in_it(tmp_path: Path, model: str) -> None:
    """The refusal says where the list stands, and what is in it; what the profile leaves out is allowed all the same."""
    odd = provider(tmp_path, model)
    assert open_to(odd, ("createImage",), "tidy-2") == ("createImage",)
    with pytest.raises(UsageError) as refusal:
        open_to(odd, ("createImage",), "tidy-9")
    assert "openapi.yaml, createImage, line" in str(refusal.value)
    assert "tidy-1, tidy-2" in str(refusal.value.hint)


def test_an_operation_without_a_field_for_it_has_its_own_model() -> None:
    """Where no request can name a model, no other one can be asked for."""
    relay = load_provider("opengpu-relay")
    with pytest.raises(UsageError, match="no field of generateFlux names one"):
        open_to(relay, ("generateFlux",), "another")
