"""Sends prepared bytes over kept-alive connections and times the answer. Nothing is sent twice here, no redirect is followed.

A connection that carried an error carries nothing more: many servers close it then, and few say so.

Waits that take too long are ended as `gevent.Timeout` does, at a fifth of its cost: many waits may take equally long.
"""

from __future__ import annotations

import itertools
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import gevent
from geventhttpclient.response import HTTPParseError

from testcard.benchmarks.net.connections import Connection, Pool, Proxy, proxy_for
from testcard.benchmarks.net.receive import NothingCame, Receiver, Reply
from testcard.harness.wire.addresses import Reach
from testcard.harness.wire.model import WireRequest

clock = time.monotonic


class Expired(BaseException):
    """Raised in a greenlet whose time is up."""


class Deadlines:
    """Waits under way, each of which may take `limit_s` seconds. Oldest first, so one timer does for all of them."""

    def __init__(self, limit_s: float) -> None:
        self.limit_s = limit_s
        self._open: dict[int, tuple[float, Any]] = {}
        self._numbers = itertools.count()
        self._timer: Any = None

    def begin(self, now_s: float) -> int:
        """Begins a wait of the present greenlet; the number that ends it. `now_s`: of the load clock."""
        number = next(self._numbers)
        self._open[number] = (now_s + self.limit_s, gevent.getcurrent())
        if self._timer is None:
            self._arm(self.limit_s)
        return number

    def end(self, number: int) -> None:
        """Ends it: nothing is raised for it from now on."""
        self._open.pop(number, None)

    def close(self) -> None:
        """Lets go of the timer; waits under way go on without an end."""
        self._open.clear()
        if self._timer is not None:
            self._timer.close()
            self._timer = None

    def _arm(self, after_s: float) -> None:
        self._timer = gevent.get_hub().loop.timer(max(after_s, 0.0))
        self._timer.start(self._due, update=True)

    def _due(self) -> None:
        """On the loop: raises in every greenlet whose time is up, and comes again for the next."""
        self._timer.close()
        self._timer = None
        while self._open:
            number, (until_s, greenlet) = next(iter(self._open.items()))
            left_s = until_s - clock()
            if left_s > 0:
                self._arm(left_s)
                return
            del self._open[number]
            greenlet.throw(Expired)


clock = time.monotonic


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds until a connection stands, until the first byte of the answer, and until its last; the latter two from the sending."""

    connect_s: float = 10.0
    first_byte_s: float = 330.0
    whole_s: float = 330.0


@dataclass(slots=True)  # not frozen: one is made for each request, and freezing trebles what that costs
class Prepared:
    """A request's bytes (head and body) and the pool they go through."""

    pool: Pool
    method: str
    data: bytes
    stream: bool = False


