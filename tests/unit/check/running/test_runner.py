"""The runner, against servers that live in the test: order, budget at concurrency, stops, patience, what is recorded."""

from __future__ import annotations

import asyncio
import base64
import gc
import json
import random
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import httpx
import pytest

from testcard.harness.check.generation.plan import Plan, choose_rules, make_plan
from testcard.harness.check.judging.verdicts import judge_records
from testcard.harness.check.running import following
from testcard.harness.check.running.runner import Carried, CheckSettings, Tell, carry_out, nobody
from testcard.harness.check.spending.budget import NO_LIMITS, SpendingLimits
from testcard.harness.errors import Exit, KeyRefused, TargetUnreachable
from testcard.harness.events import Event, Noted
from testcard.harness.pricing import Pricing
from testcard.harness.rules.sent_pictures import input_picture
from testcard.harness.runs.folder import in_plan_order
from testcard.harness.selftest.mock_runs import Memory
from testcard.harness.stops import Stop, StopReason, sentence
from testcard.harness.wire import decode as wire_decode
from testcard.specs.loader import load_provider

NANOGPT = load_provider("nanogpt")
PICTURE = base64.b64encode(input_picture().data).decode()
KEY = "sk-runner-0123456789"
Answer = Callable[[httpx.Request], Awaitable[httpx.Response]]


def plan(
    *, rules: tuple[str, ...] = ("request.accepts-valid", "auth.required", "image.count"), provider: str = "nanogpt", cases: bool = False
) -> Plan:
    """A plan of probes only (generated cases have tests of their own)."""
    loaded = load_provider(provider)
    return make_plan(
        loaded,
        Pricing(loaded, mock=True),
        rules=choose_rules(rules),
        operations=tuple(loaded.profile.operations),
        cases=cases,
    )


def run(
    of: Plan,
    answer: Answer,
    *,
    limits: SpendingLimits = NO_LIMITS,
    concurrency: int = 8,
    patience_s: float = 60.0,
    timeout_s: float = 330.0,
    tell: Tell = nobody,
) -> tuple[Carried, Memory]:
    memory = Memory()
    carried = asyncio.run(
        carry_out(
            of,
            CheckSettings("http://target.test", KEY, concurrency, poll_interval_s=0.001, patience_s=patience_s, timeout_s=timeout_s),
            Pricing(of.provider, mock=True),
            memory,
            limits=limits,
            transport=httpx.MockTransport(answer),
            tell=tell,
        )
    )
    return carried, memory


def pictures(count: int = 1) -> httpx.Response:
    return httpx.Response(200, json={"created": 1, "data": [{"b64_json": PICTURE}] * count, "cost": 0.01 * count})


async def conforming(request: httpx.Request) -> httpx.Response:
    if request.headers.get("authorization") != f"Bearer {KEY}":
        return httpx.Response(401, json={"error": 401, "message": "no"})
    return pictures(json.loads(request.content).get("n", 1))


def test_ids_keep_the_order_of_the_plan() -> None:
    """Whatever finishes first is recorded first; the numbers of the ids bring exchanges back into the order of the plan."""
    source = random.Random(1)

    async def jittery(request: httpx.Request) -> httpx.Response:
        await asyncio.sleep(source.random() * 0.02)
        return await conforming(request)

    of = plan()
    carried, memory = run(of, jittery)
    assert [one.id for one in memory.exchanges] != [step.id for step in of.steps], "the answers came in another order"
    assert [one.id for one in in_plan_order(memory.exchanges)] == [step.id for step in of.steps]
    assert [one.probe for one in in_plan_order(memory.exchanges)] == [step.probe for step in of.steps]
    assert not carried.outcome.not_sent
    assert carried.budget.spend.requests == len(of.steps)


