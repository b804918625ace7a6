"""CPU of a mock for one request beside a bare Starlette route that answers with the same body: `python tests/performance/mock_cpu.py`.

Each serves from a process of its own under the same server and is loaded by wrk over 16 connections, in turns. Prints
microseconds of CPU a request, and what the mock reaches of the bare route: by CPU a request and by requests a second, the median of the rounds with
the least and the most (the mark: at least 80 %). With `--prism PATH` also the rates of
the mock, with a fresh picture of 256 px each time, and of Prism's mock of the same document, which answers with the word "string" (3 times).
With `--memory N` also what the mock holds in memory (resident) after a tenth of so many requests, and after all of them.
Not collected by pytest: quote ratios, and run it on a quiet machine.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from testcard.specs.loader import BUNDLED

REQUEST = {"prompt": "a red boat on a calm lake", "model": "hidream", "n": 1, "response_format": "b64_json"}
PATH = "/v1/images/generations"
BARE = """
import sys
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route
from testcard.mocks.serving import bind, serve, url_of

body = open(sys.argv[1], "rb").read()

async def images(request):
    await request.body()
    return Response(body, media_type="application/json")

server = bind("127.0.0.1", 0)
app = Starlette(routes=[Route(sys.argv[2], images, methods=["POST"])])
serve(app, server, lambda: print(url_of(server), flush=True), until_stdin_closes=True)
"""


@contextmanager
def process(command: list[str]) -> Iterator[tuple[int, str]]:
    """A server's process id and the first line that it prints."""
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as running:
        try:
            assert running.stdout is not None
            yield running.pid, running.stdout.readline().strip()
        finally:
            running.terminate()


def cpu_s(pid: int) -> float:
    """User and system seconds that the process's threads have used."""
    return sum(int((task / "schedstat").read_text().split()[0]) for task in Path(f"/proc/{pid}/task").iterdir()) / 1e9


def loaded(pid: int, url: str, script: Path, seconds: float) -> tuple[float, float]:
    """Microseconds of CPU a request, and requests a second, under load."""
    before = cpu_s(pid)
    command = ["wrk", "-t1", "-c16", f"-d{seconds:.0f}s", "-s", str(script), url + PATH]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in told:
        raise SystemExit(told)
    requests = int(next(line for line in told.splitlines() if "requests in" in line).split()[0])
    used = cpu_s(pid) - before
    return used / requests * 1e6, requests / seconds


def main() -> None:
    """Prints one line for each size of picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--prism", type=Path, help="Prism's executable: npm install @stoplight/prism-cli@5.14.2")
    parser.add_argument("--memory", type=int, metavar="N", help="so many requests, 100000 for the mark")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        mock = [sys.executable, "-m", "testcard.harness.cli", "mock", "nanogpt", "--port", "0", "--json", "--until-stdin-closes"]
        with process(mock) as (mock_pid, ready):
            mock_url = json.loads(ready)["base_urls"]["nanogpt"]
            for size in ("256x256", "512x512", "1024x1024"):
                request = json.dumps({**REQUEST, "size": size})
                script = Path(place) / "post.lua"
                headers = {"content-type": "application/json", "authorization": "Bearer testcard"}
                lines = [f"wrk.headers[{json.dumps(name)}] = {json.dumps(value)}" for name, value in headers.items()]
                script.write_text("\n".join(["wrk.method = 'POST'", f"wrk.body = {json.dumps(request)}", *lines]))
                asked = urllib.request.Request(mock_url + PATH, request.encode(), headers)
                body = Path(place) / "body.json"
                body.write_bytes(urllib.request.urlopen(asked, timeout=30).read())
                (Path(place) / "bare.py").write_text(BARE)
                with process([sys.executable, str(Path(place) / "bare.py"), str(body), PATH]) as (bare_pid, bare_url):
                    rounds = []
                    for number in range(options.rounds + 1):
                        bare = loaded(bare_pid, bare_url, script, options.seconds)
                        ours = loaded(mock_pid, mock_url, script, options.seconds)
                        rounds += [(bare, ours)] if number else []  # the first finds both cold
                costs = [statistics.median(one[index][0] for one in rounds) for index in (0, 1)]
                print(
                    f"{size}, {body.stat().st_size} bytes: bare {costs[0]:.0f} µs, mock {costs[1]:.0f} µs; of the bare route "
                    f"{spread([bare / ours for (bare, _), (ours, _) in rounds])} by CPU, "
                    f"{spread([ours / bare for (_, bare), (_, ours) in rounds])} by rate",
                    flush=True,
                )
            if options.memory is not None:
                held(options.memory, mock_pid, mock_url, script)
            if options.prism is not None:
                beside_prism(options, mock_pid, mock_url, Path(place))


def spread(shares: list[float]) -> str:
    """The median, the least and the most."""
    return f"{statistics.median(shares):.1%} ({min(shares):.0%} to {max(shares):.0%})"


def held(requests: int, pid: int, url: str, script: Path) -> None:
    """Prints the resident memory early and late."""
    done, early = 0, None
    while done < requests:
        done += round(loaded(pid, url, script, 2)[1] * 2)
        if early is None and done >= requests / 10:
            early = f"{resident_mb(pid):.1f} MB after {done:,} requests"
    print(f"resident: {early}, {resident_mb(pid):.1f} MB after {done:,}", flush=True)


def resident_mb(pid: int) -> float:
    """Millions of bytes that the process holds in memory."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def beside_prism(options: argparse.Namespace, mock_pid: int, mock_url: str, place: Path) -> None:
    """Prints both rates and their quotient."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    headers = {"content-type": "application/json", "authorization": "Bearer testcard"}
    body = json.dumps({"prompt": REQUEST["prompt"], "model": REQUEST["model"], "n": 1, "size": "256x256"})
    lines = [f"wrk.headers[{json.dumps(name)}] = {json.dumps(value)}" for name, value in headers.items()]
    script = place / "prism.lua"
    script.write_text("\n".join(["wrk.method = 'POST'", f"wrk.body = {json.dumps(body)}", *lines]))
    document = BUNDLED / "nanogpt" / "openapi.yaml"
    with subprocess.Popen([str(options.prism), "mock", str(document), "-p", str(port)], stdout=subprocess.DEVNULL) as prism:
        try:
            url = f"http://127.0.0.1:{port}"
            for _ in range(100):
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                    break
                time.sleep(0.2)
            rates = [
                (loaded(mock_pid, mock_url, script, options.seconds)[1], loaded(prism.pid, url, script, options.seconds)[1])
                for _ in range(options.rounds)
            ]
        finally:
            prism.terminate()
    ours, theirs = (statistics.median(one[index] for one in rates) for index in (0, 1))
    print(f"mock {ours:.0f} requests/s, Prism {theirs:.0f}: {statistics.median(a / b for a, b in rates):.1f} times", flush=True)


if __name__ == "__main__":
    main()
