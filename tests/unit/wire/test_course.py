"""The course of a request without a socket: whatever servers answer, it ends, keeps the key at home and asks no more than it may."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from testcard.harness.intake.limits import IntakeLimits, changed, use_limits
from testcard.harness.wire.course import (
    GROWTH,
    LONGEST_INTERVAL_S,
    MOST_MISSES,
    Conditions,
    Done,
    DownloadEnd,
    End,
    Failure,
    Send,
    Steps,
    Together,
    Wait,
    course,
    download,
)
from testcard.harness.wire.encode import encode
from testcard.harness.wire.model import Headers, TaskRequest, WireResponse
from testcard.specs.loader import load_provider

BASE = "http://127.0.0.1:1"
KEY = "sk-secret-0123456789"
PNG = "iVBORw0KGgo="
EACH_S = 0.01  # what an exchange takes on the clock of these tests


@dataclass
class Heard:
    """What a scripted server said."""

    status: int | None
    body: bytes = b""
    headers: Headers = ()
    failure: Failure | None = None
    ended_s: float = 0.0

    def response(self) -> WireResponse:
        assert self.status is not None
        return WireResponse(self.status, self.headers, self.body, done_s=self.ended_s)


def says(body: Any = None, status: int = 200, **headers: Any) -> Heard:
    fields = {"content-type": "application/json", **{name.replace("_", "-"): str(value) for name, value in headers.items()}}
    return Heard(status, json.dumps(body).encode() if body is not None else b"", tuple(fields.items()))


def to(place: str, status: int = 302) -> Heard:
    return says(status=status, location=place)


SILENCE = Heard(None, failure="broken")
PICTURE = Heard(200, b"picture", (("content-type", "image/png"),))
Script = list[Heard]
Server = Callable[[Send], Heard | None]


@dataclass
class Played:
    """Plays courses against a script (its last answer repeats) or a function, on a clock that exchanges and waits move."""

    server: Script | Server
    sends: list[Send] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)
    now_s: float = 100.0
    may_wait: bool = True

    def __call__(self, steps: Steps[Any]) -> Any:
        heard: Any = None
        while True:
            try:
                step = steps.send(heard)
            except StopIteration as stop:
                return stop.value
            match step:
                case Send():
                    self.sends.append(step)
                    self.now_s += EACH_S
                    script = self.server
                    found = script[min(len(self.sends), len(script)) - 1] if isinstance(script, list) else script(step)
                    heard = found if found is None else replace(found, ended_s=self.now_s)
                case Wait():
                    self.waits.append(step.seconds)
                    self.now_s += step.seconds
                    heard = self.now_s if self.may_wait else None
                case Together():
                    heard = [self(one) for one in step.courses]

    @property
    def asked(self) -> list[str]:
        """Purpose and address of everything sent, without the base URL."""
        return [f"{send.purpose} {send.request.url.removeprefix(BASE)}" for send in self.sends]

    def keyed(self) -> list[bool]:
        """Which of the requests carried the key."""
        return [any(KEY in value for _, value in send.request.headers) for send in self.sends]


def relay(*server: Heard, base_url: str = BASE, **conditions: Any) -> tuple[Played, Done[Heard]]:
    """An async submission of Relay's Qwen played against these answers."""
    return play("opengpu-relay", TaskRequest("generate", "x", asynchronous=True), list(server), "generateQwen", base_url, **conditions)


def play(
    name: str, asked: TaskRequest, server: Script | Server, operation: str | None = None, base_url: str = BASE, **conditions: Any
) -> tuple[Played, Done[Heard]]:
    provider = load_provider(name)
    deadline_s, may_wait = conditions.pop("deadline_s", None), conditions.pop("may_wait", True)
    wire = encode(provider, asked, base_url=base_url, api_key=KEY, operation=operation)
    played = Played(server, may_wait=may_wait)
    under = Conditions(provider, wire.operation, base_url, KEY, **{"interval_s": 1.0, "live": True, **conditions})
    return played, played(course(under, wire, deadline_s=deadline_s))


def nano(*server: Heard, **conditions: Any) -> tuple[Played, Done[Heard]]:
    return play("nanogpt", TaskRequest("generate", "x"), list(server), **conditions)


