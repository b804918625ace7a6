"""Every rule by its id, in the order in which reports list them."""

from __future__ import annotations

from testcard.harness.rules.promises import (
    answers,
    auth,
    costs,
    defaults,
    delivery,
    http,
    image,
    lifetime,
    looks,
    masks,
    rate,
    ratio,
    refusals,
    request,
    schema,
    seed,
    streams,
    task_references,
    tasks,
    texts,
    uploads,
    vision,
)
from testcard.harness.rules.rule import Rule

_FAMILIES = (
    http,
    refusals,
    auth,
    request,
    texts,
    defaults,
    schema,
    answers,
    costs,
    image,
    looks,
    ratio,
    masks,
    uploads,
    delivery,
    lifetime,
    seed,
    tasks,
    task_references,
    vision,
    streams,
    rate,
)
RULES: dict[str, Rule] = {entry.id: entry for family in _FAMILIES for entry in family.RULES}
