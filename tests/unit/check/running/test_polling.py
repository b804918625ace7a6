"""Following an accepted task: through failed polls, to its end, within its time, at no cost."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import httpx
import pytest

from testcard.harness.check.generation.plan import Plan
from testcard.harness.check.generation.planning import choose_rules, make_plan
from testcard.harness.check.running.polling import MOST_MISSES, Polling
from testcard.harness.check.running.runner import Carried, CheckSettings, carry_out
from testcard.harness.check.spending.budget import NO_LIMITS, SpendingLimits
from testcard.harness.pricing import Pricing
from testcard.harness.rules.sent_pictures import input_picture
from testcard.harness.selftest.mock_runs import Memory
from testcard.harness.wire.model import Answer, AsyncTask
from testcard.specs.loader import load_provider

RELAY = load_provider("opengpu-relay")
PROTOCOL = RELAY.profile.asynchronous
assert PROTOCOL is not None


def poll(state: str | None, status: int = 200, **more: Any) -> Answer:
    wait = more.pop("retry_after_s", None)
    return Answer(status, task=AsyncTask("t", state, **more) if status < 300 else None, retry_after_s=wait)


def waits(
    answers: Sequence[Answer | None], *, interval_s: float = 1.0, look_again: bool = False, each_s: float = 0.0
) -> list[float | None]:
    """What the polling says after each answer, `each_s` seconds apart."""
    polling = Polling(PROTOCOL, interval_s=interval_s, now_s=0.0, look_again=look_again)
    return [polling.next_in(each_s * number, answer) for number, answer in enumerate(answers)]


def test_polls_further_and_further_apart_until_the_end() -> None:
    """Queued and running go on, at growing intervals of at most ten seconds; completed and failed end it."""
    assert waits([poll("queued"), poll("running"), poll("completed")]) == [1.0, 1.5, None]
    assert waits([poll("failed")]) == [None]
    assert max(wait or 0.0 for wait in waits([poll("running")] * 20)) == 10.0


def test_looks_once_more_after_the_end() -> None:
    """With `look_again` the end is asked for once more, whatever that says."""
    assert waits([poll("completed"), poll("running"), poll("running")], look_again=True) == [1.0, None, None]


def test_a_failed_poll_ends_nothing() -> None:
    """No answer, 429, 5xx and 404 are asked again; a Retry-After is honoured; too many in a row are given up."""
    assert waits([None, poll(None, 429, retry_after_s=7.0), poll(None, 503), poll(None, 404), poll("completed")]) == [
        1.0, 7.0, 2.25, 3.375, None,
    ]  # fmt: skip
    given_up = waits([None] * (MOST_MISSES + 1))
    assert given_up[-1] is None
    assert None not in given_up[:-1]
    assert None not in waits([None, poll("running")] * MOST_MISSES)


def test_the_task_has_its_time_and_no_more() -> None:
    """After the documented time the last answer counts, and the last wait ends with the time."""
    polling = Polling(PROTOCOL, interval_s=9.0, now_s=10.0, look_again=False)
    assert polling.next_in(10.0 + PROTOCOL.timeout_s - 2.0, poll("running")) == pytest.approx(2.0)
    assert polling.next_in(10.0 + PROTOCOL.timeout_s, poll("running")) is None
    assert polling.out_of_time
    silent = Polling(PROTOCOL, interval_s=9.0, now_s=0.0, look_again=False)
    assert silent.next_in(PROTOCOL.timeout_s + 1, None) is None
    assert not silent.out_of_time


def test_an_undocumented_word_is_an_end_only_with_a_result() -> None:
    """A state that no document names goes on unless it brings a result or an error."""
    assert waits([poll("processing"), poll("succeeded", result={})]) == [1.0, None]
    assert waits([poll("cancelled", error="stopped")]) == [None]


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
    hasty = replace(RELAY, profile=RELAY.profile.model_copy(update={"asynchronous": PROTOCOL.model_copy(update={"timeout_s": 0.05})}))
    chosen = choose_rules(("async.accepted",))
    of = make_plan(hasty, Pricing(hasty, mock=True), rules=chosen, operations=("generateQwen",), cases=False)
    waiting = next(step for step in of.steps if step.probe.endswith("async:true"))
    twice = replace(of, steps=(waiting, replace(waiting, number=waiting.number + 1)))
    carried, memory = run(twice, Relay(state("running")))
    polls = [sum(one.parent == step.id for one in memory.exchanges) for step in twice.steps]
    assert polls[0] > 3
    assert polls[1] == 1
    assert carried.outcome.stopped is None


def test_a_probe_whose_predecessor_is_not_sent_is_not_held_up() -> None:
    """What has to be answered first may be left out by a budget or a narrower plan."""
    of = plan("async.repeatable-submit")
    second = next(step for step in of.steps if step.after is not None)
    carried, memory = run(replace(of, steps=(second,)), lambda request: httpx.Response(202, json={"task_id": "t"}))
    assert len(memory.exchanges) == 1
    assert carried.budget.spend.images == 1