ACCEPTED = says({"task_id": "t1"}, 202)
RUNNING = says({"status": "running"})
DONE = says({"status": "completed", "result": {"urls": [f"{BASE}/p.png"]}})


def test_an_answer_at_once_leads_nowhere() -> None:
    """Base64 in the answer: one request, and all is in hand."""
    played, done = nano(says({"data": [{"b64_json": PNG}]}))
    assert (done.end, len(played.sends), done.downloads) == (End.ANSWERED, 1, ())
    assert done.reply is done.first is not None
    assert done.finished_s == done.reply.ended_s


def test_a_task_is_followed_to_its_picture() -> None:
    """Submission, polls, download; only what goes to the target's own operations carries the key."""
    played, done = relay(ACCEPTED, says({"status": "queued"}), RUNNING, DONE, PICTURE)
    assert played.asked == ["submit /v2/image/qwen/generate", *["poll /v2/tasks/t1"] * 3, "download /p.png"]
    assert played.keyed() == [True, True, True, True, False]
    assert done.end is End.ANSWERED
    assert (found := done.of_picture(0)) is not None
    assert found.whole is not None
    assert played.waits == [1.0, GROWTH]
    assert done.accepted_s == pytest.approx(100.01)
    assert done.started_s == pytest.approx(101.03)
    assert done.finished_s == pytest.approx(102.14)


def test_polls_are_further_and_further_apart() -> None:
    """Each wait is a little longer than the last, up to ten seconds."""
    played, done = relay(ACCEPTED, RUNNING)
    assert done.end is End.TASK_UNENDED
    waits = played.waits[:-1]
    assert waits == sorted(waits)
    assert max(waits) == LONGEST_INTERVAL_S
    assert len(waits) < 60


def test_a_task_has_its_time_and_no_more() -> None:
    """The documented 300 s, or what the conditions say; the last look comes at its end."""
    played, done = relay(ACCEPTED, RUNNING)
    assert done.accepted_s is not None
    assert done.finished_s - done.accepted_s == pytest.approx(300.0, abs=0.1)
    played, done = relay(ACCEPTED, RUNNING, limit_s=5.0)
    assert done.finished_s - (done.accepted_s or 0.0) == pytest.approx(5.0, abs=0.1)
    played, done = relay(ACCEPTED, RUNNING, limit_s=0.0)
    assert (done.end, played.asked[1:]) == (End.TASK_UNENDED, ["poll /v2/tasks/t1"])


def test_a_hard_deadline_leaves_time_for_the_last_poll() -> None:
    """Load users have to be done by then: every request is told so, and none is begun after it."""
    played, done = relay(ACCEPTED, RUNNING, deadline_s=130.0)
    assert done.end is End.TASK_UNENDED
    assert done.finished_s == pytest.approx(129.0, abs=0.1)
    assert {send.by_s for send in played.sends} == {130.0}
    short, done = relay(ACCEPTED, RUNNING, deadline_s=100.6, interval_s=0.1)
    assert 100.5 <= done.finished_s <= 100.6
    assert len(short.sends) > 3


def test_a_retry_after_is_obeyed() -> None:
    """On the acceptance, on polls of any status, in seconds and as a date; within the task's time."""
    date = {"retry_after": "Fri, 20 Nov 2026 10:00:06 GMT", "date": "Fri, 20 Nov 2026 10:00:00 GMT"}
    played, done = relay(
        says({"task_id": "t1"}, 202, retry_after=2),
        says({"status": "running"}, retry_after=3),
        says({}, 429, retry_after=4),
        says({}, 503, **date),
        says({}, 404, retry_after=5),
        says({"status": "running"}, 202, retry_after=7),
        says({"status": "running"}, retry_after=0),
        DONE,
        PICTURE,
    )
    assert done.end is End.ANSWERED
    assert played.waits[:6] == [2.0, 3.0, 4.0, 6.0, 5.0, 7.0]
    assert played.waits[6] < 2
    played, done = relay(ACCEPTED, says({"status": "running"}, retry_after=10**12), limit_s=20.0)
    assert (done.end, played.waits) == (End.TASK_UNENDED, [pytest.approx(20.0 - EACH_S)])


