"""What an answer states about its length: believed as far as memory goes, and never a reason to lose the request's sample."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import gevent
import pytest

from testcard.benchmarks.net import receive
from testcard.benchmarks.net.receive import BodyMemory, Reply
from testcard.benchmarks.net.transport import Timeouts, Transport
from testcard.harness.intake.limits import IntakeLimits
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
    monkeypatch.setattr(receive, "limits", lambda: IntakeLimits(body_bytes=100_000))
    with answering(b"HTTP/1.1 200 OK\r\n" + answer) as url:
        reply = asked(url)
    assert (reply.failure, reply.status) == ("broken", 200)
    assert "100,000" in reply.detail
    assert "not read" in reply.detail


def test_an_answer_of_the_limit_is_read_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit itself still fits."""
    monkeypatch.setattr(receive, "limits", lambda: IntakeLimits(body_bytes=100_000))
    with answering(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + b"x" * 100_000) as url:
        reply = asked(url)
    assert reply.failure is None
    assert len(reply.body) == 100_000


def test_large_answers_take_turns() -> None:
    """A place in memory is free again when the reply is gone, in whichever thread; one for whom there is none waits, and is no timeout."""
    room = BodyMemory(100)
    first, second = Reply(0.0), Reply(0.0)
    room.take(first, 80)
    waiting = gevent.spawn(room.take, second, 60)
    gevent.sleep(0.05)
    assert (waiting.ready(), second.no_room) == (False, True)
    del first
    waiting.join(timeout=5)
    assert (waiting.successful(), second.no_room) == (True, False)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 5000, "interim answers"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 3000 + b"Content-Length: 2\r\n\r\n{}", "header fields"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 300 + b"Content-Length: 2\r\n\r\n{}", "header fields"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"y" * 200_000, "a head of more than"),
        (b"HTTP/1.1 200 " + b"y" * 10_000, "a status line of more than"),
    ],
)
def test_a_head_has_limits(answer: bytes, said: str) -> None:
    """What comes before a body is bounded as in the check and the client."""
    with answering(answer) as url:
        reply = asked(url)
    assert reply.failure == "broken"
    assert said in reply.detail


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"header_bytes": 300}, "a head of more than 300 bytes"),
        ({"status_line_bytes": 32}, "a status line of more than 32 bytes"),
        ({"header_count": 8}, "more than 8 header fields"),
        ({"body_bytes": 1024}, "more than 1,024 are not read"),
    ],
)
def test_narrower_limits_hold_for_an_answer_that_comes_in_one_piece(
    monkeypatch: pytest.MonkeyPatch, changed: dict[str, int], said: str
) -> None:
    """The short way for plain answers asks them as the parser's does; by the usual ones the same answer is whole."""
    answer = (
        b"HTTP/1.1 200 "
        + b"y" * 40
        + b"\r\n"
        + b"X: 0123456789012345678901234567890\r\n" * 12
        + b"Content-Length: 2000\r\n\r\n"
        + b"x" * 2000
    )
    with answering(answer) as url:
        assert asked(url).failure is None
    monkeypatch.setattr(receive, "limits", lambda: IntakeLimits(**changed))
    with answering(answer) as url:
        reply = asked(url)
    assert reply.failure == "broken"
    assert said in reply.detail
