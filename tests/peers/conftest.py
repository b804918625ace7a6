"""Servers that other people wrote, started on this machine, and the check run against them as a user runs it.

Nothing here leaves the machine: whatever is started gets proxies that refuse every other host.
"""

from __future__ import annotations

import importlib.util
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

#: nothing listens on port 9: a request to any host but this one ends there
OFFLINE = {"HTTP_PROXY": "http://127.0.0.1:9", "HTTPS_PROXY": "http://127.0.0.1:9", "NO_PROXY": "127.0.0.1,localhost"}


def _beside(name: str) -> ModuleType:
    """A package of this folder, which itself is none."""
    name_there = f"testcard_peers_{name}"
    if name_there not in sys.modules:
        spec = importlib.util.spec_from_file_location(name_there, Path(__file__).with_name(name) / "__init__.py")
        assert spec is not None
        assert spec.loader is not None
        sys.modules[name_there] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name_there])
    return sys.modules[name_there]


@pytest.fixture(scope="session")
def independent() -> ModuleType:
    """Servers written from the documents alone."""
    return _beside("independent")


@pytest.fixture(scope="session")
def seeding() -> ModuleType:
    """Defects, and what the check makes of them."""
    return _beside("seeding")


@dataclass(frozen=True)
class Checked:
    """What a check said about a server: the exit code and verdicts.json."""

    exit_code: int
    record: dict[str, Any]

    @property
    def findings(self) -> dict[str, dict[str, str]]:
        """For each operation the rules that broke, with what was seen."""
        found: dict[str, dict[str, str]] = {}
        for one in self.record["verdicts"]:
            if one["verdict"] in ("fail", "deviates"):
                found.setdefault(one["operation"], {})[one["rule"]] = one["detail"]
        return found

    def words(self, operation: str) -> dict[str, str]:
        """The verdict of each rule on one operation."""
        return {one["rule"]: one["verdict"] for one in self.record["verdicts"] if one["operation"] == operation}

    def exchanges(self) -> int:
        """How many requests were sent."""
        return int(self.record["spend"]["requests"])


@pytest.fixture(scope="session")
def check(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Checked]:
    """Runs `testcard check PROVIDER --base-url URL` in a process of its own, without a way off this machine."""

    def run(provider: str, base_url: str, key: str, *options: str) -> Checked:
        out = tmp_path_factory.mktemp("check") / "run"
        command = [sys.executable, "-m", "testcard.harness.cli", "check", provider, "--base-url", base_url, "--out", str(out), "--json"]
        environment = {**os.environ, **OFFLINE, "TESTCARD_API_KEY": key, "TESTCARD_PROGRESS": "none"}
        done = subprocess.run([*command, *options], env=environment, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode in (0, 1, 5), done.stderr
        return Checked(done.returncode, json.loads((out / "verdicts.json").read_text()))

    return run


def _free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def _running(command: Sequence[str], port: int, health: str, log: Path, environment: dict[str, str]) -> Iterator[str]:
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env={**os.environ, **OFFLINE, **environment}
        )
        try:
            _wait(process, f"http://127.0.0.1:{port}{health}", log)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait(process: subprocess.Popen[bytes], address: str, log: Path) -> None:
    """Until any HTTP answer comes, at most two minutes."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    until = time.monotonic() + 120
    while time.monotonic() < until:
        if process.poll() is not None:
            break
        try:
            opener.open(address, timeout=2)
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.2)
        else:
            return
    raise AssertionError(f"{address} did not come up:\n{log.read_text(errors='replace')[-2000:]}")


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., AbstractContextManager[str]]:
    """`with server(command) as base_url`: a foreign server as a process, ended with the block; {port} becomes a free port."""

    def start(command: Sequence[str], *, health: str = "/", **environment: str) -> AbstractContextManager[str]:
        port = _free_port()
        whole = [part.replace("{port}", str(port)) for part in command]
        return _running(whole, port, health, tmp_path_factory.mktemp("server") / "log.txt", environment)

    return start
