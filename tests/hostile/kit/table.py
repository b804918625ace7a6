"""Every attack of the kit on every command, with time, memory, exit code and what is left behind: `python tests/hostile/kit/table.py`.

Run by hand: all of it takes about an hour. `--only GLOB` (repeatable) and `--command NAME` (repeatable) narrow it; the exit code is 1 where one
did not end in time, took too much memory, ended with a code that is none of the documented ones for it, or left a run that says "running".
"""

from __future__ import annotations

import argparse
import base64
import fnmatch
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote_to_bytes

import psutil

sys.path.insert(0, str(Path(__file__).absolute().parents[2]))

from hostile.kit.server import ATTACKS

#: Seconds that one answer is waited for, that a check may take, and that a benchmark's requests may take after its last one was due.
TIMEOUT_S, CHECK_S, LOAD_S = 3.0, 12.0, 2.0
MOST_MIB, SLACK_S = 512, 2.0
#: The key that is sent, which nothing that is printed or written may hold; requests that a benchmark may send.
KEY, MOST_REQUESTS = "sk-hostile-0123456789-abcdefghij", 40
#: Seconds that starting Python, the imports and the writing of a report take on a busy machine, counted beside the deadline.
START_S = {"sync": 3.0, "async": 3.0, "check": 5.0, "bench": 8.0, "evaluate": 20.0}
_TASKS = {
    "nanogpt": "generate",
    "opengpu-relay": "generate",
    "nvidia-nim-image": "generate",
    "nvidia-nim-vision": "describe",
    "nebul": "generate",
}

CLIENT = """
import os, sys, asyncio
provider, url, kind, asynchronous = sys.argv[1:5]
from testcard.harness.client import Client, AsyncClient, ClientError
terms = {"asynchronous": True} if provider == "opengpu-relay" else {}
png = bytes.fromhex("89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c4890000000a49444154789c63000100000500010d0a2db40000000049454e44ae426082")
options = dict(base_url=url, api_key=os.environ["TESTCARD_API_KEY"], timeout_s=%s, poll_timeout_s=%s)
def sync():
    with Client(provider, **options) as client:
        if kind == "describe":
            with client.describe(png, stream="stream" in url) if "stream" in url else memoryview(b"") as pieces:
                result = pieces.finish() if "stream" in url else client.describe(png)
        else:
            result = client.generate("a cat", **terms)
async def other():
    async with AsyncClient(provider, **options) as client:
        if kind == "describe" and "stream" in url:
            await (await client.describe(png, stream=True)).finish()
        elif kind == "describe":
            await client.describe(png)
        else:
            await client.generate("a cat", **terms)
try:
    sync() if asynchronous == "sync" else asyncio.run(other())
except ClientError as error:
    print(type(error).__name__, str(error)[:300]); sys.exit(1)
print("result")
"""


@dataclass(frozen=True)
class Row:
    """What came of one attack on one command."""

    attack: str
    command: str
    seconds: float
    cpu_s: float
    deadline_s: float
    mib: float
    code: int | None
    state: str
    said: str
    #: What came out that must not: the key, control characters, requests beyond the budget, a key or a cookie where it does not belong.
    let_out: str = ""

    @property
    def wrong(self) -> str:
        """What is not as it should be; empty where all is."""
        late = self.code is None or self.seconds > self.deadline_s + SLACK_S
        return ", ".join(one for one in ("late" if late else "", self.unsound) if one)

    @property
    def unsound(self) -> str:
        """What is not as it should be, however slow the machine is; empty where all is."""
        found = []
        if self.mib > MOST_MIB:
            found.append("memory")
        if self.code not in ((0, 1) if self.command in ("sync", "async") else (0, 1, 3, 5)):
            found.append(f"code {self.code}")
        if self.state in ("running", "missing", "unreadable"):
            found.append(self.state)
        if self.let_out:
            found.append(self.let_out)
        return ", ".join(found)


def command_of(kind: str, name: str, url: str, folder: Path) -> tuple[list[str], float]:
    """The command line of an attack, and how many seconds it may take."""
    provider = ATTACKS[name][0]
    target, out = f"{provider}={url}", str(folder / "run")
    testcard = [sys.executable, "-m", "testcard.harness.cli"]
    workload = folder / "w.toml"
    asynchronous = "asynchronous = true" if provider == "opengpu-relay" else ""
    stream = "stream = true" if name.startswith("stream") else ""
    workload.write_text(
        f"{asynchronous}\n{stream}\nwarmup_s = 0\n[[stage]]\nrate_rps = 8\nduration_s = {LOAD_S}\n"
        f"[timeouts]\nconnect_s = {TIMEOUT_S}\nfirst_byte_s = {TIMEOUT_S}\nwhole_s = {TIMEOUT_S}\n"
    )
    if kind in ("sync", "async"):
        return [sys.executable, "-c", CLIENT % (TIMEOUT_S, TIMEOUT_S), provider, url, _TASKS[provider], kind], 2 * TIMEOUT_S
    if kind == "check":
        return [
            *testcard,
            "check",
            target,
            *(["--operation", "generateStableDiffusion"] if provider == "opengpu-relay" else []),
            "--timeout",
            str(TIMEOUT_S),
            "--max-time",
            f"{CHECK_S:g}s",
            "--out",
            out,
        ], CHECK_S
    bench = ["--workload", str(workload), "--max-requests", str(MOST_REQUESTS)]
    if kind == "bench":
        return [*testcard, "bench", target, *bench, "--quiet", "--out", out], LOAD_S + TIMEOUT_S
    config = folder / "c.toml"
    config.write_text(f'[check]\ntimeout = {TIMEOUT_S}\nmax_time = "{CHECK_S:g}s"\n')
    return [*testcard, "evaluate", target, *bench, "--quiet", "--config", str(config), "--out", out], CHECK_S + LOAD_S + TIMEOUT_S


