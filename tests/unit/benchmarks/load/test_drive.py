"""A load user's request from its sending to its last picture: what is followed, what is timed, and what ends it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import gevent
import pytest

from testcard.benchmarks.judging.judge import judge
from testcard.benchmarks.load.drive import Downloads, perform
from testcard.benchmarks.net.receive import Reply
from testcard.benchmarks.net.transport import Timeouts, clock
from testcard.benchmarks.plan.asks import asks
from testcard.benchmarks.plan.cells import Attempt, Cell
from testcard.harness.pricing import Pricing
from testcard.harness.wire.addresses import Reach
from testcard.harness.wire.model import TaskRequest, WireRequest
from testcard.specs.loader import Provider, load_provider

BASE = "http://127.0.0.1:1"
Said = tuple[int, dict[str, str], Any]
Server = Callable[[WireRequest], Said]


class Scripted:
    """A transport that answers from a function at once, and remembers every request."""

    def __init__(self, server: Server, whole_s: float = 5.0) -> None:
        self.timeouts = Timeouts(whole_s=whole_s)
        self.server = server
        self.seen: list[WireRequest] = []
        self.limits: list[float | None] = []

    def prepare(self, request: WireRequest, _: Reach) -> WireRequest:
        if not request.url.startswith("http"):
            raise ValueError("no http address")
        return request

    def exchange(self, prepared: WireRequest, within_s: float | None = None, *, fresh: bool = False) -> Reply:
        self.seen.append(prepared)
        self.limits.append(within_s)
        now = clock()
        status, headers, body = self.server(prepared)
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return Reply(now, now, clock(), clock(), status, tuple(headers.items()), data)


def cell(name: str, operation: str, request: TaskRequest, *, interval_s: float = 0.01) -> Cell:
    provider: Provider = load_provider(name)
    if provider.profile.asynchronous is not None:
        protocol = provider.profile.asynchronous.model_copy(update={"poll_interval_s": interval_s})
        provider = replace(provider, profile=provider.profile.model_copy(update={"asynchronous": protocol}))
    ready = asks(provider, operation, [request], base_url=BASE, api_key="sk-key", fresh_seeds=False)
    return Cell(0, 0, name, provider, operation, None, BASE, "sk-key", False, Pricing(provider, True), ready, [], [None], 0.0)


def performed(of: Cell, server: Server, whole_s: float = 5.0, downloads: Downloads | None = None) -> tuple[Attempt, Scripted]:
    transport = Scripted(server, whole_s)
    attempt = Attempt(of, 0, 1, "s", False, clock())
    perform(attempt, of.asks[0].wire, transport, lambda: True, downloads)  # type: ignore[arg-type] # a stand-in for both
    return attempt, transport


QWEN = TaskRequest("generate", "a boat", asynchronous=True)


def relay(*polls: Said, accepted: Said = (202, {}, {"task_id": "t"}), **more: Any) -> tuple[Attempt, Scripted]:
    """Relay's answers: the acceptance, then the polls in order (the last repeats), a picture for anything else."""
    script = list(polls)

    def server(request: WireRequest) -> Said:
        if request.method == "POST":
            return accepted
        if "/tasks/" in request.url:
            return script.pop(0) if len(script) > 1 else script[0]
        return 200, {"content-type": "image/png"}, b"picture"

    return performed(cell("opengpu-relay", "generateQwen", QWEN), server, **more)


RUNNING: Said = (200, {}, {"status": "running"})
COMPLETED: Said = (200, {}, {"status": "completed", "result": {"urls": [f"{BASE}/p.png"]}})


def test_an_answer_at_once_is_not_looked_into() -> None:
    """Base64 leads nowhere: it is left to the judge, and the clock stopped with its last byte."""
    nano = cell("nanogpt", "createImage", TaskRequest("generate", "a boat"))
    attempt, transport = performed(nano, lambda request: (200, {}, {"data": [{"b64_json": "aGVsbG8="}]}))
    assert attempt.reply is not None
    assert (attempt.answer, attempt.done_s, len(transport.seen)) == (None, attempt.reply.ended_s, 1)


def test_a_task_under_another_status_is_followed() -> None:
    """200 with a reference where the pictures should be is a task all the same."""
    attempt, transport = relay(RUNNING, COMPLETED, accepted=(200, {}, {"task_id": "t", "status": "queued"}))
    assert attempt.failure is None
    assert [request.url.removeprefix(BASE) for request in transport.seen[1:]] == ["/v2/tasks/t", "/v2/tasks/t", "/p.png"]
    assert attempt.downloads[0].whole is not None


def test_a_retry_after_on_a_poll_is_obeyed() -> None:
    """Load users wait as long as they are asked to, as everybody does; the wait counts."""
    attempt, _ = relay((200, {"retry-after": "1"}, {"status": "running"}), COMPLETED)
    assert attempt.failure is None
    assert attempt.done_s - attempt.sent_s >= 1.0


