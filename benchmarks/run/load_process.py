"""The load process: `python -m testcard.benchmarks.run.load_process`, one job as JSON on stdin, JSON lines about it on stdout.

A process of its own, because importing Locust replaces the standard library's sockets, threads and sleeps. It stops when
`stop` or the end of stdin arrives, gives what is in flight its grace, and leaves its shard readable in any case. It never
prints to stdout but through `say`, and never writes the job anywhere.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import gevent
import gevent.queue
import gevent.socket
import locust  # noqa: F401  (first: it patches what the imports below use)
import msgspec

from testcard.benchmarks.fleet.master import Master
from testcard.benchmarks.judging.recorder import ShardWriter
from testcard.benchmarks.load.budget import Budget
from testcard.benchmarks.load.engine import Engine, locust_environment
from testcard.benchmarks.load.process import Failure, More, ProcessLine, failed, prepare_process, read_line, say, settle_down
from testcard.benchmarks.load.tally import EngineState, RunState, key_of, shown_s, together
from testcard.benchmarks.load.turns import Conductor, Taken, Turn
from testcard.benchmarks.net.connections import note_lost_names
from testcard.benchmarks.plan.cells import build_cells, make_transport
from testcard.benchmarks.plan.job import BlockJob, Job, take_limits
from testcard.benchmarks.plan.workload import Workload, parse_workload
from testcard.benchmarks.show.web_page import LoadPage
from testcard.harness.errors import Exit
from testcard.harness.events import LoadState
from testcard.harness.foreign_names import notes
from testcard.harness.redaction import keep_secret
from testcard.harness.stops import Stop, StopReason


class Lead(Protocol):
    """Who takes the turns of a run: one engine, or a master with its workers."""

    @property
    def stops(self) -> list[Stop]:
        """Why the run is not whole: stopped early, or a part of it lost; none: it is."""

    @property
    def fatal(self) -> Failure | None:
        """What ended the run as an error."""

    def open(self) -> None:
        """Gets ready; may wait."""

    def take(self, block: BlockJob, sequence: int, instead_of: int | None) -> list[Taken]:
        """Takes a turn to its end."""

    def stop(self, stop: Stop) -> None:
        """Sends nothing more, gives what is in flight its grace."""

    def enough(self, block: BlockJob) -> None:
        """Ends that turn early, as a whole one, if it is the present one and this can be done."""

    def stopped(self) -> bool:
        """Whether nothing more is sent."""

    def progress(self) -> list[EngineState]:
        """How it goes, engine by engine."""

    def show(self) -> LoadPage:
        """A web page that shows every request from now on; see `web`."""

    def flush(self) -> None:
        """Writes the samples so far."""

    def close(self) -> None:
        """Ends; every sample is written then."""


class Solo:
    """One engine that puts on the whole load."""

    def __init__(self, job: Job, workload: Workload) -> None:
        environment = locust_environment()
        environment.create_local_runner()
        transport = make_transport(workload)
        cells = build_cells(job, workload, transport)
        self.engine = Engine(
            job,
            workload,
            cells,
            transport,
            ShardWriter(Path(job.folder), job.worker),
            environment,
            Budget(job.max_requests, job.max_cost_usd),
        )

    def open(self) -> None:
        """It is ready."""

    def stop(self, stop: Stop) -> None:
        """Sends nothing more, gives what is in flight its grace."""
        self.engine.stop(stop)

    def take(self, block: BlockJob, sequence: int, instead_of: int | None) -> list[Taken]:
        """Takes a turn."""
        return [self.engine.take(Turn(block, sequence, instead_of))]

    def enough(self, block: BlockJob) -> None:
        """Ends that turn early, if it is the present one."""
        self.engine.enough(block)

    def stopped(self) -> bool:
        """Whether nothing more is sent."""
        return bool(self.engine.stopping.is_set())

    @property
    def stops(self) -> list[Stop]:
        """Why it stopped early; none: it did not."""
        return [self.engine.stopped] if self.engine.stopped is not None else []

    @property
    def fatal(self) -> Failure | None:
        """What ended the run as an error."""
        return self.engine.stop_conditions.fatal

    def progress(self) -> list[EngineState]:
        """How it goes, for each engine."""
        return [self.engine.progress()]

    def show(self) -> LoadPage:
        """A web page that shows every request from now on."""
        page = LoadPage(self.engine.job, lambda: self.engine.in_flight)
        self.engine.on_request = page.heard
        return page

    def flush(self) -> None:
        """Writes the samples so far."""
        self.engine.writer.flush()

    def close(self) -> None:
        """Ends."""
        self.engine.close()


PROGRESS_S = 0.5
FLUSH_S = 1.0


def work(job: Job) -> int:
    """Does the job; the exit code of the process."""
    take_limits(job)
    workload = parse_workload(job.workload, "the job")
    for target in job.targets:
        keep_secret(target.api_key)  # a server may say it back in the words of a refusal
    lead: Lead = (
        Solo(job, workload) if job.fleet is None else Master(job, workload, lambda text: say(ProcessLine(event="note", message=text)))
    )
    listener = Listener(lead.stop, lead.enough, lead.flush)
    gevent.signal_handler(signal.SIGTERM, lead.stop, Stop(reason=StopReason.INTERRUPTED))
    conductor = Conductor(job, lead.take, lead.stopped, lambda record: say(ProcessLine(event="block", block=record)), lambda: _sent(lead))
    mistakes: list[Exception] = []

    def guarded(helper: Callable[[], None]) -> None:
        """Does a helper's work; a mistake in it, or a disk that is full, ends the run instead of being logged and forgotten."""
        try:
            helper()
        except Exception as error:  # noqa: BLE001 (raised again below)
            mistakes.append(error)
            lead.stop(Stop(reason=StopReason.INTERNAL_ERROR, detail=Failure.of(error).message))

    helpers = [gevent.spawn(guarded, helper) for helper in (listener.listen, lambda: _report(conductor, lead), lambda: _flush(lead))]
    say(ProcessLine(event="started"))
    note_lost_names()
    for note in notes():
        say(ProcessLine(event="note", message=note))
    page = None
    try:
        if job.web is not None:
            page = lead.show()
            say(ProcessLine(event="note", message=f"web: {page.address} shows this run, and ends with it"))
        lead.open()
        settle_down()
        say(ProcessLine(event="ready", cpu_s=time.process_time()))
        conductor.run(listener.ask if job.more else None)
    finally:
        lead.close()
        if page is not None:
            page.close()
        gevent.killall(helpers)
    if mistakes:
        raise mistakes[0]
    say(ProcessLine(event="progress", progress=_state(conductor, lead)))
    if lead.fatal is not None:
        say(ProcessLine(event="fatal", failure=lead.fatal, stops=lead.stops))
        return lead.fatal.exit_code
    say(ProcessLine(event="done", stops=lead.stops, cpu_s=time.process_time()))
    return Exit.PASS


