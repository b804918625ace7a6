"""What master and workers say to each other, over Locust's runners: one record a message, as msgpack; and what they make of it.

Monotonic clocks of two machines share no zero: a worker asks the master for the time, and takes the reading with the shortest way.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import msgspec
import pyarrow as pa

from testcard.benchmarks.fleet.leases import Grant
from testcard.benchmarks.load.process import Failure
from testcard.benchmarks.load.tally import EngineState
from testcard.benchmarks.plan.job import BlockJob, Job
from testcard.harness.runs.records import Block
from testcard.harness.runs.samples import schema
from testcard.harness.stops import Stop


class _Message(msgspec.Struct, frozen=True, kw_only=True):
    pass


class Hello(_Message, frozen=True, kw_only=True):
    """A worker's first words."""

    version: str
    host: str
    pid: int


class Refused(_Message, frozen=True, kw_only=True):
    """The master does not take this worker, because it runs another version of Testcard."""

    version: str


class Assignment(_Message, frozen=True, kw_only=True):
    """The job (without keys, its times by the master's clock)."""

    job: Job


class Clock(_Message, frozen=True, kw_only=True):
    """A worker asks the time, and is told it."""

    sent_s: float
    master_s: float = 0.0


class Ready(_Message, frozen=True, kw_only=True):
    """A worker can start."""

    cpu_s: float
    offset_s: float


class Failed(_Message, frozen=True, kw_only=True):
    """A worker cannot work, or not any more: it ends the run."""

    failure: Failure


class TurnPart(_Message, frozen=True, kw_only=True):
    """A turn to take part in; `start_s` by the master's clock."""

    block: BlockJob
    sequence: int
    instead_of: int | None
    start_s: float
    part: int
    parts: int


class Turned(_Message, frozen=True, kw_only=True):
    """A worker's part of a turn is over. `record` by the master's clock; `spare_*`: what it gives back of its lease."""

    record: Block
    lags: bytes
    spare_requests: int
    spare_usd: float
    stop: Stop | None = None
    fatal: Failure | None = None


class Samples(_Message, frozen=True, kw_only=True):
    """A record batch of samples, as Arrow IPC bytes; `number` counts a worker's batches from 0."""

    number: int
    data: bytes


class Kept(_Message, frozen=True, kw_only=True):
    """The master has written the batch."""

    number: int


class LeaseRequest(_Message, frozen=True, kw_only=True):
    """A worker needs a lease; its next request can cost so much."""

    worst_usd: float


class Granted(_Message, frozen=True, kw_only=True):
    """The answer to `LeaseRequest`."""

    grant: Grant


class Held(_Message, frozen=True, kw_only=True):
    """A live target has asked for patience: no worker sends to it before that time of the master's clock."""

    target: int
    until_s: float


class State(_Message, frozen=True, kw_only=True):
    """How it goes on a worker."""

    state: EngineState


class SendNoMore(_Message, frozen=True, kw_only=True):
    """Nothing more is to be sent; `cut`: what is in flight gets the job's grace only."""

    stop: Stop
    cut: bool


class NoMoreTurns(_Message, frozen=True, kw_only=True):
    """There are no more turns."""


class Bye(_Message, frozen=True, kw_only=True):
    """A worker leaves, having recorded so many samples; the master answers with the number it has."""

    rows: int


ALL: tuple[type[_Message], ...] = (
    Hello, Refused, Assignment, Clock, Ready, Failed, TurnPart, Turned, Samples, Kept, LeaseRequest, Granted, Held, State, SendNoMore, NoMoreTurns, Bye,
)  # fmt: skip
Said = TypeVar("Said", bound=_Message)


def name_of(kind: type[_Message]) -> str:
    """The message's name on Locust's wire."""
    return f"testcard.{kind.__name__.lower()}"


def packed(message: _Message) -> bytes:
    """The message as bytes."""
    return msgspec.msgpack.encode(message)


def unpacked(kind: type[Said], data: bytes) -> Said:
    """The message of that kind in the bytes; raises msgspec.ValidationError for anything else."""
    return msgspec.msgpack.decode(data, type=kind)


#: So many readings find one whose way there and back was short.
CLOCK_READINGS = 7


class ClockReading(msgspec.Struct, frozen=True, kw_only=True):
    """A question sent at `sent_s` and answered at `answered_s` by the worker's clock; the master's said `master_s` in between."""

    sent_s: float
    master_s: float
    answered_s: float


def offset_s(readings: Sequence[ClockReading]) -> float:
    """What to add to the worker's clock to get the master's, by the reading with the shortest way (Cristian's method).

    Off by at most half of that way.
    """
    best = min(readings, key=lambda reading: reading.answered_s - reading.sent_s)
    return best.master_s - (best.sent_s + best.answered_s) / 2


def batch_of(message: Samples) -> pa.RecordBatch:
    """The batch in a message; raises pyarrow.ArrowInvalid for bytes that are none."""
    return pa.ipc.read_record_batch(pa.py_buffer(message.data), schema())
