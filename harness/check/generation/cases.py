"""Requests of the plan before they are merged and priced, and those that the schema generator adds to what rules ask for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from testcard.harness.check.generation.schema_cases import SchemaCase, generate
from testcard.harness.check.judging.levels import level_of
from testcard.harness.rules.promises.request import ACCEPTS, N_RANGE, REFUSES, STEP
from testcard.harness.rules.registry import RULES
from testcard.harness.rules.rule import Expectation, Probe
from testcard.harness.rules.scope import Scope
from testcard.harness.wire.fields import WireFields

#: Rules that generated requests can belong to.
CASE_RULES = frozenset({ACCEPTS, REFUSES, STEP, N_RANGE})
#: Valid requests of an operation that show combinations of values, each of which another request shows already.
MOST_SPARE = 8
MOST_REFUSED = 40
_NO_LIMIT = 1000


@dataclass
class Draft:
    """A request while the plan is being collected: `fields` are worked out from the probe unless they are given.

    `kind` and `spare`: see `Step`.
    """

    probe: Probe
    source: Literal["probe", "schema-case"]
    fields: WireFields | None = None
    media_type: str | None = None
    raw_body: bytes | None = None
    images: int = 0
    serves: list[tuple[str, str]] = field(default_factory=list)
    level: str = "none"
    kind: str | None = None
    spare: bool = False


def case_drafts(scope: Scope) -> Iterator[tuple[str, Draft]]:
    """The generated requests, each with the rule it belongs to (see `rule_of`)."""
    spare = 0
    for case in generate(
        scope.provider, scope.operation_id, seed=scope.seed, model=scope.model, max_positive=_NO_LIMIT, max_negative=MOST_REFUSED
    ):
        spare += case.spare
        if case.spare and spare > MOST_SPARE:
            continue
        if case.kind == "malformed":
            # http.malformed-refused asks for the same request.
            continue
        yield rule_of(scope, case), _draft(scope, case)


def rule_of(scope: Scope, case: SchemaCase) -> str:
    """The rule that a generated request shows: valid ones are accepted; of broken ones, a step and the range of n have rules of their own."""
    if case.positive:
        return ACCEPTS
    n = scope.profile.wire_name("n")
    own = STEP if case.kind == "off-step" else N_RANGE if case.parameter == n and case.kind in ("below-minimum", "above-maximum") else None
    if own is not None and RULES[own].applies(scope) and level_of(scope, RULES[own]) != "none":
        return own
    return REFUSES


def _draft(scope: Scope, case: SchemaCase) -> Draft:
    expects: Expectation = "refuse" if not case.positive else "may-refuse" if case.may_refuse else "accept"
    probe = Probe(
        case.id,
        scope.operation_id,
        case.request,
        expects,
        base=case.base,
        change=case.description,
        place=case.place,
        level=case.level,
    )
    kind = f"{case.kind}, near" if case.coercible else case.kind
    images = case.images if scope.gives_pictures else 0
    return Draft(probe, "schema-case", case.fields, case.media_type, case.raw, images, kind=kind, spare=case.spare)
