"""How a run goes, on a terminal and in a line. Drawn by the command's process, from what the load process says twice a second."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from testcard.benchmarks.plan.job import Job
from testcard.harness.runs.records import PERCENTILES
from testcard.harness.statistics.percentiles import needed
from testcard.harness.text.words import significant

#: Outcomes that are no errors.
_FINE = ("ok", "slow", "interrupted")
_BAR = 24


def _so_far(state: dict[str, Any], name: str) -> str:
    """A percentile of the answers so far: marked where they are too few for an interval, and left open where none lies beyond it."""
    value, n = state[f"{name}_s"], state["stage_requests"]
    if value is None:
        return f"– ({n} answers are too few)"
    return f"{'≈' if n < needed(PERCENTILES[name]) else ''}{significant(value)} s"


@dataclass
class View:
    """The latest state of a job's load process. `notice` is a sentence to show beside it, such as that it is stopping."""

    job: Job
    state: dict[str, Any] = field(default_factory=dict)
    notice: str | None = None
    _heard_s: float = 0.0

    def hear(self, state: dict[str, Any]) -> None:
        """Takes over a state (see `load_process`)."""
        self.state, self._heard_s = state, time.monotonic()

    def fields(self) -> dict[str, Any]:
        """The state in a few words each, for a line."""
        state = self.state
        found: dict[str, Any] = {"target": self._target(), "stage": state["stage"] or "–", "round": state["round"] or "–"}
        found["rate"] = self._rate()
        found |= {name: _so_far(state, name) for name in ("p50", "p95") if state[f"{name}_s"] is not None}
        found |= {"in flight": state["in_flight"], "sent": self._sent()}
        if money := self._money():
            found["spent"] = money
        found["errors"] = self._errors() or 0
        return found

    def __rich__(self) -> Any:
        """The state in a few lines."""
        from rich.console import Group
        from rich.text import Text

        lines: list[Text] = []

        def line(name: str, words: str, style: str = "") -> None:
            # As Text: names may look like markup. What is too long for the terminal is cut on the right.
            lines.append(Text.assemble((f"{name:<9}", "dim"), (words, style), overflow="ellipsis", no_wrap=True))

        state = self.state
        if not state:
            line("bench", self.notice or "starting")
            return Group(*lines)
        line("target", self._target(whole=True), "bold")
        share = min(self._passed_s() / state["planned_s"], 1.0) if state["planned_s"] else 0.0
        done = round(share * _BAR)
        line("time", f"{'━' * done}{'─' * (_BAR - done)} {share:.0%}, {self._left()} left{' of this stage' if self.job.more else ''}")
        turn = f"try {state['round'] or '–'}" if self.job.more else f"round {state['round'] or '–'} of {self._rounds()}"
        line("stage", f"{state['stage'] or '–'}, {turn}")
        line("rate", f"{self._rate()}, {state['in_flight']} in flight")
        line("latency", self._latency())
        line("sent", self._sent() + (f", spent {money}" if (money := self._money()) else ""))
        errors = self._errors()
        line("errors", errors or "none", "red" if errors else "")
        if self.notice:
            line("", self.notice, "yellow")
        return Group(*lines)

    def _target(self, *, whole: bool = False) -> str:
        if self.state["cell"] is None:
            return "–"
        cell = self.job.cells[self.state["cell"]]
        return " · ".join(part for part in (cell.provider, cell.model, cell.operation) if part) if whole else cell.provider

    def _rounds(self) -> int:
        return max((block.round for block in self.job.blocks), default=1)

    def _rate(self) -> str:
        state = self.state
        achieved = f"{significant(state['rate_rps'])}/s achieved"
        if state["offered_rps"] is not None:
            return f"{significant(state['offered_rps'])}/s offered, {achieved}"
        return f"{state['users']} user{'s' if state['users'] != 1 else ''}, {achieved}" if state["users"] is not None else achieved

    def _latency(self) -> str:
        state = self.state
        n = state["stage_requests"]
        if state["p50_s"] is None:
            return "one answer of this stage so far" if n == 1 else "no answer of this stage yet"
        shown = ", ".join(f"{name} {_so_far(state, name)}" for name in ("p50", "p95"))
        return f"{shown} (this stage so far, {n:,} answers)"

    def _sent(self) -> str:
        limit = self.job.max_requests
        return f"{self.state['requests']:,} of at most {limit:,}" if limit is not None else f"{self.state['requests']:,}"

    def _money(self) -> str:
        spent, limit = self.state["spent_usd"], self.job.max_cost_usd
        if limit is not None:
            return f"${spent:.4f} of at most ${limit:g}"
        return f"${spent:.4f}" if spent else ""

    def _errors(self) -> str:
        return ", ".join(f"{count:,} {kind}" for kind, count in self.state["outcomes"].items() if kind not in _FINE)

    def _passed_s(self) -> float:
        # Between two states the clock goes on; within a turn only, but nobody minds half a second.
        return min(float(self.state["passed_s"]) + min(time.monotonic() - self._heard_s, 0.5), float(self.state["planned_s"]))

    def _left(self) -> str:
        seconds = max(0, round(self.state["planned_s"] - self._passed_s()))
        return f"{seconds // 60}:{seconds % 60:02d}" if seconds < 3600 else f"{seconds // 3600}:{seconds % 3600 // 60:02d} h"
