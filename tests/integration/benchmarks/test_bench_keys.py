"""Keys of several providers at once: each reaches its own provider and nothing else, no file, no output and no process list."""

from __future__ import annotations

import base64
import io
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psutil
import pyarrow.parquet as pq
import pytest
from PIL import Image

from testcard.harness.targets import is_loopback
from testkit.waiting import PATIENCE_S

KEYS = {"nanogpt": "sk-nano-4c1f9e", "nebul": "sk-nebul-77ab02"}


def own_address() -> str:
    found = [each.address for name in psutil.net_if_addrs().values() for each in name if each.family == socket.AF_INET]
    return next((address for address in found if not address.startswith("127.")), "127.0.0.1")


class Service:
    """A provider that answers with pictures, and now and then with an error that holds what it was sent."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.url = ""


@contextmanager
def service() -> Iterator[Service]:
    one = Service()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            number = len(one.seen)
            one.seen.append(str(self.headers))
            self.rfile.read(int(self.headers["Content-Length"]))
            buffer = io.BytesIO()
            Image.new("RGB", (256, 256), (number % 256, 1, 2)).save(buffer, "PNG")
            body: object = {"created": 1, "data": [{"b64_json": base64.b64encode(buffer.getvalue()).decode()}]}
            if number % 5 == 4:
                body = {"error": {"message": f"bad request of {self.headers}", "type": "invalid_request_error"}}
            time.sleep(0.05)
            data = json.dumps(body).encode()
            self.send_response(400 if number % 5 == 4 else 200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer((own_address(), 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    one.url = f"http://{server.server_address[0]}:{server.server_address[1]}"
    yield one
    server.shutdown()
    server.server_close()
    thread.join(5)


@pytest.fixture
def services() -> Iterator[dict[str, Service]]:
    with ExitStack() as stack:
        yield {name: stack.enter_context(service()) for name in KEYS}


def start(services: dict[str, Service], out: Path, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    keep = {name: value for name, value in os.environ.items() if not name.endswith("_API_KEY")}
    targets = [part for name, one in services.items() for part in ("--target", f"{name}={one.url}")]
    return subprocess.Popen(
        [
            sys.executable, "-m", "testcard.harness.cli", "bench", *targets, "--live", "--max-requests", "40", "--users", "4", "--duration",
            "1.6", "--rounds", "2", "--out", str(out), *arguments,
        ],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**keep, "TESTCARD_PROGRESS": "plain", **environment},
    )  # fmt: skip


def command_lines(process: subprocess.Popen[str]) -> list[str]:
    """What a process list shows of the command and everything it starts, while it runs."""
    found: set[str] = set()
    while process.poll() is None:
        try:
            mine = psutil.Process(process.pid)
            found |= {" ".join(each.cmdline()) for each in (mine, *mine.children(recursive=True))}
        except psutil.Error:
            pass
        time.sleep(0.05)
    return sorted(found)


@pytest.mark.parametrize("how", ["the profiles' own variables", "named variables", "two processes"])
def test_each_key_reaches_its_own_provider_and_nothing_else(services: dict[str, Service], tmp_path: Path, how: str) -> None:
    """Every request carries its provider's key alone; no key in the folder, on stdout or stderr, or in a command line."""
    out = tmp_path / "run"
    if how == "named variables":  # as `evaluate` hands them over
        process = start(
            services, out, "--target-key-env", "TESTCARD_TARGET_KEY_0", "--target-key-env", "TESTCARD_TARGET_KEY_1",
            TESTCARD_TARGET_KEY_0=KEYS["nanogpt"], TESTCARD_TARGET_KEY_1=KEYS["nebul"],
        )  # fmt: skip
    else:
        more = ("--processes", "2") if how == "two processes" else ()
        process = start(services, out, *more, NANOGPT_API_KEY=KEYS["nanogpt"], NEBUL_API_KEY=KEYS["nebul"])
    lines = command_lines(process)
    stdout, stderr = process.communicate(timeout=PATIENCE_S)
    assert process.returncode in (1, 5), stderr  # every fifth answer is an error
    for name, one in services.items():
        assert len(one.seen) >= 4
        others = [key for other, key in KEYS.items() if other != name]
        assert all(KEYS[name] in head and not any(key in head for key in others) for head in one.seen)
    assert any("load_process" in line for line in lines)
    columns = pq.read_table(out / "samples.parquet").to_pydict()
    said = [stdout, stderr, *lines, repr(columns), *(path.read_text("utf-8", "replace") for path in out.rglob("*") if path.is_file())]
    assert not [text for text in said if any(key in text for key in KEYS.values())]


@pytest.mark.parametrize("source", ["variable", "file"])
def test_one_key_is_not_sent_to_two_providers(services: dict[str, Service], tmp_path: Path, source: str) -> None:
    """TESTCARD_API_KEY or --api-key-file with two live providers: exit 2, naming the variables to set; nothing was sent."""
    if is_loopback(services["nanogpt"].url):
        pytest.skip("this machine has no address but 127.0.0.1")
    file = tmp_path / "key"
    file.write_text(KEYS["nanogpt"])
    more = {"TESTCARD_API_KEY": KEYS["nanogpt"]} if source == "variable" else {}
    process = start(services, tmp_path / "run", *(("--api-key-file", str(file)) if source == "file" else ()), **more)
    _, stderr = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 2
    assert "would send one key to nanogpt and nebul" in stderr
    assert "NANOGPT_API_KEY, NEBUL_API_KEY" in stderr
    assert KEYS["nanogpt"] not in stderr
    assert not any(one.seen for one in services.values())
