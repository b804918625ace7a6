"""What dies on a kept connection was the connection's end, not the server's answer: client, check and bench send it once more, and say so."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpcore
import pytest

from testcard.harness import kept_connections
from testcard.harness.check.running.transport import Received, http_client, send
from testcard.harness.client import AsyncClient, Client, ConnectionFailed
from testcard.harness.runs.folder import RunReader
from testcard.harness.wire.model import WireRequest
from testkit.pictures import in_base64, plain
from testkit.servers import Server, read_request, reset, talking


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
    command = [sys.executable, "-m", "testcard.harness.cli", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)


PICTURE = {"created": 1, "data": [{"b64_json": in_base64(plain(1024, 1024))}]}


@dataclass
class Counts:
    """What a server saw: requests it answered, and requests it read and let die."""

    answered: int = 0
    died: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)


@contextmanager
def once_per_connection(
    *, first_byte: bool = False, hard: bool = False, statuses: tuple[int, ...] = (200,)
) -> Iterator[tuple[Server, Counts]]:
    """Answers the first request of each connection and lets every later one die; says nothing of that before.

    `first_byte`: not before a byte of an answer. `hard`: with a reset. `statuses` of the answers, in turn.
    """
    counts = Counts()

    def talk(connection: socket.socket) -> None:
        read = read_request(connection)
        if read is None or read[0].startswith(b"GET /_testcard"):  # is it one of our mocks?
            return
        with counts.lock:
            status = statuses[counts.answered % len(statuses)]
            counts.answered += 1
        body = json.dumps(PICTURE if status == 200 else {"error": {"message": "no", "type": "server_error", "code": None}}).encode()
        connection.sendall(b"HTTP/1.1 %d X\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % (status, len(body)) + body)
        if read_request(connection, read[2]) is not None:
            with counts.lock:
                counts.died += 1
            if first_byte:
                connection.sendall(b"H")
            if hard:
                reset(connection)

    with talking(talk) as server:
        yield server, counts


@pytest.mark.parametrize("hard", [False, True], ids=["closed", "reset"])
def test_the_clients_send_once_more(hard: bool) -> None:
    """Both clients get every picture; each request that died is one the server read, and goes out exactly once more."""
    with once_per_connection(hard=hard) as (server, counts), Client("nanogpt", base_url=server.url) as client:
        for _ in range(4):
            assert client.generate("a boat", size=(1024, 1024)).pictures
        assert (counts.answered, counts.died) == (4, 3)

    async def ask(url: str) -> None:
        async with AsyncClient("nanogpt", base_url=url) as client:
            for _ in range(4):
                assert (await client.generate("a boat", size=(1024, 1024))).pictures

    with once_per_connection(hard=hard) as (server, counts):
        asyncio.run(ask(server.url))
        assert (counts.answered, counts.died) == (4, 3)


def test_a_byte_of_an_answer_ends_it() -> None:
    """Once a byte has come, the request may have been carried out: it is not sent again, and the server broke the connection."""
    with once_per_connection(first_byte=True) as (server, counts), Client("nanogpt", base_url=server.url) as client:
        assert client.generate("a boat", size=(1024, 1024)).pictures
        with pytest.raises(ConnectionFailed):
            client.generate("a boat", size=(1024, 1024))
        assert (counts.answered, counts.died) == (1, 1)


def test_after_an_error_a_connection_is_not_used_again() -> None:
    """Many servers close after an error without saying so: the next request takes another connection at once."""
    with once_per_connection(statuses=(500, 200)) as (server, counts), Client("nanogpt", base_url=server.url) as client:
        for _ in range(2):
            with pytest.raises(Exception, match="500"):
                client.generate("a boat", size=(1024, 1024))
            assert client.generate("a boat", size=(1024, 1024)).pictures
        assert counts.answered == 4
        assert counts.died == 1  # after the first picture


def test_a_check_accuses_nobody(tmp_path: Path) -> None:
    """No verdict is founded on a dead kept connection; what went out twice is counted, and said."""
    with once_per_connection() as (server, counts):
        done = _run(
            "check",
            "nanogpt",
            "--base-url",
            server.url,
            "--rule",
            "http.*",
            "--rule",
            "request.text-survives",
            "--out",
            str(tmp_path / "run"),
        )
    run = RunReader(tmp_path / "run")
    verdicts = run.verdicts()
    assert verdicts is not None
    for rule in ("http.no-server-error", "http.steady", "request.text-survives"):
        assert {one.verdict for one in verdicts.verdicts if one.rule == rule} <= {"pass", "unproven"}, rule
    exchanges = list(run.exchanges())
    stale = [one for one in exchanges if one.failure == "stale"]
    assert counts.died == len(stale) > 0
    assert verdicts.spend.sent_again == len(stale)
    assert verdicts.spend.requests == counts.answered + counts.died == len(exchanges)
    assert f"{len(stale)} requests died on a kept connection" in done.stdout + done.stderr


def test_a_check_stays_within_its_budget(tmp_path: Path) -> None:
    """A request that went out twice counts twice, by the server's own count too."""
    with once_per_connection() as (server, counts):
        _run("check", "nanogpt", "--base-url", server.url, "--max-requests", "12", "--max-images", "9", "--out", str(tmp_path / "run"))
        assert counts.answered + counts.died <= 12
    verdicts = RunReader(tmp_path / "run").verdicts()
    assert verdicts is not None
    assert verdicts.spend.images <= 9


