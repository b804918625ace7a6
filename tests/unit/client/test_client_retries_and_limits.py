"""What a client repeats and what it spends: a stated policy, a limit that is never exceeded, hooks that hear of it, errors with their exchange."""

from __future__ import annotations

import logging
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

import anyio
import httpx
import pytest

from testcard.harness.client import (
    AsyncClient,
    Client,
    ClientError,
    ClientEvent,
    ConnectionFailed,
    OpenTelemetryHook,
    RateLimited,
    Retry,
    ServerFailed,
    SpendingGuard,
    SpendingLimitReached,
    TaskFailed,
    TimedOut,
    log_calls,
)
from testcard.harness.client import attempts as module
from testcard.harness.config import PricesSection
from testcard.harness.errors import UsageError
from testcard.harness.pricing import Pricing
from testcard.specs.loader import load_provider
from testcard.specs.prices import PerImage
from testkit.pictures import plain

SECRET = "sk-very-secret-key-0123456789"
OK = {"created": 1, "data": [{"b64_json": ""}], "cost": 0.02}


class Answers:
    """A transport that gives these answers one after the other, the last again and again; it keeps what was asked."""

    def __init__(self, *answers: httpx.Response | Exception) -> None:
        self.answers = list(answers)
        self.asked: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        one = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(one, Exception):
            raise one
        return httpx.Response(one.status_code, headers=one.headers, content=one.content)


def ok() -> httpx.Response:
    from base64 import b64encode

    return httpx.Response(200, json={**OK, "data": [{"b64_json": b64encode(plain(8, 8)).decode()}]})


def client(answers: Answers, provider: str = "nanogpt", **options: Any) -> Client:
    transport = httpx.MockTransport(answers)
    return Client(provider, base_url="http://127.0.0.1:9", api_key=SECRET, transport=transport, **options)


