"""Requests made from the schema: positive ones that must be accepted, negative ones one mutation away from an accepted base.

Schemathesis proposes values (coverage and fuzzing); what is sent is built from the safe domain (`schema_domain`), so a
positive case is never junk, asks for one picture, and is never billed twice. A negative case counts only when the case
named in `base` was accepted in the same run. Everything follows from the seed: same provider data, same cases, same bytes.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, zip_longest
from typing import Any

import jsonschema_rs

from testcard.harness.check.generation import schemathesis_engine as engine
from testcard.harness.check.generation.mutations import Mutation, mutations, readings
from testcard.harness.check.generation.schema_domain import Domain, domains
from testcard.harness.check.generation.schemathesis_engine import Kind
from testcard.harness.rules.schema_judge import located
from testcard.harness.rules.scope import Scope
from testcard.harness.wire.encode import build
from testcard.harness.wire.fields import WireFields
from testcard.harness.wire.model import InputImage, TaskRequest, WireRequest
from testcard.specs.errors import SpecError
from testcard.specs.loader import Provider
from testcard.specs.openapi import Operation, Schema
from testcard.specs.profile import Level

Row = dict[str, int]
_Choice = tuple[str, int | None]
_Pair = tuple[_Choice, _Choice]
_DRAWS = 60
_MOST_ROWS = 60


@dataclass(frozen=True, slots=True)
class SchemaCase:
    """One request to send, and what it shows.

    `id` is stable between runs of one seed; `description` says in words what is sent (positive) or broken (negative).
    `place` and `line`: where the OpenAPI file makes the promise; `at`: JSON pointer into the request body (or `path:NAME`).
    `fields` is what to send; a malformed case carries bytes in `raw` instead, of media type `media_type`. `request` is the
    same in the task's terms (of the base, for a negative case). Negative only: `kind`, `base` (the id of the positive case it
    differs from), `parameter` (wire name), `coercible` (a lenient server may read the value as a valid one), `null` (it is
    null where the field might have been left out). `may_refuse`: the
    profile leaves the server free to refuse it, so a 4xx is no violation. `spare`: each of its values is shown by an earlier
    case, and only their combination is new. `images`: the most pictures it can make.
    """

    id: str
    positive: bool
    description: str
    place: str
    line: int
    fields: WireFields
    request: TaskRequest
    at: str = ""
    kind: Kind | None = None
    base: str | None = None
    parameter: str | None = None
    coercible: bool = False
    null: bool = False
    may_refuse: bool = False
    spare: bool = False
    images: int = 1
    raw: bytes | None = None
    media_type: str | None = None

    @property
    def level(self) -> Level:
        """The most that a broken promise here can count as: refusing a request without a required field is a must.

        Null for an optional field is commonly read as the field left out: that it is accepted is worth knowing, and no more.
        """
        if self.null:
            return "info"
        return "must" if self.positive or self.kind == "missing-required" else "should"


#: Rows of a domain that are sent whatever else a check needs; the further ones of a wide operation only where there is room.
_MOST_SURE_ROWS = 12


def generate(
    provider: Provider, operation_id: str, *, seed: int, model: str | None = None, max_positive: int = 16, max_negative: int = 24
) -> list[SchemaCase]:
    """The schema cases of an operation, positive before negative, the most telling first; at most as many of each as asked.

    Raises `SpecError` when a value that the profile says must be accepted breaks the OpenAPI file. Operations without a
    body that the check fills in (polling) have none.
    """
    scope = Scope(provider, operation_id, seed=seed, model=model)
    found = domains(scope)
    if not found:
        return []
    positive = _distinct(provider, _positive(scope, found))[:max_positive]
    negative = _distinct(provider, _negative(scope, found[0], positive[0].id, seed)) if positive else []
    return positive + negative[:max_negative]


def wire_bytes(provider: Provider, case: SchemaCase) -> WireRequest:
    """The case as bytes, without a key and for no particular host: what makes two cases the same."""
    request = build(provider, case.fields, base_url="", api_key=None, stream=bool(case.request.stream))
    return request if case.raw is None else replace(request, body=case.raw)


def _distinct(provider: Provider, cases: Iterable[SchemaCase]) -> list[SchemaCase]:
    """The cases without those whose URL and body came before."""
    kept: dict[tuple[str, bytes], SchemaCase] = {}
    for case in cases:
        request = wire_bytes(provider, case)
        kept.setdefault((request.url, request.body), case)
    return list(kept.values())


# ── positive ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def _positive(scope: Scope, found: Sequence[Domain]) -> Iterator[SchemaCase]:
    """Bases, the barest request, rows that cover all levels; then, spare, rows for pairs of them and each optional field alone."""
    make = _Maker(scope)
    for domain in found:
        yield make.positive(domain, "base", domain.base, "the base request")
    yield make.positive(found[0], "bare", found[0].barest(), "required fields only")
    pairs: list[SchemaCase] = []
    for domain in found:
        rows = _rows(domain, scope.seed)
        shown = domain.shown()
        # Where the server may refuse the base as well, one richer request is all that is worth its price.
        for number, row in enumerate(rows[:1] if make.refusable(domain) else rows, 1):
            case = make.positive(domain, f"values-{number:02d}", domain.request(row, prompt=number), domain.label(row))
            if shown.issuperset(row.items()) or number > _MOST_SURE_ROWS:
                pairs.append(replace(case, spare=True))
            else:
                shown |= set(row.items())
                yield case
    for one, other in zip_longest(_alone(make, found[0]), pairs):
        yield from (case for case in (one, other) if case is not None)


def _alone(make: _Maker, domain: Domain) -> Iterator[SchemaCase]:
    """Each optional field by itself."""
    for factor in domain.factors:
        if factor.without is not None:
            row = {**domain.smallest_row(), factor.name: 0}
            case = make.positive(domain, f"alone:{factor.name}", domain.request(row), f"only {factor.levels[0].label}")
            yield replace(case, spare=True)


def _rows(domain: Domain, seed: int) -> list[Row]:
    if not domain.factors:
        return []
    narrowed = domain.narrowed()
    pool = [*engine.cover(narrowed), *engine.draw(narrowed, seed=seed, count=_DRAWS)]
    levels = {factor.name: [*((None,) if factor.without is not None else ()), *range(len(factor.levels))] for factor in domain.factors}
    return pick_rows(pool, levels, limit=_MOST_ROWS, seen=[domain.smallest_row()])


@dataclass(frozen=True, slots=True)
class _Maker:
    """Makes positive cases, and holds each against the schema as the provider wrote it."""

    scope: Scope

    def positive(self, domain: Domain, name: str, request: TaskRequest, description: str) -> SchemaCase:
        scope = self.scope
        fields = domain.fields(request)
        self.hold_against_schema(fields)
        place, line = located(scope.provider.openapi, (*scope.operation.pointer, "requestBody"))
        return SchemaCase(
            id=f"{domain.task}/{name}" if name == "base" else f"schema/{domain.task}/{name}",
            positive=True,
            description=description,
            place=place,
            line=line,
            fields=fields,
            request=request,
            base=None if name == "base" else f"{domain.task}/base",
            may_refuse=self.refusable(domain) or scope.tolerates_fields(fields, request.model or scope.asked_model(domain.task)),
        )

    def refusable(self, domain: Domain) -> bool:
        """Whether the server may refuse the task's base request."""
        return self.scope.tolerates(domain.base)

    def hold_against_schema(self, fields: WireFields) -> None:
        operation = self.scope.operation
        parts: list[tuple[Schema, Any, tuple[str, ...]]] = [(operation.request_schema, plain(fields.body), ())]
        for name, sent in fields.path.items():  # text: what it may be read as counts
            schema = operation.path_parameters.get(name, {})
            fitting = [value for value in readings(sent) if _validator(schema).is_valid(value)]
            parts.append((schema, fitting[0] if fitting else sent, (name,)))
        for schema, value, above in parts:
            error = next(_validator(schema).iter_errors(value), None)
            if error is not None:
                self.refuse(operation, (*above, *error.instance_path))

    def refuse(self, operation: Operation, path: tuple[str | int, ...]) -> None:
        source = self.scope.provider.profile_source
        name = str(path[0]) if path else ""
        at = ("operations", operation.id, "fields", name)
        raise SpecError(
            f"a value that must be accepted breaks the schema in {operation.document.source.path.name}",
            file=source.path,
            line=source.line(at),
            key=".".join(part for part in at if part),
            hint=f"the schema is at {operation.document.source.path}:{operation.line('requestBody')}",
        )


