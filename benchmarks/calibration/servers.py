"""Servers of known behaviour, in a process of their own: `python -m testcard.benchmarks.calibration.servers`, plans on stdin.

One thread, one epoll, one port of 127.0.0.1 for each plan. Every request of any method and path gets the plan's one answer,
after the plan's next delay; what arrives within its freeze is answered as if it had arrived at the end of it. Delays are kept
to some 0.1 ms (`epoll` alone rounds up to whole milliseconds), and how late each answer went out is counted, so that a
figure that is off can be told from a server that was.
"""

from __future__ import annotations

import base64
import ctypes
import heapq
import io
import os
import random
import re
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import msgspec

clock = time.monotonic
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]+)", re.IGNORECASE)
_PR_SET_TIMERSLACK = 29


class ServerPlan(msgspec.Struct, frozen=True, kw_only=True):
    """How one server behaves: about so many bytes an answer, the n-th request after `delays_s[n % len]`, a freeze or none.

    `freeze_s` counts from the server's first request.
    """

    bytes: int = 1500
    delays_s: tuple[float, ...] = (0.0,)
    freeze_s: tuple[float, float] | None = None


class ServerCount(msgspec.Struct, frozen=True, kw_only=True):
    """What a server did: answers, and the 99th percentile of how late they went out (None: it had none to delay)."""

    answers: int
    late_p99_s: float | None = None


def answer_body(size: int) -> bytes:
    """A JSON answer of about `size` bytes with one PNG of incompressible pixels in it; the same bytes for the same size."""
    from PIL import Image

    edge = max(8, round((size * 3 / 4 / 3) ** 0.5) - 2)
    picture = Image.frombytes("RGB", (edge, edge), random.Random(0).randbytes(edge * edge * 3))
    file = io.BytesIO()
    picture.save(file, "PNG", compress_level=1)
    return msgspec.json.encode({"created": 1, "data": [{"b64_json": base64.b64encode(file.getvalue()).decode()}]})


@dataclass(slots=True)
class _Server:
    plan: ServerPlan
    answer: bytes
    listener: socket.socket
    answers: int = 0
    first_s: float | None = None
    late_s: list[float] = field(default_factory=list)

    def due_s(self, now: float) -> float | None:
        """When the request that has just arrived is to be answered; None: at once."""
        delay = self.plan.delays_s[self.answers % len(self.plan.delays_s)]
        self.answers += 1
        if self.first_s is None:
            self.first_s = now
        frozen = self.plan.freeze_s
        if frozen is not None and frozen[0] <= now - self.first_s < frozen[1]:
            return self.first_s + frozen[1] + delay
        return now + delay if delay > 0 else None


@dataclass(slots=True)
class _Connection:
    server: _Server
    sock: socket.socket
    pending: bytes = b""
    out: memoryview | None = None


