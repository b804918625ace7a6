"""One process of a run killed at a chosen moment, and what was lost: for `tests/crash`.

A small server answers and notes when; every answer that was out `Patience.exchanges_s` before the kill has to be on disk (samples of a
benchmark, which are written once a second: `samples_s`), no process of the run may live longer than `orphans_s`, `report` has to
work on the folder, and a parent that lives on has to say which child died.
"""

from __future__ import annotations

import base64
import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psutil

from testcard.harness.recovery import RecoveredRun
from testcard.harness.runs.folder import RunReader
from testcard.harness.runs.samples import read_table


@dataclass(frozen=True)
class Patience:
    """Seconds before the kill within which an answer may be lost, and after it within which a process may live on."""

    exchanges_s: float = 0.25
    samples_s: float = 1.5
    orphans_s: float = 5.0


TESTCARD = [sys.executable, "-m", "testcard.harness.cli"]
PICTURE = base64.b64encode(
    bytes.fromhex(
        "89504e470d0a1a0a0000000d49484452000000010000000108000000003a7e9b550000000a49444154789c6360000000020001e221bc330000000049454e44ae426082"
    )
).decode()
ANSWER = json.dumps({"created": 1, "data": [{"b64_json": PICTURE}]}).encode()

#: Run → the processes of it that are killed in turn: the command itself, or the one whose command line holds the word.
VICTIMS = {
    "check": ("command",),
    "bench": ("command", "load_process"),
    "fleet": ("command", "load_process", "fleet.worker"),
    "evaluate": ("command", "check", "bench", "load_process"),
}


class Server(ThreadingHTTPServer):
    """Answers every POST with a picture, and notes when it had."""

    daemon_threads = True
    request_queue_size = 256

    def __init__(self) -> None:
        self.answered: list[float] = []
        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: object, client_address: object) -> None:
        """Nothing: clients are killed here."""


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """A picture, after a moment."""
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        time.sleep(0.03)
        self._answer(200, ANSWER)
        self.server.answered.append(time.monotonic())  # type: ignore[attr-defined]

    def do_GET(self) -> None:
        """Nothing is here."""
        self._answer(404, b"{}")

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


@dataclass
class Result:
    """What one kill did."""

    run: str
    victim: str
    at_s: float
    answered: int = 0
    recorded: int = 0
    lost: int = 0
    orphans: list[str] = field(default_factory=list)
    unreadable: str = ""
    unsaid: bool = False

    @property
    def good(self) -> bool:
        """Whether nothing was lost."""
        return not (self.lost or self.orphans or self.unreadable or self.unsaid)


def arguments(kind: str, url: str, out: Path) -> list[str]:
    """The command line of a run that goes on for longer than anybody waits here."""
    load = ["--target", f"nanogpt={url}", "--rate", "40", "--duration", "60", "--warmup", "0", "--rounds", "1", "--out", str(out)]
    return {
        "check": ["check", f"nanogpt={url}", "--concurrency", "2", "--out", str(out)],
        "bench": ["bench", *load],
        "fleet": ["bench", *load, "--processes", "2"],
        "evaluate": ["evaluate", "--config", str(out.parent / "testcard.toml"), "--max-requests", "60", "--out", str(out)],
    }[kind]


@contextmanager
def serving() -> Iterator[Server]:
    """A server, for as long as the block lasts."""
    server = Server()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


