"""One request from its sending to its last picture, as a load user carries its course out: on gevent, over prepared connections.

What follows an answer is the course's (`harness.wire.course`). Only what must happen before the next byte can be asked for happens on
the clock: an answer is parsed here when it may lead on, to a task or to addresses. Everything else is the judge's, after the clock
has stopped.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import gevent

from testcard.benchmarks.net.receive import Reply
from testcard.benchmarks.net.transport import Prepared, Transport, clock
from testcard.benchmarks.plan.cells import Attempt
from testcard.harness.wire.addresses import Reach
from testcard.harness.wire.course import Done, DownloadEnd, End, Send, Step, Steps, Wait, course

T = TypeVar("T")

#: Ends of a course that leave no answer to the request, as the attempt's failure; all others that do are broken answers.
_FAILURES = {End.TASK_FAILED: "task-failed", End.TASK_MODERATED: "task-moderated", End.TASK_UNENDED: "timeout"}


class Downloads:
    """How often this process may still fetch a picture behind an address (`most` None: without a limit); `refused`: it wanted to once more."""

    def __init__(self, most: int | None = None) -> None:
        self.most = most
        self.count = 0
        self.refused = False

    def take(self) -> bool:
        """Counts one, where it may be."""
        if self.most is not None and self.count >= self.most:
            self.refused = True
            return False
        self.count += 1
        return True


def perform(
    attempt: Attempt, prepared: Prepared, transport: Transport, again: Callable[[], bool], downloads: Downloads | None = None
) -> None:
    """Sends the attempt's request and fills in what happened. Raises only when it is killed.

    A request that died on a kept connection before a byte of its answer goes out once more where `again` allows it: what it may have
    cost is booked then. Where it does not, nothing is known of the target, as of a request that was interrupted.
    """
    attempt.sent_s = clock()
    reply = transport.exchange(prepared)
    if reply.failure == "stale":
        if not again():
            attempt.reply, attempt.failure, attempt.done_s = reply, "interrupted", reply.ended_s
            return
        reply = transport.exchange(prepared, fresh=True)
    attempt.reply = reply
    attempt.done_s = reply.ended_s
    attempt.sent_s = reply.sent_s
    if reply.no_room:  # our memory's fault, and nothing is known of the target
        attempt.failure = "interrupted"
        return
    if (
        reply.failure is None
        and reply.status is not None
        and 200 <= reply.status < 300
        and attempt.cell.may_lead_on(reply.status, reply.content())
    ):
        _follow(attempt, reply, transport, downloads or Downloads())


def _follow(attempt: Attempt, reply: Reply, transport: Transport, downloads: Downloads) -> None:
    cell = attempt.cell
    steps: Steps[Done[Reply]] = course(
        cell.conditions, cell.asks[attempt.ask].wire, reply, deadline_s=attempt.sent_s + transport.timeouts.whole_s
    )
    done = _Driver(transport, cell.conditions.reach, downloads).run(steps)
    attempt.done_s = done.finished_s
    if done.started_s is not None and done.accepted_s is not None:
        attempt.queue_s = done.started_s - done.accepted_s
    if done.end is End.REFUSED:  # by the body of a success
        attempt.answer = done.answer
        return
    if done.end is not End.ANSWERED:
        lost = done.reply.failure if done.end in (End.TASK_LOST, End.RESULT_LOST) and done.reply is not None else None
        attempt.failure = _FAILURES.get(done.end, lost or "broken")
        attempt.answer = done.answer if done.end in (End.TASK_FAILED, End.TASK_MODERATED) else None
        return
    attempt.answer = done.answer
    attempt.downloads = done.downloads
    if any(found.end is DownloadEnd.DECLINED for found in done.downloads):
        attempt.failure = "interrupted"  # by the user's limit: nothing is known of what the target would have delivered
    ends = [found.reply.ended_s for found in done.downloads if found.reply is not None]
    if ends:
        attempt.done_s = max(done.finished_s, *ends)
        attempt.download_s = attempt.done_s - done.finished_s


class _Driver:
    """Carries a course's steps out in the present greenlet."""

    def __init__(self, transport: Transport, reach: Reach, downloads: Downloads) -> None:
        self._transport = transport
        self._reach = reach
        self._downloads = downloads

    def run(self, steps: Steps[T]) -> T:
        """The end of the course."""
        heard: Any = None
        while True:
            try:
                step = steps.send(heard)
            except StopIteration as stop:
                end: T = stop.value
                return end
            heard = self._exchanged(step) if isinstance(step, Send) else self._carried_out(step)

    def _exchanged(self, send: Send) -> Reply | None:
        now = clock()
        if send.purpose == "download" and not self._downloads.take():
            return None
        try:
            prepared = self._transport.prepare(send.request, self._reach)
        except ValueError as error:
            return Reply(now, last_byte_s=now, failure="broken", detail=str(error))
        return self._transport.exchange(prepared, within_s=None if send.by_s is None else send.by_s - now, fresh=send.fresh)

    def _carried_out(self, step: Step) -> Any:
        if isinstance(step, Wait):
            gevent.sleep(step.seconds)
            return clock()
        assert not isinstance(step, Send), "requests are sent by `run`"
        workers = [gevent.spawn(self.run, steps) for steps in step.courses]
        try:
            gevent.joinall(workers, raise_error=True)
        except BaseException:
            gevent.killall(workers)
            raise
        return [worker.value for worker in workers]