class Servers:
    """The servers of some plans; `run` serves until standard input ends."""

    def __init__(self, plans: Sequence[ServerPlan]) -> None:
        self._epoll = select.epoll()
        self._due: list[tuple[float, int, _Connection]] = []
        self._connections: dict[int, _Connection] = {}
        self._listeners: dict[int, _Server] = {}
        self._count = 0
        self.servers: list[_Server] = []
        for plan in plans:
            body = answer_body(plan.bytes)
            head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
            listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
            listener.setblocking(False)
            server = _Server(plan, head + body, listener)
            self.servers.append(server)
            self._listeners[listener.fileno()] = server
            self._epoll.register(listener.fileno(), select.EPOLLIN)

    def run(self, until: int = 0) -> None:
        """Serves until there is something to read, or an end, on the descriptor `until`."""
        self._epoll.register(until, select.EPOLLIN | select.EPOLLHUP)
        epoll, due = self._epoll, self._due
        while True:
            if due:
                wait = due[0][0] - clock()
                if wait > 0:
                    select.select([epoll.fileno()], [], [], wait)  # to the microsecond
                events = epoll.poll(0)
            else:
                events = epoll.poll(-1)
            for number, event in events:
                if number == until:
                    return
                self._serve(number, event)
            while due and due[0][0] <= clock():
                moment, _, connection = heapq.heappop(due)
                connection.server.late_s.append(clock() - moment)
                self._send(connection, memoryview(connection.server.answer))

    def counts(self) -> list[ServerCount]:
        """What each server did."""
        found = []
        for server in self.servers:
            late = sorted(server.late_s)
            found.append(ServerCount(answers=server.answers, late_p99_s=late[int(0.99 * (len(late) - 1))] if late else None))
        return found

    def _serve(self, number: int, event: int) -> None:
        server = self._listeners.get(number)
        if server is not None:
            sock, _ = server.listener.accept()
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._connections[sock.fileno()] = _Connection(server, sock)
            self._epoll.register(sock.fileno(), select.EPOLLIN)
            return
        connection = self._connections.get(number)
        if connection is None:
            return
        if event & select.EPOLLOUT and connection.out is not None:
            self._send(connection, connection.out)
        if event & ~select.EPOLLOUT:
            self._read(connection)

    def _read(self, connection: _Connection) -> None:
        try:
            data = connection.sock.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        now = clock()
        if not data:
            self._drop(connection)
            return
        data = connection.pending + data if connection.pending else data
        while (end := data.find(b"\r\n\r\n")) >= 0:
            found = _LENGTH.search(data, 0, end)
            whole = end + 4 + (int(found[1]) if found is not None else 0)
            if len(data) < whole:
                break
            data = data[whole:]
            moment = connection.server.due_s(now)
            if moment is None:
                self._send(connection, memoryview(connection.server.answer))
            else:
                self._count += 1
                heapq.heappush(self._due, (moment, self._count, connection))
        connection.pending = data

    def _send(self, connection: _Connection, data: memoryview) -> None:
        sent = 0
        try:
            while sent < len(data):
                sent += connection.sock.send(data[sent:])
        except BlockingIOError:
            waits = connection.out is not None
            connection.out = data[sent:]
            if not waits:
                self._epoll.modify(connection.sock.fileno(), select.EPOLLIN | select.EPOLLOUT)
            return
        except OSError:
            self._drop(connection)
            return
        if connection.out is not None:
            connection.out = None
            self._epoll.modify(connection.sock.fileno(), select.EPOLLIN)

    def _drop(self, connection: _Connection) -> None:
        number = connection.sock.fileno()
        if number < 0:
            return
        self._connections.pop(number, None)
        self._epoll.unregister(number)
        connection.sock.close()


@dataclass(slots=True)
class Running:
    """A process of servers at work: their addresses, in the order of their plans; what they did, once it has ended."""

    urls: list[str]
    counts: list[ServerCount] = field(default_factory=list)


@contextmanager
def serving(plans: Sequence[ServerPlan]) -> Iterator[Running]:
    """The servers of these plans in a process of their own; it ends with the block, or with this process."""
    process = subprocess.Popen([sys.executable, "-m", __name__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(msgspec.json.encode(list(plans)) + b"\n")
        process.stdin.flush()
        running = Running(msgspec.json.decode(process.stdout.readline(), type=list[str]))
        yield running
        process.stdin.close()
        running.counts = msgspec.json.decode(process.stdout.readline(), type=list[ServerCount])
        process.wait(10)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        with suppress(OSError):
            process.stdin.close()
        process.stdout.close()


def main() -> None:
    """Reads the plans, says the addresses, serves until standard input ends, says what was done."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever started it closes its standard input
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, -10)
    with suppress(OSError, AttributeError):  # another system: later by its timers' grain, and the lateness says so
        ctypes.CDLL(None).prctl(_PR_SET_TIMERSLACK, 1, 0, 0, 0)
    servers = Servers(msgspec.json.decode(sys.stdin.buffer.readline(), type=list[ServerPlan]))
    _say([f"http://127.0.0.1:{server.listener.getsockname()[1]}" for server in servers.servers])
    servers.run()
    _say(servers.counts())


def _say(value: object) -> None:
    with suppress(BrokenPipeError):
        sys.stdout.buffer.write(msgspec.json.encode(value) + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