def state_of(folder: Path, kind: str) -> str:
    """What the run folders say of how they ended."""
    if kind in ("sync", "async"):
        return ""
    runs = sorted((folder / "run").rglob("run.json")) if (folder / "run").exists() else []
    if not runs:
        return "missing"
    found = []
    for run in runs:
        try:
            found.append(str(json.loads(run.read_text(), parse_constant=lambda word: 1 / 0).get("outcome")))
            for other in run.parent.glob("*.json"):
                json.loads(other.read_text(), parse_constant=lambda word: 1 / 0)
        except (ValueError, ZeroDivisionError, OSError):
            return "unreadable"
    return "running" if "running" in found else ",".join(found)


#: What acts on a terminal or turns a text, as it is written in UTF-8; C1 controls are two bytes there.
_ACTING = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")
_SHOWN = (KEY.encode(), base64.b64encode(KEY.encode()), KEY.encode().hex().encode())


def let_out_of(printed: bytes, folder: Path) -> Iterator[str]:
    """What was printed or written that must not be."""
    if _ACTING.search(printed.decode("utf-8", "replace")):
        yield "controls printed"
    for place in (folder / "said", *(folder / "run").rglob("*")):
        if place.is_file() and any(one in content for content in _layers(place.read_bytes()) for one in _SHOWN):
            yield f"the key in {place.name}"


def _layers(content: bytes) -> Iterator[bytes]:
    """The bytes, and what they are without line breaks and percent signs."""
    yield content
    if len(content) < 5_000_000:
        flat = content.replace(b"\n", b"").replace(b"\\n", b"")
        yield flat
        yield unquote_to_bytes(flat)


def seen_by(url: str, kind: str) -> Iterator[str]:
    """What the server saw that must not be."""
    place, _, name = url.rpartition("/")
    with urllib.request.urlopen(f"{place}/_seen/{name}", timeout=30) as answer:
        seen = json.load(answer)
    if seen["leaked"]:
        yield f"{', '.join(sorted(set(seen['leaked'])))} sent elsewhere"
    if kind == "bench" and seen["billed"] > MOST_REQUESTS:
        yield f"{seen['billed']} requests"


def carried_out(kind: str, name: str, url: str, *, patience_s: float = 30.0) -> Row:
    """One attack on one command, which is killed when it takes `patience_s` longer than it may."""
    folder = Path(tempfile.mkdtemp(prefix="kit-"))
    command, deadline_s = command_of(kind, name, url, folder)
    deadline_s += START_S[kind]
    most, cpu = 0.0, dict[int, float]()
    environment = {**os.environ, "TESTCARD_API_KEY": KEY, "NO_COLOR": "1"}
    began = time.monotonic()
    with (folder / "said").open("wb") as said:
        process = subprocess.Popen(command, stdout=said, stderr=said, env=environment, cwd=folder, start_new_session=True)
        watched = psutil.Process(process.pid)
        code: int | None = None
        while time.monotonic() - began < deadline_s + patience_s:
            code = process.poll()
            if code is not None:
                break
            with suppress(psutil.Error):
                for one in [watched, *watched.children(recursive=True)]:
                    # Each process by itself: shared pages are not counted once more, and a supervisor's children are judged alike.
                    most = max(most, one.memory_info().rss / 2**20)
                    times = one.cpu_times()
                    cpu[one.pid] = times.user + times.system
            time.sleep(0.02)
        if code is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    seconds = time.monotonic() - began
    printed = (folder / "said").read_bytes()
    words = " ".join(printed.decode(errors="replace").split())
    state = state_of(folder, kind)
    let_out = ", ".join(sorted(found for found in (*let_out_of(printed, folder), *seen_by(url, kind)) if found))
    shutil.rmtree(folder, ignore_errors=True)
    return Row(name, kind, seconds, sum(cpu.values()), deadline_s, most, code, state, words[-300:], let_out)


def met(name: str, commands: Sequence[str]) -> Iterator[Row]:
    """One attack on each command in turn. Its server is a process of its own: what the attack takes is no command's, and ends with it."""
    server = subprocess.Popen([sys.executable, str(Path(__file__).with_name("server.py"))], stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        url = f"http://127.0.0.1:{int(server.stdout.readline())}"
        urllib.request.urlopen(f"{url}/_ready/{name}", timeout=600).close()
        for kind in commands:
            yield carried_out(kind, name, f"{url}/{name}")
    finally:
        server.kill()
        server.wait()


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs and prints the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", action="append")
    parser.add_argument("--command", action="append", choices=list(START_S))
    parser.add_argument("--at-once", type=int, default=2)
    parser.add_argument("--wrong", action="store_true", help="print only what is wrong")
    given = parser.parse_args(arguments)
    names = [name for name in ATTACKS if not given.only or any(fnmatch.fnmatch(name, glob) for glob in given.only)]
    commands = given.command or list(START_S)
    printing = threading.Lock()

    def shown(row: Row) -> Row:
        with printing:
            if row.wrong or not given.wrong:
                print(
                    f"{row.attack:28} {row.command:9} {row.seconds:6.1f} s {row.cpu_s:5.1f} s CPU {row.mib:5.0f} MiB  code {row.code!s:5} {row.state:22} {row.wrong:16}"
                    f" {row.said if row.wrong else row.said[-90:]}",
                    flush=True,
                )
        return row

    with ThreadPoolExecutor(given.at_once) as pool:
        rows = [row for found in pool.map(lambda name: [shown(row) for row in met(name, commands)], names) for row in found]
    wrong = [row for row in rows if row.wrong]
    print(f"{len(rows)} runs, {len(rows) - len(wrong)} as they should be, {len(wrong)} not")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
