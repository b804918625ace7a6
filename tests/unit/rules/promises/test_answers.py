"""What an answer says beside its pictures: kept, broken, and too little to tell."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from testcard.harness.rules.promises import RULES
from testcard.harness.rules.scope import Scope
from testcard.specs.loader import load_provider

NANOGPT = Scope(load_provider("nanogpt"), "createImage")
NEBUL = Scope(load_provider("nebul"), "createImage")
NIM = Scope(load_provider("nvidia-nim-image"), "generateImage")
QWEN = Scope(load_provider("opengpu-relay"), "generateQwen")
TASK = Scope(load_provider("opengpu-relay"), "getTask")
VISION = Scope(load_provider("nvidia-nim-vision"), "createVisionChatCompletion")
NOW = 1_795_000_000  # 2026-11-18T11:06:40Z
DATE = [("Date", "Wed, 18 Nov 2026 11:06:40 GMT")]


def test_response_schema(recorded: Any, picture: Any) -> None:
    """The documented body passes, a wrong type breaks it, an undocumented status is not judged, null for an optional field is noted."""
    rule, nano = "schema.response", {"created": 1, "data": [{"b64_json": picture()}], "cost": 0.01}
    assert recorded(NANOGPT).add(200, nano).words(rule) == {"pass"}
    assert recorded(NANOGPT).add(200, {**nano, "cost": "much"}).words(rule) == {"broken"}
    assert recorded(NANOGPT).add(200, b"no JSON").words(rule) == {"broken"}
    assert recorded(NANOGPT).add(401, {"detail": "no"}).words(rule) == set()
    assert recorded(NANOGPT).add(200, {**nano, "paymentSource": None}).words(rule) == {"note"}
    assert recorded(NANOGPT).add(200, {**nano, "more": "than documented"}).words(rule) == {"pass"}


# ── required fields ───────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("scope", "name"), [(NANOGPT, "data"), (NEBUL, "data"), (NIM, "artifacts"), (QWEN, "urls"), (VISION, "choices")], ids=str
)
def test_required_fields(scope: Scope, name: str, recorded: Any) -> None:
    """The list is there, empty or not; missing, renamed or null it breaks the promise."""
    rule = "answer.required-fields"
    assert recorded(scope).add(200, {name: []}).words(rule) == {"pass"}
    assert recorded(scope).add(200, {"results": []}).words(rule) == {"broken"}
    assert recorded(scope).add(200, {name: None}).words(rule) == {"broken"}
    assert recorded(scope).add(200, {name: {}}).words(rule) == {"unproven"}
    assert recorded(scope).add(200, b"<html>").add(400, {}).add(200, {}, expects="refuse").words(rule) == set()


def test_what_is_fetched_later_is_not_missing_now(recorded: Any) -> None:
    """An accepted task has no pictures yet, and an operation that polls has no list of its own."""
    assert recorded(QWEN).add(202, {"task_id": "t"}).words("answer.required-fields") == set()
    assert not RULES["answer.required-fields"].applies(TASK)


# ── created ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("created", "word"),
    [
        (NOW, "pass"),
        (NOW - 400, "pass"),
        (NOW + 500, "pass"),
        (NOW * 1000, "broken"),
        (NOW + 3600, "broken"),
        (NOW - 7200, "broken"),
        (0, "broken"),
        (-5, "broken"),
        (1e300, "broken"),
        (None, "unsupported"),
        ("now", "unproven"),
        (True, "unproven"),
    ],
)
@pytest.mark.parametrize("by", ["header", "run"])
def test_created_now(created: Any, word: str, by: str, recorded: Any) -> None:
    """Seconds within the clocks' skew pass, by the answer's Date or by the run's own clock; milliseconds, zones and examples do not."""
    scope = NANOGPT if by == "header" else replace(NANOGPT, started=NOW - 30.0)
    run = recorded(scope).add(200, {"created": created}, headers=DATE if by == "header" else (), sent_s=25.0, took_s=5.0)
    assert run.words("answer.created-now") == {word}


def test_one_clock_that_agrees_is_enough(recorded: Any) -> None:
    """A wrong clock of this machine, or a proxy's stale Date, is not the server's fault."""
    answer = {"created": NOW}
    assert recorded(replace(NANOGPT, started=NOW - 9e6)).add(200, answer, headers=DATE).words("answer.created-now") == {"pass"}
    stale = [("date", "Wed, 18 Nov 2020 11:06:40 GMT")]
    assert recorded(replace(NANOGPT, started=float(NOW))).add(200, answer, headers=stale).words("answer.created-now") == {"pass"}
    assert recorded(replace(NANOGPT, started=NOW - 9e6)).add(200, answer, headers=stale).words("answer.created-now") == {"broken"}


def test_without_any_clock_only_the_impossible_is_wrong(recorded: Any) -> None:
    """With neither a Date nor a known start, seconds prove nothing and milliseconds are wrong."""
    assert recorded(NANOGPT).add(200, {"created": NOW}).words("answer.created-now") == {"unproven"}
    assert recorded(NANOGPT).add(200, {"created": NOW}, headers=[("date", "yesterday")]).words("answer.created-now") == {"unproven"}
    assert recorded(NANOGPT).add(200, {"created": NOW * 1000}).words("answer.created-now") == {"broken"}


