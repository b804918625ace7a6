"""Kept-alive connections to one origin: made by geventhttpclient (addresses, TLS, CONNECT tunnels), kept in a plain list.

Certificates and names are verified. Connections that idled longer than 2 s are not used again, because many servers close theirs
after 5 s, some after 2, and a request that crosses that close would be lost. Proxies come from the environment, as for other tools
(`HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY`, `NO_PROXY`); this machine is always reached directly.
"""

from __future__ import annotations

import base64
import ipaddress
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies_environment
from urllib.request import proxy_bypass_environment as listed_as_direct  # type: ignore[attr-defined]

import gevent
from gevent import monkey
from gevent.socket import create_connection, getaddrinfo
from geventhttpclient.connectionpool import ConnectionPool, SSLConnectionPool

from testcard.harness.foreign_names import note_lost
from testcard.harness.intake.limits import limits
from testcard.harness.intake.shown import as_text
from testcard.harness.intake.wire_bytes import Meter, TooLate, TooMuch
from testcard.harness.wire.addresses import Reach

#: The version whose private names are known, pinned in pyproject.toml.
MADE_FOR = "2.6.1"
LOST = "an https target behind a proxy cannot be reached, and of several addresses that a name has only gevent's choice is tried"
KEEP_IDLE_S = 2.0
clock = time.monotonic
# gevent's own poll goes through its event loop; whether a kept connection has anything to say is asked of the system.
_poll = monkey.get_original("select", "poll")
_READABLE = 0x001 | 0x002 | 0x008 | 0x010  # POLLIN, POLLPRI, POLLERR, POLLHUP
_system_socket = monkey.get_original("socket", "socket")
_READ, _WRITE = 1, 2  # what a watcher of gevent's loop waits for
#: Bytes from which on a wait for several of them is worth a system call.
_MANY = 32 * 1024
#: Linux takes a low-water mark above what it can keep for as much as it can keep; elsewhere nobody has tried.
_GATHERS = sys.platform == "linux"


@dataclass(frozen=True, slots=True)
class Proxy:
    """A forward proxy; `authorization` is the value of a Proxy-Authorization header."""

    host: str
    port: int
    user: str | None = None
    password: str | None = None

    @property
    def authorization(self) -> str | None:
        """Basic credentials, or None where the proxy's address carries none."""
        if self.user is None:
            return None
        return "Basic " + base64.b64encode(f"{self.user}:{self.password or ''}".encode()).decode("ascii")


def proxy_for(scheme: str, host: str) -> Proxy | None:
    """The proxy that the environment names for an origin; None for this machine and for what NO_PROXY lists.

    ValueError for one that is no http proxy.
    """
    proxies = getproxies_environment()
    address = proxies.get(scheme) or proxies.get("all")
    if not address or _is_this_machine(host) or listed_as_direct(host, proxies):
        return None
    parts = urlsplit(address if "://" in address else f"http://{address}")
    if parts.scheme != "http" or not parts.hostname:
        raise ValueError(f"the proxy for {scheme} in the environment is no http proxy")
    user = unquote(parts.username) if parts.username is not None else None
    return Proxy(parts.hostname, parts.port or 80, user, unquote(parts.password or ""))


def _is_this_machine(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Connection:
    """One TLS socket to an origin, and since when it has been idle."""

    __slots__ = ("_poll", "idle_since_s", "sock", "used")

    def __init__(self, sock: Any) -> None:
        self.sock = sock
        self.used = False
        self.idle_since_s = 0.0
        self._poll = _poll()
        self._poll.register(sock.fileno(), _READABLE)

    def usable(self, now_s: float) -> bool:
        """Whether it may carry another request: idle for a short while only, and nothing, not even an end, has arrived."""
        return now_s - self.idle_since_s <= KEEP_IDLE_S and not self._poll.poll(0)

    def send(self, data: bytes) -> None:
        """Sends everything; raises OSError."""
        self.sock.sendall(data)

    def receive(self, into: Any) -> int:
        """Waits for bytes and reads some; 0 at the end of the connection. Raises OSError."""
        count: int = self.sock.recv_into(into)
        return count

    def gather(self, count: int) -> None:
        """May wait until so many further bytes of the answer have come, or its end."""

    def close(self) -> None:
        """Closes the socket; never raises."""
        with suppress(OSError):
            self.sock.close()


class PlainConnection(Connection):
    """One socket without TLS: the system's own, waited for on gevent's loop.

    gevent's sockets try first and wait when there is nothing, which for an answer that has yet to be made costs an exception
    each time. Here the wait comes first; and for the rest of a large answer it lasts until all of it is there (SO_RCVLOWAT),
    so that it takes one wake-up and not one for every few segments.
    """

    __slots__ = ("_gathered", "_readable", "_receive", "_wait")

    def __init__(self, sock: Any) -> None:
        own = _system_socket(sock.family, sock.type, sock.proto, fileno=sock.detach())
        own.setblocking(False)
        super().__init__(own)
        hub = gevent.get_hub()
        self._wait = hub.wait
        self._readable = hub.loop.io(own.fileno(), _READ)
        self._receive = own.recv_into
        self._gathered = False

    def send(self, data: bytes) -> None:
        """Sends everything; raises OSError."""
        sent = self._send(data)
        if sent == len(data):
            return
        view = memoryview(data)
        hub = gevent.get_hub()
        writable = hub.loop.io(self.sock.fileno(), _WRITE)
        try:
            while sent < len(data):
                hub.wait(writable)
                sent += self._send(view[sent:])
        finally:
            writable.close()

    def _send(self, data: bytes | memoryview) -> int:
        try:
            count: int = self.sock.send(data)
        except BlockingIOError:
            return 0
        return count

    def receive(self, into: Any) -> int:
        """Waits for bytes and reads some; 0 at the end of the connection. Raises OSError."""
        if self._gathered:
            self._gathered = False
        else:
            self._wait(self._readable)
        while True:
            try:
                count: int = self._receive(into)
                return count
            except BlockingIOError:
                self._wait(self._readable)

    def gather(self, count: int) -> None:
        """Waits until so many further bytes have come (or as many as the system keeps), or the end, where that saves wake-ups."""
        if count < _MANY or not _GATHERS:
            return
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, count)
        self._wait(self._readable)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)
        self._gathered = True

    def close(self) -> None:
        """Closes the socket; never raises."""
        self._readable.close()
        super().close()


