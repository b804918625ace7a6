"""The leading process of a fleet: waits for its workers, shares turns and budget out among them, writes their samples."""

from __future__ import annotations

import time
from array import array
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import gevent
import gevent.event
import msgspec
import pyarrow as pa

from testcard.benchmarks.fleet import messages as m
from testcard.benchmarks.fleet.leases import Grant, Ledger, Lending
from testcard.benchmarks.fleet.messages import batch_of
from testcard.benchmarks.fleet.processes import Crew
from testcard.benchmarks.fleet.sockets import guard
from testcard.benchmarks.judging.recorder import RequestEnd, Shard
from testcard.benchmarks.load.engine import locust_environment
from testcard.benchmarks.load.process import Failure
from testcard.benchmarks.load.tally import EngineState
from testcard.benchmarks.load.turns import Taken, Turn, block_record, offsets_of
from testcard.benchmarks.plan.job import BlockJob, FleetJob, Job
from testcard.benchmarks.plan.workload import Workload
from testcard.benchmarks.show.web_page import LoadPage
from testcard.harness.runs.folder import tool_version
from testcard.harness.stops import REFUSED, Stop, StopReason, sentence, sentences
from testcard.harness.text.words import one_line


class Member:
    """One worker as its master sees it."""

    def __init__(self, client_id: str, index: int, hello: m.Hello, folder: Path) -> None:
        self.client_id = client_id
        self.index = index
        self.hello = hello
        self.shard = Shard(folder, index)
        self.batches = 0
        self.ready = False
        self.gone = False
        self.failed = False  # gets no further turn, and still sends what it has recorded
        self.left = False
        self.state: EngineState | None = None
        self.turned: m.Turned | None = None
        self._turn: Turn | None = None
        self._rows_before = 0

    def __str__(self) -> str:
        return f"worker {self.index} ({self.hello.host}, process {self.hello.pid})"

    def keep(self, message: m.Samples) -> pa.RecordBatch | None:
        """Writes a batch of samples that comes next and returns it; None for one that is there already or is none."""
        if message.number != self.batches:
            return None  # sent again because its confirmation was lost; what lies before it comes first
        try:
            batch = batch_of(message)
        except pa.ArrowInvalid:
            return None
        self.shard.write(batch)
        self.batches += 1
        return batch

    def begin(self, turn: Turn) -> None:
        """It is given its part of a turn."""
        self._turn, self.turned, self._rows_before = turn, None, self.shard.rows_written

    def taken(self, job: Job, workload: Workload, now_s: float) -> Taken:
        """What came of its part: as it said, or, where it was lost, what was due by the schedule and what is known to have been sent."""
        if self.turned is not None:
            lags = array("f")
            lags.frombytes(self.turned.lags)
            return Taken(self.turned.record, lags.tolist())
        turn = self._turn
        assert turn is not None
        assert turn.start_s is not None
        due = len(range(turn.part, len(offsets_of(workload.arrival, turn.block, turn.block.arrivals_key(job.seed))), turn.parts))
        sent = self.shard.rows_written - self._rows_before
        record = block_record(
            turn,
            job,
            worker=self.index,
            started_s=turn.start_s - job.started_s,
            ended_s=now_s - job.started_s,
            duration_s=turn.block.duration_s,
            scheduled=max(due, sent),
            sent=sent,
            complete=False,
        )
        return Taken(record, [])


#: From telling the workers of a turn to its start, on this machine and across a network.
LEAD_S, FAR_LEAD_S = 0.15, 0.6
#: Workers that this process starts are ready within so long, or not at all.
START_S = 60.0
#: Beyond the grace, workers get so long to send what they have.
GOODBYE_S = 25.0
clock = time.monotonic


