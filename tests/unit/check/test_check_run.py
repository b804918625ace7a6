"""A check as a program runs it: events in their order, limits, stops and errors, whoever reads the events and from wherever."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import math
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from testcard.harness.api import (
    Answered,
    CheckOptions,
    CheckRun,
    Event,
    Exit,
    Finished,
    Judged,
    KeyRefused,
    Planned,
    RejudgeOptions,
    RunReader,
    Sent,
    Spent,
    Stopped,
    TargetUnreachable,
    UsageError,
    check,
    rejudge,
)
from testcard.harness.check import run as run_module
from testcard.harness.check.judging import verdicts
from testcard.harness.config import PricesSection
from testcard.harness.events import Noted
from testcard.harness.intake.limits import IntakeLimits, limits
from testcard.harness.stops import StopReason
from testcard.specs.prices import PerImage
from testkit.pictures import gradient, in_base64
from testkit.servers import Request, Response, Server, answering, free_port

PICTURE = in_base64(gradient(256, 256))
KEY = "sk-library-0123456789"
RULES = ("image.count", "seed.repeatable", "auth.required")


def nanogpt(request: Request, *, pictures: int | None = None, after_s: float = 0.0) -> Response:
    """A conforming answer, or as many pictures as `pictures` says."""
    if request.path == "/_testcard/health":
        return Response({}, 404)
    if request.headers.get("authorization") != f"Bearer {KEY}":
        return Response({"error": 401, "message": "no key"}, 401)
    count = pictures if pictures is not None else request.json.get("n", 1)
    return Response({"created": int(time.time()), "data": [{"b64_json": PICTURE}] * count, "cost": 0.01 * count}, after_s=after_s)


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TESTCARD_API_KEY", KEY)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def server() -> Iterator[Server]:
    with answering(nanogpt) as running:
        yield running


def options(server: Server, **more: Any) -> CheckOptions:
    chosen: dict[str, Any] = {"rules": RULES, "out": Path("run"), **more}
    return CheckOptions(provider="nanogpt", base_url=server.url, **chosen)


def of_kind(events: list[Event], kind: type) -> list[Any]:
    return [event for event in events if isinstance(event, kind)]


def test_events_come_in_their_order(server: Server) -> None:
    """Planned first, each request sent before it is answered, each verdict judged before the end; the end has everything."""
    run = check(options(server))
    assert not server.times, "nothing is sent before the events are read"
    events = list(run)
    kinds = [type(event).__name__ for event in events]
    assert (kinds[0], kinds[-1]) == ("Planned", "Finished")
    assert kinds.index("Judged") > max(index for index, kind in enumerate(kinds) if kind in ("Sent", "Answered", "Spent"))
    planned, finished = events[0], events[-1]
    assert isinstance(planned, Planned)
    assert isinstance(finished, Finished)
    assert (planned.kind, planned.targets[0].base_url, planned.targets[0].mock, planned.requests) == ("check", server.url, False, 4)
    sent, answered = of_kind(events, Sent), of_kind(events, Answered)
    assert [one.exchange for one in sent] == ["e0001", "e0002", "e0003", "e0004"]
    for one in answered:
        assert events.index(one) > next(
            index for index, event in enumerate(events) if isinstance(event, Sent) and event.exchange == one.exchange.id
        )
    assert [one.exchange for one in sorted(answered, key=lambda one: one.exchange.id)] == list(RunReader("run").exchanges())
    last = of_kind(events, Spent)[-1]
    assert (last.done, last.total, last.spend.requests) == (4, 4, len(server.paths("POST")))
    assert [one.verdict for one in of_kind(events, Judged)] == RunReader("run").verdicts().verdicts  # type: ignore[union-attr]
    assert (finished.outcome, finished.exit_code, finished.folder, finished.spend) == ("pass", Exit.PASS, Path("run"), last.spend)
    assert run.finished is finished
    assert RunReader("run").run.outcome == "pass"
    assert list(run) == [], "a run is carried out once"


def test_a_broken_promise_is_an_event_and_an_exit_code() -> None:
    """One picture where two were asked for: the answer surprises, the verdict is broken, the end says fail."""
    with answering(lambda request: nanogpt(request, pictures=1)) as server:
        events = list(check(options(server)))
    assert sum(one.surprising for one in of_kind(events, Answered)) == 0, "one picture too few is for the rules to see"
    (broken,) = [one for one in of_kind(events, Judged) if one.broken]
    assert broken.verdict.rule == "image.count"
    assert (events[-1].outcome, events[-1].exit_code) == ("fail", Exit.GATE_FAILED)  # type: ignore[union-attr]


def test_whoever_wants_only_the_end_asks_for_it(server: Server) -> None:
    """`finish` carries it out and gives the last event; asked again it gives the same one."""
    run = check(options(server))
    assert run.finish().outcome == "pass"
    assert run.finish() is run.finished


def test_the_plan_is_known_before_anything_is_sent(server: Server) -> None:
    """`plan` says what would be sent and sends nothing, not even to find out who is there; the run then sends just that."""
    run = check(options(server))
    planned = [step.id for step in run.plan.steps]
    assert not server.times
    run.finish()
    assert [one.id for one in RunReader("run").exchanges()] == planned


@pytest.mark.parametrize(("limit", "requests"), [(0, 0), (0.02, 2), (0.5, 3)])
def test_a_limit_of_nothing_is_a_limit(server: Server, limit: float, requests: int) -> None:
    """max_cost_usd = 0 lets nothing pass that could be billed, refused or not; the stops say which limit it was."""
    prices = {"nanogpt": PricesSection(models={"*": PerImage(kind="per-image", usd_each=0.01)})}
    finished = check(options(server, max_cost_usd=limit, prices=prices, rules=("image.count", "auth.required"), concurrency=1)).finish()
    assert len(server.paths("POST")) == requests
    assert (finished.spend.cost_usd or 0) <= limit
    if limit < 0.03:
        assert {stop.reason for stop in finished.stops} == {StopReason.COST_SPENT}
        assert finished.not_sent > 0
        assert finished.exit_code is Exit.INCONCLUSIVE


def test_nothing_is_sent_within_no_requests(server: Server) -> None:
    """max_requests = 0: not one request, and every must is open."""
    finished = check(options(server, max_requests=0)).finish()
    assert server.paths("POST") == []
    assert (finished.not_sent, finished.planned, finished.exit_code) == (4, 4, Exit.INCONCLUSIVE)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"rules": ("imgae.*",)}, "matches no rule"),
        ({"operations": ("createPicture",)}, "createPicture"),
        ({"out": Path(".")}, "is not empty"),
    ],
)
def test_what_cannot_be_carried_out_is_said_at_once(server: Server, more: dict[str, Any], said: str) -> None:
    """Options that name nothing, and a folder that is taken, are usage errors before an event is read."""
    Path("something").write_text("here")
    with pytest.raises(UsageError, match=said):
        check(options(server, **more))
    assert not server.times


def test_errors_are_raised_by_the_loop_and_seal_the_run() -> None:
    """Nobody there, a refused key: the loop raises it, and run.json says how it ended."""
    with pytest.raises(TargetUnreachable):
        check(CheckOptions(provider="nanogpt", base_url=f"http://127.0.0.1:{free_port()}", out=Path("nobody"))).finish()
    assert (RunReader("nobody").run.outcome, RunReader("nobody").run.exit_code) == ("error", 3)
    with answering(lambda request: Response({"error": 401, "message": "no"}, 401)) as server, pytest.raises(KeyRefused):
        check(options(server, out=Path("refused"))).finish()
    assert (RunReader("refused").run.outcome, RunReader("refused").run.exit_code) == ("error", 3)
    assert len(list(RunReader("refused").exchanges())) == 1, "the answer that refused the key is kept"


def slow(request: Request) -> Response:
    return nanogpt(request, after_s=0.0 if request.number < 2 else 30.0)


def test_a_stop_judges_what_is_there() -> None:
    """`stop` while a request waits for its answer: it is given up, kept at its worst case, and what was seen is judged."""
    with answering(slow) as server:
        run = check(options(server, concurrency=1))
        events = []
        for event in run:
            events.append(event)
            if isinstance(event, Sent) and len(of_kind(events, Sent)) == 2:
                assert run.stop()
                assert not run.stop(), "it was stopped before"
    (stopped,) = of_kind(events, Stopped)
    assert stopped.interrupted
    finished = run.finished
    assert finished is not None
    assert (finished.outcome, finished.exit_code) == ("interrupted", Exit.INTERRUPTED)
    assert finished.stop is not None
    assert finished.stop.reason is StopReason.INTERRUPTED
    assert any(one.verdict.verdict == "not-run" for one in of_kind(events, Judged))
    assert RunReader("run").run.config["stopped"] == "interrupted"
    assert RunReader("run").run.stops == [finished.stop]
    assert finished.spend.images >= 1


def test_ctrl_c_stops_it_where_the_loop_is_in_the_main_thread() -> None:
    """SIGINT to this process, as a terminal sends it: one stops and judges; handlers are as before afterwards."""
    before = signal.getsignal(signal.SIGINT)
    with answering(slow) as server:
        events = []
        for event in check(options(server, concurrency=1)):
            events.append(event)
            if isinstance(event, Sent) and len(of_kind(events, Sent)) == 2:
                os.kill(os.getpid(), signal.SIGINT)
    assert isinstance(events[-1], Finished)
    assert events[-1].exit_code is Exit.INTERRUPTED
    assert signal.getsignal(signal.SIGINT) is before


def test_a_second_ctrl_c_aborts() -> None:
    """The second one raises KeyboardInterrupt; the run is sealed as interrupted, and what was answered is in it."""

    def twice(server: Server) -> None:
        with check(options(server, concurrency=1)) as run:
            for event in run:
                if isinstance(event, Answered):
                    os.kill(os.getpid(), signal.SIGINT)
                    os.kill(os.getpid(), signal.SIGINT)

    with answering(slow) as server, pytest.raises(KeyboardInterrupt):
        twice(server)
    assert RunReader("run").run.outcome == "interrupted"
    assert [one.id for one in RunReader("run").exchanges()][:1] == ["e0001"]


def test_leaving_early_aborts_and_keeps_what_was_answered() -> None:
    """Who breaks out of the block gives up what is under way; the thread ends, and the folder says that it was left."""
    with answering(slow) as server, check(options(server, concurrency=1)) as run:
        for event in run:
            if isinstance(event, Sent) and event.exchange == "e0002":
                break
    assert run.finished is None
    assert RunReader("run").run.outcome == "interrupted"
    assert [one.id for one in RunReader("run").exchanges()][:1] == ["e0001"]
    assert not [thread for thread in threading.enumerate() if thread.name == "testcard-check"]


def test_leaving_ends_though_what_was_seen_is_still_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    """No picture of a stranger's holds Ctrl-C up: judging that does not end is left to itself, and seals nothing afterwards."""
    judging, over, judged = threading.Event(), threading.Event(), run_module.judge_records

    def for_ever(*given: Any, **more: Any) -> Any:
        judging.set()
        over.wait()
        return judged(*given, **more)

    monkeypatch.setattr(run_module, "judge_records", for_ever)
    with answering(nanogpt) as server, check(options(server)) as run:
        events = []
        for event in run:
            events.append(event)
            if isinstance(event, Answered) and len(of_kind(events, Answered)) == of_kind(events, Planned)[0].requests:
                judging.wait()
                break
    assert RunReader("run").run.outcome == "interrupted"
    (thread,) = (thread for thread in threading.enumerate() if thread.name == "testcard-check")
    over.set()
    thread.join()
    assert RunReader("run").run.outcome == "interrupted"
    assert not Path("run", "verdicts.json").exists()


