"""The freeze test of the design's marks: `python tests/performance/freeze.py`.

A server answers after 50 ms; all that reaches it in [4 s, 5 s) is answered at 5 s + 50 ms. Load: constant, 100/s for 9 s,
uncapped and capped at 10 in flight. The truth is the server's timeline replayed over schedule and cap (≈ 160 and 610 ms for
p90 and p95 uncapped, ≈ 580 and 810 ms capped); the mark is within 5 %. Exits 1 when it is missed. Not collected by pytest.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import msgspec

from testcard.benchmarks.job import CellJob, Job, TargetJob
from testcard.benchmarks.plan import blocks
from testcard.benchmarks.workload import Workload
from testcard.harness.runs.samples import read_shard

RATE_RPS, DURATION_S, SERVICE_S, FREEZE_S = 100, 9, 0.05, (4.0, 5.0)
MARK = 0.05


def serve() -> None:
    """The freezing server; its clock starts with its first request. Prints its port."""
    answer = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 11\r\n\r\n{"data":[]}'
    first: list[float] = []

    class Connection(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.transport = transport

        def data_received(self, data: bytes) -> None:
            if not data.startswith(b"POST"):
                return
            now = time.monotonic()
            first.append(now) if not first else None
            since = now - first[0]
            wait = SERVICE_S + (FREEZE_S[1] - since if FREEZE_S[0] <= since < FREEZE_S[1] else 0.0)
            asyncio.get_running_loop().call_later(wait, self.transport.write, answer)  # type: ignore[attr-defined]

    async def run() -> None:
        server = await asyncio.get_running_loop().create_server(Connection, "127.0.0.1", 0)
        print(server.sockets[0].getsockname()[1], flush=True)
        await server.serve_forever()

    asyncio.run(run())


def truth(cap: int | None) -> list[float]:
    """Latencies of the schedule, by the server's timeline and the cap, ascending."""
    free = [0.0] * (cap or 0)
    found = []
    for index in range(RATE_RPS * DURATION_S):
        due = index / RATE_RPS
        begin = due if cap is None else max(due, min(free))
        done = (FREEZE_S[1] if FREEZE_S[0] <= begin < FREEZE_S[1] else begin) + SERVICE_S
        if cap is not None:
            free[free.index(min(free))] = done
        found.append(done - due)
    return sorted(found)


def measured(cap: int | None) -> list[float]:
    """Latencies as the load process records them, ascending."""
    server = subprocess.Popen([sys.executable, __file__, "--serve"], stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    url = f"http://127.0.0.1:{server.stdout.readline().strip()}"
    stage = {"rate_rps": RATE_RPS, "duration_s": DURATION_S}
    workload = Workload.model_validate({"arrival": "constant", "max_in_flight": cap, "stage": [stage]})
    try:
        with tempfile.TemporaryDirectory() as folder:
            job = Job(
                folder=folder,
                started_s=time.monotonic(),
                seed=1,
                workload=workload.model_dump(mode="json"),
                targets=[TargetJob(provider="nanogpt", base_url=url, api_key="k", illustrative_prices=True, may_leave_machine=False)],
                cells=[CellJob(target=0, provider="nanogpt", operation="createImage", task="generate", model=None)],
                blocks=blocks(1, workload, 1),
            )
            load = subprocess.Popen(
                [sys.executable, "-m", "testcard.benchmarks.load_process"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
            )
            assert load.stdin is not None
            load.stdin.write(msgspec.json.encode(job) + b"\n")
            load.stdin.flush()
            load.wait(DURATION_S + 30)
            rows = read_shard(Path(folder) / "samples-0.arrow").to_pylist()
    finally:
        server.kill()
        server.wait()
    return sorted(row["done_s"] - row["scheduled_s"] for row in rows)


def main() -> int:
    """Prints measured and true p90 and p95; 1 when one is more than 5 % off or a sample is missing."""
    missed = False
    for cap in (None, 10):
        seen, real = measured(cap), truth(cap)
        missed |= len(seen) != len(real)
        for share in (0.90, 0.95):
            rank = int(len(real) * share) - 1
            off = seen[rank] / real[rank] - 1
            missed |= abs(off) > MARK
            print(
                f"cap {cap or 'none':>4}  p{share * 100:.0f}: measured {seen[rank] * 1000:6.1f} ms, truth {real[rank] * 1000:6.1f} ms, off {off:+.1%}"
            )
    return int(missed)


if __name__ == "__main__":
    if "--serve" in sys.argv:
        serve()
    else:
        sys.exit(main())
