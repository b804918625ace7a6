"""`bench(options)` from a program: its events and their order, stops, limits of nothing, and a run that is sealed however it ends."""

from __future__ import annotations

import dataclasses
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from testcard.benchmarks.plan.job import FleetJob
from testcard.benchmarks.plan.workload import Workload
from testcard.benchmarks.run import bench as running
from testcard.benchmarks.run.options import BenchOptions
from testcard.harness.api import BenchRun, bench
from testcard.harness.config import TargetSection
from testcard.harness.errors import Exit, TargetUnreachable, TestcardError, UsageError
from testcard.harness.events import Answered, Event, Finished, Judged, Noted, Planned, Sent, Spent, Stopped
from testcard.harness.runs.folder import RunReader
from testcard.harness.stops import StopReason
from testcard.harness.targets import EmbeddedMocks, embedded_mocks


@pytest.fixture(scope="module")
def mocks() -> Iterator[EmbeddedMocks]:
    with embedded_mocks(["nanogpt"], options=["--latency", "0.03"]) as running_mocks:
        yield running_mocks


def options(mocks: EmbeddedMocks, out: Path, rate: float = 20.0, seconds: float = 1.5, **more: Any) -> BenchOptions:
    workload = Workload.model_validate({"stage": [{"rate_rps": rate, "duration_s": seconds}], "arrival": "constant", "slo": ["p50<60s"]})
    target = TargetSection(provider="nanogpt", base_url=mocks.base_urls["nanogpt"])
    return BenchOptions(targets=(target,), workload=workload, out=out / "run", **more)


def ended(out: Path) -> tuple[str, int | None, list[str]]:
    run = RunReader(out / "run").run
    return run.outcome, run.exit_code, [stop.reason for stop in run.stops]


def test_events_come_in_their_order_and_add_up(mocks: EmbeddedMocks, tmp_path: Path) -> None:
    """Planned, then what is sent, answered and spent, then each row, then the end; the sums are those of the folder."""
    with bench(options(mocks, tmp_path, max_requests=100)) as run:
        events: list[Event] = list(run)
    planned, last = events[0], events[-1]
    assert isinstance(planned, Planned)
    assert (planned.kind, planned.requests, planned.folder) == ("bench", 30, tmp_path / "run")
    assert planned.cost_usd is not None
    assert planned.targets[0].on_this_machine
    assert isinstance(last, Finished)
    assert run.finished is last
    assert last.summary is not None
    assert [event.row for event in events if isinstance(event, Judged)] == last.summary.rows
    assert not any(isinstance(event, Stopped) for event in events)
    assert [type(event) for event in events[-2:]] == [Judged, Finished]
    samples = pq.read_table(tmp_path / "run" / "samples.parquet").to_pylist()
    assert sum(event.requests for event in events if isinstance(event, Sent)) == len(samples) == 30
    assert sum(event.requests for event in events if isinstance(event, Answered)) == 30
    spent = [event for event in events if isinstance(event, Spent)]
    assert (spent[-1].spend.requests, spent[-1].spend.images) == (last.spend.requests, last.spend.images) == (30, 30)
    assert spent[-1].spend.cost_usd == pytest.approx(last.spend.cost_usd)
    assert last.spend.requests == 30
    assert last.spend.cost_usd == pytest.approx(sum(sample["cost_usd"] for sample in samples))
    assert last.spend.cost_usd <= planned.cost_usd + 1e-9
    loads = [event.load for event in events if isinstance(event, Answered) and event.load is not None]
    assert {load.provider for load in loads} <= {"nanogpt", None}
    assert (loads[-1].rounds, loads[-1].offered_rps) == (1, 20.0)
    assert list(run) == []
    assert not run.stop()


def test_a_program_stops_it_from_any_thread(mocks: EmbeddedMocks, tmp_path: Path) -> None:
    """What is in flight is waited for, what is there is judged; the end says interrupted, with 130."""
    run = bench(options(mocks, tmp_path, seconds=60.0, max_requests=5000))
    events: list[Event] = []

    def read() -> None:
        for event in run:
            events.append(event)
            if isinstance(event, Sent):
                assert run.stop() == (not any(isinstance(each, Stopped) for each in events[:-1]))

    reader = threading.Thread(target=read)
    reader.start()
    reader.join(60)
    last = events[-1]
    assert isinstance(last, Finished)
    assert (last.exit_code, last.outcome) == (Exit.INTERRUPTED, "interrupted")
    assert [event.interrupted for event in events if isinstance(event, Stopped)] == [True]
    assert last.spend.requests > 0
    assert ended(tmp_path) == ("interrupted", 130, ["interrupted"])


@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize(("limit", "reason"), [({"max_cost_usd": 0.0}, "cost-spent"), ({"max_requests": 0}, "requests-spent")])
def test_a_limit_of_zero_is_a_limit(
    mocks: EmbeddedMocks, tmp_path: Path, limit: dict[str, Any], reason: StopReason, processes: int
) -> None:
    """Nothing is sent, and the run says which limit it was."""
    fleet = FleetJob(workers=processes, spawn=True) if processes > 1 else None
    end = bench(options(mocks, tmp_path, fleet=fleet, **limit)).finish()
    assert (end.exit_code, end.spend.requests, [stop.reason for stop in end.stops]) == (Exit.INCONCLUSIVE, 0, [reason])
    assert ended(tmp_path) == ("inconclusive", 5, [reason])