def test_where_the_end_was_asked_for_little_is_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of an interrupted check the first large answers are judged, which is said with how to have the others judged."""
    monkeypatch.setattr(verdicts, "_SMALL_BYTES", 100)
    monkeypatch.setattr(run_module, "_HURRIED_BYTES", 1)
    with answering(slow) as server:
        run, events = check(options(server, concurrency=1)), []
        for event in run:
            events.append(event)
            if isinstance(event, Sent) and len(of_kind(events, Sent)) == 3:
                run.stop()
    (said,) = (one.sentence for one in of_kind(events, Noted) if "not judged" in one.sentence)
    assert said.endswith("recorded and not judged, so that the check ends soon (testcard check --rejudge RUN judges them)")


def test_a_mistake_in_the_consumer_ends_and_seals_it() -> None:
    """What the caller's loop raises comes out as it is; the request under way is given up, and run.json does not say running."""

    def read(server: Server) -> None:
        with check(options(server, concurrency=1)) as run:
            for event in run:
                if isinstance(event, Answered):
                    raise ZeroDivisionError

    with answering(slow) as server, pytest.raises(ZeroDivisionError):
        read(server)
    assert RunReader("run").run.outcome == "interrupted"
    assert [one.id for one in RunReader("run").exchanges()][:1] == ["e0001"]
    assert not [thread for thread in threading.enumerate() if thread.name == "testcard-check"]


