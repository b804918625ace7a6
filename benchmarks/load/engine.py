"""Takes a job's turns on Locust's engine: an open-loop dispatcher or N closed-loop users for each, in this process."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

import gevent
import gevent.event
import gevent.pool
from greenlet import GreenletExit
from locust import User, task
from locust.env import Environment
from locust.event import Events
from locust.exception import StopUser

from testcard.benchmarks.judging.judge import Judgement, Judging
from testcard.benchmarks.judging.recorder import RequestEnd, Writer, sample
from testcard.benchmarks.load.alarm import Alarm
from testcard.benchmarks.load.budget import Budget
from testcard.benchmarks.load.drive import Downloads, perform
from testcard.benchmarks.load.stop_conditions import StopConditions
from testcard.benchmarks.load.tally import EngineState, Tally
from testcard.benchmarks.load.turns import Course, Taken, Turn, offsets_of
from testcard.benchmarks.net.receive import Reply
from testcard.benchmarks.net.transport import Prepared, Transport, clock
from testcard.benchmarks.plan.cells import Attempt, Cell
from testcard.benchmarks.plan.job import BlockJob, Job
from testcard.benchmarks.plan.workload import Workload
from testcard.harness.stops import Stop, StopReason


class Work(Protocol):
    """What a user needs of the engine."""

    def guarded(self, work: Callable[[], None]) -> None:
        """Runs a user's work and keeps its errors."""

    def open_loop(self) -> None:
        """Dispatches every arrival of the present block."""

    def closed_loop(self) -> None:
        """Takes turns until the present block is over."""


class _LoadUser(User):
    """A Locust user that works for an engine; each environment makes subclasses of its own, so that two engines never mix."""

    abstract = True
    engine: Work


class _OpenLoopUser(_LoadUser):
    abstract = True

    @task
    def dispatch(self) -> None:
        self.engine.guarded(self.engine.open_loop)
        raise StopUser


class _ClosedLoopUser(_LoadUser):
    abstract = True

    @task
    def take_turns(self) -> None:
        self.engine.guarded(self.engine.closed_loop)
        raise StopUser


def locust_environment() -> Environment:
    """Locust's environment with our users, and no runner yet."""
    users = [type(kind.__name__.strip("_"), (kind,), {"abstract": False}) for kind in (_OpenLoopUser, _ClosedLoopUser)]
    return Environment(user_classes=users, events=Events(), catch_exceptions=False)  # type: ignore[no-untyped-call]


def put_to_work(environment: Environment, engine: Work) -> None:
    """Lets the environment's users work for this engine."""
    for kind in environment.user_classes:
        kind.engine = engine  # type: ignore[attr-defined]


#: Between the making of a schedule and its first deadline.
LEAD_S = 0.02
#: So often is looked whether answers have left room in the budget for more.
LEARN_S = 0.005
#: The rate on display is that of the last so many seconds.
RATE_WINDOW_S = 3.0


