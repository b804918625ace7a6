"""How a benchmark goes, on a terminal and in a line: a consumer of its events, drawn anew twice a second."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from testcard.benchmarks.load.tally import FINE
from testcard.harness.events import Answered, Event, LoadState, Spent
from testcard.harness.runs.records import PERCENTILES, Spend
from testcard.harness.statistics.percentiles import needed
from testcard.harness.text.words import count, significant

_BAR = 24


@dataclass
class View:
    """The latest of a benchmark's events. `notice` is a sentence to show beside it, such as that it is stopping."""

    max_requests: int | None = None
    max_cost_usd: float | None = None
    load: LoadState | None = None
    spend: Spend | None = None
    notice: str | None = None
    _heard_s: float = 0.0

    def __call__(self, event: Event) -> None:
        """Takes over what it says."""
        if isinstance(event, Answered) and event.load is not None:
            self.load, self._heard_s = event.load, time.monotonic()
        elif isinstance(event, Spent):
            self.spend = event.spend

    def fields(self) -> dict[str, Any]:
        """The state in a few words each, for a line; empty before there is one."""
        load = self.load
        if load is None:
            return {}
        found: dict[str, Any] = {"target": load.provider or "–", "stage": load.stage or "–", "round": load.round or "–"}
        found["rate"] = _rate(load)
        found |= {name: _so_far(name, value, load) for name, value in _percentiles(load) if value is not None}
        found |= {"in flight": load.in_flight, "sent": self._sent()}
        if money := self._money():
            found["spent"] = money
        found["errors"] = _errors(load) or 0
        return found

    def __rich__(self) -> Any:
        """The state in a few lines."""
        from rich.console import Group
        from rich.text import Text

        lines: list[Text] = []

        def line(name: str, words: str, style: str = "") -> None:
            # As Text: names may look like markup. What is too long for the terminal is cut on the right.
            lines.append(Text.assemble((f"{name:<9}", "dim"), (words, style), overflow="ellipsis", no_wrap=True))

        load = self.load
        if load is None:
            line("bench", self.notice or "starting")
            return Group(*lines)
        line("target", " · ".join(part for part in (load.provider, load.model, load.operation) if part) or "–", "bold")
        share = min(self._passed_s(load) / load.planned_s, 1.0) if load.planned_s else 0.0
        done = round(share * _BAR)
        whole = "" if load.rounds is not None else " of this stage"  # nobody knows how many stages a search takes
        line("time", f"{'━' * done}{'─' * (_BAR - done)} {share:.0%}, {self._left(load)} left{whole}")
        turn = f"try {load.round or '–'}" if load.rounds is None else f"round {load.round or '–'} of {load.rounds}"
        line("stage", f"{load.stage or '–'}, {turn}")
        line("rate", f"{_rate(load)}, {load.in_flight} in flight")
        line("latency", _latency(load))
        line("sent", self._sent() + (f", spent {money}" if (money := self._money()) else ""))
        errors = _errors(load)
        line("errors", errors or "none", "red" if errors else "")
        if self.notice:
            line("", self.notice, "yellow")
        return Group(*lines)

    def _sent(self) -> str:
        sent = self.spend.requests if self.spend is not None else 0
        return f"{sent:,} of at most {self.max_requests:,}" if self.max_requests is not None else f"{sent:,}"

    def _money(self) -> str:
        spent = self.spend.cost_usd if self.spend is not None else None
        if self.max_cost_usd is not None:
            return f"${spent or 0.0:.4f} of at most ${self.max_cost_usd:g}"
        return f"${spent:.4f}" if spent else ""

    def _passed_s(self, load: LoadState) -> float:
        # Between two states the clock goes on; within a turn only, but nobody minds half a second.
        return min(load.passed_s + min(time.monotonic() - self._heard_s, 0.5), load.planned_s)

    def _left(self, load: LoadState) -> str:
        left_s = load.planned_s - load.passed_s if load.left_s is None else load.left_s
        seconds = max(0, round(left_s - min(time.monotonic() - self._heard_s, 0.5)))
        return f"{seconds // 60}:{seconds % 60:02d}" if seconds < 3600 else f"{seconds // 3600}:{seconds % 3600 // 60:02d} h"


def _rate(load: LoadState) -> str:
    achieved = f"{significant(load.achieved_rps)}/s achieved"
    if load.offered_rps is not None:
        return f"{significant(load.offered_rps)}/s offered, {achieved}"
    return f"{count(load.users, 'user')}, {achieved}" if load.users is not None else achieved


def _latency(load: LoadState) -> str:
    n = load.stage_requests
    if load.p50_s is None:
        return "one answer of this stage so far" if n == 1 else "no answer of this stage yet"
    shown = ", ".join(f"{name} {_so_far(name, value, load)}" for name, value in _percentiles(load))
    return f"{shown}, of {n:,} answers of this stage so far"


def _percentiles(load: LoadState) -> tuple[tuple[str, float | None], ...]:
    return ("p50", load.p50_s), ("p95", load.p95_s)


def _so_far(name: str, value: float | None, load: LoadState) -> str:
    """A percentile of the answers so far: marked where they are too few for an interval, and left open where none lies beyond it."""
    n = load.stage_requests
    if value is None:
        return "– (too few)"
    return f"{'≈' if n < needed(PERCENTILES[name]) else ''}{significant(value)} s"


def _errors(load: LoadState) -> str:
    return ", ".join(f"{number:,} {kind}" for kind, number in load.outcomes.items() if kind not in FINE)
