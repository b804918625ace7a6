"""A provider's OpenAPI document as Testcard uses it: the operations by id, in one form (see `normalise`), with references resolved."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from testcard.specs.errors import SpecError
from testcard.specs.normalise import Normalised, PathOperation, list_operations, normalise
from testcard.specs.pointers import MISSING, pointer_of, reference_parts, whole_number
from testcard.specs.reading import DocumentFiles, Pointer, line_of_text, read_document
from testcard.specs.schemas import alternatives, any_of, body_schema, fewest_items, simplified, type_of

Schema = Mapping[str, Any]
#: The media types of requests that Testcard can write, the first of a document's that is one of them is used.
WRITABLE = ("application/json", "multipart/form-data", "application/x-www-form-urlencoded")


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of an operation: where it goes (path, query, header, cookie), whether it has to, and its schema, dereferenced."""

    name: str
    location: str
    required: bool
    schema: Schema
    raw: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Alternative:
    """One of the kinds of object that a request's body may be.

    `name` is the value by which a body says that it is this kind, else its schema's title or name, else its number.
    `values`: those that the schema lists for a property, by the property's name.
    """

    name: str
    schema: Schema
    values: Mapping[str, tuple[Any, ...]]

    def likeliness(self) -> tuple[bool, bool]:
        """What speaks against a request of this kind for a picture from a prompt alone: the smaller, the likelier."""
        names = [str(name) for name in self.schema.get("properties") or {}]
        asked = [str(name) for name in self.schema.get("required") or ()]
        return any(_NO_PROMPT.search(name) for name in asked), not any(_PROMPT.search(name) for name in names)


_KEY_HEADER = re.compile(r"authorization$|([a-z]+-)*(api|access|auth|subscription)-?_?(key|token)$|(x|token|key)-(key|token)$", re.I)
_PROMPT = re.compile(r"prompt|^text$|^inputs?$", re.I)
_NO_PROMPT = re.compile(r"image(?!_?size|_?count|_?width|_?height)|mask|video|audio|photo|file", re.I)


