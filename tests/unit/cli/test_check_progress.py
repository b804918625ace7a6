"""What the progress line counts while a check runs, and when it has judged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from testcard.harness.cli.check import output as check_output
from testcard.harness.cli.check.output import ProgressLine
from testcard.harness.errors import Exit
from testcard.harness.events import Answered, Finished, Noted, Planned, PlannedTarget, Spent
from testcard.harness.runs.records import Spend

TARGET = PlannedTarget(provider="nanogpt", name="NanoGPT", base_url="http://127.0.0.1:1", mock=True, embedded=False, on_this_machine=True)


class Line:
    """Keeps what a progress line is told."""

    def __init__(self) -> None:
        self.shown: dict[str, Any] = {}
        self.said: list[str] = []
        self.phases: list[str] = []
        self.is_live = False

    def __enter__(self) -> Line:
        return self

    def __exit__(self, *error: object) -> None:
        return None

    def update(self, done: float | None = None, **numbers: Any) -> None:
        self.shown |= numbers

    def phase(self, words: str, *, told: bool = False) -> None:
        self.phases.append(words)

    def say(self, text: str) -> None:
        self.said.append(text)


def test_odd_answers_are_no_findings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Findings are those that come out: 29 odd answers that break nothing end as none. What is waited for is said on the way."""
    line = Line()
    monkeypatch.setattr(check_output, "Progress", lambda *_, **__: line)
    shows = ProgressLine("nanogpt")
    shows.begin()
    assert line.phases == ["planning what to send"]
    spend = Spend(requests=29, billed_requests=0, images=0, cost_usd=0.0)
    shows(Planned(kind="check", targets=(TARGET,), requests=29, images=0, cost_usd=0.0, folder=Path("run")))
    for at in range(29):
        shows(Answered(at_s=float(at), surprising=1))
    shows(Noted(sentence="no answer to e0001 within 330 s"))
    shows(Spent(spend=spend, done=29, total=29))
    assert line.shown["odd"] == 29
    assert "findings" not in line.shown
    shows(Finished(outcome="pass", exit_code=Exit.PASS, folder=Path("run"), spend=spend, reason=None, stop=None, prices="none"))
    assert line.shown["findings"] == 0
    assert line.said == ["no answer to e0001 within 330 s"]