# ── negative ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def _negative(scope: Scope, domain: Domain, base_id: str, seed: int) -> Iterator[SchemaCase]:
    """One mutation each of the base request; those about required fields first, then one of each kind and field in turn."""
    base = domain.fields(domain.base)
    source = random.Random(f"{scope.provider.id}/{scope.operation_id}/{seed}")

    def means(name: str) -> str | None:
        entry = scope.provider.field(scope.operation_id, name, domain.base.model)
        return entry.means if entry else None

    names: Counter[str] = Counter()
    made = mutations(scope.operation, base, scope.profile.lenient, means, source)
    first = sum(mutation.kind == "missing-required" for mutation in made)
    for index, mutation in enumerate([*made, None]):
        if index == first:
            yield from _malformed(scope, domain, base, base_id)
        if mutation is None:
            return
        name = f"{mutation.kind}:{mutation.name}"
        names[name] += 1
        place, line = located(scope.provider.openapi, mutation.schema)
        yield SchemaCase(
            id=f"schema/{domain.task}/{name}" + (f"-{names[name]}" if names[name] > 1 else ""),
            positive=False,
            description=mutation.description,
            place=place,
            line=line,
            fields=mutation.fields,
            request=domain.base,
            at=mutation.at,
            kind=mutation.kind,
            base=base_id,
            parameter=mutation.parameter,
            coercible=mutation.coercible,
            null=mutation.null,
            images=_images(scope, mutation),
        )


