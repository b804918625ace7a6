"""CPU of the load generator for one request, ours beside its peers, interleaved: `python tests/performance/load_cpu.py`.

Serves one fixed answer (1.5 KB, then 1.4 MB) from a process of its own and loads it with 16 connections from wrk (when it is
installed), Locust's FastHttpUser, ours with its samples recorded but not judged, and ours with every answer judged (JSON,
base64, hash, header and structure of the picture). Prints microseconds a request and ratios to wrk; measures nothing else.
Not collected by pytest: quote ratios, not absolute times, and run it on a quiet machine.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import re
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

CONNECTIONS = 16


def answer_body(size: int) -> bytes:
    """A NanoGPT answer of about `size` bytes with a PNG of incompressible pixels in it."""
    import io
    import random

    from PIL import Image

    edge = max(8, round((size * 3 / 4 / 3) ** 0.5) - 2)
    picture = Image.frombytes("RGB", (edge, edge), random.Random(0).randbytes(edge * edge * 3))
    file = io.BytesIO()
    picture.save(file, "PNG", compress_level=1)
    return json.dumps({"created": 1, "data": [{"b64_json": base64.b64encode(file.getvalue()).decode()}], "cost": 0.01}).encode()


def serve(size: int) -> None:
    """Answers every request with the same bytes; prints its port. Counts bodies only by Content-Length."""
    body = answer_body(size)
    answer = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body

    class Connection(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.transport = transport
            self.buffer = b""

        def data_received(self, data: bytes) -> None:
            self.buffer += data
            while (end := self.buffer.find(b"\r\n\r\n")) >= 0:
                found = re.search(rb"(?i)content-length: (\d+)", self.buffer[:end])
                whole = end + 4 + (int(found[1]) if found else 0)
                if len(self.buffer) < whole:
                    return
                self.buffer = self.buffer[whole:]
                self.transport.write(answer)  # type: ignore[attr-defined]

    async def run() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(Connection, "127.0.0.1", 0)
        print(server.sockets[0].getsockname()[1], flush=True)
        await server.serve_forever()

    asyncio.run(run())


def ours(url: str, seconds: float, judged: bool) -> tuple[int, float]:
    """Requests and CPU seconds of our engine, in this process, between the first and the last request."""
    import locust  # noqa: F401  (first: it patches what the imports below use)

    from testcard.benchmarks.conduct import Conductor
    from testcard.benchmarks.job import BlockJob, CellJob, Job, TargetJob
    from testcard.benchmarks.judge import Judgement
    from testcard.benchmarks.process import prepare_process, settle_down
    from testcard.benchmarks.solo import Solo
    from testcard.benchmarks.workload import Workload

    prepare_process()
    workload = Workload.model_validate({"stage": [{"users": CONNECTIONS, "duration_s": seconds}], "decode": 0.0})
    with tempfile.TemporaryDirectory() as folder:
        job = Job(
            folder=folder,
            started_s=time.monotonic(),
            seed=1,
            workload=workload.model_dump(mode="json"),
            targets=[TargetJob(provider="nanogpt", base_url=url, api_key="k", illustrative_prices=True, may_leave_machine=False)],
            cells=[CellJob(target=0, provider="nanogpt", operation="createImage", task="generate", model=None)],
            blocks=[BlockJob(cell=0, round=1, stage="s", rate_rps=None, users=CONNECTIONS, warmup_s=0, duration_s=seconds)],
        )
        lead = Solo(job, workload)
        work = lead.engine
        if not judged:
            work.judging.judge_now = lambda attempt: Judgement("ok")  # type: ignore[method-assign]
        settle_down()
        before = resource.getrusage(resource.RUSAGE_SELF)
        Conductor(job, lead.take, lead.stopped, lambda record: None).run()
        after = resource.getrusage(resource.RUSAGE_SELF)
        work.close()
        return work.budget.requests, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def fast_http_user(url: str, seconds: float) -> tuple[int, float]:
    """Requests and CPU seconds of Locust's own FastHttpUser with the same body."""
    import gevent
    from locust import FastHttpUser, task
    from locust.env import Environment

    body = json.dumps({"model": "hidream", "prompt": "a red rowing boat on a calm lake at sunrise", "seed": 1987654321})

    class Asker(FastHttpUser):  # type: ignore[misc]
        host = url

        @task
        def ask(self) -> None:
            self.client.post("/v1/images/generations", data=body, headers={"content-type": "application/json"})

    environment = Environment(user_classes=[Asker])
    runner = environment.create_local_runner()
    before = resource.getrusage(resource.RUSAGE_SELF)
    runner.spawn_users({"Asker": CONNECTIONS})
    gevent.sleep(seconds)
    after = resource.getrusage(resource.RUSAGE_SELF)
    count = environment.stats.total.num_requests
    runner.quit()
    return count, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def wrk(url: str, seconds: float) -> tuple[int, float]:
    """Requests and CPU seconds of wrk with one thread."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{max(1, round(seconds))}s", url + "/v1/images/generations"]
    talk = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    found = re.search(r"(\d+) requests in", talk)
    assert found is not None
    return int(found[1]), after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Runs every generator `--rounds` times, interleaved, and prints the medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--one", nargs=2, metavar=("GENERATOR", "URL"), help=argparse.SUPPRESS)
    parser.add_argument("--serve", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options.serve)
        return
    if options.one:
        name, url = options.one
        run = {
            "wrk": lambda: wrk(url, options.seconds),
            "FastHttpUser": lambda: fast_http_user(url, options.seconds),
            "ours, recorded": lambda: ours(url, options.seconds, judged=False),
            "ours, judged": lambda: ours(url, options.seconds, judged=True),
        }[name]
        print(json.dumps(run()))
        return
    names = [*(["wrk"] if shutil.which("wrk") else []), "FastHttpUser", "ours, recorded", "ours, judged"]
    for size in (1_500, 1_400_000):
        server = subprocess.Popen([sys.executable, __file__, "--serve", str(size)], stdout=subprocess.PIPE, text=True)
        assert server.stdout is not None
        url = f"http://127.0.0.1:{server.stdout.readline().strip()}"
        cost: dict[str, list[float]] = {name: [] for name in names}
        try:
            for _ in range(options.rounds):
                for name in names:
                    command = [sys.executable, __file__, "--seconds", str(options.seconds), "--one", name, url]
                    talk = subprocess.run(command, capture_output=True, text=True, check=True).stdout
                    count, cpu = json.loads(talk.splitlines()[-1])
                    cost[name].append(1e6 * cpu / max(count, 1))
        finally:
            server.kill()
            server.wait()
        print(f"\nanswers of {size:,} bytes, {CONNECTIONS} connections, {options.rounds} rounds of {options.seconds:g} s: CPU a request")
        unit = statistics.median(cost[names[0]])
        for name in names:
            middle = statistics.median(cost[name])
            print(f"  {name:16} {middle:8.1f} µs   {middle / unit:6.2f} × {names[0]}")


if __name__ == "__main__":
    main()
