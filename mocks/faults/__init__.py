"""The lies a mock can tell, each the smallest that breaks one rule, each in one place and known by name.

A fault is named after the rule that has to catch it: `image.size`, or `image.size/half` where a rule has several. It is a
function at one stage of serving a request (see `testcard.mocks.faults.fault.Stage`). To add one, write the function in the
module of its family and decorate it with `lie`.
"""

from __future__ import annotations

from testcard.mocks.faults import (
    answers,
    auth,
    delivery,
    http,
    inputs,
    pictures,
    requests,
    streams,
    tasks,
    vision,
)
from testcard.mocks.faults.fault import FAULTS, NO_LIES, ActiveFault, Fault, Liar, Lies, Stage, parse_fault

__all__ = ["FAULTS", "NO_LIES", "ActiveFault", "Fault", "Liar", "Lies", "Stage", "parse_fault"]
del answers, auth, delivery, http, inputs, pictures, requests, streams, tasks, vision
