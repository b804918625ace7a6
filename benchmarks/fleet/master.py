"""The leading process of a fleet: waits for its workers, shares turns and budget out among them, writes their samples."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from array import array
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import gevent
import gevent.event
import msgspec
import pyarrow as pa

from testcard.benchmarks.arrivals import offsets_of
from testcard.benchmarks.engine import Taken
from testcard.benchmarks.fleet import messages as m
from testcard.benchmarks.fleet.leases import Ledger
from testcard.benchmarks.fleet.shipping import batch_of
from testcard.benchmarks.job import BlockJob, FleetJob, Job, WorkerJob
from testcard.benchmarks.recorder import Shard
from testcard.benchmarks.users import locust_environment
from testcard.benchmarks.web import Page
from testcard.benchmarks.workload import Workload
from testcard.harness.errors import Exit
from testcard.harness.runs.folder import tool_version
from testcard.harness.runs.records import Block

#: From telling the workers of a turn to its start, on this machine and across a network.
LEAD_S, FAR_LEAD_S = 0.15, 0.6
#: Workers that this process starts are ready within so long, or not at all.
START_S = 60.0
#: Beyond the grace, workers get so long to send what they have.
GOODBYE_S = 25.0
clock = time.monotonic


class _Member:
    """One worker as its master sees it."""

    def __init__(self, client_id: str, index: int, hello: m.Hello, folder: Path) -> None:
        self.client_id = client_id
        self.index = index
        self.hello = hello
        self.shard = Shard(folder, index)
        self.batches = 0
        self.ready = False
        self.gone = False
        self.left = False
        self.state: dict[str, Any] | None = None
        self.turned: m.Turned | None = None
        self.rows_before = 0

    def __str__(self) -> str:
        return f"worker {self.index} ({self.hello.host}, process {self.hello.pid})"


class Master:
    """Leads a run whose load comes from workers (see `solo.Lead`)."""

    def __init__(self, job: Job, workload: Workload, note: Callable[[str], None]) -> None:
        assert job.fleet is not None
        self.fleet: FleetJob = job.fleet
        self.job = job
        self.workload = workload
        self.fatal: tuple[str, str | None, int] | None = None
        self.losses: list[str] = []
        self._reason: str | None = None
        self._stopping = gevent.event.Event()
        self._news = gevent.event.Event()
        self._note = note
        self._on_samples: Callable[[pa.RecordBatch], None] | None = None
        self._ledger = Ledger(job.max_requests, job.max_cost_usd)
        self._members: dict[str, _Member] = {}
        self._ended = False
        self.environment = locust_environment()
        self._runner: Any = self.environment.create_master_runner(self.fleet.host, self.fleet.port)
        for kind in m.ALL:
            self._runner.register_message(m.name_of(kind), self._hear(kind))
        self._crew = _Crew(job, self.port) if self.fleet.spawn else None

    @property
    def port(self) -> int:
        """The port on which workers find it."""
        return int(self._runner.server.port)

    @property
    def stop_reason(self) -> str | None:
        """Why the run is not whole: stopped early, or a worker lost; None: it is."""
        return "; ".join([*([self._reason] if self._reason else []), *self.losses]) or None

    def open(self) -> None:
        """Waits until all workers are ready; returns early when the run is stopped or cannot work."""
        if self._crew is None:
            self._note(f"waiting for {self.fleet.workers} worker(s) on {self.fleet.host}:{self.port}")
        until = clock() + START_S
        while len(self._present()) < self.fleet.workers and not self._stopping.is_set():
            self._news.clear()
            self._news.wait(0.05)
            if self._crew is not None:
                dead = self._crew.dead()
                if (dead or clock() > until) and self.fatal is None:
                    self.fatal = (f"a worker did not start{': ' + dead if dead else ''}", None, int(Exit.INTERNAL))
            if self.fatal is not None:
                self.stop("a worker cannot work")

    def take(self, block: BlockJob, sequence: int, instead_of: int | None) -> list[Taken]:
        """Shares a turn out among the workers that are there, and waits for all of them, or their loss."""
        present = self._present()
        if not present:
            return []
        parts = min(len(present), block.users or len(present), self.workload.max_in_flight or len(present))
        first = sequence % len(present)
        members = [present[(first + index) % len(present)] for index in range(parts)]
        start_s = clock() + (LEAD_S if self._crew is not None else FAR_LEAD_S)
        for part, member in enumerate(members):
            member.turned, member.rows_before = None, member.shard.rows_written
            turn = m.TurnPart(block=block, sequence=sequence, instead_of=instead_of, start_s=start_s, part=part, parts=parts)
            self._send(member, turn)
        while any(member.turned is None and not member.gone for member in members):
            self._news.clear()
            self._news.wait(0.2)
            self._look_for_losses(block)
        taken = [
            self._taken(member) if member.turned is not None else self._lost(member, block, sequence, instead_of, start_s, part, parts)
            for part, member in enumerate(members)
        ]
        if not self._present() and self.fatal is None:
            self.fatal = ("every worker is gone: " + "; ".join(self.losses), "what they had sent is kept", int(Exit.INTERNAL))
            self._stopping.set()
        return taken

    def stop(self, reason: str, *, cut: bool = True) -> None:
        """Tells every worker to send nothing more."""
        self._reason = self._reason or reason
        self._stopping.set()
        for member in self._present():
            self._send(member, m.Stop(reason=reason, cut=cut))

    def stopped(self) -> bool:
        """Whether no further turn is taken."""
        return bool(self._stopping.is_set())

    def progress(self) -> list[dict[str, Any]]:
        """The latest that each worker has said."""
        return [
            {**member.state, "in_flight": 0} if member.gone else member.state
            for member in self._members.values()
            if member.state is not None
        ]

    def show(self) -> Page:
        """A web page that shows every sample that arrives, and the workers."""
        page = Page(self.job, lambda: sum(state["in_flight"] for state in self.progress()), self._runner.clients)
        self._on_samples = page.read
        return page

    def flush(self) -> None:
        """Nothing to do: what arrives is written at once."""

    def close(self) -> None:
        """Takes leave of the workers, having all that they recorded."""
        self._ended = True
        for member in self._present():
            self._send(member, m.End())
        until = clock() + GOODBYE_S + (self.job.grace_s if self._stopping.is_set() else 0.0)
        while any(not member.left for member in self._present()) and clock() < until:
            self._news.clear()
            self._news.wait(0.2)
            self._look_for_losses(None)
        for member in self._members.values():
            member.shard.close()
        if self._crew is not None:
            self._crew.close()
        self._runner.greenlet.kill(block=False)

    # What workers say.

    def _hear(self, kind: Any) -> Any:
        def heard(environment: Any, msg: Any, **_: Any) -> None:
            message = m.unpacked(kind, msg.data)
            if isinstance(message, m.Hello):
                self._welcome(msg.node_id, message)
            elif (member := self._members.get(msg.node_id)) is not None:
                self._heed(member, message)
            self._news.set()

        return heard

    def _welcome(self, client_id: str, hello: m.Hello) -> None:
        if client_id in self._members:
            return
        if len(self._present(ready=False)) >= self.fleet.workers or self._ended:
            self._runner.send_message(m.name_of(m.End), m.packed(m.End()), client_id=client_id)
            return
        member = _Member(client_id, len(self._members), hello, Path(self.job.folder))
        self._members[client_id] = member
        if hello.version != tool_version():
            self._note(f"{member} runs Testcard {hello.version}, this is {tool_version()}")
        targets = [msgspec.structs.replace(target, api_key=None) for target in self.job.targets]
        job = msgspec.structs.replace(self.job, targets=targets, folder="", search=[], fleet=None, worker=member.index)
        self._send(member, m.Work(job=job))

    def _heed(self, member: _Member, message: Any) -> None:
        match message:
            case m.Clock(sent_s=sent_s):
                self._send(member, m.Clock(sent_s=sent_s, master_s=clock()))
            case m.Ready():
                member.ready = True
                if self._crew is None:
                    self._note(f"{member} is ready ({len(self._present())} of {self.fleet.workers})")
            case m.Ask(worst_usd=worst):
                self._send(member, m.Granted(grant=self._ledger.lease(worst, max(1, len(self._present())))))
            case m.Held():
                for other in self._present():
                    if other is not member:
                        self._send(other, message)
            case m.State(state=state):
                member.state = state
            case m.Samples(number=number):
                self._keep(member, message)
                self._send(member, m.Kept(number=number))
            case m.Turned():
                self._turned(member, message)
            case m.Failed():
                member.gone = True
                self.fatal = self.fatal or (f"{member}: {message.message}", message.hint, message.exit_code)
                self.stop("a worker cannot work")
            case m.Bye(rows=rows):
                member.left = True
                if rows != member.shard.rows_written:
                    self.losses.append(f"{member} recorded {rows} samples, of which {member.shard.rows_written} arrived")
                self._send(member, m.Bye(rows=member.shard.rows_written))
                if not self._ended and not member.gone:
                    self._lose(member, "left", None)

    def _keep(self, member: _Member, message: m.Samples) -> None:
        if message.number != member.batches:
            return  # sent again because its confirmation was lost; what lies before it comes first
        with suppress(pa.ArrowInvalid):
            batch = batch_of(message)
            member.shard.write(batch)
            member.batches += 1
            if self._on_samples is not None:
                self._on_samples(batch)

    def _turned(self, member: _Member, message: m.Turned) -> None:
        self._ledger.give_back(message.spare_requests, message.spare_usd)
        member.turned = message
        if message.fatal is not None:
            self.fatal = self.fatal or message.fatal
            self.stop("a worker's first request was refused")
        elif message.stop_reason is not None and not self._stopping.is_set():
            # The others may use up what they hold; no further turn is taken.
            self._reason = self._reason or message.stop_reason
            if "answered" in message.stop_reason:
                self.stop(message.stop_reason, cut=False)
            self._stopping.set()

    # Who is there.

    def _present(self, *, ready: bool = True) -> list[_Member]:
        return [member for member in self._members.values() if not member.gone and (member.ready or not ready)]

    def _look_for_losses(self, block: BlockJob | None) -> None:
        for member in self._present():
            if self._crew is not None and not member.left and (death := self._crew.death_of(member.hello.pid)) is not None:
                self._lose(member, f"died ({death})", block)
            elif self._crew is None and not member.left and self._silent(member):
                self._lose(member, "is not heard of any more", block)

    def _silent(self, member: _Member) -> bool:
        node = self._runner.clients.get(member.client_id)
        return node is None or node.state == "missing"

    def _lose(self, member: _Member, how: str, block: BlockJob | None) -> None:
        member.gone = True
        where = f" in {self.job.cells[block.cell].provider} {block.stage} round {block.round}" if block is not None else ""
        text = f"{member} {how}{where}: what it had not sent on is lost, what it held of the budget counts as spent"
        self.losses.append(text)
        self._note(text)
        self._news.set()

    def _send(self, member: _Member, message: Any) -> None:
        self._runner.send_message(m.name_of(type(message)), m.packed(message), client_id=member.client_id)

    # What came of a turn.

    def _taken(self, member: _Member) -> Taken:
        assert member.turned is not None
        lags = array("f")
        lags.frombytes(member.turned.lags)
        return Taken(member.turned.record, lags.tolist())

    def _lost(
        self, member: _Member, block: BlockJob, sequence: int, instead_of: int | None, start_s: float, part: int, parts: int
    ) -> Taken:
        """The record of a turn's part whose worker was lost: what was due by its schedule, and what is known to have been sent."""
        cell = self.job.cells[block.cell]
        key = block.key(self.job.seed, again=instead_of is not None)
        due = len(range(part, len(offsets_of(self.workload.arrival, block, key)), parts))
        sent = member.shard.rows_written - member.rows_before
        record = Block(
            sequence=sequence,
            instead_of=instead_of,
            cell=block.cell,
            provider=cell.provider,
            model=cell.model,
            operation=cell.operation,
            stage=block.stage,
            round=block.round,
            worker=member.index,
            started_s=start_s - self.job.started_s,
            ended_s=clock() - self.job.started_s,
            warmup_s=block.warmup_s,
            duration_s=block.duration_s,
            offered_rps=None if block.rate_rps is None else block.rate_rps / parts,
            users=None if block.users is None else block.users // parts + (part < block.users % parts),
            scheduled=max(due, sent),
            sent=sent,
            dropped=max(0, due - sent),
            send_lag_p99_s=None,
            send_lag_max_s=None,
            latency_p50_s=None,
            busy_percent=0.0,
            cpu_percent=0.0,
            complete=False,
        )
        return Taken(record, [])


