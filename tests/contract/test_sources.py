"""Every clause says where it is written: in one of the five provider documents, or in a public source that it names.

Where the provider documents lie beside the checkout (`../shared/provider-documents`), the headings and, for documents
that carry machine-readable facts, the facts themselves are looked up there as well.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from testcard.harness.rules.promises import RULES
from testcard.specs.loader import bundled_ids, load_provider

DOCUMENTS = {
    "nvidia-nim-image": "000_0d0f938dea8a330d.txt",
    "nvidia-nim-vision": "001_c52757b889b5221d.txt",
    "nebul": "002_7f2c59cff05c0274.txt",
    "nanogpt": "003_a668708a834d2745.txt",
    "opengpu-relay": "004_e979a1f093528fa9.txt",
}
PUBLIC = {
    "http": r"RFC \d+",
    "openai": r"OpenAI API reference|https://platform\.openai\.com/docs/.+",
    "published-client": r"https://pypi\.org/project/relaygpu-client/[\d.]+/",
}
SHELF = Path(__file__).resolve().parents[3] / "shared" / "provider-documents"
LEVELS = {"must": {"document", "http"}, "should": {"document", "http", "openai", "published-client"}}


def clauses(provider: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every clause of the profile and every x-source of the contract, with its place."""
    loaded = load_provider(provider)

    def walk(node: Any, place: str) -> Iterator[tuple[str, dict[str, Any]]]:
        if isinstance(node, dict):
            for key, value in node.items():
                if key in ("clause", "x-source") and isinstance(value, dict):
                    yield f"{place}/{key}", value
                else:
                    yield from walk(value, f"{place}/{key}")
        elif isinstance(node, list):
            for index, value in enumerate(node):
                yield from walk(value, f"{place}/{index}")

    yield from walk(loaded.profile_source.data, "profile.yaml")
    yield from walk(loaded.openapi.raw, "openapi.yaml")


def on_the_shelf(provider: str) -> str:
    path = SHELF / DOCUMENTS[provider]
    if not path.is_file():
        pytest.skip(f"the provider documents are not beside this checkout ({path.name}); they are not part of the repository")
    return path.read_text(encoding="utf-8")


@pytest.mark.parametrize("provider", DOCUMENTS)
def test_every_clause_names_a_document_and_a_heading(provider: str) -> None:
    """A clause points into its provider's document, or into a public source of the kind that it states."""
    assert load_provider(provider).profile.document == DOCUMENTS[provider]
    found = list(clauses(provider))
    assert len(found) > 20
    for place, clause in found:
        assert clause["heading"].strip(), place
        source = clause.get("source", "document")
        if source == "document":
            assert clause.get("document", DOCUMENTS[provider]) == DOCUMENTS[provider], place
        else:
            assert re.fullmatch(PUBLIC[source], clause["document"]), place


@pytest.mark.parametrize("provider", DOCUMENTS)
def test_every_operation_schema_and_rule_has_a_source(provider: str) -> None:
    """Operations, named schemas, key schemes and rules each say where they come from."""
    loaded = load_provider(provider)
    document = loaded.openapi.raw
    for operation in loaded.openapi.operations.values():
        assert "x-source" in operation.raw
    for group in ("schemas", "securitySchemes"):
        for name, entry in document["components"][group].items():
            assert "x-source" in entry, name
    for rule, entries in loaded.profile.rules.items():
        assert entries, rule


@pytest.mark.parametrize("provider", DOCUMENTS)
def test_only_what_the_document_or_http_promises_is_a_must(provider: str) -> None:
    """Neither the OpenAI convention nor a provider's published client makes a must."""
    for rule, entries in load_provider(provider).profile.rules.items():
        for entry in entries:
            level = entry.level or RULES[rule].level
            clause = entry.clause or RULES[rule].clause
            assert level not in LEVELS or clause.source in LEVELS[level], rule


@pytest.mark.parametrize("provider", DOCUMENTS)
def test_headings_stand_in_the_document(provider: str) -> None:
    """Each part of a heading is a line of the document, or a key of the OpenAPI text inside it."""
    text = on_the_shelf(provider)
    titles = {line.strip().lstrip("#").strip() for line in text.splitlines()}
    keys = set(re.findall(r"^\s*(?:- )?'?([^\s':]+)'?:(?:\s|$)", text, flags=re.MULTILINE))
    for place, clause in clauses(provider):
        if clause.get("source", "document") == "document":
            for part in clause["heading"].split(" · "):
                assert part in titles or set(part.split(".")) <= keys, f"{place}: {part}"


