"""What master and workers say to each other, over Locust's runners: one record a message, as msgpack; and what they make of it.

Monotonic clocks of two machines share no zero: a worker asks the master for the time, and takes the reading with the shortest way.

Who may speak in a fleet: every message of master and workers, Locust's own included, carries a code that only holders of the secret can make.

A frame is a version, the sender's session, the session that it speaks to, a number that only grows, an HMAC-SHA256 (RFC 2104) over
these, the direction, the worker's name and the message, then the message. Sessions are drawn anew by each process: what was said in
one run, or to one worker, proves nothing in another. Only a worker's greeting speaks to no session yet. What does not fit is not
decoded. Nothing is encrypted, and holders of the secret trust each other.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import struct
from collections.abc import Mapping, Sequence
from typing import Literal, TypeVar

import msgspec
import pyarrow as pa

from testcard.benchmarks.fleet.leases import Grant
from testcard.benchmarks.load.process import Failure
from testcard.benchmarks.load.tally import EngineState
from testcard.benchmarks.plan.job import BlockJob, Job
from testcard.harness.errors import UsageError
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
    times: float = 1.0
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
    """A worker needs a lease; its next request can cost so much, and `least_usd` (None: the same) as far as is known. `times`: see `Grant`."""

    worst_usd: float
    least_usd: float | None = None
    times: float = 1.0


class Granted(_Message, frozen=True, kw_only=True):
    """The answer to `LeaseRequest`."""

    grant: Grant


class GiveBack(_Message, frozen=True, kw_only=True):
    """The budget is spent but for what workers hold: whoever hears this gives back what it has not used."""


class Spare(_Message, frozen=True, kw_only=True):
    """The answer to `GiveBack`."""

    requests: int
    usd: float
    times: float = 1.0


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
    Hello, Refused, Assignment, Clock, Ready, Failed, TurnPart, Turned, Samples, Kept, LeaseRequest, Granted, GiveBack, Spare, Held, State, SendNoMore, NoMoreTurns, Bye,
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


SECRET = "TESTCARD_FLEET_SECRET"
#: Characters of a secret that a person sets; fewer can be guessed.
LEAST_SECRET = 16
VERSION = b"TCF1"
_HEAD = struct.Struct("!4s16s16sQ32s")
_NOBODY = bytes(16)
#: What a worker says before it knows its master's session; repeated by somebody else, it starts nothing.
_GREETING = "client_ready"
Side = Literal["master", "worker"]


class NotGenuine(Exception):
    """A frame that no holder of the secret made for this process. The message says what is wrong with it."""


class Channel:
    """One process's side of the conversation: seals what it says, opens what it is told."""

    def __init__(self, secret: str, side: Side) -> None:
        self._key = hashlib.sha256(secret.encode()).digest()
        self._side = side
        self._other: Side = "worker" if side == "master" else "master"
        self.session = os.urandom(16)
        self._said = 0
        self._peers: dict[str, tuple[bytes, int]] = {}

    def sealed(self, message: bytes, worker: str) -> bytes:
        """The frame with this message, to or from that worker."""
        self._said += 1
        to = self._peers.get(worker, (_NOBODY, 0))[0]
        code = self._code(self._side, worker, self.session, to, self._said, message)
        return _HEAD.pack(VERSION, self.session, to, self._said, code) + message

    def opened(self, frame: bytes, worker: str) -> bytes:
        """The message in the frame; `NotGenuine` for anything but the next word of a holder of the secret to this process."""
        if len(frame) < _HEAD.size:
            raise NotGenuine("it carries no code")
        version, session, to, number, code = _HEAD.unpack_from(frame)
        if version != VERSION:
            raise NotGenuine("it is of another version of Testcard, or of none")
        message = frame[_HEAD.size :]
        if not hmac.compare_digest(code, self._code(self._other, worker, session, to, number, message)):
            raise NotGenuine(f"its code was not made with this {SECRET}")
        known = self._peers.get(worker)
        if known is not None and (session != known[0] or number <= known[1]):
            raise NotGenuine("it was said before")
        if to != self.session and (to != _NOBODY or self._side == "worker"):
            raise NotGenuine("it was said to another process")
        if self._side == "master":
            try:
                kind, _, name = msgspec.msgpack.decode(message)
            except (msgspec.DecodeError, TypeError, ValueError, RecursionError):
                raise NotGenuine("it is no message") from None
            if to == _NOBODY and kind != _GREETING:
                raise NotGenuine("it does not know whom it speaks to")
            if name != worker:
                raise NotGenuine("it speaks for another worker")
        self._peers[worker] = (session, number)
        return message

    def _code(self, side: Side, worker: str, session: bytes, to: bytes, number: int, message: bytes) -> bytes:
        name = worker.encode()
        head = b"".join((VERSION, side.encode(), struct.pack("!I", len(name)), name, session, to, struct.pack("!Q", number)))
        return hmac.digest(self._key, head + message, "sha256")


def given_secret(environment: Mapping[str, str] = os.environ) -> str:
    """The secret that master and workers on several machines share; `UsageError` where it is missing or short."""
    secret = environment.get(SECRET, "").strip()
    hint = f"set {SECRET} to the same value for the master and every worker, such as that of: openssl rand -hex 32"
    if not secret:
        raise UsageError(f"{SECRET} is not set: master and workers need a secret that only they know", hint=hint)
    if len(secret) < LEAST_SECRET:
        raise UsageError(f"{SECRET} is shorter than {LEAST_SECRET} characters", hint=hint)
    return secret
