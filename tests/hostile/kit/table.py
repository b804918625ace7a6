"""Every attack of the kit on every command, with time, memory, exit code and what is left behind: `python tests/hostile/kit/table.py`.

Run by hand: client, check and bench take about 5 s of CPU an attack, evaluate 7 more. `--only GLOB`, `--command NAME` (both repeatable) and `--of N`
narrow it. What was only late beside others is tried again alone. The exit code is 1 where one did not end in time, took too much memory, ended with
a code that is none of the documented ones for it, left a run that says "running", or let something out.

Each command is lean: a check leaves out generated requests (two seconds of planning), a benchmark sends eight requests in a second.
"""

from __future__ import annotations

import argparse
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
from dataclasses import asdict, dataclass
from itertools import chain, groupby, islice, zip_longest
from pathlib import Path
from urllib.parse import unquote_to_bytes

sys.path.insert(0, str(Path(__file__).absolute().parents[2]))

from hostile.kit.server import ATTACKS
from hostile.kit.talk import TLS
from hostile.kit.words import SPELLINGS

#: Seconds that one answer is waited for, that a check may take, and that a benchmark's requests may take after its last one was due.
TIMEOUT_S, CHECK_S, LOAD_S = 2.0, 8.0, 1.0
MOST_MIB, SLACK_S = 512, 2.0
#: The key that is sent, which nothing that is printed or written may hold.
KEY = "sk-hostile-0123456789-abcdefghij"
#: Requests that each command is allowed: a benchmark has more of them due in its second. An evaluation has those of its check and its benchmark.
MOST_REQUESTS = {"check": 24, "bench": 8, "evaluate": 8}
#: All areas of rules but that of generated requests.
AREAS = ("http", "auth", "schema", "answer", "image", "input", "delivery", "seed", "async", "vision", "stream", "rate")
#: Seconds that starting Python, the imports and the writing of a report take on a busy machine, counted beside the deadline.
START_S = {"sync": 3.0, "async": 3.0, "check": 5.0, "bench": 8.0, "evaluate": 20.0}
_TASKS = {
    "nanogpt": "generate",
    "opengpu-relay": "generate",
    "nvidia-nim-image": "generate",
    "nvidia-nim-vision": "describe",
    "nebul": "generate",
}

#: Starts a command, waits for it, and says what it and all that it waited for took: seconds of CPU, and the most memory that one of them had. A
#: process of its own, because a child begins with the memory of who started it.
STARTER = """
import json, os, sys
_, status, used = os.wait4(os.posix_spawn(sys.argv[2], sys.argv[2:], os.environ), 0)
with open(sys.argv[1], "w") as out:
    json.dump([os.waitstatus_to_exitcode(status), used.ru_utime + used.ru_stime, used.ru_maxrss / 1024], out)
"""

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
        f"{asynchronous}\n{stream}\nwarmup_s = 0\n[[stage]]\nrate_rps = 12\nduration_s = {LOAD_S}\n"
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
            *(word for area in AREAS for word in ("--rule", f"{area}.*")),
            "--max-requests",
            str(MOST_REQUESTS["check"]),
            "--timeout",
            str(TIMEOUT_S),
            "--max-time",
            f"{CHECK_S:g}s",
            "--out",
            out,
        ], CHECK_S
    bench = ["--workload", str(workload), "--max-requests", str(MOST_REQUESTS["bench"])]
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
_ACTING = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
#: The key in each spelling in which an attack says it, but for those that no reader would undo without knowing what is there.
_SHOWN = tuple(spell(KEY).encode() for name, spell in SPELLINGS.items() if name not in ("basic", "cut", "lines", "reversed"))


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


def seen_by(server: str, name: str, kind: str) -> Iterator[str]:
    """What the server saw that must not be."""
    with urllib.request.urlopen(f"{server}/_seen/{name}", timeout=30) as answer:
        seen = json.load(answer)
    if seen["leaked"]:
        yield f"{', '.join(sorted(set(seen['leaked'])))} sent elsewhere"
    if seen["billed"] > MOST_REQUESTS.get(kind, 1) * (2 if kind == "evaluate" else 1):
        yield f"{seen['billed']} requests"


