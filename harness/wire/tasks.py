"""What the answers of an asynchronous API say about a task, in the words of its profile and no others.

The course, the rules and the reports all read states here, so that a word means the same to each of them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from testcard.harness.wire.decode import speaks_of_content
from testcard.harness.wire.model import Answer, AsyncTask
from testcard.specs.pointers import at
from testcard.specs.profile import AsyncProtocol


class Phase(StrEnum):
    """How far a task is, whatever its provider calls that."""

    QUEUED = "queued"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    MODERATED = "moderated"  # it ended without a picture because of what was asked for
    CANCELLED = "cancelled"


_ENDS = (Phase.COMPLETED, Phase.FAILED, Phase.MODERATED, Phase.CANCELLED)


@dataclass(frozen=True, slots=True)
class Told:
    """What one answer says about a task. `phase` None: no word of the profile's, or none at all (then `state` is None too)."""

    phase: Phase | None
    state: str | None = None

    @property
    def over(self) -> bool:
        """Whether the task has ended, one way or the other."""
        return self.phase in _ENDS


NOTHING_TOLD = Told(None)


def told(protocol: AsyncProtocol, task: AsyncTask | None) -> Told:
    """What an answer's task says.

    A word that the profile does not know ends nothing by itself, but what the answer brings does: a result completes the task,
    an error fails it. Nothing, an empty text, list or object is not brought. A failure whose words are about the content is moderation.
    """
    if task is None:
        return NOTHING_TOLD
    word = protocol.phase(task.state) or task.phase
    phase = None if word is None else Phase(word)
    # A result that is the whole body is there from the beginning, and tells of no end.
    if phase is None and protocol.result and _brought(task.result):
        phase = Phase.COMPLETED
    elif phase is None and task.state is not None and _brought(task.error):
        phase = Phase.FAILED
    if phase is Phase.FAILED and speaks_of_content(f"{task.state} {task.error}"):
        phase = Phase.MODERATED
    return Told(phase, task.state)


def task_of(protocol: AsyncProtocol | None, answer: Answer) -> AsyncTask | None:
    """The task that a success leads to, with what it brings already; None for an answer that is one by itself.

    That is also one with the status that accepts a task, which names none and holds the pictures.
    """
    task = answer.task
    if task is None or protocol is None or (answer.pictures and not task.reference and task.poll_url is None):
        return None
    return replace(task, result=at(answer.json, protocol.result))


def _brought(value: Any) -> bool:
    return value is not None and value != "" and value != {} and value != []