class Master:
    """Leads a run whose load comes from workers (see `run.load_process.Lead`)."""

    def __init__(self, job: Job, workload: Workload, note: Callable[[str], None]) -> None:
        assert job.fleet is not None
        self.fleet: FleetJob = job.fleet
        self.job = job
        self.workload = workload
        self.fatal: Failure | None = None
        self.losses: list[Stop] = []
        self._stopped: Stop | None = None
        self._stopping = gevent.event.Event()
        self._news = gevent.event.Event()
        self._note = note
        self._on_request: Callable[[RequestEnd], None] | None = None
        self._lending = Lending(Ledger(job.max_requests, job.max_cost_usd))
        self._members: dict[str, Member] = {}
        self._ended = False
        self._mistaken = False  # what a worker said was lost here: nothing is waited for any more
        self._refused: set[str] = set()
        guard(self.fleet.secret, "master", self._refuse)
        self.environment = locust_environment()
        self._runner: Any = self.environment.create_master_runner(self.fleet.host, self.fleet.port)
        for kind in m.ALL:
            self._runner.register_message(m.name_of(kind), self._hear(kind))
        self._crew = Crew(job, self.port) if self.fleet.spawn else None

    @property
    def port(self) -> int:
        """The port on which workers find it."""
        return int(self._runner.server.port)

    @property
    def stops(self) -> list[Stop]:
        """Why the run is not whole: stopped early, or a worker lost; none: it is."""
        return [*([self._stopped] if self._stopped is not None else []), *self.losses]

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
                    self.fatal = Failure(message=f"a worker did not start{': ' + dead if dead else ''}")
            if self.fatal is not None:
                self.stop(Stop(reason=StopReason.WORKER_FAILED))

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
            turn = Turn(block, sequence, instead_of, start_s, part, parts)
            member.begin(turn)
            self._send(member, m.TurnPart(block=block, sequence=sequence, instead_of=instead_of, start_s=start_s, part=part, parts=parts))
        while not self._mistaken and any(member.turned is None and not member.gone for member in members):
            self._news.clear()
            self._news.wait(0.2)
            self._look_for_losses(block)
        taken = [member.taken(self.job, self.workload, clock()) for member in members]
        if not self._present() and self.fatal is None:
            self.fatal = Failure(message=f"every worker is gone: {sentences(self.losses)}", hint="what they had sent is kept")
            self._stopping.set()
        return taken

    def stop(self, stop: Stop, *, cut: bool = True) -> None:
        """Tells every worker to send nothing more."""
        self._stopped = self._stopped or stop
        self._stopping.set()
        for member in self._present():
            self._send(member, m.SendNoMore(stop=stop, cut=cut))

    def enough(self, block: BlockJob) -> None:
        """Nothing: workers take their parts of a turn to its end."""

    def stopped(self) -> bool:
        """Whether no further turn is taken."""
        return bool(self._stopping.is_set())

    def progress(self) -> list[EngineState]:
        """The latest that each worker has said."""
        return [
            msgspec.structs.replace(member.state, in_flight=0) if member.gone else member.state
            for member in self._members.values()
            if member.state is not None
        ]

    def show(self) -> LoadPage:
        """A web page that shows every sample that arrives, and the workers."""
        page = LoadPage(self.job, lambda: sum(state.in_flight for state in self.progress()), self._runner.clients)
        self._on_request = page.heard
        return page

    def flush(self) -> None:
        """Nothing to do: what arrives is written at once."""

    def close(self) -> None:
        """Takes leave of the workers, having all that they recorded."""
        self._ended = True
        for member in self._staying():
            self._send(member, m.NoMoreTurns())
        until = clock() + GOODBYE_S + (self.job.grace_s if self._stopping.is_set() else 0.0)
        while not self._mistaken and any(member.ready for member in self._staying()) and clock() < until:
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
            try:
                message = m.unpacked(kind, msg.data)
                if isinstance(message, m.Hello):
                    self._welcome(msg.node_id, message)
                elif (member := self._members.get(msg.node_id)) is not None:
                    self._heed(member, message)
            except Exception as error:  # noqa: BLE001 (Locust would log it and go on without what was said)
                self._mistaken = True
                self.fatal = self.fatal or Failure.of(error)
                self.stop(Stop(reason=StopReason.INTERNAL_ERROR, detail=self.fatal.message))
            self._news.set()

        return heard

    def _welcome(self, client_id: str, hello: m.Hello) -> None:
        if client_id in self._members:
            return
        if len(self._present(ready=False)) >= self.fleet.workers or self._ended:
            self._runner.send_message(m.name_of(m.NoMoreTurns), m.packed(m.NoMoreTurns()), client_id=client_id)
            return
        if hello.version != tool_version():
            self._note(f"a worker on {hello.host} was refused: it runs Testcard {hello.version}, this is {tool_version()}")
            refusal = m.Refused(version=tool_version())
            self._runner.send_message(m.name_of(m.Refused), m.packed(refusal), client_id=client_id)
            return
        member = Member(client_id, len(self._members), hello, Path(self.job.folder))
        self._members[client_id] = member
        targets = [msgspec.structs.replace(target, api_key=None) for target in self.job.targets]
        job = msgspec.structs.replace(self.job, targets=targets, folder="", search=[], fleet=None, worker=member.index)
        self._send(member, m.Assignment(job=job))

    def _refuse(self, name: str, why: str) -> None:
        """Says once that somebody's messages are not taken, of ten at most: who floods is not to fill the terminal too."""
        if name not in self._refused and len(self._refused) < 10:
            self._refused.add(name)
            self._note(f"a message of {one_line(name)[:80]} was refused: {why}")

    def _heed(self, member: Member, message: Any) -> None:
        if isinstance(message, m.LeaseRequest | m.Spare | m.Turned):
            self._lending.ledger.times = max(self._lending.ledger.times, message.times)
        match message:
            case m.Clock(sent_s=sent_s):
                self._send(member, m.Clock(sent_s=sent_s, master_s=clock()))
            case m.Ready():
                member.ready = True
                if self._crew is None:
                    self._note(f"{member} is ready ({len(self._present())} of {self.fleet.workers})")
            case m.LeaseRequest(worst_usd=worst, least_usd=least):
                self._lend(self._lending.asked(member.client_id, worst, self._present_ids(), least))
            case m.Spare(requests=requests, usd=usd):
                self._lend(self._lending.returned(member.client_id, requests, usd, self._present_ids()))
            case m.Held():
                for other in self._present():
                    if other is not member:
                        self._send(other, message)
            case m.State(state=state):
                member.state = state
            case m.Samples(number=number):
                if (batch := member.keep(message)) is not None and self._on_request is not None:
                    for row in batch.to_pylist():
                        self._on_request(RequestEnd.of_row(row))
                self._send(member, m.Kept(number=number))
            case m.Turned():
                self._turned(member, message)
            case m.Failed():
                member.failed = True
                self._lend(self._lending.returned(member.client_id, 0, 0.0, self._present_ids()))
                failure = message.failure
                self.fatal = self.fatal or msgspec.structs.replace(failure, message=f"{member}: {failure.message}")
                self.stop(Stop(reason=StopReason.WORKER_FAILED, target=str(member), detail=failure.message))
            case m.Bye(rows=rows):
                member.left = True
                if rows != member.shard.rows_written:
                    how = f"recorded {rows} samples, of which {member.shard.rows_written} arrived"
                    self.losses.append(Stop(reason=StopReason.WORKER_LOST, target=str(member), detail=how))
                self._send(member, m.Bye(rows=member.shard.rows_written))
                if member.failed:
                    member.gone = True
                elif not self._ended and not member.gone:
                    self._lose(member, "left", None)

    def _turned(self, member: Member, message: m.Turned) -> None:
        self._lend(self._lending.returned(member.client_id, message.spare_requests, message.spare_usd, self._present_ids()))
        member.turned = message
        if message.fatal is not None:
            self.fatal = self.fatal or message.fatal
            self.stop(message.stop or Stop(reason=StopReason.KEY_REFUSED))
        elif message.stop is not None and not self._stopping.is_set():
            # The others may use up what they hold; no further turn is taken.
            self._stopped = self._stopped or message.stop
            if message.stop.reason in REFUSED:
                self.stop(message.stop, cut=False)
            self._stopping.set()

    def _lend(self, steps: Iterable[tuple[str, Grant | None]]) -> None:
        for name, grant in steps:
            self._send(self._members[name], m.GiveBack() if grant is None else m.Granted(grant=grant))

    # Who is there.

    def _present_ids(self) -> list[str]:
        return [member.client_id for member in self._present()]

    def _present(self, *, ready: bool = True) -> list[Member]:
        return [member for member in self._members.values() if not (member.gone or member.failed) and (member.ready or not ready)]

    def _staying(self) -> list[Member]:
        """Those that may still send samples: also one that failed, whose requests were paid for like all others."""
        return [member for member in self._members.values() if not (member.gone or member.left)]

    def _look_for_losses(self, block: BlockJob | None) -> None:
        for member in (member for member in self._staying() if member.ready):
            if self._crew is not None and (death := self._crew.death_of(member.hello.pid)) is not None:
                self._lose(member, f"died ({death})", block)
            elif self._crew is None and self._silent(member):
                self._lose(member, "is not heard of any more", block)

    def _silent(self, member: Member) -> bool:
        node = self._runner.clients.get(member.client_id)
        return node is None or node.state == "missing"

    def _lose(self, member: Member, how: str, block: BlockJob | None) -> None:
        member.gone = True
        self._news.set()
        self._lend(self._lending.returned(member.client_id, 0, 0.0, self._present_ids()))
        if member.failed:
            return  # said already
        where = f" in {self.job.cells[block.cell].provider} {block.stage} round {block.round}" if block is not None else ""
        loss = Stop(reason=StopReason.WORKER_LOST, target=str(member), detail=how + where)
        self.losses.append(loss)
        self._note(sentence(loss))

    def _send(self, member: Member, message: Any) -> None:
        self._runner.send_message(m.name_of(type(message)), m.packed(message), client_id=member.client_id)