@pytest.mark.parametrize("failing", [says({}, 429), says({}, 500), says({}, 503)], ids=["429", "500", "503"])
def test_429_and_5xx_are_waited_out(failing: Heard) -> None:
    """However often they come, less and less often asked, for the task's whole time and no longer."""
    played, done = relay(ACCEPTED, *[failing] * 20, DONE, PICTURE)
    assert done.end is End.ANSWERED
    assert played.waits[:6] == [2.0, 4.0, 8.0, 10.0, 10.0, 10.0]
    played, done = relay(ACCEPTED, failing)
    assert done.end is End.TASK_UNENDED
    assert len(played.sends) < 40


MISSES = [says({}, 404), SILENCE, Heard(200, b"<html>"), says({"task_id": "t1"}), says([], 200)]


@pytest.mark.parametrize("miss", MISSES, ids=["404", "silence", "html", "no state", "no object"])
def test_a_few_misses_are_borne(miss: Heard) -> None:
    """The task may not have got around yet, a connection may break: some in a row are forgiven, then the task is lost."""
    played, done = relay(ACCEPTED, *[miss] * MOST_MISSES, DONE, PICTURE)
    assert done.end is End.ANSWERED
    played, done = relay(ACCEPTED, *([miss] * MOST_MISSES + [RUNNING]) * 3, DONE, PICTURE)
    assert done.end is End.ANSWERED
    played, done = relay(ACCEPTED, miss)
    assert (done.end, len(played.sends)) == (End.TASK_LOST, MOST_MISSES + 2)


@pytest.mark.parametrize("status", [400, 401, 403, 405, 410])
def test_a_refused_poll_loses_the_task(status: int) -> None:
    """Asking again would be answered alike."""
    played, done = relay(ACCEPTED, says({"detail": "no"}, status))
    assert (done.end, len(played.sends)) == (End.TASK_LOST, 2)
    assert done.answer is not None
    assert (done.answer.status, done.answer.error_message) == (status, "no")


@pytest.mark.parametrize("body", [{}, {"progress": 3}, {"result": None}, {"result": {}, "error": ""}], ids=str)
def test_an_undocumented_word_is_waited_with(body: dict[str, Any]) -> None:
    """A state that no document names ends nothing while nothing is brought, and tells nothing of the queue."""
    odd = says({"status": "pondering", **body})
    done = relay(ACCEPTED, odd, odd, odd, DONE, PICTURE)[1]
    assert (done.end, done.started_s) == (End.ANSWERED, None)


def test_what_is_brought_ends_a_task_under_any_word() -> None:
    """A result completes it, an error fails it; without any word only a result does."""
    result = {"urls": [f"{BASE}/p.png"]}
    for body in ({"status": "succeeded", "result": result}, {"result": result}):
        assert relay(ACCEPTED, says(body), PICTURE)[1].end is End.ANSWERED
    assert relay(ACCEPTED, says({"status": "cancelled", "error": "stopped"}))[1].end is End.TASK_FAILED
    assert relay(ACCEPTED, says({"error": "hiccup"}), DONE, PICTURE)[1].end is End.ANSWERED


@pytest.mark.parametrize(
    ("error", "end"),
    [
        ("out of memory", End.TASK_FAILED),
        ({"code": "content_policy_violation", "message": "no"}, End.TASK_MODERATED),
        ("Request Moderated", End.TASK_MODERATED),
        (None, End.TASK_FAILED),
    ],
)
def test_a_failure_for_its_content_is_told_apart(error: Any, end: End) -> None:
    """The server did what it had to; the answer that counts is the poll's."""
    done = relay(ACCEPTED, says({"status": "failed", "error": error}))[1]
    assert done.end is end
    assert done.answer is not None
    assert done.answer.json["status"] == "failed"


def test_a_task_under_another_status_is_a_task() -> None:
    """A reference where the pictures should be, whatever the status."""
    for status in (200, 201):
        played, done = relay(says({"task_id": "t1", "status": "queued"}, status), DONE, PICTURE)
        assert (done.end, len(played.sends)) == (End.ANSWERED, 3)