class Engine:
    """Everything that one load process does between reading its job and closing its shard."""

    def __init__(
        self, job: Job, workload: Workload, cells: list[Cell], transport: Transport, writer: Writer, environment: Any, budget: Budget
    ) -> None:
        self.job = job
        self.workload = workload
        self.cells = cells
        self.transport = transport
        self.writer = writer
        self.budget = budget
        self.stopping = gevent.event.Event()
        self.cutting = gevent.event.Event()
        self.alarm = Alarm()
        self.stopped: Stop | None = None
        self._enough: BlockJob | None = None
        self.error: BaseException | None = None
        self.in_flight = 0
        self._billed: set[int] = set()  # rows of which an answer has shown what it costs
        self.outcomes: dict[str, int] = {}
        self.tally = Tally()
        self.recent: deque[float] = deque(maxlen=400)
        self.on_request: Callable[[RequestEnd], None] | None = None
        self.images = 0
        self.flight: gevent.pool.Group = gevent.pool.Group()
        self.judging = Judging(self._record, self._failed)
        self.downloads = Downloads(job.max_downloads)
        self.stop_conditions = StopConditions(self.stop)
        self._runner: Any = environment.runner
        put_to_work(environment, self)

    def stop(self, stop: Stop, *, cut: bool = True) -> None:
        """No further request is sent. With `cut`, those in flight get the job's grace to finish, else all the time they may take."""
        if self.stopped is None:
            self.stopped = stop
        self.stopping.set()
        self.alarm.ring()
        if cut:
            self.cutting.set()
            self.judging.hurried = True

    def enough(self, block: BlockJob) -> None:
        """Of that open-loop turn nothing more need be sent, and it is whole all the same."""
        self._enough = block
        self.alarm.ring()

    def close(self) -> None:
        """Judges what is left and closes the writer."""
        self.judging.close()
        self._runner.user_greenlets.kill()
        self.writer.close()
        self.transport.close()
        self.alarm.close()

    def guarded(self, work: Callable[[], None]) -> None:
        """Runs a user's work; an error of ours stops the run instead of being logged and forgotten."""
        try:
            work()
        except GreenletExit:
            raise
        except Exception as error:  # noqa: BLE001 (raised again by `take`)
            self._failed(error)

    def _failed(self, error: BaseException) -> None:
        self.error = self.error or error
        self.stop(Stop(reason=StopReason.INTERNAL_ERROR, detail=f"{type(error).__name__}: {error}"))

    # One turn.

    def take(self, turn: Turn) -> Taken:
        """Takes a turn to its end, everything judged and written; raises an error of ours that stopped it."""
        block = turn.block
        self.cell = self.cells[block.cell]
        self.budget.is_sure = self.cell.index in self._billed
        self.course = Course(turn, self.job, turn.start_s if turn.start_s is not None else clock() + LEAD_S)
        self.share = Budget(
            None if block.max_requests is None else turn.share(block.max_requests),
            None if block.max_cost_usd is None else turn.money(block.max_cost_usd, max(usd or 0.0 for usd in self.cell.worst_usd)),
        )
        if self.job.max_downloads is not None:
            # Each process takes its part, and keeps to the smallest that it was told: one that is lost leaves nothing to the others.
            self.downloads.most = min(
                self.job.max_downloads if self.downloads.most is None else self.downloads.most, turn.share(self.job.max_downloads)
            )
        self.tally.begin(block.cell, block.stage)
        cpu, busy, began = time.process_time(), time.thread_time(), clock()
        users = {"OpenLoopUser": 1} if block.users is None else {"ClosedLoopUser": turn.share(block.users)}
        self._runner.spawn_users(users)
        self._users_done()
        sent_until = clock()
        wall = max(sent_until - max(began, self.course.start_s), 1e-9)  # nothing is sent, and next to nothing done, before
        cpu, busy = time.process_time() - cpu, time.thread_time() - busy
        self._drain()
        complete = not self.stopping.is_set()
        ended = clock()
        self.judging.join()  # the next target's turn starts without this one's backlog
        self.writer.flush()
        if self.error is not None:
            raise self.error
        return self.course.taken(
            sent_until_s=sent_until, ended_s=ended, complete=complete, busy_percent=100.0 * busy / wall, cpu_percent=100.0 * cpu / wall
        )

    def _users_done(self) -> None:
        """Waits until nothing more is sent in this turn: the dispatcher is done, or the closed loop's time is up."""
        users, closed, end = self._runner.user_greenlets, self.course.block.users is not None, self.course.end_s
        while users and not self.stopping.is_set() and not (closed and clock() >= end):
            # Woken by what it waits for; the timeout is for what nobody tells of.
            if closed:
                users.join(timeout=min(end - clock(), 0.2))
            else:
                gevent.wait([self.stopping, *users], timeout=0.2, count=1)

    def _drain(self) -> None:
        """Waits for what is in flight: to its own timeout, or for the grace once the run is being cut short."""
        users = self._runner.user_greenlets
        while (self.flight or users) and not self.cutting.wait(0.005):
            pass
        if self.flight or users:
            gevent.joinall([*self.flight, *users], timeout=self.job.grace_s)
            users.kill()
            self.flight.kill()

    # The two loops.

    def open_loop(self) -> None:
        """One dispatcher: absolute deadlines, a greenlet for each arrival. Waiting for a place under the cap counts as latency.

        Where the rest of the schedule has to wait for a first answer, all of it is later by as much.
        """
        course, cell, conditions = self.course, self.cell, self.stop_conditions
        turn, start, warm_until = course.turn, course.start_s, course.warm_until_s
        offsets = offsets_of(self.workload.arrival, course.block, course.arrivals_key)
        cap = None if self.workload.max_in_flight is None else turn.share(self.workload.max_in_flight)
        flight = self.flight = gevent.pool.Pool(cap) if cap is not None else gevent.pool.Group()
        mine = range(turn.part, len(offsets), turn.parts)
        course.scheduled = len(mine)
        free_since = start
        number, begin = len(cell.asks), course.block.begin
        for count, index in enumerate(mine):
            ask = (begin + index) % number
            deadline = start + offsets[index]
            delay = deadline - clock()
            if delay <= 0:
                gevent.sleep(0)  # late: let what is in flight go on, then send at once
            while delay > 0 and not self.stopping.is_set() and self._enough != course.block:
                self.alarm.wait_until(deadline)
                delay = deadline - clock()
            if cap is not None and flight.full():
                while flight.full() and not self.stopping.is_set() and self._enough != course.block:
                    flight.wait_available(timeout=0.5)
                free_since = clock()
            if (waited_s := self._learnt(ask, deadline)) > 0:
                start += waited_s
                deadline += waited_s
                warm_until += waited_s
                course.paused_s += waited_s
            if self._enough == course.block:
                course.scheduled, course.ended_early = count, True
                return
            if conditions.hold_until_s and conditions.holds_s(cell.target, clock()) > 0:
                course.held += 1
                continue
            if self.share.is_used_up:
                course.scheduled, course.ended_early = count, True
                return
            if self.stopping.is_set() or not self._reserve(ask):
                course.scheduled = count  # what was due when the run was stopped
                return
            # What fell due while the cap held the dispatcher could not have been sent before it let go.
            flight.spawn(self._one, ask, deadline, max(deadline, free_since), deadline < warm_until)

    def closed_loop(self) -> None:
        """One of N users: a request, its answer, the next."""
        course, conditions, target = self.course, self.stop_conditions, self.cell.target
        end = course.end_s
        number, part, parts, begin = len(self.cell.asks), course.turn.part, course.turn.parts, course.block.begin
        if (delay := course.start_s - clock()) > 0:
            gevent.sleep(delay)
        while (now := clock()) < end and not self.stopping.is_set():
            if conditions.hold_until_s and (wait := conditions.holds_s(target, now)) > 0:
                self.stopping.wait(min(wait, end - now))
                continue
            index = (begin + part + parts * course.cursor) % number
            if not self._reserve(index, until_s=end):
                course.ended_early = not self.stopping.is_set() and clock() < end
                return
            course.cursor += 1
            course.scheduled += 1
            self._one(index, now, now, None)

    def _learnt(self, index: int, deadline: float) -> float:
        """Seconds by which an open loop's request is late when a tight budget knows what the row's answers cost; 0 where it need not wait."""
        worst_usd = self.cell.worst_usd[index]
        if self.share.is_used_up or not self.budget.must_wait(worst_usd):
            return 0.0
        while self.budget.must_wait(worst_usd) and not self.stopping.wait(LEARN_S) and self._enough != self.course.block:
            pass
        return max(0.0, clock() - deadline)

    def _reserve(self, index: int, until_s: float | None = None) -> bool:
        """Whether one more request may be sent; if not, the turn's share is used up, or else the budget, and then the run stops.

        With `until_s` it waits so long for reservations to shrink, or for a first answer that shows what they come to.
        """
        share, budget, worst_usd = self.share, self.budget, self.cell.worst_usd[index]
        while True:
            if until_s is not None and budget.must_wait(worst_usd):
                pass
            elif share.reserve(worst_usd):
                if budget.reserve(worst_usd):
                    return True
                share.release(worst_usd)
                if until_s is None or budget.is_spent:
                    # What is in flight has been paid for: it may finish.
                    assert budget.refusal is not None
                    self.stop(budget.refusal, cut=False)
                    return False
            elif until_s is None or share.is_spent:
                return False
            if until_s is None or clock() >= until_s or self.stopping.wait(LEARN_S):
                return False

    def _one(self, index: int, scheduled_s: float, could_send_s: float, warmup: bool | None) -> None:
        """One request. `warmup` None, of a closed loop: it is warm-up if it has ended before the warm-up has, so that a slow server's
        first request, most of which is measured time and which was paid for, counts."""
        cell, course = self.cell, self.course
        connection, before, after = cell.prepared[index]
        seed = next(course.seeds)
        if after:
            connection = Prepared(connection.pool, connection.method, before + seed + after, connection.stream)
        attempt = Attempt(cell, index, course.block.round, course.block.stage, bool(warmup), scheduled_s, seed=int(seed) if after else None)
        attempt.place = self.stop_conditions.sends(cell)
        course.sent += 1
        self.in_flight += 1
        try:
            perform(attempt, connection, self.transport, lambda: self._again(index), self.downloads)
            if self.downloads.refused:
                # What is in flight has been paid for: it may finish.
                self.stop(Stop(reason=StopReason.DOWNLOADS_SPENT, limit=self.job.max_downloads), cut=False)
        except GreenletExit:
            attempt.done_s = clock()
            attempt.sent_s = attempt.sent_s or attempt.done_s
            attempt.failure = "interrupted"
        except Exception as error:  # noqa: BLE001 (raised again by `take`)
            # A mistake of ours ends the run, but a request that may have been billed is never without its sample.
            attempt.done_s = clock()
            attempt.failure, attempt.reply = "broken", attempt.reply or Reply(attempt.sent_s, failure="broken", detail=str(error))
            self._failed(error)
        finally:
            self.in_flight -= 1
        done_s = attempt.done_s
        if warmup is None:
            warmup = attempt.warmup = done_s < course.warm_until_s
        attempt.lag_s = max(0.0, attempt.sent_s - could_send_s)
        if not warmup:
            course.lags.append(attempt.lag_s)
            course.latencies.append(done_s - scheduled_s)
        self.recent.append(done_s)
        self.stop_conditions.look(cell, attempt.reply)
        if attempt.failure == "interrupted":
            self._record(attempt, Judgement("interrupted"))
        else:
            self.judging.put(attempt)

    def _again(self, index: int) -> bool:
        """Whether a request that died on a kept connection may go out once more; what the first one may have cost counts as spent."""
        worst_usd = self.cell.worst_usd[index]
        if self.stopping.is_set() or not self.share.reserve(worst_usd):
            return False
        if not self.budget.reserve(worst_usd):
            self.share.release(worst_usd)
            return False
        for held in (self.share, self.budget):
            held.settle(worst_usd, None)
        self.course.sent_again += 1
        return True

    def _record(self, attempt: Attempt, judgement: Judgement) -> None:
        if judgement.booked_usd:  # what was refused or failed does not show what a picture costs
            self._billed.add(attempt.cell.index)
            self.budget.is_sure = self.budget.is_sure or attempt.cell is self.cell
        for held in (self.share, self.budget):
            held.settle(attempt.cell.worst_usd[attempt.ask], judgement.booked_usd)
        self.stop_conditions.judged(attempt.cell, attempt.reply, judgement.outcome, judgement.detail, attempt.place)
        self.outcomes[judgement.outcome] = self.outcomes.get(judgement.outcome, 0) + 1
        if not attempt.warmup and judgement.outcome in ("ok", "slow", "timeout"):
            self.tally.add(attempt.done_s - attempt.scheduled_s)
        self.writer.add(sample(attempt, judgement, self.job.started_s, self.job.worker))
        self.images += judgement.pictures
        if self.on_request is not None:
            cell, latency_s = attempt.cell, attempt.done_s - attempt.scheduled_s
            self.on_request(
                RequestEnd(cell.label, cell.model, cell.operation, attempt.stage, judgement.outcome, latency_s, judgement.bytes)
            )

    def progress(self) -> EngineState:
        """How it goes, for the command's process to show."""
        now = clock()
        window = [done_s for done_s in self.recent if done_s > now - RATE_WINDOW_S]
        span = RATE_WINDOW_S if len(window) < len(self.recent) or not window else max(now - window[0], 0.1)
        return EngineState(
            requests=self.budget.requests,
            in_flight=self.in_flight,
            images=self.images,
            outcomes=dict(self.outcomes),
            rate_rps=len(window) / span,
            tally=self.tally.state(),
            spent_usd=self.budget.spent_usd,
            cpu_s=time.process_time(),
            failures=dict(self.stop_conditions.failures),
        )