@dataclass(frozen=True)
class Operation:
    """One endpoint: its method, path template and the parts of the document that concern it.

    `raw` is the operation object (references unresolved), `pointer` its place in the document. `prefers`: the media type that
    requests are written in, where the document offers several. `chosen`: the name of the body's alternative that requests are, where
    there are several; None: the first that can be asked for a picture by a prompt alone.
    """

    id: str
    method: str  # upper case
    path: str  # template, such as "/v1/genai/{publisher}/{model}"
    raw: Mapping[str, Any]
    pointer: Pointer
    document: OpenApi
    prefers: str | None = None
    chosen: str | None = None

    @cached_property
    def whole_content(self) -> dict[str, Schema]:
        """Request body schemas by media type, fully dereferenced, with all their alternatives, the one to use first; empty where the
        operation takes no body.
        """
        body = self.document.deref(self.raw.get("requestBody", {}))
        content = body.get("content") or {}
        names = [name for name in content if name in WRITABLE] or list(content)
        if self.prefers in names:
            names = [self.prefers, *(name for name in names if name != self.prefers)]
        found = {name: self.document.expand((content[name] or {}).get("schema", {})) for name in names}
        return {name: any_of(_listed_objects(schema) or schema) if isinstance(schema, Mapping) else {} for name, schema in found.items()}

    @cached_property
    def listed(self) -> bool:
        """Whether a request's body is a list of objects, of which it holds one: the schemas here are those of that object."""
        body = self.document.deref(self.raw.get("requestBody", {}))
        content = (body.get("content") or {}).get(self.request_media_type or "") or {}
        return _listed_objects(self.document.expand(content.get("schema", {}))) is not None

    @cached_property
    def request_content(self) -> dict[str, Schema]:
        """As `whole_content`, each schema that of the alternative that is chosen, with the properties of its parts in one."""
        found: dict[str, Schema] = {name: body_schema(schema) for name, schema in self.whole_content.items()}
        for name, schema in self.whole_content.items():
            kinds = _named(alternatives(schema), self._reference_names(name))
            if kinds:
                likeliest = min(kinds, key=Alternative.likeliness)
                found[name] = next((one for one in kinds if one.name == self.chosen), likeliest).schema
        return found

    @cached_property
    def alternatives(self) -> tuple[Alternative, ...]:
        """The kinds of object that a request's body may be, the one that requests are first; none where there is but one kind."""
        kinds = _named(alternatives(next(iter(self.whole_content.values()), {})), self._reference_names(self.request_media_type))
        return tuple(sorted(kinds, key=lambda one: one.schema != self.request_schema))

    def meant(self, body: Mapping[str, Any]) -> Alternative | None:
        """The alternative that a body says it is, by a value that one of them lists and the one that is chosen does not; None where it
        says nothing of the kind.
        """
        for one in self.alternatives:
            told = [name for name, values in one.values.items() if isinstance(body.get(name), str) and body[name] in values]
            if any(body[name] not in self.alternatives[0].values.get(name, (body[name],)) for name in told):
                return one
        return None

    def shown(self, place: Sequence[str]) -> Any:
        """What the document's examples of a whole request have at a place, the first that has something there; else `MISSING`."""
        body = self.document.deref(self.raw.get("requestBody", {}))
        content = (body.get("content") or {}).get(self.request_media_type or "") or {}
        several = content.get("examples")
        named = [self.document.deref(one) for one in several.values()] if isinstance(several, Mapping) else []
        examples = [content.get("example"), *(one.get("value") for one in named if isinstance(one, Mapping))]
        stated = self.request_schema.get("examples")
        examples += [self.request_schema.get("example"), *(stated if isinstance(stated, list) else ())]
        for example in examples:
            found = example[0] if self.listed and isinstance(example, list) and example else example
            for part in place:
                if isinstance(found, list) and (index := whole_number(part)) is not None and index < len(found):
                    found = found[index]
                else:
                    found = found.get(part) if isinstance(found, Mapping) else None
            if found is not None:
                return found
        return MISSING

    def _reference_names(self, media_type: str | None) -> list[str]:
        """What the schemas of the alternatives are called, as far as they have names of their own."""
        content = self.document.deref(self.raw.get("requestBody", {})).get("content") or {}
        schema = self.document.deref((content.get(media_type) or {}).get("schema", {}))
        if isinstance(schema, Mapping) and schema.get("type") == "array":
            schema = self.document.deref(schema.get("items", {}))
        schema = schema if isinstance(schema, Mapping) else {}
        branches: list[Any] = next((schema[word] for word in ("oneOf", "anyOf") if isinstance(schema.get(word), list)), [])
        found: list[str] = []
        for branch in branches:
            inner = branch.get("allOf") if isinstance(branch, Mapping) and "$ref" not in branch else [branch]
            first = inner[0] if isinstance(inner, list) and inner else {}
            found.append(str(first.get("$ref", "")).rpartition("/")[2] if isinstance(first, Mapping) else "")
        return found

    @cached_property
    def request_media_type(self) -> str | None:
        """The media type that requests are written in."""
        return next(iter(self.request_content), None)

    @cached_property
    def request_schema(self) -> Schema:
        """The request body's schema of that media type, dereferenced, with the properties of its parts in one; `{}` where there is no body."""
        return next(iter(self.request_content.values()), {})

    @cached_property
    def properties(self) -> Mapping[str, Schema]:
        """The request body's properties by wire name."""
        properties: Mapping[str, Schema] = self.request_schema.get("properties", {})
        return properties

    @cached_property
    def required(self) -> tuple[str, ...]:
        """Wire names of the required request body properties."""
        return tuple(self.request_schema.get("required", ()))

    @cached_property
    def parameters(self) -> tuple[Parameter, ...]:
        """Every parameter: those of the path's template first, in its order (one that the document forgets is a text)."""
        found: dict[tuple[str, str], Parameter] = {}
        item = self.document.raw["paths"][self.path]
        for entry in [*(item.get("parameters") or []), *(self.raw.get("parameters") or [])]:
            parameter = self.document.deref(entry)
            if not isinstance(parameter, Mapping) or "name" not in parameter:
                continue
            content: Mapping[str, Any] = next(iter((parameter.get("content") or {}).values()), {})
            schema = simplified(self.document.expand(parameter.get("schema", content.get("schema", {}))))
            name, location = str(parameter["name"]), str(parameter.get("in", "query"))
            required = location == "path" or parameter.get("required") is True
            found[location, name] = Parameter(name, location, required, schema, parameter)
        for name in _template_names(self.path):
            found.setdefault(("path", name), Parameter(name, "path", True, {"type": "string"}, {}))
        return tuple(found.values())

    @cached_property
    def path_parameters(self) -> dict[str, Schema]:
        """Schemas of the path parameters by name."""
        return {one.name: one.schema for one in self.parameters if one.location == "path"}

    @cached_property
    def query_parameters(self) -> dict[str, Schema]:
        """Schemas of the query parameters by name."""
        return {one.name: one.schema for one in self.parameters if one.location == "query"}

    @cached_property
    def header_parameters(self) -> dict[str, Schema]:
        """Schemas of the header parameters by name, without those that HTTP and the key have for themselves."""
        own = ("accept", "content-type")
        headers = [one for one in self.parameters if one.location == "header" and one.name.lower() not in own]
        return {one.name: one.schema for one in headers if not _KEY_HEADER.match(one.name)}

    @cached_property
    def key_headers(self) -> tuple[str, ...]:
        """Header parameters that are named for a key, those that have to be sent first."""
        named = [one for one in self.parameters if one.location == "header" and _KEY_HEADER.match(one.name)]
        return tuple(one.name for one in sorted(named, key=lambda one: not one.required))

    @cached_property
    def required_parameters(self) -> frozenset[tuple[str, str]]:
        """Location and name of each parameter that has to be sent."""
        return frozenset((one.location, one.name) for one in self.parameters if one.required)

    @cached_property
    def responses(self) -> dict[str, Mapping[str, Any]]:
        """Documented responses by status ("200", "4XX", "default"), references resolved one level deep."""
        return {_status(str(status)): self.document.deref(response) or {} for status, response in (self.raw.get("responses") or {}).items()}

    def response_schema(self, status: int, media_type: str = "application/json") -> Schema | None:
        """The documented schema of a response, dereferenced; None where the document gives none."""
        response = self.responses.get(str(status)) or self.responses.get(f"{status // 100}XX") or self.responses.get("default")
        content = (response or {}).get("content") or {}
        name = media_type if media_type in content else next((name for name in content if self._as_json(name, content) == media_type), None)
        if name is None:
            return None
        schema = self.document.expand((content[name] or {}).get("schema", {}))
        return schema if isinstance(schema, Mapping) else {}

    def _as_json(self, media_type: str, content: Mapping[str, Any]) -> str:
        """The media type, but JSON for a range that has an object or a list: generated documents say `*/*` of it."""
        if media_type not in ("*/*", "application/*"):
            return media_type
        schema = self.document.expand((content[media_type] or {}).get("schema", {}))
        text = not isinstance(schema, Mapping) or not schema or type_of(schema) == "string"
        return media_type if text else "application/json"

    def response_media_types(self, status: int) -> tuple[str, ...]:
        """The documented media types of a response; none where the document gives it no body. A range of all that holds JSON is JSON."""
        response = self.responses.get(str(status)) or self.responses.get(f"{status // 100}XX") or self.responses.get("default")
        content = (response or {}).get("content") or {}
        return tuple(self._as_json(name, content) for name in content)

    def documents(self, status: int) -> bool:
        """Whether the document lists this status (or its class, or a default) for the operation."""
        return any(key in self.responses for key in (str(status), f"{status // 100}XX", "default"))

    @property
    def success_statuses(self) -> tuple[int, ...]:
        """Which of 200, 201 and 202 a success has: those that the document lists by number, else by class; 200 where it lists none.

        A default beside others is what everything else brings, errors above all: it is a success only where nothing else is.
        """
        numbered = tuple(status for status in (200, 201, 202) if str(status) in self.responses)
        return numbered or (200,)

    @property
    def servers(self) -> tuple[str, ...]:
        """Base URLs that hold for this operation: its own, else its path's, else the document's; variables stand at their defaults."""
        for owner in (self.raw, self.document.raw["paths"][self.path], self.document.raw):
            if owner.get("servers"):
                return tuple(url for server in owner["servers"] if (url := server_url(server)))
        return ()

    def line(self, *keys: str | int) -> int:
        """Line in the OpenAPI file of the operation, or of a key below it."""
        return self.document.source.line((*self.pointer, *keys))


