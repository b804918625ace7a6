"""Runs a job's blocks on Locust's engine: an open-loop dispatcher or N closed-loop users for each, one block after another."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import gevent
import gevent.event
import gevent.pool
import gevent.queue
import gevent.threadpool
from greenlet import GreenletExit

from testcard.benchmarks.arrivals import schedule
from testcard.benchmarks.asks import seed_stream
from testcard.benchmarks.budget import Budget
from testcard.benchmarks.drive import Attempt, Cell, perform
from testcard.benchmarks.job import BlockJob, Job
from testcard.benchmarks.judge import Judgement, judge
from testcard.benchmarks.lateness import p99, worth_repeating
from testcard.benchmarks.recorder import ShardWriter
from testcard.benchmarks.sample import sample
from testcard.benchmarks.transport import Prepared, Reply, Transport, clock
from testcard.benchmarks.users import locust_environment
from testcard.benchmarks.workload import Workload
from testcard.harness.runs.records import Block

#: Between the making of a schedule and its first deadline.
LEAD_S = 0.02
#: Finished attempts that may wait for the judge; beyond, a finished request waits (after its clock has stopped), no arrival does.
BACKLOG = 512
#: Answers up to this size whose pixels are not decoded are judged in the event loop, in at most about 0.2 ms.
INLINE_BYTES = 128 * 1024
#: The rate on display is that of the last so many seconds.
RATE_WINDOW_S = 3.0


class Engine:
    """Everything that one load process does between reading its job and closing its shard."""

    def __init__(self, job: Job, workload: Workload, cells: list[Cell], transport: Transport, shard: ShardWriter) -> None:
        self.job = job
        self.workload = workload
        self.cells = cells
        self.transport = transport
        self.shard = shard
        self.budget = Budget(job.max_requests, job.max_cost_usd)
        self.stopping = gevent.event.Event()
        self.stop_reason: str | None = None
        self.fatal: tuple[str, str | None, int] | None = None
        self.error: BaseException | None = None
        self.planned_s = sum(block.whole_s for block in job.blocks)
        self.passed_s = 0.0
        self.in_flight = 0
        self.outcomes: dict[str, int] = {}
        self.recent: deque[tuple[float, float]] = deque(maxlen=400)
        self.first_status: dict[int, bool] = {}
        self.lag_log: dict[int, list[float]] = {}
        self.flight: gevent.pool.Group = gevent.pool.Group()
        self._environment: Any = locust_environment(self)
        self._queue: Any = gevent.queue.JoinableQueue(maxsize=BACKLOG)
        self._overflow: list[Attempt] = []
        self._thread = gevent.threadpool.ThreadPool(1)
        self._judge = gevent.spawn(self._judging)
        self._begin(job.blocks[0])

    def run(self, on_block: Callable[[Block], None]) -> None:
        """Runs block after block until the last, a stop, or an error of ours, which is raised."""
        records: list[Block] = []
        for block in self.job.blocks:
            if self.stopping.is_set():
                break
            records.append(self._block(block, len(records)))
            on_block(records[-1])
        for _ in range(self.job.repeats):
            late = worth_repeating(records, self.lag_log)
            if late is None or self.stopping.is_set():
                break
            again = next(
                block for block in self.job.blocks if (block.cell, block.stage, block.round) == (late.cell, late.stage, late.round)
            )
            self.planned_s += again.whole_s
            records.append(self._block(again, len(records), late.sequence))
            on_block(records[-1])

    def stop(self, reason: str) -> None:
        """No further request is sent; those in flight get the job's grace to finish."""
        if self.stop_reason is None:
            self.stop_reason = reason
        self.stopping.set()

    def close(self) -> None:
        """Judges what is left and closes the shard."""
        self._queue.join()
        for attempt in self._overflow:
            self._record(attempt, judge(attempt))
        self._judge.kill()
        self._environment.runner.quit()
        self._thread.kill()
        self.shard.close()
        self.transport.close()

    def guarded(self, work: Callable[[], None]) -> None:
        """Runs a user's work; an error of ours stops the run instead of being logged and forgotten."""
        try:
            work()
        except GreenletExit:
            raise
        except Exception as error:  # noqa: BLE001 (raised again by `run`)
            self.error = error
            self.stop("an internal error")

    # One block.

    def _begin(self, block: BlockJob, again: bool = False) -> None:
        self.block = block
        self.cell = self.cells[block.cell]
        self.scheduled = self.sent = self.cursor = 0
        self.lags: list[float] = []
        self.latencies: list[float] = []
        self.start_s = clock() + LEAD_S
        key = f"{self.job.seed}/{block.cell}/{block.stage}/{block.round}/{self.job.worker}{'/again' if again else ''}"
        self.key = key
        self.seeds: Iterator[bytes] = seed_stream(key)

    def _block(self, block: BlockJob, sequence: int, instead_of: int | None = None) -> Block:
        self._begin(block, again=instead_of is not None)
        cpu, busy, began = time.process_time(), time.thread_time(), clock()
        self._environment.runner.spawn_users({"OpenLoopUser": 1} if block.users is None else {"ClosedLoopUser": block.users})
        self._users_done()
        sent_until = clock()
        wall = max(sent_until - began, 1e-9)
        cpu, busy = time.process_time() - cpu, time.thread_time() - busy
        self._drain()
        complete = not self.stopping.is_set()
        ended = clock()
        self._queue.join()  # the next target's turn starts without this one's backlog
        self.shard.flush()
        self.passed_s += block.whole_s
        if self.error is not None:
            raise self.error
        lags, latencies = sorted(self.lags), sorted(self.latencies)
        self.lag_log[sequence] = lags
        return Block(
            sequence=sequence,
            instead_of=instead_of,
            cell=block.cell,
            provider=self.cell.label,
            model=self.cell.model,
            operation=self.cell.operation,
            stage=block.stage,
            round=block.round,
            worker=self.job.worker,
            started_s=self.start_s - self.job.started_s,
            ended_s=ended - self.job.started_s,
            warmup_s=block.warmup_s,
            duration_s=block.duration_s if complete else max(0.0, min(block.duration_s, sent_until - self.start_s - block.warmup_s)),
            offered_rps=block.rate_rps,
            users=block.users,
            scheduled=self.scheduled,
            sent=self.sent,
            dropped=max(0, self.scheduled - self.sent),
            send_lag_p99_s=p99(lags),
            send_lag_max_s=lags[-1] if lags else None,
            latency_p50_s=latencies[len(latencies) // 2] if latencies else None,
            busy_percent=100.0 * busy / wall,
            cpu_percent=100.0 * cpu / wall,
            complete=complete,
        )

    def _users_done(self) -> None:
        """Waits until nothing more is sent in this block: the dispatcher is done, or the closed loop's time is up."""
        users = self._environment.runner.user_greenlets
        end = self.start_s + self.block.whole_s
        while users and not self.stopping.is_set() and not (self.block.users is not None and clock() >= end):
            self.stopping.wait(0.005)

    def _drain(self) -> None:
        """Waits for what is in flight: to its own timeout, or for the grace once the run is stopping."""
        users = self._environment.runner.user_greenlets
        while (self.flight or users) and not self.stopping.wait(0.005):
            pass
        if self.flight or users:
            gevent.joinall([*self.flight, *users], timeout=self.job.grace_s)
            users.kill()
            self.flight.kill()

    # The two loops.

    def open_loop(self) -> None:
        """One dispatcher: absolute deadlines, a greenlet for each arrival. Waiting for a place under the cap counts as latency."""
        block = self.block
        offsets = schedule(self.workload.arrival, block.rate_rps or 0.0, block.whole_s, self.key)
        cap = self.workload.max_in_flight
        flight = self.flight = gevent.pool.Pool(cap) if cap is not None else gevent.pool.Group()
        start, warm_until = self.start_s, self.start_s + block.warmup_s
        self.scheduled = len(offsets)
        free_since = start
        for index, offset in enumerate(offsets):
            deadline = start + offset
            delay = deadline - clock()
            if delay <= 0:
                gevent.sleep(0)  # late: let what is in flight go on, then send at once
            while delay > 0 and not self.stopping.wait(delay):
                delay = deadline - clock()
            if cap is not None and flight.full():
                while flight.full() and not self.stopping.is_set():
                    flight.wait_available(timeout=0.5)
                free_since = clock()
            if self.stopping.is_set() or not self._reserve():
                self.scheduled = index  # what was due when the run was stopped
                return
            # What fell due while the cap held the dispatcher could not have been sent before it let go.
            flight.spawn(self._one, self._next(), deadline, max(deadline, free_since), deadline < warm_until)

    def closed_loop(self) -> None:
        """One of N users: a request, its answer, the next."""
        warm_until = self.start_s + self.block.warmup_s
        end = self.start_s + self.block.whole_s
        if (delay := self.start_s - clock()) > 0:
            gevent.sleep(delay)
        while (now := clock()) < end and not self.stopping.is_set():
            if not self._reserve():
                return
            self.scheduled += 1
            self._one(self._next(), now, now, now < warm_until)

    def _reserve(self) -> bool:
        if self.budget.reserve(self.cell.worst_usd[self.cursor % len(self.cell.asks)]):
            return True
        self.stop(self.budget.refusal or "the budget is spent")
        return False

    def _next(self) -> int:
        index = self.cursor % len(self.cell.asks)
        self.cursor += 1
        return index

    def _one(self, index: int, scheduled_s: float, could_send_s: float, warmup: bool) -> None:
        cell = self.cell
        connection, before, after = cell.prepared[index]
        data = before + next(self.seeds) + after if after else before
        attempt = Attempt(cell, index, self.block.round, self.block.stage, warmup, scheduled_s)
        self.sent += 1
        self.in_flight += 1
        try:
            perform(attempt, Prepared(connection.pool, connection.method, data, connection.stream), self.transport)
        except GreenletExit:
            attempt.done_s = clock()
            attempt.sent_s = attempt.sent_s or attempt.done_s
            attempt.failure = "interrupted"
        finally:
            self.in_flight -= 1
        attempt.lag_s = max(0.0, attempt.sent_s - could_send_s)
        if not warmup:
            self.lags.append(attempt.lag_s)
            self.latencies.append(attempt.done_s - scheduled_s)
        self.recent.append((attempt.done_s, attempt.done_s - scheduled_s))
        self._watch(attempt.cell, attempt.reply)
        if attempt.failure == "interrupted":
            self._record(attempt, Judgement("interrupted"))
        else:
            try:
                self._queue.put(attempt)
            except GreenletExit:  # stopped while waiting for the judge: its sample is there all the same
                self._overflow.append(attempt)

    def _watch(self, cell: Cell, reply: Reply | None) -> None:
        """Stops the run for what no further request can mend: a refused key at the start, an account without credit."""
        status = reply.status if reply is not None else None
        if status is None:
            return
        first = cell.target not in self.first_status
        self.first_status.setdefault(cell.target, True)
        if first and status in (401, 403):
            self.fatal = (f"{cell.label} answered {status} to the first request", "check the key and that it may use this model", 3)
            self.stop("the key was refused")
        elif status == 402:
            self.stop(f"{cell.label} answered 402: the account has no credit left")

    # After the clock has stopped.

    def _judging(self) -> None:
        while True:
            attempt = self._queue.get()
            try:
                self._record(attempt, self.judge_now(attempt))
            except Exception as error:  # noqa: BLE001 (raised again by `run`)
                self.error = self.error or error
                self.stop("an internal error")
            finally:
                self._queue.task_done()
            gevent.sleep(0)  # whatever has become due goes first

    def judge_now(self, attempt: Attempt) -> Judgement:
        """The judgement of an attempt: a small one at once, a long one on a thread, so that requests go on falling due meanwhile."""
        body = attempt.reply.body if attempt.reply is not None else b""
        if attempt.cell.decode_share == 0.0 and len(body) <= INLINE_BYTES and not attempt.downloads:
            return judge(attempt)  # tens of microseconds: less than the way to the thread and back
        found: Judgement = self._thread.apply(judge, (attempt,))
        return found

    def _record(self, attempt: Attempt, judgement: Judgement) -> None:
        self.budget.settle(attempt.cell.worst_usd[attempt.ask], judgement.cost_usd)
        self.outcomes[judgement.outcome] = self.outcomes.get(judgement.outcome, 0) + 1
        self.shard.add(sample(attempt, judgement, self.job.started_s, self.job.worker))

    def progress(self) -> dict[str, Any]:
        """How it goes, for the command's process to show."""
        now = clock()
        recent = sorted(latency for _, latency in self.recent)
        window = [done for done, _ in self.recent if done > now - RATE_WINDOW_S]
        within = min(max(now - self.start_s, 0.0), self.block.whole_s)
        failed = sum(count for outcome, count in self.outcomes.items() if outcome != "ok")
        return {
            "passed_s": min(self.passed_s + within, self.planned_s),
            "planned_s": self.planned_s,
            "target": self.cell.label,
            "stage": self.block.stage,
            "round": self.block.round,
            "requests": self.budget.requests,
            "in_flight": self.in_flight,
            "failed": failed,
            "rate_rps": len(window) / RATE_WINDOW_S
            if len(window) < len(self.recent) or not window
            else len(window) / max(now - window[0], 0.1),
            "p50_s": recent[len(recent) // 2] if recent else None,
            "p95_s": recent[int(0.95 * (len(recent) - 1))] if recent else None,
            "spent_usd": self.budget.spent_usd,
        }