def _images(scope: Scope, mutation: Mutation) -> int:
    """Pictures that a server makes which takes the mutated request as it stands."""
    name = scope.profile.wire_name("n")
    value = mutation.fields.body.get(name, 1) if name is not None else 1
    return max(1, int(value)) if isinstance(value, int | float) else 1


def _malformed(scope: Scope, domain: Domain, base: WireFields, base_id: str) -> Iterator[SchemaCase]:
    """The base's body cut off before its end: JSON that never closes, a multipart body that ends after its first part's head.

    Parsers in wide use forgive a multipart body that lacks only its last boundary, so more than that is missing here.
    """
    request = build(scope.provider, base, base_url="", api_key=None)
    media_type = next((value for name, value in request.headers if name == "content-type"), None)
    if media_type is None or len(request.body) < 2:
        return
    end = request.body.find(b"\r\n\r\n") if media_type.startswith("multipart/") else len(request.body) - 1
    place, line = located(scope.provider.openapi, (*scope.operation.pointer, "requestBody"))
    yield SchemaCase(
        id=f"schema/{domain.task}/malformed:truncated",
        positive=False,
        description="the body ends before it is complete",
        place=place,
        line=line,
        fields=base,
        request=domain.base,
        kind="malformed",
        base=base_id,
        raw=request.body[: max(1, end)],
        media_type=media_type,
    )


def plain(value: Any) -> Any:
    """A request body as a JSON validator sees it: a file is a string of bytes that stays empty here."""
    if isinstance(value, InputImage):
        return ""
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


def _validator(schema: Any) -> jsonschema_rs.Draft202012Validator:
    return jsonschema_rs.Draft202012Validator(schema)


__all__ = ["Kind", "SchemaCase", "generate", "plain", "wire_bytes"]