def test_a_slow_answer_may_date_from_its_request(recorded: Any) -> None:
    """A picture that took an hour may say when it was begun."""
    run = recorded(NANOGPT).add(200, {"created": NOW - 3500}, headers=DATE, took_s=3600.0)
    assert run.words("answer.created-now") == {"pass"}


def test_a_wrong_time_is_put_into_words(recorded: Any) -> None:
    """The detail says how far off, and which way."""
    (seen,) = recorded(NANOGPT).add(200, {"created": NOW + 7200}, headers=DATE).observations("answer.created-now")
    assert seen.detail == "created is 2026-11-18T13:06:40+00:00, 2 hours after the answer"


# ── echo ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("asked", "said", "words"),
    [
        ({"size": [512, 256]}, {"size": "512x256"}, {"pass"}),
        ({"size": [512, 256]}, {"size": "auto"}, {"pass"}),
        ({"size": [512, 256]}, {"size": "1024x1024"}, {"broken"}),
        ({"size": "auto"}, {"size": "1024x1024"}, set()),
        ({"size": [512, 256]}, {"size": None}, set()),
        ({}, {"size": "1024x1024", "quality": "high"}, set()),
        ({"format": "jpeg"}, {"output_format": "JPG"}, {"pass"}),
        ({"format": "jpeg"}, {"output_format": "png"}, {"broken"}),
        ({"quality": "high"}, {"quality": "low"}, {"broken"}),
        ({"background": "transparent"}, {"background": "transparent"}, {"pass"}),
    ],
)
def test_echo(asked: dict[str, Any], said: dict[str, Any], words: set[str], recorded: Any) -> None:
    """What was asked for, or auto, passes; anything else breaks it; who asked for nothing may be told anything."""
    assert recorded(NEBUL).add(200, {"data": [], **said}, asked={"task": "generate", **asked}).words("answer.echo") == words


# ── usage ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("usage", "integers", "total"),
    [
        ({"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}, {"pass"}, {"pass"}),
        ({"prompt_tokens": 3.0, "completion_tokens": 4, "total_tokens": 7}, {"pass"}, {"pass"}),
        ({"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 8}, {"pass"}, {"broken"}),
        ({"prompt_tokens": 3.5, "completion_tokens": 4, "total_tokens": 7}, {"broken", "pass"}, set()),
        ({"prompt_tokens": -3, "completion_tokens": 4, "total_tokens": 1}, {"broken", "pass"}, {"pass"}),
        ({"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": "7"}, {"pass", "unproven"}, set()),
        ({"prompt_tokens": 3, "total_tokens": 7}, {"pass"}, set()),
        ({"prompt_tokens": 3, "total_tokens": 2}, {"pass"}, {"broken"}),
        ({"completion_tokens": 3, "total_tokens": 2}, {"pass"}, {"broken"}),
        ({"completion_tokens": 3, "total_tokens": 7}, {"pass"}, set()),
        ({"prompt_tokens": True, "completion_tokens": 4, "total_tokens": 4}, {"pass", "unproven"}, set()),
        (None, {"unsupported"}, set()),
    ],
)
def test_usage_of_a_chat(usage: Any, integers: set[str], total: set[str], recorded: Any) -> None:
    """Whole numbers that add up pass; fractions and negative ones break the one, a false total the other; another type is the schema's."""
    answer = {"choices": [], **({"usage": usage} if usage is not None else {})}
    assert recorded(VISION).add(200, answer).words("answer.usage-integers") == integers
    assert recorded(VISION).add(200, answer).words("answer.usage-sum") == total


def test_usage_without_completion_tokens(recorded: Any) -> None:
    """Where no completion is counted, the total is what went in or more."""
    for total, word in ((5, "pass"), (1029, "pass"), (4, "broken")):
        run = recorded(NEBUL).add(200, {"data": [], "usage": {"prompt_tokens": 5, "total_tokens": total}})
        assert run.words("answer.usage-sum") == {word}


def test_the_usage_of_a_stream_counts(recorded: Any) -> None:
    """A stream may state its usage in a last event; it is held to the same."""
    events = b'data: {"id":"a","choices":[],"usage":{"prompt_tokens":3,"completion_tokens":4,"total_tokens":9}}\n\ndata: [DONE]\n\n'
    run = recorded(VISION).add(200, events)
    streamed = run.records[0].response
    streamed.headers[:] = [("content-type", "text/event-stream")]
    assert run.words("answer.usage-integers") == {"pass"}
    assert run.words("answer.usage-sum") == {"broken"}


def test_rules_apply_where_the_profile_says_so() -> None:
    """No time, echo or usage is asked of answers that have no place for it."""
    applying = {
        rule: [scope.provider.id for scope in (NANOGPT, NEBUL, NIM, QWEN, VISION, TASK) if RULES[rule].applies(scope)]
        for rule in ("answer.created-now", "answer.echo", "answer.usage-integers", "answer.usage-sum")
    }
    assert applying == {
        "answer.created-now": ["nanogpt", "nebul"],
        "answer.echo": ["nebul"],
        "answer.usage-integers": ["nebul", "nvidia-nim-vision"],
        "answer.usage-sum": ["nebul", "nvidia-nim-vision"],
    }
