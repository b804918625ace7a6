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
from typing import Any

import gevent
import gevent.queue
import gevent.socket
import locust  # noqa: F401  (first: it patches what the imports below use)
import msgspec

from testcard.benchmarks.fleet.master import Master
from testcard.benchmarks.load.conduct import Conductor
from testcard.benchmarks.plan.job import BlockJob, Event, Failure, Job, More
from testcard.benchmarks.plan.workload import parse_workload
from testcard.benchmarks.run.process import prepare_process, read_line, say, settle_down
from testcard.benchmarks.run.solo import Lead, Solo
from testcard.benchmarks.show.overview import together
from testcard.benchmarks.show.tally import key_of
from testcard.harness.errors import Exit, TestcardError
from testcard.harness.stops import Stop, StopReason

PROGRESS_S = 0.5
FLUSH_S = 1.0


def work(job: Job) -> int:
    """Does the job; the exit code of the process."""
    workload = parse_workload(job.workload, "the job")
    lead: Lead = Solo(job, workload) if job.fleet is None else Master(job, workload, lambda text: say(Event(event="note", message=text)))
    listener = Listener(lead.stop)
    gevent.signal_handler(signal.SIGTERM, lead.stop, Stop(reason=StopReason.INTERRUPTED))
    conductor = Conductor(job, lead.take, lead.stopped, lambda record: say(Event(event="block", block=record)))
    helpers = [gevent.spawn(listener.listen), gevent.spawn(_report, conductor, lead), gevent.spawn(_flush, lead)]
    say(Event(event="started"))
    page = None
    try:
        if job.web is not None:
            page = lead.show()
            say(Event(event="note", message=f"web: {page.address} shows this run, and ends with it"))
        lead.open()
        settle_down()
        say(Event(event="ready", cpu_s=time.process_time()))
        conductor.run(listener.ask if job.more else None)
    finally:
        lead.close()
        if page is not None:
            page.close()
        gevent.killall(helpers)
    say(Event(event="progress", progress=_state(conductor, lead)))
    if lead.fatal is not None:
        say(Event(event="fatal", failure=lead.fatal, stops=lead.stops))
        return lead.fatal.exit_code
    say(Event(event="done", stops=lead.stops, cpu_s=time.process_time()))
    return Exit.PASS


def _state(conductor: Conductor, lead: Lead) -> dict[str, Any]:
    """The run as the command shows it: the engines together, and where in the plan it is."""
    block = conductor.block
    return {
        **together(lead.progress(), key_of(block.cell, block.stage) if block else ""),
        "passed_s": conductor.present_s(),
        "planned_s": conductor.planned_s,
        "cell": block.cell if block else None,
        "stage": block.stage if block else None,
        "round": block.round if block else None,
        "offered_rps": block.rate_rps if block else None,
        "users": block.users if block else None,
    }


def _report(conductor: Conductor, lead: Lead) -> None:
    while True:
        gevent.sleep(PROGRESS_S)
        say(Event(event="progress", progress=_state(conductor, lead)))


def _flush(lead: Lead) -> None:
    while True:
        gevent.sleep(FLUSH_S)
        lead.flush()


class Listener:
    """What the command says on standard input: further blocks that were asked for; anything else, or its end, means stop."""

    def __init__(self, stop: Callable[[Stop], None]) -> None:
        self._stop = stop
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
                    self._lines.put(msgspec.json.decode(line, type=More).blocks)
                except msgspec.DecodeError:
                    data = b""
            if not data:
                self._stop(Stop(reason=StopReason.INTERRUPTED))
                self._lines.put([])
                return

    def ask(self) -> list[BlockJob]:
        """Asks the command for further blocks and waits for them."""
        say(Event(event="wanting"))
        blocks: list[BlockJob] = self._lines.get()
        return blocks


def main() -> int:
    """Reads the job and does it; errors become a `fatal` line and an exit code."""
    prepare_process()
    try:
        return work(msgspec.json.decode(read_line(), type=Job))
    except TestcardError as error:
        say(Event(event="fatal", failure=Failure(message=error.message, hint=error.hint, exit_code=int(error.exit_code))))
        return int(error.exit_code)
    except Exception as error:
        say(Event(event="fatal", failure=Failure(message=f"{type(error).__name__}: {error}")))
        if os.environ.get("TESTCARD_TRACEBACK"):
            raise
        return Exit.INTERNAL


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code) if threading.active_count() > 1 else sys.exit(code)