def carried_out(kind: str, name: str, url: str, server: str, *, patience_s: float = 30.0) -> Row:
    """One attack on one command, which is killed when it takes `patience_s` longer than it may. `server`: where to ask what it saw."""
    folder = Path(tempfile.mkdtemp(prefix="kit-"))
    command, deadline_s = command_of(kind, name, url, folder)
    deadline_s += START_S[kind]
    environment = {**os.environ, "TESTCARD_API_KEY": KEY, "NO_COLOR": "1"}
    used = folder / "used"
    began = time.monotonic()
    with (folder / "said").open("wb") as said:
        started = [sys.executable, "-I", "-S", "-c", STARTER, str(used), *command]
        process = subprocess.Popen(started, stdout=said, stderr=said, env=environment, cwd=folder, start_new_session=True)
        code: int | None = None
        cpu_s = mib = 0.0
        try:
            process.wait(deadline_s + patience_s)
            code, cpu_s, mib = json.loads(used.read_text())
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    seconds = time.monotonic() - began
    printed = (folder / "said").read_bytes()
    words = " ".join(printed.decode(errors="replace").split())
    state = state_of(folder, kind)
    let_out = ", ".join(sorted(found for found in (*let_out_of(printed, folder), *seen_by(server, name, kind)) if found))
    shutil.rmtree(folder, ignore_errors=True)
    return Row(name, kind, seconds, cpu_s, deadline_s, mib, code, state, words[-300:], let_out)


def met(name: str, commands: Sequence[str]) -> Iterator[Row]:
    """One attack on each command in turn. Its server is a process of its own: what the attack takes is no command's, and ends with it."""
    server = subprocess.Popen([sys.executable, str(Path(__file__).with_name("server.py"))], stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        url = f"http://127.0.0.1:{int(server.stdout.readline())}"
        urllib.request.urlopen(f"{url}/_ready/{name}", timeout=600).close()
        for kind in commands:
            yield carried_out(kind, name, f"{url.replace('http', 'https') if name in TLS else url}/{name}", url)
    finally:
        server.kill()
        server.wait()


def different(names: Sequence[str], count: int) -> list[str]:
    """So many of the attacks, as different as the first words of their names: one of each kind, then a second of each."""
    kinds = [list(kind) for _, kind in groupby(sorted(names), key=lambda name: name.partition("-")[0])]
    return list(islice((name for name in chain.from_iterable(zip_longest(*kinds)) if name is not None), count))


def summed(rows: Sequence[Row]) -> Iterator[str]:
    """A line for each command."""
    for kind, of in groupby(sorted(rows, key=lambda row: list(START_S).index(row.command)), key=lambda row: row.command):
        found = list(of)
        late, large = (max(found, key=key) for key in (lambda row: row.seconds - row.deadline_s, lambda row: row.mib))
        yield (
            f"{kind:9} {len(found)} attacks, {sum(not row.wrong for row in found)} as they should be; at most {max(row.cpu_s for row in found):.1f} s CPU,"
            f" {large.mib:.0f} MiB ({large.attack}), {late.seconds - late.deadline_s:+.1f} s beside the deadline ({late.attack})"
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs and prints the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", action="append")
    parser.add_argument("--command", action="append", choices=list(START_S))
    parser.add_argument("--of", type=int, help="only so many attacks, as different as can be")
    parser.add_argument("--at-once", type=int, default=3)
    parser.add_argument("--wrong", action="store_true", help="print only what is wrong")
    parser.add_argument("--rows", type=Path, help="append each row to this file, as JSON; what it holds already is not run again")
    given = parser.parse_args(arguments)
    names = [name for name in ATTACKS if not given.only or any(fnmatch.fnmatch(name, glob) for glob in given.only)]
    names = names if given.of is None else different(names, given.of)
    commands = given.command or list(START_S)
    known = [Row(**json.loads(line)) for line in given.rows.read_text().splitlines()] if given.rows and given.rows.exists() else []
    done = {(row.attack, row.command): row for row in known if row.attack in names and row.command in commands}
    printing = threading.Lock()

    def shown(row: Row) -> Row:
        with printing:
            if row.wrong or not given.wrong:
                print(
                    f"{row.attack:28} {row.command:9} {row.seconds:6.1f} s {row.cpu_s:5.1f} s CPU {row.mib:5.0f} MiB  code {row.code!s:5} {row.state:22} {row.wrong:16}"
                    f" {row.said if row.wrong else row.said[-90:]}",
                    flush=True,
                )
            if given.rows:
                with given.rows.open("a") as out:
                    out.write(json.dumps(asdict(row)) + "\n")
        return row

    def tried(name: str) -> list[Row]:
        left = [kind for kind in commands if (name, kind) not in done]
        return [shown(row) for row in met(name, left)] if left else []

    with ThreadPoolExecutor(given.at_once) as pool:
        done |= {(row.attack, row.command): row for found in pool.map(tried, names) for row in found}
    late = [place for place, row in done.items() if row.wrong and not row.unsound]
    if late:
        print(f"{len(late)} were only late: once more, alone")
    done |= {(name, kind): shown(row) for name, kind in late for row in met(name, [kind])}
    print(*summed(list(done.values())), sep="\n")
    wrong = [row for row in done.values() if row.wrong]
    print(f"{len(done)} runs, {len(done) - len(wrong)} as they should be, {len(wrong)} not")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