def test_a_task_may_be_over_when_it_is_accepted() -> None:
    """What the acceptance brings need not be asked for; a word alone has to be."""
    over = {"task_id": "t1", "status": "completed"}
    assert relay(says({**over, "result": {"urls": [f"{BASE}/p.png"]}}, 202), PICTURE)[0].asked[1:] == ["download /p.png"]
    assert relay(says(over, 202), DONE, PICTURE)[0].asked[1:] == ["poll /v2/tasks/t1", "download /p.png"]
    assert relay(says({"task_id": "t1", "status": "failed", "error": "x"}, 202))[1].end is End.TASK_FAILED
    played, done = relay(says({"urls": [f"{BASE}/p.png"]}, 202), PICTURE)
    assert (done.end, played.asked[1:]) == (End.ANSWERED, ["download /p.png"])


def test_a_task_without_a_name_cannot_be_followed() -> None:
    """Neither reference nor address, or an address that is none."""
    assert relay(says({"status": "queued"}, 202))[1].end is End.TASK_UNNAMED
    done = relay(says({"poll_url": "http://[broken"}, 202))[1]
    assert (done.end, done.place) == (End.ADDRESS_UNUSABLE, "http://[broken")


def test_the_key_goes_to_the_own_origin_only() -> None:
    """A default port names the same origin; another host, port or scheme does not, nor does a redirect there."""
    base = "https://api.example/v0"
    for place, keyed in [
        ("https://api.example:443/v0/tasks/1", True),
        ("https://API.example/v0/tasks/1", True),
        ("/tasks/1", True),
        ("tasks/1", True),
        ("https://api.example:8443/tasks/1", False),
        ("http://api.example/tasks/1", False),
        ("https://tasks.example/1", False),
        ("//tasks.example/1", False),
    ]:
        done_there = says({"status": "completed", "result": {"urls": [f"{base}/p.png"]}})
        played, done = relay(says({"poll_url": place}, 202), done_there, PICTURE, base_url=base)
        assert (done.end, played.keyed()) == (End.ANSWERED, [True, keyed, False]), place
    played, _ = relay(
        says({"poll_url": "/tasks/1"}, 202), to("https://else.example/1"), to("https://api.example:443/x"), DONE, base_url=base
    )
    assert played.keyed()[:4] == [True, True, False, True]


def test_without_live_nothing_leaves_this_machine() -> None:
    """Neither polls nor pictures nor redirects of either; where it would have gone is told."""
    for first in (says({"poll_url": "https://tasks.example/1"}, 202), ACCEPTED):
        played, done = relay(first, to("https://tasks.example/1"), live=False)
        assert (done.end, done.place) == (End.ADDRESS_NOT_ALLOWED, "https://tasks.example/1")
        assert all(send.request.url.startswith(BASE) for send in played.sends)
    for answers in ([says({"data": [{"url": "https://cdn.example/a"}]})], [says({"data": [{"url": BASE}]}), to("https://cdn.example/a")]):
        played, done = nano(*answers, live=False)
        assert (done.downloads[0].end, done.downloads[0].place) == (DownloadEnd.NOT_ALLOWED, "https://cdn.example/a")
        assert len(played.sends) == len(answers)


@pytest.mark.parametrize("most", [0, 3, 5])
def test_redirects_are_followed_a_few_times(most: int) -> None:
    """A picture behind as many as the limits allow is found, a circle is left after them; a redirect that names no address is the answer."""
    first = says({"data": [{"url": f"{BASE}/0"}]})
    hops = [to(f"/{number + 1}") for number in range(most)]
    use_limits(changed(IntakeLimits(), {"redirects": most}))
    try:
        played, done = nano(first, *hops, PICTURE)
        assert done.downloads[0].whole is not None
        assert [(send.number, send.hop) for send in played.sends[1:]] == [(1, hop) for hop in range(most + 1)]
        played, done = nano(first, to("/0"))
        assert (done.downloads[0].end, done.downloads[0].hops, len(played.sends)) == (DownloadEnd.CIRCLE, most, most + 2)
        done = nano(first, to("file:///etc/passwd"))[1]
        assert (done.downloads[0].end, done.downloads[0].whole) == (DownloadEnd.FETCHED, None)
        played, done = relay(ACCEPTED, to("/1"))
        assert (done.end, len(played.sends)) == (End.TASK_LOST, most + 2)
    finally:
        use_limits(IntakeLimits())