def refused(status: int, **headers: str) -> httpx.Response:
    return httpx.Response(status, json={"error": status, "message": "no"}, headers=headers)


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses, which take no time."""
    found: list[float] = []
    monkeypatch.setattr("testcard.harness.client.sync.time.sleep", found.append)
    return found


def test_nothing_is_repeated_without_a_policy(slept: list[float]) -> None:
    """One request, whatever came of it."""
    answers = Answers(refused(429), ok())
    with client(answers) as one, pytest.raises(RateLimited):
        one.generate("x")
    assert len(answers.asked) == 1
    assert slept == []


def test_a_429_is_waited_out_as_long_as_it_says(slept: list[float]) -> None:
    """Seconds or a date, never less, a little more by chance; without either twice as long each time."""
    date = format_datetime(datetime.now(UTC).replace(year=2099), usegmt=True)
    answers = Answers(refused(429, **{"retry-after": "7"}), refused(429), refused(429), ok())
    with client(answers, retry=Retry(attempts=4, base_s=1.0, jitter=0.5)) as one:
        assert one.generate("x").pictures
    assert 7 <= slept[0] <= 10.5
    assert 2 <= slept[1] <= 3
    assert 4 <= slept[2] <= 6
    with client(Answers(refused(429, **{"retry-after": date})), retry=Retry(attempts=2, deadline_s=60)) as one, pytest.raises(RateLimited):
        one.generate("x")
    assert len(slept) == 3  # a date beyond the deadline is not waited for


def test_what_may_have_been_billed_is_repeated_only_under_a_key(slept: list[float]) -> None:
    """A 503 and a broken answer end a plain request; where the provider takes an idempotency key, the same key is sent again."""
    policy = Retry(attempts=3, base_s=0.0)
    troubles: tuple[tuple[httpx.Response | Exception, type[ClientError]], ...] = (
        (refused(503, **{"retry-after": "0"}), ServerFailed),
        (httpx.ReadError("gone"), ConnectionFailed),
        (httpx.ReadTimeout("slow"), TimedOut),
    )
    for trouble, error in troubles:
        answers = Answers(trouble, ok())
        with client(answers, retry=policy) as one, pytest.raises(error):
            one.generate("x")
        assert len(answers.asked) == 1
    with client(Answers(httpx.ConnectError("refused"), ok()), retry=policy) as one:
        assert one.generate("x").pictures  # nothing was sent: it may come again
    taken = httpx.Response(202, json={"task_id": "t1", "status": "queued", "poll_url": "/v2/tasks/t1"})
    answers = Answers(refused(503), httpx.ReadError("gone"), taken)
    with client(answers, "opengpu-relay", retry=policy) as one:
        assert one.submit("x", idempotency_key=True).id == "t1"
    keys = [request.headers["idempotency-key"] for request in answers.asked]
    assert len(keys) == 3
    assert len(set(keys)) == 1
    with client(Answers(ok())) as one, pytest.raises(UsageError, match="documents no idempotency key"):
        one.generate("x", idempotency_key="a")


def test_a_policy_that_makes_no_sense_is_refused() -> None:
    """No attempt at all, or times below 0."""
    for wrong in ({"attempts": 0}, {"jitter": -1}):
        with pytest.raises(UsageError):
            Retry(**wrong)
    assert module.NO_RETRY.attempts == 1


def test_a_limit_is_kept_before_anything_is_sent(slept: list[float]) -> None:
    """Each attempt counts; what was refused costs nothing; what an answer says it cost replaces the reservation; unknown prices are refused."""
    pricing = Pricing(load_provider("nanogpt"), mock=True)
    guard = SpendingGuard(max_requests=3, max_usd=1.0)
    answers = Answers(ok(), refused(429), ok())
    with client(answers, pricing=pricing, budget=guard, retry=Retry(attempts=2, base_s=0)) as one:
        one.generate("x", size=(256, 256))
        assert guard.usd == pytest.approx(0.02)
        one.generate("x", size=(256, 256))
        assert (guard.requests, guard.usd) == (3, pytest.approx(0.04))
        with pytest.raises(SpendingLimitReached, match="3 requests"):
            one.generate("x")
    assert len(answers.asked) == 3
    with (
        client(Answers(ok()), budget=SpendingGuard(max_usd=0.001), pricing=pricing) as one,
        pytest.raises(SpendingLimitReached, match=r"\$"),
    ):
        one.generate("x", size=(256, 256))
    unpriced = Answers(ok())
    with client(unpriced, budget=SpendingGuard(max_usd=5)) as one, pytest.raises(SpendingLimitReached, match="no price"):
        one.generate("x")
    assert unpriced.asked == []
    with pytest.raises(UsageError):
        SpendingGuard(max_usd=-1)


@pytest.mark.parametrize("stated", ["0", "1e-30", "-1", "1e999", "null", '"0"'])
def test_what_an_answer_states_makes_a_limit_no_longer(stated: str) -> None:
    """A cost of nothing, of less than nothing or of no number counts as the price."""
    free = ok()
    body = free.content.replace(b'"cost":0.02', b'"cost":' + stated.encode())
    assert body != free.content
    answers = Answers(httpx.Response(200, headers={"content-type": "application/json"}, content=body))
    guard = SpendingGuard(max_usd=0.03)
    with client(answers, pricing=Pricing(load_provider("nanogpt"), mock=True), budget=guard) as one:
        for _ in range(2):
            one.generate("x", size=(256, 256))
        with pytest.raises(SpendingLimitReached):
            one.generate("x", size=(256, 256))
    assert (len(answers.asked), guard.usd) == (2, pytest.approx(0.028))


def test_a_target_that_bills_more_than_the_price_is_expected_to_do_it_again() -> None:
    """$0.02 at a price of $0.014: what follows is reserved at that, and an answer that cannot be used counts, too."""
    guard = SpendingGuard(max_usd=0.035)
    with client(Answers(ok()), pricing=Pricing(load_provider("nanogpt"), mock=True), budget=guard) as one:
        one.generate("x", size=(256, 256))
        with pytest.raises(SpendingLimitReached):
            one.generate("x", size=(256, 256))
    useless = Answers(httpx.Response(200, json={**OK, "cost": 0.5, "data": []}))
    with client(useless, pricing=Pricing(load_provider("nanogpt"), mock=True), budget=(guard := SpendingGuard(max_usd=1))) as one:
        with pytest.raises(ClientError):
            one.generate("x", size=(256, 256))
        assert guard.usd == pytest.approx(0.5)


def test_others_wait_for_what_the_first_answer_shows() -> None:
    """Sixteen calls at once of a server that bills three times the price: never over the limit, and none waits for ever."""
    answers = Answers(httpx.Response(200, json={**ok().json(), "cost": 0.042}))
    guard = SpendingGuard(max_usd=0.3)

    async def ask(one: AsyncClient) -> None:
        with suppress(SpendingLimitReached):
            await one.generate("x", size=(256, 256))

    async def main() -> None:
        def answer(request: httpx.Request) -> httpx.Response:
            return answers(request)

        terms: Any = {"pricing": Pricing(load_provider("nanogpt"), mock=True), "budget": guard}
        transport = httpx.MockTransport(answer)
        async with (
            AsyncClient("nanogpt", base_url="http://127.0.0.1:9", api_key=SECRET, transport=transport, **terms) as one,
            anyio.create_task_group() as group,
        ):
            for _ in range(16):
                group.start_soon(ask, one)

    anyio.run(main)
    assert len(answers.asked) == 7
    assert guard.usd == pytest.approx(7 * 0.042)


def test_nobody_waits_for_a_stream_that_its_reader_has_left_for_something_else() -> None:
    """Between two pieces a program may ask for more itself: it would wait for its own reading. Once it reads on, others wait again."""
    text = b'data: {"choices": [{"index": 0, "delta": {"content": "a "}}]}\n\n'
    stream = httpx.Response(200, content=text * 2, headers={"content-type": "text/event-stream"})
    pricing, guard = Pricing(load_provider("nvidia-nim-vision"), mock=True), SpendingGuard(max_usd=0.02)

    def fits() -> bool:
        held = guard.reserve(0.001, "other")
        if held is not None:
            guard.settle(held, 0.0)
        return held is not None

    fitted: list[bool] = []
    options: dict[str, Any] = {"pricing": pricing, "budget": guard, "hooks": [lambda event: fitted.append(fits())]}
    with client(Answers(stream), "nvidia-nim-vision", **options) as one, one.describe(plain(), stream=True, max_tokens=100) as pieces:
        next(pieces)
        assert fits()
        assert fitted == [True, False], "as it began, as it was sent"
        next(pieces)
        assert fits()


@pytest.mark.parametrize("given_up", [True, False])
def test_what_nobody_knows_the_cost_of_counts_as_others_did(given_up: bool) -> None:
    """What was never answered, or handed in, may have been billed as others were: three times the price."""
    guard = SpendingGuard(max_usd=0.1)
    first, second = guard.reserve(0.01, "m"), guard.reserve(0.01, "m")
    assert first is not None
    assert second is not None
    if given_up:
        guard.settle(first, None)
    else:
        guard.leave(first)
    assert guard.reserve(0.01, "another") is None, "both kinds come out of one purse"
    guard.settle(second, 0.03)
    assert guard.usd == pytest.approx(0.06)
    guard.settle(first, 0.01)
    assert guard.usd == pytest.approx(0.04)


def test_work_that_was_done_as_it_was_handed_in_counts_at_once() -> None:
    """Its answer states the cost; whether anybody waits for it makes no difference."""
    dear = httpx.Response(200, json={**ok().json(), "cost": 0.042})
    guard = SpendingGuard(max_usd=0.1)
    with client(Answers(dear), pricing=Pricing(load_provider("nanogpt"), mock=True), budget=guard) as one:
        handles = [one.submit("x", size=(256, 256)) for _ in range(2)]
        with pytest.raises(SpendingLimitReached):
            one.submit("x", size=(256, 256))
        assert handles[0].wait().cost_usd == 0.042
    assert guard.usd == pytest.approx(0.084)


def test_what_is_sent_again_is_reserved_again_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """A request that died on a kept connection may have been billed: both count, and without room it is not sent again."""
    monkeypatch.setattr("testcard.harness.client.http.is_stale", lambda error: True)
    dead = httpx.ReadError("gone")
    pricing = Pricing(load_provider("nanogpt"), mock=True)
    guard = SpendingGuard(max_requests=2, max_usd=1)
    with client(Answers(dead, ok()), pricing=pricing, budget=guard) as one:
        assert any("sent twice" in note for note in one.generate("x", size=(256, 256)).notes)
    assert (guard.requests, guard.usd) == (2, pytest.approx(0.04))
    answers = Answers(dead, ok())
    with client(answers, pricing=pricing, budget=SpendingGuard(max_requests=1)) as one, pytest.raises(SpendingLimitReached):
        one.generate("x", size=(256, 256))
    assert len(answers.asked) == 1


def test_refusals_count_where_a_price_says_so() -> None:
    """A price that is billed for failures too: a 400 counts, a 401 does not."""
    models = {"*": PerImage(kind="per-image", usd_each=0.01, billed_on="always")}
    pricing = Pricing(load_provider("nanogpt"), True, PricesSection(models=models))
    for status, usd in ((400, 0.01), (401, 0.0)):
        guard = SpendingGuard(max_usd=1)
        with client(Answers(refused(status)), pricing=pricing, budget=guard) as one, pytest.raises(ClientError):
            one.generate("x", size=(256, 256))
        assert guard.usd == pytest.approx(usd)


class Tracer:
    """What OpenTelemetry's tracer does, as far as the hook asks it."""

    def __init__(self) -> None:
        self.spans: list[dict[str, Any]] = []

    def start_span(self, name: str, attributes: dict[str, Any]) -> Tracer:
        self.spans.append({"name": name, **attributes})
        return self

    def set_attribute(self, name: str, value: Any) -> None:
        self.spans[-1][name] = value

    def add_event(self, name: str, attributes: dict[str, Any]) -> None:
        self.spans[-1].setdefault("events", []).append(name)

    def set_status(self, code: Any, said: str) -> None:
        self.spans[-1]["status"] = said

    def record_exception(self, error: BaseException) -> None:
        self.spans[-1]["exception"] = error

    def end(self) -> None:
        self.spans[-1]["ended"] = True


