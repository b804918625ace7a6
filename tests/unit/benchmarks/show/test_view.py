"""What is shown of a run while it goes on: on a terminal of any width, and in a line."""

from __future__ import annotations

import io
import time
from typing import Any

import pytest
from rich.console import Console

from testcard.benchmarks.show.view import View
from testcard.harness.events import Answered, LoadState, Spent
from testcard.harness.progress import Progress
from testcard.harness.runs.records import Spend


def heard(view: View, **more: Any) -> View:
    """The view after the events of half a second."""
    requests, spent_usd = more.pop("requests", 1234), more.pop("spent_usd", 0.5)
    load = LoadState(**{
        "passed_s": 10.0, "planned_s": 40.0, "provider": "nanogpt", "model": "[/flux]", "operation": "createImage", "stage": "10/s", "round": 3,
        "rounds": 8, "offered_rps": 10.0, "users": None, "achieved_rps": 9.8, "in_flight": 4, "p50_s": 0.5221, "p95_s": 0.834,
        "stage_requests": 321, "outcomes": {"ok": 1231, "rate-limited": 2, "timeout": 1}, **more,
    })  # fmt: skip
    view(Answered(at_s=10.0, requests=5, load=load))
    view(Spent(spend=Spend(requests=requests, billed_requests=requests, images=requests, cost_usd=spent_usd), done=10.0, total=40.0))
    return view


def drawn(view: View, width: int) -> str:
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None, legacy_windows=False)
    console.print(view)
    return console.file.getvalue()  # type: ignore[attr-defined, no-any-return]


@pytest.mark.parametrize("width", [80, 120])
def test_a_terminal_shows_everything_that_one_watches_a_run_for(width: int) -> None:
    """Target, stage, rate offered and achieved, percentiles, in flight, errors by kind, spend against budget, time left."""
    view = heard(View(max_requests=5000, max_cost_usd=2.0))
    text = drawn(view, width)
    for words in (
        "nanogpt · [/flux] · createImage", "10/s, round 3 of 8", "10/s offered, 9.8/s achieved, 4 in flight", "p50 0.522 s, p95 0.834 s",
        "1,234 of at most 5,000, spent $0.5000 of at most $2", "2 rate-limited, 1 timeout", "25%", "0:30 left",
    ):  # fmt: skip
        assert words in text
    assert max(len(line) for line in text.splitlines()) <= width


def test_a_closed_loop_without_limits_or_answers() -> None:
    """Users instead of a rate; what is not known is not claimed."""
    view = heard(View(), offered_rps=None, users=1, p50_s=None, p95_s=None, outcomes={"ok": 2, "interrupted": 1}, spent_usd=0.0)
    text = drawn(view, 80)
    assert "1 user, 9.8/s achieved" in text
    assert "no answer of this stage yet" in text
    assert "errors   none" in text
    assert "at most" not in text
    assert "$" not in text


def test_a_search_has_tries_and_no_known_end() -> None:
    """A stage that is taken again is a try, not a round of so many; what is left is left of the stage."""
    view = heard(View(), round=2, rounds=None)
    text = drawn(view, 80)
    assert "10/s, try 2" in text
    assert "0:30 left of this stage" in text


def test_before_the_first_word_and_while_stopping() -> None:
    """A display without a state says that it starts; a notice is shown beside the state."""
    view = View()
    assert "starting" in drawn(view, 80)
    heard(view)
    view.notice = "interrupted: waiting up to 0.8 s for what is in flight (again: abort)"
    text = drawn(view, 80)
    assert view.notice in text
    assert "target   nanogpt" in text
    assert "latency  p50" in drawn(view, 60)  # what is too long is cut on the right, never the names


def test_the_line_says_the_same_in_short(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Off a terminal: one line of plain text with target, stage, rates, percentiles, spend and errors."""
    monkeypatch.setenv("TESTCARD_PROGRESS", "plain")
    view = heard(View(max_requests=5000))
    with Progress("bench", unit="s", view=lambda: view) as progress:
        assert not progress.is_live
        progress._started -= 60
        progress.update(10.0, total=40.0, **view.fields())
    (line,) = capsys.readouterr().err.splitlines()
    for words in (
        "target nanogpt",
        "stage 10/s",
        "rate 10/s offered, 9.8/s achieved",
        "p95 0.834 s",
        "in flight 4",
        "sent 1,234 of at most 5,000",
    ):
        assert words in line
    assert "errors 2 rate-limited, 1 timeout" in line
    assert "\x1b" not in line


def test_time_goes_on_between_two_states() -> None:
    """The clock shown moves, but by no more than the load process takes to speak again."""
    view = heard(View(), passed_s=10.0)
    view._heard_s = time.monotonic() - 100
    assert "0:30 left" in drawn(view, 80) or "0:29 left" in drawn(view, 80)
