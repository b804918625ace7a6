"""Mutations and covering rows on a provider that a user might add: path numbers, nested objects, lengths, urlencoded forms."""

from __future__ import annotations

from itertools import combinations, pairwise
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from testcard.harness.check.generation.schema_cases import SchemaCase, generate, pairs_missing, pick_rows, wire_bytes
from testcard.specs.loader import Provider, load_provider

OPENAPI = """\
openapi: 3.1.0
info: {title: Sixth, version: 1.0.0}
paths:
  /v{version}/paint:
    post:
      operationId: paint
      parameters:
        - {name: version, in: path, required: true, schema: {type: integer, minimum: 1, maximum: 3}}
      requestBody:
        content:
          MEDIA:
            schema:
              type: object
              required: [prompt, style]
              properties:
                prompt: {type: string, minLength: 3, maxLength: 400}
                style:
                  type: object
                  required: [name]
                  properties:
                    name: {type: string, enum: [plain, loud]}
                    weight: {type: number, exclusiveMinimum: 0, maximum: 1}
                strength: {type: integer, minimum: 10, maximum: 90, multipleOf: 10}
                n: {type: integer, minimum: 1}
      responses:
        '200':
          description: pictures
          content: {application/json: {schema: {type: object, properties: {pictures: {type: array, items: {type: string}}}}}}
"""
PROFILE = """\
schema: testcard.profile/1
id: sixth
name: Sixth
document: sixth.txt
base_urls: [https://sixth.example]
auth: {header: {name: X}, key_env: SIXTH, clause: &c {document: sixth.txt, heading: All}}
tasks: {generate: {operation: paint}}
models: [{id: '2', operations: [paint], clause: *c}]
operations:
  paint:
    tasks: [generate]
    model: '2'
    clause: *c
    response: {pictures: /pictures/*, base64: ''}
    path: {version: {means: model}}
    fields:
      prompt: {means: prompt}
      style: {means: other, must_accept: [{name: plain, weight: 0.5}, {name: loud}]}
      strength: {means: strength, must_accept: [10, 50]}
      n: {means: n, must_accept: [1], cheapest: 1}
"""


def sixth(folder: Path, media_type: str) -> Provider:
    (folder / "openapi.yaml").write_text(OPENAPI.replace("MEDIA", media_type))
    (folder / "profile.yaml").write_text(PROFILE)
    return load_provider(f"{folder}/.")


def made(provider: Provider) -> list[SchemaCase]:
    return generate(provider, "paint", seed=1, max_positive=99, max_negative=99)


def test_structured_values_are_combined_and_sent_as_documented(tmp_path: Path) -> None:
    """A must-accept value may be an object; each one is sent, in every pair with the other fields' values."""
    provider = sixth(tmp_path, "application/json")
    validator = jsonschema.Draft202012Validator(provider.operation("paint").request_schema)
    positive = [case for case in made(provider) if case.positive]
    pairs = {(case.fields.body["style"]["name"], case.fields.body.get("strength")) for case in positive if "style" in case.fields.body}
    assert {(name, strength) for name in ("plain", "loud") for strength in (10, 50)} <= pairs
    assert all(validator.is_valid(case.fields.body) for case in positive if case.id.startswith("schema/generate/values"))


def test_lengths_and_bounds_are_broken_one_at_a_time(tmp_path: Path) -> None:
    """Each documented bound has a case just past it, a bounded stepped number included."""
    provider = sixth(tmp_path, "application/json")
    found = [case for case in reversed(made(provider)) if not case.positive and case.kind != "malformed"]
    broken = {(case.kind, case.at): case.fields.body for case in found}  # the first of each, not the fuzzed one after it
    assert len(broken["below-minimum", "/prompt"]["prompt"]) == 2
    assert len(broken["above-maximum", "/prompt"]["prompt"]) == 401
    assert broken["below-minimum", "/strength"]["strength"] == 0
    assert broken["above-maximum", "/strength"]["strength"] == 100
    assert broken["off-step", "/strength"]["strength"] % 10
    assert broken["below-minimum", "/n"]["n"] == 0
    assert broken["below-minimum", "/style/weight"]["style"] == {"name": "plain", "weight": 0}
    assert next(case.place for case in found if (case.kind, case.at) == ("below-minimum", "/style/weight")).endswith(
        "/weight/exclusiveMinimum"
    )
    assert broken["missing-required", "/style/name"]["style"] == {"weight": 0.5}
    assert ("missing-required", "/prompt") in broken
    paths = {case.kind: case.fields.path["version"] for case in found if case.at == "path:version"}
    assert paths["below-minimum"] == 0
    assert paths["above-maximum"] == 4


@settings(max_examples=40, deadline=None, derandomize=True, database=None)
@given(st.lists(st.tuples(st.integers(1, 4), st.booleans()), min_size=2, max_size=5), st.randoms(use_true_random=False))
def test_rows_cover_every_pair_of_levels(shape: list[tuple[int, bool]], source: object) -> None:
    """Whatever the pool offers, in the end each two levels stand together in a row, and no row comes for nothing."""
    levels: dict[str, list[int | None]] = {
        f"f{index}": [*([None] if optional else []), *range(count)] for index, (count, optional) in enumerate(shape)
    }
    pool = [
        {name: level for name, options in levels.items() if (level := source.choice(options)) is not None}  # type: ignore[attr-defined]
        for _ in range(6)
    ]
    rows = pick_rows(pool, levels, limit=500)
    assert pairs_missing(rows, levels) == 0
    assert len(rows) <= sum(len(a) * len(b) for a, b in combinations(levels.values(), 2))
    assert rows == pick_rows(pool, levels, limit=500)
    assert pick_rows(pool, levels, limit=2) == rows[:2]
    missing = [pairs_missing(rows[:count], levels) for count in range(len(rows) + 1)]
    assert all(fewer < more for more, fewer in pairwise(missing))


@pytest.mark.parametrize("media_type", ["application/json", "application/x-www-form-urlencoded"])
def test_every_case_can_be_written_as_bytes(tmp_path: Path, media_type: str) -> None:
    """Cases of any documented media type become requests."""
    provider = sixth(tmp_path, media_type)
    for case in made(provider):
        assert wire_bytes(provider, case).body