def test_options_and_events_cannot_be_changed(server: Server) -> None:
    """Whoever holds them can rely on them; another run wants other options."""
    chosen = options(server)
    with pytest.raises(dataclasses.FrozenInstanceError):
        chosen.max_cost_usd = 9.0  # type: ignore[misc]
    assert dataclasses.replace(chosen, max_cost_usd=9.0).max_cost_usd == 9.0
    for event in check(chosen):
        field = dataclasses.fields(event)[0].name
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(event, field, None)


def test_it_runs_beside_an_event_loop(server: Server) -> None:
    """In a notebook or an async program a loop is running already: the check has one of its own."""

    async def main() -> Finished:
        return check(options(server)).finish()

    assert asyncio.run(main()).outcome == "pass"


def test_it_runs_in_any_thread(server: Server) -> None:
    """Without signals, which belong to the main thread."""
    found: list[Finished] = []
    thread = threading.Thread(target=lambda: found.append(check(options(server)).finish()))
    thread.start()
    thread.join()
    assert [one.outcome for one in found] == ["pass"]


def test_a_slow_consumer_falsifies_no_time(server: Server) -> None:
    """Answers are timed in a thread of their own: a consumer that sleeps at every event does not make the target look slow."""
    for event in check(options(server, concurrency=1)):
        if isinstance(event, Sent):
            time.sleep(0.3)
    exchanges = list(RunReader("run").exchanges())
    assert min(one.done_s - one.sent_s for one in exchanges) < 0.3
    assert sum(one.done_s - one.sent_s for one in exchanges) < 0.3 * len(exchanges)


