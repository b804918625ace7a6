"""`testcard spec`: what is wrong with a provider's two files, what changed between two documents, what a target sends beside its document."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from testcard.harness.cli import say
from testcard.harness.cli.options import PATH, PROVIDER, config_option, json_option
from testcard.harness.config import load_config
from testcard.harness.errors import Exit, SpecError, UsageError
from testcard.harness.extras import require
from testcard.harness.text.commands import shown_path, typed_path
from testcard.harness.text.words import count, listing
from testcard.specs.loader import BUNDLED, PUBLIC, Provider, known_ids, load_provider, load_with_document
from testcard.specs.openapi import OpenApi
from testcard.specs.reading import PROFILE, read_document

_SHOWN_CASES = 6


@click.group()
def spec() -> None:
    """Look after a provider's openapi.yaml and profile.yaml.

    Example: testcard spec lint ./my-provider
    """


@spec.command("lint")
@click.argument("paths", type=PATH, nargs=-1, required=True, metavar="PATH...")
@json_option("the problems")
def spec_lint(paths: tuple[Path, ...], as_json: bool) -> int:
    """Check a provider's two files: each by itself, and against each other.

    PATH is a folder that holds both, one of the files, or the id of a provider. Prints file:line: key: problem, and
    exits with 2 when there is any; what is left aside without harm is a note. Of a folder's document, only what the profile uses is judged.

    Example: testcard spec lint ./my-provider
    """
    from testcard.specs.lint import lint, notes  # imports validators that no other command here needs

    places = [_place(path) for path in paths]
    problems = list(dict.fromkeys(one for place in places for one in lint(place)))
    aside = list(dict.fromkeys(one for place in places for one in notes(place)))
    if as_json:
        rows = [
            [{"file": one.file, "line": one.line, "key": one.key, "message": one.message} for one in found] for found in (problems, aside)
        ]
        click.echo(json.dumps({"problems": rows[0], "notes": rows[1]}, indent=2, ensure_ascii=False))
    else:
        for one in aside:
            say(f"note: {one}")
        for one in problems:
            click.echo(str(one))
    named = listing([str(path) for path in paths])
    if problems:
        say(f"{count(len(problems), 'problem')} in {named}")
        return Exit.USAGE
    say(f"{named}: no problems")
    return Exit.PASS


def _place(path: Path) -> Path:
    """The path itself, or the folder of the provider that the word names when nothing of that name is here."""
    if not path.exists() and len(path.parts) == 1:
        config = load_config()
        if str(path) in known_ids(config.providers.path):
            return load_provider(str(path), config.providers.path).folder
    return path


# ── spec diff ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class _Version:
    """One side of a comparison: the document, and the folder with the profile that it is read by, where there is one."""

    document: Path
    folder: Path | None


@spec.command("diff")
@click.argument("old", type=PATH)
@click.argument("new", type=PATH)
@click.option(
    "--provider", "provider_name", type=PROVIDER, metavar="PROVIDER", help="Whose profile both are read by, where none lies beside them."
)
@config_option
@json_option("the changes")
def spec_diff(old: Path, new: Path, provider_name: str | None, config_file: Path | None, as_json: bool) -> int:
    """Say what changed between two versions of an API document, and what of that breaks a client of the older one.

    OLD and NEW are documents, provider folders or ids. With a profile (in one of the folders, beside one of the documents, or of
    --provider) only the operations that it uses are compared, and each change says which rules judge it, what a mock reads or
    fills there, and which cases of a check change. Exits with 1 when something breaks.

    Example: testcard spec diff old/openapi.yaml new/openapi.yaml --provider nanogpt
    """
    from testcard.harness.spec_changes.compare import compare, lines_of
    from testcard.specs.document_problems import unusable

    search = load_config(config_file).providers.path
    sides = [_version(place, search) for place in (old, new)]
    if provider_name is not None:
        sides = [_Version(side.document, side.folder or load_provider(provider_name, search).folder) for side in sides]
    folder = sides[0].folder or sides[1].folder
    readings = [_read(side, folder) for side in sides]
    before, after = readings[0].openapi, readings[1].openapi
    try:
        changes = compare(before, after)
    except (AttributeError, TypeError, ValueError, LookupError):
        # A document that cannot be used cannot be compared either: what is wrong with it is its user's answer.
        problem = next((one for openapi in (before, after) for one in unusable(openapi)), None)
        if problem is None:
            raise
        raise problem.error() from None
    rows: list[dict[str, Any]] = []
    plans, notes = _plans(readings)
    for change in changes:
        file, line = lines_of(change, before, after)
        row = {
            "operation": change.operation, "endpoint": change.endpoint, "side": change.side, "place": change.place, "what": change.what,
            "breaking": change.breaking, "file": file, "line": line, "rules": [], "mock": [], "cases": [],
        }  # fmt: skip
        provider = (readings[0] if change.document == "old" else readings[1]).provider or readings[0].provider or readings[1].provider
        if provider is not None:
            from testcard.harness.spec_changes.touches import touched

            found = touched(change, provider, plans)
            row |= {"rules": list(found.rules), "mock": list(found.mock), "cases": list(found.cases)}
        rows.append(row)
    breaking = sum(change.breaking for change in changes)
    if as_json:
        record = {
            "schema": "testcard.spec-diff/1", "old": str(sides[0].document), "new": str(sides[1].document), "breaking": breaking,
            "changes": rows, "cases": {"added": list(plans.added), "removed": list(plans.removed), "changed": list(plans.changed)}, "notes": notes,
        }  # fmt: skip
        click.echo(json.dumps(record, indent=2, ensure_ascii=False))
    else:
        _show_changes(rows)
        for note in notes:
            say(f"note: {note}")
        if plans.names:
            say(f"a check's plan: {len(plans.added)} cases come, {len(plans.removed)} go, {len(plans.changed)} send something else")
    say(f"{count(len(changes), 'change')}, {breaking} breaking")
    return Exit.GATE_FAILED if breaking else Exit.PASS


def _version(place: Path, search: Sequence[Path]) -> _Version:
    """What one argument names: a document, a provider's folder, or a provider's id."""
    if place.is_file():
        return _Version(place, place.parent if (place.parent / PROFILE).is_file() else None)
    if not place.exists() and (len(place.parts) > 1 or str(place) not in known_ids(search)):
        raise UsageError(f"{place}: there is no such document, folder or provider", hint="name two versions of one API document")
    if place.is_dir() and not (place / PROFILE).is_file():
        from testcard.specs.reading import find_document

        return _Version(find_document(place), None)
    provider = load_provider(f"./{place}" if place.is_dir() and len(place.parts) == 1 else str(place), search)
    return _Version(provider.openapi.source.path, provider.folder)


@dataclass(frozen=True, slots=True)
class _Reading:
    """A document as it is compared, and the provider that it is of; `problem`: why it is read by no profile."""

    openapi: OpenApi
    provider: Provider | None
    problem: str | None = None


def _read(side: _Version, folder: Path | None) -> _Reading:
    """The document, reduced to what the profile uses where there is one."""
    files = read_document(side.document)
    if folder is None:
        return _Reading(OpenApi(files), None)
    home = side.folder or folder
    try:
        provider = load_with_document(home, side.document)
    except SpecError as error:
        return _Reading(
            OpenApi(files, _used(files, home)), None, f"{shown_path(home / PROFILE)} does not fit {side.document}: {error.message}"
        )
    return _Reading(OpenApi(files, _used(files, home)), provider)


def _used(files: Any, folder: Path) -> list[str]:
    """The operations that the folder's profile uses, by what its own document calls them or by where they are."""
    from testcard.specs.normalise import list_operations

    provider = load_provider(str(folder))
    ids = set(provider.profile.operations)
    places = {(one.method.upper(), one.path) for one in provider.openapi.operations.values()}
    return [one.id for one in list_operations(files) if one.id in ids or (one.method.upper(), one.path) in places]


