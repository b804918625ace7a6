"""Who may speak in a fleet: every message of master and workers, Locust's own included, carries a code that only holders of the secret can make.

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
from collections.abc import Mapping
from typing import Literal

import msgspec

from testcard.harness.errors import UsageError

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
