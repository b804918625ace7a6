"""Only holders of the fleet's secret are heard, each word once, by the process that it was said to."""

from __future__ import annotations

import msgspec
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from testcard.benchmarks.command import command
from testcard.benchmarks.fleet.messages import SECRET, Channel, NotGenuine, given_secret
from testcard.harness.errors import UsageError

OURS = "the secret of this fleet"
WORKER = "machine_1"


def message(kind: str, name: str = WORKER) -> bytes:
    """As Locust writes one."""
    return msgspec.msgpack.encode((kind, {"number": 1}, name))


def greeted(secret: str = OURS) -> tuple[Channel, Channel, bytes]:
    """A master and a worker that know each other, and the worker's greeting."""
    master, worker = Channel(OURS, "master"), Channel(secret, "worker")
    greeting = worker.sealed(message("client_ready"), WORKER)
    master.opened(greeting, WORKER)
    worker.opened(master.sealed(message("ack"), WORKER), WORKER)
    return master, worker, greeting


def test_both_sides_hear_each_other() -> None:
    """A greeting, its answer, and then anything, in their order."""
    master, worker, _ = greeted()
    for kind in ("testcard.hello", "heartbeat", "testcard.samples"):
        assert master.opened(worker.sealed(message(kind), WORKER), WORKER) == message(kind)
        assert worker.opened(master.sealed(message(kind), WORKER), WORKER) == message(kind)


def test_another_secret_is_not_heard() -> None:
    """On neither side."""
    master, stranger = Channel(OURS, "master"), Channel("some other secret", "worker")
    with pytest.raises(NotGenuine, match=SECRET):
        master.opened(stranger.sealed(message("client_ready"), WORKER), WORKER)
    with pytest.raises(NotGenuine, match=SECRET):
        stranger.opened(master.sealed(message("ack"), WORKER), WORKER)


def test_what_was_said_is_not_said_again() -> None:
    """Recorded words repeat nothing: not to the same process, and not to that of another run."""
    master, worker, greeting = greeted()
    samples = worker.sealed(message("testcard.samples"), WORKER)
    master.opened(samples, WORKER)
    for again in (samples, greeting):
        with pytest.raises(NotGenuine, match="before"):
            master.opened(again, WORKER)
    later = Channel(OURS, "master")
    later.opened(greeting, WORKER)  # it starts nothing: what follows names its session
    with pytest.raises(NotGenuine, match="another process"):
        later.opened(samples, WORKER)
    order = master.sealed(message("testcard.turnpart"), WORKER)
    with pytest.raises(NotGenuine, match="another process"):
        Channel(OURS, "worker").opened(order, WORKER)


def test_nobody_speaks_for_another_or_back_to_the_sender() -> None:
    """A worker's frame under another name, in another's message, or reflected to where it came from."""
    master, worker, _ = greeted()
    said = worker.sealed(message("testcard.bye"), WORKER)
    with pytest.raises(NotGenuine):
        master.opened(said, "machine_2")
    with pytest.raises(NotGenuine):
        worker.opened(said, WORKER)
    with pytest.raises(NotGenuine, match="for another worker"):
        master.opened(worker.sealed(message("testcard.bye", "machine_2"), WORKER), WORKER)


def test_a_stranger_starts_nothing_before_it_is_answered() -> None:
    """Only a greeting is taken from whom nothing was said to yet."""
    master, worker = Channel(OURS, "master"), Channel(OURS, "worker")
    with pytest.raises(NotGenuine, match="whom"):
        master.opened(worker.sealed(message("testcard.hello"), WORKER), WORKER)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200), st.integers(0, 300), st.integers(1, 255))
def test_whatever_comes_is_refused_and_raises_nothing_else(noise: bytes, place: int, change: int) -> None:
    """Noise, and a true frame with one byte changed, are not genuine."""
    master, worker, _ = greeted()
    with pytest.raises(NotGenuine):
        master.opened(noise, WORKER)
    frame = bytearray(worker.sealed(message("testcard.bye"), WORKER))
    frame[place % len(frame)] ^= change
    with pytest.raises(NotGenuine):
        master.opened(bytes(frame), WORKER)


def test_a_secret_has_to_be_given() -> None:
    """From the environment alone, of 16 characters or more; said before anything is bound or sent."""
    assert given_secret({SECRET: " 0123456789abcdef "}) == "0123456789abcdef"
    for wrong in ({}, {SECRET: ""}, {SECRET: "short"}):
        with pytest.raises(UsageError, match=SECRET):
            given_secret(wrong)
    for arguments in (["--worker"], ["--master", "--target", "nanogpt=http://127.0.0.1:9"]):
        ended = CliRunner().invoke(command, arguments, env={SECRET: None})
        assert isinstance(ended.exception, UsageError)
        assert SECRET in ended.exception.message
