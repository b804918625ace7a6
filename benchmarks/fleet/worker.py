"""A worker process: `python -m testcard.benchmarks.fleet.worker`, told on stdin where its master is.

It connects (trying for five minutes), gets its job, takes its part of every turn, and leaves when the master says that there
are no more, when its standard input ends (whoever started it is gone), or when the master has not been heard of for 15 s.
What it tells its own command goes to stdout as JSON lines, as in the load process.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from array import array
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import gevent
import gevent.event
import gevent.queue
import gevent.socket
import locust  # noqa: F401  (first: it patches what the imports below use)
import msgspec

from testcard.benchmarks.fleet import messages as m
from testcard.benchmarks.fleet.leases import LeasedBudget
from testcard.benchmarks.fleet.messages import CLOCK_READINGS, SECRET, ClockReading, Samples, offset_s
from testcard.benchmarks.fleet.sockets import guard
from testcard.benchmarks.judging.recorder import Rows
from testcard.benchmarks.load.budget import Budget
from testcard.benchmarks.load.engine import Engine, locust_environment
from testcard.benchmarks.load.process import Failure, ProcessLine, failed, prepare_process, read_line, say, settle_down
from testcard.benchmarks.load.turns import Turn
from testcard.benchmarks.plan.cells import build_cells, make_transport
from testcard.benchmarks.plan.job import Job, TargetJob, WorkerJob, take_limits
from testcard.benchmarks.plan.workload import parse_workload
from testcard.harness.errors import Exit, UsageError
from testcard.harness.redaction import keep_secret
from testcard.harness.runs.folder import tool_version
from testcard.harness.stops import Stop, StopReason
from testcard.harness.targets import is_loopback, read_key, refuse_one_key_for_all, require_live
from testcard.specs.loader import load_provider
from testcard.specs.profile import MOCK_API_KEY

#: A batch that the master has not confirmed after so long is sent again: a broken connection loses what was on its way.
AGAIN_S = 5.0


class ShippingWriter:
    """The writer of a worker. `flush` sends what is buffered; `settle` waits until the master has all of it."""

    def __init__(self, send: Callable[[Samples], None]) -> None:
        self.rows_written = 0
        self._rows = Rows()
        self._send = send
        self._number = 0
        self._unconfirmed: dict[int, tuple[float, bytes]] = {}
        self._all_there = gevent.event.Event()
        self._all_there.set()

    def add(self, row: tuple[Any, ...]) -> None:
        """Buffers one row; ships when 1,000 have gathered."""
        if self._rows.add(row):
            self.flush()

    def flush(self) -> None:
        """Ships what is buffered, and again what was not confirmed in time."""
        now = time.monotonic()
        for number, (sent_s, data) in list(self._unconfirmed.items()):
            if now - sent_s > AGAIN_S:
                self._unconfirmed[number] = (now, data)
                self._send(Samples(number=number, data=data))
        batch = self._rows.take()
        if batch is None:
            return
        data = batch.serialize().to_pybytes()
        self.rows_written += len(batch)
        self._unconfirmed[self._number] = (now, data)
        self._all_there.clear()
        self._send(Samples(number=self._number, data=data))
        self._number += 1

    def confirm(self, number: int) -> None:
        """The master has written that batch."""
        self._unconfirmed.pop(number, None)
        if not self._unconfirmed:
            self._all_there.set()

    def settle(self, within_s: float) -> bool:
        """Waits until everything is confirmed; whether it is."""
        until = time.monotonic() + within_s
        while not self._all_there.wait(0.5) and time.monotonic() < until:
            self.flush()
        return bool(self._all_there.is_set())

    def close(self) -> None:
        """Ships the rest."""
        self.flush()


PROGRESS_S = 0.5
FLUSH_S = 1.0
MASTER_SILENT_S = 15.0
CONFIRM_S = 20.0


class Worker:
    """One worker, from its connection to its leaving."""

    def __init__(self, order: WorkerJob) -> None:
        self.order = order
        self.offset_s = 0.0
        self.leaving: Stop | None = None
        self.error: Exception | None = None
        self._helpers: list[Any] = []
        self.engine: Engine | None = None
        self.budget: Budget | None = None
        self.writer: ShippingWriter | None = None
        self._greeted = False
        guard(order.secret, "worker", self._refuse)
        self._inbox: Any = gevent.queue.Queue()
        self._answers: Any = gevent.queue.Queue()
        self.environment = locust_environment()
        knocking = gevent.spawn(_give_up_with_stdin)
        self.runner: Any = self.environment.create_worker_runner(order.master_host, order.master_port)
        knocking.kill()
        for kind in m.ALL:
            self.runner.register_message(m.name_of(kind), self._hear(kind))

    def run(self) -> int:
        """Works until there is nothing more to do; the exit code."""
        self._helpers = [gevent.spawn(self._guarded, work) for work in (self._listen, self._watch)]
        self.send(m.Hello(version=tool_version(), host=socket.gethostname(), pid=os.getpid()))
        say(ProcessLine(event="note", message=f"connected to the master at {self.order.master_host}:{self.order.master_port}"))
        try:
            code = self._work()
        finally:
            gevent.killall(self._helpers)
        if self.error is not None:
            raise self.error
        return code

    def send(self, message: Any) -> None:
        """Sends a message to the master."""
        self.runner.send_message(m.name_of(type(message)), m.packed(message))

    def _ask_for_lease(self, worst_usd: float, least_usd: float, times: float) -> None:
        self.send(m.LeaseRequest(worst_usd=worst_usd, least_usd=least_usd, times=times))

    def _give_back(self, requests: int, usd: float, times: float) -> None:
        self.send(m.Spare(requests=requests, usd=usd, times=times))

    def leave(self, stop: Stop) -> None:
        """Sends no more load, and leaves once what is in flight is in or has had its grace."""
        self.leaving = self.leaving or stop
        if self.engine is not None:
            self.engine.stop(stop)
        self._inbox.put(m.NoMoreTurns())

    def _refuse(self, where: str, why: str) -> None:
        """Ends a worker whose master does not share its secret; whoever else talks to one that works is not heard."""
        if self._greeted:
            return
        hint = f"give both the same {SECRET}, and install the same version"
        say(ProcessLine(event="fatal", failure=Failure(message=f"the master at {where}: {why}", hint=hint, exit_code=Exit.USAGE)))
        os._exit(Exit.USAGE)  # Locust goes on knocking for five minutes otherwise

    def _guarded(self, work: Callable[[], None]) -> None:
        """Does it; a mistake of ours ends the worker and is told to the master, instead of being logged and forgotten."""
        try:
            work()
        except Exception as error:  # noqa: BLE001 (raised again by `run`)
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        self.error = self.error or error
        self.send(m.Failed(failure=Failure.of(error)))
        self.leave(Stop(reason=StopReason.INTERNAL_ERROR, detail=Failure.of(error).message))

    def _hear(self, kind: Any) -> Any:
        def heard(environment: Any, msg: Any, **_: Any) -> None:
            self._guarded(lambda: self._heed(m.unpacked(kind, msg.data)))

        return heard

    def _heed(self, message: Any) -> None:
        match message:
            case m.Granted() if isinstance(self.budget, LeasedBudget):
                self.budget.granted(message.grant)
            case m.GiveBack() if isinstance(self.budget, LeasedBudget):
                self.budget.asked_back()
            case m.Kept() if self.writer is not None:
                self.writer.confirm(message.number)
            case m.Held() if self.engine is not None:
                self.engine.stop_conditions.hold(message.target, message.until_s - self.offset_s)
            case m.SendNoMore() if self.engine is not None:
                self.engine.stop(message.stop, cut=message.cut)
            case m.Clock() | m.Bye():
                self._answers.put((message, time.monotonic()))
            case _:
                self._inbox.put(message)

    def _work(self) -> int:
        turns = 0
        while True:
            match self._inbox.get():
                case m.Refused(version=version):
                    raise UsageError(
                        f"the master runs Testcard {version}, this is {tool_version()}", hint="install the same version on every machine"
                    )
                case m.Assignment(job=job):
                    self._greeted = True
                    self._prepare(job)
                case m.TurnPart() as part if self.engine is not None:
                    self._turn(part)
                    turns += 1
                case m.NoMoreTurns():
                    break
        return self._leave(turns)

    def _prepare(self, job: Job) -> None:
        try:
            take_limits(job)
            workload = parse_workload(job.workload, "the master's job")
            if self.order.keys is None:
                providers = [load_provider(target.provider, [Path(folder) for folder in self.order.search]) for target in job.targets]
                urls = [target.base_url for target in job.targets]
                refuse_one_key_for_all(list(zip(providers, urls, strict=True)), Path(self.order.key_file) if self.order.key_file else None)
            targets = [_own(target, index, self.order) for index, target in enumerate(job.targets)]
            self.offset_s = 0.0 if self.order.keys is not None else self._clock_offset()
            job = msgspec.structs.replace(job, targets=targets, started_s=job.started_s - self.offset_s, search=self.order.search)
            transport = make_transport(workload)
            cells = build_cells(job, workload, transport)
        except Exception as error:
            self.send(m.Failed(failure=Failure.of(error)))
            raise
        limited = job.max_requests is not None or job.max_cost_usd is not None
        self.budget = LeasedBudget(job.max_requests, job.max_cost_usd, self._ask_for_lease, self._give_back) if limited else Budget()
        self.writer = ShippingWriter(self.send)
        self.engine = Engine(job, workload, cells, transport, self.writer, self.environment, self.budget)
        self.engine.stop_conditions.on_hold = lambda target, until_s: self.send(m.Held(target=target, until_s=until_s + self.offset_s))
        self._helpers.append(gevent.spawn(self._guarded, self._report))
        settle_down()
        self.send(m.Ready(cpu_s=time.process_time(), offset_s=self.offset_s))

    def _clock_offset(self) -> float:
        readings = []
        for _ in range(CLOCK_READINGS):
            self.send(m.Clock(sent_s=time.monotonic()))
            message, answered_s = self._answers.get(timeout=10)
            readings.append(ClockReading(sent_s=message.sent_s, master_s=message.master_s, answered_s=answered_s))
        return offset_s(readings)

    def _turn(self, part: m.TurnPart) -> None:
        engine, budget = self.engine, self.budget
        assert engine is not None
        turn = Turn(part.block, part.sequence, part.instead_of, part.start_s - self.offset_s, part.part, part.parts)
        try:
            taken = engine.take(turn)
        except Exception as error:  # noqa: BLE001 (raised again by `run`, once what was recorded is with the master)
            self._fail(error)
            return
        requests, usd = budget.give_back() if isinstance(budget, LeasedBudget) else (0, 0.0)
        self.send(
            m.Turned(
                record=taken.record,
                lags=array("f", taken.lags).tobytes(),
                spare_requests=requests,
                spare_usd=usd,
                times=1.0 if budget is None else budget.times,
                stop=engine.stopped,
                fatal=engine.stop_conditions.fatal,
            )
        )
        if engine.stopped is not None and self.leaving is None and not engine.cutting.is_set():
            engine.stopped = None  # its lease is spent; whether the run goes on is the master's to say
            engine.stopping.clear()

    def _leave(self, turns: int) -> int:
        if self.engine is not None and self.writer is not None:
            self.engine.close()
            self.send(m.State(state=self.engine.progress()))
            complete = self.writer.settle(CONFIRM_S)
            self.send(m.Bye(rows=self.writer.rows_written))
            with suppress(gevent.queue.Empty):
                self._answers.get(timeout=5)
            say(ProcessLine(event="note", message=f"{self.writer.rows_written} requests in {turns} turns"))
            if not complete:
                say(ProcessLine(event="fatal", failure=Failure(message="the master has not confirmed all samples")))
                return Exit.INTERNAL
        if self.leaving is not None and self.order.keys is None:
            say(ProcessLine(event="done", stops=[self.leaving]))
            return Exit.INTERRUPTED if self.leaving.reason is StopReason.INTERRUPTED else Exit.INTERNAL
        say(ProcessLine(event="done"))
        return Exit.PASS

    def _report(self) -> None:
        assert self.engine is not None
        assert self.writer is not None
        last_flush = 0.0
        while True:
            gevent.sleep(PROGRESS_S)
            self.send(m.State(state=self.engine.progress()))
            if (now := time.monotonic()) - last_flush >= FLUSH_S:
                self.writer.flush()
                last_flush = now

    def _listen(self) -> None:
        gevent.socket.wait_read(0)
        self.leave(Stop(reason=StopReason.INTERRUPTED))

    def _watch(self) -> None:
        """Leaves when the master has not answered a heartbeat for long: its machine or its process is gone."""
        while True:
            gevent.sleep(1.0)
            heard = self.runner.last_heartbeat_timestamp
            if heard is not None and time.time() - heard > MASTER_SILENT_S:
                self.leave(Stop(reason=StopReason.MASTER_LOST))
                return


def _give_up_with_stdin() -> None:
    """Ends a worker that is still looking for its master when it is told to stop: nothing was sent, and Locust would knock for minutes."""
    gevent.socket.wait_read(0)
    say(ProcessLine(event="done", stops=[Stop(reason=StopReason.INTERRUPTED)]))
    os._exit(Exit.INTERRUPTED)


def _own(target: TargetJob, index: int, order: WorkerJob) -> TargetJob:
    """The target with this worker's key: handed over by who started it, else from this machine's environment."""
    if order.keys is not None:
        keep_secret(order.keys[index])
        return msgspec.structs.replace(target, api_key=order.keys[index])
    provider = load_provider(target.provider, [Path(folder) for folder in order.search])
    if target.digests and target.digests != [provider.spec_digest, provider.profile_digest]:
        raise UsageError(
            f"this worker's files of {provider.id} are not the master's", hint="install the same version, and the same provider folders"
        )
    require_live(target.base_url, order.live)
    key = read_key(provider, Path(order.key_file) if order.key_file else None, target.key_env)
    if key is None and not is_loopback(target.base_url):
        raise UsageError(f"this worker has no key for {provider.id}", hint=f"set TESTCARD_API_KEY or {provider.profile.auth.key_env} on it")
    return msgspec.structs.replace(target, api_key=key or MOCK_API_KEY)


def main() -> int:
    """Reads where the master is and works for it."""
    prepare_process()
    try:
        order = msgspec.json.decode(read_line(), type=WorkerJob)
    except msgspec.DecodeError as error:
        return failed(error)
    try:
        worker = Worker(order)
        gevent.signal_handler(signal.SIGTERM, worker.leave, Stop(reason=StopReason.INTERRUPTED))
        return worker.run()
    except ConnectionError:
        failure = Failure(message=f"no master answers at {order.master_host}:{order.master_port}", exit_code=Exit.TARGET)
        say(ProcessLine(event="fatal", failure=failure))
        return Exit.TARGET
    except Exception as error:  # noqa: BLE001 (told, and an exit code)
        return failed(error)


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)  # Locust's connection would linger
