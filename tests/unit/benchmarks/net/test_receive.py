"""What an answer states about its length: believed as far as memory goes, and never a reason to lose the request's sample."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from testcard.benchmarks.net import receive
from testcard.benchmarks.net.receive import Reply
from testcard.benchmarks.net.transport import Timeouts, Transport
from testcard.harness.wire.model import WireRequest


@contextmanager
def answering(raw: bytes) -> Iterator[str]:
    """A server that says these bytes to the first request, and closes."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(raw)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
    finally:
        thread.join(10)
        listener.close()


def asked(url: str) -> Reply:
    transport = Transport(Timeouts(whole_s=20))
    try:
        return transport.exchange(transport.prepare(WireRequest("op", "POST", url, (), b"{}", True)))
    finally:
        transport.close()


@pytest.mark.parametrize("length", [2**31 - 1, 2**31, 2**31 + 100_000, 2**40, 10**15 - 1])
def test_a_length_beyond_belief_is_a_broken_answer(length: int) -> None:
    """The kernel's low-water mark is a C int, memory ends before it: the attempt is told as broken, with what the answer said."""
    with answering(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % length + b"x" * 1000) as url:
        reply = asked(url)
    assert (reply.failure, reply.status) == ("broken", 200)
    assert f"{length:,} bytes" in reply.detail


@pytest.mark.parametrize(
    "answer",
    [
        b"Content-Length: 200000\r\n\r\n" + b"x" * 200_000,
        b"Transfer-Encoding: chunked\r\n\r\n" + b"2000\r\n%b\r\n" % (b"x" * 0x2000) * 25,
        b"Connection: close\r\n\r\n" + b"x" * 200_000,
    ],
    ids=["stated", "chunked", "until the end"],
)
def test_no_more_is_read_than_memory_is_meant_for(monkeypatch: pytest.MonkeyPatch, answer: bytes) -> None:
    """An answer that goes on and on ends at a limit, however it is framed."""
    monkeypatch.setattr(receive, "MOST_BYTES", 100_000)
    with answering(b"HTTP/1.1 200 OK\r\n" + answer) as url:
        reply = asked(url)
    assert (reply.failure, reply.status) == ("broken", 200)
    assert "more than 100,000 are never read" in reply.detail


def test_an_answer_of_the_limit_is_read_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit itself still fits."""
    monkeypatch.setattr(receive, "MOST_BYTES", 100_000)
    with answering(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + b"x" * 100_000) as url:
        reply = asked(url)
    assert reply.failure is None
    assert len(reply.body) == 100_000
