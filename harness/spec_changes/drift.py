"""What a target really sent against what its document says: statuses, media types, fields, words of an enum, types and nulls that are
not documented, and fields that are required and did not come. Each with the edits that would make the document say so.

Nothing here says who is wrong. That is for a person: the patch is a proposal, and a check judges the same answers by what was promised.
Only shapes go into it, never a value that was sent, but for words of an enum that the document lists itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from testcard.harness.intake.json_values import strict_json
from testcard.harness.runs.folder import RunReader
from testcard.harness.runs.records import Exchange
from testcard.harness.spec_changes.patch import Append, Edit, Put, Remove, edited
from testcard.harness.wire.decode import stood_for
from testcard.specs.errors import SpecError
from testcard.specs.loader import Provider
from testcard.specs.openapi import Operation
from testcard.specs.pointers import every, pointer_of
from testcard.specs.reading import DocumentFiles, Pointer

_UNREAD = object()
_MOST_ITEMS = 50
_MOST_NEW_WORDS = 20
_LONGEST_WORD = 60
_DEEPEST = 30
_MEANING = {
    400: "The request was not carried out.",
    401: "The key is missing or wrong.",
    402: "The account has to be paid for.",
    403: "The key does not allow this.",
    404: "There is no such thing.",
    405: "The method is not allowed.",
    413: "The request is too large.",
    415: "The media type is not supported.",
    422: "The request cannot be carried out.",
    429: "Too many requests.",
    500: "The server failed.",
    503: "The server is not available.",
}


@dataclass(frozen=True, slots=True)
class Spot:
    """A place in the document's files: the file's path from the document's folder ("" the document itself), and the keys in it."""

    file: str
    pointer: Pointer


@dataclass
class Drift:
    """One thing that the document does not say. `place`: where in the answer; `seen` of `of` answers of this operation and status showed it."""

    operation: str
    status: int
    place: str
    what: str
    kind: str
    spot: Spot
    line: int
    seen: int = 0
    of: int = 0
    exchanges: list[str] = field(default_factory=list)
    edits: list[tuple[str, Edit]] = field(default_factory=list)


def drift(provider: Provider, runs: Iterable[RunReader]) -> list[Drift]:
    """Everything that answers in these runs of a check show beside the provider's document, in the order of the document's operations."""
    finder = _Finder(provider)
    for run in runs:
        for exchange in run.exchanges():
            finder.look(run, exchange)
    return finder.result()


#: Place, kind, words, where the schema stands, and what would mend it.
_Difference = tuple[str, str, str, Spot, list[Edit]]


@dataclass
class _Answers:
    """All answers of one operation with one status and media type."""

    status: int
    media_type: str
    bodies: list[tuple[str, Any]] = field(default_factory=list)
    exchanges: list[str] = field(default_factory=list)


