"""Work that was handed in, sans IO: what a submission came to, a task that another process submitted, and the steps of what is asked about it."""

from __future__ import annotations

from collections.abc import Callable

from testcard.harness.client.attempts import TaskUpdate
from testcard.harness.client.call import Call
from testcard.harness.client.http import Exchanged
from testcard.harness.client.results import Result
from testcard.harness.errors import UsageError
from testcard.harness.wire.course import Done, End, Purpose, Send, Steps
from testcard.harness.wire.decode import decode
from testcard.harness.wire.encode import is_one_segment
from testcard.harness.wire.model import Answer, AsyncTask, WireRequest


class HandedIn:
    """Work that was handed in. `id` is what the provider calls it (None where the answer was the result already).

    What can be done with it, as steps: both clients carry them out. Raises the typed error of a submission that was not taken.
    """

    def __init__(self, call: Call, done: Done[Exchanged]) -> None:
        if done.end is not End.ANSWERED:
            call.result(done)
        task = done.answer.task if done.answer is not None else None
        call.attendance.accept(call.booked(done.answer, ()) if task is None else None)
        self._call = call
        self._done = done
        self.id = (task.reference or task.poll_url) if task is not None else None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.id!r}, operation={self._call.choice.operation!r})"

    def _waited(self, on_update: Callable[[TaskUpdate], None] | None) -> Steps[Result]:
        return self._call.result((yield from self._call.following(self._done, on_update)))

    def _asked(self) -> Steps[TaskUpdate]:
        reply = yield from _alone(self._call.poll(self._named()), "poll")
        _judge(self._call, reply)
        return self._call.update_of(reply)

    def _called_off(self) -> Steps[None]:
        _judge(self._call, (yield from _alone(self._call.cancellation(self._named()), "result")))

    def _named(self) -> str:
        if self.id is None:
            raise UsageError("the answer was the result already: there is no task to ask about", hint="wait() gives the result")
        return self.id


def resumed(task_id: str, now_s: float) -> Done[Exchanged]:
    """As if the submission of this task had just been taken; `now_s` on the driver's clock. `UsageError` for what no task is called."""
    by_address = task_id.startswith(("http://", "https://", "/"))
    if not by_address and not is_one_segment(task_id):
        raise UsageError(f"{task_id[:80]!r} is the id of no task", hint="pass the id that submit gave, or the task's address")
    task = AsyncTask(None if by_address else task_id, None, poll_url=task_id if by_address else None)
    return Done(End.ANSWERED, Answer(202, task=task), finished_s=now_s)


def _alone(request: WireRequest, purpose: Purpose) -> Steps[Exchanged]:
    """One request and nothing after it."""
    reply: Exchanged = yield Send(request, purpose)
    return reply


def _judge(call: Call, reply: Exchanged) -> None:
    """Raises a typed error for an answer that is no success."""
    if reply.failure is not None or reply.status is None:
        raise call.error_of(Done(End.NO_ANSWER, reply=reply, first=reply))
    if not 200 <= reply.status < 300:
        protocol = call.provider.protocol(call.choice.operation)
        operation = (protocol.operation if protocol is not None else None) or call.choice.operation
        answer = decode(call.provider, operation, reply.response(), poll=True)
        raise call.error_of(Done(End.REFUSED, answer, reply, first=reply))
