"""Takes a job's turns on Locust's engine: an open-loop dispatcher or N closed-loop users for each, in this process."""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import gevent
import gevent.event
import gevent.pool
from greenlet import GreenletExit

from testcard.benchmarks.arrivals import offsets_of
from testcard.benchmarks.asks import seed_stream
from testcard.benchmarks.budget import Budget
from testcard.benchmarks.drive import Attempt, Cell, perform
from testcard.benchmarks.job import BlockJob, Job
from testcard.benchmarks.judge import Judgement
from testcard.benchmarks.judging import Judging
from testcard.benchmarks.lateness import p99
from testcard.benchmarks.recorder import Writer
from testcard.benchmarks.reply import Reply
from testcard.benchmarks.sample import sample
from testcard.benchmarks.tally import Tally
from testcard.benchmarks.transport import Prepared, Transport, clock
from testcard.benchmarks.users import put_to_work
from testcard.benchmarks.workload import Workload
from testcard.harness.runs.records import Block
from testcard.harness.wire.decode import retry_after

#: Between the making of a schedule and its first deadline.
LEAD_S = 0.02
#: The rate on display is that of the last so many seconds.
RATE_WINDOW_S = 3.0
#: A 403 that speaks of one of these is about the account, not about one prompt or model.
_ACCOUNT = re.compile(rb"quota|balance|credit|billing|payment|account|subscription|suspend", re.IGNORECASE)
#: So many 403s of a target in a row are about the account, whatever they say.
_FORBIDDEN_IN_A_ROW = 5


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn, or this process's part of one: every `parts`-th arrival from `part` on, or its share of the users.

    `start_s` on the load clock; None: in a moment. `instead_of`: the sequence of the turn that this one is taken again for.
    """

    block: BlockJob
    sequence: int
    instead_of: int | None = None
    start_s: float | None = None
    part: int = 0
    parts: int = 1

    def share(self, whole: int) -> int:
        """This part's share of so many users or places."""
        return whole // self.parts + (self.part < whole % self.parts)


