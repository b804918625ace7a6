"""What the answers of an asynchronous API say about a task, in the words of its profile and no others.

The course, the rules and the reports all read states here, so that a word means the same to each of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from testcard.harness.wire.decode import speaks_of_content
from testcard.harness.wire.model import AsyncTask
from testcard.specs.profile import AsyncProtocol


class Phase(StrEnum):
    """How far a task is, whatever its provider calls that."""

    QUEUED = "queued"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"


_ENDS = (Phase.COMPLETED, Phase.FAILED)


@dataclass(frozen=True, slots=True)
class Told:
    """What one answer says about a task. `phase` None: no word of the profile's, or none at all (then `state` is None too).

    `moderated`: it failed because of what was asked for, not because of the server.
    """

    phase: Phase | None
    state: str | None = None
    moderated: bool = False

    @property
    def over(self) -> bool:
        """Whether the task has ended, one way or the other."""
        return self.phase in _ENDS


NOTHING_TOLD = Told(None)


def told(protocol: AsyncProtocol, task: AsyncTask | None) -> Told:
    """What an answer's task says.

    A word that the profile does not know ends nothing by itself, but what the answer brings does: a result completes the task,
    an error fails it. Nothing, an empty text, list or object is not brought.
    """
    if task is None:
        return NOTHING_TOLD
    phase = _phase_of(protocol, task.state)
    if phase is None and _brought(task.result):
        phase = Phase.COMPLETED
    elif phase is None and task.state is not None and _brought(task.error):
        phase = Phase.FAILED
    return Told(phase, task.state, phase is Phase.FAILED and speaks_of_content(f"{task.state} {task.error}"))


def _phase_of(protocol: AsyncProtocol, state: str | None) -> Phase | None:
    word = protocol.phase(state)
    return None if word is None else Phase.FAILED if word in ("moderated", "cancelled") else Phase(word)


def _brought(value: Any) -> bool:
    return value is not None and value != "" and value != {} and value != []