def _plans(readings: Sequence[_Reading]) -> tuple[Any, list[str]]:
    """How a check's plan changes, and why that cannot be told where it cannot."""
    from testcard.harness.spec_changes.touches import PlanChanges, plan_before, plan_changes

    notes = [one.problem for one in readings if one.problem is not None]
    before, after = (one.provider for one in readings)
    if before is None and not notes:
        notes.append("no profile lies beside either document: name a provider with --provider to see rules, mock fields and cases")
    if before is None:
        return PlanChanges(), notes
    require(("check",), "testcard spec diff with a profile")
    try:
        return (plan_changes(before, after) if after is not None else plan_before(before)), notes
    except SpecError as error:
        return plan_before(before), [*notes, error.message]


def _show_changes(rows: Sequence[dict[str, Any]]) -> None:
    endpoint = None
    for row in rows:
        if row["endpoint"] != endpoint:
            endpoint = row["endpoint"]
            click.echo(f"{endpoint} ({row['operation']})")
        where = f"{row['side']}{' ' + row['place'] if row['place'] else ''}: " if row["side"] != "operation" or row["place"] else ""
        click.echo(f"  {'✗ breaking' if row['breaking'] else '· change  '}  {where}{row['what']}")
        click.echo(f"              {row['file']}:{row['line']}")
        for key, word in (("rules", "rules"), ("mock", "mock "), ("cases", "cases")):
            if row[key]:
                click.echo(f"              {word}  {listing(row[key], limit=_SHOWN_CASES)}")


# ── spec drift ────────────────────────────────────────────────────────────────────────────────────────────────────────