@dataclass(frozen=True, slots=True)
class Taken:
    """What came of a turn: its record, and the send lags of its counting requests, ascending."""

    record: Block
    lags: list[float]


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
        self.stop_reason: str | None = None
        self.fatal: tuple[str, str | None, int] | None = None
        self.error: BaseException | None = None
        self.in_flight = 0
        self.outcomes: dict[str, int] = {}
        self.tally = Tally()
        self.recent: deque[float] = deque(maxlen=400)
        self.on_request: Callable[[Attempt, Judgement], None] | None = None
        self.on_hold: Callable[[int, float], None] | None = None
        self.flight: gevent.pool.Group = gevent.pool.Group()
        self.judging = Judging(self._record, self._failed)
        self._first_status: set[int] = set()
        self._forbidden: dict[int, int] = {}
        self._hold_until_s: dict[int, float] = {}
        self._runner: Any = environment.runner
        put_to_work(environment, self)

    def stop(self, reason: str, *, cut: bool = True) -> None:
        """No further request is sent. With `cut`, those in flight get the job's grace to finish, else all the time they may take."""
        if self.stop_reason is None:
            self.stop_reason = reason
        self.stopping.set()
        if cut:
            self.cutting.set()

    def close(self) -> None:
        """Judges what is left and closes the writer."""
        self.judging.close()
        self._runner.user_greenlets.kill()
        self.writer.close()
        self.transport.close()

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
        self.stop("an internal error")

    # One turn.

    def take(self, turn: Turn) -> Taken:
        """Takes a turn to its end, everything judged and written; raises an error of ours that stopped it."""
        self._begin(turn)
        block = turn.block
        cpu, busy, began = time.process_time(), time.thread_time(), clock()
        users = {"OpenLoopUser": 1} if block.users is None else {"ClosedLoopUser": turn.share(block.users)}
        self._runner.spawn_users(users)
        self._users_done()
        sent_until = clock()
        wall = max(sent_until - began, 1e-9)
        cpu, busy = time.process_time() - cpu, time.thread_time() - busy
        self._drain()
        complete = not self.stopping.is_set()
        ended = clock()
        self.judging.join()  # the next target's turn starts without this one's backlog
        self.writer.flush()
        if self.error is not None:
            raise self.error
        return self._taken(turn, sent_until, ended, complete, 100.0 * busy / wall, 100.0 * cpu / wall)

    def _begin(self, turn: Turn) -> None:
        block = turn.block
        self.turn, self.block, self.cell = turn, block, self.cells[block.cell]
        self.tally.begin(block.cell, block.stage)
        self.scheduled = self.sent = self.held = self.cursor = 0
        self.lags: list[float] = []
        self.latencies: list[float] = []
        self.start_s = turn.start_s if turn.start_s is not None else clock() + LEAD_S
        # Nothing in it tells how many processes there are: each takes its part of the same schedule and the same seeds.
        self.key = block.key(self.job.seed, again=turn.instead_of is not None)
        self.seeds: Iterator[bytes] = islice(seed_stream(self.key), turn.part, None, turn.parts)

    def _taken(self, turn: Turn, sent_until: float, ended: float, complete: bool, busy: float, cpu: float) -> Taken:
        block, zero = turn.block, self.job.started_s
        lags, latencies = sorted(self.lags), sorted(self.latencies)
        record = Block(
            sequence=turn.sequence,
            instead_of=turn.instead_of,
            cell=block.cell,
            provider=self.cell.label,
            model=self.cell.model,
            operation=self.cell.operation,
            stage=block.stage,
            round=block.round,
            worker=self.job.worker,
            started_s=self.start_s - zero,
            ended_s=ended - zero,
            warmup_s=block.warmup_s,
            duration_s=block.duration_s if complete else max(0.0, min(block.duration_s, sent_until - self.start_s - block.warmup_s)),
            offered_rps=None if block.rate_rps is None else block.rate_rps / turn.parts,
            users=None if block.users is None else turn.share(block.users),
            scheduled=self.scheduled,
            sent=self.sent,
            dropped=max(0, self.scheduled - self.sent),
            held=self.held,
            send_lag_p99_s=p99(lags),
            send_lag_max_s=lags[-1] if lags else None,
            latency_p50_s=latencies[len(latencies) // 2] if latencies else None,
            busy_percent=busy,
            cpu_percent=cpu,
            complete=complete,
        )
        return Taken(record, lags)

    def _users_done(self) -> None:
        """Waits until nothing more is sent in this turn: the dispatcher is done, or the closed loop's time is up."""
        users = self._runner.user_greenlets
        end = self.start_s + self.block.whole_s
        while users and not self.stopping.is_set() and not (self.block.users is not None and clock() >= end):
            self.stopping.wait(0.005)

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
        """One dispatcher: absolute deadlines, a greenlet for each arrival. Waiting for a place under the cap counts as latency."""
        turn, block, cell = self.turn, self.block, self.cell
        offsets = offsets_of(self.workload.arrival, block, self.key)
        cap = None if self.workload.max_in_flight is None else turn.share(self.workload.max_in_flight)
        flight = self.flight = gevent.pool.Pool(cap) if cap is not None else gevent.pool.Group()
        start, warm_until = self.start_s, self.start_s + block.warmup_s
        mine = range(turn.part, len(offsets), turn.parts)
        self.scheduled = len(mine)
        free_since = start
        number = len(cell.asks)
        for count, index in enumerate(mine):
            deadline = start + offsets[index]
            delay = deadline - clock()
            if delay <= 0:
                gevent.sleep(0)  # late: let what is in flight go on, then send at once
            while delay > 0 and not self.stopping.wait(delay):
                delay = deadline - clock()
            if cap is not None and flight.full():
                while flight.full() and not self.stopping.is_set():
                    flight.wait_available(timeout=0.5)
                free_since = clock()
            if self._hold_until_s and clock() < self._hold_until_s.get(cell.target, 0.0):
                self.held += 1
                continue
            if self.stopping.is_set() or not self._reserve(index % number):
                self.scheduled = count  # what was due when the run was stopped
                return
            # What fell due while the cap held the dispatcher could not have been sent before it let go.
            flight.spawn(self._one, index % number, deadline, max(deadline, free_since), deadline < warm_until)

    def closed_loop(self) -> None:
        """One of N users: a request, its answer, the next."""
        warm_until = self.start_s + self.block.warmup_s
        end = self.start_s + self.block.whole_s
        number, parts = len(self.cell.asks), self.turn.parts
        if (delay := self.start_s - clock()) > 0:
            gevent.sleep(delay)
        while (now := clock()) < end and not self.stopping.is_set():
            if self._hold_until_s and (wait := self._hold_until_s.get(self.cell.target, 0.0) - now) > 0:
                self.stopping.wait(min(wait, end - now))
                continue
            index = (self.turn.part + parts * self.cursor) % number
            if not self._reserve(index, until_s=end):
                return
            self.cursor += 1
            self.scheduled += 1
            self._one(index, now, now, now < warm_until)

    def _reserve(self, index: int, until_s: float | None = None) -> bool:
        """Whether one more request may be sent; if not, the run stops. With `until_s` it waits so long for reservations to shrink."""
        budget, worst_usd = self.budget, self.cell.worst_usd[index]
        while not budget.reserve(worst_usd):
            if until_s is None or budget.is_spent:
                # What is in flight has been paid for: it may finish.
                self.stop(budget.refusal or "the budget is spent", cut=False)
                return False
            if clock() >= until_s or self.stopping.wait(0.005):
                return False
        return True

    def _one(self, index: int, scheduled_s: float, could_send_s: float, warmup: bool) -> None:
        cell = self.cell
        connection, before, after = cell.prepared[index]
        seed = next(self.seeds)
        if after:
            connection = Prepared(connection.pool, connection.method, before + seed + after, connection.stream)
        attempt = Attempt(cell, index, self.block.round, self.block.stage, warmup, scheduled_s, seed=int(seed) if after else None)
        self.sent += 1
        self.in_flight += 1
        try:
            perform(attempt, connection, self.transport)
        except GreenletExit:
            attempt.done_s = clock()
            attempt.sent_s = attempt.sent_s or attempt.done_s
            attempt.failure = "interrupted"
        finally:
            self.in_flight -= 1
        done_s = attempt.done_s
        attempt.lag_s = max(0.0, attempt.sent_s - could_send_s)
        if not warmup:
            self.lags.append(attempt.lag_s)
            self.latencies.append(done_s - scheduled_s)
        self.recent.append(done_s)
        self._watch(cell, attempt.reply)
        if attempt.failure == "interrupted":
            self._record(attempt, Judgement("interrupted"))
        else:
            self.judging.put(attempt)

    def _watch(self, cell: Cell, reply: Reply | None) -> None:
        """Stops the run for what no further request can mend: a refused key at the start, an account without credit.

        With --live, nothing more is sent to a target before the time that its 429 asks for.
        """
        status = reply.status if reply is not None else None
        if reply is None or status is None:
            return
        target = cell.target
        if target not in self._first_status:
            self._first_status.add(target)
            if status in (401, 403):
                self.fatal = (f"{cell.label} answered {status} to the first request", "check the key and that it may use this model", 3)
                self.stop("the key was refused")
                return
        if 200 <= status < 300:
            if self._forbidden:
                self._forbidden.pop(target, None)
        elif status == 402:
            self.stop(f"{cell.label} answered 402: the account has no credit left", cut=False)
        elif status == 403:
            count = self._forbidden[target] = self._forbidden.get(target, 0) + 1
            if count >= _FORBIDDEN_IN_A_ROW or _ACCOUNT.search(reply.content()[:4096]):
                self.stop(f"{cell.label} answered 403: the account may not go on", cut=False)
        elif status == 429 and cell.may_leave_machine and (wait := asked_to_wait_s(cell, reply)):
            self.hold(target, clock() + wait)
            if self.on_hold is not None:
                self.on_hold(target, self._hold_until_s[target])

    def hold(self, target: int, until_s: float) -> None:
        """Nothing more is sent to the target before that time of the load clock."""
        self._hold_until_s[target] = max(self._hold_until_s.get(target, 0.0), until_s)

    def _record(self, attempt: Attempt, judgement: Judgement) -> None:
        self.budget.settle(attempt.cell.worst_usd[attempt.ask], judgement.cost_usd)
        self.outcomes[judgement.outcome] = self.outcomes.get(judgement.outcome, 0) + 1
        if not attempt.warmup and judgement.outcome in ("ok", "slow", "timeout"):
            self.tally.add(attempt.done_s - attempt.scheduled_s)
        self.writer.add(sample(attempt, judgement, self.job.started_s, self.job.worker))
        if self.on_request is not None:
            self.on_request(attempt, judgement)

    def progress(self) -> dict[str, Any]:
        """How it goes, for the command's process to show."""
        now = clock()
        window = [done_s for done_s in self.recent if done_s > now - RATE_WINDOW_S]
        span = RATE_WINDOW_S if len(window) < len(self.recent) or not window else max(now - window[0], 0.1)
        return {
            "requests": self.budget.requests,
            "in_flight": self.in_flight,
            "outcomes": dict(self.outcomes),
            "rate_rps": len(window) / span,
            "tally": self.tally.state(),
            "spent_usd": self.budget.spent_usd,
            "cpu_s": time.process_time(),
        }


def asked_to_wait_s(cell: Cell, reply: Reply) -> float | None:
    """Seconds that a 429 asks to wait by its Retry-After field, or None."""
    wanted = cell.provider.profile.errors.retry_after_header.lower()
    found = {name.lower(): value for name, value in reply.headers}
    return retry_after(found.get(wanted), found.get("date"))