@pytest.mark.parametrize("seed", range(6))
def test_never_a_sixth_picture_at_concurrency_32(seed: int) -> None:
    """--max-images 5 holds with 32 requests at a time, slow and refusing servers included; the count is the server's own."""
    source = random.Random(seed)
    billed = 0

    async def server(request: httpx.Request) -> httpx.Response:
        nonlocal billed
        await asyncio.sleep(source.random() * 0.01)
        if billed and source.random() < 0.3:
            return httpx.Response(source.choice([400, 422, 500]), json={"error": 1, "message": "no"})
        count = json.loads(request.content).get("n", 1)
        billed += count
        return pictures(count)

    of = plan(rules=("request.accepts-valid", "request.refuses-invalid"), cases=True)
    carried, _ = run(of, server, limits=SpendingLimits(max_images=5), concurrency=32)
    assert billed <= 5
    assert carried.budget.spend.images == billed
    assert set(carried.outcome.not_sent.values()) == {Stop(reason=StopReason.IMAGES_SPENT, limit=5)}


def test_steps_that_need_it_run_alone() -> None:
    """What the balance is followed by is sent with no other request under way, at any concurrency; everything else side by side."""
    under_way: list[dict[str, object]] = []
    beside: dict[str, int] = {}

    async def server(request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content)
        under_way.append(body)
        for one in under_way:
            key = json.dumps(one, sort_keys=True)
            beside[key] = max(beside.get(key, 0), len(under_way))
        await asyncio.sleep(0.005)
        under_way.remove(body)
        return await conforming(request)

    of = plan(rules=("answer.balance-falls", "request.accepts-valid"), cases=True)
    _, memory = run(of, server, concurrency=16)
    alone = [step for step in of.steps if step.alone]
    assert [step.probe for step in alone] == ["generate/n:2", "generate/seed-again", "generate/prompt:another"]
    for step in alone:
        assert beside[json.dumps(dict(step.fields.body), sort_keys=True)] == 1
    assert max(beside.values()) > 4
    assert len(memory.exchanges) == len(of.steps)


def test_requests_that_show_nothing_new_are_left_out_without_a_verdict_lacking_them() -> None:
    """A server that takes everything is asked twice in each way; what was left out is neither not sent nor not judged."""

    async def lax(request: httpx.Request) -> httpx.Response:
        return pictures()

    of = plan(rules=("request.refuses-invalid",), cases=True)
    carried, memory = run(of, lax)
    assert not carried.outcome.not_sent
    assert {len(memory.exchanges) + len(carried.outcome.spared)} == {len(of.steps)}
    assert set(carried.outcome.spared.values()) == {"enough of its kind"}
    kinds = [step.kind for step in of.steps if step.kind is not None and step.number not in carried.outcome.spared]
    assert {kind: kinds.count(kind) for kind in kinds} == dict.fromkeys(kinds, 2)
    judged = judge_records(of.scopes, of.rules, memory.exchanges, memory.bytes_of, not_sent=carried.not_sent(of))
    assert [one.verdict for one in judged.verdicts] == ["fail"]


def test_max_requests_counts_every_request() -> None:
    """--max-requests counts what the server sees, fetched pictures and polls included."""
    seen = 0

    async def server(request: httpx.Request) -> httpx.Response:
        nonlocal seen
        seen += 1
        if request.method == "GET":
            return httpx.Response(200, content=input_picture().data, headers={"content-type": "image/png"})
        return httpx.Response(200, json={"created": 1, "data": [{"url": "http://target.test/p.png"}]})

    run(plan(), server, limits=SpendingLimits(max_requests=7), concurrency=32)
    assert seen == 7


def test_a_second_plan_sends_the_same() -> None:
    """The requests that reach the server are the same, in the same order, with one connection at a time."""
    first: list[bytes] = []
    second: list[bytes] = []

    def recording(into: list[bytes]) -> Answer:
        async def server(request: httpx.Request) -> httpx.Response:
            into.append(request.method.encode() + str(request.url).encode() + request.content)
            return await conforming(request)

        return server

    run(plan(), recording(first), concurrency=1)
    run(plan(), recording(second), concurrency=1)
    assert first == second
    assert len(first) == len(plan().steps)