class _Tunnels(SSLConnectionPool):
    """Connections through a proxy, whose answer to CONNECT is read within the limits and the time that a connection may take."""

    def _setup_proxy(self, sock: Any) -> None:
        sock.sendall(self._proxy_connect_request().encode("utf-8"))
        meter, answer = Meter(limits(), clock() + self.connection_timeout), b""
        try:
            while b"\r\n\r\n" not in answer:
                sock.settimeout(meter.wait_s(clock()))
                block = sock.recv(4096)
                if not block:
                    raise ConnectionError("the proxy closed the connection before it answered CONNECT")
                meter.heard(block, clock())
                answer += block
        except TooMuch as why:
            raise ConnectionError(f"the proxy's answer to CONNECT {why}") from None
        except (TooLate, TimeoutError):
            raise TimeoutError("the proxy's answer to CONNECT did not end in time") from None
        sock.settimeout(self.connection_timeout)
        line = answer.partition(b"\r\n")[0].decode("latin-1")
        if line.split(None, 2)[1:2] != ["200"]:
            raise ConnectionError(f"the proxy refused CONNECT: {as_text(line[:300])}")


class Pool:
    """The idle connections to one origin, the one used last first. As many may be open as there are requests in flight."""

    def __init__(
        self, scheme: str, host: str, port: int, *, connect_s: float, proxy: Proxy | None = None, reach: Reach | None = None
    ) -> None:
        tunnel = proxy if scheme == "https" else None
        kind = _Tunnels if tunnel is not None else SSLConnectionPool if scheme == "https" else ConnectionPool
        near = (proxy.host, proxy.port) if proxy is not None else (host, port)
        more: dict[str, Any] = {"connection_timeout": connect_s, "network_timeout": None}
        if tunnel is not None:
            more |= {"use_proxy": True, "proxy_user": tunnel.user, "proxy_password": tunnel.password}
        self._connector: Any = kind(*near, host, port, **more)
        note_lost_names()
        instead = self._plainly if tunnel is None else _no_tunnel
        self._connect: Callable[[], Any] = getattr(self._connector, "_create_socket", instead)
        self._near, self._host, self._connect_s = near, host, connect_s
        self._secure = scheme == "https"
        if reach is not None and proxy is None and reach.resolves(host, port):
            self._reach = reach
            self._connect = self._where_permitted
        self._idle: list[Connection] = []

    @property
    def ssl_context(self) -> Any:
        """The TLS context of an https origin."""
        return self._connector.ssl_context

    def take(self, *, fresh: bool = False) -> Connection:
        """A kept connection, or a new one (with `fresh` always, and all kept ones go); raises what connecting raises."""
        if fresh:
            self.close()
        idle = self._idle
        if idle:
            now = clock()
            while idle:
                connection = idle.pop()
                if connection.usable(now):
                    return connection
                connection.close()
        sock = self._connect()
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return Connection(sock) if self._secure else PlainConnection(sock)

    def _where_permitted(self) -> Any:
        """A socket to an address that the name leads to and that may be asked; it is found out once, so that no other answer comes between."""
        host, port = self._near
        found = [str(one[4][0]) for one in getaddrinfo(host, port, type=socket.SOCK_STREAM)]
        address = next((one for one in found if self._reach.permits(one)), None)
        if address is None:
            raise ConnectionError(f"{host} leads to {found[0] if found else 'no address'}, where nothing is asked")
        return self._plainly((address, port))

    def _plainly(self, near: tuple[str, int] | None = None) -> Any:
        """A socket of gevent's own making, where geventhttpclient no longer makes one for us."""
        sock = create_connection(near or self._near, self._connect_s)
        if self._secure:
            sock = self.ssl_context.wrap_socket(sock, server_hostname=self._host)
        sock.settimeout(None)
        return sock

    def give_back(self, connection: Connection, now_s: float) -> None:
        """Keeps a connection whose answer has been read to its end."""
        connection.idle_since_s = now_s
        connection.used = True
        self._idle.append(connection)

    def close(self) -> None:
        """Closes the idle connections."""
        while self._idle:
            self._idle.pop().close()


def note_lost_names() -> None:
    """Says what is lost where geventhttpclient no longer makes sockets for us."""
    if not hasattr(ConnectionPool, "_create_socket"):
        note_lost("geventhttpclient", MADE_FOR, LOST)


def _no_tunnel() -> Any:
    """Without geventhttpclient's way through a proxy there is none."""
    raise ConnectionError(f"the proxy cannot be used: geventhttpclient is not {MADE_FOR}")
