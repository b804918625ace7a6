"""What changed between two versions of a provider's document, and whether it breaks a client that was written for the older one.

Breaking is, as for other tools that compare OpenAPI documents: of a request, whatever the older document allowed and the newer one does
not (a field more that is required, a value fewer, a bound that is tighter) or answers otherwise (another default); of an answer, whatever
the newer one may bring and the older one ruled out (null, a word more), or no longer promises (a field, a status). Descriptions, titles
and examples are no promise and are not compared.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from testcard.specs.openapi import OpenApi, Operation, Schema
from testcard.specs.pointers import reference_parts
from testcard.specs.reading import Pointer
from testcard.specs.schemas import body_schema, simplified

Side = Literal["operation", "request", "answer"]
#: Bounds of values: whether more of it allows more.
_BOUNDS = {
    "minimum": False, "exclusiveMinimum": False, "minLength": False, "minItems": False, "minProperties": False,
    "maximum": True, "exclusiveMaximum": True, "maxLength": True, "maxItems": True, "maxProperties": True,
}  # fmt: skip
#: Words that narrow what is allowed, in ways that are not weighed here: another one may refuse what the first allowed.
_NARROWING = ("pattern", "format", "multipleOf", "const", "uniqueItems")
_BRANCHES = ("oneOf", "anyOf", "allOf")
_DEEPEST = 40


@dataclass(frozen=True, slots=True)
class SpecChange:
    """One difference. `operation` is the operation's id (in the newer document, where it is there), `endpoint` its method and path.

    `place` says where in words; `field` is the name of the request's field or parameter, or of the answer's property, that it is about,
    "" for none; `status` is that of the answer. `document` says which of the two `pointer` leads into: the newer one, but for what was removed.
    """

    operation: str
    endpoint: str
    side: Side
    place: str
    what: str
    breaking: bool
    field: str = ""
    status: str = ""
    pointer: Pointer = ()
    document: Literal["old", "new"] = "new"


def compare(old: OpenApi, new: OpenApi) -> list[SpecChange]:
    """Every change from the older document to the newer one, operation by operation, what breaks first within each."""
    found: list[SpecChange] = []
    pairs, removed, added = _matched(old, new)
    for operation in removed:
        found.append(_of_operation(operation, "the operation is gone", True, "old"))
    for before, after in pairs:
        comparison = _Comparison(before, after)
        comparison.run()
        found += sorted(comparison.found, key=lambda change: not change.breaking)
    for operation in added:
        found.append(_of_operation(operation, "a new operation", False, "new"))
    return found


def _of_operation(operation: Operation, what: str, breaking: bool, document: Literal["old", "new"]) -> SpecChange:
    endpoint = f"{operation.method} {operation.path}"
    return SpecChange(operation.id, endpoint, "operation", "", what, breaking, pointer=operation.pointer, document=document)


def _matched(old: OpenApi, new: OpenApi) -> tuple[list[tuple[Operation, Operation]], list[Operation], list[Operation]]:
    """Operations of both documents: by method and path, then by id."""
    by_place = {(one.method, _nameless(one.path)): one for one in new.operations.values()}
    pairs: list[tuple[Operation, Operation]] = []
    left: list[Operation] = []
    for before in old.operations.values():
        after = by_place.pop((before.method, _nameless(before.path)), None)
        if after is None:
            left.append(before)
        else:
            pairs.append((before, after))
    by_id = {one.id: one for one in by_place.values()}
    removed: list[Operation] = []
    for before in left:
        moved = by_id.pop(before.id, None)
        if moved is None:
            removed.append(before)
        else:
            pairs.append((before, moved))
    order = list(old.operations)
    return sorted(pairs, key=lambda pair: order.index(pair[0].id)), removed, list(by_id.values())


def _nameless(path: str) -> str:
    """The path with its parameters without names: those are the document's own affair."""
    return "/".join("{}" if piece.startswith("{") and piece.endswith("}") else piece for piece in path.split("/"))


