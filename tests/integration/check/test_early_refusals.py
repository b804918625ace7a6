"""Servers that refuse a large body before they have read it: that is how HTTP has it, and no rule may call it broken."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import httpx
import pytest
from PIL import Image

from testcard.harness.check.generation.plan import choose_rules, make_plan
from testcard.harness.check.judging.verdicts import Conclusion, judge_records
from testcard.harness.check.running.runner import CheckSettings, carry_out
from testcard.harness.check.running.transport import Received, http_client, send
from testcard.harness.pricing import Pricing
from testcard.harness.selftest.mock_runs import Memory
from testcard.harness.wire.model import WireRequest
from testcard.specs.loader import load_provider

LIMIT = 1_000_000
KEY = "sk-early-0123456789"
HEAD = "HTTP/1.1 {} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\n{}\r\n"
Refusal = Callable[[socket.socket, bytes], None]


def answer(status: int, body: object, more: str = "") -> bytes:
    data = json.dumps(body).encode()
    return HEAD.format(status, len(data), more).encode() + data


TOO_LARGE = answer(413, {"error": 413, "message": "the body is too large"}, "connection: close\r\n")


def at_once(there: socket.socket, read: bytes) -> None:
    """Answers and closes, with most of the body unread: the kernel resets the connection."""
    there.sendall(TOO_LARGE)
    there.close()


def reset(there: socket.socket, read: bytes) -> None:
    """Answers, and soon afterwards resets the connection."""
    there.sendall(TOO_LARGE)
    time.sleep(0.05)
    there.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    there.close()


def politely(there: socket.socket, read: bytes) -> None:
    """Answers, says that it will say no more, and reads on for a while."""
    there.sendall(TOO_LARGE)
    there.shutdown(socket.SHUT_WR)
    there.settimeout(2)
    with suppress(OSError):
        while there.recv(65536):
            pass
    there.close()


def deaf(there: socket.socket, read: bytes) -> None:
    """Answers and reads no more, without closing."""
    there.sendall(TOO_LARGE)
    time.sleep(3)
    there.close()


def silently(there: socket.socket, read: bytes) -> None:
    """Closes the connection without a word."""
    there.close()


def in_steps(there: socket.socket, read: bytes) -> None:
    """Asks for the body with an interim answer, reads it, and takes it."""
    there.sendall(b"HTTP/1.1 103 Early Hints\r\nlink: <x>\r\n\r\n")
    while not whole(read):
        read += there.recv(65536)
    there.sendall(served(read))
    there.close()


REFUSALS = [at_once, reset, politely, deaf]


def whole(request: bytes) -> bool:
    head, found, body = request.partition(b"\r\n\r\n")
    return bool(found) and len(body) >= length(head)


def length(head: bytes) -> int:
    return next((int(line.partition(b":")[2]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0)


def served(request: bytes) -> bytes:
    """A picture for each valid request with the right key; enough of NanoGPT for the rules about uploads."""
    head, _, body = request.partition(b"\r\n\r\n")
    if f"Bearer {KEY}".encode() not in head:
        return answer(401, {"error": 401, "message": "no key"})
    try:
        asked = json.loads(body)
    except ValueError:
        return answer(400, {"error": 400, "message": "no JSON"})
    if "prompt" not in asked:
        return answer(400, {"error": 400, "message": "no prompt"})
    out = io.BytesIO()
    Image.linear_gradient("L").convert("RGB").save(out, "png")
    item = {"b64_json": base64.b64encode(out.getvalue()).decode()}
    return answer(200, {"created": int(time.time()), "data": [item] * asked.get("n", 1)})


@contextmanager
def serving(refuse: Refusal) -> Iterator[str]:
    """A raw server that refuses bodies above the limit in its way, by their stated length, and serves the others."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(0.1)
    over = threading.Event()

    def talk(there: socket.socket) -> None:
        there.settimeout(10)
        with suppress(OSError):
            while not over.is_set():
                read = b""
                while not whole(read):
                    said = there.recv(65536)
                    if not said:
                        return
                    read += said
                    head, found, _ = read.partition(b"\r\n\r\n")
                    if found and length(head) > LIMIT:
                        refuse(there, read)
                        return
                there.sendall(served(read))

    def listen() -> None:
        while not over.is_set():
            with suppress(TimeoutError):
                there, _ = listener.accept()
                threading.Thread(target=talk, args=(there,), daemon=True).start()

    thread = threading.Thread(target=listen)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        over.set()
        thread.join()
        listener.close()