def test_polls_grow_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each wait is a little longer than the one before."""
    waits: list[float] = []
    monkeypatch.setattr(gevent, "sleep", waits.append)
    relay(*[RUNNING] * 5, COMPLETED)
    assert waits[0] == 0.01
    assert waits == sorted(set(waits))


def test_a_404_right_after_the_submission_is_borne() -> None:
    """The task may not have got around yet."""
    attempt, _ = relay((404, {}, {"detail": "no such task"}), COMPLETED)
    assert attempt.failure is None


def test_the_queue_is_not_left_before_anybody_says_so() -> None:
    """An acceptance without a state says nothing of the queue; the first documented word past it does."""
    attempt, _ = relay((200, {}, {"status": "queued"}), (200, {}, {"status": "queued"}), RUNNING, COMPLETED)
    assert attempt.queue_s is not None
    assert attempt.queue_s >= 0.02
    attempt, _ = relay((200, {}, {"status": "pondering"}), RUNNING, COMPLETED)
    assert attempt.queue_s is None


def test_a_task_that_never_ends_is_a_timeout_at_its_deadline() -> None:
    """The last poll comes near the end of the whole time, and every exchange is told how long it may take."""
    attempt, transport = relay(RUNNING, whole_s=0.3)
    assert attempt.failure == "timeout"
    assert attempt.done_s - attempt.sent_s > 0.2
    assert all(limit is not None and limit <= 0.3 for limit in transport.limits[1:])
    assert judge(attempt).outcome == "timeout"


@pytest.mark.parametrize(
    ("said", "outcome"),
    [
        ({"status": "failed", "error": {"code": "content_policy_violation"}}, "policy"),
        ({"status": "failed", "error": "the worker was lost"}, "server-error"),
    ],
)
def test_a_failed_task_is_what_it_says(said: Any, outcome: str) -> None:
    """A failure for its content is the policy's, any other the server's; neither is paid for where success is."""
    attempt, _ = relay((200, {}, said))
    assert judge(attempt).outcome == outcome


def test_redirected_pictures_are_pictures() -> None:
    """A redirect is followed, a circle is left; neither carries the key."""
    nano = cell("nanogpt", "createImage", TaskRequest("generate", "a boat"))

    def server(request: WireRequest) -> Said:
        if request.method == "POST":
            return 200, {}, {"data": [{"url": f"{BASE}/{name}"} for name in ("a", "circle")]}
        if request.url.endswith("/a"):
            return 302, {"location": "/b"}, b""
        if request.url.endswith("/circle"):
            return 302, {"location": "/circle"}, b""
        return 200, {}, b"picture"

    attempt, transport = performed(nano, server)
    assert [found.whole is not None for found in attempt.downloads] == [True, False]
    assert attempt.size == len(b"picture") + len(attempt.reply.body if attempt.reply is not None else b"")
    assert not any("sk-key" in value for request in transport.seen[1:] for _, value in request.headers)
    assert attempt.download_s is not None
    assert attempt.done_s >= max(found.reply.ended_s for found in attempt.downloads if found.reply is not None)


def test_what_leads_off_this_machine_is_not_asked() -> None:
    """Neither the picture nor the task, without --live."""
    attempt, transport = relay(RUNNING, accepted=(202, {}, {"poll_url": "http://192.0.2.1/t"}))
    assert (attempt.failure, len(transport.seen)) == ("broken", 1)


def test_who_is_stopped_stops_its_downloads_too() -> None:
    """Killed while pictures are on their way: nothing goes on behind it."""
    nano = cell("nanogpt", "createImage", TaskRequest("generate", "a boat"))
    ended: list[str] = []

    def server(request: WireRequest) -> Said:
        if request.method == "POST":
            return 200, {}, {"data": [{"url": f"{BASE}/{name}"} for name in "ab"]}
        try:
            gevent.sleep(30)
        finally:
            ended.append(request.url)
        return 200, {}, b""

    worker = gevent.spawn(performed, nano, server)
    gevent.sleep(0.05)
    worker.kill(timeout=5)
    assert sorted(ended) == [f"{BASE}/a", f"{BASE}/b"]


def test_no_more_is_downloaded_than_was_allowed() -> None:
    """Redirects count; the request that would need one more is interrupted, by the user's limit and no fault of the target's."""
    allowed = Downloads(3)

    def server(request: WireRequest) -> Said:
        if request.method == "POST":
            return 200, {}, {"data": [{"url": f"{BASE}/p.png"}]}
        return (302, {"location": f"{BASE}/q.png"}, b"") if request.url.endswith("p.png") else (200, {}, b"picture")

    nano = cell("nanogpt", "createImage", TaskRequest("generate", "a boat"))
    ends = [performed(nano, server, downloads=allowed) for _ in range(3)]
    assert [attempt.failure for attempt, _ in ends] == [None, "interrupted", "interrupted"]
    assert [sum(request.method == "GET" for request in transport.seen) for _, transport in ends] == [2, 1, 0]
    assert (allowed.count, allowed.refused) == (3, True)
    assert judge(ends[2][0]).outcome == "interrupted"
