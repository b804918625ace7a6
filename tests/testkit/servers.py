"""Tiny servers on this machine: `answering` says what comes back for each request, `talking` writes bytes on each connection.

Both run on threads of the test's process, on a free port, and end with their block. A client that goes away is part of the tests.
"""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import psutil

LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Request:
    """One request as it was read; header names in lower case. `number` counts from 0; `at_s` is monotonic seconds at its end."""

    number: int
    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    at_s: float

    @property
    def json(self) -> Any:
        """The body's value."""
        return json.loads(self.body)


@dataclass(frozen=True, slots=True)
class Response:
    """What to send: a JSON value, text or bytes. `after_s`: seconds to wait before it. `close`: end the connection afterwards."""

    body: Any = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    after_s: float = 0.0
    close: bool = False

    def encode(self, *, head: bool = False) -> bytes:
        """The bytes of HTTP/1.1. A header that `headers` names replaces the one that would be written."""
        if isinstance(self.body, bytes):
            data, kind = self.body, "application/octet-stream"
        elif isinstance(self.body, str):
            data, kind = self.body.encode(), "text/html"
        else:
            data, kind = json.dumps(self.body).encode(), "application/json"
        fields = {"content-type": kind, "content-length": str(len(data))}
        fields |= {name.lower(): value for name, value in self.headers.items()}
        if self.close:
            fields["connection"] = "close"
        phrase = HTTPStatus(self.status).phrase if self.status in iter(HTTPStatus) else "X"
        lines = [f"HTTP/1.1 {self.status} {phrase}", *(f"{name}: {value}" for name, value in fields.items()), "", ""]
        return "\r\n".join(lines).encode("latin-1") + (b"" if head else data)


Answer = Callable[[Request], Response]


class Server:
    """A server that is running: its address, what it was asked, and how many requests it had at once."""

    def __init__(self) -> None:
        self.url = ""
        self.port = 0
        self.seen: list[Request] = []
        self.most_at_once = 0
        self._at_once = 0
        self._lock = threading.Lock()

    @property
    def times(self) -> list[float]:
        """When each request had been read, in monotonic seconds."""
        return [request.at_s for request in self.seen]

    def paths(self, method: str | None = None) -> list[str]:
        """Paths of the requests so far, of one method if it is named."""
        return [request.path for request in self.seen if method in (None, request.method)]

    def _enter(self, head: bytes, body: bytes) -> Request:
        first, *lines = head.decode("latin-1").split("\r\n")
        method, path, *_ = first.split(" ")
        headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        with self._lock:
            request = Request(len(self.seen), method, path, headers, body, time.monotonic())
            self.seen.append(request)
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
        return request

    def _leave(self) -> None:
        with self._lock:
            self._at_once -= 1


@contextlib.contextmanager
def talking(talk: Callable[[socket.socket], None], host: str = LOOPBACK) -> Iterator[Server]:
    """A server that hands every connection to `talk`, each on a thread, and closes it when `talk` returns or the client is gone."""
    server = Server()
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    open_ones: set[socket.socket] = set()
    with socket.create_server((host, 0), family=family, backlog=256) as listener:
        server.port = int(listener.getsockname()[1])
        server.url = f"http://[{host}]:{server.port}" if ":" in host else f"http://{host}:{server.port}"

        def handle(connection: socket.socket) -> None:
            open_ones.add(connection)
            with contextlib.suppress(OSError), connection:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                talk(connection)
            open_ones.discard(connection)

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    threading.Thread(target=handle, args=(listener.accept()[0],), daemon=True).start()

        accepting = threading.Thread(target=accept, daemon=True)
        accepting.start()
        try:
            yield server
        finally:
            # Closing alone does not wake a thread that waits in accept.
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            for connection in list(open_ones):
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
    accepting.join(5)


@contextlib.contextmanager
def answering(answer: Answer, host: str = LOOPBACK) -> Iterator[Server]:
    """A server that answers every request as `answer` says, over connections that stay open; one that raises closes its connection."""

    def talk(connection: socket.socket) -> None:
        rest = b""
        while (read := read_request(connection, rest)) is not None:
            head, body, rest = read
            request = server._enter(head, body)
            try:
                response = answer(request)
                time.sleep(response.after_s)
            finally:
                server._leave()
            connection.sendall(response.encode(head=request.method == "HEAD"))
            if response.close:
                return

    with talking(talk, host) as server:
        yield server


def read_request(connection: socket.socket, before: bytes = b"") -> tuple[bytes, bytes, bytes] | None:
    """One request's head, its body (by Content-Length or in chunks, as sent) and what came after it; None when the client is gone."""
    data = before
    while b"\r\n\r\n" not in data:
        more = connection.recv(1 << 16)
        if not more:
            return None
        data += more
    head, _, rest = data.partition(b"\r\n\r\n")
    size = content_length(head)
    chunked = b"transfer-encoding: chunked" in head.lower()
    while len(rest) < size or (chunked and not rest.endswith(b"0\r\n\r\n")):
        more = connection.recv(1 << 16)
        if not more:
            return None
        rest += more
    return (head, rest, b"") if chunked else (head, rest[:size], rest[size:])


def content_length(head: bytes) -> int:
    """The length that a request's head states; 0 when it states none."""
    return next((int(line.partition(b":")[2]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0)


def reset(connection: socket.socket) -> None:
    """Closes the connection with RST, as a crashed server's kernel does."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def own_address() -> str:
    """An address of this machine that is not loopback; without one, 127.0.0.1."""
    found = [each.address for name in psutil.net_if_addrs().values() for each in name if each.family == socket.AF_INET]
    return next((address for address in found if not address.startswith("127.")), LOOPBACK)


def free_port() -> int:
    """A port of this machine on which nothing listens now."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])
