"""Ctrl-C and SIGTERM in every command, at servers that keep it waiting: `python tests/crash/interrupts.py [--only WORD]… [--wait-s S]`.

The table says how many seconds a command took to end, of the clock and of CPU time, with what exit code, what its run folder says, and what
lived on. Exits 1 where a command took more than two seconds (of the clock: as often as processes share a processor), ended with anything
but 130, left a folder that cannot be read, or left a process.
"""

from __future__ import annotations

import argparse
import base64
import io
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psutil
from PIL import Image

sys.path.insert(0, str(Path(__file__).absolute().parents[1]))

from testkit.kills import ANSWER, TESTCARD, unreadable

#: What the product promises.
WITHIN_S = 2.0
#: A command that goes on for longer is ended here.
NEVER_S = 60.0


def picture(width_px: int, *, noise: bool) -> bytes:
    """A square PNG: noise takes its bytes, black takes its pixels."""
    image = (
        Image.frombytes("RGB", (width_px, width_px), os.urandom(width_px * width_px * 3))
        if noise
        else Image.new("RGB", (width_px, width_px))
    )
    into = io.BytesIO()
    image.save(into, "PNG", compress_level=0 if noise else 1)
    return into.getvalue()


def answer_of(data: bytes) -> bytes:
    """A generation's answer with this picture."""
    return json.dumps({"created": 1, "data": [{"b64_json": base64.b64encode(data).decode()}]}).encode()


class Handler(BaseHTTPRequestHandler):
    """One connection; what it does to a POST is the server's `way`."""

    protocol_version = "HTTP/1.1"
    server: Server

    def do_POST(self) -> None:
        """The way of this server."""
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.asked.set()
        with suppress(OSError):
            WAYS[self.server.way](self)

    def do_GET(self) -> None:
        """Nothing is here."""
        self.whole(b"{}", 404)

    def whole(self, body: bytes, status: int = 200) -> None:
        """An answer at once."""
        self.head(len(body), status)
        self.wfile.write(body)

    def head(self, length: int, status: int = 200) -> None:
        """The head of an answer."""
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(length))
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


def hang(to: Handler) -> None:
    """No byte."""
    to.server.over.wait(NEVER_S * 2)


def drip_head(to: Handler) -> None:
    """A head that never ends."""
    to.wfile.write(b"HTTP/1.1 200 OK\r\nX-Drip: ")
    while not to.server.over.wait(0.1):
        to.wfile.write(b"a")
        to.wfile.flush()


def drip(to: Handler) -> None:
    """A body that comes a byte at a time."""
    to.head(10_000_000)
    to.wfile.write(ANSWER[:20])
    while not to.server.over.wait(0.1):
        to.wfile.write(b" ")
        to.wfile.flush()


def big(to: Handler) -> None:
    """200 MB of a picture, as fast as it is taken."""
    to.head(200_000_000)
    to.wfile.write(b'{"created":1,"data":[{"b64_json":"')
    piece = b"iVBORw0K" * 131_072
    for _ in range(190):
        to.wfile.write(piece)


def noise(to: Handler) -> None:
    """A picture of as many bytes as are let in."""
    to.whole(to.server.bodies["noise"])


def pixels(to: Handler) -> None:
    """A picture of as many pixels as are let in."""
    to.whole(to.server.bodies["pixels"])


WAYS: dict[str, Callable[[Handler], None]] = {
    "hang": hang,
    "drip-head": drip_head,
    "drip": drip,
    "big": big,
    "noise": noise,
    "pixels": pixels,
}


class Server(ThreadingHTTPServer):
    """Answers every POST in its way."""

    daemon_threads = True
    request_queue_size = 256

    def __init__(self, way: str, bodies: dict[str, bytes]) -> None:
        self.way, self.bodies = way, bodies
        self.asked, self.over = threading.Event(), threading.Event()
        super().__init__(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: object, client_address: object) -> None:
        """Nothing: clients are ended here."""

    def close(self) -> None:
        """No more."""
        self.over.set()
        self.shutdown()
        self.server_close()


