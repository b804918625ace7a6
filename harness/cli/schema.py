"""`testcard schema`: JSON Schemas of the files that a person writes, and of those that a run holds, under stable names."""

from __future__ import annotations

import json
from typing import Any

import click

from testcard.harness.errors import UsageError
from testcard.harness.lazy import resolve
from testcard.harness.runs.records import RECORD_TYPES
from testcard.harness.runs.schema_files import DIALECT, published
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
    return {"$schema": DIALECT, "$id": f"urn:testcard:{name}:1", **schema}


@click.command()
@click.argument("name", required=False)
def schema(name: str | None) -> None:
    """Print the JSON Schema of NAME, so that editors complete and check it; without NAME, list the names.

    testcard.toml, workload.toml and profile.yaml are files that you write; the others are files of a run.

    Example: testcard schema testcard.toml > testcard.schema.json
    """
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
