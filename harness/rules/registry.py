"""Every rule by its id, in the order in which reports list them."""

from __future__ import annotations

from testcard.harness.rules.promises import (
    answers,
    auth,
    costs,
    delivery,
    http,
    inputs,
    pictures,
    rates,
    request,
    seeds,
    streams,
    tasks,
    vision,
)
from testcard.harness.rules.rule import Rule

_SUBJECTS = (http, auth, request, answers, costs, pictures, inputs, delivery, seeds, tasks, vision, streams, rates)
RULES: dict[str, Rule] = {entry.id: entry for subject in _SUBJECTS for entry in subject.RULES}
