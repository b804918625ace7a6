"""Searches of simulated queues: soon, near the true limit and never above what the server can do."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

from testcard.benchmarks.search.bracket import SearchPlan

_FILE = Path(__file__).parents[3] / "statistics" / "search_simulation.py"
_SPEC = importlib.util.spec_from_file_location("search_simulation", _FILE)
assert _SPEC is not None
assert _SPEC.loader is not None
simulation = importlib.util.module_from_spec(_SPEC)
sys.modules["search_simulation"] = simulation
_SPEC.loader.exec_module(simulation)

MARKS = simulation.Server("marks", 4, 0.1, 0.3, 0.55)
#: p95 is 0.55 s at this rate: `true_limit_rps(MARKS)`, which takes seconds.
LIMIT_RPS = 36.5


def test_the_highest_rate_is_found_soon_and_not_too_high() -> None:
    """Of 20 seeds 19 are within 10 % of the limit and none above the capacity, in at most 75 s and 2,600 requests of the server's."""
    found = [simulation.searched(MARKS, seed) for seed in range(20)]
    answers = [outcome.search.answer_rps or 0.0 for outcome in found]
    near = [answer for answer in answers if abs(answer / LIMIT_RPS - 1.0) <= 0.10]
    marks = [outcome for outcome in found if outcome.seconds <= 75 and outcome.requests <= 2600]
    assert len(near) >= 19
    assert max(answers) <= MARKS.capacity_rps
    assert len(marks) >= 19


@pytest.mark.parametrize("seed", range(3))
def test_a_small_budget_is_kept_and_gives_a_lower_rate(seed: int) -> None:
    """With 200 requests: the ramp and one stage, at a rate that holds, and no request more."""
    outcome = simulation.searched(MARKS, seed, SearchPlan(budget=200))
    assert 120 < outcome.requests <= 200
    assert outcome.search.answer_rps is not None
    assert 20 <= outcome.search.answer_rps <= LIMIT_RPS
    assert not outcome.search.found


def test_without_an_objective_the_capacity_is_the_answer() -> None:
    """What the plateau completes, within a tenth; no open-loop stage is needed."""
    for seed in range(5):
        search = simulation.Search(objectives=False)
        draw = simulation.random.Random(seed)
        while (trial := search.next_trial()) is not None:
            assert trial.users is not None
            simulation.window(MARKS, search, trial, draw, seed)
        assert search.found
        assert search.answer_rps == pytest.approx(40.0, rel=0.10)
