"""Async tasks: accepted at once, queued, running and completed as time passes, kept until newer ones push them out."""

from __future__ import annotations

import asyncio
import secrets
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from testcard.mocks.exchange import Refused

State = Literal["queued", "running", "completed", "failed"]
#: share of the work time that a task waits before it runs
_QUEUE_SHARE = 0.3


@dataclass(slots=True)
class Task:
    """Accepted work. `work` makes the sync answer's body, once, when the task is first seen completed."""

    reference: str
    accepted_s: float
    takes_s: float
    work: Callable[[], Awaitable[Any]]
    origin: tuple[str, bytes] | None = None
    result: Any = None
    failure: Refused | None = None
    done: bool = False
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)


class Tasks:
    """Every task of one provider, the newest `keep`. `clock` is monotonic seconds."""

    def __init__(self, clock: Callable[[], float], *, keep: int = 10_000) -> None:
        self._clock = clock
        self._keep = keep
        self._tasks: OrderedDict[str, Task] = OrderedDict()
        self._by_key: dict[str, str] = {}

    def submit(self, work: Callable[[], Awaitable[Any]], takes_s: float, *, key: str | None = None, body: bytes = b"") -> tuple[Task, bool]:
        """The task and whether it is new: one idempotency key and body give one task; `Refused` with 409 for another body."""
        if key is not None and key in self._by_key:
            known = self._tasks[self._by_key[key]]
            if known.origin != (key, body):
                raise Refused(409, "this idempotency key was used with another body", code="idempotency_conflict")
            return known, False
        task = Task("0x" + secrets.token_hex(20), self._clock(), takes_s, work, None if key is None else (key, body))
        self._tasks[task.reference] = task
        if key is not None:
            self._by_key[key] = task.reference
        while len(self._tasks) > self._keep:
            _, old = self._tasks.popitem(last=False)
            if old.origin is not None:
                self._by_key.pop(old.origin[0], None)
        return task, True

    async def look(self, reference: str) -> tuple[Task, State, float]:
        """The task, its state and its age in seconds; `Refused` with 404 when there is none."""
        task = self._tasks.get(reference)
        if task is None:
            raise Refused(404, "there is no such task", code="task_not_found")
        age_s = self._clock() - task.accepted_s
        if age_s < task.takes_s:
            return task, "queued" if age_s < task.takes_s * _QUEUE_SHARE else "running", age_s
        async with task.turn:
            if not task.done:
                try:
                    task.result = await task.work()
                except Refused as failure:
                    task.failure = failure
                task.done = True
        return task, "completed" if task.failure is None else "failed", task.takes_s
