"""Rules: one promise each, as data and a pure function over recorded exchanges; and the requests that show whether it is kept.

`RULES` is the registry, by id, in the order of reports. A rule looks only at records, so a run can be judged again later.
May import `testcard.specs`, `harness.wire`, the records of `harness.runs` and `harness.errors`; no sockets, clock, random sources or files.
"""

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
from testcard.harness.rules.rule import Observation, Probe, Rule

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

__all__ = ["RULES", "Observation", "Probe", "Rule"]
