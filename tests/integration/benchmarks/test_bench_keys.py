"""Keys of several providers at once: each reaches its own provider and nothing else, no file, no output and no process list."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import psutil
import pyarrow.parquet as pq
import pytest

from testcard.harness.targets import is_loopback
from testkit.pictures import in_base64, numbered
from testkit.servers import Request, Response, Server, answering, own_address
from testkit.waiting import PATIENCE_S

KEYS = {"nanogpt": "sk-nano-4c1f9e", "nebul": "sk-nebul-77ab02"}


def respond(request: Request) -> Response:
    """A picture, and for every fifth request an error that holds what was sent."""
    if request.number % 5 == 4:
        return Response({"error": {"message": f"bad request of {heads(request)}", "type": "invalid_request_error"}}, 400, after_s=0.1)
    return Response({"created": 1, "data": [{"b64_json": in_base64(numbered(request.number))}]}, after_s=0.1)


def heads(request: Request) -> str:
    """Every header that a request carried."""
    return "\n".join(f"{name}: {value}" for name, value in request.headers.items())


@pytest.fixture
def services() -> Iterator[dict[str, Server]]:
    with ExitStack() as stack:
        yield {name: stack.enter_context(answering(respond, own_address())) for name in KEYS}


def start(services: dict[str, Server], out: Path, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    keep = {name: value for name, value in os.environ.items() if not name.endswith("_API_KEY")}
    targets = [part for name, one in services.items() for part in ("--target", f"{name}={one.url}")]
    return subprocess.Popen(
        [
            sys.executable, "-m", "testcard.harness.cli", "bench", *targets, "--live", "--max-requests", "400", "--users", "4", "--duration",
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
def test_each_key_reaches_its_own_provider_and_nothing_else(services: dict[str, Server], tmp_path: Path, how: str) -> None:
    """Every request carries its provider's key alone; no key in the folder, on stdout or stderr, or in a command line."""
    out = tmp_path / "run"
    if how == "named variables":  # as `evaluate` hands them over
        variables = {f"TESTCARD_TARGET_KEY_{index}": KEYS[name] for index, name in enumerate(services)}
        sections = [
            json.dumps({"provider": name, "base_url": one.url, "live": True, "key_env": variable})
            for (name, one), variable in zip(services.items(), variables, strict=True)
        ]
        process = start({}, out, *(part for section in sections for part in ("--target-section", section)), **variables)
    else:
        more = ("--processes", "2") if how == "two processes" else ()
        process = start(services, out, *more, NANOGPT_API_KEY=KEYS["nanogpt"], NEBUL_API_KEY=KEYS["nebul"])
    lines = command_lines(process)
    stdout, stderr = process.communicate(timeout=PATIENCE_S)
    assert process.returncode in (1, 5), stderr  # every fifth answer is an error
    for name, one in services.items():
        assert len(one.seen) >= 4
        others = [key for other, key in KEYS.items() if other != name]
        assert all(KEYS[name] in head and not any(key in head for key in others) for head in map(heads, one.seen))
    assert any("load_process" in line for line in lines)
    columns = pq.read_table(out / "samples.parquet").to_pydict()
    said = [stdout, stderr, *lines, repr(columns), *(path.read_text("utf-8", "replace") for path in out.rglob("*") if path.is_file())]
    assert not [text for text in said if any(key in text for key in KEYS.values())]


@pytest.mark.parametrize("source", ["variable", "file"])
def test_one_key_is_not_sent_to_two_providers(services: dict[str, Server], tmp_path: Path, source: str) -> None:
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
