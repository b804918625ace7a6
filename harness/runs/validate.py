"""Is a run folder what it says it is? Every file against its published schema, every body against its hash, nothing unlisted.

The published JSON Schemas of a run folder's files: generated from the records, kept in `schemas/`, read from there.

`python -m testcard.harness.runs.validate` writes them anew after a record has changed; a test holds the two equal.
"""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema_rs
import msgspec

from testcard.harness.errors import UsageError
from testcard.harness.runs.reading import content, lines, require_regular
from testcard.harness.runs.records import RECORD_TYPES, SAMPLE_COLUMNS
from testcard.harness.runs.samples import SHARD_PATTERN, read_shard, schema

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


#: Kind of file (a key of run.json's `files`) → name of its schema.
JSON_KINDS = {"verdicts": "verdicts", "summary": "summary", "badge": "badge", "saturation": "saturation"}
#: Problems reported for one file; more are counted only.
MAX_PROBLEMS = 20


def validate_run(folder: Path | str) -> list[str]:
    """What is wrong with a run folder, one sentence each with the file it concerns; an empty list when nothing is.

    Checks run.json and everything it lists: JSON files against their schemas, exchanges line by line with their bodies present
    and true to their hashes, the columns of the samples, and the runs inside it. Files that nothing lists are problems too.
    """
    folder = Path(folder)
    path = folder / "run.json"
    if not path.is_file():
        return ["run.json: is missing"]
    run, problems = _json_file(path, "run", "run.json")
    if not isinstance(run, dict) or problems:
        return problems
    listed: set[Path] = {path}
    bodies: set[str] = set()
    for kind, name in run["files"].items():
        file = folder / name
        if Path(name).is_absolute() or ".." in Path(name).parts:
            problems.append(f"run.json: files.{kind}: {name} lies outside the folder")
            continue
        listed.add(file)
        if not file.exists():
            problems.append(f"{name}: is listed as {kind} and does not exist")
        elif kind in JSON_KINDS:
            problems += _json_file(file, JSON_KINDS[kind], name)[1]
        elif kind == "exchanges":
            problems += _capped(name, list(_exchanges(file, name, bodies)))
        elif kind == "blocks":
            problems += _capped(name, list(_blocks(file, name)))
        elif kind == "samples":
            problems += _samples(file, name)
    problems += _bodies(folder, bodies)
    for name in run["children"]:
        if not (folder / name).is_dir():
            problems.append(f"{name}/: is listed as a child and does not exist")
        listed.add(folder / name)
        problems += [f"{name}/{problem}" for problem in validate_run(folder / name)]
    shards = set() if run["outcome"] in ("pass", "fail", "inconclusive") else set(folder.glob(SHARD_PATTERN))
    for shard in sorted(shards - listed):
        problems += _samples(shard, shard.name)
    problems += [f"{name}: is not listed in run.json" for name in _unlisted(folder, listed | shards | {folder / "bodies"})]
    return problems


def _json_file(path: Path, schema_name: str, name: str) -> tuple[Any, list[str]]:
    try:
        value = json.loads(content(path))
    except UsageError as error:
        return None, [f"{name}: {error.message}"]
    except (ValueError, RecursionError) as error:
        return None, [f"{name}: is not JSON: {error}"]
    return value, _capped(name, [f"{name}: {problem}" for problem in _against(schema_name, value)])


def _against(schema_name: str, value: Any) -> Iterator[str]:
    for error in _validator(schema_name).iter_errors(value):
        place = "/".join(map(str, error.instance_path))
        # The error's own text embeds the value, which can be megabytes of somebody's answer.
        yield f"/{place} breaks the schema's {'/'.join(map(str, error.schema_path[-2:]))}"


_VALIDATORS: dict[str, Any] = {}


def _validator(schema_name: str) -> Any:
    if schema_name not in _VALIDATORS:
        _VALIDATORS[schema_name] = jsonschema_rs.validator_for(published(schema_name))
    return _VALIDATORS[schema_name]


def _exchanges(path: Path, name: str, bodies: set[str]) -> Iterator[str]:
    seen: set[str] = set()
    for number, line in lines(path):
        try:
            exchange = json.loads(line)
        except (ValueError, RecursionError):
            yield f"{name}:{number}: is not JSON"
            continue
        broken = [f"{name}:{number}: {problem}" for problem in _against("exchange", exchange)]
        if broken:
            yield from broken
            continue
        if exchange["id"] in seen:
            yield f"{name}:{number}: the id {exchange['id']} stands twice"
        seen.add(exchange["id"])
        if exchange["parent"] is not None and exchange["parent"] not in seen:
            yield f"{name}:{number}: its parent {exchange['parent']} does not stand before it"
        for message in (exchange["request"], exchange["response"]):
            if message is not None and message["body"]["sha256"] is not None:
                bodies.add(message["body"]["sha256"])


def _blocks(path: Path, name: str) -> Iterator[str]:
    for number, line in lines(path):
        try:
            block = json.loads(line)
        except (ValueError, RecursionError):
            yield f"{name}:{number}: is not JSON"
            continue
        yield from (f"{name}:{number}: {problem}" for problem in _against("block", block))


def _bodies(folder: Path, wanted: set[str]) -> list[str]:
    there = (
        {file.name for file in (folder / "bodies").iterdir() if not file.name.startswith(".")} if (folder / "bodies").is_dir() else set()
    )
    problems = [f"bodies/{name}: is named by an exchange and does not exist" for name in sorted(wanted - there)]
    problems += [f"bodies/{name}: no exchange names it" for name in sorted(there - wanted)]
    for name in sorted(wanted & there):
        if hashlib.sha256(content(folder / "bodies" / name)).hexdigest() != name:
            problems.append(f"bodies/{name}: its content has another sha256")
    return problems


def _samples(path: Path, name: str) -> list[str]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        require_regular(path)
        found = pq.read_schema(path) if path.suffix == ".parquet" else read_shard(path).schema
    except (pa.ArrowException, OSError) as error:
        return [f"{name}: cannot be read: {type(error).__name__}"]
    except UsageError as error:
        return [f"{name}: {error.message}"]
    types = {field.name: field.type for field in found}
    problems = [f"{name}: column {column} is missing" for column in SAMPLE_COLUMNS if column not in types]
    for field in schema():
        if field.name in types and types[field.name] != field.type:
            problems.append(f"{name}: column {field.name} is {types[field.name]}, not {field.type}")
    return problems


def _unlisted(folder: Path, listed: set[Path]) -> list[str]:
    names = []
    for file in sorted(folder.rglob("*")):
        if file.name.startswith("."):  # of a write that a kill cut short
            continue
        if file.is_file() and file not in listed and not any(parent in listed for parent in file.parents):
            names.append(str(file.relative_to(folder)))
    return names


def _capped(name: str, problems: list[str]) -> list[str]:
    if len(problems) <= MAX_PROBLEMS:
        return problems
    return [*problems[:MAX_PROBLEMS], f"{name}: and {len(problems) - MAX_PROBLEMS} more problems"]