def test_hooks_hear_of_every_request(slept: list[float], caplog: pytest.LogCaptureFixture) -> None:
    """In order, with one number a call, and never a key; a line in the log; a span with model, size, cost and attempts."""
    events: list[ClientEvent] = []
    tracer = Tracer()
    hooks = (events.append, log_calls(), OpenTelemetryHook(tracer))
    with caplog.at_level(logging.INFO), client(Answers(refused(429), ok(), refused(500)), hooks=hooks, retry=Retry(2)) as one:
        one.generate("x", size=(256, 256), model="hidream")
        with pytest.raises(ServerFailed):
            one.generate("y")
    assert [event.kind for event in events[:7]] == ["began", "sent", "received", "retrying", "sent", "received", "ended"]
    assert len({event.call for event in events}) == 2
    assert events[-1].kind == "failed"
    assert SECRET not in repr(events) + caplog.text
    assert "1 pictures" in caplog.text
    first, second = tracer.spans
    assert (first["gen_ai.request.model"], first["testcard.size"], first["testcard.cost_usd"]) == ("hidream", "256x256", 0.02)
    assert (first["testcard.attempts"], first["ended"], second["error.type"]) == (2, True, "ServerFailed")


class Slow(httpx.AsyncBaseTransport):
    """Answers when it is too late."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await anyio.sleep(30)
        raise AssertionError("nobody waits so long")


def test_a_call_that_nobody_waits_for_ends_for_its_hooks() -> None:
    """Closed streams, cancelled calls, callbacks that raise: each has an end, and no span stays open."""
    kinds: list[str] = []
    spans = OpenTelemetryHook(Tracer())
    hooks = (lambda event: kinds.append(event.kind), spans)
    text = b'data: {"choices": [{"index": 0, "delta": {"content": "a"}}]}\n\n'
    stream = httpx.Response(200, content=text * 2, headers={"content-type": "text/event-stream"})
    with client(Answers(stream), "nvidia-nim-vision", hooks=hooks) as one, one.describe(plain(), stream=True) as pieces:
        assert next(pieces) == "a"
    assert (kinds[0], kinds[-1]) == ("began", "abandoned")

    async def cancelled() -> None:
        async with AsyncClient("nanogpt", base_url="http://127.0.0.1:9", api_key=SECRET, hooks=hooks, transport=Slow()) as other:
            with anyio.move_on_after(0.05):
                await other.generate("x")

    kinds.clear()
    anyio.run(cancelled)
    assert kinds == ["began", "sent", "abandoned"]
    assert not spans._open


def test_a_task_is_a_span_of_handing_in_and_one_of_waiting() -> None:
    """The first ends though nobody may ever wait; a failed one says so; the number of the call is one."""
    events: list[ClientEvent] = []
    spans = OpenTelemetryHook(Tracer())
    accepted = httpx.Response(202, json={"task_address": "0xabc", "status": "queued"})
    failed = httpx.Response(200, json={"task_address": "0xabc", "status": "failed", "error": "no"})
    with client(Answers(accepted, failed, failed), "opengpu-relay", hooks=(events.append, spans), poll_interval_s=0.0) as one:
        task = one.submit("a red boat", operation="generateQwen")
        assert ([event.kind for event in events], spans._open) == (["began", "sent", "received", "accepted"], {})
        with pytest.raises(TaskFailed):
            task.wait()
    assert [event.kind for event in events[4:]] == ["began", "sent", "received", "failed"]
    assert (len({event.call for event in events}), spans._open) == (1, {})


def test_an_error_has_its_exchange_and_no_key() -> None:
    """What was sent and what came, byte for byte but for the key; no repr shows one."""
    echo = httpx.Response(500, text=f"your key {SECRET} broke it")
    with client(Answers(echo)) as one:
        assert SECRET not in repr(one) + repr(one.settings)
        with pytest.raises(ServerFailed) as caught:
            one.generate("a red boat")
    found = caught.value.exchange
    assert found is not None
    assert (found.method, found.status, b"a red boat" in found.request_body) == ("POST", 500, True)
    assert SECRET.encode() not in found.body
    assert SECRET not in repr(found.request_headers) + repr(found) + str(caught.value) + repr(caught.value)


@pytest.mark.parametrize("status", [401, 429, 500, 200])
def test_what_was_understood_of_an_error_holds_no_key(status: int) -> None:
    """Error trackers keep an error's fields: what a server repeats of the key is taken out of `answer` too, whatever it stood in."""
    said = httpx.Response(status, json={"error": status, "message": f"no {SECRET}", "more": [{SECRET: 1}, ["a", SECRET]]})
    with client(Answers(said)) as one, pytest.raises(ClientError) as caught:
        one.generate("a red boat")
    answer = caught.value.answer
    assert answer is not None
    assert answer.status == status
    assert answer.json["more"][1][0] == "a"
    assert SECRET not in repr(answer) + repr(vars(caught.value))