def sent_to(url: str, size: int) -> Received:
    wire = WireRequest(
        "x", "POST", f"{url}/", (("authorization", f"Bearer {KEY}"), ("content-type", "application/json")), b"0" * size, False
    )

    async def asked() -> Received:
        async with http_client(1, base_url=url) as client:
            return await send(client, wire, time.monotonic)

    return asyncio.run(asked())


@pytest.mark.parametrize("refuse", REFUSALS, ids=lambda refuse: refuse.__name__)
def test_an_early_answer_is_heard(refuse: Refusal) -> None:
    """The 413 arrives however the connection ends after it, and without waiting for a server that has stopped reading."""
    with serving(refuse) as url:
        for size in (LIMIT + 1, 6_000_000, 30_000_000):
            started = time.monotonic()
            sent = sent_to(url, size)
            assert (sent.status, sent.failure, sent.complete) == (413, None, True), (size, sent.detail)
            assert json.loads(sent.body)["message"] == "the body is too large"
            assert time.monotonic() - started < 2.5


def test_plain_httpx_does_not_hear_it() -> None:
    """What this is for: without it the answer of a server that closes at once, or stops reading, is lost."""

    async def asked(url: str) -> int | None:
        async with httpx.AsyncClient(timeout=1.0) as client:
            try:
                return (await client.post(url, content=b"0" * 30_000_000)).status_code
            except httpx.HTTPError:
                return None

    with serving(deaf) as url:
        assert asyncio.run(asked(url)) is None


def test_an_interim_answer_ends_nothing() -> None:
    """After 103 Early Hints the body is still sent, whole."""
    with serving(in_steps) as url:
        sent = sent_to(url, 6_000_000)
        assert (sent.status, sent.failure) == (400, None), "the body is no JSON, which only who read it can say"


def test_silence_is_a_broken_connection() -> None:
    """A server that closes without a word has said nothing: what that means is for the rules."""
    with serving(silently) as url:
        sent = sent_to(url, 6_000_000)
        assert (sent.status, sent.failure) == (None, "broken")


def judged(url: str, *rules: str) -> Conclusion:
    provider, memory = load_provider("nanogpt"), Memory()
    pricing = Pricing(provider, mock=True)
    plan = make_plan(provider, pricing, rules=choose_rules(rules), operations=["createImage"], cases=False)
    carried = asyncio.run(carry_out(plan, CheckSettings(url, KEY, 4), pricing, memory))
    assert carried.outcome.stopped is None
    return judge_records(plan.scopes, plan.rules, memory.exchanges, memory.bytes_of, started=carried.started)


@pytest.mark.parametrize("refuse", [*REFUSALS, silently], ids=lambda refuse: refuse.__name__)
def test_no_rule_calls_it_broken(refuse: Refusal) -> None:
    """With a body clearly above the limit, no rule about HTTP breaks, whatever way the server refuses it in."""
    rules = ("input.size-above", "http.*", "request.accepts-valid", "rate.*")
    with serving(refuse) as url:
        found = judged(url, *rules)
    assert not found.errors
    verdicts = {one.rule: (one.verdict, one.detail) for one in found.verdicts}
    assert verdicts["input.size-above"][0] == ("unproven" if refuse is silently else "pass")
    for rule in ("http.no-server-error", "http.body-complete", "http.steady", "http.status-documented", "http.in-time"):
        if rule in verdicts:
            assert verdicts[rule][0] == "pass", (rule, verdicts[rule])
    if refuse is not silently:
        assert {gap.detail.partition(" is")[0] for gap in found.spec_gaps} >= {"status 413"}