def test_nothing_there_is_said_at_once() -> None:
    """A refused connection on the first request ends the run with exit 3 and a next step."""

    async def nobody(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    with pytest.raises(TargetUnreachable) as caught:
        run(plan(), nobody)
    assert caught.value.exit_code == 3
    assert "testcard mock" in str(caught.value.hint)


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_is_said_at_once(status: int) -> None:
    """401 or 403 to the first keyed request ends the run with exit 3, naming the variable; only that one request was sent."""
    seen = 0

    async def strict(request: httpx.Request) -> httpx.Response:
        nonlocal seen
        seen += 1
        return httpx.Response(status, json={"error": status, "message": "bad key"})

    with pytest.raises(KeyRefused) as caught:
        run(plan(), strict)
    assert "NANOGPT_API_KEY" in str(caught.value.hint)
    assert seen == 1


@pytest.mark.parametrize(("status", "message"), [(402, "pay"), (403, "your account has no credit left")])
def test_an_empty_account_stops_the_run(status: int, message: str) -> None:
    """402, or 403 on the account, in the middle: nothing more is sent, what was seen is kept, the run is inconclusive."""
    seen = 0

    async def server(request: httpx.Request) -> httpx.Response:
        nonlocal seen
        seen += 1
        return await conforming(request) if seen <= 4 else httpx.Response(status, json={"error": status, "message": message})

    of = plan()
    carried, memory = run(of, server, concurrency=1)
    assert seen == 5
    assert carried.outcome.stopped is not None
    assert (carried.outcome.stopped.reason, carried.outcome.stopped.status) == (StopReason.ACCOUNT_REFUSED, status)
    assert message in sentence(carried.outcome.stopped)
    judged = judge_records(of.scopes, of.rules, memory.exchanges, memory.bytes_of, not_sent=carried.not_sent(of), stopped=True)
    assert judged.outcome == "inconclusive"
    assert {one.verdict for one in judged.verdicts} <= {"not-run", "pass"}


def test_a_403_on_one_prompt_belongs_to_it() -> None:
    """A 403 that does not speak of the account does not stop the run."""

    async def moderate(request: httpx.Request) -> httpx.Response:
        if json.loads(request.content).get("n") == 2:
            return httpx.Response(403, json={"error": 403, "message": "this prompt is not allowed"})
        return await conforming(request)

    of = plan()
    carried, memory = run(of, moderate)
    assert carried.outcome.stopped is None
    assert len(memory.exchanges) == len(of.steps)


def test_429_is_waited_out() -> None:
    """A 429 is sent again after its Retry-After, both are recorded, and nothing but a 429 ever is."""
    turns: dict[bytes, int] = {}

    async def limited(request: httpx.Request) -> httpx.Response:
        if request.headers.get("authorization") != f"Bearer {KEY}":
            return httpx.Response(401)
        turns[request.content] = turns.get(request.content, 0) + 1
        if turns[request.content] == 1:
            return httpx.Response(429, headers={"retry-after": "0"}, json={"error": 429, "message": "slow down"})
        return await conforming(request)

    of = plan()
    _, memory = run(of, limited)
    keyed = [step for step in of.steps if step.key_use == "right"]
    assert all(count == 2 for count in turns.values())
    assert sum(one.id.endswith(".r1") for one in memory.exchanges) == len(keyed)
    judged = judge_records(of.scopes, of.rules, memory.exchanges, memory.bytes_of)
    assert judged.outcome == "pass"


def test_a_long_retry_after_is_not_waited_for() -> None:
    """A Retry-After beyond the time budget is not obeyed by sleeping: the request stays refused, and proves nothing."""

    async def limited(request: httpx.Request) -> httpx.Response:
        if json.loads(request.content).get("n") == 2:
            return httpx.Response(429, headers={"retry-after": "3600"})
        return await conforming(request)

    _, memory = run(plan(), limited, patience_s=1.0)
    assert [one.response.status for one in memory.exchanges if one.probe == "generate/n:2" and one.response] == [429]


@pytest.mark.parametrize("status", [500, 502, 504])
def test_a_failed_request_is_never_sent_again(status: int) -> None:
    """A 5xx to a billed request is final."""
    bodies: list[bytes] = []

    async def failing(request: httpx.Request) -> httpx.Response:
        bodies.append(request.content)
        return pictures() if len(bodies) == 1 else httpx.Response(status)  # the base request is carried out

    of = plan(rules=("image.count",))
    run(of, failing)
    assert len(bodies) == len(of.steps)


def test_a_silent_base_spares_the_rest() -> None:
    """When the base request times out, the operation's other requests are not sent: they would wait as long."""
    seen = 0

    async def silent(request: httpx.Request) -> httpx.Response:
        nonlocal seen
        seen += 1
        raise httpx.ReadTimeout("slow", request=request)

    of = plan(rules=("image.count", "seed.repeatable"))
    carried, memory = run(of, silent)
    assert seen == 1
    assert memory.exchanges[0].failure == "timeout"
    assert set(carried.outcome.not_sent.values()) == {Stop(reason=StopReason.OPERATION_SILENT, target="createImage")}
    assert carried.budget.spend.images == 1


@pytest.mark.parametrize("status", [400, 404, 422, 500])
def test_a_refused_base_spares_the_rest(status: int) -> None:
    """What is made from a request that is refused shows nothing: the rest is not sent, nor billed, and the server's words are kept."""
    bodies: list[bytes] = []

    async def refusing(request: httpx.Request) -> httpx.Response:
        bodies.append(request.content)
        return httpx.Response(status, json={"error": {"message": "no such model", "type": "invalid_request_error", "code": None}})

    of = plan(rules=("image.count", "seed.repeatable"))
    carried, _ = run(of, refusing)
    assert len(bodies) == 1 < len(of.steps)
    stop = Stop(reason=StopReason.OPERATION_REFUSED, target="createImage", status=status, detail="no such model")
    assert set(carried.outcome.not_sent.values()) == {stop}
    assert carried.budget.spend.billed_requests == 0


def test_a_base_that_is_an_error_called_a_success_spares_the_rest() -> None:
    """A 200 that holds nothing but an error is a refusal too."""
    seen = 0

    async def failing(request: httpx.Request) -> httpx.Response:
        nonlocal seen
        seen += 1
        return httpx.Response(200, json={"error": {"message": "upstream failed"}})

    carried, _ = run(plan(rules=("image.count", "seed.repeatable")), failing)
    assert seen == 1
    (stop,) = set(carried.outcome.not_sent.values())
    assert sentence(stop) == "the base request of createImage was answered with 200 and an error: upstream failed"


def test_a_base_that_is_redirected_spares_the_rest() -> None:
    """A submission that is only ever sent elsewhere shows nothing of the contract."""
    seen = 0

    async def server(request: httpx.Request) -> httpx.Response:
        nonlocal seen
        seen += 1
        return httpx.Response(307, headers={"location": "/elsewhere"})

    carried, _ = run(plan(rules=("request.accepts-valid", "image.count")), server)
    assert {stop.reason for stop in carried.outcome.not_sent.values()} == {StopReason.OPERATION_REFUSED}
    assert seen < len(plan(rules=("request.accepts-valid", "image.count")).steps)


def test_a_base_that_is_limited_does_not_stop_the_rest() -> None:
    """A 429 asks for patience, and says nothing about the request."""
    seen = 0

    async def limited(request: httpx.Request) -> httpx.Response:
        nonlocal seen
        seen += 1
        return httpx.Response(429, headers={"retry-after": "3600"})

    of = plan(rules=("image.count",))
    run(of, limited)
    assert seen == len(of.steps) > 1


def test_a_check_learns_from_a_request_without_an_answer() -> None:
    """The first one is waited for in full; then what a run waits is a few times the median of the others. It says so, once."""
    told: list[Event] = []

    async def silent(request: httpx.Request) -> httpx.Response:
        if json.loads(request.content).get("n", 1) > 1:
            await asyncio.Event().wait()
        return pictures()

    of = plan(rules=("image.count",))
    carried, memory = run(of, silent, tell=told.append, timeout_s=0.2)
    assert {one.failure for one in memory.exchanges} == {None, "timeout"}
    assert carried.budget.spend.unanswered == 1
    (note,) = [one.sentence for one in told if isinstance(one, Noted)]
    assert "within 0.2 s" in note
    assert "--timeout" not in note


def test_the_key_is_in_no_record() -> None:
    """The key is replaced in request headers, response headers and bodies; an echo is marked; fetched pictures never carry it."""
    fetched: list[httpx.Headers] = []

    async def echoing(request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            fetched.append(request.headers)
            return httpx.Response(200, content=input_picture().data)
        body = {"created": 1, "data": [{"url": "http://elsewhere.test/p.png"}], "paymentSource": f"key {KEY}"}
        return httpx.Response(200, json=body, headers={"x-key": KEY})

    _, memory = run(plan(rules=("image.count",)), echoing)
    assert all(one.response is not None and one.response.key_echoed for one in memory.exchanges if one.source == "probe")
    assert fetched
    assert not any("authorization" in headers for headers in fetched)
    everything = b"".join(memory._bodies.values()) + repr(memory.exchanges).encode()
    assert KEY.encode() not in everything


def test_a_body_cut_short_is_recorded_as_such() -> None:
    """A connection that breaks in the middle leaves status, headers and what came, marked incomplete."""

    class Cut(httpx.AsyncByteStream):
        async def __aiter__(self):  # type: ignore[no-untyped-def]
            yield b'{"data": ['
            raise httpx.RemoteProtocolError("peer closed connection without sending complete message body")

    async def cutting(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, headers={"content-type": "application/json"}, stream=Cut())

    of = plan(rules=("http.body-complete",))
    _, memory = run(of, cutting)
    record = memory.exchanges[0]
    assert record.failure == "broken"
    assert record.response is not None
    assert not record.response.complete
    assert memory.bytes_of(record.response.body) == b'{"data": ['
    judged = judge_records(of.scopes, of.rules, memory.exchanges, memory.bytes_of)
    assert judged.verdicts[0].verdict == "fail"


def test_addresses_that_cannot_be_fetched_are_left_alone() -> None:
    """file:, data: and relative addresses in an answer are not followed."""
    asked: list[str] = []

    async def odd(request: httpx.Request) -> httpx.Response:
        asked.append(request.method)
        urls = ["file:///etc/passwd", "data:image/png;base64,AAAA", "/relative.png", "http://user:pass@host/x.png"]
        return httpx.Response(200, json={"created": 1, "data": [{"url": url} for url in urls]})

    run(plan(rules=("image.decodes",)), odd)
    assert set(asked) == {"POST"}


def test_a_request_that_waits_out_a_429_is_not_sent_after_a_stop() -> None:
    """One request waits for its Retry-After while another is told 402: the waiting one was refused, costs nothing, and stays unsent."""
    seen: list[tuple[str, float]] = []
    loop_time: Callable[[], float] = lambda: asyncio.get_running_loop().time()  # noqa: E731 (the loop exists only later)
    paid_at = 0.0

    async def server(request: httpx.Request) -> httpx.Response:
        nonlocal paid_at
        body = json.loads(request.content)
        seen.append((str(body.get("n", 1)), loop_time()))
        if len(seen) == 1:
            return pictures()
        if body.get("n") == 2:
            return httpx.Response(429, headers={"retry-after": "1"}, json={"error": 429, "message": "slow down"})
        await asyncio.sleep(0.05)
        paid_at = loop_time()
        return httpx.Response(402, json={"error": 402, "message": "pay"})

    of = plan(rules=("image.count", "seed.repeatable"))
    carried, memory = run(of, server)
    waited = next(step for step in of.steps if step.fields.body.get("n") == 2)
    assert [number for number, _ in seen].count("2") == 1
    assert carried.outcome.stopped is not None
    assert carried.outcome.stopped.reason is StopReason.ACCOUNT_REFUSED
    assert carried.outcome.not_sent[waited.number] == carried.outcome.stopped
    assert [one.id for one in memory.exchanges if one.id.startswith(waited.id)] == [f"{waited.id}.r1"]
    assert carried.budget.spend.requests == len(seen)
    assert carried.budget.spend.images == 1
    judged = judge_records(of.scopes, of.rules, memory.exchanges, memory.bytes_of, not_sent=carried.not_sent(of), stopped=True)
    assert next(one for one in judged.verdicts if one.rule == "image.count").verdict == "not-run"


def test_a_request_that_waits_for_another_is_not_sent_after_a_stop() -> None:
    """A probe that follows another one's answer is not sent when that answer stops the run."""
    seen = 0

    async def server(request: httpx.Request) -> httpx.Response:
        nonlocal seen
        seen += 1
        return pictures() if seen == 1 else httpx.Response(402, json={"error": 402, "message": "pay"})

    of = plan(rules=("image.count", "seed.repeatable"))
    last = of.steps[-1]
    chained = replace(of, steps=(*of.steps[:-1], replace(last, after=of.steps[1].probe)))
    carried, memory = run(chained, server)
    assert last.number in carried.outcome.not_sent
    assert last.id not in {one.id for one in memory.exchanges}
    assert carried.budget.in_flight == 0
    assert carried.budget.spend.requests == seen


@pytest.mark.parametrize("first", [500, 503, 400, 429])
def test_a_key_refused_after_another_failure_is_a_refused_key(first: int) -> None:
    """The very first request fails for another reason, then the key is refused: nothing ever took it, so that is exit 3."""
    seen = 0

    async def server(request: httpx.Request) -> httpx.Response:
        nonlocal seen
        seen += 1
        return httpx.Response(first if seen == 1 else 401, json={"error": first, "message": "no"})

    with pytest.raises(KeyRefused) as caught:
        run(plan(), server, concurrency=1, patience_s=0.0)
    assert caught.value.exit_code == 3
    assert seen == 2


def test_several_refused_keys_at_once_are_one_error() -> None:
    """What the other requests under way raise is neither printed nor lost: nothing is left for asyncio to complain of."""
    complaints: list[object] = []
    answered = 0

    async def server(request: httpx.Request) -> httpx.Response:
        nonlocal answered
        answered += 1
        if answered == 1:
            return httpx.Response(429, json={"error": 429, "message": "later"})
        await asyncio.sleep(0.01)
        return httpx.Response(401, json={"error": 401, "message": "no"})

    async def checked() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: complaints.append(context))
        of = plan(provider="nebul")
        settings = CheckSettings("http://target.test", KEY, 8, poll_interval_s=0.001, patience_s=0.0)
        with pytest.raises(KeyRefused):
            await carry_out(of, settings, Pricing(of.provider, mock=True), Memory(), transport=httpx.MockTransport(server))
        gc.collect()
        await asyncio.sleep(0)

    asyncio.run(checked())
    assert answered > 2
    assert complaints == []


def test_a_key_refused_after_it_was_taken_stops_the_run() -> None:
    """A 401 after successes is no wrong key but one that is not taken any more: the run stops as inconclusive and says so."""
    seen = 0

    async def server(request: httpx.Request) -> httpx.Response:
        nonlocal seen
        seen += 1
        return await conforming(request) if seen <= 2 else httpx.Response(401, json={"error": 401, "message": "expired"})

    carried, _ = run(plan(), server, concurrency=1)
    assert carried.outcome.stopped is not None
    assert carried.outcome.stopped.reason is StopReason.KEY_REFUSED
    assert "accepted the key before" in sentence(carried.outcome.stopped)


def test_an_answer_is_recorded_as_soon_as_it_is_there() -> None:
    """While one early request is still under way, all later ones that were answered are in the record: a kill would lose only the one."""
    recorded_meanwhile: list[str] = []
    memory = Memory()
    of = plan()
    slow = next(step for step in of.steps if step.fields.body.get("n") == 2)

    async def server(request: httpx.Request) -> httpx.Response:
        if json.loads(request.content).get("n") == 2:
            while len(memory.exchanges) < len(of.steps) - 1:
                await asyncio.sleep(0.001)
            recorded_meanwhile.extend(one.id for one in memory.exchanges)
        return await conforming(request)

    settings = CheckSettings("http://target.test", KEY, 8, poll_interval_s=0.001)
    asyncio.run(
        asyncio.wait_for(
            carry_out(of, settings, Pricing(of.provider, mock=True), memory, transport=httpx.MockTransport(server)), timeout=30
        )
    )
    assert sorted(recorded_meanwhile) == [step.id for step in of.steps if step.id != slow.id]
    assert memory.exchanges[-1].id == slow.id


@pytest.mark.parametrize("limits", [SpendingLimits(max_images=5), SpendingLimits(max_cost_usd=0.07)])
def test_a_target_that_adds_to_every_answer_passes_no_limit(limits: SpendingLimits) -> None:
    """The first answers are refusals, which teach nothing; then each brings a picture more than asked for: still no sixth one is sent."""
    billed = seen = 0

    async def server(request: httpx.Request) -> httpx.Response:
        nonlocal billed, seen
        seen += 1
        mine = seen
        await asyncio.sleep(0.001 * (mine % 3))
        if mine <= 2:
            return httpx.Response(429, json={"error": 429, "message": "slow down"})
        count = json.loads(request.content).get("n", 1) + 1
        billed += count
        return pictures(count)

    of = plan(rules=("request.accepts-valid",), cases=True)
    carried, _ = run(of, server, limits=limits, concurrency=32, patience_s=0.0)
    assert 0 < billed <= 5
    assert carried.budget.spend.images == billed


def test_a_body_cut_short_counts_as_all_that_it_may_have_held() -> None:
    """A target that adds a picture to each answer and cuts some of them off: what cannot be seen of them is counted all the same."""
    billed = 0

    class Cut(httpx.AsyncByteStream):
        async def __aiter__(self):  # type: ignore[no-untyped-def]
            yield json.dumps({"created": 1, "data": [{"b64_json": PICTURE}]}).encode()
            raise httpx.RemoteProtocolError("peer closed connection without sending complete message body")

    async def server(request: httpx.Request) -> httpx.Response:
        nonlocal billed
        billed += json.loads(request.content).get("n", 1) + 1
        if billed == 2:
            return pictures(2)
        return httpx.Response(200, headers={"content-type": "application/json"}, stream=Cut())

    carried, _ = run(plan(rules=("request.accepts-valid",), cases=True), server, limits=SpendingLimits(max_images=5), concurrency=8)
    assert billed <= 5
    assert carried.budget.spend.images >= billed


def test_an_answer_that_makes_us_raise_is_recorded_and_the_rest_is_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading one answer raises, following another: both are recorded and booked, every other request is sent and judged, and it is our error."""
    real_reading, real_following = wire_decode._decoded, following.follow

    def reading(provider: Any, operation: str, response: Any, *, poll: bool) -> Any:
        if response.header("x-odd") == "reading":
            raise OverflowError("oh\x1b no")
        return real_reading(provider, operation, response, poll=poll)

    def followed(conditions: Any, answer: Any, at_s: float) -> Any:
        if len(asked) == 3:
            raise KeyError("follow")
        return real_following(conditions, answer, at_s)

    monkeypatch.setattr(wire_decode, "_decoded", reading)
    monkeypatch.setattr(following, "follow", followed)
    asked: list[httpx.Request] = []

    async def server(request: httpx.Request) -> httpx.Response:
        if request.headers.get("authorization") != f"Bearer {KEY}":
            return httpx.Response(401, json={"error": 401, "message": "no"})
        asked.append(request)
        found = json.loads(pictures(json.loads(request.content).get("n", 1)).content)
        return httpx.Response(200, json=found, headers={"x-odd": "reading"} if len(asked) == 2 else {})

    of = plan(rules=("image.count", "answer.required-fields"))
    carried, memory = run(of, server, concurrency=1)
    assert carried.outcome.stopped is None
    assert {one.id for one in memory.exchanges} >= {step.id for step in of.steps}
    assert [one.message for one in carried.outcome.mistakes] == ["KeyError: 'follow'"]
    assert carried.budget.spend.billed_requests == len(asked)
    judged = judge_records(of.scopes, of.rules, in_plan_order(memory.exchanges), memory.bytes_of)
    assert [(one.rule, one.exchanges, one.message) for one in judged.errors] == [("", [of.steps[1].id], "OverflowError: oh\\x1b no")]
    assert judged.exit_code == Exit.INTERNAL
    assert {one.verdict for one in judged.verdicts} == {"unproven"}