class _Comparison:
    """One operation in both documents."""

    def __init__(self, old: Operation, new: Operation) -> None:
        self.old, self.new = old, new
        self.found: list[SpecChange] = []

    def run(self) -> None:
        old, new = self.old, self.new
        if (old.method, _nameless(old.path)) != (new.method, _nameless(new.path)):
            self.add("operation", "", f"moved from {old.method} {old.path}", True)
        if old.servers and new.servers and not set(old.servers) & set(new.servers):
            self.add("operation", "servers", f"served at {', '.join(new.servers)}, before at {', '.join(old.servers)}", True)
        self.security()
        self.parameters()
        self.request()
        self.answers()

    def add(self, side: Side, place: str, what: str, breaking: bool, *, gone: bool = False, **more: Any) -> None:
        operation = self.old if gone else self.new
        pointer = (*operation.pointer, *more.pop("at", ()))
        endpoint = f"{self.new.method} {self.new.path}"
        self.found.append(
            SpecChange(self.new.id, endpoint, side, place, what, breaking, pointer=pointer, document="old" if gone else "new", **more)
        )

    def security(self) -> None:
        before, after = (_ways_in(one) for one in (self.old, self.new))
        for way in sorted(after - before):
            if not before & after:  # beside a way that goes on, another one breaks nothing
                self.add("request", "security", f"asks for {way}", True, at=("security",))
                return
        for way in sorted(before - after):
            self.add("request", "security", f"{way} will no longer do", bool(after), gone=True, at=("security",))

    def parameters(self) -> None:
        before = {(one.location, one.name): one for one in self.old.parameters}
        after = {(one.location, one.name): one for one in self.new.parameters}
        in_path = [[one for key, one in each.items() if key[0] == "path"] for each in (before, after)]
        renamed = {}
        if len(in_path[0]) == len(in_path[1]):  # a parameter of the path has no name on the wire
            renamed = {("path", two.name): ("path", one.name) for one, two in zip(*in_path, strict=True)}
        for key, now in after.items():
            was = before.pop(renamed.get(key, key), None)
            place, at = f"{key[0]} parameter {key[1]}", ("parameters",)
            if was is None:
                what = "a new parameter that has to be sent" if now.required else "a new parameter"
                self.add("request", place, what, now.required, field=key[1], at=at)
                continue
            if now.required and not was.required:
                self.add("request", place, "has to be sent now", True, field=key[1], at=at)
            if was.required and not now.required:
                self.add("request", place, "may be left out now", False, field=key[1], at=at)
            self.schemas("request", place, was.schema, now.schema, key[1], "", at)
        for location, name in before:
            self.add("request", f"{location} parameter {name}", "the parameter is gone", True, field=name, gone=True, at=("parameters",))

    def request(self) -> None:
        before, after = self.old.request_content, self.new.request_content
        at = ("requestBody", "content")
        if before and not after:
            self.add("request", "body", "a request has no body any more", True, gone=True, at=("requestBody",))
            return
        for name in before:
            if name not in after:
                self.add("request", f"body as {name}", "will no longer do", True, gone=True, at=(*at, name))
        for name in after:
            if name not in before:
                required = not before and bool(after[name].get("required"))
                self.add("request", f"body as {name}", "has to be sent now" if required else "will do as well", required, at=(*at, name))
        shared = [name for name in after if name in before]
        for number, name in enumerate(shared):
            if number and (before[name], after[name]) == (before[shared[0]], after[shared[0]]):
                continue  # the same body in another spelling
            place = "body" if number == 0 else f"body as {name}"
            self.schemas("request", place, before[name], after[name], "", "", (*at, name, "schema"))

    def answers(self) -> None:
        before, after = self.old.responses, self.new.responses
        for status in before:
            if status not in after:
                breaking = status.startswith("2")
                self.add("answer", status, "the status is gone", breaking, status=status, gone=True, at=("responses", status))
        for status, response in after.items():
            at: Pointer = ("responses", status)
            if status not in before:
                self.add("answer", status, "a new status", False, status=status, at=at)
                continue
            was, now = (one.get("content") or {} for one in (before[status], response))
            for name in was:
                if name not in now:
                    self.add("answer", f"{status} as {name}", "is gone", True, status=status, gone=True, at=(*at, "content", name))
            for name in now:
                if name not in was:
                    self.add("answer", f"{status} as {name}", "is new", False, status=status, at=(*at, "content", name))
                    continue
                schemas = (_schema(self.old, was[name]), _schema(self.new, now[name]))
                self.schemas("answer", status, *schemas, "", status, (*at, "content", name, "schema"))

    # ── schemas ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def schemas(self, side: Side, place: str, old: Any, new: Any, field: str, status: str, at: Pointer, depth: int = 0) -> None:
        """Adds what changed between two schemas, dereferenced and simplified, and below them."""
        old, new = (one if isinstance(one, Mapping) else {} for one in (old, new))
        if old == new or depth > _DEEPEST:
            return
        here = _Here(self, side, place, field, status, at)
        here.types(old, new)
        here.words(old, new)
        here.bounds(old, new)
        here.narrowing(old, new)
        if side == "request" and old.get("default") != new.get("default"):
            here.add(f"what holds without it is {_word(new.get('default'))}, before {_word(old.get('default'))}", True, key="default")
        self.properties(here, old, new, depth)
        if "items" in old or "items" in new:
            self.schemas(side, f"{place}/*", old.get("items"), new.get("items"), field, status, (*at, "items"), depth + 1)
        self.branches(here, old, new, depth)

    def properties(self, here: _Here, old: Schema, new: Schema, depth: int) -> None:
        before, after = (_properties(one) for one in (old, new))
        needed, needs = (set(one.get("required") or ()) for one in (old, new))
        request, closed = here.side == "request", new.get("additionalProperties") is False
        for name in before:
            if name not in after:
                refused = ", and what is not listed is refused" if request and closed else ""
                here.below(name).add(f"the field is gone{refused}", True, gone=True)
        for name, now in after.items():
            inner = here.below(name)
            if name not in before:
                has_to = request and name in needs
                inner.add("a new field that has to be sent" if has_to else "a new field", has_to)
                continue
            if name in needs and name not in needed:
                inner.add("has to be sent now" if request else "is always there now", request)
            if name in needed and name not in needs:
                inner.add("may be left out now" if request else "may be missing now", not request)
            self.schemas(here.side, inner.place, before[name], now, inner.field, here.status, inner.at, depth + 1)
        if request and closed and old.get("additionalProperties") is not False:
            here.add("fields that are not listed are refused now", True, key="additionalProperties")

    def branches(self, here: _Here, old: Schema, new: Schema, depth: int) -> None:
        for word in _BRANCHES:
            before, after = ([simplified(one) for one in each.get(word) or ()] for each in (old, new))
            keys = [[_key(one) for one in each] for each in (before, after)]
            was = [one for one, key in zip(before, keys[0], strict=True) if key not in keys[1]]
            now = [one for one, key in zip(after, keys[1], strict=True) if key not in keys[0]]
            if not was and not now:
                continue
            if len(was) == len(now):
                for one, other in zip(was, now, strict=True):
                    self.schemas(here.side, here.place, one, other, here.field, here.status, (*here.at, word), depth + 1)
                continue
            more = len(now) > len(was)
            narrower = (word == "allOf") == more
            verb = "more" if more else "fewer"
            here.add(f"{abs(len(now) - len(was))} {verb} in {word}", narrower == (here.side == "request"), key=word)


