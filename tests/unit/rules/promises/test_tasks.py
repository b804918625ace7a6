"""The rules about tasks, on exchanges made by hand: kept, broken, and what proves nothing."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from testcard.harness.check.judging.levels import level_of
from testcard.harness.rules import probes
from testcard.harness.rules.promises import RULES, tasks
from testcard.harness.rules.scope import Scope
from testcard.mocks.faults import FAULTS
from testcard.specs.loader import load_provider

RELAY = load_provider("opengpu-relay")
QWEN = Scope(RELAY, "generateQwen")
FLUX = Scope(RELAY, "generateFlux")
TASK = Scope(RELAY, "getTask")
ASKED = {"task": "generate", "asynchronous": True}
URLS = {"urls": ["https://files.test/a.png"]}
FAMILY = [rule for rule in RULES if rule.startswith("async.")]


def state(word: str, **more: Any) -> dict[str, Any]:
    return {"task_id": "t1", "status": word, "elapsed_seconds": 1.0, **more}


def run(
    recorded: Any,
    polls: Sequence[tuple[int | None, Any]] = ((200, state("running")), (200, state("completed", result=URLS))),
    *,
    status: int = 202,
    accepted: Any = None,
    base: int = 200,
    every_s: float = 1.0,
) -> Any:
    """A base request, an async one, and its polls `every_s` apart."""
    of = recorded(QWEN).add(base, URLS, asked={"task": "generate"})
    body = accepted if accepted is not None else {"task_id": "t1", "status": "queued"}
    of.add(status, body, probe="generate/async:true", base="generate/base", asked=ASKED, sent_s=0.0, took_s=0.0)
    for number, (answered, told) in enumerate(polls, 1):
        of.add(answered, told, source="poll", parent="e1", operation="getTask", sent_s=every_s * number, took_s=0.0)
    return of


def test_all_are_kept_by_a_task_that_is_accepted_runs_and_completes(recorded: Any) -> None:
    """202 with a reference, forward states, an end and a result in the sync body's shape."""
    for rule in FAMILY[:5]:
        assert run(recorded).words(rule) == {"pass"}, rule


def test_accepted(recorded: Any) -> None:
    """Another success breaks it; a refusal is another rule's, and a 5xx or 429 proves nothing."""
    rule = "async.accepted"
    assert run(recorded, (), status=200, accepted=URLS).words(rule) == {"broken"}
    assert run(recorded, (), status=200).words(rule) == {"broken"}
    assert run(recorded, (), status=422).words(rule) == set()
    assert run(recorded, (), status=503).words(rule) == run(recorded, (), status=429).words(rule) == {"unproven"}
    unasked = recorded(QWEN).add(202, {"task_id": "t1"})
    assert [(one.word, one.level) for one in unasked.observations(rule)] == [("broken", "should")]


@pytest.mark.parametrize("name", ["task_id", "task_address"])
def test_reference_under_either_name(recorded: Any, name: str) -> None:
    """Both known names will do."""
    assert run(recorded, accepted={name: "0xabc"}).words("async.reference") == {"pass"}


@pytest.mark.parametrize("body", [{}, {"poll_url": "/v2/tasks/1"}, {"id": "t1"}, {"task_id": ""}, {"task_id": None}, {"task_id": 7}])
def test_reference_missing(recorded: Any, body: dict[str, Any]) -> None:
    """Without a reference in text the promise is broken, an address or not."""
    assert run(recorded, (), accepted=body).words("async.reference") == {"broken"}


def test_a_reference_belongs_to_one_submission(recorded: Any) -> None:
    """Two submissions with one reference break it."""
    of = run(recorded).add(202, {"task_id": "t1"}, probe="generate/another", asked=ASKED)
    assert of.words("async.reference") == {"pass", "broken"}


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["queued", "queued", "running", "completed", "completed"], "pass"),
        (["completed"], "pass"),
        (["running", "failed", "failed"], "pass"),
        (["running", "queued", "completed"], "broken"),
        (["completed", "running"], "broken"),
        (["failed", "completed"], "broken"),
        (["processing", "completed"], "pass"),
        ([], "unproven"),
    ],
)
def test_forward(recorded: Any, words: list[str], expected: str) -> None:
    """Only forward, ends stay; words that no document names are left to the schema."""
    assert run(recorded, [(200, state(word)) for word in words]).words("async.forward") == {expected}


