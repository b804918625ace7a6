"""Finds and loads providers: a bundled id, a folder, or an id in a folder that the user's configuration adds."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from itertools import chain
from os.path import isdir, isfile
from pathlib import Path
from typing import Any

from testcard.specs.agreement import SpecProblem, at, disagreements, unknown_operations
from testcard.specs.completion import completed, spelt_out, with_short_fields
from testcard.specs.document_problems import holes, unusable
from testcard.specs.errors import UsageError
from testcard.specs.keys import key_problems
from testcard.specs.openapi import OpenApi, Operation
from testcard.specs.prices import PriceEntry
from testcard.specs.profile import AsyncProtocol, Clause, Level, OperationProfile, Profile, RuleEntry, Task, WireField
from testcard.specs.reading import PROFILE, YamlFile, find_document, read_document, read_yaml
from testcard.specs.wrong_keys import nearest, wrong_keys

#: Providers whose documents were read closely: what every command takes up that is given no provider.
BUNDLED = Path(__file__).parent / "providers"
#: Further ones in the box, written from public documentation: taken up where they are named.
PUBLIC = Path(__file__).parent / "public"


@dataclass(frozen=True, repr=False)
class Provider:
    """A provider's contract: the OpenAPI document and the profile, with digests (sha256 of the files' bytes)."""

    folder: Path
    openapi: OpenApi
    profile: Profile
    profile_source: YamlFile
    profile_digest: str
    document: Path | None = None

    def __repr__(self) -> str:
        """Short: the whole profile in a message or a test's name helps nobody."""
        return f"Provider({self.profile.id!r})"

    @property
    def id(self) -> str:
        """The provider's id, such as the name of its folder."""
        return self.profile.id

    @property
    def spec_digest(self) -> str:
        """sha256 of openapi.yaml, in hex."""
        return self.openapi.digest

    def operation(self, operation_id: str) -> Operation:
        """The operation; `UsageError` naming those that exist when there is none of this id."""
        try:
            return self.openapi.operations[operation_id]
        except KeyError:
            known = ", ".join(self.profile.operations)
            raise UsageError(f"{self.id} has no operation {operation_id}", hint=f"its operations are: {known}") from None

    def operation_profile(self, operation_id: str) -> OperationProfile:
        """The profile's part for an operation (see `operation` for errors)."""
        self.operation(operation_id)
        return self.profile.operations[operation_id]

    def default_operation(self, task: Task) -> str:
        """Operation id that a task uses by default; `UsageError` when the provider cannot do the task."""
        default = self.profile.tasks.get(task)
        if default is None:
            tasks = ", ".join(self.profile.tasks)
            raise UsageError(f"{self.profile.name} offers no operation for the task {task}", hint=f"its tasks are: {tasks}")
        return default.operation

    def default_model(self, operation_id: str, task: Task | None = None) -> str | None:
        """Model to ask for when the user names none: the task's default where it is this operation, else the operation's."""
        if task is not None:
            default = self.profile.tasks.get(task)
            if default is not None and default.operation == operation_id and default.model is not None:
                return default.model
        profile = self.operation_profile(operation_id)
        if profile.model is not None:
            return profile.model
        return next(iter(self.models(operation_id)), None)

    def models(self, operation_id: str) -> tuple[str, ...]:
        """Model ids that the profile lists for an operation."""
        return tuple(model.id for model in self.profile.models if operation_id in model.operations)

    def field(self, operation_id: str, wire_name: str, model: str | None = None) -> WireField | None:
        """The profile's entry for a body field, narrowed by the model where the profile narrows it."""
        for entry in self.profile.models:
            if entry.id == model and wire_name in entry.fields:
                return entry.fields[wire_name]
        return self.operation_profile(operation_id).fields.get(wire_name)

    def rule_entry(self, rule_id: str, operation_id: str, status: int | None = None) -> RuleEntry | None:
        """The profile's table entry for a rule on an operation (for answers with `status`, where entries tell them apart); None where the profile is silent."""
        for entry in self.profile.rules.get(rule_id, ()):
            if (entry.operations is None or operation_id in entry.operations) and (entry.statuses is None or status in entry.statuses):
                return entry
        return None

    def protocol(self, operation_id: str) -> AsyncProtocol | None:
        """How the operation's requests become tasks: its own protocol where the profile has one, else the provider's; None for no tasks.

        Of an operation that is asked about tasks it is that of the (first) one whose tasks they are.
        """
        profile = self.operation_profile(operation_id)
        if profile.asynchronous is not None:
            return None if profile.asynchronous == "none" else profile.asynchronous
        if profile.kind == "task":
            listed = (one.asynchronous for one in self.profile.operations.values())
            owner = next((one for one in listed if isinstance(one, AsyncProtocol) and operation_id in one.operations), None)
            if owner is not None:
                return owner
        return self.profile.asynchronous

    def for_model(self, model: str | None) -> Provider:
        """The provider as it is for a model: where requests may be of several kinds, each operation with the kind that is the model's."""
        if model is None or not self._alternatives:
            return self
        chosen: dict[str, str] = {}
        for name, operation in self._alternatives.items():
            asked = next((field for field, entry in self.profile.operations[name].fields.items() if entry.means == "model"), "model")
            meant = operation.meant({asked: model})
            if meant is not None:
                chosen[name] = meant.name
        return self.with_alternatives(chosen)

    def for_body(self, operation_id: str, body: Mapping[str, Any]) -> Provider:
        """The provider as it is for a request with this body (see `for_model`)."""
        operation = self._alternatives.get(operation_id)
        meant = operation.meant(body) if operation is not None else None
        return self if meant is None else self.with_alternatives({operation_id: meant.name})

    def with_alternatives(self, chosen: Mapping[str, str]) -> Provider:
        """The provider with these kinds of requests, by operation; `SpecError` where its files do not fit together then."""
        others = {name: word for name, word in chosen.items() if self.openapi.operations[name].alternatives[0].name != word}
        if not others:
            return self
        kept = {name: one.alternatives[0].name for name, one in self._alternatives.items()}
        return _load_chosen(self.folder, self.document, tuple(sorted({**kept, **others}.items())))

    @cached_property
    def _alternatives(self) -> dict[str, Operation]:
        """The operations whose requests may be of several kinds."""
        return {name: one for name, one in self.openapi.operations.items() if one.alternatives}

    def price_entry(self, model: str | None, operation_id: str, status: str) -> PriceEntry | None:
        """The price of a model on an operation with the given status (`list` or `illustrative`), or None."""
        for entry in self.profile.prices:
            if (
                entry.status == status
                and (model in entry.models or "*" in entry.models)
                and (entry.operations is None or operation_id in entry.operations)
            ):
                return entry
        return None


