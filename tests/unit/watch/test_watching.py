"""A watch looks when it is due and the budget allows it, tells of changes once, and goes on after a restart as if there had been none."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from testcard.harness.check import run as check_run
from testcard.harness.check.options import CheckOptions
from testcard.harness.runs.folder import RunReader
from testcard.harness.runs.records import Spend
from testcard.harness.watch.ledger import DailyLimits, DayLedger
from testcard.harness.watch.looking import LookKind, PlannedLook, Watched, WatchLook, look, prepare
from testcard.harness.watch.watching import Intervals, TargetWatch, VerdictChange, day_of

NOON = 1_795_953_600.0  # 2026-11-29 12:00 UTC
BROKEN = [("image.size", "createImage")]


class FakeClock:
    """Time that passes only by waiting; ends the watch at a moment."""

    def __init__(self, start: float = NOON, end: float = NOON + 3600) -> None:
        self.time, self.end = start, end

    def now(self) -> float:
        return self.time

    def wait(self, seconds: float) -> bool:
        self.time += seconds
        return self.time >= self.end


class FakeLooker:
    """Looks that cost what they are told and find what they are told."""

    def __init__(
        self, found: Callable[[int], tuple[str, list[tuple[str, str]]]] = lambda number: ("pass", []), spend: int | None = None
    ) -> None:
        self.found, self.spend = found, spend
        self.taken: list[tuple[LookKind, int]] = []

    def __call__(
        self, watched: Watched, prepared: PlannedLook, *, requests: int, cost_usd: float | None, folder: Path, at: str, started: Any
    ) -> WatchLook:
        word, broken = self.found(sum(kind == prepared.kind for kind, _ in self.taken))
        self.taken.append((prepared.kind, requests))
        folder.mkdir(parents=True)
        (folder / "run.json").write_text("{}")
        spend = Spend(requests=requests if self.spend is None else self.spend, billed_requests=1, images=1, cost_usd=prepared.cost_usd)
        return WatchLook(at=at, target=watched.name, kind=prepared.kind, word=word, broken=broken, spend=spend, run=folder.name)  # type: ignore[arg-type]


class Heard:
    """A listener that keeps what it heard, and a courier that fails as often as it is told."""

    def __init__(self, failing: int = 0) -> None:
        self.looks: list[WatchLook] = []
        self.off: list[LookKind] = []
        self.changes: list[VerdictChange] = []
        self.delivered: list[VerdictChange] = []
        self.failing = failing

    def looked(self, look: WatchLook) -> None:
        self.looks.append(look)

    def put_off(self, target: str, kind: LookKind) -> None:
        self.off.append(kind)

    def changed(self, change: VerdictChange) -> None:
        self.changes.append(change)

    def deliver(self, change: VerdictChange) -> bool:
        self.failing -= 1
        if self.failing < 0:
            self.delivered.append(change)
        return self.failing < 0


@pytest.fixture
def watching(tmp_path: Path) -> Iterator[Callable[..., tuple[TargetWatch, FakeLooker, Heard]]]:
    """Makes a watch of one target in the test's folder; each call is another process's."""
    opened: list[DayLedger] = []

    def make(
        clock: FakeClock, looker: FakeLooker | None = None, *, limits: DailyLimits | None = None, check_s: float | None = 600.0,
        probe_s: float | None = None, heard: Heard | None = None, keep: int = 50,
    ) -> tuple[TargetWatch, FakeLooker, Heard]:  # fmt: skip
        for one in opened:
            one.__exit__()
        opened.append(DayLedger(tmp_path, limits or DailyLimits(), ["one"], lambda: day_of(clock.now())).__enter__())
        options = CheckOptions(provider="nanogpt")
        prepared: dict[LookKind, PlannedLook] = {
            "check": PlannedLook("check", options, 10, 0.1),
            "probe": PlannedLook("probe", options, 1, 0.01),
        }
        looker, heard = looker or FakeLooker(), heard or Heard()
        watch = TargetWatch(
            Watched("one", options), prepared, Intervals(check_s, probe_s), opened[-1], clock, looker, [heard], courier=heard, keep=keep
        )
        return watch, looker, heard

    yield make
    for one in opened:
        one.__exit__()


def test_each_kind_is_looked_at_on_its_interval(watching: Any) -> None:
    """From the first moment on, a check every ten minutes and a probe every two and a half."""
    watch, looker, _ = watching(FakeClock(), check_s=600.0, probe_s=150.0)
    watch.run()
    kinds = [kind for kind, _ in looker.taken]
    assert kinds.count("check") == 6
    assert kinds.count("probe") == 24


def test_the_day_s_budget_ends_the_looks_until_the_next_day(watching: Any) -> None:
    """A look that does not fit is put off to midnight, and nothing smaller is sent in its place; from then on it goes on."""
    clock = FakeClock(end=NOON + 36 * 3600)
    watch, looker, heard = watching(clock, limits=DailyLimits(35))
    watch.run()
    days = [look.at[:10] for look in heard.looks]
    assert days.count("2026-11-29") == 3
    assert days.count("2026-11-30") == 3
    assert next(look.at for look in heard.looks if look.at.startswith("2026-11-30")) == "2026-11-30T00:00:00Z"
    assert {requests for _, requests in looker.taken} == {10}
    assert heard.off[:1] == ["check"]
    assert len(heard.off) == 2


def test_the_limit_on_cost_holds_as_well(watching: Any) -> None:
    """Whichever comes first."""
    watch, looker, _ = watching(FakeClock(end=NOON + 11 * 3600), limits=DailyLimits(1000, 0.25))
    watch.run()
    assert len(looker.taken) == 2


def test_a_restart_neither_looks_again_at_once_nor_spends_again(watching: Any) -> None:
    """What was spent and when was looked stay."""
    watch, looker, _ = watching(FakeClock(end=NOON + 300), limits=DailyLimits(30))
    watch.run()
    assert len(looker.taken) == 1
    watch, looker, _ = watching(FakeClock(start=NOON + 300, end=NOON + 500), limits=DailyLimits(30))
    watch.run()
    assert looker.taken == []
    watch, looker, _ = watching(FakeClock(start=NOON + 500, end=NOON + 7200), limits=DailyLimits(30))
    watch.run()
    assert len(looker.taken) == 2


def test_a_look_that_raises_counts_as_all_that_it_was_allowed(watching: Any) -> None:
    """How far it came is not known."""

    def fail(number: int) -> tuple[str, list[tuple[str, str]]]:
        raise OSError("disk full")

    watch, _, _ = watching(FakeClock(), FakeLooker(fail), limits=DailyLimits(15))
    with pytest.raises(OSError, match="disk full"):
        watch.run()
    assert watch.ledger.spent() == (10, 0.0)
    watch, looker, heard = watching(FakeClock(start=NOON + 900), limits=DailyLimits(15))
    watch.run()
    assert looker.taken == []
    assert heard.off == ["check"]


def test_what_was_not_needed_is_given_back(watching: Any) -> None:
    """So that the budget lasts."""
    watch, looker, _ = watching(FakeClock(end=NOON + 5 * 3600), FakeLooker(spend=2), limits=DailyLimits(30))
    watch.run()
    assert len(looker.taken) == 11


WORDS = [
    # what successive checks find, and what is told
    (["pass", "pass"], []),
    (["fail"], [(None, "fail")]),
    (["pass", "fail", "fail", "pass"], [("pass", "fail"), ("fail", "pass")]),
    (["pass", "inconclusive", "pass"], []),
    (["pass", "inconclusive", "fail"], [("pass", "fail")]),
    (["pass", "error", "pass"], []),
    (["fail", "unreachable", "fail"], [(None, "fail"), ("fail", "unreachable"), ("unreachable", "fail")]),
    (["pass", "unreachable", "unreachable"], [("pass", "unreachable")]),
]


@pytest.mark.parametrize(("words", "told"), WORDS, ids=lambda value: "-".join(map(str, value)))
def test_a_change_of_verdict_is_told_once(watching: Any, words: list[str], told: list[tuple[str | None, str]]) -> None:
    """What decides nothing is no news."""
    looker = FakeLooker(lambda number: (words[number], BROKEN if words[number] == "fail" else []))
    watch, _, heard = watching(FakeClock(end=NOON + 600 * len(words)), looker)
    watch.run()
    assert [(one.before, one.now) for one in heard.changes] == told
    assert heard.delivered == heard.changes


def test_another_broken_promise_is_a_change_and_says_which(watching: Any) -> None:
    """Although the word is the same."""
    found = [BROKEN, [("auth.required", "createImage")]]
    watch, _, heard = watching(FakeClock(end=NOON + 1200), FakeLooker(lambda number: ("fail", found[number])))
    watch.run()
    change = heard.changes[-1]
    assert change.newly_broken == [("auth.required", "createImage")]
    assert change.kept_again == [("image.size", "createImage")]


def test_a_webhook_that_fails_is_told_again_also_by_the_next_process(watching: Any) -> None:
    """In order, each change once; whoever listens in the process hears of it once."""
    words = ["pass", "fail", "pass", "pass"]
    looker = FakeLooker(lambda number: (words[number], BROKEN if words[number] == "fail" else []))
    watch, _, heard = watching(FakeClock(end=NOON + 1800), looker, heard=Heard(failing=99))
    watch.run()
    assert heard.delivered == []
    assert len(heard.changes) == 2
    watch, _, later = watching(FakeClock(start=NOON + 1800, end=NOON + 2400))
    watch.run()
    assert [(one.before, one.now) for one in later.delivered] == [("pass", "fail"), ("fail", "pass")]
    assert later.changes == []
    watch, _, last = watching(FakeClock(start=NOON + 2400, end=NOON + 3000))
    watch.run()
    assert last.delivered == []


def test_history_keeps_every_look_and_the_newest_runs_stay(watching: Any, tmp_path: Path) -> None:
    """Old run folders go, their lines stay."""
    watch, looker, _ = watching(FakeClock(), probe_s=300.0, keep=2)
    watch.run()
    lines = [json.loads(line) for line in (tmp_path / "one" / "history.jsonl").read_text().splitlines()]
    assert len(lines) == len(looker.taken) == 18
    assert {"at", "target", "kind", "word", "spend"} <= lines[0].keys()
    runs = sorted(one.name for one in (tmp_path / "one").iterdir() if one.is_dir())
    assert [name.split("-")[0] for name in runs] == ["check", "check", "probe", "probe"]


def test_a_clock_that_is_set_back_does_not_silence_the_watch(watching: Any) -> None:
    """The next look is at most an interval away."""
    watch, _, _ = watching(FakeClock())
    watch.run()
    watch, looker, _ = watching(FakeClock(start=NOON - 86400, end=NOON - 86400 + 700))
    watch.run()
    assert len(looker.taken) == 1


def test_once_looks_at_each_kind_once(watching: Any) -> None:
    """As from cron."""
    watch, looker, _ = watching(FakeClock(), probe_s=60.0)
    watch.run(once=True)
    assert [kind for kind, _ in looker.taken] == ["check", "probe"]


def test_a_look_that_is_being_judged_when_the_watch_ends_is_sealed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long judging takes: the run says that it was interrupted, what was sent is booked, and the look is in the history."""
    judging, over = threading.Event(), threading.Event()

    def judge(*_: Any, **__: Any) -> Any:
        judging.set()
        over.wait(60)
        raise RuntimeError("nobody waits for this any more")

    monkeypatch.setattr(check_run, "judge_records", judge)
    watched = Watched("one", CheckOptions(provider="nanogpt"))
    heard = Heard()
    with DayLedger(tmp_path, DailyLimits(), ["one"], lambda: day_of(NOON)) as ledger:
        watch = TargetWatch(watched, {"probe": prepare(watched, "probe")}, Intervals(None, 600.0), ledger, FakeClock(), look, [heard])
        looking = threading.Thread(target=watch.take, args=("probe",), daemon=True)
        looking.start()
        assert judging.wait(60)
        watch.stop()
        looking.join(30)
        over.set()
        assert ledger.spent()[0] == 1
    (found,) = heard.looks
    assert (found.word, found.reason) == ("inconclusive", "interrupted")
    assert RunReader(tmp_path / "one" / str(found.run)).run.outcome == "interrupted"