@dataclass(frozen=True, slots=True)
class _Here:
    """A place in both schemas, and what is said about it."""

    owner: _Comparison
    side: Side
    place: str
    field: str
    status: str
    at: Pointer

    def below(self, name: str) -> _Here:
        place = f"{self.place}/{name}"
        return replace(
            self, place=place, field=self.field if self.side == "request" and self.field else name, at=(*self.at, "properties", name)
        )

    def add(self, what: str, breaking: bool, *, gone: bool = False, key: str = "") -> None:
        at = (*self.at, key) if key else self.at
        self.owner.add(self.side, self.place, what, breaking, gone=gone, field=self.field, status=self.status, at=at)

    def changed(self, fewer: Sequence[Any], more: Sequence[Any], say: str, key: str) -> None:
        """Says which values left and which came: a request must not lose any, an answer must not gain any."""
        request = self.side == "request"
        if fewer:
            self.add(
                f"{say} {_words(fewer)} {'is' if len(fewer) == 1 else 'are'} {'no longer accepted' if request else 'gone'}",
                request,
                key=key,
            )
        if more:
            self.add(
                f"{say} {_words(more)} {'is' if len(more) == 1 else 'are'} {'accepted now' if request else 'new'}", not request, key=key
            )

    def types(self, old: Schema, new: Schema) -> None:
        before, after = (_types(one) for one in (old, new))
        if before == after:
            return
        everything = {"string", "number", "integer", "boolean", "array", "object", "null"}
        was, now = before or everything, after or everything
        fewer = sorted(one for one in was - now if not (one == "integer" and "number" in now))
        more = sorted(one for one in now - was if not (one == "integer" and "number" in was))
        if not before:
            self.add(f"has to be {_words(sorted(after))} now", True, key="type") if self.side == "request" else self.add(
                f"is {_words(sorted(after))} now", False, key="type"
            )
        elif not after:
            self.add("may be of any type now", self.side == "answer", key="type")
        else:
            self.changed(fewer, more, "the type", "type")

    def words(self, old: Schema, new: Schema) -> None:
        before, after = (list(each.get("enum") or ()) for each in (old, new))
        if not before and not after:
            return
        if not before or not after:
            what = "accepts" if self.side == "request" else "is"
            if after:
                self.add(f"{what} {_words(after)} alone now", self.side == "request", key="enum")
            else:
                self.add(f"{what} more than {_words(before)} now", self.side == "answer", key="enum")
            return
        had, have = ({_key(one) for one in each} for each in (before, after))
        fewer = [one for one in before if _key(one) not in have and one is not None]
        self.changed(
            fewer,
            [one for one in after if _key(one) not in had and one is not None],
            "the value" if len(fewer) < 2 else "the values",
            "enum",
        )

    def bounds(self, old: Schema, new: Schema) -> None:
        for word, more_is_wider in _BOUNDS.items():
            was, now = old.get(word), new.get(word)
            if was == now or isinstance(was, bool) or isinstance(now, bool):
                continue
            wider = now is None if was is None or now is None else (now > was) == more_is_wider
            said = f"{word} is {_word(now)}, before {_word(was)}"
            self.add(said, wider != (self.side == "request") and (self.side == "request" or was is not None), key=word)

    def narrowing(self, old: Schema, new: Schema) -> None:
        for word in _NARROWING:
            was, now = old.get(word), new.get(word)
            if was == now:
                continue
            breaking = now is not None if self.side == "request" else was is not None
            self.add(f"{word} is {_word(now)}, before {_word(was)}", breaking, key=word)


