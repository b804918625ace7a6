"""Requests of the plan before they are merged and priced, and those that the schema generator adds to what rules ask for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from testcard.harness.check.schema_cases import SchemaCase, generate
from testcard.harness.rules.rule import Expectation, Probe
from testcard.harness.rules.scope import Scope
from testcard.harness.wire.fields import WireFields

ACCEPTS, REFUSES = "request.accepts-valid", "request.refuses-invalid"
MOST_ACCEPTED = 12
MOST_REFUSED = 40


@dataclass
class Draft:
    """A request while the plan is being collected: `fields` are worked out from the probe unless they are given."""

    probe: Probe
    source: Literal["probe", "schema-case"]
    fields: WireFields | None = None
    media_type: str | None = None
    raw_body: bytes | None = None
    images: int = 0
    serves: list[tuple[str, str]] = field(default_factory=list)
    level: str = "none"


def case_drafts(scope: Scope) -> Iterator[tuple[str, Draft]]:
    """The generated requests, each with the rule it belongs to: valid ones to request.accepts-valid, broken ones to request.refuses-invalid."""
    for case in generate(
        scope.provider, scope.operation_id, seed=scope.seed, model=scope.model, max_positive=MOST_ACCEPTED, max_negative=MOST_REFUSED
    ):
        if case.kind == "malformed" and (case.media_type or "").startswith("multipart/"):
            # Many parsers take a body whose last boundary is missing for complete, and nobody is worse off.
            continue
        yield ACCEPTS if case.positive else REFUSES, _draft(scope, case)


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
    return Draft(probe, "schema-case", case.fields, case.media_type, case.raw, case.images)