COMMANDS: dict[str, Callable[[str, Path], list[str]]] = {
    "generate": lambda url, out: ["generate", f"nanogpt={url}", "a cat", "-o", str(out.with_suffix(".png"))],
    "check": lambda url, out: ["check", f"nanogpt={url}", "--out", str(out)],
    "bench": lambda url, out: [
        "bench",
        f"nanogpt={url}",
        "--rate",
        "4",
        "--duration",
        "60",
        "--warmup",
        "0",
        "--rounds",
        "1",
        "--out",
        str(out),
    ],
    "fleet": lambda url, out: [*COMMANDS["bench"](url, out), "--processes", "2"],
    "evaluate": lambda url, out: ["evaluate", f"nanogpt={url}", "--out", str(out)],
    "watch": lambda url, out: ["watch", f"nanogpt={url}", "--out", str(out)],
}


def once(command: str, way: str, number: signal.Signals, wait_s: float, bodies: dict[str, bytes]) -> str:
    """One row of the table: `command` told to stop `wait_s` after its first request; ends with a mark where a promise was not kept."""
    server, spent_s = Server(way, bodies), _children_cpu_s()
    with tempfile.TemporaryDirectory() as folder, (Path(folder) / "talk").open("w+b") as talk:
        out = Path(folder) / "run"
        process = subprocess.Popen(
            [*TESTCARD, *COMMANDS[command](server.url, out)], stderr=talk, stdout=talk, cwd=folder, start_new_session=True
        )
        try:
            until = time.monotonic() + NEVER_S
            while not server.asked.wait(0.1) and process.poll() is None and time.monotonic() < until:
                pass
            time.sleep(wait_s)
            family = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
            early = process.poll() is not None
            before_s = 0.0 if early else sum(map(_cpu_s, [psutil.Process(process.pid), *family]))
            began = time.monotonic()
            with suppress(ProcessLookupError):
                process.send_signal(number)
            with suppress(subprocess.TimeoutExpired):
                process.wait(NEVER_S)
            took = time.monotonic() - began
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        _, alive = psutil.wait_procs(family, timeout=1.0)
        code, cpu_s = process.returncode, _children_cpu_s() - spent_s - before_s
        folders = [place.parent for place in out.rglob("run.json")]
        states = sorted({json.loads((place / "run.json").read_text())["outcome"] for place in folders})
        damaged = [why for place in folders if (why := unreadable(place))]
        talk.seek(0)
        last = talk.read().decode("utf-8", "replace").strip().splitlines()[-1:]
        for one in alive:
            one.kill()
        server.close()
    if early:
        return f"{command:<9} {way:<10} {number.name:<8} had ended by then, exit {code}: {''.join(last)}"
    # A signal that comes while Python takes its leave ends it as a signal, which a shell calls 130 or 143.
    wrong = (
        took > WITHIN_S * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))
        or cpu_s > WITHIN_S
        or code not in (130, -number)
        or alive
        or damaged
    )
    return (
        f"{command:<9} {way:<10} {number.name:<8} {took:5.2f} s  {cpu_s:5.2f} s of CPU  exit {code:4d}  {', '.join(states) or '-':<22} left {len(alive)}"
        f"{'  <-- ' + '; '.join([*damaged, *last]) if wrong else ''}"
    )


def _cpu_s(of: psutil.Process) -> float:
    with suppress(psutil.Error):
        return float(sum(of.cpu_times()[:4]))
    return 0.0


def _children_cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main(only: list[str], wait_s: float) -> int:
    """The table; 1 where a promise was not kept."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # as a job in the background this has it ignored, and so would all commands
    bodies = {"noise": answer_of(picture(3400, noise=True)), "pixels": answer_of(picture(6300, noise=False))}
    bad = 0
    for command in COMMANDS:
        for way in WAYS:
            for number in (signal.SIGINT, signal.SIGTERM):
                if all(word in (command, way, number.name) for word in only):
                    row = once(command, way, number, wait_s, bodies)
                    bad += "<--" in row
                    print(row, flush=True)
    print(f"{bad} did not end as they should")
    return 1 if bad else 0


if __name__ == "__main__":
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--only", action="append", default=[], help="a command, a way or a signal (repeatable: all of them)")
    asked.add_argument("--wait-s", type=float, default=2.0, help="seconds from the first request to the signal")
    given = asked.parse_args()
    sys.exit(main(given.only, given.wait_s))
