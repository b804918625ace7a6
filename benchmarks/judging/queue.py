"""What finished attempts were worth, decided after their clocks have stopped, and never in the way of what falls due."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

import gevent
import gevent.event
import gevent.threadpool

from testcard.benchmarks.judging.judge import Judgement, judge, unjudged
from testcard.benchmarks.plan.cells import Attempt

#: Finished attempts, and bytes of their answers, that may wait to be judged. Beyond, a finished request waits (after its clock
#: has stopped), no arrival does.
BACKLOG = 512
BACKLOG_BYTES = 64 * 1024 * 1024
#: Answers up to this size whose pixels are not decoded are judged in the event loop, in at most about 0.5 ms. A thread would hold
#: the interpreter for as long, and the way to it and back costs as much as judging 300 KB.
INLINE_BYTES = 2 * 1024 * 1024
#: Small answers are judged for so long in one go before what has become due goes first.
SLICE_S = 0.0004
clock = time.monotonic


class Judging:
    """Judges attempts one after another on a greenlet of its own and hands each with its judgement to `record`.

    `hurried`: no pixel is decoded from now on, so that what waits is judged in milliseconds each.

    An exception of the judge's or the recorder's is a mistake of ours: it goes to `failed`, and judging goes on. An attempt that the judge
    raises on is recorded all the same: it was sent.
    """

    def __init__(self, record: Callable[[Attempt, Judgement], None], failed: Callable[[BaseException], None]) -> None:
        self._record = record
        self._failed = failed
        self._waiting: deque[tuple[Attempt, int]] = deque()
        self._bytes = 0
        self._more = gevent.event.Event()
        self._room = gevent.event.Event()
        self._idle = gevent.event.Event()
        self._thread = gevent.threadpool.ThreadPool(1)
        self._greenlet = gevent.spawn(self._work)
        self.hurried = False

    def put(self, attempt: Attempt) -> None:
        """Queues an attempt; waits first while too much is queued. When that wait is cut short, the attempt is queued all the same."""
        size = attempt.size
        try:
            while self._waiting and (len(self._waiting) >= BACKLOG or self._bytes + size > BACKLOG_BYTES):
                self._room.clear()
                self._room.wait()
        finally:
            self._waiting.append((attempt, size))
            self._bytes += size
            if not self._more.is_set():
                self._more.set()

    def join(self) -> None:
        """Waits until everything queued is judged and recorded."""
        while self._waiting or not self._idle.is_set():
            self._idle.clear()
            self._more.set()
            self._idle.wait()

    def close(self) -> None:
        """Judges what is left and ends."""
        self.join()
        self._greenlet.kill()
        self._thread.kill()

    def _work(self) -> None:
        waiting = self._waiting
        since = clock()
        while True:
            if not waiting:
                self._more.clear()
                self._idle.set()
                self._more.wait()
                since = clock()
                continue
            self._idle.clear()
            attempt, size = waiting.popleft()
            try:
                self._record(attempt, self._judged(attempt))
            except Exception as error:  # noqa: BLE001 (raised again by the engine)
                self._failed(error)
            self._bytes -= size
            if not self._room.is_set():
                self._room.set()
            if clock() - since > SLICE_S:
                gevent.sleep(0)
                since = clock()

    def _judged(self, attempt: Attempt) -> Judgement:
        try:
            return self.judge_now(attempt)
        except Exception as error:  # noqa: BLE001 (raised again by the engine)
            self._failed(error)
            return unjudged(attempt, error)

    def _unhurried(self) -> bool:
        return not self.hurried

    def judge_now(self, attempt: Attempt) -> Judgement:
        """The judgement of an attempt: a small one at once, a long one on a thread, so that requests go on falling due meanwhile."""
        if (self.hurried or attempt.cell.decode_share == 0.0) and attempt.size <= INLINE_BYTES:
            return judge(attempt, pixels=self._unhurried)
        found: Judgement = self._thread.apply(judge, (attempt,), {"pixels": self._unhurried})
        return found