def test_a_bench_counts_it_and_says_it(tmp_path: Path) -> None:
    """No sample of a bench fails for it, and its budget holds what the server read."""
    with once_per_connection() as (server, counts):
        done = _run(
            "bench",
            "--target",
            f"nanogpt={server.url}",
            "--users",
            "2",
            "--duration",
            "2",
            "--max-requests",
            "30",
            "--out",
            str(tmp_path / "run"),
        )
    summary = RunReader(tmp_path / "run").summary()
    assert summary is not None, done.stderr
    row = summary.rows[0]
    assert counts.died > 0
    assert counts.answered + counts.died <= 30
    assert not {"broken", "stale"} & set(row.errors)
    assert row.note is not None
    assert "died on kept connections" in row.note


def test_a_bench_accuses_no_server_that_closes_idle_connections(tmp_path: Path) -> None:
    """Requests that come further apart than the server keeps a connection, and some that cross its close: none of them counts as broken."""

    def talk(connection: socket.socket) -> None:
        rest = b""
        body = json.dumps(PICTURE).encode()
        connection.settimeout(0.1)
        while (read := read_request(connection, rest)) is not None:
            rest = read[2]
            status = 404 if read[0].startswith(b"GET ") else 200
            connection.sendall(
                b"HTTP/1.1 %d X\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % (status, len(body)) + body
            )

    with talking(talk) as server:
        load = ("--rate", "8", "--duration", "3", "--rounds", "1", "--warmup", "0")
        done = _run("bench", f"nanogpt={server.url}", *load, "--out", str(tmp_path / "run"))
    summary = RunReader(tmp_path / "run").summary()
    assert summary is not None, done.stderr
    assert summary.rows[0].requests > 5
    assert set(summary.rows[0].errors) <= {"invalid-picture"}  # it is the same picture every time


@pytest.mark.parametrize(("late_s", "failure"), [(-1.0, "given-up"), (60.0, "broken")], ids=["held up", "sent at once"])
def test_a_request_that_we_send_late_accuses_nobody(late_s: float, failure: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that closes a new connection is accused only where the request went out at once; it is not sent again either way."""
    monkeypatch.setattr(kept_connections, "LATE_S", late_s)
    heard = []

    def talk(connection: socket.socket) -> None:
        heard.append(read_request(connection))

    async def ask(url: str) -> Received:
        async with http_client(1, base_url=url) as client:
            return await send(client, WireRequest("op", "POST", url, (), b"{}", False), time.monotonic)

    with talking(talk) as server:
        received = asyncio.run(ask(server.url))
    assert (received.failure, received.status, len(heard)) == (failure, None, 1)


def test_a_request_whose_second_piece_we_send_late_accuses_nobody() -> None:
    """A large body is several writes: a server that gives up between them, while this process is held up, is not accused either."""
    watch = kept_connections._Watch()
    watch.asked()
    watch.sent()
    assert watch.quiet_s is not None
    watch.quiet_s -= 2 * kept_connections.LATE_S
    watch.asked()
    assert isinstance(watch.failed(httpcore.ReadError()), kept_connections.LateRequest)
    at_once = kept_connections._Watch()
    at_once.asked()
    at_once.sent()
    at_once.asked()
    assert not isinstance(at_once.failed(httpcore.ReadError()), kept_connections.LateRequest)


class _Written(httpcore.NetworkStream):
    """Keeps what is written, write by write, and answers with a byte."""

    def __init__(self) -> None:
        self.writes: list[bytes] = []

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self.writes.append(buffer)

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return b"H"


def test_head_and_body_go_out_in_one_write() -> None:
    """For each request of a connection; a head without a body with the request's end, and what is no head, as of a SOCKS proxy, at once."""
    inner = _Written()
    stream = kept_connections._Stream(inner, weakref.WeakSet())
    stream.write(b"\x05\x01\x00")
    stream.read(1)
    head = b"POST / HTTP/1.1\r\nhost: a\r\n\r\n"
    large = bytes(2 * kept_connections._PIECE_BYTES)
    for body in (b"{}", b"", large):
        for part in (head, body, b""):
            stream.write(part)
        stream.read(1)
    half = large[: kept_connections._PIECE_BYTES]
    assert inner.writes == [b"\x05\x01\x00", head + b"{}", head, head, half, half]
