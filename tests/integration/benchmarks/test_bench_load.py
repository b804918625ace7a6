"""The load process against servers made for it: odd answers, freezes, addresses, async tasks, streams, budgets, kills."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest

from testcard.benchmarks.load.process import ProcessLine
from testcard.benchmarks.plan.job import BlockJob, CellJob, Job, TargetJob
from testcard.benchmarks.plan.turn_order import blocks
from testcard.benchmarks.plan.workload import Workload
from testcard.harness.runs.records import SAMPLE_COLUMNS
from testcard.harness.runs.samples import read_shard
from testcard.harness.stops import BUDGET
from testcard.harness.wire.encode import json_bytes
from testkit.pictures import gradient, in_base64

Answer = Callable[["Server", int, str, bytes, asyncio.StreamWriter], Awaitable[None]]


class Server:
    """A raw HTTP/1.1 server on a thread: one coroutine a request, which writes whatever bytes it likes."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.seen: list[tuple[float, str, bytes]] = []
        self.started = threading.Event()
        self.url = ""

    async def _serve(self) -> None:
        self._stop = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        server = await asyncio.start_server(self._connection, "127.0.0.1", 0, limit=2**20)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        self.started.set()
        await self._stop.wait()
        server.close()

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                lengths = [line.split(":")[1] for line in head.split("\r\n") if line.lower().startswith("content-length:")]
                body = await reader.readexactly(int(lengths[0])) if lengths else b""
                index = sum(1 for _, path, _ in self.seen if path.startswith("POST"))
                line = head.split(" HTTP/")[0]
                self.seen.append((time.monotonic(), line, body))
                await self.answer(self, index, line, body, writer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    @property
    def posts(self) -> int:
        """Requests that asked for work."""
        return sum(1 for _, line, _ in self.seen if line.startswith("POST"))


@contextmanager
def serving(answer: Answer) -> Iterator[Server]:
    server = Server(answer)
    thread = threading.Thread(target=lambda: asyncio.run(server._serve()), daemon=True)
    thread.start()
    assert server.started.wait(5)
    yield server
    server._loop.call_soon_threadsafe(server._stop.set)
    thread.join(5)


def reply(body: Any, status: str = "200 OK", media_type: str = "application/json", headers: str = "") -> bytes:
    data = body if isinstance(body, bytes) else json_bytes(body)
    return f"HTTP/1.1 {status}\r\nContent-Type: {media_type}\r\nContent-Length: {len(data)}\r\n{headers}\r\n".encode() + data


def assert_takes(seconds: float, least: float) -> None:
    """Not less than the server took, and no other order of time: how much more is a matter of how busy the machine is."""
    assert least - 0.005 <= seconds <= least + 10


GOOD = {"created": 1, "data": [{"b64_json": in_base64(gradient(256, 256))}], "cost": 0.01}


async def good(server: Server, index: int, line: str, body: bytes, writer: asyncio.StreamWriter) -> None:
    writer.write(reply(GOOD))


Cells = tuple[str, str, str, str | None]  # provider, operation, task, model
NANOGPT: Cells = ("nanogpt", "createImage", "generate", "hidream")


def make_job(folder: Path, url: str, *, cell: Cells = NANOGPT, **changes: Any) -> Job:
    """A job of one cell; `changes` go to the workload, but for max_requests, max_cost_usd and grace_s."""
    limits = {name: changes.pop(name) for name in ("max_requests", "max_cost_usd", "grace_s") if name in changes}
    workload = Workload.model_validate(
        {"arrival": "constant", "sizes": ["cheapest"], "stage": [{"rate_rps": 20, "duration_s": 1}], **changes}
    )
    return Job(
        folder=str(folder),
        started_s=time.monotonic(),
        seed=1,
        workload=workload.model_dump(mode="json"),
        targets=[target_job(cell, url)],
        cells=[CellJob(target=0, provider=cell[0], operation=cell[1], task=cell[2], model=cell[3])],
        blocks=blocks(1, workload, 1),
        **limits,
    )


def target_job(cell: Cells, url: str) -> TargetJob:
    return TargetJob(provider=cell[0], base_url=url, api_key="testcard", illustrative_prices=True, may_leave_machine=False)


class Load:
    """A load process at work on a job."""

    def __init__(self, job: Job, command: tuple[str, ...] = ("-m", "testcard.benchmarks.run.load_process")) -> None:
        self.job = job
        self.process = subprocess.Popen(
            [sys.executable, *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        assert self.process.stdin is not None
        self.process.stdin.write(msgspec.json.encode(job) + b"\n")
        self.process.stdin.flush()
        self.events: list[ProcessLine] = []

    def events_until(self, name: str) -> list[ProcessLine]:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.events.append(msgspec.json.decode(line, type=ProcessLine))
            if self.events[-1].event == name:
                break
        return self.events

    def finish(self) -> list[dict[str, Any]]:
        """Waits for its end and returns the samples, in order of their scheduled start."""
        self.events_until("never")
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait(10)
        return self.samples()

    def samples(self) -> list[dict[str, Any]]:
        rows = read_shard(Path(self.job.folder) / "samples-0.arrow").to_pylist()
        return sorted(rows, key=lambda sample: sample["scheduled_s"])


def loaded(job: Job) -> list[dict[str, Any]]:
    return Load(job).finish()


ODD: list[tuple[str, int | None, bytes | None]] = [
    ("ok", 200, reply(GOOD)),
    ("rate-limited", 429, reply({"error": 429, "message": "later"}, "429 Too Many Requests", headers="Retry-After: 1\r\n")),
    ("server-error", 500, reply({"error": 500, "message": "oops"}, "500 Internal Server Error")),
    ("invalid-picture", 200, reply({"created": 1, "data": []})),
    ("invalid-picture", 200, reply({"created": 1, "data": [{"b64_json": base64.b64encode(b"no picture").decode()}]})),
    ("invalid-picture", 200, reply({"created": 1, "data": [{"b64_json": in_base64(gradient(128, 128))}]})),
    ("broken", 200, b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 5000\r\n\r\n{"created": 1, '),
    ("refused", 404, reply({"error": 404, "message": "no such model"}, "404 Not Found")),
    ("policy", 400, reply({"error": 400, "message": "content_policy_violation"}, "400 Bad Request")),
    ("broken", None, b"SSH-2.0-OpenSSH\r\n"),
    ("broken", 302, reply(b"", "302 Found", headers="Location: http://127.0.0.1:1/\r\nConnection: close\r\n")),
    ("broken", 200, reply(b"<html>welcome</html>", media_type="text/html", headers="Connection: close\r\n")),
    ("ok", 200, b"HTTP/1.1 100 Continue\r\n\r\n" + reply(GOOD)),
    ("ok", 200, b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: application/json\r\n\r\n" + json_bytes(GOOD)),
    ("timeout", None, None),
]


async def odd(server: Server, index: int, line: str, body: bytes, writer: asyncio.StreamWriter) -> None:
    outcome, _, answer = ODD[min(index, len(ODD) - 1)]
    if answer is None:
        await asyncio.sleep(WHOLE_S + 1)
        return
    writer.write(answer)
    await writer.drain()
    if outcome == "broken" or b"Connection: close" in answer:
        writer.close()


async def crossing(server: Server, index: int, line: str, body: bytes, writer: asyncio.StreamWriter) -> None:
    """Closes every connection 30 ms after its answer without having said so: the next request is on its way by then."""
    writer.write(reply(GOOD))
    await writer.drain()
    await asyncio.sleep(0.03)
    writer.close()


FREEZE = (1.0, 1.4)
SERVICE_S = 0.05


class Freezing:
    """Answers after 50 ms, but for the freeze; keeps when each request arrived and when its answer was handed to the system."""

    def __init__(self) -> None:
        self.timeline: list[list[float]] = []

    async def __call__(self, server: Server, index: int, line: str, body: bytes, writer: asyncio.StreamWriter) -> None:
        entry = [time.monotonic(), 0.0]
        self.timeline.append(entry)
        since = entry[0] - self.timeline[0][0]
        frozen = FREEZE[1] - since if FREEZE[0] <= since < FREEZE[1] else 0.0
        await asyncio.sleep(frozen + SERVICE_S)
        writer.write(reply({"created": 1, "data": []}))
        entry[1] = time.monotonic()


def test_a_server_that_freezes_cannot_hide_it(tmp_path: Path) -> None:
    """Constant 100/s for 3 s, 0.4 s of it frozen: every percentile is that of the server's own timeline against the schedule.

    Uncapped, and capped at 10 in flight, where waiting for a place counts. The truth is what the server really did on this
    machine at this moment, so that a busy machine moves both alike.
    """
    with ExitStack() as stack:
        loads = []
        for cap in (None, 10):
            freezing = Freezing()
            server = stack.enter_context(serving(freezing))
            folder = tmp_path / f"cap-{cap}"
            folder.mkdir()
            job = make_job(folder, server.url, stage=[{"rate_rps": 100, "duration_s": 3}], max_in_flight=cap)
            loads.append((cap, freezing, Load(job)))
        for cap, freezing, load in loads:
            samples = load.finish()
            assert len(samples) == len(freezing.timeline) == 300
            due = [load.job.started_s + sample["scheduled_s"] for sample in samples]
            assert max(abs(later - earlier - 0.01) for earlier, later in itertools.pairwise(due)) < 1e-6  # absolute deadlines
            truth = sorted(done - moment for moment, (_, done) in zip(due, freezing.timeline, strict=True))
            latencies = sorted(sample["done_s"] - sample["scheduled_s"] for sample in samples)
            for share in (0.5, 0.9, 0.95):
                rank = int(300 * share) - 1
                assert latencies[rank] == pytest.approx(truth[rank], rel=0.05, abs=0.025), (cap, share)
            # Without the scheduled start the freeze would hide behind the cap: 50 ms is what a closed loop would report.
            assert latencies[284] > (0.2 if cap is None else 0.3)
            # Waiting for a place is the server's doing and no lag of the generator.
            assert sorted(sample["lag_s"] for sample in samples)[270] < 0.025


async def with_address(server: Server, index: int, line: str, body: bytes, writer: asyncio.StreamWriter) -> None:
    if line.startswith("POST"):
        await asyncio.sleep(0.05)
        writer.write(reply({"created": 1, "data": [{"url": f"{server.url}/pictures/{index}.png"}]}))
    else:
        await asyncio.sleep(0.1)
        writer.write(reply(gradient(256, 256), media_type="image/png"))


async def elsewhere(server: Server, index: int, line: str, body: bytes, writer: asyncio.StreamWriter) -> None:
    writer.write(reply({"created": 1, "data": [{"url": "http://192.0.2.1/picture.png"}]}))


class Tasks:
    """An async task for each POST: queued for 1 s, running for 1 s, then done."""

    def __init__(self) -> None:
        self.born: dict[str, float] = {}

    async def __call__(self, server: Server, index: int, line: str, body: bytes, writer: asyncio.StreamWriter) -> None:
        if line.startswith("POST"):
            assert json.loads(body)["async"] is True
            self.born[f"t{index}"] = time.monotonic()
            writer.write(reply({"task_id": f"t{index}", "status": "queued"}, "202 Accepted"))
            return
        name = line.rpartition("/")[2]
        age = time.monotonic() - self.born[name]
        state = "queued" if age < 0.5 else "running" if age < 1.5 else "completed"
        record: dict[str, Any] = {"task_id": name, "status": state, "elapsed_seconds": int(age)}
        if state == "completed":
            record["result"] = {"images": [in_base64(gradient(512, 512))]}
        writer.write(reply(record))


async def streaming(server: Server, index: int, line: str, body: bytes, writer: asyncio.StreamWriter) -> None:
    assert json.loads(body)["stream"] is True
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")

    def event(data: str) -> bytes:
        text = f"data: {data}\n\n".encode()
        return f"{len(text):x}\r\n".encode() + text + b"\r\n"

    def chunk(text: str | None, finish: str | None = None, **more: Any) -> str:
        delta = {"role": "assistant"} if text is None else {"content": text}
        return json.dumps(
            {"id": "c", "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}], **more}
        )

    writer.write(event(chunk(None)))
    await writer.drain()
    await asyncio.sleep(0.15)
    writer.write(event(chunk("A boat")))
    await writer.drain()
    await asyncio.sleep(0.15)
    usage = {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8}
    writer.write(event(chunk(" on a lake.", "stop", usage=usage)) + event("[DONE]") + b"0\r\n\r\n")


async def slowish(server: Server, index: int, line: str, body: bytes, writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(0.2)
    writer.write(reply(GOOD))


#: A load process whose transport makes a mistake with every third request, after it was sent.
MISTAKEN = """
import itertools, sys
import locust
from testcard.benchmarks.net.transport import Transport
from testcard.benchmarks.run import load_process

count, exchange = itertools.count(), Transport.exchange

def mistaken(self, prepared, within_s=None):
    reply = exchange(self, prepared, within_s)
    if next(count) % 3 == 2:
        raise OverflowError("ours")
    return reply

Transport.exchange = mistaken
sys.exit(load_process.main())
"""


def test_a_mistake_of_ours_costs_no_sample(tmp_path: Path) -> None:
    """Whatever the load path raises, each request that went out has its sample; the run ends with code 4 and says what it was."""
    with serving(good) as server:
        load = Load(make_job(tmp_path, server.url, stage=[{"rate_rps": 20, "duration_s": 1}]), ("-c", MISTAKEN))
        samples = load.finish()
    assert load.process.returncode == 4
    assert server.posts == len(samples) >= 3
    assert samples[2]["outcome"] == "broken"
    failure = load.events[-1].failure
    assert failure is not None
    assert "OverflowError: ours" in failure.message


def test_the_budget_holds_with_many_in_flight(tmp_path: Path) -> None:
    """100/s into a server that takes 200 ms: not one request over the limit, though none has been paid when the last is sent."""
    with serving(slowish) as one, serving(slowish) as two:
        loads = []
        for server, limit in ((one, {"max_requests": 7}), (two, {"max_cost_usd": 0.075})):
            folder = tmp_path / next(iter(limit))
            folder.mkdir()
            loads.append((server, Load(make_job(folder, server.url, stage=[{"rate_rps": 100, "duration_s": 2}], **limit))))
        for server, load in loads:
            samples = load.finish()
            assert server.posts == len(samples)
            assert 1 <= len(samples) <= 7
            assert sum(sample["cost_usd"] for sample in samples) <= 0.075
            assert (load.events[-1].event, load.events[-1].stops[0].reason in BUDGET) == ("done", True)
        assert one.posts == 7


def test_seeds_and_prompts_differ_and_repeat_for_the_same_seed(tmp_path: Path) -> None:
    """Fresh seeds: no request body twice in a run, the same bodies in another run of the same seed."""
    with serving(good) as one, serving(good) as two:
        loads = []
        for name, server in (("one", one), ("two", two)):
            (tmp_path / name).mkdir()
            loads.append(Load(make_job(tmp_path / name, server.url, stage=[{"rate_rps": 50, "duration_s": 0.8}])))
        assert [len(load.finish()) for load in loads] == [40, 40]
        bodies = [sorted(body for _, _, body in server.seen) for server in (one, two)]
    assert len(set(bodies[0])) == 40
    assert bodies[0] == bodies[1]


def test_what_was_written_survives_a_kill(tmp_path: Path) -> None:
    """SIGKILL in the middle: the shard is readable, holds only whole samples, and lost at most the last second and a bit."""
    with serving(good) as server:
        load = Load(make_job(tmp_path, server.url, stage=[{"rate_rps": 50, "duration_s": 30}]))
        load.events_until("ready")
        time.sleep(1.7)
        os.kill(load.process.pid, signal.SIGKILL)
        samples = load.finish()
        assert server.posts - 75 <= len(samples) <= server.posts
        assert len(samples) >= 20
        assert set(samples[0]) == set(SAMPLE_COLUMNS)


def test_the_end_of_stdin_is_a_stop_and_requests_in_flight_are_kept(tmp_path: Path) -> None:
    """A command's process that died leaves no load behind; what was cut off has a sample that says interrupted."""
    with serving(slowish) as server:
        load = Load(make_job(tmp_path, server.url, stage=[{"rate_rps": 40, "duration_s": 60}], grace_s=0.05))
        load.events_until("ready")
        time.sleep(1.0)
        assert load.process.stdin is not None
        load.process.stdin.close()
        samples = load.finish()
        assert load.process.returncode == 0
        assert server.posts == len(samples)
        outcomes = {sample["outcome"] for sample in samples}
        assert outcomes == {"ok", "interrupted"}


WHOLE_S = 2.6
KINDS: dict[str, tuple[Cells, Answer, float | None]] = {
    "odd": (NANOGPT, odd, None),
    "address": (NANOGPT, with_address, 10.0),
    "elsewhere": (NANOGPT, elsewhere, 5.0),
    "task": (("opengpu-relay", "generateStableDiffusion", "generate", None), Tasks(), 4.0),
    "crossing": (NANOGPT, crossing, None),
    "stream": (("nvidia-nim-vision", "createVisionChatCompletion", "describe", "meta/llama-3.2-90b-vision-instruct"), streaming, 5.0),
}


@dataclass
class Mixed:
    """What one load process saw of five servers, by kind: samples and requests that arrived."""

    samples: dict[str, list[dict[str, Any]]]
    posts: dict[str, int]
    seen: dict[str, int]
    events: list[ProcessLine]


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Mixed:
    """One process, one job, a cell for each kind of server, one after another."""
    folder = tmp_path_factory.mktemp("mixed")
    with ExitStack() as stack:
        servers = {kind: stack.enter_context(serving(answer)) for kind, (_, answer, _) in KINDS.items()}
        job = make_job(folder, "http://127.0.0.1:1", stream=True, asynchronous=True, timeouts={"whole_s": WHOLE_S})
        load = Load(
            msgspec.structs.replace(
                job,
                targets=[target_job(cell, servers[kind].url) for kind, (cell, _, _) in KINDS.items()],
                cells=[
                    CellJob(target=index, provider=kind, operation=cell[1], task=cell[2], model=cell[3])
                    for index, (kind, (cell, _, _)) in enumerate(KINDS.items())
                ],
                blocks=[
                    BlockJob(
                        cell=index,
                        round=1,
                        stage="s",
                        rate_rps=rate,
                        users=None if rate else 1,
                        warmup_s=0.0,
                        # A closed loop's requests go on until the odd server's list is through; the slow one is its last.
                        duration_s={"task": 0.5, "crossing": 0.3}.get(kind, 1.0),
                    )
                    for index, (kind, (_, _, rate)) in enumerate(KINDS.items())
                ],
            )
        )
        samples = load.finish()
        return Mixed(
            {kind: [sample for sample in samples if sample["provider"] == kind] for kind in KINDS},
            {kind: server.posts for kind, server in servers.items()},
            {kind: len(server.seen) for kind, server in servers.items()},
            load.events,
        )


def test_odd_servers_are_told_apart(mixed: Mixed) -> None:
    """Each way to fail gets its own word; no redirect is followed, nothing is sent twice, every request is one sample."""
    samples = mixed.samples["odd"]
    assert mixed.posts["odd"] == len(samples)
    assert [(sample["outcome"], sample["status"]) for sample in samples][: len(ODD)] == [(outcome, status) for outcome, status, _ in ODD]
    late = next(sample for sample in samples if sample["outcome"] == "timeout")
    assert_takes(late["done_s"] - late["scheduled_s"], WHOLE_S)
    assert late["last_byte_s"] is None


def test_a_request_that_crosses_an_unannounced_close_goes_out_once_more(mixed: Mixed) -> None:
    """It died on a kept connection before a byte of an answer: it is one sample, carried out on a new connection, each once by the server's count."""
    samples = mixed.samples["crossing"]
    assert {(sample["outcome"], sample["status"]) for sample in samples} == {("ok", 200)}
    assert mixed.posts["crossing"] == len(samples) >= 3


def test_addresses_are_fetched_before_the_clock_stops(mixed: Mixed) -> None:
    """done is the last picture in hand: 50 ms for the answer, 100 ms for the download, told apart."""
    samples = mixed.samples["address"]
    assert {sample["outcome"] for sample in samples} == {"ok"}
    assert (len(samples), mixed.posts["address"], mixed.seen["address"]) == (10, 10, 20)
    middle = sorted(samples, key=lambda sample: sample["done_s"] - sample["sent_s"])[5]
    assert_takes(middle["done_s"] - middle["sent_s"], 0.15)
    assert_takes(middle["download_s"], 0.1)
    assert_takes(middle["last_byte_s"] - middle["sent_s"], 0.05)
    assert_takes(middle["done_s"] - middle["last_byte_s"], 0.1)


def test_an_address_off_this_machine_is_not_fetched_without_live(mixed: Mixed) -> None:
    """A server on loopback cannot send the load elsewhere: the picture counts as missing, at once."""
    samples = mixed.samples["elsewhere"]
    assert {sample["outcome"] for sample in samples} == {"invalid-picture"}
    assert max(sample["done_s"] - sample["sent_s"] for sample in samples) < 10


def test_async_tasks_are_polled_to_their_end(mixed: Mixed) -> None:
    """202, then polls a second apart and a little more until completed; queue_s is until it was seen to run; the picture is judged."""
    samples = mixed.samples["task"]
    assert [(sample["outcome"], sample["images"], sample["status"]) for sample in samples] == [("ok", 1, 202)] * 2
    for sample in samples:
        assert_takes(sample["done_s"] - sample["sent_s"], 2.1)
        assert_takes(sample["queue_s"], 1.0)


def test_streams_have_a_first_token_apart_from_first_byte_and_end(mixed: Mixed) -> None:
    """First byte at once, first token after 150 ms, the end after 300 ms, tokens as the usage says."""
    samples = mixed.samples["stream"]
    assert [(sample["outcome"], sample["tokens"]) for sample in samples] == [("ok", 3)] * 5
    for sample in samples:
        assert_takes(sample["first_token_s"], 0.15)
        assert_takes(sample["done_s"] - sample["sent_s"], 0.3)
    assert min(sample["first_byte_s"] - sample["sent_s"] for sample in samples) < 0.15
    assert min(sample["first_token_s"] for sample in samples) < 0.3


def test_the_load_process_is_lean() -> None:
    """Ready soon, because it imports no pandas, matplotlib or HTTP library that it does not use (its CPU is measured by hand)."""
    heavy = "{'pandas', 'matplotlib', 'scipy', 'httpx', 'openapi_core', 'schemathesis'}"
    code = f"import sys, testcard.benchmarks.run.load_process; print(sorted({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