def test_a_failed_poll_is_no_state(recorded: Any) -> None:
    """Polls that fail in between change nothing about what is judged."""
    polls: list[tuple[int | None, Any]] = [(503, {"status": "queued"}), (200, state("running")), (429, {}), (404, {})]
    of = run(recorded, [*polls, (200, state("completed", result=URLS))])
    for rule in FAMILY[:5]:
        assert of.words(rule) == {"pass"}, rule


def test_terminal(recorded: Any) -> None:
    """An end in time passes, no end in the documented time breaks it, and less than that time proves nothing."""
    rule = "async.terminal"
    running = [(200, state("running"))] * 4
    assert run(recorded, [(200, state("failed", error="x"))]).words(rule) == {"pass"}
    assert run(recorded, running, every_s=75.0).words(rule) == {"broken"}
    assert run(recorded, running, every_s=70.0).words(rule) == {"unproven"}
    assert run(recorded, [*running, (503, {})], every_s=70.0).words(rule) == {"unproven"}
    assert run(recorded, [(404, {})] * 5, every_s=75.0).words(rule) == {"unproven"}
    assert run(recorded, ()).words(rule) == {"unproven"}
    (found,) = run(recorded, running, every_s=75.0).observations(rule)
    assert "300" in found.detail
    assert found.exchanges == ("e1", "e5")


@pytest.mark.parametrize(
    ("result", "word"),
    [
        (URLS, "pass"),
        ({"urls": [], "seed": 4}, "pass"),
        (None, "broken"),
        ("https://files.test/a.png", "broken"),
        (["https://files.test/a.png"], "broken"),
        ({"output": URLS}, "broken"),
        ({"images": URLS["urls"]}, "broken"),
        ({"urls": "https://files.test/a.png"}, "broken"),
        ({"urls": [{"url": "https://files.test/a.png"}]}, "broken"),
    ],
)
def test_result(recorded: Any, result: Any, word: str) -> None:
    """The result is the body of the answer at once: an object, by the schema, with its pictures where they belong."""
    assert run(recorded, [(200, state("completed", result=result))]).words("async.result") == {word}


def test_a_task_that_fails(recorded: Any) -> None:
    """It breaks the promise only where the same request is carried out at once; what did not end proves nothing."""
    rule = "async.result"
    failed = [(200, state("failed", error={"message": "no worker"}))]
    assert run(recorded, failed).words(rule) == {"broken"}
    assert "no worker" in run(recorded, failed).observations(rule)[0].detail
    assert run(recorded, failed, base=500).words(rule) == {"unproven"}
    assert run(recorded, [(200, state("running"))]).words(rule) == {"unproven"}


def pair(recorded: Any, first: tuple[int, Any], second: tuple[int, Any], *, keys: tuple[str, str] = ("k", "k")) -> Any:
    of = recorded(QWEN)
    for key, (status, body) in zip(keys, (first, second), strict=True):
        of.add(status, body, probe=f"generate/{key}", expects="may-refuse", asked=ASKED, sent=[("idempotency-key", key)])
    return of


def test_repeatable_submit(recorded: Any) -> None:
    """The same reference keeps it, another breaks it, a 409 is noted; without two references nothing is proved."""
    rule = "async.repeatable-submit"
    one, two = (202, {"task_id": "t1"}), (202, {"task_id": "t2"})
    assert pair(recorded, one, one).words(rule) == {"pass"}
    assert pair(recorded, one, (200, {"task_id": "t1"})).words(rule) == {"pass"}
    assert pair(recorded, one, two).words(rule) == {"broken"}
    assert pair(recorded, one, two, keys=("k", "l")).words(rule) == set()
    assert pair(recorded, one, (409, {})).words(rule) == {"note"}
    assert pair(recorded, one, (503, {})).words(rule) == {"unproven"}
    assert pair(recorded, (422, {}), (422, {})).words(rule) == {"unproven"}


def test_a_keyed_submission_is_judged_for_nothing_else(recorded: Any) -> None:
    """Whatever the second submission is answered with, other rules look at other submissions."""
    of = pair(recorded, (202, {"task_id": "t1"}), (200, {"task_id": "t1"}))
    for rule in ("async.accepted", "async.reference", "async.forward", "async.terminal", "async.result", "image.count"):
        assert of.words(rule) == set(), rule