def bundled_ids() -> tuple[str, ...]:
    """Ids of the providers that commands take up by themselves, in alphabetical order."""
    return _ids_below(BUNDLED)


def public_ids() -> tuple[str, ...]:
    """Ids of the further providers in the box, which commands take up where they are named, in alphabetical order."""
    return _ids_below(PUBLIC)


def known_ids(search: Sequence[Path] = ()) -> tuple[str, ...]:
    """Ids of all providers in the box and of those below the folders of `search`, in alphabetical order."""
    return tuple(sorted({name for place in (BUNDLED, PUBLIC, *search) for name in _ids_below(place)}))


def _ids_below(place: Path) -> tuple[str, ...]:
    folders = place.iterdir() if isdir(place) else ()  # also of a name that no folder can have
    return tuple(sorted(folder.name for folder in folders if (folder / PROFILE).is_file()))


def load_provider(name: str, search: Sequence[Path] = ()) -> Provider:
    """The provider called `name`: a folder that holds both files, an id below one of `search`, or a bundled id.

    Raises `UsageError` when there is none, `SpecError` when its files are wrong.
    """
    looks_like_path = "/" in name or "\\" in name or name in (".", "..")
    candidates = [Path(name)] if looks_like_path else [*(folder / name for folder in search), BUNDLED / name, PUBLIC / name]
    for folder in candidates:
        if isfile(folder / PROFILE) or isfile(folder / "openapi.yaml"):  # also of a name that no file can have
            return _load(folder.resolve())
    if looks_like_path:
        raise UsageError(
            f"{name} holds no OpenAPI document and {PROFILE}",
            hint=f"testcard init provider DOCUMENT writes a {PROFILE}; or name one of: " + ", ".join(known_ids()),
        )
    known = nearest(name, known_ids(search))
    raise UsageError(f"there is no provider {name}", hint=f"{known}{'' if known.endswith('?') else ','} or name a folder (./my-provider)")