def pick_rows(pool: Iterable[Row], levels: Mapping[str, Sequence[int | None]], limit: int, seen: Iterable[Row] = ()) -> list[Row]:
    """At most `limit` rows, most telling first, until every pair of levels is together in one (`seen` count as sent already).

    `levels` are the choices of each factor, None for leaving it out. Rows come from the pool while those help, then are
    made up from the pairs still missing (greedy, as in AETG by Cohen et al., 1997). Equal arguments give equal rows.
    """
    names = list(levels)
    candidates = list({_key(row, names): row for row in pool}.values())
    missing_levels = {(name, level) for name in names for level in levels[name]}
    missing_pairs = {pair for a, b in combinations(names, 2) for pair in _pairs_of(a, b, levels)}
    for row in seen:
        _strike(row, names, missing_levels, missing_pairs)
    rows: list[Row] = []
    while len(rows) < limit and (missing_levels or missing_pairs):
        best = max(candidates, key=lambda row: _worth(row, names, missing_levels, missing_pairs), default={})
        made = _made(names, levels, missing_levels, missing_pairs)
        if _worth(made, names, missing_levels, missing_pairs) > _worth(best, names, missing_levels, missing_pairs):
            best = made
        if not _strike(best, names, missing_levels, missing_pairs):
            break
        rows.append(best)
    return rows


def pairs_missing(rows: Iterable[Row], levels: Mapping[str, Sequence[int | None]]) -> int:
    """How many pairs of levels no row shows together."""
    names = list(levels)
    missing = {pair for a, b in combinations(names, 2) for pair in _pairs_of(a, b, levels)}
    for row in rows:
        _strike(row, names, set(), missing)
    return len(missing)


def _key(row: Row, names: Sequence[str]) -> tuple[int | None, ...]:
    return tuple(row.get(name) for name in names)


def _pairs_of(a: str, b: str, levels: Mapping[str, Sequence[int | None]]) -> Iterable[_Pair]:
    return (((a, first), (b, second)) for first in levels[a] for second in levels[b])


def _choices(row: Row, names: Sequence[str]) -> list[_Choice]:
    return [(name, row.get(name)) for name in names]


def _worth(row: Row, names: Sequence[str], missing_levels: set[_Choice], missing_pairs: set[_Pair]) -> tuple[int, int, int]:
    chosen = _choices(row, names)
    pairs = sum(pair in missing_pairs for pair in combinations(chosen, 2))
    return sum(choice in missing_levels for choice in chosen), pairs, -len(row)


def _strike(row: Row, names: Sequence[str], missing_levels: set[_Choice], missing_pairs: set[_Pair]) -> bool:
    before = len(missing_levels) + len(missing_pairs)
    chosen = _choices(row, names)
    missing_levels.difference_update(chosen)
    missing_pairs.difference_update(combinations(chosen, 2))
    return len(missing_levels) + len(missing_pairs) < before


def _made(names: Sequence[str], levels: Mapping[str, Sequence[int | None]], missing_levels: set[_Choice], missing_pairs: set[_Pair]) -> Row:
    """A row built factor by factor, each time with the level that adds most to what is missing; the hungriest factor first."""
    hunger = {name: sum(name in (a[0], b[0]) for a, b in missing_pairs) for name in names}
    chosen: dict[str, int | None] = {}
    for name in sorted(names, key=lambda name: -hunger[name]):

        def gain(level: int | None, name: str = name) -> tuple[int, int]:
            pairs = 0
            for other, taken in chosen.items():
                a, b = sorted(((name, level), (other, taken)), key=lambda choice: names.index(choice[0]))
                pairs += (a, b) in missing_pairs
            open_pairs = sum((name, level) in pair for pair in missing_pairs)
            return (pairs, open_pairs + ((name, level) in missing_levels))

        chosen[name] = max(levels[name], key=gain)
    return {name: level for name in names if (level := chosen[name]) is not None}
