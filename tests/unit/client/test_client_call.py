"""The client without a socket: whatever a target answers, a call ends in a result or a ClientError, and pays once."""

from __future__ import annotations

import base64
import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from testcard.harness.client import AddressNotAllowed, ClientError, ContractBroken, Picture, Result
from testcard.harness.client.http import Exchanged, exchange
from testcard.harness.client.terms import settings as client_settings
from testcard.harness.intake.limits import IntakeLimits, changed, use_limits
from testcard.harness.intake.pictures import NoPicture
from testcard.harness.intake.wire_bytes import Meter
from testcard.harness.wire.course import Send, Steps, Wait
from testkit.pictures import plain

BASE = "http://127.0.0.1:1/base"
PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000002000000020802000000fdd49a73000000164944415478da633c2127c7c0c0c0c4c0c0"
    "c0c0c000000d0401087fad82510000000049454e44ae426082"
)
B64 = base64.b64encode(PNG).decode()
Reply = tuple[int, dict[str, str], bytes]


def reply(body: Any, status: int = 200, media_type: str = "application/json") -> Reply:
    return status, {"content-type": media_type}, body if isinstance(body, bytes) else json.dumps(body).encode()


class Played:
    """Plays a call's course against scripted replies (the last one repeats), on a clock that only waiting and sending move."""

    def __init__(self, provider: str, task: str, replies: list[Reply], *, prompt: str | None = "x", **arguments: Any) -> None:
        images = arguments.pop("images", [])
        live = arguments.pop("live", True)
        target = client_settings(provider, base_url=BASE, api_key="sk-secret", poll_interval_s=1.0, poll_timeout_s=5.0, live=live)
        call = target.call(task, prompt, images, **arguments)  # type: ignore[arg-type]
        self.sent: list[Send] = []
        self.result: Result | None = None
        self.error: ClientError | None = None
        self._replies = replies
        self._now_s = 0.0
        try:
            self.result = call.result(self._run(call.course()))
        except ClientError as error:
            self.error = error

    def _run(self, steps: Steps[Any]) -> Any:
        heard: Any = None
        while True:
            try:
                step = steps.send(heard)
            except StopIteration as stop:
                return stop.value
            if isinstance(step, Send):
                self.sent.append(step)
                heard = self._exchanged(step)
            elif isinstance(step, Wait):
                self._now_s += step.seconds
                heard = self._now_s
            else:
                heard = [self._run(steps) for steps in step.courses]

    def _exchanged(self, send: Send) -> Exchanged:
        status, headers, body = self._replies[min(len(self.sent), len(self._replies)) - 1]
        most = IntakeLimits(body_bytes=10**6)
        found = Exchanged(send.request, math.inf, most, self._now_s, Meter(most, math.inf))
        found.begin(status, tuple(headers.items()))
        found.first_byte_s = self._now_s + 0.005
        found.add(body)
        self._now_s += 0.01
        found.ended_s = self._now_s
        return found


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from(
        [B64, "", "http://h/x.png", "http://127.0.0.1:1/x.png", "file:///x", "//h/t", "http://[", "completed", "failed", "queued", "t1"]
    ),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["data", "images", "urls", "b64_json", "url", "status", "task_id", "poll_url", "result", "choices", "error"]),
            inner,
        )
    ),
    max_leaves=10,
)
replies = st.lists(
    st.tuples(
        st.sampled_from([200, 200, 202, 204, 301, 400, 401, 429, 500]),
        st.fixed_dictionaries(
            {"content-type": st.sampled_from(["application/json", "text/event-stream", "text/html", ""])},
            optional={
                "location": st.sampled_from(["/on", "http://h/on", "//h/on", "http://127.0.0.1:2/on", "http://a@b/", "http://[", ""])
            },
        ),
        json_values.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=20) | st.just(PNG),
    ),
    min_size=1,
    max_size=6,
)


@settings(max_examples=150, deadline=None)
@given(
    replies,
    st.sampled_from(
        [
            ("nanogpt", "generate", {}),
            ("opengpu-relay", "generate", {"asynchronous": True}),
            ("nvidia-nim-vision", "describe", {"stream": True}),
        ]
    ),
    st.booleans(),
)
def test_any_answers_end_in_a_result_or_a_client_error(answers: list[Reply], asked: tuple[str, str, dict[str, Any]], live: bool) -> None:
    """One billed request, the key only to the target's own host, downloads over http(s) only, and never a stray exception.

    Without `live` nothing is asked that lies off this machine, wherever answers and redirects point.
    """
    provider, task, terms = asked
    played = Played(provider, task, answers, live=live, **terms)
    assert (played.result is None) != (played.error is None)
    assert sum(step.request.billed for step in played.sent) == 1
    for step in played.sent:
        assert step.request.url.startswith(("http://", "https://"))
        carries = any("sk-secret" in value for _, value in step.request.headers)
        assert not carries or step.request.url.startswith(BASE)
        assert live or step.request.url.startswith("http://127.0.0.1:")
    assert played.error is None or "sk-secret" not in str(played.error)


def test_timings_count_from_the_sending() -> None:
    """Until the task's end, until its picture, and the download apart."""
    replies = [
        reply({"task_id": "t"}, 202),
        reply({"status": "running"}),
        reply({"status": "completed", "result": {"urls": [f"{BASE}/a.png"]}}),
        reply(PNG, media_type="image/png"),
    ]
    played = Played("opengpu-relay", "generate", replies, operation="generateQwen", asynchronous=True)
    assert played.result is not None
    timings = played.result.timings
    assert timings.first_byte_s == pytest.approx(0.005)
    assert timings.queue_s == pytest.approx(1.02)
    assert timings.download_s == pytest.approx(0.01)
    assert timings.total_s == pytest.approx(1.04)