def test_a_recorded_check_is_judged_again_as_events(server: Server) -> None:
    """`rejudge` gives the verdicts and the end of a new run, and asks nobody."""
    first = check(options(server)).finish()
    asked = len(server.times)
    events = list(rejudge(RejudgeOptions(provider="nanogpt", run=Path("run"), out=Path("again"))))
    assert len(server.times) == asked
    assert {type(event) for event in events} == {Judged, Finished}
    assert isinstance(events[-1], Finished)
    assert events[-1].verdicts == first.verdicts
    narrowed = list(rejudge(RejudgeOptions(provider="nanogpt", run=Path("run"), rules=("image.count",), out=Path("narrow"))))
    assert [one.verdict.rule for one in of_kind(narrowed, Judged)] == ["image.count"]


def test_what_is_too_much_to_be_judged_is_said(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the check and by whoever judges its run again: what nobody looked at proves nothing."""
    monkeypatch.setattr(verdicts, "_SMALL_BYTES", 100)
    monkeypatch.setattr(verdicts, "limits", lambda: IntakeLimits(judged_bytes=1))
    live = list(check(options(server)))
    again = list(rejudge(RejudgeOptions(provider="nanogpt", run=Path("run"), out=Path("again"))))
    pictures = sum(one.exchange.response is not None and one.exchange.response.status == 200 for one in of_kind(live, Answered))
    assert pictures > 1
    said = f"{pictures} large answers were recorded and not judged: more than 1 bytes together (judged_bytes under [limits])"
    for events in (live, again):
        assert [one.sentence for one in of_kind(events, Noted) if "judged_bytes" in one.sentence] == [said]
        (count,) = (one.verdict for one in of_kind(events, Judged) if one.verdict.rule == "image.count")
        assert count.verdict == "unproven"


def test_a_killed_check_is_judged_as_far_as_it_came(server: Server) -> None:
    """run.json still says running: what is there is judged, what is missing counts as not sent, and the result is inconclusive, not pass."""
    check(options(server)).finish()
    record = json.loads(Path("run/run.json").read_text())
    record |= {"outcome": "running", "exit_code": None, "ended": None}
    Path("run/run.json").write_text(json.dumps(record))
    Path("run/verdicts.json").unlink()
    lines = Path("run/exchanges.jsonl").read_bytes().splitlines(keepends=True)
    Path("run/exchanges.jsonl").write_bytes(b"".join(lines[:1]) + lines[1][:40])
    finished = list(rejudge(RejudgeOptions(provider="nanogpt", run=Path("run"), out=Path("again"))))[-1]
    assert isinstance(finished, Finished)
    assert (finished.outcome, finished.exit_code, finished.reason) == ("inconclusive", Exit.INCONCLUSIVE, "interrupted")
    assert len(list(RunReader("again").exchanges())) == 1
    assert (finished.spend.requests, finished.spend.billed_requests, finished.spend.images, finished.spend.cost_usd) == (1, 1, 1, 0.01)


def test_a_run_is_an_iterable_and_a_context() -> None:
    """The public class can be named in annotations of a caller's own."""
    assert hasattr(CheckRun, "__iter__")
    assert hasattr(CheckRun, "__exit__")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_requests", -1), ("max_images", 1.5), ("max_cost_usd", math.nan), ("concurrency", 0), ("timeout_s", -3), ("seed", "a"),
        ("prices", {"nanogpt": {"usd": 1}}),
    ],
)  # fmt: skip
def test_options_that_mean_nothing_are_refused_when_they_are_made(name: str, value: object) -> None:
    """By name, before a run is begun."""
    options: dict[str, Any] = {name: value}
    with pytest.raises(UsageError, match=name):
        CheckOptions(provider="nanogpt", **options)


def test_large_answers_are_judged_for_what_is_left_of_the_time(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where all was sent in time: 64 pictures of 36 megapixels in each answer would take for ever, and so would bodies of 60 MB.

    In an ordinary check's time all are judged that the limit allows, and in a short one's an answer as large as can be.
    """
    given: list[tuple[float, int]] = []

    def judge(*arguments: Any, **more: Any) -> Any:
        given.append((more["decoding_s"], more["judged_bytes"]))
        return verdicts.judge_records(*arguments, **more)

    monkeypatch.setattr(run_module, "judge_records", judge)
    for max_time_s in (600.0, 1.3):
        check(options(server, max_requests=1, max_time_s=max_time_s, out=Path(f"run-{max_time_s:g}"))).finish()
    (decoding_s, judged_bytes), (_, hurried_bytes) = given
    assert 60.0 <= decoding_s < 600.0
    assert judged_bytes >= limits().judged_bytes
    assert limits().body_bytes == hurried_bytes < limits().judged_bytes