def test_a_result_may_lie_elsewhere() -> None:
    """At an address in its place, or behind a redirect of the poll; the key goes there only at home."""
    body = {"urls": [f"{BASE}/p.png"]}
    played, done = relay(ACCEPTED, says({"status": "completed", "result": "/results/1"}), says(body), PICTURE)
    assert played.asked[1:] == ["poll /v2/tasks/t1", "result /results/1", "download /p.png"]
    assert (done.end, played.keyed()) == (End.ANSWERED, [True, True, True, False])
    played, done = relay(ACCEPTED, says({"status": "completed", "result": "https://x.example/1"}), says({}, 404))
    assert (done.end, played.keyed()) == (End.RESULT_LOST, [True, True, False])
    done = relay(ACCEPTED, says({"status": "completed", "result": "https://x.example/1"}), live=False)[1]
    assert (done.end, done.place) == (End.ADDRESS_NOT_ALLOWED, "https://x.example/1")
    for nowhere in ("http://[", "http://[::1", "https://[x"):
        done = relay(ACCEPTED, says({"status": "completed", "result": nowhere}))[1]
        assert (done.end, done.place) == (End.ADDRESS_UNUSABLE, nowhere)
    played, done = relay(ACCEPTED, RUNNING, to("/results/1", 303), says(body), PICTURE)
    assert (done.end, [send.hop for send in played.sends]) == (End.ANSWERED, [0, 0, 0, 1, 0])


def test_an_address_is_fetched_once_and_base64_needs_none() -> None:
    """Two pictures behind one address share its download; a picture that carries both is in hand already."""
    here, there = f"{BASE}/a", f"{BASE}/b"
    items = [{"url": here}, {"b64_json": PNG, "url": f"{BASE}/c"}, {"url": there}, {"url": here}, {"url": "file:///x"}]
    played, done = nano(says({"data": items}), PICTURE)
    assert played.asked[1:] == ["download /a", "download /b"]
    assert [found.pictures for found in done.downloads] == [(0, 3), (2,), (4,)]
    assert done.of_picture(1) is None
    assert (unusable := done.of_picture(4)) is not None
    assert unusable.end is DownloadEnd.UNUSABLE
    played, done = nano(says({"data": items}), PICTURE, most_downloads=1)
    assert [found.end for found in done.downloads] == [DownloadEnd.FETCHED, DownloadEnd.UNUSABLE, DownloadEnd.DECLINED]


def test_a_task_is_looked_at_again_where_that_is_wanted() -> None:
    """Once more after its end, whatever that says, before its pictures."""
    played, done = relay(ACCEPTED, DONE, RUNNING, PICTURE, look_again=True)
    assert played.asked[1:] == ["poll /v2/tasks/t1", "poll /v2/tasks/t1", "download /p.png"]
    assert (done.end, done.answer is not None and len(done.answer.pictures)) == (End.ANSWERED, 1)
    played, done = relay(ACCEPTED, DONE, PICTURE, look_again=True, may_wait=False)
    assert played.asked[1:] == ["poll /v2/tasks/t1", "download /p.png"]


def test_a_driver_may_go_no_further() -> None:
    """A request or a wait that is not carried out ends the course with what there is."""
    done = play("nanogpt", TaskRequest("generate", "x"), lambda send: None)[1]
    assert done.end is End.DECLINED
    done = relay(ACCEPTED, RUNNING, may_wait=False)[1]
    assert (done.end, done.first is not None) == (End.DECLINED, True)

    def no_downloads(send: Send) -> Heard | None:
        return None if send.purpose == "download" else says({"data": [{"url": f"{BASE}/a"}]})

    done = play("nanogpt", TaskRequest("generate", "x"), no_downloads)[1]
    assert (done.end, done.downloads[0].end) == (End.ANSWERED, DownloadEnd.DECLINED)


