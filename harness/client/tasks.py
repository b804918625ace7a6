"""What sync and async handles of tasks share, sans IO: what a submission came to, a task that another process submitted, one question about it."""

from __future__ import annotations

from testcard.harness.client.attending import TaskUpdate
from testcard.harness.client.call import Call
from testcard.harness.client.http import Exchanged
from testcard.harness.errors import UsageError
from testcard.harness.wire.course import Done, End, Purpose, Send, Steps
from testcard.harness.wire.decode import decode, status_of
from testcard.harness.wire.model import Answer, AsyncTask, WireRequest


def accepted(call: Call, done: Done[Exchanged]) -> Done[Exchanged]:
    """The same, for a submission that was taken; raises the typed error of one that was not."""
    if done.end is not End.ANSWERED:
        call.result(done)
    return done


def reference_of(done: Done[Exchanged]) -> str | None:
    """What the provider calls the task, else its address; None where the answer led to none."""
    task = done.answer.task if done.answer is not None else None
    return (task.reference or task.poll_url) if task is not None else None


def resumed(task_id: str, now_s: float) -> Done[Exchanged]:
    """As if the submission of this task had just been taken; `now_s` on the driver's clock."""
    by_address = task_id.startswith(("http://", "https://", "/"))
    task = AsyncTask(None if by_address else task_id, None, poll_url=task_id if by_address else None)
    return Done(End.ANSWERED, Answer(202, task=task), finished_s=now_s)


def named(task_id: str | None) -> str:
    """The id, where there is one to ask about."""
    if task_id is None:
        raise UsageError("the answer was the result already: there is no task to ask about", hint="wait() gives the result")
    return task_id


def alone(request: WireRequest, purpose: Purpose = "poll") -> Steps[Exchanged]:
    """One request and nothing after it."""
    reply: Exchanged = yield Send(request, purpose)
    return reply


def updated(call: Call, reply: Exchanged, *, told: bool = True) -> TaskUpdate:
    """What the answer says of the task; raises a typed error for one that is none. `told` False: that it was taken is all that matters."""
    if reply.failure is not None or reply.status is None:
        raise call.error_of(Done(End.NO_ANSWER, reply=reply, first=reply))
    if not 200 <= status_of(call.provider, reply.response()) < 300:
        protocol = call.provider.protocol(call.choice.operation)
        operation = (protocol.operation if protocol is not None else None) or call.choice.operation
        answer = decode(call.provider, operation, reply.response(), poll=True)
        raise call.error_of(Done(End.REFUSED, answer, reply, first=reply))
    return call.update_of(reply) if told else TaskUpdate(None, None)
