"""The load process: `python -m testcard.benchmarks.load_process`, one job as JSON on stdin, JSON lines about it on stdout.

A process of its own, because importing Locust replaces the standard library's sockets, threads and sleeps. It stops when
`stop` or the end of stdin arrives, gives what is in flight its grace, and leaves its shard readable in any case. It never
prints to stdout but through `say`, and never writes the job anywhere.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import gevent
import gevent.socket
import locust  # noqa: F401  (first: it patches what the imports below use)
import msgspec

from testcard.benchmarks.asks import asks, task_requests
from testcard.benchmarks.drive import Cell
from testcard.benchmarks.engine import Engine
from testcard.benchmarks.job import CellJob, Event, Job
from testcard.benchmarks.recorder import ShardWriter
from testcard.benchmarks.transport import Timeouts, Transport
from testcard.benchmarks.workload import Workload, parse_workload
from testcard.harness.config import PricesSection
from testcard.harness.errors import Exit, TestcardError
from testcard.harness.pricing import Pricing
from testcard.harness.runs.records import Block
from testcard.harness.wire.billing import worst_case
from testcard.specs.loader import load_provider

PROGRESS_S = 0.5
FLUSH_S = 1.0


def say(event: Event) -> None:
    """One JSON line to the command's process; silence once that is gone."""
    try:
        sys.stdout.buffer.write(msgspec.json.encode(event) + b"\n")
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def build_cell(job: Job, index: int, wanted: CellJob, workload: Workload, transport: Transport) -> Cell:
    """A cell with its requests encoded. Raises `ContractViolation` where the contract does not allow what the workload asks."""
    target = job.targets[wanted.target]
    provider = load_provider(target.provider, [Path(folder) for folder in job.search])
    pricing = Pricing(provider, target.illustrative_prices, PricesSection.model_validate(target.prices))
    requests = task_requests(provider, wanted.operation, wanted.task, wanted.model, workload)  # type: ignore[arg-type]
    ready = asks(
        provider,
        wanted.operation,
        requests,
        base_url=target.base_url,
        api_key=target.api_key,
        fresh_seeds=workload.seeds == "fresh",
    )
    price = pricing.price(wanted.model, wanted.operation)
    prepared = []
    for ask in ready:
        connection = transport.prepare(ask.wire)
        before, after = ask.pieces
        head = connection.data[: len(connection.data) - len(ask.wire.body)]
        prepared.append((connection, head + before, after))
    return Cell(
        index=index,
        target=wanted.target,
        label=wanted.provider,
        provider=provider,
        operation=wanted.operation,
        model=wanted.model,
        base_url=target.base_url,
        api_key=target.api_key,
        may_leave_machine=target.may_leave_machine,
        pricing=pricing,
        asks=ready,
        prepared=prepared,
        worst_usd=[None if price is None else price.usd(worst_case(provider, wanted.operation, ask.request)) for ask in ready],
        decode_share=workload.decode,
    )


def work(job: Job) -> int:
    """Does the job; the exit code of the process."""
    workload = parse_workload(job.workload, "the job")
    limits = workload.timeouts
    transport = Transport(Timeouts(limits.connect_s, limits.first_byte_s, limits.whole_s))
    cells = [build_cell(job, index, cell, workload, transport) for index, cell in enumerate(job.cells)]
    shard = ShardWriter(Path(job.folder), job.worker)
    engine = Engine(job, workload, cells, transport, shard)
    gevent.signal_handler(signal.SIGTERM, engine.stop, "interrupted")
    helpers = [gevent.spawn(_listen, engine), gevent.spawn(_report, engine), gevent.spawn(_flush, shard)]
    gc.collect()
    gc.freeze()  # a full collection over everything imported takes tens of milliseconds, in which no request is sent
    say(Event(event="ready", cpu_s=time.process_time()))
    try:
        engine.run(_say_block)
    finally:
        engine.close()
        gevent.killall(helpers)
    say(Event(event="progress", progress=engine.progress()))
    if engine.fatal is not None:
        message, hint, code = engine.fatal
        say(Event(event="fatal", message=message, hint=hint, exit_code=code))
        return code
    say(Event(event="done", message=engine.stop_reason, cpu_s=time.process_time()))
    return Exit.PASS


def _say_block(record: Block) -> None:
    say(Event(event="block", block=record))


def _report(engine: Engine) -> None:
    while True:
        gevent.sleep(PROGRESS_S)
        say(Event(event="progress", progress=engine.progress()))


def _flush(shard: ShardWriter) -> None:
    while True:
        gevent.sleep(FLUSH_S)
        shard.flush()


def _listen(engine: Engine) -> None:
    """Any byte, or the end, of standard input means stop."""
    gevent.socket.wait_read(0)
    engine.stop("interrupted")


def main() -> int:
    """Reads the job and does it; errors become a `fatal` line and an exit code."""
    with suppress(OSError):
        # A generator that has to queue for the processor sends late. Where the system does not allow it, the lag is measured all the same.
        os.setpriority(os.PRIO_PROCESS, 0, -10)
    sys.setswitchinterval(0.0005)  # the judge's thread hands the interpreter over soon when a request falls due
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the command's to handle; it says stop
    try:
        job = msgspec.json.decode(_read_line(), type=Job)
        return work(job)
    except TestcardError as error:
        say(Event(event="fatal", message=error.message, hint=error.hint, exit_code=int(error.exit_code)))
        return int(error.exit_code)
    except Exception as error:
        say(Event(event="fatal", message=f"{type(error).__name__}: {error}", exit_code=int(Exit.INTERNAL)))
        if os.environ.get("TESTCARD_TRACEBACK"):
            raise
        return Exit.INTERNAL


def _read_line() -> bytes:
    """The first line of standard input, and not a byte more: what follows it is a message of its own."""
    pieces = []
    while True:
        byte = os.read(0, 65536)
        pieces.append(byte)
        if not byte or byte.endswith(b"\n"):
            return b"".join(pieces)


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code) if threading.active_count() > 1 else sys.exit(code)