class _Crew:
    """Worker processes on this machine, started by their master; they end when it does, because their standard input closes."""

    def __init__(self, job: Job, port: int) -> None:
        assert job.fleet is not None
        keys = [target.api_key for target in job.targets]
        order = msgspec.json.encode(WorkerJob(master_host="127.0.0.1", master_port=port, keys=keys, search=job.search)) + b"\n"
        self._talk: dict[int, IO[bytes]] = {}
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        for _ in range(job.fleet.workers):
            talk = tempfile.TemporaryFile()  # noqa: SIM115 (closed with the crew)
            process = subprocess.Popen(
                [sys.executable, "-m", "testcard.benchmarks.fleet.worker"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=talk
            )
            assert process.stdin is not None
            process.stdin.write(order)
            process.stdin.flush()
            self._processes[process.pid] = process
            self._talk[process.pid] = talk

    def death_of(self, pid: int) -> str | None:
        """How the process ended, or None while it lives."""
        process = self._processes.get(pid)
        code = process.poll() if process is not None else None
        if code is None:
            return None
        return f"signal {-code}" if code < 0 else f"exit {code}{self._last_words(pid)}"

    def dead(self) -> str | None:
        """How one of the processes ended, where one did."""
        return next((death for pid in self._processes if (death := self.death_of(pid)) is not None), None)

    def close(self) -> None:
        """Waits for the processes, kills those that stay."""
        for pid, process in self._processes.items():
            assert process.stdin is not None
            with suppress(OSError):
                process.stdin.close()
            try:
                process.wait(timeout=3)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            self._talk[pid].close()

    def _last_words(self, pid: int) -> str:
        talk = self._talk[pid]
        talk.seek(0)
        lines = talk.read().decode("utf-8", "replace").strip().splitlines()
        return f": {lines[-1]}" if lines else ""
