"""What a check follows: tasks through failed polls to their end, redirects hop by hop, within the budget, at no cost."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import httpx
import msgspec
import pytest

from testcard.harness.check.generation.plan import Plan, choose_rules, make_plan
from testcard.harness.check.running.following import leading_on
from testcard.harness.check.running.runner import Carried, CheckSettings, carry_out
from testcard.harness.check.spending.budget import NO_LIMITS, SpendingLimits
from testcard.harness.intake.limits import limits
from testcard.harness.pricing import Pricing
from testcard.harness.rules.evidence import see
from testcard.harness.rules.sent_pictures import input_picture
from testcard.harness.selftest.mock_runs import Memory
from testcard.harness.wire.model import Answer, AsyncTask, DeliveredPicture
from testcard.specs.loader import load_provider

RELAY = load_provider("opengpu-relay")
PROTOCOL = RELAY.profile.asynchronous
assert PROTOCOL is not None


def plan(*rules: str) -> Plan:
    chosen = choose_rules(rules or ("request.accepts-valid",))
    of = make_plan(RELAY, Pricing(RELAY, mock=True), rules=chosen, operations=("generateQwen",), cases=False)
    return replace(of, steps=tuple(step for step in of.steps if "async" in step.probe or step.probe.endswith("/base")))


def run(of: Plan, server: Callable[[httpx.Request], httpx.Response], *, limits: SpendingLimits = NO_LIMITS) -> tuple[Carried, Memory]:
    async def answer(request: httpx.Request) -> httpx.Response:
        return server(request)

    memory = Memory()
    settings = CheckSettings("http://target.test", "sk-polling-0123456789", 8, poll_interval_s=0.001)
    transport = httpx.MockTransport(answer)
    return asyncio.run(carry_out(of, settings, Pricing(RELAY, mock=True), memory, limits=limits, transport=transport)), memory


class Relay:
    """Takes one async task and answers its polls as told; everything else is carried out at once."""

    def __init__(self, *polls: httpx.Response) -> None:
        self._polls = list(polls)
        self.requests: list[str] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(f"{request.method} {request.url.path}")
        if request.url.path.startswith("/v2/tasks/"):
            return self._polls.pop(0) if len(self._polls) > 1 else self._polls[0]
        if request.method == "GET":
            return httpx.Response(200, content=input_picture().data, headers={"content-type": "image/png"})
        if json.loads(request.content).get("async"):
            return httpx.Response(202, json={"task_id": "t1", "status": "queued"})
        return httpx.Response(200, json={"urls": ["http://target.test/p.png"]})


def state(word: str, **more: Any) -> httpx.Response:
    return httpx.Response(200, json={"task_id": "t1", "status": word, "elapsed_seconds": 0.1, **more})


def test_the_picture_behind_failing_polls_is_fetched() -> None:
    """A 503 and a 429 among the polls change nothing: the task is followed to its end and its picture fetched."""
    done = state("completed", result={"urls": ["http://target.test/q.png"]})
    server = Relay(
        httpx.Response(503),
        state("running"),
        httpx.Response(429, headers={"retry-after": "0"}),
        httpx.Response(404),
        state("running"),
        done,
    )
    carried, memory = run(plan(), server)
    polls = [one for one in memory.exchanges if one.source == "poll"]
    assert [one.response.status for one in polls if one.response] == [503, 200, 429, 404, 200, 200, 200]
    assert {one.parent for one in polls} == {next(one.id for one in memory.exchanges if "async" in one.probe)}
    assert server.requests.count("GET /q.png") == 1
    assert carried.budget.spend.images == 2


def fetching(picture: Callable[[httpx.Request], httpx.Response]) -> Callable[[httpx.Request], httpx.Response]:
    """Relay's Qwen, whose picture's address answers as told."""

    def server(request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            return picture(request)
        return httpx.Response(200, json={"urls": ["http://target.test/p.png"]})

    return server


def redirecting(request: httpx.Request) -> httpx.Response:
    onward = {"/p.png": "/q.png", "/q.png": "http://target.test/r.png"}.get(request.url.path)
    if onward is not None:
        return httpx.Response(302, headers={"location": onward})
    return httpx.Response(200, content=input_picture().data, headers={"content-type": "image/png"})


def test_each_redirect_is_an_exchange_of_its_own() -> None:
    """A way of three addresses is three exchanges, each led to by the one before, each with its own status and time; rules see its end."""
    of = plan("delivery.url-fetchable")
    of = replace(of, steps=of.steps[:1])
    _, memory = run(of, fetching(redirecting))
    first, *hops = [one for one in memory.exchanges if one.source == "fetch"]
    base = next(one for one in memory.exchanges if one.source != "fetch")
    assert [one.response.status for one in (first, *hops) if one.response] == [302, 302, 200]
    assert [one.id for one in (first, *hops)] == [f"{base.id}.f1", f"{base.id}.f1.1", f"{base.id}.f1.2"]
    assert [one.parent for one in (first, *hops)] == [base.id, first.id, hops[0].id]
    assert [one.asked["url"] for one in (first, *hops)] == [f"http://target.test/{name}.png" for name in "pqr"]
    assert first.done_s <= hops[0].sent_s
    seen = next(one for one in see(RELAY, memory.exchanges, memory.bytes_of) if one.id == base.id)
    assert [picture.fetched for picture in seen.pictures] == [hops[1].id]
    assert seen.pictures[0].info is not None
    assert seen.pictures[0].info.problem is None


def test_a_circle_of_redirects_is_recorded_and_left() -> None:
    """After as many redirects as the limits allow; the last answer is what the address gave."""
    of = plan("delivery.url-fetchable")
    _, memory = run(replace(of, steps=of.steps[:1]), fetching(lambda request: httpx.Response(302, headers={"location": "/p.png"})))
    fetched = [one for one in memory.exchanges if one.source == "fetch"]
    assert len(fetched) == limits().redirects + 1
    (picture,) = see(RELAY, memory.exchanges, memory.bytes_of)[0].pictures
    assert (picture.info, picture.missing) == (None, "its URL answered with status 302")


def test_redirects_count_as_requests() -> None:
    """--max-requests holds for them too."""
    of = plan("delivery.url-fetchable")
    carried, memory = run(replace(of, steps=of.steps[:1]), fetching(redirecting), limits=SpendingLimits(max_requests=3))
    assert len(memory.exchanges) == carried.budget.spend.requests == 3


def test_an_address_that_redirects_is_looked_at_again_from_its_beginning() -> None:
    """The promise is about the address that the answer named; both ways to the picture are seen as two fetches of it."""
    of = plan("delivery.url-lifetime")
    _, memory = run(replace(of, steps=of.steps[:1]), fetching(redirecting))
    again = [one for one in memory.exchanges if ".again" in one.id]
    assert [one.asked["url"] for one in again] == [f"http://target.test/{name}.png" for name in "pqr"]
    assert [one.parent for one in again[1:]] == [one.id for one in again[:-1]]
    (picture,) = see(RELAY, memory.exchanges, memory.bytes_of)[0].pictures
    assert [one.id for one in picture.downloads] == [next(one.id for one in memory.exchanges if one.id.endswith(".f1.2")), again[-1].id]


def test_a_run_of_an_earlier_version_reads_on() -> None:
    """One exchange for a whole way, whose request is its beginning and whose response its end."""
    of = plan("delivery.url-fetchable")
    _, memory = run(replace(of, steps=of.steps[:1]), fetching(redirecting))
    base, first, _, last = memory.exchanges
    one = msgspec.structs.replace(first, response=last.response)
    (picture,) = see(RELAY, [base, one], memory.bytes_of)[0].pictures
    assert picture.fetched == first.id
    assert picture.info is not None


@pytest.mark.parametrize("redirect", [False, True], ids=["address", "redirect"])
def test_a_result_that_lies_elsewhere_is_fetched_and_judged(redirect: bool) -> None:
    """At an address in place of the result, or where a redirected poll leads."""
    body = {"urls": ["http://target.test/q.png"]}

    def server(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/v2/tasks/t1":
            return httpx.Response(303, headers={"location": "/results/1"}) if redirect else state("completed", result="/results/1")
        if request.url.path == "/results/1":
            return httpx.Response(200, json=body)
        if request.method == "GET":
            return httpx.Response(200, content=input_picture().data, headers={"content-type": "image/png"})
        return httpx.Response(202, json={"task_id": "t1", "status": "queued"})

    of = plan("async.accepted")
    waiting = next(step for step in of.steps if step.probe.endswith("async:true"))
    _, memory = run(replace(of, steps=(waiting,)), server)
    seen = see(RELAY, memory.exchanges, memory.bytes_of)[0]
    assert seen.waiting is None
    assert [picture.info is not None for picture in seen.pictures] == [True]


def test_polls_count_as_requests() -> None:
    """--max-requests holds for polls too."""
    server = Relay(state("running"))
    run(plan(), server, limits=SpendingLimits(max_requests=9))
    assert len(server.requests) == 9


def test_a_submission_sent_again_is_paid_once() -> None:
    """The second submission under one Idempotency-Key waits for the first; the same task is not paid twice, another one is."""
    of = plan("async.repeatable-submit")
    first, second = (step for step in of.steps if "async" in step.probe)
    assert first.headers == second.headers
    assert second.after == first.probe
    assert first.wire(RELAY, "http://t", "k") == second.wire(RELAY, "http://t", "k")
    known: dict[str, str] = {}

    def server(request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content or b"{}")
        if not body.get("async"):
            return httpx.Response(200, json={"urls": []})
        return httpx.Response(202, json={"task_id": known.setdefault(request.headers["idempotency-key"], "t1")})

    carried, memory = run(replace(of, steps=(first, second)), server)
    assert (carried.budget.spend.images, carried.budget.spend.billed_requests) == (1, 1)
    assert [(one.billed, one.images) for one in memory.exchanges] == [(True, 1), (False, 0)]
    count = iter(range(9))
    carried, memory = run(replace(of, steps=(first, second)), lambda request: httpx.Response(202, json={"task_id": f"t{next(count)}"}))
    assert (carried.budget.spend.images, [one.billed for one in memory.exchanges]) == (2, [True, True])


def test_an_operation_whose_tasks_do_not_end_is_not_waited_for_twice() -> None:
    """The first task is followed for its whole time; another one of the same operation is asked for once."""
    assert PROTOCOL is not None
    hasty = replace(RELAY, profile=RELAY.profile.model_copy(update={"asynchronous": PROTOCOL.model_copy(update={"timeout_s": 0.25})}))
    chosen = choose_rules(("async.accepted",))
    of = make_plan(hasty, Pricing(hasty, mock=True), rules=chosen, operations=("generateQwen",), cases=False)
    waiting = next(step for step in of.steps if step.probe.endswith("async:true"))
    twice = replace(of, steps=(waiting, replace(waiting, number=waiting.number + 1)))
    carried, memory = run(twice, Relay(state("running")))
    polls = [sum(one.parent == step.id for one in memory.exchanges) for step in twice.steps]
    assert polls[0] > polls[1] == 1
    assert carried.outcome.stopped is None


def test_a_probe_whose_predecessor_is_not_sent_is_not_held_up() -> None:
    """What has to be answered first may be left out by a budget or a narrower plan."""
    of = plan("async.repeatable-submit")
    second = next(step for step in of.steps if step.after is not None)
    carried, memory = run(replace(of, steps=(second,)), lambda request: httpx.Response(202, json={"task_id": "t"}))
    assert len(memory.exchanges) == 1
    assert carried.budget.spend.images == 1


def test_no_more_is_downloaded_than_was_allowed() -> None:
    """Each hop of the way to a picture counts; what is not fetched any more stops nothing else, and the spending says how many there were."""

    def picture(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/p.png":
            return httpx.Response(302, headers={"location": "/q.png"})
        return httpx.Response(200, content=input_picture().data, headers={"content-type": "image/png"})

    of = plan("request.accepts-valid", "delivery.url-fetchable")
    freely, _ = run(of, fetching(picture))
    most = freely.budget.spend.downloads - 1
    carried, memory = run(of, fetching(picture), limits=SpendingLimits(max_downloads=most))
    assert most >= 1
    assert sum(one.source == "fetch" for one in memory.exchanges) == most == carried.budget.spend.downloads
    assert (carried.outcome.stopped, carried.outcome.not_sent) == (None, {})


def test_a_large_answer_is_not_held_while_its_pictures_are_fetched() -> None:
    """Of it only the addresses are kept; a task's answer is kept whole, for its result may lie there."""
    carried, behind = DeliveredPicture(0, base64="AAAA"), DeliveredPicture(1, url="http://127.0.0.1:9/x")
    led_on = leading_on(Answer(200, json={"data": "x"}, text="x", pictures=(carried, behind)))
    assert (led_on.json, led_on.text, led_on.pictures) == (None, None, (behind,))
    accepted = Answer(202, json={"result": {}}, task=AsyncTask("t", "queued"))
    assert leading_on(accepted) is accepted
