"""Progress is talk on stderr, in the style that fits whoever reads it."""

from __future__ import annotations

import io
import itertools
import json
import threading
import time

import pytest

from testcard.harness import progress
from testcard.harness.progress import Progress


class Clock:
    """A monotonic clock that the test moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(progress.time, "monotonic", clock)
    return clock


def test_off_a_terminal_there_is_one_line_every_ten_seconds(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    """A CI log gets a line every 10 s however often `update` is called, nothing on stdout, no control characters."""
    with Progress("check", total=100) as shown:
        for step in range(300):
            clock.now += 0.1
            shown.update(step / 3, spend="0.10 USD")
    out, talk = capsys.readouterr()
    lines = talk.splitlines()
    assert out == ""
    assert len(lines) in (2, 3)
    assert all("check" in line and "spend 0.10 USD" in line and "%" in line for line in lines)
    assert "\x1b" not in talk
    assert "\r" not in talk


def test_short_work_says_nothing_off_a_terminal(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    """What is over within 10 s leaves no line."""
    with Progress("check", total=10) as shown:
        clock.now += 5
        shown.update(10)
    assert capsys.readouterr().err == ""


def test_json_lines_for_a_parent_process(clock: Clock, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """With TESTCARD_PROGRESS=json each line is one object; the last one, at the end, holds the final state."""
    monkeypatch.setenv("TESTCARD_PROGRESS", "json")
    with Progress("bench", unit="s") as shown:
        for step in range(10):
            clock.now += 0.1
            shown.update(float(step), total=9.0, errors=step)
    records = [json.loads(line)["testcard.progress"] for line in capsys.readouterr().err.splitlines()]
    assert 3 <= len(records) <= 7
    assert records[-1] == {"label": "bench", "done": 9.0, "total": 9.0, "unit": "s", "fields": {"errors": 9}}


def test_silence_can_be_asked_for(clock: Clock, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """TESTCARD_PROGRESS=none prints nothing at all."""
    monkeypatch.setenv("TESTCARD_PROGRESS", "none")
    with Progress("check") as shown:
        clock.now += 100
        shown.update(5)
    assert capsys.readouterr().err == ""


def test_quiet_is_silent_but_for_a_parent_process(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """quiet=True: no progress and no talk; `evaluate` still hears how far its child is."""
    for style, lines in (("plain", 0), ("live", 0), ("json", 1)):
        monkeypatch.setenv("TESTCARD_PROGRESS", style)
        with Progress("bench", quiet=True) as shown:
            clock.now += 100
            shown.say("a worker is ready")
            shown.update(5)
            assert not shown.is_live
        assert len(set(capsys.readouterr().err.splitlines())) == lines


@pytest.mark.parametrize(("terminal", "term", "live"), [(True, "xterm", True), (True, "dumb", False), (False, "xterm", False)])
def test_only_a_terminal_that_can_be_redrawn_gets_a_live_display(
    monkeypatch: pytest.MonkeyPatch, terminal: bool, term: str, live: bool
) -> None:
    """A pipe and a dumb terminal get plain lines; the display ends with its block."""
    monkeypatch.delenv("TESTCARD_PROGRESS", raising=False)
    monkeypatch.setenv("TERM", term)
    monkeypatch.setattr(progress.sys.stderr, "isatty", lambda: terminal)
    with Progress("bench", view=lambda: "a picture of it") as shown:
        assert shown.is_live == live
    assert not shown.is_live


def test_the_time_left_is_estimated(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    """A quarter done in 20 s leaves a minute."""
    with Progress("check", total=100) as shown:
        clock.now += 20
        shown.update(25)
    assert "60 s left" in capsys.readouterr().err


def test_a_live_line_takes_any_text(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Names with brackets are shown, not read as markup, and the line is gone afterwards from stdout's point of view."""
    for name, value in (("TESTCARD_PROGRESS", "live"), ("FORCE_COLOR", "1"), ("COLUMNS", "200"), ("TERM", "xterm")):
        monkeypatch.setenv(name, value)  # rich takes the captured stderr for a terminal
    with Progress("check [/nonsense]", total=4) as shown:
        shown.update(2, model="[/b]flux[red]")
        assert shown._live is not None
        shown._live.refresh()
    out, talk = capsys.readouterr()
    assert out == ""
    assert "check [/nonsense]" in talk
    assert "model [/b]flux[red]" in talk


class Reluctant(io.StringIO):
    """A stream that lets another thread go first after every piece that is written."""

    def write(self, text: str) -> int:
        size = super().write(text)
        time.sleep(1e-5)
        return size


def test_updates_from_several_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers may report at once; every line is whole, and the last one holds what was done."""
    monkeypatch.setenv("TESTCARD_PROGRESS", "json")
    monkeypatch.setattr(progress.sys, "stderr", stream := Reluctant())
    ticks = itertools.count()
    monkeypatch.setattr(progress.time, "monotonic", lambda: float(next(ticks)))  # every update is due
    together = threading.Barrier(4)

    def report(shown: Progress) -> None:
        together.wait()
        for number in range(100):
            shown.update(number, model="m" * 50)

    with Progress("check", total=400) as shown:
        threads = [threading.Thread(target=report, args=(shown,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        shown.update(400)
    records = [json.loads(line)["testcard.progress"] for line in stream.getvalue().splitlines()]
    assert len(records) > 100
    assert all(record["fields"] == {"model": "m" * 50} for record in records)
    assert records[-1]["done"] == 400
