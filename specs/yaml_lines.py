"""YAML 1.2 data together with the line of every key, so that an error or a SARIF result can point at it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from testcard.specs.errors import SpecError

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
    """A YAML document: its data, and for each path of keys the line (from 1) where that key stands."""

    path: Path
    text: str
    data: Any
    lines: dict[Pointer, int]

    def line(self, pointer: Pointer) -> int:
        """Line of the key at `pointer`, or of its nearest parent that the file writes out."""
        while pointer and pointer not in self.lines:
            pointer = pointer[:-1]
        return self.lines.get(pointer, 1)


def read_yaml(path: Path) -> YamlFile:
    """The file's data and lines; `SpecError` when it is missing, is no YAML, or holds a key twice."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise SpecError("there is no such file", file=path, hint="a provider folder holds openapi.yaml and profile.yaml") from None
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"cannot be read: {error}", file=path) from None
    loader = _Yaml12Loader(text)
    lines: dict[Pointer, int] = {(): 1}
    try:
        node = loader.get_single_node()
        if node is not None:
            _collect(node, (), lines, path)
        data = loader.construct_document(node) if node is not None else None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise SpecError(f"is not valid YAML: {error.problem or error.context}", file=path, line=mark.line + 1 if mark else None) from None
    except yaml.YAMLError as error:
        raise SpecError(f"is not valid YAML: {error}", file=path) from None
    finally:
        loader.dispose()
    return YamlFile(path, text, data, lines)


def _collect(node: yaml.Node, pointer: Pointer, lines: dict[Pointer, int], path: Path) -> None:
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            name = str(key.value)
            if name in seen and name != "<<":
                raise SpecError("stands twice in the same mapping", file=path, line=key.start_mark.line + 1, key=name)
            seen.add(name)
            lines[(*pointer, name)] = key.start_mark.line + 1
            _collect(value, (*pointer, name), lines, path)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            lines[(*pointer, index)] = value.start_mark.line + 1
            _collect(value, (*pointer, index), lines, path)
