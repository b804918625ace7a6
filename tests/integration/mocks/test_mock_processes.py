"""A mock in several processes is one mock: pictures, tasks, keys, counts and conditions do not depend on which of them is asked."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from testcard.harness.cli import run
from testcard.mocks.processes import _added
from testcard.specs.loader import load_provider

KEY = {"X-API-Key": "testcard"}
COMMAND = [sys.executable, "-m", "testcard.harness.cli", "mock", "opengpu-relay", "--port", "0", "--json", "--processes", "2"]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with subprocess.Popen([*COMMAND, "--until-stdin-closes"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        yield json.loads(process.stdout.readline())["base_urls"]["opengpu-relay"]
        process.stdin.close()
        assert process.wait(10) == 0


def post(url: str, key: str | None = None, **body: Any) -> httpx.Response:
    """On a connection of its own, so that any of the processes may get it."""
    headers = {**KEY, **({"Idempotency-Key": key} if key else {})}
    return httpx.post(f"{url}/v2/image/qwen/generate", json={"prompt": "x", "size": "64x64", **body}, headers=headers, trust_env=False)


def test_whichever_is_asked_knows_of_pictures_tasks_and_keys(url: str) -> None:
    """Addresses answer, tasks end, a repeated key is one task, and no two processes draw the same."""
    pictures = set()
    for _ in range(8):
        answer = httpx.get(post(url).json()["urls"][0], trust_env=False)
        assert answer.status_code == 200
        pictures.add(answer.content)
        task = post(url, **{"async": True}).json()["task_id"]
        assert httpx.get(f"{url}/v2/tasks/{task}?wait=5", trust_env=False).json()["status"] == "completed"
    assert len(pictures) == 8
    assert len({post(url, "one", **{"async": True}).json()["task_id"] for _ in range(6)}) == 1
    assert httpx.get(f"{url}/v2/tasks/0xdead", trust_env=False).json()["error"]["code"] == "TASK_NOT_FOUND"


def test_keys_and_cancellations_are_found_as_the_provider_has_them(tmp_path: Path) -> None:
    """The profile names the header of keys, and all processes find the same task by it; a POST calls a task of any process off."""
    queue = shutil.copytree(Path(__file__).parents[2] / "fixtures" / "ways" / "queue", tmp_path / "lathe")
    profile = queue / "profile.yaml"
    profile.write_text(profile.read_text().replace("async:\n", "async:\n  idempotency_header: X-Once\n"))
    document = queue / "openapi.yaml"
    document.write_text(document.read_text().replace("    put:\n      operationId: cancel", "    post:\n      operationId: cancel"))
    command = [str(queue) if word == "opengpu-relay" else word for word in COMMAND]
    with subprocess.Popen([*command, "--until-stdin-closes"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        (url,) = json.loads(process.stdout.readline())["base_urls"].values()
        operations = load_provider(str(queue)).openapi.operations
        path = operations["submit"].path
        headers = {"Authorization": "Key testcard", "X-Once": "mine"}
        answers = [httpx.post(url + path, json={"prompt": "x"}, headers=headers, trust_env=False) for _ in range(8)]
        del headers["X-Once"]
        statuses = []
        for _ in range(8):
            task = httpx.post(url + path, json={"prompt": "x"}, headers=headers, trust_env=False).json()["request_id"]
            target = url + re.sub(r"{[^}]*}", task, operations["cancel"].path)
            statuses.append(httpx.post(target, headers=headers, trust_env=False).status_code)
        process.stdin.close()
    assert len({answer.json()["request_id"] for answer in answers}) == 1
    assert set(statuses) == {202}


def test_counts_are_added_up_and_conditions_passed_on(url: str) -> None:
    """The log is one log in order, a change holds everywhere, and what only one process could keep is refused."""
    httpx.delete(f"{url}/_testcard/requests", trust_env=False)
    assert [post(url).status_code for _ in range(6)] == [200] * 6
    told = httpx.get(f"{url}/_testcard/counters", trust_env=False).json()
    assert (told["requests"], told["billed_requests"]) == (6, 6)
    entries = httpx.get(f"{url}/_testcard/requests", trust_env=False).json()["requests"]
    assert [entry["at"] for entry in entries] == sorted(entry["at"] for entry in entries)
    assert len(entries) == 6
    assert httpx.get(f"{url}/_testcard/requests?limit=1", trust_env=False).json()["requests"] == entries[-1:]
    httpx.patch(f"{url}/_testcard/conditions", json={"refuse": ["503"]}, trust_env=False)
    assert [post(url).status_code for _ in range(6)] == [503] * 6
    httpx.put(f"{url}/_testcard/conditions", json={}, trust_env=False)
    for method, what in (("PATCH", "conditions"), ("PUT", "scenario")):
        refused = httpx.request(method, f"{url}/_testcard/{what}", json={"quota": 3}, trust_env=False)
        assert refused.status_code == 400
        assert "several processes" in refused.json()["error"]["message"]


def test_a_request_is_counted_where_it_is_answered(url: str) -> None:
    """Polls of a task that another process knows are one request each; one that none knows is one 404."""
    httpx.delete(f"{url}/_testcard/requests", trust_env=False)
    task = post(url, **{"async": True}).json()["task_id"]
    polls = [httpx.get(f"{url}/v2/tasks/{task}", trust_env=False).status_code for _ in range(8)]
    assert httpx.get(f"{url}/v2/tasks/0xdead", trust_env=False).status_code == 404
    entries = httpx.get(f"{url}/_testcard/requests", trust_env=False).json()["requests"]
    assert (polls, [entry["status"] for entry in entries]) == ([200] * 8, [202, *[200] * 8, 404])
    counted = httpx.get(f"{url}/_testcard/counters", trust_env=False).json()["providers"]["opengpu-relay"]["getTask"]
    assert (counted["requests"], counted["statuses"]) == (9, {"200": 8, "404": 1})


def test_no_process_is_left_behind() -> None:
    """Those that serve end with the one that began them, even when that is killed."""
    with subprocess.Popen(COMMAND, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = json.loads(process.stdout.readline())["base_urls"]["opengpu-relay"]
        assert httpx.get(f"{url}/_testcard/health", trust_env=False).status_code == 200
        os.kill(process.pid, signal.SIGKILL)
        # The pipe ends when the last process that holds it does.
        assert process.stdout.read() == ""
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{url}/_testcard/health", trust_env=False)


def test_what_only_one_process_can_keep_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Before anything is served."""
    assert run(["mock", "nebul", "--processes", "2", "--quota", "3"]) == 2
    assert "several processes cannot keep quota" in capsys.readouterr().err
    assert run(["mock", "nebul", "--processes", "2", "--seed", "3"]) == 2
    assert "several processes cannot keep seed" in capsys.readouterr().err
    assert run(["mock", "--replay", str(tmp_path), "--processes", "2"]) == 2
    assert "several processes cannot keep the order of a replay" in capsys.readouterr().err


def test_counts_add_up() -> None:
    """Numbers by name, lists put together, what only one has kept."""
    assert _added({"a": 1, "b": {"c": 2}, "l": [1]}, {"a": 2, "b": {"d": 3}, "l": [2]}) == {"a": 3, "b": {"c": 2, "d": 3}, "l": [1, 2]}