def _named(kinds: list[Schema], references: list[str]) -> list[Alternative]:
    """The alternatives by the names that tell them apart."""
    values = [{str(name): listed for name, one in (kind.get("properties") or {}).items() if (listed := _listed(one))} for kind in kinds]
    telling = [name for name in (values[0] if values else ()) if _tells_apart([one.get(name, ()) for one in values])]
    references = references if len(references) == len(kinds) else [""] * len(kinds)
    found: list[Alternative] = []
    for number, (kind, own, reference) in enumerate(zip(kinds, values, references, strict=True)):
        name = str(next((own[one][0] for one in telling), None) or kind.get("title") or reference or number)
        found.append(Alternative(name if all(name != one.name for one in found) else str(number), kind, own))
    return found


def _listed_objects(schema: Any) -> Schema | None:
    """The schema of a list's items, where a body is a list of objects; None for any other."""
    plain = simplified(schema)
    if not isinstance(plain, Mapping) or plain.get("type") != "array" or fewest_items(plain) > 1:
        return None
    items = plain.get("items")
    return items if isinstance(items, Mapping) and (alternatives(items) or body_schema(items).get("properties")) else None


def _tells_apart(values: list[tuple[Any, ...]]) -> bool:
    """Whether each alternative lists values of a property, and no two of them the same."""
    return all(values) and len({value for one in values for value in one}) == sum(map(len, values))