class _Finder:
    def __init__(self, provider: Provider) -> None:
        self.provider = provider
        self.files: DocumentFiles = provider.openapi.files
        self.old = self.files.version.startswith("3.0")
        self.answers: dict[tuple[str, int, str], _Answers] = {}

    def look(self, run: RunReader, exchange: Exchange) -> None:
        """Takes an exchange in; what asked by another method than the operation's asked something else."""
        operation = self.provider.openapi.operations.get(exchange.operation)
        answer = exchange.response
        if (
            operation is None
            or answer is None
            or not answer.complete
            or exchange.request.method != operation.method
            or exchange.source == "fetch"
        ):
            return
        body: Any = _UNREAD
        if _is_json(answer.media_type):
            with suppress(ValueError, RecursionError):
                body = strict_json(run.bytes_of(answer.body))
        if stood_for(self.provider.profile.errors, answer.status, body) != answer.status:
            return  # an error that is sent as a success: the success's schema is not about it
        key = (operation.id, answer.status, answer.media_type)
        group = self.answers.setdefault(key, _Answers(answer.status, answer.media_type))
        group.exchanges.append(exchange.id)
        if body is not _UNREAD:
            group.bodies.append((exchange.id, body))

    def result(self) -> list[Drift]:
        """What was found, everything once: a schema that several operations share is mended in one place."""
        found: list[Drift] = []
        done: set[tuple[Spot, str, str]] = set()
        order = list(self.provider.openapi.operations)
        for (operation, _, _), group in sorted(self.answers.items(), key=lambda one: (order.index(one[0][0]), one[0][1], one[0][2])):
            for one in self.of_group(self.provider.openapi.operations[operation], group):
                key = (one.spot, one.what, one.place.rpartition("/")[2])
                if key not in done:
                    done.add(key)
                    found.append(one)
        return found

    def of_group(self, operation: Operation, group: _Answers) -> Iterator[Drift]:
        base = self.operation_spot(operation)
        responses = self.follow(self.below(base, "responses"))
        status = str(group.status)
        entries = self.node(responses)
        keys = {str(key).upper(): str(key) for key in entries} if isinstance(entries, Mapping) else {}
        listed = next((keys[key] for key in (status, f"{status[0]}XX", "DEFAULT") if key in keys), None)
        schema = _schema_of([body for _, body in group.bodies], self.old)
        content = {group.media_type: {"schema": schema}} if _is_json(group.media_type) and group.bodies else {group.media_type: {}}
        if listed is None:
            response: dict[str, Any] = {"description": _MEANING.get(group.status, f"What is answered with {status}.")}
            if group.media_type:
                response["content"] = content
            yield self.drift(
                operation,
                group,
                "",
                f"the status {status} is not documented",
                "status",
                responses,
                [Put(responses.pointer, status, response)],
            )
            return
        place = self.follow(self.below(responses, listed))
        held = self.node(self.below(place, "content"))
        if not held:
            if group.bodies:
                yield self.drift(
                    operation,
                    group,
                    "",
                    f"{status} has a body, and none is documented",
                    "body",
                    place,
                    [Put(place.pointer, "content", content)],
                )
            return
        known = next((str(name) for name in held if str(name).partition(";")[0].strip().lower() == group.media_type), None)
        if known is None:
            if group.media_type and not any("*" in str(name) for name in held):
                where = self.below(place, "content")
                said = f"{status} as {group.media_type} is not documented"
                yield self.drift(
                    operation, group, "", said, "media-type", where, [Put(where.pointer, group.media_type, content[group.media_type])]
                )
            return
        spot = self.below(self.below(self.below(place, "content"), known), "schema")
        if self.node(spot) is not None and group.bodies:
            yield from self.merged(operation, group, spot)

    def merged(self, operation: Operation, group: _Answers, spot: Spot) -> Iterator[Drift]:
        """What the bodies show beside their schema, told once for all of them that show it."""
        found: dict[tuple[str, str], Drift] = {}
        for exchange, body in group.bodies:
            for place, kind, what, at, edits in self.walk(spot, body, "", 0):
                one = found.get((place, what))
                if one is None:
                    one = found[place, what] = self.drift(operation, group, place, what, kind, at, edits)
                    one.seen, one.exchanges = 0, []
                if exchange not in one.exchanges:
                    one.seen += 1
                    one.exchanges.append(exchange)
        # One field that is new in several bodies: its schema has to allow what all of them hold.
        for (place, _), one in found.items():
            if one.kind == "field":
                ((file, edit),) = one.edits
                assert isinstance(edit, Put)
                if edit.key == "properties":
                    name = next(iter(edit.value))
                    value: Any = {name: _schema_of(list(_values(group.bodies, place)), self.old)}
                else:
                    value = _schema_of(list(_values(group.bodies, place)), self.old)
                one.edits = [(file, Put(edit.at, edit.key, value))]
        yield from found.values()

    def walk(self, spot: Spot, value: Any, place: str, depth: int) -> Iterator[_Difference]:
        """What of a value its schema does not say: place, kind, words, where the schema stands and what would mend it."""
        spot = self.follow(spot)
        schema = self.node(spot)
        if not isinstance(schema, Mapping) or depth > _DEEPEST:
            return
        nearest = self.nearest(spot, schema, value, place, depth)
        if nearest is not None:
            yield from nearest
            return
        yield from self.types(spot, schema, value, place)
        if isinstance(value, Mapping):
            yield from self.fields(spot, schema, value, place, depth)
        elif isinstance(value, list):
            for item in value[:_MOST_ITEMS]:
                if "items" in schema:
                    yield from self.walk(self.below(spot, "items"), item, f"{place}/*", depth + 1)

    def types(self, spot: Spot, schema: Mapping[str, Any], value: Any, place: str) -> Iterator[_Difference]:
        stated = schema.get("type")
        names = [str(one) for one in (stated if isinstance(stated, list) else [stated] if stated is not None else [])]
        words = schema.get("enum")
        if value is None:
            if "null" in names or schema.get("nullable") is True or (not names and not isinstance(words, list)):
                return
            edits: list[Edit] = []
            if names:
                edits.append(Put(spot.pointer, "nullable", True) if self.old else Put(spot.pointer, "type", [*names, "null"]))
            if isinstance(words, list) and None not in words:
                edits.append(Append((*spot.pointer, "enum"), None))
            yield place, "null", "is null, and no null is documented", spot, edits
            return
        kind = _type_of(value)
        if names and kind not in names and not (kind == "integer" and "number" in names):
            known = [one for one in names if one != "integer"] if kind == "number" else names
            edit: list[Edit] = [] if self.old else [Put(spot.pointer, "type", [*known, kind] if known else kind)]
            if self.old and known == [] and kind == "number":
                edit = [Put(spot.pointer, "type", "number")]
            yield place, "type", f"is of the type {kind}, documented is {' or '.join(names)}", spot, edit
        elif isinstance(words, list) and value not in words:
            short = isinstance(value, str) and len(value) <= _LONGEST_WORD and value.isprintable()
            shown = value if short else f"a {kind} that is too long for a word" if isinstance(value, str) else str(value)
            yield (
                place,
                "enum",
                f"{shown} is no documented value",
                spot,
                [Append((*spot.pointer, "enum"), value)] if short or not isinstance(value, str) else [],
            )

    def fields(self, spot: Spot, schema: Mapping[str, Any], value: Mapping[str, Any], place: str, depth: int) -> Iterator[_Difference]:
        parts = [spot, *self.parts(spot)]
        homes: dict[str, Spot] = {}
        open_ended = False
        for part in parts:
            node = self.node(part)
            properties = node.get("properties") if isinstance(node, Mapping) else None
            for name in properties if isinstance(properties, Mapping) else ():
                homes.setdefault(str(name), part)
            further = node.get("additionalProperties") if isinstance(node, Mapping) else None
            open_ended = open_ended or isinstance(further, Mapping) or bool(isinstance(node, Mapping) and node.get("patternProperties"))
        for name, inner in value.items():
            below = f"{place}{pointer_of((name,))}"
            if name in homes:
                yield from self.walk(self.below(self.below(homes[name], "properties"), name), inner, below, depth + 1)
            elif not open_ended and len(name) <= _LONGEST_WORD and (homes or schema.get("type") == "object"):
                home = next((part for part in parts if isinstance(self.node(part), Mapping) and "properties" in self.node(part)), spot)
                new = _schema_of([inner], self.old)
                has = "properties" in self.node(home)
                edit: Edit = Put((*home.pointer, "properties"), name, new) if has else Put(home.pointer, "properties", {name: new})
                yield below, "field", "the field is not documented", home, [edit]
        for part in parts:
            required = self.node(part).get("required") if isinstance(self.node(part), Mapping) else None
            for name in required if isinstance(required, list) else ():
                if name not in value:
                    yield (
                        f"{place}{pointer_of((name,))}",
                        "missing",
                        "the field is required and did not come",
                        part,
                        [Remove((*part.pointer, "required"), name)],
                    )

    # ── places ────────────────────────────────────────────────────────────────────────────────────────────────────────

    def operation_spot(self, operation: Operation) -> Spot:
        return self.below(self.follow(Spot("", ("paths", operation.path))), operation.method.lower())

    def node(self, spot: Spot) -> Any:
        """What stands at a place, None for nothing."""
        try:
            return self.files.node(spot.file, tuple(map(str, spot.pointer)))
        except (SpecError, LookupError, ValueError):
            return None

    def below(self, spot: Spot, key: str | int) -> Spot:
        """A place one key further in; a status may be a number in YAML."""
        return Spot(spot.file, (*spot.pointer, str(key)))

    def follow(self, spot: Spot) -> Spot:
        """The place that the references at a place lead to."""
        for _ in range(20):
            node = self.node(spot)
            if not isinstance(node, Mapping) or not isinstance(node.get("$ref"), str):
                break
            try:
                spot = Spot(*self.files.target(node["$ref"], spot.file))
            except SpecError:
                break
        return spot

    def parts(self, spot: Spot) -> list[Spot]:
        """The parts of an `allOf`, followed."""
        node = self.node(spot)
        listed = node.get("allOf") if isinstance(node, Mapping) else None
        found = [
            self.follow(self.below(self.below(spot, "allOf"), index)) for index in range(len(listed) if isinstance(listed, list) else 0)
        ]
        return [inner for part in found for inner in (part, *self.parts(part))]

    def nearest(self, spot: Spot, schema: Mapping[str, Any], value: Any, place: str, depth: int) -> list[_Difference] | None:
        """What a value shows beside the one of several alternatives that it comes nearest to: that with the fewest differences, of equal
        ones that with most fields in common. None where there are no alternatives. Each is walked once, for they may lie in each other."""
        best: tuple[tuple[int, int], list[_Difference]] | None = None
        for word in ("oneOf", "anyOf"):
            for index in range(len(schema[word]) if isinstance(schema.get(word), list) else 0):
                one = self.follow(self.below(self.below(spot, word), index))
                differences = list(self.walk(one, value, place, depth + 1))
                known = self.node(one).get("properties") if isinstance(self.node(one), Mapping) else None
                shared = len(set(known) & set(value)) if isinstance(known, Mapping) and isinstance(value, Mapping) else 0
                rank = (len(differences), -shared)
                if best is None or rank < best[0]:
                    best = (rank, differences)
        return best[1] if best is not None else None

    def drift(self, operation: Operation, group: _Answers, place: str, what: str, kind: str, spot: Spot, edits: Sequence[Edit]) -> Drift:
        source = self.files.parts[spot.file] if spot.file else self.files.root
        return Drift(
            operation.id, group.status, place, what, kind, spot, source.line(spot.pointer), len(group.exchanges), len(group.exchanges),
            list(group.exchanges), [(spot.file, edit) for edit in edits],
        )  # fmt: skip