class Transport:
    """Connection pools by origin. One for a load process; closes with `close`."""

    def __init__(self, timeouts: Timeouts) -> None:
        self.timeouts = timeouts
        self._pools: dict[tuple[str, str, int, Reach | None], Pool] = {}
        self._receiver = Receiver()
        self._deadlines = Deadlines(timeouts.whole_s)

    def prepare(self, request: WireRequest, reach: Reach | None = None) -> Prepared:
        """The bytes of a wire request, ready to be sent any number of times; raises ValueError for a URL that is none.

        `reach`: where connections may be made to, for an address that an answer named.
        """
        parts = urlsplit(request.url)
        host = parts.hostname
        if parts.scheme not in ("http", "https") or not host:
            raise ValueError(f"{request.url[:80]} is no http address")
        port = parts.port or (443 if parts.scheme == "https" else 80)
        proxy = proxy_for(parts.scheme, host)
        held = reach if reach is not None and reach.resolves(host, port) else None
        key = (parts.scheme, host, port, held)
        pool = self._pools.get(key)
        if pool is None:
            pool = Pool(parts.scheme, host, port, connect_s=self.timeouts.connect_s, proxy=proxy, reach=held)
            self._pools[key] = pool
        forward = proxy if parts.scheme == "http" else None
        return Prepared(pool, request.method, head(request, forward) + request.body, request.stream)

    def exchange(self, prepared: Prepared, within_s: float | None = None, *, fresh: bool = False) -> Reply:
        """Sends once and reads the whole answer. Never raises but for being killed; `within_s` shortens the whole timeout.

        `fresh`: over a new connection. What died on a kept one before a byte of the answer is `stale`.
        """
        limits = self.timeouts
        now = clock()
        reply = Reply(now)
        timer = early = None
        limit_s = limits.whole_s
        if within_s is not None and within_s < limit_s:
            limit_s = max(0.001, within_s)
            timer = gevent.Timeout.start_new(limit_s)
        if limits.first_byte_s < limit_s:
            early = gevent.Timeout.start_new(limits.first_byte_s)
        whole = self._deadlines.begin(now)
        connection: Connection | None = None
        try:
            connection = prepared.pool.take(fresh=fresh)
            reply.connected_s = clock()
            try:  # noqa: SIM105 (on the clock)
                connection.send(prepared.data)
            except (BrokenPipeError, ConnectionResetError):
                pass  # the server may have answered early and closed: what it said can still be read
            keep = self._receiver.read(connection, prepared.method, reply, stream=prepared.stream, on_first=early)
            reply.last_byte_s = now = clock()
            if keep and (reply.status or 0) < 400:
                prepared.pool.give_back(connection, now)
                connection = None
        except (Expired, gevent.Timeout) as timeout:
            if timeout is not timer and timeout is not early and not isinstance(timeout, Expired):
                raise
            reply.failure, reply.detail = "timeout", "no room in memory" if reply.no_room else "no complete answer in time"
        except Exception as error:
            # MemoryError: the answer states a length beyond belief.
            if not isinstance(error, HTTPParseError | OSError | ValueError | RuntimeError | MemoryError):
                raise
            reply.detail = str(error) or type(error).__name__
            if reply.connected_s is not None:
                assert connection is not None, "it stands"
                reply.failure = "stale" if connection.used and isinstance(error, NothingCame) else "broken"
            else:
                reply.failure = "tls" if isinstance(error, ssl.SSLError | ssl.CertificateError) else "connect"
        finally:
            self._deadlines.end(whole)
            if timer is not None:
                timer.close()
            if early is not None:
                early.close()
            if connection is not None:
                connection.close()
        if reply.last_byte_s is None:
            reply.last_byte_s = clock()
        return reply

    def close(self) -> None:
        """Closes idle connections."""
        self._deadlines.close()
        for pool in self._pools.values():
            pool.close()


def head(request: WireRequest, proxy: Proxy | None = None) -> bytes:
    """The request's head as bytes: its target, Host, the request's own headers, and Content-Length for a body.

    The target is in origin form, or in absolute form for a forward proxy, which also gets its credentials.
    """
    parts = urlsplit(request.url)
    host = parts.netloc.rpartition("@")[2]
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    given: Mapping[str, str] = {name.lower(): value for name, value in request.headers}
    lines = [f"{request.method} {f'http://{host}{target}' if proxy is not None else target} HTTP/1.1"]
    if "host" not in given:
        lines.append(f"Host: {host}")
    if proxy is not None and proxy.authorization is not None:
        lines.append(f"Proxy-Authorization: {proxy.authorization}")
    lines += [f"{name}: {value}" for name, value in request.headers]
    if "user-agent" not in given:
        lines.append("User-Agent: testcard")
    if "accept" not in given:
        lines.append("Accept: */*")
    if "accept-encoding" not in given:
        lines.append("Accept-Encoding: identity")  # pictures do not compress, and unpacking would count as the server's time
    if "content-length" not in given and (request.body or request.method in ("POST", "PUT", "PATCH")):
        lines.append(f"Content-Length: {len(request.body)}")
    if any("\r" in line or "\n" in line for line in lines):
        raise ValueError("a header holds a line break")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