def _listed(schema: Any) -> tuple[Any, ...]:
    """The words that a schema allows, where it lists them all."""
    if not isinstance(schema, Mapping):
        return ()
    values = [schema["const"]] if "const" in schema else schema.get("enum")
    return tuple(value for value in values if isinstance(value, str)) if isinstance(values, list) else ()


def server_url(server: Any) -> str:
    """A server's URL without a final slash, its variables at their defaults; "" for one that has none."""
    if not isinstance(server, Mapping) or not isinstance(server.get("url"), str):
        return ""
    url: str = server["url"]
    for name, variable in (server.get("variables") or {}).items():
        default = variable.get("default") if isinstance(variable, Mapping) else None
        if default is not None:
            url = url.replace("{" + str(name) + "}", str(default))
    return url.rstrip("/")


def _template_names(path: str) -> list[str]:
    return [piece.partition("}")[0] for piece in path.split("{")[1:]]


def _status(text: str) -> str:
    return text.upper() if text.lower().endswith("xx") else text


class OpenApi:
    """One OpenAPI document with the operations that are used, all of them unless `used` names some.

    `raw` is the document in one form, `source` its file with the lines of that form's pointers; `documented` are all operations that
    the document has, used or not. `media_types` and `chosen_alternatives`: for an operation's id, the request's media type that is preferred, and
    the name of its body's alternative that requests are.
    """

    def __init__(
        self,
        files: DocumentFiles,
        used: Iterable[str] | None = None,
        media_types: Mapping[str, str] | None = None,
        chosen_alternatives: Mapping[str, str] | None = None,
    ) -> None:
        self.files = files
        self.documented = list_operations(files)
        wanted = None if used is None else set(used)
        chosen = [one for one in self.documented if wanted is None or one.id in wanted]
        self._chosen = chosen
        form: Normalised = normalise(files, chosen)
        self.raw: dict[str, Any] = form.data
        self.source = form.source
        self.notes = form.notes
        self.schemas = form.schemas
        self.digest = files.digest
        self.operations: dict[str, Operation] = {}
        for one in chosen:
            pointer: Pointer = ("paths", one.path, one.method)
            if one.id in self.operations:
                raise SpecError(
                    f"operationId {one.id} stands twice",
                    file=files.root.path,
                    line=self.source.line(pointer),
                    key=f"paths.{one.path}.{one.method}",
                )
            entry = self.raw["paths"][one.path][one.method]
            preferred, alternative = (media_types or {}).get(one.id), (chosen_alternatives or {}).get(one.id)
            self.operations[one.id] = Operation(one.id, one.method.upper(), one.path, entry, pointer, self, preferred, alternative)

    def as_written(self) -> Normalised:
        """The same operations with their schemas as the document writes them, for a judge of documents."""
        return normalise(self.files, self._chosen, dialect=False)

    def methods(self, path: str) -> set[str]:
        """The methods, in upper case, that the document has for a path, used or not."""
        return {one.method.upper() for one in self.documented if one.path == path}

    def deref(self, node: Any) -> Any:
        """`node`, or what its `$ref` points to; `SpecError` when that does not exist."""
        followed = 0
        while isinstance(node, dict) and isinstance(node.get("$ref"), str):
            reference, target = node["$ref"], self.raw
            followed += 1
            try:
                target = self._look_up(reference)
            except LookupError:
                target = None  # type: ignore[assignment]
            if target is None or followed > 50:
                raise SpecError(*self._nowhere(reference, endless=followed > 50), **self._written_at(reference))
            node = target
        return node

    def _look_up(self, reference: str) -> Any:
        if not reference.startswith("#"):
            raise LookupError(reference)
        node: Any = self.raw
        for key in reference_parts(reference) if reference not in ("#", "#/") else ():
            if isinstance(node, dict) and key not in node and isinstance(node.get("$ref"), str):
                node = self.deref(node)
            if isinstance(node, list):
                index = whole_number(key)
                node = node[index] if index is not None and index < len(node) else None
            elif isinstance(node, dict):
                node = node.get(key)
            else:
                node = None
            if node is None:
                raise LookupError(reference)
        return node

    def unresolved(self, reference: str) -> str | None:
        """Why a reference leads nowhere, as a sentence; None for one that leads somewhere."""
        try:
            self._look_up(reference)
        except (LookupError, SpecError):
            return self._nowhere(reference)[0]
        return None

    def _nowhere(self, reference: str, *, endless: bool = False) -> tuple[str]:
        if endless:
            return (f"{reference} leads back to itself",)
        if not reference.startswith("#"):
            try:
                self.files.target(reference, "")
            except SpecError as error:
                return (error.what,)
        written = reference
        for name in self.files.parts:
            written = written.replace(f"#{pointer_of(('x-files', name))}", f"{name}#")
        return (f"{written} points to nothing in {'this file' if written == reference else 'that file'}",)

    def _written_at(self, reference: str) -> dict[str, Any]:
        inner = reference.rpartition("#")[2]
        return {"file": self.source.path, "line": line_of_text(self.source, reference) or line_of_text(self.source, inner), "key": "$ref"}

    def expand(self, node: Any, _open: tuple[str, ...] = ()) -> Any:
        """`node` with every reference below it replaced by its target, what stands beside it put on top; a cycle ends in `{}`."""
        if isinstance(node, dict):
            reference = node.get("$ref")
            if isinstance(reference, str):
                if reference in _open or len(_open) > _DEEPEST:
                    return {}
                target = self.expand(self.deref({"$ref": reference}), (*_open, reference))
                beside = {key: self.expand(value, _open) for key, value in node.items() if key != "$ref"}
                if not beside or not isinstance(target, dict):
                    return target
                return (
                    {**target, **beside} if set(beside) <= _ANNOTATIONS or not set(beside) & set(target) else {"allOf": [target], **beside}
                )
            return {key: self.expand(value, _open) for key, value in node.items()}
        if isinstance(node, list):
            return [self.expand(value, _open) for value in node]
        return node


_ANNOTATIONS = {"title", "description", "default", "example", "examples", "deprecated", "readOnly", "writeOnly", "summary"}
_DEEPEST = 60


def read_openapi(path: Path, used: Iterable[str] | None = None, media_types: Mapping[str, str] | None = None) -> OpenApi:
    """The OpenAPI document at `path`, in one form and indexed (not yet judged by a validator: see `testcard spec lint`)."""
    return OpenApi(read_document(path), used, media_types)


__all__ = ["OpenApi", "Operation", "Parameter", "PathOperation", "Schema", "read_openapi", "server_url"]
