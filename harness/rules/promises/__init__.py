"""The promises a person looks for, a module for each subject, none of which imports another; and every rule by its id.

What `harness/rules` may import, and the machinery that lies there.
"""

from __future__ import annotations

from testcard.harness.rules.promises import (
    answers,
    auth,
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

_SUBJECTS = (http, auth, request, answers, pictures, inputs, delivery, seeds, tasks, vision, streams, rates)
#: In the order in which reports list them.
RULES: dict[str, Rule] = {entry.id: entry for subject in _SUBJECTS for entry in subject.RULES}