def test_a_finished_task_without_pictures_breaks_the_contract() -> None:
    """A completed task must carry the sync body."""
    played = Played("opengpu-relay", "generate", [reply({"task_id": "t"}, 202), reply({"status": "completed"})], asynchronous=True)
    assert isinstance(played.error, ContractBroken)


def test_no_price_is_none_and_says_so() -> None:
    """Where neither the answer nor a price says what it cost, the cost is unknown, not 0."""
    played = Played("nebul", "generate", [reply({"data": [{"b64_json": B64}]})])
    assert played.result is not None
    assert (played.result.cost_usd, played.result.price_origin) == (None, "none")


def test_a_success_without_pictures_passes_on_what_the_target_says() -> None:
    """Moderation that answers 200 tells its reason."""
    played = Played("nanogpt", "generate", [reply({"data": [], "message": "blocked by policy for sk-secret"})])
    assert str(played.error) == "the answer holds no pictures: blocked by policy for $TESTCARD_API_KEY"


def test_a_message_from_a_target_is_safe_on_a_terminal() -> None:
    """Control sequences in an error message do not reach the terminal, and long ones are cut."""
    played = Played("nanogpt", "generate", [reply({"error": 400, "message": "\x1b[31mred\x07\n" + "x" * 1000}, 400)])
    assert "\x1b" not in str(played.error)
    assert "\\x1b[31mred\\x07" in str(played.error)
    assert len(str(played.error)) < 400


def test_the_record_holds_no_bytes() -> None:
    """What --json prints is JSON and small."""
    played = Played("nanogpt", "generate", [reply({"data": [{"b64_json": B64}], "cost": 0.5})])
    assert played.result is not None
    record = json.loads(json.dumps(played.result.record()))
    assert record["pictures"] == [{"format": "png", "width": 2, "height": 2, "bytes": len(PNG), "seed": None, "url": None}]
    assert (record["cost_usd"], record["price_origin"]) == (0.5, "answer")


@pytest.mark.parametrize(
    ("replies", "where"),
    [
        ([reply({"data": [{"url": "https://pictures.example/a.png"}]})], "pictures.example"),
        ([reply({"data": [{"url": f"{BASE}/a.png"}]}), (302, {"location": "//cdn.example:81/a.png"}, b"")], "cdn.example:81"),
    ],
)
def test_without_live_an_answer_leads_nowhere_else(replies: list[Reply], where: str) -> None:
    """A picture off this machine is not fetched, neither at once nor after a redirect; the error says where it is and what helps."""
    played = Played("nanogpt", "generate", replies, live=False)
    assert isinstance(played.error, AddressNotAllowed)
    assert where in played.error.message
    assert "--live" in str(played.error.hint)
    assert played.error.exit_code == 2
    assert len(played.sent) == len(replies)
    assert all(step.request.url.startswith(BASE) for step in played.sent)


def test_without_live_a_task_is_not_polled_elsewhere() -> None:
    """A task that can be polled only at an address off this machine is not polled."""
    played = Played("opengpu-relay", "generate", [reply({"poll_url": "http://tasks.example/1"}, 202)], live=False, asynchronous=True)
    assert isinstance(played.error, AddressNotAllowed)
    assert len(played.sent) == 1


def test_redirects_are_followed_to_the_picture() -> None:
    """Relative and absolute ones, each time without the key."""
    replies = [
        reply({"data": [{"url": f"{BASE}/a.png"}]}),
        (307, {"location": "b.png"}, b""),
        (301, {"location": "http://localhost:1/c.png#top"}, b""),
        reply(PNG, media_type="image/png"),
    ]
    played = Played("nanogpt", "generate", replies, live=False)
    assert played.result is not None
    assert [step.request.url for step in played.sent[2:]] == ["http://127.0.0.1:1/base/b.png", "http://localhost:1/c.png"]
    assert not any("sk-secret" in value for step in played.sent[1:] for _, value in step.request.headers)


@pytest.mark.parametrize(("max_bytes", "allowed"), [(None, 5000), (2000, 2000), (IntakeLimits().body_bytes, IntakeLimits().body_bytes)])
def test_a_body_is_as_long_as_the_limits_say_unless_the_caller_does(max_bytes: int | None, allowed: int) -> None:
    """`max_bytes` is for one client; without it `body_bytes` of the process holds, whether it is more or less than usual."""
    target = client_settings("nanogpt", base_url=BASE, api_key="sk-secret", max_bytes=max_bytes)
    call = target.call("generate", "x", [])
    send = next(call.course())
    assert isinstance(send, Send)
    use_limits(changed(IntakeLimits(), {"body_bytes": 5000}))
    try:
        assert exchange(send, timeout_s=1.0, max_bytes=call.max_bytes).most.body_bytes == allowed
    finally:
        use_limits(IntakeLimits())


def test_a_picture_of_more_pixels_than_the_limit_is_not_decoded() -> None:
    """What a header claims is not made room for in memory; the bytes are there, and `pixels` can be raised."""
    picture = Picture(plain(100, 60), "png", 100, 60)
    assert picture.image().size == (100, 60)
    use_limits(changed(IntakeLimits(), {"pixels": 5000}))
    try:
        with pytest.raises(NoPicture, match="claims 100x60 pixels"):
            picture.image()
    finally:
        use_limits(IntakeLimits())
