"""Everything that is wrong with provider data, with file, line and key: what `testcard spec lint` prints."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from testcard.specs.agreement import SpecProblem, disagreements, dotted, impossible_values, nameless, success_places
from testcard.specs.document_problems import holes, unusable, wrong_defaults
from testcard.specs.errors import SpecError, UsageError
from testcard.specs.keys import key_problems
from testcard.specs.loader import profile_problems, read_folder
from testcard.specs.normalise import Normalised
from testcard.specs.openapi import read_openapi
from testcard.specs.reading import PROFILE, Pointer, find_document, read_yaml


def lint(path: Path) -> list[SpecProblem]:
    """Every problem of a provider folder, or of one API document or profile.yaml, in the order of file and line.

    Of a folder's document only the operations are looked at that the profile uses. A profile alone is read together with the document
    beside it. `UsageError` when there is nothing at `path`.
    """
    if path.is_dir():
        found = _document_of(path) + lint_profile(path / PROFILE)
    elif not path.is_file():
        raise UsageError(f"{path}: there is no such file or folder", hint="name a folder that holds an OpenAPI document and profile.yaml")
    elif _is_profile(path):
        found = lint_profile(path)
    else:
        found = lint_openapi(path)
    return sorted(dict.fromkeys(found), key=lambda problem: (problem.file, problem.line or 0))


def notes(path: Path) -> list[SpecProblem]:
    """What of a folder's document is left aside, or breaks the rules of OpenAPI, without standing in the way."""
    try:
        openapi = read_folder(path).openapi if path.is_dir() else read_openapi(path)
    except SpecError:
        return []
    places = [(*openapi.source.place(pointer), pointer, said) for pointer, said in openapi.notes]
    found = [SpecProblem(str(file), line, dotted(pointer), said) for file, line, pointer, said in places]
    if not path.is_dir() or unusable(openapi):
        return found
    odd = [*wrong_defaults(openapi), *_validator(openapi.as_written(), known=bool(found))]
    # What a validator says of a whole is said already, where a piece of it has a note.
    fresh = [one for one in odd if not any((known.key or "").startswith(one.key or "\0") for known in found)]
    return found + [replace(one, message=f"{one.message}; it is used all the same") for one in fresh]


def _is_profile(path: Path) -> bool:
    try:
        data = read_yaml(path).data
    except SpecError:
        return path.name.startswith("profile")
    return isinstance(data, dict) and ("schema" in data or not {"openapi", "swagger"} & data.keys())


def _document_of(folder: Path) -> list[SpecProblem]:
    named: str | None = None
    used: list[str] | None = None
    try:
        data = read_yaml(folder / PROFILE).data
        if isinstance(data, dict):
            named = data.get("openapi") if isinstance(data.get("openapi"), str) else None
            used = [str(name) for name in data["operations"]] if isinstance(data.get("operations"), dict | list) else None
        path = find_document(folder, named)
    except SpecError as error:
        return [_problem(error)] if error.file == str(folder) else _usable(folder / (named or "openapi.yaml"), None)
    return _usable(path, used)


def _usable(path: Path, used: Iterable[str] | None) -> list[SpecProblem]:
    """What keeps the operations of a provider's document from being used. What else is wrong in a document that somebody published is
    a note, for no command minds it.
    """
    try:
        openapi = read_openapi(path, used)
        return holes(openapi) or unusable(openapi)
    except SpecError as error:
        return [_problem(error)]


def lint_openapi(path: Path) -> list[SpecProblem]:
    """Problems of an OpenAPI document by itself: references, schemas, defaults, and what openapi-spec-validator refuses."""
    try:
        openapi = read_openapi(path)
        broken = holes(openapi)
        if broken:
            return broken  # the validator cannot walk it either
        defaults = [(*openapi.source.place(pointer), pointer, said) for pointer, said in openapi.notes if pointer[-1:] == ("default",)]
        own = unusable(openapi) + [SpecProblem(str(file), line, dotted(pointer), said) for file, line, pointer, said in defaults]
        own += wrong_defaults(openapi)
        return own + list(_validator(openapi.as_written(), known=bool(own)))
    except SpecError as error:
        return [_problem(error)]


def lint_profile(path: Path) -> list[SpecProblem]:
    """Problems of a profile: its own keys and values, then where it contradicts the document beside it."""
    try:
        found = profile_problems(read_yaml(path))
        if found:
            return found
        files = read_folder(path.parent, profile=path)
        return holes(files.openapi) or [
            *disagreements(files.openapi, files.profile, files.source),
            *key_problems(files.openapi, files.source),
            *impossible_values(files.openapi, files.profile, files.source),
            *success_places(files.openapi, files.profile, files.source),
            *nameless(files.openapi, files.profile, files.source),
        ]
    except SpecError as error:
        return [_problem(error)]


def _problem(error: SpecError) -> SpecProblem:
    return SpecProblem(error.file, error.line, error.key, error.what)


def _validator(written: Normalised, *, known: bool) -> Iterator[SpecProblem]:
    from openapi_spec_validator import OpenAPIV30SpecValidator, OpenAPIV31SpecValidator  # slow to import, and needed here only

    version = str(written.data["openapi"])
    validator = OpenAPIV30SpecValidator if version.startswith("3.0") else OpenAPIV31SpecValidator
    try:
        for error in validator(written.data).iter_errors():
            pointer = _real(written.data, _textual(error.absolute_path))
            if not pointer and known:
                continue  # a schema's error, found above with its line
            file, line = written.source.place(pointer)
            said = _first_line(error.message)
            if said.startswith(("{", "[")):  # the whole piece, with no word on what is wrong in it
                said = f"is not what OpenAPI {version} has at this place"
            yield SpecProblem(str(file), line, dotted(pointer) or file.name, said)
    except RecursionError:
        return  # schemas that lead back to themselves: nothing that a walk could end on, and no mistake
    except Exception as error:  # noqa: BLE001 (whatever it falls over is the document's)
        if not known:  # it walks what it has found to be wrong, and falls over it
            said = f"cannot be walked to its end by openapi-spec-validator ({type(error).__name__}: {_first_line(str(error))})"
            yield SpecProblem(str(written.source.path), 1, None, said)


def _real(data: Any, parts: tuple[str | int, ...]) -> Pointer:
    """The path as keys of the file (a status may come back as a number), or () where it does not start at the root."""
    pointer: list[str | int] = []
    for part in parts:
        if isinstance(data, Mapping) and str(part) in data:
            data = data[str(part)]
            pointer.append(str(part))
        elif isinstance(data, list) and isinstance(part, int) and part < len(data):
            data = data[part]
            pointer.append(part)
        else:
            return ()
    return tuple(pointer)


def _textual(path: Any) -> tuple[str | int, ...]:
    return tuple(part if isinstance(part, int) else str(part) for part in path)


def _first_line(message: str) -> str:
    line = message.strip().split("\n", 1)[0]
    return line if len(line) <= 200 else line[:197] + "…"


__all__ = ["SpecProblem", "lint", "lint_openapi", "lint_profile"]
