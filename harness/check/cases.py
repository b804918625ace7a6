"""Requests of the plan before they are merged and priced, and those that the schema generator adds to what rules ask for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from testcard.harness.rules.rule import Probe
from testcard.harness.rules.scope import Scope
from testcard.harness.wire.fields import WireFields


@dataclass
class Draft:
    """A request while the plan is being collected: `fields` are worked out from the probe unless they are given."""

    probe: Probe
    source: Literal["probe", "schema-case"]
    fields: WireFields | None = None
    media_type: str | None = None
    raw_body: bytes | None = None
    serves: list[tuple[str, str]] = field(default_factory=list)
    level: str = "none"


def case_drafts(scope: Scope, rule_id: str) -> Iterator[Draft]:
    """The generated requests that belong to a rule: valid ones to request.accepts-valid, broken ones to request.refuses-invalid."""
    return iter(())
