"""The lies a mock can tell, each the smallest that breaks one rule, each in one place and known by name.

A fault is named after the rule that has to catch it: `image.size`, or `image.size/half` where a rule has several. It is a
function at one stage of serving a request (see `testcard.mocks.stages`). To add one, write the function in the module
that is called as its rule's in `testcard.harness.rules.promises`, and decorate it with `fault`.
"""

from __future__ import annotations

from testcard.mocks.faults import (
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
    ways,
)
from testcard.mocks.faults.register import FAULTS, ActiveFault, Fault, FaultSource, parse_fault

__all__ = ["FAULTS", "ActiveFault", "Fault", "FaultSource", "parse_fault"]
del answers, auth, delivery, http, inputs, pictures, rates, request, seeds, streams, tasks, vision, ways