def _is_json(media_type: str) -> bool:
    return media_type == "application/json" or media_type.endswith("+json")


def _values(bodies: Iterable[tuple[str, Any]], place: str) -> Iterator[Any]:
    """Every value at a place of the bodies; `*` stands for each item of a list."""
    for _, body in bodies:
        yield from (value for _, value in every(body, place))


def _type_of(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int():
            return "integer"
        case float():
            return "number"
        case str():
            return "string"
        case list():
            return "array"
        case _:
            return "object"


def _schema_of(values: Sequence[Any], old: bool, depth: int = 0) -> dict[str, Any]:
    """A schema of the shape of these values: types, and below them fields and items; no bounds, no words."""
    kinds = sorted({_type_of(value) for value in values})
    if "number" in kinds and "integer" in kinds:
        kinds.remove("integer")
    nothing = "null" in kinds
    kinds = [kind for kind in kinds if kind != "null"]
    found: dict[str, Any] = {}
    if len(kinds) == 1 or (kinds and not old):
        found["type"] = kinds[0] if len(kinds) == 1 else kinds
        if nothing and not old:
            found["type"] = [*kinds, "null"]
    elif nothing and not old:
        found["type"] = "null"
    if nothing and old:
        found["nullable"] = True
    objects = [value for value in values if isinstance(value, Mapping)]
    if objects and depth < _DEEPEST:
        names = dict.fromkeys(name for one in objects for name in one if len(name) <= _LONGEST_WORD)
        if names:
            found["properties"] = {name: _schema_of([one[name] for one in objects if name in one], old, depth + 1) for name in names}
    items = [item for value in values if isinstance(value, list) for item in value[:_MOST_ITEMS]]
    if "array" in kinds and (items or old):
        found["items"] = _schema_of(items, old, depth + 1)
    return found


def patched(provider: Provider, found: Iterable[Drift]) -> tuple[dict[str, tuple[str, str]], list[Drift]]:
    """The document's files with everything written in, as name → (text before, text after); and what could not be written.

    Names are paths from the provider's folder.
    """
    files = provider.openapi.files
    sources = {"": files.root, **files.parts}
    texts = {name: source.text for name, source in sources.items()}
    left: list[Drift] = []
    made: list[tuple[str, Edit]] = []
    for one in found:
        if not one.edits:
            left.append(one)
        for file, edit in one.edits:
            edit = _joined(edit, file, made)
            if (file, edit) in made:
                continue
            try:
                texts[file] = edited(texts[file], [edit])
            except (LookupError, ValueError):
                left.append(one)
                continue
            made.append((file, edit))
    names = {name: name or files.root.path.name for name in sources}
    return {names[name]: (sources[name].text, text) for name, text in texts.items() if text != sources[name].text}, left


def _joined(edit: Edit, file: str, made: Sequence[tuple[str, Edit]]) -> Edit:
    """An edit on top of those made before: types and the first properties of one schema add up."""
    if not isinstance(edit, Put) or edit.key not in ("type", "properties"):
        return edit
    for other_file, other in reversed(made):
        if other_file == file and isinstance(other, Put) and (other.at, other.key) == (edit.at, edit.key):
            if edit.key == "type":
                return Put(edit.at, edit.key, list(dict.fromkeys([*other.value, *edit.value])))
            return Put(edit.at, edit.key, {**other.value, **edit.value})
    return edit