@spec.command("drift")
@click.argument("run", type=PATH)
@click.option(
    "--provider", "provider_name", type=PROVIDER, metavar="PROVIDER", help="Whose document to use. Default: that of the run's target."
)
@click.option("--patch", "as_patch", is_flag=True, help="Print a unified diff that makes the document say what was seen.")
@click.option("--fail", "fails", is_flag=True, help="Exit with 1 when anything drifted.")
@config_option
@json_option("what was found")
def spec_drift(run: Path, provider_name: str | None, as_patch: bool, fails: bool, config_file: Path | None, as_json: bool) -> int:
    """Say what a target really sent in a check (RUN) that its document does not say: fields, statuses, enum values, types and nulls.

    Nothing is sent. Whether the document or the server is wrong is for you to say: the patch proposes to change the document.

    Example: testcard spec drift testcard-runs/check-20261129-101500 --patch > drift.patch
    """
    from testcard.harness.runs.folder import RunReader
    from testcard.harness.spec_changes.drift import drift, patched
    from testcard.harness.spec_changes.patch import unified

    search = load_config(config_file).providers.path
    found: list[Any] = []
    texts: list[str] = []
    rows: list[dict[str, Any]] = []
    for provider, readers in _checked(RunReader(run), provider_name, search):
        drifts = drift(provider, readers)
        found += drifts
        files, left = patched(provider, drifts)
        diffs = [unified(before, after, name) for name, (before, after) in files.items()]
        texts += diffs
        place = shown_path(provider.folder)
        document = shown_path(provider.openapi.source.path)
        if as_json:
            rows.append(
                {
                    "provider": provider.id,
                    "folder": place,
                    "document": document,
                    "drift": [_record(one) for one in drifts],
                    "patch": "".join(diffs),
                }
            )
            continue
        for one in drifts if not as_patch else ():
            click.echo(
                f"{document}:{one.line}: {one.operation} {one.status}{' ' + one.place if one.place else ''}: {one.what} ({one.seen} of {one.of} answers)"
            )
        for one in left:
            say(f"not in the patch: {one.operation} {one.status} {one.place}: {one.what}")
        if drifts and not as_patch:
            say(f"{provider.id}: {count(len(drifts), 'thing')} the document does not say; next: {_next(run, provider)}")
            if _ships(provider):
                say(f"the document came with Testcard: the patch goes into a copy, which commands take as ./{_own(provider)}")
        elif drifts and _ships(provider):
            say(
                f"{provider.id}'s document came with Testcard: the patch is for a copy of it; make one with {_copy(provider)} "
                f"and apply it with {_APPLY} {typed_path(_own(provider))}"
            )
        elif not drifts:
            say(f"{provider.id}: every answer is as documented")
    if as_json:
        click.echo(json.dumps({"schema": "testcard.spec-drift/1", "targets": rows}, indent=2, ensure_ascii=False))
    elif as_patch:
        click.echo("".join(texts), nl=False)
    return Exit.GATE_FAILED if found and fails else Exit.PASS


def _checked(reader: Any, provider_name: str | None, search: Sequence[Path]) -> list[tuple[Provider, list[Any]]]:
    """The providers that were checked in a run, each with its checks; `UsageError` where none was."""
    checks = [one for one in (reader, *reader.children()) if one.run.kind == "check" and one.run.targets]
    if not checks:
        raise UsageError(f"{reader.folder} holds no check", hint="name a folder that testcard check or testcard evaluate wrote")
    found: dict[str, tuple[Provider, list[Any]]] = {}
    for check in checks:
        target = check.run.targets[0]
        provider = load_provider(provider_name or _named_in(target.provider, check.run.config.get("openapi"), search), search)
        if provider.spec_digest != target.spec_digest:
            say(
                f"{provider.id}: the document has changed since {shown_path(check.folder)} was recorded; it is held against the document of today"
            )
        found.setdefault(str(provider.folder), (provider, []))[1].append(check)
    return list(found.values())


def _named_in(provider: str, openapi: Any, search: Sequence[Path]) -> str:
    """What names a run's provider: its id where that is known here, else the folder of the document that the run names."""
    if provider in known_ids(search) or not isinstance(openapi, str):
        return provider
    folder = Path(openapi).parent
    return f"./{folder}" if not folder.is_absolute() and folder.is_dir() else str(folder) if folder.is_dir() else provider


def _record(one: Any) -> dict[str, Any]:
    return {
        "operation": one.operation, "status": one.status, "place": one.place, "kind": one.kind, "what": one.what, "line": one.line,
        "seen": one.seen, "of": one.of, "exchanges": one.exchanges[:20],
    }  # fmt: skip


_APPLY = "patch -p1 -d"


def _next(run: Path, provider: Provider) -> str:
    """The commands that write the patch into the document: into a copy of it, where the document came with Testcard."""
    patch = f"testcard spec drift {typed_path(run)} --patch | {_APPLY}"
    if not _ships(provider):
        return f"{patch} {typed_path(shown_path(provider.folder))}"
    return f"{_copy(provider)} && {patch} {typed_path(_own(provider))}"


def _ships(provider: Provider) -> bool:
    """Whether the provider came with Testcard: its files are those of an installed package, which the next install overwrites."""
    return provider.folder.resolve().parent in (BUNDLED.resolve(), PUBLIC.resolve())


def _own(provider: Provider) -> str:
    return f"providers/{provider.id}"


def _copy(provider: Provider) -> str:
    return f"mkdir -p providers && cp -R {typed_path(provider.folder)} {typed_path(_own(provider))}"