def test_what_died_on_a_kept_connection_is_sent_once_more() -> None:
    """Once, on a fresh one, whatever it was; what dies there too is what came of it. Nothing else is repeated."""
    stale = Heard(None, failure="stale")
    played, done = relay(stale, ACCEPTED, stale, DONE, stale, PICTURE)
    assert done.end is End.ANSWERED
    assert [send.fresh for send in played.sends] == [False, True] * 3
    played, done = relay(stale, SILENCE)
    assert (done.end, len(played.sends)) == (End.NO_ANSWER, 2)
    played, done = relay(stale)
    assert (done.end, len(played.sends)) == (End.NO_ANSWER, 2)
    for failure in ("connect", "tls", "timeout", "broken"):
        played, done = relay(Heard(None, failure=failure))  # type: ignore[arg-type] # one of them
        assert (done.end, len(played.sends)) == (End.NO_ANSWER, 1)


def test_a_refusal_ends_the_course() -> None:
    """A submission is never repeated for its status, and never redirected."""
    for status in (302, 400, 401, 402, 429, 500, 503):
        played, done = relay(says({"detail": "no"}, status, location="/x", retry_after=1))
        assert (done.end, len(played.sends)) == (End.REFUSED, 1)


def test_an_address_alone_can_be_fetched() -> None:
    """Outside of any answer, as for the picture that is looked at again later."""
    under = Conditions(load_provider("nanogpt"), "createImage", BASE, KEY)
    played = Played([to("/b"), PICTURE])
    found = played(download(under, f"{BASE}/a"))
    assert (found.end, found.hops, found.url, found.place) == (DownloadEnd.FETCHED, 1, f"{BASE}/a", f"{BASE}/b")


places = st.sampled_from(
    ["/on", "http://h/on", "//h/on", f"{BASE}/x", "http://127.0.0.1:2/on", "http://a@b/", "http://[", "", "file:///x", "on", "?"]
)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | places | st.sampled_from([PNG, "completed", "failed", "queued", "odd", "t1"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["data", "urls", "b64_json", "url", "status", "task_id", "poll_url", "result", "error"]), inner, max_size=5
        )
    ),
    max_leaves=10,
)
heard = st.builds(
    Heard,
    st.sampled_from([200, 200, 200, 202, 204, 301, 303, 307, 400, 401, 404, 408, 429, 500]),
    values.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=20),
    st.fixed_dictionaries(
        {"content-type": st.sampled_from(["application/json", "text/event-stream", "text/html"])},
        optional={"location": places, "retry-after": st.sampled_from(["0", "3", "1" * 40, "x", "Fri, 20 Nov 2026 10:00:30 GMT"])},
    ).map(lambda fields: tuple(fields.items())),
) | st.sampled_from([SILENCE, Heard(None, failure="stale"), Heard(200, b"{", failure="broken")])


@settings(max_examples=200, deadline=None)
@given(st.lists(heard, min_size=1, max_size=8), st.booleans(), st.sampled_from(["nanogpt", "opengpu-relay"]), st.booleans())
def test_whatever_servers_say_a_course_ends(answers: Script, live: bool, name: str, look_again: bool) -> None:
    """In bounded time and requests; the submission once (twice only after a stale connection), the key at home, without live all here."""
    asked = TaskRequest("generate", "x", asynchronous=True if name == "opengpu-relay" else None)
    played, done = play(name, asked, answers, live=live, look_again=look_again, limit_s=30.0)
    assert isinstance(done, Done)
    submitted = [send for send in played.sends if send.purpose == "submit"]
    assert len(submitted) == 1 + sum(send.fresh for send in submitted) <= 2
    assert len(played.sends) < 120
    assert sum(played.waits) < 45
    assert sum(send.request.billed for send in played.sends) == len(submitted)
    for send, keyed in zip(played.sends, played.keyed(), strict=True):
        assert not keyed or send.request.url.startswith(f"{BASE}/")
        assert send.purpose != "download" or not keyed
        assert live or send.request.url.startswith("http://127.0.0.1:")
        assert send.request.url.startswith(("http://", "https://"))


@pytest.mark.parametrize("reference", ["..", ".", "../../admin", "a/../../b", "a\r\nX-Injected: 1", "a\\..\\b", "x" * 5000, "\u202e"])
def test_a_task_is_one_segment_of_a_path(reference: str) -> None:
    """What a target calls its task leads nowhere else on it, and puts nothing into the request."""
    played, done = relay(says({"task_id": reference}, 202))
    assert done.end is End.ADDRESS_UNUSABLE
    assert len(played.sends) == 1