@pytest.mark.parametrize(
    "options",
    [{"timeout_s": float("nan")}, {"timeout_s": -1.0}, {"poll_timeout_s": float("inf")}, {"api_key": "ключ"}, {"api_key": "two\nlines"}],
    ids=str,
)
def test_what_bounds_nothing_or_cannot_be_sent_is_refused_at_once(options: dict[str, Any]) -> None:
    """Times that never end, and keys that no header can carry, which the message does not show."""
    with pytest.raises(UsageError) as caught:
        Client("nanogpt", **{"base_url": "http://127.0.0.1:9", "api_key": SECRET, **options})
    assert str(options.get("api_key")) not in str(caught.value)
    with pytest.raises(UsageError):
        Retry(attempts=2, deadline_s=float("nan"))


def test_what_no_task_or_key_can_be_called_is_the_callers_mistake() -> None:
    """An empty or wandering id of a task, and an idempotency key that no header can carry: nothing is sent, and no target is accused."""
    answers = Answers(ok())
    with client(answers, "opengpu-relay") as one:
        for task_id in ("", "..", "../../v2/tasks/1"):
            with pytest.raises(UsageError, match="id of no task"):
                one.resume(task_id)
        for key in ("", "ключ", "two\r\nlines: x"):
            with pytest.raises(UsageError, match="idempotency key"):
                one.submit("a red boat", idempotency_key=key)
    assert answers.asked == []
