"""No path through a watch spends more than the day's budget: not at any order of looks, not after a crash, not in a second process."""

from __future__ import annotations

import json
import os
import random
import threading
from pathlib import Path

import pytest

from testcard.harness.errors import UsageError
from testcard.harness.watch.ledger import DailyLimits, DayLedger, LookGrant

TODAY = "2026-11-29"


def ledger(folder: Path, limits: DailyLimits, *targets: str, day: list[str] | None = None) -> DayLedger:
    days = day if day is not None else [TODAY]
    return DayLedger(folder, limits, targets or ("one",), lambda: days[0])


def test_what_is_reserved_is_on_disk_before_it_is_granted(tmp_path: Path) -> None:
    """Whoever kills the process at that moment leaves it behind."""
    with ledger(tmp_path, DailyLimits(10)) as mine:
        assert mine.reserve("one", 4, 0.5) is not None
        state = json.loads((tmp_path / "state.json").read_text())
        assert state["targets"]["one"]["held_requests"] == 4
    with ledger(tmp_path, DailyLimits(10)) as again:
        assert again.spent() == (4, 0.5)
        assert again.reserve("one", 7, 0.0) is None
        assert again.reserve("one", 6, 0.0) is not None


def test_a_settled_grant_gives_back_what_it_did_not_need(tmp_path: Path) -> None:
    """And books what it did."""
    with ledger(tmp_path, DailyLimits(10, 1.0)) as mine:
        grant = mine.reserve("one", 10, 0.9)
        assert grant == LookGrant("one", 10, 0.9)
        assert mine.reserve("one", 1, 0.0) is None
        mine.settle(grant, 3, 0.2)
        assert mine.spent() == (3, pytest.approx(0.2))
        assert mine.reserve("one", 7, 0.8) is not None


def test_a_price_that_nobody_knows_never_fits_a_limit_on_cost(tmp_path: Path) -> None:
    """Without one, it is no obstacle."""
    with ledger(tmp_path / "a", DailyLimits(None, 1.0)) as mine:
        assert mine.reserve("one", 1, None) is None
    with ledger(tmp_path / "b", DailyLimits(10)) as mine:
        assert mine.reserve("one", 1, None) is not None


def test_targets_share_the_day_and_together_never_pass_it(tmp_path: Path) -> None:
    """Also where another set of targets spent before a restart."""
    with ledger(tmp_path, DailyLimits(10), "one", "two", "three") as mine:
        assert [mine.share(name).max_requests for name in mine.targets] == [4, 3, 3]
        assert mine.reserve("two", 4, 0.0) is None
        assert mine.reserve("one", 4, 0.0) is not None
        assert mine.reserve("two", 3, 0.0) is not None
    with ledger(tmp_path, DailyLimits(10), "four") as other:
        assert other.reserve("four", 4, 0.0) is None
        assert other.reserve("four", 3, 0.0) is not None


def test_a_new_day_begins_at_nothing_and_a_clock_set_back_at_what_was_spent(tmp_path: Path) -> None:
    """What is under way over midnight stays reserved."""
    day = [TODAY]
    with ledger(tmp_path, DailyLimits(10), day=day) as mine:
        grant = mine.reserve("one", 6, 0.0)
        assert grant is not None
        day[0] = "2026-11-30"
        assert mine.reserve("one", 5, 0.0) is None
        mine.settle(grant, 6, 0.0)
        assert mine.spent()[0] == 6
        day[0] = "2026-12-01"
        full = mine.reserve("one", 10, 0.0)
        assert full is not None
        mine.settle(full, 10, 0.0)
        day[0] = "2026-11-01"
        assert mine.reserve("one", 1, 0.0) is None


def test_a_second_watch_in_the_same_folder_is_refused(tmp_path: Path) -> None:
    """Two would each have the whole day."""
    with ledger(tmp_path, DailyLimits(10)), pytest.raises(UsageError, match="another watch is running"), ledger(tmp_path, DailyLimits(10)):
        pass
    with ledger(tmp_path, DailyLimits(10)):
        pass


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", '{"schema": "x"}', '{"schema": "testcard.watch/1", "day": 3, "targets": {}}',
     '{"schema": "testcard.watch/1", "day": "2026-11-29", "targets": {"one": {"requests": -5, "cost_usd": 0, "held_requests": 0, "held_usd": 0}}}'],
)  # fmt: skip
def test_a_state_that_cannot_be_read_stops_the_watch(tmp_path: Path, text: str) -> None:
    """Beginning at nothing would spend the day again."""
    (tmp_path / "state.json").write_text(text)
    with pytest.raises(UsageError, match="nobody knows what was spent"), ledger(tmp_path, DailyLimits(10)):
        pass
    assert (tmp_path / "state.json").read_text() == text


def test_many_threads_never_pass_the_limits(tmp_path: Path) -> None:
    """Whatever order they come in, and whatever their looks turn out to cost, within what was granted."""
    names = ("one", "two", "three")
    with ledger(tmp_path, DailyLimits(100, 5.0), *names) as mine:
        sent: list[int] = []

        def work(name: str, seed: int) -> None:
            draw = random.Random(seed)
            for _ in range(12):
                grant = mine.reserve(name, draw.randint(1, 9), draw.random() * 0.4)
                if grant is not None:
                    used = draw.randint(0, grant.requests)
                    sent.append(used)
                    mine.settle(grant, used, (grant.cost_usd or 0.0) * draw.random())

        threads = [threading.Thread(target=work, args=(name, seed)) for name in names for seed in (1, 2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        requests, cost = mine.spent()
        assert requests == sum(sent) <= 100
        assert cost <= 5.0


@pytest.mark.parametrize("name", ["state.json", "watch.lock", "one/history.jsonl"])
@pytest.mark.parametrize("kind", ["pipe", "device", "folder"])
def test_what_is_no_file_in_the_place_of_one_is_refused(name: str, kind: str, tmp_path: Path) -> None:
    """Soon, and before anything is sent: a pipe would be waited for, and a device forgets what was spent."""
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    {"pipe": os.mkfifo, "device": lambda path: path.symlink_to("/dev/zero"), "folder": os.mkdir}[kind](path)
    with pytest.raises(UsageError, match="is no file"), ledger(tmp_path, DailyLimits(10)):
        pass


@pytest.mark.parametrize("text", ["[" * 100_000, '{"schema": "testcard.watch/1", "day": "2026-11-29", "targets": {}, "kept": 5}'])
def test_a_damaged_state_is_refused(text: str, tmp_path: Path) -> None:
    """What was spent is not known then."""
    (tmp_path / "state.json").write_text(text)
    with pytest.raises(UsageError, match="nobody knows"), ledger(tmp_path, DailyLimits(10)):
        pass


def test_a_folder_that_takes_nothing_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk is found out before the first look."""

    def full(self: DayLedger) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(DayLedger, "_write", full)
    with pytest.raises(UsageError, match="No space"), ledger(tmp_path, DailyLimits(10)):
        pass