def killed_once(kind: str, victim: str, folder: Path, wait_s: float, patience: Patience = Patience(), start_s: float = 90.0) -> Result:
    """Starts a run, kills one of its processes `wait_s` after the first answer, and looks at what is left."""
    out = folder / "run"
    with serving() as server, (folder / "talk").open("w+b") as talk:
        (folder / "testcard.toml").write_text(f'[[target]]\nprovider = "nanogpt"\nbase_url = "{server.url}"\n', encoding="utf-8")
        process = subprocess.Popen(
            [*TESTCARD, *arguments(kind, server.url, out)], stderr=talk, stdout=subprocess.DEVNULL, cwd=folder, start_new_session=True
        )
        try:
            until = time.monotonic() + start_s
            while not server.answered and process.poll() is None and time.monotonic() < until:
                time.sleep(0.02)
            chosen = None
            while chosen is None and process.poll() is None and time.monotonic() < until:
                chosen = _chosen(process.pid, victim)
                time.sleep(0.02)
            time.sleep(wait_s)
            family = (
                {one.pid: one for one in [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]}
                if process.poll() is None
                else {}
            )
            killed_s = time.monotonic()
            with suppress(ProcessLookupError, psutil.NoSuchProcess):
                if chosen is not None:
                    chosen.send_signal(signal.SIGKILL)
            result = Result(kind, victim, round(wait_s, 2))
            if victim == "command":
                process.wait()
                time.sleep(0.05)
                result.orphans = _left(family, patience.orphans_s)
                recorded = _recorded(out)
            else:
                with suppress(subprocess.TimeoutExpired):
                    process.wait(timeout=0.5 if kind != "evaluate" else 0.1)
                died = family.pop(chosen.pid, None) if chosen is not None else None
                offspring = {one.pid: one for one in _offspring(family, died)}
                result.orphans = _left(offspring, patience.orphans_s)
                if kind == "evaluate":
                    process.send_signal(signal.SIGINT)
                with suppress(subprocess.TimeoutExpired):
                    if victim == "fleet.worker":
                        process.send_signal(signal.SIGINT)  # the other worker would go on for a minute
                    process.wait(timeout=60)
                recorded = _recorded(out)
                talk.seek(0)
                said = talk.read().decode("utf-8", "replace")
                result.unsaid = chosen is not None and kind in ("bench", "fleet") and "signal 9" not in said
            limit = patience.exchanges_s if kind == "check" else patience.samples_s
            result.answered = sum(moment <= killed_s - limit for moment in server.answered)
            result.recorded = recorded
            result.lost = max(0, result.answered - recorded)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
    result.unreadable = unreadable(out)
    return result


def _chosen(pid: int, victim: str) -> psutil.Process | None:
    own = psutil.Process(pid)
    if victim == "command":
        return own
    for child in own.children(recursive=True):
        with suppress(psutil.Error):
            words = child.cmdline()
            if any(victim in word if "." in victim or "_" in victim else victim == word for word in words):
                return child
    return None


def _offspring(family: dict[int, psutil.Process], died: psutil.Process | None) -> list[psutil.Process]:
    """Those that the killed process had started: their parent is another one now."""
    if died is None:
        return []
    found = []
    for one in family.values():
        with suppress(psutil.Error):
            if one.ppid() not in family and one.pid != min(family):
                found.append(one)
    return found


def _left(family: dict[int, psutil.Process], within_s: float) -> list[str]:
    """Who of these still lives so much later."""
    _, alive = psutil.wait_procs(list(family.values()), timeout=within_s)
    names = []
    for one in alive:
        with suppress(psutil.Error):
            if one.status() != psutil.STATUS_ZOMBIE:
                names.append(" ".join(one.cmdline()[2:5]))
                one.kill()
    return names


def _recorded(out: Path) -> int:
    """Answers on disk, in the run and in those that lie in it."""
    total = 0
    for place in [out, *out.glob("*/")] if out.is_dir() else []:
        if (place / "run.json").is_file():
            run = RunReader(place)
            if run.run.kind == "check":
                total += sum(one.response is not None and one.request.method == "POST" for one in run.exchanges())
            elif run.run.kind == "bench":
                total += read_table(run).num_rows
    return total


def unreadable(out: Path) -> str:
    """Why the folder cannot be reported on; empty where it can, or where the run was killed before it had one."""
    from testcard.reports.content.evidence import gather

    if not (out / "run.json").is_file():
        return ""
    try:
        run = RecoveredRun(out)
        if run.run.kind != "evaluate" or run.children():
            gather([run])
    except Exception as error:  # noqa: BLE001 (that is what is looked for)
        return f"{type(error).__name__}: {error}"
    return ""
