"""An API document as it comes: which file of a folder it is, JSON or YAML, alone or in several files, and which version it is written in.

YAML 1.2 data together with the line of every key, so that an error or a SARIF result can point at it.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import yaml

from testcard.specs.errors import SpecError
from testcard.specs.pointers import pointer_of, reference_parts
from testcard.specs.user_files import content

_Base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Yaml12Loader(_Base):  # type: ignore[misc]
    """The core schema of YAML 1.2, which OpenAPI asks for: PyYAML alone reads `1:1` as 61 and `on` as true."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 (PyYAML's own protocol)


_Yaml12Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF"))
_Yaml12Loader.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(r"^(?:[-+]?[0-9]+|0x[0-9a-fA-F]+)$"), list("-+0123456789"))
_Yaml12Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"),
    list("-+0123456789."),
)
_Yaml12Loader.add_implicit_resolver("tag:yaml.org,2002:null", re.compile(r"^(?:~|null|Null|NULL|)$"), ["~", "n", "N", ""])
_Yaml12Loader.add_implicit_resolver("tag:yaml.org,2002:merge", re.compile(r"^(?:<<)$"), ["<"])


def _int(loader: Any, node: yaml.ScalarNode) -> int:
    text = loader.construct_scalar(node)
    return int(text, 16) if text.startswith("0x") else int(text)


def _float(loader: Any, node: yaml.ScalarNode) -> float:
    return float(loader.construct_scalar(node).lower().replace(".inf", "inf").replace(".nan", "nan"))


_Yaml12Loader.add_constructor("tag:yaml.org,2002:int", _int)
_Yaml12Loader.add_constructor("tag:yaml.org,2002:float", _float)

Pointer = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class YamlFile:
    """A YAML document: its data, and for each path of keys the line (from 1) where that key stands.

    Of a document that was put into another form: `moved` says where a pointer of the new form stood, `parts` are the other files
    that it was put together from, whose pointers begin with `x-files` and their name.
    """

    path: Path
    text: str
    data: Any
    lines: dict[Pointer, int]
    parts: Mapping[str, YamlFile] = field(default_factory=dict, repr=False)
    moved: Mapping[Pointer, Pointer] = field(default_factory=dict, repr=False)

    def line(self, pointer: Pointer) -> int:
        """Line of the key at `pointer`, or of its nearest parent that the file writes out."""
        return self.place(pointer)[1]

    def place(self, pointer: Pointer) -> tuple[Path, int]:
        """The file and the line of the key at `pointer`, or of its nearest parent that the file writes out."""
        pointer = self._before(pointer)
        if len(pointer) > 1 and pointer[0] == "x-files" and pointer[1] in self.parts:
            return self.parts[str(pointer[1])].place(pointer[2:])
        while pointer and pointer not in self.lines:
            pointer = pointer[:-1]
        return self.path, self.lines.get(pointer, 1)

    def _before(self, pointer: Pointer) -> Pointer:
        """Where the pointer stood before anything was moved; what was moved may lie in what was moved."""
        for _ in range(8 if self.moved else 0):
            length = next((length for length in range(len(pointer), 0, -1) if pointer[:length] in self.moved), None)
            if length is None or self.moved[pointer[:length]] == pointer[:length]:
                break
            pointer = (*self.moved[pointer[:length]], *pointer[length:])
        return pointer


def read_yaml(path: Path) -> YamlFile:
    """The data and lines of a YAML or JSON file; `SpecError` when it is missing, is neither, holds a key twice, or is nested without end."""
    try:
        text = content(path).decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except FileNotFoundError:
        raise SpecError("there is no such file", file=path, hint="a provider folder holds an OpenAPI document and profile.yaml") from None
    except OSError as error:
        raise SpecError(f"cannot be read: {error.strerror}", file=path) from None
    except UnicodeDecodeError as error:
        raise SpecError(f"cannot be read: byte {error.start} is no UTF-8", file=path) from None
    loader = _Yaml12Loader(text)
    lines: dict[Pointer, int] = {(): 1}
    try:
        node = loader.get_single_node()
        if node is not None:
            _collect(node, (), lines, path, len(text) + _SPARE_KEYS)
        data = loader.construct_document(node) if node is not None else None
        if text.lstrip().startswith("{"):
            data = _json(text, data)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise SpecError(f"is not valid YAML: {error.problem or error.context}", file=path, line=mark.line + 1 if mark else None) from None
    except (yaml.YAMLError, ValueError, TypeError, AttributeError, LookupError, OverflowError) as error:
        raise SpecError(f"is not valid YAML: {error}", file=path) from None
    except RecursionError:
        raise SpecError("is nested too deeply to be read", file=path) from None
    finally:
        loader.dispose()
    return YamlFile(path, text, data, lines)


def _json(text: str, otherwise: Any) -> Any:
    """JSON as JSON reads it, where it is such: YAML takes the two halves of an escaped character for two."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return otherwise


_DEEPEST = 200
#: A key takes a character or more; what is beyond comes of anchors that are used again, each of which counts each time.
_SPARE_KEYS = 100_000


def _collect(node: yaml.Node, pointer: Pointer, lines: dict[Pointer, int], path: Path, most: int) -> None:
    if len(pointer) > _DEEPEST:
        raise SpecError("is nested too deeply to be read", file=path, line=node.start_mark.line + 1)
    if len(lines) > most:
        raise SpecError("holds too much to be read", file=path, line=node.start_mark.line + 1)
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            name = str(key.value)
            if name in seen and name != "<<":
                raise SpecError("stands twice in the same mapping", file=path, line=key.start_mark.line + 1, key=name)
            seen.add(name)
            lines[(*pointer, name)] = key.start_mark.line + 1
            _collect(value, (*pointer, name), lines, path, most)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            lines[(*pointer, index)] = value.start_mark.line + 1
            _collect(value, (*pointer, index), lines, path, most)


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
