"""The stages of serving a request at which a mock can depart from its plain way, and the functions that do so there.

A fault and what a variant does differently are the same kind of thing: a function at one stage, which gets the call and a value
and returns the value in another form. This module stands below all others of the mocks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

#: Where a request is on its way, and what a hook gets beside the call and may return in another form:
#: `method` the refusal of an undocumented method, None to serve it · `key` the refusal for a missing or wrong key, or None ·
#: `unread` the refusal of a body for its media type or because it cannot be read, None to read what there is of it ·
#: `problems` the body's departures from the schema · `parameters` those of the pictures asked for · `rendered` the pictures' bytes ·
#: `delivered` the same with base64 or address · `body` the JSON of a successful answer · `events` the pieces of a stream ·
#: `answer` any answer, errors too, before it is sent
Stage = Literal["method", "key", "unread", "problems", "parameters", "rendered", "delivered", "body", "events", "answer"]
Hook = Callable[[Any, Any], Any]


@dataclass(frozen=True, slots=True)
class StageHook:
    """A function that is called with every request it holds for, at one stage."""

    stage: Stage
    function: Hook = field(repr=False)


class StageHooks(tuple[StageHook, ...]):
    """The hooks of one request in their order; false when there are none."""

    __slots__ = ()

    def apply(self, stage: Stage, call: Any, value: Any) -> Any:
        """`value` as the hooks of this stage make it."""
        for hook in self:
            if hook.stage == stage:
                value = hook.function(call, value)
        return value


NO_HOOKS = StageHooks()
