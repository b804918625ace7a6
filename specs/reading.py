"""An API document as it comes: which file of a folder it is, JSON or YAML, alone or in several files, and which version it is written in."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from testcard.specs.errors import SpecError
from testcard.specs.pointers import pointer_of, reference_parts
from testcard.specs.yaml_lines import YamlFile, read_yaml

PROFILE = "profile.yaml"
#: Where the normalised document keeps what other files of the folder hold: below this key, by their path from the document.
OTHER_FILES = "x-files"
_USUAL_NAME = "openapi.yaml"
_ENDINGS = (".yaml", ".yml", ".json")
_CONVERTER = "convert it to OpenAPI 3 first, for example with: npx swagger2openapi FILE -o openapi.yaml"


#: A file of another name is looked into up to this size.
_LARGEST_BYTES = 30_000_000


def find_document(folder: Path, named: str | None = None) -> Path:
    """The API document of a provider's folder: the one that the profile names, else openapi.yaml, else the only one there is.

    `SpecError` where there are several and none is named. Where there is none, the usual name comes back, for whoever reads it to miss.
    """
    if named is not None:
        return folder / named
    if (folder / _USUAL_NAME).is_file() or not folder.is_dir():
        return folder / _USUAL_NAME
    candidates = [path for path in sorted(folder.iterdir()) if path.suffix.lower() in _ENDINGS and path.name != PROFILE and path.is_file()]
    documents = candidates if len(candidates) == 1 else [path for path in candidates if _is_document(path)]
    if not documents:  # under any other name
        others = [path for path in sorted(folder.iterdir()) if path not in candidates and path.name != PROFILE and path.is_file()]
        documents = [path for path in others if path.stat().st_size <= _LARGEST_BYTES and _is_document(path)]
    if len(documents) > 1:
        names = ", ".join(path.name for path in documents)
        raise SpecError(
            f"holds several API documents: {names}",
            file=folder,
            line=1,
            key="openapi",
            hint=f"name one in {PROFILE}: openapi: {documents[0].name}",
        )
    return documents[0] if documents else folder / _USUAL_NAME


def _is_document(path: Path) -> bool:
    try:
        data = read_yaml(path).data
    except SpecError:
        return False
    return isinstance(data, dict) and ("openapi" in data or "swagger" in data)


@dataclass(frozen=True)
class DocumentFiles:
    """A document with the files of its folder that its references lead to, each read once, when it is first asked for.

    A reference is read as (file, names): the file's path from the document's folder ("" for the document itself) and the keys in it.
    """

    root: YamlFile

    @cached_property
    def _read(self) -> dict[str, YamlFile]:
        return {"": self.root}

    @property
    def version(self) -> str:
        """The version that the document says it is written in, such as 3.0.3."""
        return str(self.root.data["openapi"])

    @property
    def parts(self) -> Mapping[str, YamlFile]:
        """The further files that were read, by their path from the document's folder."""
        return {name: file for name, file in self._read.items() if name}

    @property
    def digest(self) -> str:
        """sha256 over the document, and over what it refers to where there is such, in hex."""
        digest = hashlib.sha256(self.root.text.encode())
        for name, file in sorted(self.parts.items()):
            digest.update(f"\0{name}\0{file.text}".encode())
        return digest.hexdigest()

    def target(self, reference: str, file: str) -> tuple[str, tuple[str, ...]]:
        """The file and the names that a reference standing in `file` leads to; `SpecError` when it leads out of the folder or to no file."""
        address, _, fragment = reference.partition("#")
        names = tuple(unquote(name) for name in reference_parts("#" + fragment)) if fragment.strip("/") else ()
        if not address:
            return file, names
        if "://" in address or address.startswith("//"):
            raise self.problem(
                f"{reference} is an address; put that file into the provider's folder and refer to it by name", reference, file
            )
        folder = self.root.path.parent
        wanted = (folder / file).parent / unquote(address) if file else folder / unquote(address)
        try:
            found = wanted.resolve().relative_to(folder.resolve()).as_posix()
        except (ValueError, OSError):
            raise self.problem(f"{reference} leads out of the provider's folder", reference, file) from None
        if found == self.root.path.name:
            return "", names
        if found not in self._read:
            if not wanted.is_file():
                raise self.problem(f"{reference} points to no file: there is no {found}", reference, file)
            self._read[found] = read_yaml(wanted)
        return found, names

    def node(self, file: str, names: tuple[str, ...]) -> Any:
        """What stands at these keys of a file, with references on the way followed; `LookupError` where nothing does."""
        node: Any = self._read[file].data
        for position, name in enumerate(names):
            if isinstance(node, dict) and isinstance(node.get("$ref"), str) and name not in node:
                onward, inner = self.target(node["$ref"], file)
                return self.node(onward, (*inner, *names[position:]))
            if isinstance(node, list):
                node = node[int(name)]
            elif isinstance(node, dict):
                node = node[name] if name in node else node[int(name)]
            else:
                raise LookupError(name)
        return node

    def problem(self, message: str, reference: str, file: str) -> SpecError:
        """A reference that cannot be followed, at the first line that holds it."""
        return SpecError(message, file=self._read[file].path, line=line_of_text(self._read[file], reference), key="$ref")

    def place(self, file: str, names: tuple[str, ...]) -> tuple[str, ...]:
        """Where the normalised document keeps what stands at these keys of a file."""
        return (OTHER_FILES, file, *names) if file else names


def line_of_text(source: YamlFile, text: str) -> int | None:
    """The first line of a file that holds a reference."""
    lines = enumerate(source.text.splitlines(), 1)
    return next((number for number, line in lines if "$ref" in line and text in line), None)


def reference_to(place: tuple[str, ...]) -> str:
    """A reference within the normalised document."""
    return "#" + pointer_of(place)


def read_document(path: Path) -> DocumentFiles:
    """The document at `path`; `SpecError` for what is none, and for Swagger 2.0, naming a converter."""
    source = read_yaml(path)
    data = source.data
    if isinstance(data, dict) and str(data.get("swagger", "")).startswith("2"):
        raise SpecError(
            f"is Swagger {data['swagger']}, and OpenAPI 3 is needed; {_CONVERTER}", file=path, line=source.line(("swagger",)), key="swagger"
        )
    if not isinstance(data, dict) or not str(data.get("openapi", "")).startswith(("3.0", "3.1", "3.2")):
        stated = f" but {data['openapi']}" if isinstance(data, dict) and "openapi" in data else ""
        line = source.line(("openapi",)) if isinstance(data, dict) else 1
        raise SpecError(f"is not an OpenAPI 3 document{stated}", file=path, line=line, key="openapi")
    return DocumentFiles(source)
