"""YAML 1.2 data together with the line of every key, so that an error or a SARIF result can point at it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from testcard.specs.errors import SpecError
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