@lru_cache(maxsize=64)
def _load(folder: Path) -> Provider:
    return load_with_document(folder)


@lru_cache(maxsize=64)
def _load_chosen(folder: Path, document: Path | None, chosen: tuple[tuple[str, str], ...]) -> Provider:
    return load_with_document(folder, document, dict(chosen))


def load_with_document(folder: Path, document: Path | None = None, chosen: Mapping[str, str] | None = None) -> Provider:
    """The provider of a folder, with another document in place of its own where one is named; `SpecError` where the two do not fit.

    `chosen`: for an operation's id, the name of the alternative that its requests are, in place of the profile's.
    """
    files = read_folder(folder, document=document, chosen=chosen)
    for problem in chain(
        unusable(files.openapi), disagreements(files.openapi, files.profile, files.source), key_problems(files.openapi, files.source)
    ):
        raise problem.error()
    return Provider(folder, files.openapi, files.profile, files.source, hashlib.sha256(files.source.text.encode()).hexdigest(), document)


@dataclass(frozen=True)
class ProviderFiles:
    """A folder's two files as read: the document reduced to what the profile uses. `source` is the profile's file."""

    openapi: OpenApi
    profile: Profile
    source: YamlFile


def read_folder(
    folder: Path, *, profile: Path | None = None, document: Path | None = None, chosen: Mapping[str, str] | None = None
) -> ProviderFiles:
    """Both files of a provider, the profile completed by the document; `SpecError` where one cannot be read, or at the profile's first wrong key.

    `profile`, `document`: read this one in place of the folder's own. `chosen`: as for `load_with_document`.
    """
    source = read_yaml(profile or folder / PROFILE)
    _raise_first(profile_problems(source))
    data = spelt_out(source.data)
    files = read_document(document or find_document(folder, data.get("openapi")))
    entries = data.get("operations") or {}
    media_types = {name: entry["media_type"] for name, entry in entries.items() if entry.get("media_type") is not None}
    stated = {name: entry["alternative"] for name, entry in entries.items() if entry.get("alternative") is not None}
    openapi = OpenApi(files, entries, media_types, {**stated, **(chosen or {})})
    broken = holes(openapi)
    # What the document does not have it cannot complete either: that is not what is missing.
    _raise_first(broken or list(unknown_operations(openapi, entries, source)))
    try:
        whole = completed(data, openapi, folder.name)
    except (AttributeError, TypeError, ValueError, LookupError, ArithmeticError):
        # A document that cannot be used is not understood either: what is wrong with it is its user's answer.
        first = next(iter(unusable(openapi)), None)
        if first is None:
            raise
        raise first.error() from None
    _raise_first([at(source, pointer, said) for pointer, said in wrong_keys(Profile, whole)])
    return ProviderFiles(openapi, Profile.model_validate(whole), source)


def _raise_first(problems: Sequence[SpecProblem]) -> None:
    if problems:
        first, more = problems[0], f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise replace(first, message=first.message + more).error()


def profile_problems(source: YamlFile) -> list[SpecProblem]:
    """Keys of a profile that are unknown or of the wrong kind; what is missing may stand in the document."""
    if not isinstance(source.data, dict):
        return [SpecProblem(str(source.path), 1, None, "is not a mapping")]
    return [at(source, pointer, said) for pointer, said in wrong_keys(Profile, with_short_fields(source.data)) if said != "is missing"]


__all__ = [
    "BUNDLED",
    "Clause",
    "Level",
    "Provider",
    "bundled_ids",
    "known_ids",
    "load_provider",
    "profile_problems",
    "public_ids",
]
