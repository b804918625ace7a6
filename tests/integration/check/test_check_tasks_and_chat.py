"""The check over real sockets where answers come later or piece by piece: tasks are followed, streams read, large bodies survived."""

from __future__ import annotations

import json
import socket
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from testcard.harness.cli import run
from testcard.harness.targets import embedded_mocks
from testkit.servers import Response, content_length, talking

KEY = "sk-later-0123456789"


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TESTCARD_API_KEY", KEY)
    monkeypatch.setenv("TESTCARD_PROGRESS", "none")


@pytest.fixture
def check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, dict[str, Any], list[dict[str, Any]]]]:
    """Checks a provider at an address: exit code, verdicts by operation and rule, exchanges."""

    def checked(provider: str, url: str, *options: str) -> tuple[int, dict[str, Any], list[dict[str, Any]]]:
        folder = tmp_path / f"run{len(list(tmp_path.iterdir()))}"
        code = run(["check", provider, "--base-url", url, "--out", str(folder), "--json", *options])
        verdicts = {(one["operation"], one["rule"]): one for one in json.loads(capsys.readouterr().out)["verdicts"]}
        return code, verdicts, [json.loads(line) for line in (folder / "exchanges.jsonl").read_text().splitlines()]

    return checked


@contextmanager
def mock(provider: str, *options: str) -> Iterator[str]:
    with embedded_mocks([provider], options=["--api-key", KEY, *options]) as mocks:
        yield mocks.base_urls[provider]


def billed(url: str) -> int:
    with urllib.request.urlopen(f"{url}/_testcard/counters", timeout=5) as answer:
        return int(json.load(answer)["images"])


def words(verdicts: dict[str, Any], operation: str, family: str) -> dict[str, str]:
    return {rule: one["verdict"] for (where, rule), one in verdicts.items() if where == operation and rule.startswith(family)}


TASKS = ("--rule", "async.*", "--operation", "generateQwen", "--operation", "getTask")


def test_tasks_are_followed_to_their_end(check: Any) -> None:
    """The whole family is judged; three pictures are paid, of which the mock counts as many: the repeated submission is free."""
    with mock("opengpu-relay") as url:
        code, verdicts, exchanges = check("opengpu-relay", url, *TASKS)
        assert set(words(verdicts, "generateQwen", "async.").values()) == {"pass"}
        assert words(verdicts, "getTask", "async.") == {"async.unknown-task": "pass"}
        assert code == 0
        assert billed(url) == 3 == sum(one["images"] for one in exchanges)
    polls = [one for one in exchanges if one["source"] == "poll"]
    assert len({one["parent"] for one in polls}) == 1
    assert [one["response"]["status"] for one in polls] == [200] * len(polls)
    states = [json.loads(one["response"]["body"]["text"])["status"] for one in polls]
    assert states[-2:] == ["completed", "completed"]


def test_a_server_that_limits_polls_is_followed_as_well(check: Any) -> None:
    """Polls that are answered with 500 half of the time change nothing but http.no-server-error's word."""
    with mock("opengpu-relay", "--fault", "http.no-server-error/on-valid@0.5") as url:
        _, verdicts, exchanges = check("opengpu-relay", url, *TASKS)
    statuses = [one["response"]["status"] for one in exchanges if one["source"] == "poll"]
    followed = words(verdicts, "generateQwen", "async.")
    if statuses:  # the submission itself was not among the refused half
        assert 500 in statuses
        assert followed["async.terminal"] == followed["async.result"] == "pass"
    assert "deviates" not in followed.values()
    assert "fail" not in followed.values()


@pytest.mark.parametrize(
    ("fault", "word"),
    [("async.accepted", "fail"), ("async.reference", "deviates"), ("async.repeatable-submit", "deviates"), ("async.result", "deviates")],
)
def test_a_lie_about_tasks_is_found(check: Any, fault: str, word: str) -> None:
    """Over sockets as in the matrix: its own rule and no other of the family."""
    with mock("opengpu-relay", "--fault", fault) as url:
        code, verdicts, _ = check("opengpu-relay", url, *TASKS)
    assert {rule: found for rule, found in words(verdicts, "generateQwen", "async.").items() if found in ("fail", "deviates")} == {
        fault: word
    }
    assert code == (1 if word == "fail" else 0)


def test_a_chat_is_judged_whole_and_streamed(check: Any) -> None:
    """Both families pass, on the plain mock and on the one that decorates its streams."""
    for options in ((), ("--variant", "generous")):
        with mock("nvidia-nim-vision", *options) as url:
            code, verdicts, _ = check("nvidia-nim-vision", url, "--rule", "vision.*", "--rule", "stream.*")
        found = words(verdicts, "createVisionChatCompletion", "")
        assert set(found.values()) == {"pass"}, options
        assert len(found) == 16
        assert code == 0


def test_json_for_a_stream_is_one_finding(check: Any) -> None:
    """A server that knows no streams breaks stream.media-type; nothing else of the whole check complains."""
    with mock("nvidia-nim-vision", "--fault", "stream.media-type") as url:
        _, verdicts, _ = check("nvidia-nim-vision", url)
    assert [rule for (_, rule), one in verdicts.items() if one["verdict"] in ("fail", "deviates")] == ["stream.media-type"]


def test_a_server_that_answers_large_bodies_early_is_conforming(check: Any) -> None:
    """The strict mock answers 413 before it has read the body and closes: no rule breaks."""
    with mock("nvidia-nim-vision", "--variant", "strict") as url:
        _, verdicts, exchanges = check("nvidia-nim-vision", url, "--rule", "vision.*", "--rule", "http.*")
    assert {one["verdict"] for one in verdicts.values()}.isdisjoint({"fail", "deviates"})
    large = next(one for one in exchanges if one["probe"] == "describe/too-large")
    assert large["request"]["body"]["size"] >= 1 << 24
    assert verdicts["createVisionChatCompletion", "vision.too-large"]["verdict"] in ("pass", "unproven")


def slams(connection: socket.socket) -> None:
    """Answers chats properly, and closes the connection on a body above 1 MB without a word, as some proxies do."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += connection.recv(65536)
    head, _, body = data.partition(b"\r\n\r\n")
    if content_length(head) > 1_000_000:
        return
    while len(body) < content_length(head):
        body += connection.recv(65536)
    message = {"role": "assistant", "content": "A gradient."}
    connection.sendall(Response({"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}, close=True).encode())


def test_a_connection_closed_on_a_large_body_is_no_crash(check: Any) -> None:
    """Who finds a body too large may hang up while it is sent: nothing is proved by that, and nothing broken."""
    rules = ("--rule", "vision.too-large", "--rule", "http.no-server-error")
    with talking(slams) as server:
        _, verdicts, exchanges = check("nvidia-nim-vision", server.url, *rules)
    large = next(one for one in exchanges if one["probe"] == "describe/too-large")
    assert large["failure"] == "broken"
    assert verdicts["createVisionChatCompletion", "vision.too-large"]["verdict"] == "unproven"
    assert verdicts["createVisionChatCompletion", "http.no-server-error"]["verdict"] == "pass"
