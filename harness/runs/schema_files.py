"""The published JSON Schemas of a run folder's files: generated from the records, kept in `schemas/`, read from there.

`python -m testcard.harness.runs.schema_files` writes them anew after a record has changed; a test holds the two equal.
"""

from __future__ import annotations

import inspect
import json
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from testcard.harness.runs.records import RECORD_TYPES

FOLDER = Path(__file__).parent / "schemas"
DIALECT = "https://json-schema.org/draft/2020-12/schema"


def generated(name: str) -> dict[str, Any]:
    """The schema of one kind of record (`run`, `exchange`, `verdicts`, `summary`, `badge`), from its definition.

    Every field that a record has is required, for records write them all; further fields are allowed, for later versions add some.
    """
    (top,), definitions = msgspec.json.schema_components((RECORD_TYPES[name],), ref_template="#/$defs/{name}")
    for definition in definitions.values():
        if definition.get("type") == "object" and "properties" in definition:
            definition["required"] = list(definition["properties"])
        if "description" in definition:  # Python 3.13 strips a docstring's indentation, older ones do not
            definition["description"] = inspect.cleandoc(definition["description"])
    return {"$schema": DIALECT, "$id": f"urn:testcard:{name}:1", **top, "$defs": definitions}


@cache
def published(name: str) -> dict[str, Any]:
    """The schema as it ships."""
    schema: dict[str, Any] = json.loads((FOLDER / f"{name}.schema.json").read_text(encoding="utf-8"))
    return schema


def rendered(name: str) -> str:
    """The text of a schema's file."""
    return json.dumps(generated(name), indent=2, ensure_ascii=False) + "\n"


def write_all(folder: Path = FOLDER) -> list[Path]:
    """Writes every schema's file; the paths written."""
    paths = []
    for name in RECORD_TYPES:
        path = folder / f"{name}.schema.json"
        path.write_text(rendered(name), encoding="utf-8")
        paths.append(path)
    return paths


if __name__ == "__main__":
    write_all()
