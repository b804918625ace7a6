"""`testcard schema`: JSON Schemas of the files that a person writes, and of those that a run holds, under stable names."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from testcard.harness.errors import UsageError
from testcard.harness.extras import resolve
from testcard.harness.runs.records import RECORD_TYPES
from testcard.harness.runs.validate import DIALECT, FOLDER, published
from testcard.specs.wrong_keys import nearest

#: file that a person writes → the model that reads it
WRITTEN = {
    "testcard.toml": "testcard.harness.config:Config",
    "workload.toml": "testcard.benchmarks.plan.workload:Workload",
    "profile.yaml": "testcard.specs.profile:Profile",
}


def written_schema(name: str) -> dict[str, Any]:
    """The schema of a file that a person writes, made of the model that reads it, so that the two cannot differ."""
    model = resolve(WRITTEN[name])
    schema: dict[str, Any] = model.model_json_schema()
    if name == "profile.yaml":
        _let_be_short(schema)
    return {"$schema": DIALECT, "$id": f"urn:testcard:{name}:1", **schema}


def _let_be_short(schema: dict[str, Any]) -> None:
    """Asks for nothing that the API document completes, and takes the short spellings (`testcard.specs.completion`)."""
    parts, own = schema["$defs"], schema["properties"]
    schema["required"] = ["schema"]
    parts["WireField"].pop("required", None)
    parts["ModelProfile"]["required"] = ["id"]
    own["models"]["items"] = {"anyOf": [own["models"]["items"], {"type": "string"}]}
    by_id = own["operations"]
    by_id["additionalProperties"] = {"anyOf": [by_id["additionalProperties"], {"type": "null"}]}
    own["operations"] = {"anyOf": [by_id, {"type": "array", "items": {"type": "string"}}]}
    for kind in ("fields", "path", "query", "headers"):
        fields = parts["OperationProfile"]["properties"][kind]
        fields["additionalProperties"] = {"anyOf": [fields["additionalProperties"], {"type": "string"}]}


def written_schema_text(name: str) -> str:
    """The text of the schema's file."""
    return json.dumps(written_schema(name), indent=2, ensure_ascii=False) + "\n"


def written_schema_file(name: str) -> Path:
    """Where the package has the schema as a file, under a name that stays."""
    return FOLDER / f"{name}.schema.json"


def described(name: str) -> str:
    """The schema of a file that a person writes as Markdown: a table of keys for each of its parts."""
    found = written_schema(name)
    parts = [f"## {name}", ""]
    for title, part in {"": found, **found.get("$defs", {})}.items():
        rows = part.get("properties")
        if not rows:
            continue
        parts += [f"### {title}", ""] if title else []
        parts += ["\n".join(line.strip() for line in str(part.get("description", "")).splitlines()), ""]
        parts += ["| key | value | default |", "| --- | --- | --- |"]
        needed = part.get("required", [])
        for key, entry in rows.items():
            default = "needed" if key in needed else f"`{json.dumps(entry['default'], ensure_ascii=False)}`" if "default" in entry else ""
            parts.append(f"| `{key}` | {_value(entry)} | {default} |")
        parts.append("")
    return "\n".join(parts)


def _value(entry: dict[str, Any]) -> str:
    """What a key takes, in a few words of JSON Schema."""
    if "$ref" in entry:
        return str(entry["$ref"]).rpartition("/")[2]
    for word in ("anyOf", "oneOf", "allOf"):
        if word in entry:
            return " or ".join(dict.fromkeys(_value(one) for one in entry[word] if one.get("type") != "null"))
    if "enum" in entry:
        return ", ".join(f"`{one}`" for one in entry["enum"])
    if "const" in entry:
        return f"`{entry['const']}`"
    if entry.get("type") == "array":
        return f"list of {_value(entry['items'])}" if isinstance(entry.get("items"), dict) else "list"
    if entry.get("type") == "object":
        inner = entry.get("additionalProperties")
        return f"name → {_value(inner)}" if isinstance(inner, dict) else "mapping"
    return str(entry.get("type", "anything"))


@click.command()
@click.argument("name", required=False)
@click.option("--markdown", is_flag=True, help="Print every key of the files that you write as a page, or of NAME alone.")
def schema(name: str | None, markdown: bool) -> None:
    """Print the JSON Schema of NAME, so that editors complete and check it; without NAME, list the names.

    testcard.toml, workload.toml and profile.yaml are files that you write; the others are files of a run.

    Example: testcard schema testcard.toml > testcard.schema.json
    """
    if markdown:
        if name is not None and name not in WRITTEN:
            raise UsageError(f"{name} is no file that you write", hint=nearest(name, tuple(WRITTEN)))
        head = "# Every key of the files that you write\n\nMade by `testcard schema --markdown` of the models that read them; a test holds this page to them.\n"
        click.echo("\n".join([head, *(described(one) for one in ((name,) if name is not None else WRITTEN))]), nl=False)
        return
    if name is None:
        for one in (*WRITTEN, *RECORD_TYPES):
            click.echo(one)
        return
    if name in WRITTEN:
        found = written_schema(name)
    elif name in RECORD_TYPES:
        found = published(name)
    else:
        raise UsageError(f"there is no schema {name}", hint=nearest(name, (*WRITTEN, *RECORD_TYPES)))
    click.echo(json.dumps(found, indent=2, ensure_ascii=False))


if __name__ == "__main__":  # writes the files anew after a change of a model
    for one in WRITTEN:
        written_schema_file(one).write_text(written_schema_text(one), encoding="utf-8")