@pytest.mark.parametrize(
    ("status", "word"),
    [(404, "pass"), (410, "pass"), (400, "note"), (422, "note"), (200, "broken"), (202, "broken"), (500, "unproven"), (401, "unproven")],
)
def test_unknown_task(recorded: Any, status: int, word: str) -> None:
    """404 keeps it, a success breaks it, another refusal is noted; a 5xx is another rule's."""
    of = recorded(TASK).add(status, {"status": "queued"}, probe="task/unknown", expects="refuse", rules=["async.unknown-task"])
    assert of.words("async.unknown-task") == {word}
    assert recorded(TASK).add(404, {}, probe="x", expects="refuse").words("async.unknown-task") == set()


@pytest.mark.parametrize(
    ("status", "word"), [(404, "pass"), (400, "pass"), (414, "pass"), (422, "pass"), (200, "broken"), (500, "unproven"), (401, "unproven")]
)
def test_malformed_references(recorded: Any, status: int, word: str) -> None:
    """Of a reference that looks like nobody's any refusal will do; a 5xx breaks http.no-server-error, which asks for them as well."""
    of = recorded(TASK).add(
        status, {"status": "queued"}, probe="task/malformed-1", expects="refuse", rules=["async.unknown-task", "http.no-server-error"]
    )
    assert of.words("async.unknown-task") == {word}
    assert of.words("http.no-server-error") == {"broken" if status == 500 else "pass"}
    for rule in ("async.unknown-task", "http.no-server-error"):
        asked = {probe.path["task_address"] for probe in RULES[rule].asks(TASK) if probe.key.startswith("task/malformed")}
        assert len(asked) == 3
        assert not any(re.fullmatch("0x[0-9a-f]{40}", reference) for reference in asked)


def test_where_they_apply() -> None:
    """Where a request can wait, and the operation that polls: at the levels of the document and of the published client."""
    for rule in FAMILY:
        assert not RULES[rule].applies(Scope(load_provider("nanogpt"), "createImage"))
        assert RULES[rule].applies(QWEN) is (rule not in ("async.unknown-task", "async.cancel"))
        assert RULES[rule].applies(TASK) is (rule == "async.unknown-task")
    assert {rule: level_of(QWEN, RULES[rule]) for rule in FAMILY if RULES[rule].applies(QWEN)} == {
        "async.accepted": "must", **dict.fromkeys(FAMILY[1:6], "should"),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("status", "word"), [(404, "pass"), (400, "pass"), (202, "broken"), (200, "broken"), (503, "unproven"), (401, "unproven")]
)
def test_calling_off_a_task_that_nobody_submitted(recorded: Any, status: int, word: str) -> None:
    """Any refusal is right; what calls off anything at all is noted."""
    scope = Scope(load_provider(str(Path(__file__).parents[3] / "fixtures" / "ways" / "queue")), "cancel")
    assert [probe.path for probe in RULES["async.cancel"].asks(scope)] == [{"request_id": probes.UNKNOWN_REFERENCE}]
    run = recorded(scope).add(status, {"detail": "no"}, expects="refuse", rules=("async.cancel",))
    assert run.words("async.cancel") == {word}
    assert level_of(scope, RULES["async.cancel"]) == "info"


def test_the_repeated_submission_is_the_only_one_billed_twice() -> None:
    """Its key is made of the request: the same for the same check, another for another seed; it waits for the first."""
    *_, first, again = tasks._submission_pair(QWEN)
    assert first.headers == again.headers == list(tasks._submission_pair(QWEN))[-1].headers
    assert first.request == again.request
    assert (first.repeat, again.repeat, again.after) == (False, True, first.key)
    other = list(tasks._submission_pair(replace(QWEN, seed=8)))[-1]
    assert other.headers != again.headers
    (single,) = (probe for probe in tasks.submission(QWEN) if probe.request.asynchronous)
    assert not single.headers
    assert single.request != first.request


def test_every_rule_has_its_fault() -> None:
    """No rule of the family is without a lie."""
    assert {fault.rule for fault in FAULTS.values()} >= set(FAMILY)