def _sent(lead: Lead) -> int:
    return sum(state.requests for state in lead.progress())


def _state(conductor: Conductor, lead: Lead) -> RunState:
    """The run as the command shows it: the engines together, and where in the plan it is."""
    block, job = conductor.block, conductor.job
    cell = job.cells[block.cell] if block is not None else None
    sums = together(lead.progress(), key_of(block.cell, block.stage) if block is not None else "")
    buckets = sums.tally[1]
    load = LoadState(
        passed_s=conductor.present_s(),
        planned_s=conductor.planned_s,
        left_s=conductor.left_s(),
        provider=cell.provider if cell is not None else None,
        model=cell.model if cell is not None else None,
        operation=cell.operation if cell is not None else None,
        stage=block.stage if block is not None else None,
        round=block.round if block is not None else None,
        rounds=None if job.more else max((each.round for each in job.blocks), default=1),
        offered_rps=block.rate_rps if block is not None else None,
        users=block.users if block is not None else None,
        achieved_rps=sums.rate_rps,
        in_flight=sums.in_flight,
        p50_s=shown_s(buckets, 0.5),
        p95_s=shown_s(buckets, 0.95),
        stage_requests=sum(buckets.values()),
        outcomes=sums.outcomes,
    )
    return RunState(load=load, requests=sums.requests, images=sums.images, spent_usd=sums.spent_usd, failures=sums.failures)


def _report(conductor: Conductor, lead: Lead) -> None:
    while True:
        gevent.sleep(PROGRESS_S)
        say(ProcessLine(event="progress", progress=_state(conductor, lead)))


def _flush(lead: Lead) -> None:
    while True:
        gevent.sleep(FLUSH_S)
        lead.flush()


class Listener:
    """What the command says on standard input: further blocks that were asked for; anything else, or its end, means stop."""

    def __init__(self, stop: Callable[[Stop], None], enough: Callable[[BlockJob], None], flush: Callable[[], None]) -> None:
        self._stop = stop
        self._flush = flush
        self._enough = enough
        self._lines: Any = gevent.queue.Queue()

    def listen(self) -> None:
        """Hears every line until the end."""
        pending = b""
        while True:
            gevent.socket.wait_read(0)
            data = os.read(0, 65536)
            *lines, pending = (pending + data).split(b"\n")
            for line in lines:
                try:
                    told = msgspec.json.decode(line, type=More)
                    if told.enough is not None:
                        self._enough(told.enough)
                    else:
                        self._lines.put(told.blocks)
                except msgspec.DecodeError:
                    data = b""
            if not data:
                self._stop(Stop(reason=StopReason.INTERRUPTED))
                self._flush()  # whoever started this may be gone, and then there is little time
                self._lines.put([])
                return

    def ask(self) -> list[BlockJob]:
        """Asks the command for further blocks and waits for them."""
        say(ProcessLine(event="wanting"))
        blocks: list[BlockJob] = self._lines.get()
        return blocks


def main() -> int:
    """Reads the job and does it; errors become a `fatal` line and an exit code."""
    prepare_process()
    try:
        return work(msgspec.json.decode(read_line(), type=Job))
    except Exception as error:  # noqa: BLE001 (told, and an exit code)
        return failed(error)


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code) if threading.active_count() > 1 else sys.exit(code)