def _ways_in(operation: Operation) -> set[str]:
    """The ways in which a request may be let in, each as the names of the keys it takes; none: it needs no key."""
    document = operation.document.raw
    schemes = (document.get("components") or {}).get("securitySchemes") or {}
    stated = operation.raw["security"] if "security" in operation.raw else document.get("security") or []
    if any(not one for one in stated):
        return set()
    return {" and ".join(sorted(_way(name, operation.document.deref(schemes.get(name) or {})) for name in one)) for one in stated}


def _way(name: str, scheme: Mapping[str, Any]) -> str:
    if scheme.get("type") == "apiKey":
        return f"a key in the {scheme.get('in')} {scheme.get('name')}"
    if scheme.get("type") == "http":
        return f"the {str(scheme.get('scheme')).lower()} scheme"
    return str(scheme.get("type") or name)


def _schema(operation: Operation, media: Any) -> Schema:
    return body_schema(operation.document.expand((media or {}).get("schema", {})))


def _properties(schema: Schema) -> dict[str, Any]:
    found = schema.get("properties")
    return {str(name): one for name, one in found.items()} if isinstance(found, Mapping) else {}


def _types(schema: Schema) -> set[str]:
    stated = schema.get("type")
    names = stated if isinstance(stated, list) else [stated] if stated is not None else []
    return {str(name) for name in names}


def _key(value: Any) -> str:
    return json.dumps(_promises(value), sort_keys=True, default=str)


def _promises(schema: Any) -> Any:
    """What of a schema is a promise: without its descriptions, titles and examples."""
    if isinstance(schema, Mapping):
        return {
            str(key): _promises(value)
            for key, value in schema.items()
            if not (key in ("description", "title", "example", "examples", "deprecated") and not isinstance(value, Mapping))
            and not str(key).startswith("x-")
        }
    return [_promises(one) for one in schema] if isinstance(schema, list) else schema


def _word(value: Any) -> str:
    return "none" if value is None else value if isinstance(value, str) else json.dumps(value)


def _words(values: Iterable[Any]) -> str:
    return ", ".join(map(_word, values))


def lines_of(change: SpecChange, old: OpenApi, new: OpenApi) -> tuple[str, int]:
    """The file and the line of a change: where the newer document says it, or the older one said it."""
    document = old if change.document == "old" else new
    file, line = document.source.place(_followed(document, change.pointer))
    return str(file), line


def _followed(document: OpenApi, pointer: Pointer) -> Pointer:
    """The pointer with the references on its way followed, as far as it leads: into what they lead to, not beside them."""
    place: list[str | int] = []
    node: Any = document.raw
    for key in pointer:
        for spot in _spots(document, node, tuple(place)):
            if isinstance(spot[1], Mapping) and key in spot[1]:
                place, node = [*spot[0], key], spot[1][str(key)]
                break
        else:
            break
    return tuple(place)


def _spots(document: OpenApi, node: Any, place: Pointer, depth: int = 0) -> Iterator[tuple[Pointer, Any]]:
    """The node, what its reference leads to, and the parts that it is put together from."""
    if not isinstance(node, Mapping) or depth > 8:
        return
    yield place, node
    reference = node.get("$ref")
    if isinstance(reference, str) and reference.startswith("#/"):
        target = document.deref({"$ref": reference})
        yield from _spots(document, target, reference_parts(reference), depth + 1)
    for word in _BRANCHES:
        for index, part in enumerate(node.get(word) or ()):
            yield from _spots(document, part, (*place, word, index), depth + 1)