def test_left_before_its_end_it_is_sealed_as_interrupted(mocks: EmbeddedMocks, tmp_path: Path) -> None:
    """Leaving the block ends the load process, and run.json does not say running."""
    with bench(options(mocks, tmp_path, seconds=60.0, max_requests=5000)) as run:
        next(event for event in run if isinstance(event, Sent))
    assert run.finished is None
    assert ended(tmp_path) == ("interrupted", 130, ["interrupted"])


@pytest.mark.parametrize(
    ("error", "outcome", "code"),
    [(RuntimeError("no"), "error", 4), (KeyboardInterrupt(), "interrupted", 130), (UsageError("no"), "error", 2)],
)
@pytest.mark.parametrize("where", ["write_down", "target_job"])
def test_it_is_sealed_whatever_goes_wrong(
    mocks: EmbeddedMocks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException, outcome: str, code: int, where: str
) -> None:
    """An error before the load, or while samples are sealed and summed up, and Ctrl-C then: run.json says how it ended."""

    def broken(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(running, where, broken)
    with pytest.raises(type(error)), bench(options(mocks, tmp_path, seconds=0.5, max_requests=50)) as run:
        list(run)
    assert ended(tmp_path)[:2] == (outcome, code)


def test_a_load_process_that_dies_is_an_error_with_its_exit_code(
    mocks: EmbeddedMocks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed from outside, it leaves a sealed run, exit code 4, and what it had written."""
    run = bench(options(mocks, tmp_path, seconds=60.0, max_requests=5000))
    next(event for event in run if isinstance(event, Sent))
    assert run._session is not None
    assert run._session._process is not None
    run._session._process.kill()
    with pytest.raises(TestcardError, match="died") as raised:
        run.finish()
    assert raised.value.exit_code == Exit.INTERNAL
    assert ended(tmp_path)[:2] == ("error", 4)
    assert (tmp_path / "run" / "samples.parquet").exists()


def test_what_cannot_be_is_told_before_anything_is_sent(mocks: EmbeddedMocks, tmp_path: Path) -> None:
    """A target that nobody serves, a search without an objective, a folder that holds something, a live target without a limit."""
    nobody = TargetSection(provider="nanogpt", base_url="http://127.0.0.1:1")
    with pytest.raises(TargetUnreachable):
        bench(BenchOptions(targets=(nobody,), max_requests=1, out=tmp_path / "new")).finish()
    assert not (tmp_path / "new").exists()
    (tmp_path / "file").write_text("x")
    with pytest.raises(UsageError, match="not empty"):
        bench(BenchOptions(out=tmp_path))
    with pytest.raises(UsageError, match="not negative"):
        BenchOptions(max_cost_usd=-1.0)
    live = TargetSection(provider="nanogpt", base_url="https://nano-gpt.invalid", live=True)
    with pytest.raises(UsageError, match="bound"):
        bench(BenchOptions(targets=(live,), out=tmp_path / "new")).finish()


def test_what_another_version_of_a_package_costs_is_said_on_start(
    mocks: EmbeddedMocks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The load process finds no private name of geventhttpclient: an event says what is lost, and the load goes on without it."""
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\n"
        "if 'testcard.benchmarks.run.load_process' in sys.orig_argv:\n"
        "    import locust\n"
        "    from geventhttpclient.connectionpool import ConnectionPool\n"
        "    del ConnectionPool._create_socket\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with bench(options(mocks, tmp_path, seconds=0.3, max_requests=20)) as run:
        events = list(run)
    (note,) = [event.sentence for event in events if isinstance(event, Noted)]
    assert note.startswith("note: geventhttpclient")
    assert run.finished is not None
    assert run.finished.summary is not None
    assert [row.errors for row in run.finished.summary.rows] == [{}]


def test_a_mistake_in_the_consumer_ends_and_seals_it(mocks: EmbeddedMocks, tmp_path: Path) -> None:
    """What the caller's loop raises comes out as it is, the load process ends, run.json does not say running."""
    run = bench(options(mocks, tmp_path, seconds=60.0, max_requests=5000))

    def read() -> None:
        with run:
            for event in run:
                if isinstance(event, Sent):
                    raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        read()
    assert ended(tmp_path) == ("interrupted", 130, ["interrupted"])
    with pytest.raises(dataclasses.FrozenInstanceError):
        run.options.max_requests = 1  # type: ignore[misc]


def test_the_public_name_is_the_same_thing() -> None:
    """`testcard.harness.api` gives it by name."""
    assert bench is running.bench
    assert BenchRun is running.BenchRun


def test_run_json_is_what_a_run_of_the_command_has(mocks: EmbeddedMocks, tmp_path: Path) -> None:
    """Workload, limits, cells: enough to compare runs."""
    bench(options(mocks, tmp_path, seconds=0.3, max_requests=50)).finish()
    kept = json.loads((tmp_path / "run" / "run.json").read_text())
    assert kept["config"]["max_requests"] == 50
    assert kept["config"]["cells"][0]["operation"] == "createImage"
