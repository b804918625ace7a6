"""A provider's OpenAPI 3.1 file as Testcard uses it: operations by id, with local references resolved."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from testcard.specs.errors import SpecError
from testcard.specs.pointers import reference_parts
from testcard.specs.yaml_lines import Pointer, YamlFile, read_yaml

METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")
Schema = Mapping[str, Any]


@dataclass(frozen=True)
class Operation:
    """One endpoint: its method, path template and the parts of the document that concern it.

    `raw` is the operation object as written (references unresolved), `pointer` its place in the file.
    """

    id: str
    method: str  # upper case
    path: str  # template, such as "/v1/genai/{publisher}/{model}"
    raw: Mapping[str, Any]
    pointer: Pointer
    document: OpenApi

    @cached_property
    def request_content(self) -> dict[str, Schema]:
        """Request body schemas by media type, fully dereferenced; empty where the operation takes no body."""
        body = self.document.deref(self.raw.get("requestBody", {}))
        return {media: self.document.expand(entry.get("schema", {})) for media, entry in body.get("content", {}).items()}

    @property
    def request_media_type(self) -> str | None:
        """The first documented request media type."""
        return next(iter(self.request_content), None)

    @property
    def request_schema(self) -> Schema:
        """The request body's schema of the first media type, dereferenced; `{}` where there is no body."""
        return next(iter(self.request_content.values()), {})

    @property
    def properties(self) -> Mapping[str, Schema]:
        """The request body's properties by wire name."""
        properties: Mapping[str, Schema] = self.request_schema.get("properties", {})
        return properties

    @property
    def required(self) -> tuple[str, ...]:
        """Wire names of the required request body properties."""
        return tuple(self.request_schema.get("required", ()))

    @cached_property
    def path_parameters(self) -> dict[str, Schema]:
        """Schemas of the path parameters by name."""
        item = self.document.raw["paths"][self.path]
        found = {}
        for entry in [*item.get("parameters", []), *self.raw.get("parameters", [])]:
            parameter = self.document.deref(entry)
            if parameter.get("in") == "path":
                found[parameter["name"]] = self.document.expand(parameter.get("schema", {}))
        return found

    @cached_property
    def responses(self) -> dict[str, Mapping[str, Any]]:
        """Documented responses by status ("200", "4XX", "default"), references resolved one level deep."""
        return {str(status): self.document.deref(response) for status, response in self.raw.get("responses", {}).items()}

    def response_schema(self, status: int, media_type: str = "application/json") -> Schema | None:
        """The documented schema of a response, dereferenced; None where the document gives none."""
        response = self.responses.get(str(status)) or self.responses.get(f"{status // 100}XX") or self.responses.get("default")
        content = (response or {}).get("content", {})
        if media_type not in content:
            return None
        schema: Schema = self.document.expand(content[media_type].get("schema", {}))
        return schema

    def documents(self, status: int) -> bool:
        """Whether the document lists this status (or its class, or a default) for the operation."""
        return any(key in self.responses for key in (str(status), f"{status // 100}XX", "default"))

    @property
    def servers(self) -> tuple[str, ...]:
        """Base URLs that hold for this operation: its own, else its path's, else the document's."""
        for owner in (self.raw, self.document.raw["paths"][self.path], self.document.raw):
            if owner.get("servers"):
                return tuple(server["url"].rstrip("/") for server in owner["servers"])
        return ()

    def line(self, *keys: str | int) -> int:
        """Line in the OpenAPI file of the operation, or of a key below it."""
        return self.document.source.line((*self.pointer, *keys))


class OpenApi:
    """One OpenAPI document with its operations; `raw` is the parsed file, untouched."""

    def __init__(self, source: YamlFile) -> None:
        if not isinstance(source.data, dict) or not str(source.data.get("openapi", "")).startswith("3."):
            raise SpecError("is not an OpenAPI 3 document", file=source.path, line=1, key="openapi")
        self.source = source
        self.raw: dict[str, Any] = source.data
        self.digest = hashlib.sha256(source.text.encode()).hexdigest()
        self.operations: dict[str, Operation] = {}
        for path, item in (self.raw.get("paths") or {}).items():
            for method in METHODS:
                if method not in item:
                    continue
                pointer: Pointer = ("paths", path, method)
                operation_id = item[method].get("operationId")
                if not operation_id:
                    raise SpecError("has no operationId", file=source.path, line=source.line(pointer), key=f"paths.{path}.{method}")
                if operation_id in self.operations:
                    raise SpecError(
                        f"operationId {operation_id} stands twice",
                        file=source.path,
                        line=source.line(pointer),
                        key=f"paths.{path}.{method}",
                    )
                self.operations[operation_id] = Operation(operation_id, method.upper(), path, item[method], pointer, self)

    def deref(self, node: Any) -> Any:
        """`node`, or what its local `$ref` points to; `SpecError` when that does not exist."""
        while isinstance(node, dict) and "$ref" in node:
            reference = node["$ref"]
            target: Any = self.raw
            for key in reference_parts(reference):
                if not isinstance(target, dict) or key not in target:
                    raise SpecError(
                        f"{reference} points to nothing in this file",
                        file=self.source.path,
                        line=self._line_of(reference),
                        key="$ref",
                    )
                target = target[key]
            node = target
        return node

    def _line_of(self, reference: str) -> int | None:
        """The first line that holds this reference."""
        lines = enumerate(self.source.text.splitlines(), 1)
        return next((number for number, text in lines if "$ref" in text and reference in text), None)

    def expand(self, node: Any, _open: tuple[str, ...] = ()) -> Any:
        """`node` with every local reference below it replaced by its target; a cycle ends in `{}`."""
        if isinstance(node, dict):
            if "$ref" in node:
                if node["$ref"] in _open:
                    return {}
                return self.expand(self.deref({"$ref": node["$ref"]}), (*_open, node["$ref"]))
            return {key: self.expand(value, _open) for key, value in node.items()}
        if isinstance(node, list):
            return [self.expand(value, _open) for value in node]
        return node


def read_openapi(path: Path) -> OpenApi:
    """The OpenAPI file at `path`, parsed and indexed (not yet judged by a validator: see `testcard spec lint`)."""
    return OpenApi(read_yaml(path))
