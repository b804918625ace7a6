"""Whatever a server answers, every decoder, outcome and rule says something of it, and none raises."""

from __future__ import annotations

import base64
import json
import math
from functools import cache

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from testcard.harness.check.generation.plan import Plan, choose_rules, make_plan
from testcard.harness.check.judging.verdicts import judge_records
from testcard.harness.check.running.recording import Recording
from testcard.harness.check.running.transport import Received
from testcard.harness.pricing import Pricing
from testcard.harness.runs.records import Body, Exchange
from testcard.harness.wire.billing import booked_cost, charged, delivered
from testcard.specs.loader import bundled_ids, load_provider
from testkit.pictures import plain

PICTURE = base64.b64encode(plain(32, 32)).decode()

#: Numbers as JSON may state them, and as no program likes them.
numbers = st.sampled_from(
    [
        "0",
        "-1",
        "1",
        "1e999",
        "-1e999",
        "1" + "0" * 400,
        "-1" + "0" * 400,
        "1e308",
        "-0.0",
        "5e-324",
        "18446744073709551616",
        "0.5",
        "253402300800",
        "1e17",
    ]
)
texts = st.sampled_from(
    ['""', '"x"', '"\\ud800"', '"\\u0000"', '"\\u009b31m"', f'"{PICTURE}"', '"http://127.0.0.1:1/a"', '"http://[::1"', '"file:///etc/passwd"', '"data:image/png;base64,AAAA"', '"../.."', '"completed"', '"failed"', '"nan"', '"stop"', '"content_filter"', '"9999-99-99T99:99:99Z"']
)  # fmt: skip
leaves = numbers | texts | st.sampled_from(["null", "true", "false", "[]", "{}"])
NAMES = [
    "data", "b64_json", "url", "created", "cost", "remainingBalance", "usage", "prompt_tokens", "completion_tokens", "total_tokens", "artifacts",
    "base64", "finishReason", "seed", "images", "choices", "message", "content", "finish_reason", "id", "object", "model", "error", "code",
    "status", "task_id", "task_address", "result", "poll_url", "urls", "text", "index", "delta",
]  # fmt: skip


def _object(members: dict[str, str]) -> str:
    return "{" + ",".join(f"{json.dumps(name)}:{value}" for name, value in members.items()) + "}"


values = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda items: "[" + ",".join(items) + "]")
        | st.dictionaries(st.sampled_from(NAMES), inner, max_size=5).map(_object)
    ),
    max_leaves=12,
)
#: An answer as it should be, but for one member or two.
nearly = st.builds(
    lambda members: _object(
        {
            "created": "1764400000",
            "data": f'[{{"b64_json": "{PICTURE}"}}]',
            "cost": "0.01",
            "remainingBalance": "5",
            "id": '"c"',
            "model": '"m"',
        }
        | {
            "object": '"chat.completion"',
            "choices": '[{"index": 0, "message": {"role": "assistant", "content": "a"}, "finish_reason": "stop"}]',
        }
        | {"artifacts": f'[{{"base64": "{PICTURE}", "finishReason": "SUCCESS", "seed": 7}}]', "images": f'["{PICTURE}"]'}
        | {"usage": '{"prompt_tokens": 5, "completion_tokens": 5, "total_tokens": 10}'}
        | members
    ),
    st.dictionaries(st.sampled_from(NAMES), values, min_size=1, max_size=2),
)
bodies = (
    (values | nearly).map(str.encode)
    | st.binary(max_size=40)
    | st.sampled_from([b"", plain(32, 32), plain(32, 32)[:60], b"GIF89a", b"[" * 500])
)
streams = st.lists(values | st.sampled_from(["[DONE]", "[[", ""]), max_size=4).map(
    lambda events: "".join(f"data: {event}\n\n" for event in events).encode()
)
dates = st.sampled_from(
    [
        "Fri, 31 Dec 99999999999 23:59:59 GMT",
        "Wed, 21 Oct 2026 07:28:00 +99999999",
        "Mon, 01 Jan 0001 00:00:00 +2359",
        "5",
        "-5",
        "9" * 400,
        "\xb2",
        "",
        "x",
    ]
)
headers = st.fixed_dictionaries(
    {
        "content-type": st.sampled_from(
            ["application/json", "text/event-stream", "image/png", "text/html", "\x9b", "", "application/json; charset=\x00"]
        )
    },
    optional={
        "retry-after": dates,
        "date": dates,
        "location": st.sampled_from(["/x", "file:///x", "http://[", "\x00"]),
        "set-cookie": st.just("a=b"),
    },
).map(lambda found: tuple(found.items()))
answers = st.tuples(st.sampled_from([200, 200, 200, 202, 204, 302, 400, 401, 404, 429, 500, 599]), headers, bodies | streams)


class _Memory:
    """Keeps bodies and exchanges."""

    def __init__(self) -> None:
        self.bodies: dict[str, bytes] = {}
        self.exchanges: list[Exchange] = []

    def body(self, content: bytes) -> Body:
        name = f"{len(self.bodies):064d}"
        self.bodies[name] = content
        return Body(size=len(content), sha256=name)

    def append(self, exchange: Exchange) -> None:
        self.exchanges.append(exchange)


@cache
def planned(provider_id: str) -> Plan:
    provider = load_provider(provider_id)
    operations = tuple(provider.profile.operations)[:2]
    return make_plan(provider, Pricing(provider, mock=True), rules=choose_rules(()), operations=operations, cases=False)


@pytest.mark.parametrize("provider_id", bundled_ids())
@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(given_answers=st.lists(answers, min_size=1, max_size=4))
def test_no_answer_makes_a_rule_raise(provider_id: str, given_answers: list[tuple[int, tuple[tuple[str, str], ...], bytes]]) -> None:
    """Each of a plan's requests is answered by one of a few generated answers; every rule has its say, and what is booked is a number."""
    plan = planned(provider_id)
    memory = _Memory()
    recording = Recording(plan.provider, None, memory)
    for number, step in enumerate(plan.steps[:12]):
        status, head, body = given_answers[number % len(given_answers)]
        sent = Received(float(number), number + 0.1, number + 0.2, status, head, body)
        answer = recording.answer(step.operation, sent)
        assert answer is not None
        asked = (plan.provider, step.operation, step.terms, answer)
        price = Pricing(plan.provider, mock=True).price(step.model, step.operation)
        cost = booked_cost(price, answer, charged(*asked, delivered(*asked, [])))
        assert cost is None or 0 <= cost < math.inf
        memory.append(recording.record(step, step.id, step.wire(plan.provider, "http://127.0.0.1:1", None), sent, images=1))
    conclusion = judge_records(plan.scopes, plan.rules, memory.exchanges, lambda body: memory.bodies[body.sha256 or ""], started=1.7e9)
    assert conclusion.errors == ()
    json.dumps(json.loads(_written(conclusion)), allow_nan=False)


def _written(conclusion: object) -> str:
    """The verdicts as a file would hold them."""
    return json.dumps([(one.rule, one.detail) for one in conclusion.verdicts], ensure_ascii=False).encode().decode()  # type: ignore[attr-defined]