def embedded(text: str) -> dict[str, Any]:
    """The OpenAPI text inside a document: from its `openapi:` line to the first line that is not part of it."""
    start = text.index("openapi: 3")
    body = re.split(r"^(?:`{3,}|---)", text[start:], maxsplit=1, flags=re.MULTILINE)[0]
    return yaml.safe_load(body)


def bare(node: Any, document: dict[str, Any]) -> Any:
    """A schema without words for people and with its references followed."""
    if isinstance(node, dict):
        if "$ref" in node:
            return bare(document["components"]["schemas"][node["$ref"].rsplit("/", 1)[1]], document)
        kept = {key: value for key, value in node.items() if key not in ("description", "summary", "example", "examples", "x-source")}
        return {key: bare(value, document) for key, value in kept.items()}
    return [bare(value, document) for value in node] if isinstance(node, list) else node


@pytest.mark.parametrize("provider", ["nvidia-nim-image", "nvidia-nim-vision", "nanogpt"])
def test_schemas_equal_those_inside_the_document(provider: str) -> None:
    """Where the document carries an OpenAPI text, request and JSON answers have the same schemas, keyword for keyword."""
    theirs = embedded(on_the_shelf(provider))
    for operation in load_provider(provider).openapi.operations.values():
        raw = theirs["paths"][operation.path][operation.method.lower()]
        request = raw["requestBody"]["content"]["application/json"]["schema"]
        assert bare(dict(operation.request_schema), theirs) == bare(request, theirs)
        assert list(operation.responses) == list(raw["responses"])
        for status, response in raw["responses"].items():
            schema = response.get("content", {}).get("application/json", {}).get("schema")
            ours = operation.response_schema(int(status))
            assert (ours and bare(dict(ours), theirs)) == (schema and bare(schema, theirs))


def test_nebul_fields_equal_the_tables_of_the_document() -> None:
    """Nebul's three parameter tables list the same fields, types and required marks."""
    text = on_the_shelf("nebul")
    kinds = {"String": "string", "Integer": "integer", "Number": "number", "File": "string", "File[]": "array"}
    tables = text.split("ParameterTypeRequiredDescription\n")[1:]
    for operation_id, table in zip(("createImage", "createImageEdit", "createImageVariation"), tables, strict=True):
        rows = re.findall(r"^(\w+?)(File\[\]|File|String|Integer|Number)(Yes|No)[TNQBIROA]", table.split("\n\n")[0], flags=re.MULTILINE)
        operation = load_provider("nebul").operation(operation_id)
        assert {name: kinds[kind] for name, kind, _ in rows} == {name: entry["type"] for name, entry in operation.properties.items()}
        assert {name for name, _, needed in rows if needed == "Yes"} == set(operation.required)


@pytest.mark.parametrize(
    ("operation_id", "section", "part"),
    [
        ("generateStableDiffusion", "Stable Diffusion", None),
        ("generateFlux", "Flux", None),
        ("generateGemini", "Gemini", None),
        ("generateGptImage", "GPT Image", "Generate (T2I)"),
        ("editGptImage", "GPT Image", "Edit (I2I)"),
        ("generateQwen", "Qwen", "Generate (T2I)"),
        ("editQwen", "Qwen", "Edit (I2I)"),
    ],
)
def test_relay_fields_equal_the_tables_of_the_document(operation_id: str, section: str, part: str | None) -> None:
    """Relay's tables list the same fields in the same order, with the same types, defaults and required marks."""
    lines = [line.strip() for line in on_the_shelf("opengpu-relay").splitlines() if line.strip()]
    start = max(index for index, line in enumerate(lines) if line == section)
    if part is not None:
        start = lines.index(part, start)
    while lines[start] != "Description":
        start += 1
    end = next(index for index in range(start, len(lines)) if lines[index].startswith(("Response", "Models")))
    cells = lines[start + 1 : end]
    kinds = {"string": "string", "int": "integer", "float": "number"}
    rows = [cells[index : index + 4] for index in range(0, len(cells), 4)]
    operation = load_provider("opengpu-relay").operation(operation_id)
    assert [name for name, *_ in rows] == [name for name in operation.properties if name != "async"]
    for name, kind, default, _ in rows:
        entry = operation.properties[name]
        assert entry["type"] == kinds[kind]
        assert (name in operation.required) == (default == "required")
        assert str(entry.get("default", "-")) == ("-" if default == "required" else default)


def test_bundled_providers_are_these() -> None:
    """A provider that is added without a document fails here first."""
    assert sorted(DOCUMENTS) == list(bundled_ids())
