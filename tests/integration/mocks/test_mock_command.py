"""`testcard mock` as a person and a script use it: a process with flags, output and exit codes."""

from __future__ import annotations

import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest

from testcard.harness.cli import run
from testcard.mocks.app import create_app
from testcard.mocks.command import curl_line
from testcard.mocks.serving import serving
from testcard.specs.loader import load_provider
from testkit.waiting import PATIENCE_S

COMMAND = [sys.executable, "-m", "testcard.harness.cli", "mock"]
PROVIDERS = {"nanogpt", "nebul", "nvidia-nim-image", "nvidia-nim-vision", "opengpu-relay"}


@contextmanager
def running(*options: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen([*COMMAND, *options], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None:
                stream.close()


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def finished(*options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *options], capture_output=True, text=True, timeout=PATIENCE_S, check=False)


def test_all_providers_are_served_and_it_says_where() -> None:
    """Without names every provider is served under its id; one JSON line says where once requests are answered; closing stdin ends it with 0."""
    with running("--port", "0", "--json", "--until-stdin-closes", "--api-key", "other") as process:
        ready = json.loads(line(process))
        assert ready["ready"] is True
        assert ready["api_key"] == "other"
        assert set(ready["base_urls"]) == PROVIDERS
        for name, url in ready["base_urls"].items():
            assert url.endswith(f"/{name}")
        answer = httpx.post(
            ready["base_urls"]["nanogpt"] + "/v1/images/generations", json={"prompt": "x"}, headers={"Authorization": "Bearer other"}
        )
        assert answer.status_code == 200
        root = ready["base_urls"]["nanogpt"].removesuffix("/nanogpt")
        assert httpx.get(root + "/_testcard/health").json()["status"] == "ready"
        assert httpx.get(root + "/_testcard/counters").json()["images"] == 1
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(timeout=PATIENCE_S) == 0


def test_mocks_side_by_side_tell_seeds_of_their_own() -> None:
    """Two started alike have two seeds, as the line says and /_testcard/conditions; with --seed the one that is given."""

    def told(*options: str) -> int:
        with running("nanogpt", "--port", "0", "--json", "--latency", "lognormal:0.01,0.5", *options) as process:
            ready = json.loads(line(process))
            in_force = httpx.get(ready["base_urls"]["nanogpt"] + "/_testcard/conditions").json()["conditions"]["seed"]
            assert in_force == ready["seed"]
            return int(in_force)

    assert told() != told()
    assert told("--seed", "5") == 5
    with running("nanogpt", "--port", "0", "--latency", "lognormal:0.01,0.5", "--seed", "5") as process:
        assert [line(process) for _ in range(4)][3] == "the same times again: --seed 5\n"


def test_one_provider_is_at_the_root_and_the_printed_command_works() -> None:
    """One provider is served at the root; the curl line that is printed runs as it stands; Ctrl-C ends the mock with exit 0."""
    with running("nvidia-nim-image", "--port", "0") as process:
        name, url = line(process).split()
        assert name == "nvidia-nim-image"
        assert "testcard" in line(process)
        words = shlex.split(line(process).removeprefix("try: "))
        assert words[:2] == ["curl", f"{url}/v1/genai/black-forest-labs/flux.1-schnell"]
        options = dict(zip(words[2::2], words[3::2], strict=False))
        headers = dict(value.split(": ", 1) for flag, value in zip(words[2::2], words[3::2], strict=True) if flag == "-H")
        answer = httpx.post(words[1], content=options["-d"], headers=headers)
        assert answer.status_code == 200
        assert answer.json()["artifacts"]
        os.kill(process.pid, signal.SIGINT)
        assert process.wait(timeout=PATIENCE_S) == 0


@pytest.mark.parametrize("provider", sorted(PROVIDERS))
def test_every_printed_command_is_one_that_is_accepted(provider: str) -> None:
    """Whatever provider is served, the request that is offered to try is answered with 200."""
    with serving(create_app([provider])) as url:
        words = shlex.split(curl_line(load_provider(provider), url, "testcard"))
        pairs = list(zip(words[2::2], words[3::2], strict=True))
        headers = dict(value.split(": ", 1) for flag, value in pairs if flag == "-H")
        assert httpx.post(words[1], content=dict(pairs)["-d"], headers=headers).status_code == 200


def test_a_taken_port_is_a_usage_error() -> None:
    """A port that is taken gives exit 2 and the flag to use."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        result = finished("nanogpt", "--port", str(taken.getsockname()[1]))
    assert result.returncode == 2
    assert result.stdout == ""
    assert "--port" in result.stderr


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["nanogtp"], "nanogpt"),
        (["--fault", "image.sise"], "image.size"),
        (["nanogpt", "--fault", "image.format"], "does not apply"),
        (["--latency", "soon"], "lognormal"),
        (["--rate-limit", "fast"], "5/s"),
        (["nanogpt", "nanogpt"], "twice"),
        (["--host", "192.0.2.1", "--port", "0"], "--host"),
        (["--host", "192.0.2.1", "--port", "8088"], "--host"),
        (["--grace", "nan"], "number of seconds"),
    ],
)
def test_wrong_flags_are_usage_errors(options: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A wrong provider, fault, latency, rate or address gives exit 2 and says what would be right."""
    assert run(["mock", *options]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert said in shown.err


def test_faults_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    """--list-faults prints each fault with what it does, as text and as JSON."""
    assert run(["mock", "nanogpt", "--list-faults"]) == 0
    text = capsys.readouterr().out
    assert "delivery.exclusive/neither" in text
    assert "image.format" not in text
    assert run(["mock", "nanogpt", "--fault", "list"]) == 0
    assert capsys.readouterr().out == text
    assert run(["mock", "--list-faults", "--json"]) == 0
    faults = json.loads(capsys.readouterr().out)
    assert {"image.format", "image.count", "auth.required"} <= {fault["name"] for fault in faults}
    assert all((fault["places"] or fault["own_providers"]) and fault["does"] for fault in faults)
    assert any(fault["places"] and fault["own_providers"] for fault in faults)


#: what a check, a benchmark or a report needs, and takes a second to import
HEAVY = {
    "pandas",
    "matplotlib",
    "locust",
    "gevent",
    "schemathesis",
    "hypothesis",
    "httpx",
    "scipy",
    "pyarrow",
    "openapi_core",
    "jinja2",
    "rich",
}


def test_it_starts_without_what_only_others_need() -> None:
    """From the command to the first answer nothing is imported that takes long and that no mock needs."""
    program = f"""
import sys
from testcard.harness.cli import run
from testcard.mocks import command
command.serve = lambda *_, **__: print(sorted({HEAVY!r} & set(sys.modules)))  # the server is bound, and would answer now
sys.exit(run(["mock", "--port", "0"]))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr


@pytest.mark.parametrize(
    ("provider", "options", "path", "body"),
    [
        ("nanogpt", ["--latency", "30"], "/v1/images/generations", {"prompt": "x"}),
        ("nanogpt", ["--fault", "http.answered"], "/v1/images/generations", {"prompt": "x"}),
        ("nvidia-nim-vision", ["--latency", "6"], "/v1/chat/completions", {"messages": [{"role": "user", "content": "x"}], "stream": True}),
    ],
    ids=["working", "held back", "streaming"],
)
def test_a_stopped_mock_ends_with_a_request_under_way(provider: str, options: list[str], path: str, body: dict[str, object]) -> None:
    """Ctrl-C ends the mock within two seconds even while an answer is being waited for, or sent, and without a traceback."""
    with running(provider, "--port", "0", "--json", *options) as process:
        url = json.loads(line(process))["base_urls"][provider]
        host, port = url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as waiting:
            model = next(iter(load_provider(provider).profile.models)).id
            sent = json.dumps({"model": model, **body}).encode()
            head = f"POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer testcard\r\nContent-Type: application/json\r\nContent-Length: {len(sent)}\r\n\r\n"
            waiting.sendall(head.encode() + sent)
            if "stream" in body:
                assert waiting.recv(1).startswith(b"H")
            deadline = time.monotonic() + PATIENCE_S
            while "stream" not in body and httpx.get(url + "/_testcard/counters").json()["open"] == 0 and time.monotonic() < deadline:
                time.sleep(0.02)
            os.kill(process.pid, signal.SIGINT)
            assert process.wait(timeout=PATIENCE_S) == 0
        assert process.stderr is not None
        assert "Traceback" not in process.stderr.read()
