"""Seeded simulation of whole comparisons: servers that queue and drift, runs of 8 rounds, verdicts counted.

The full sizes are in tests/performance/compare_simulation.py, which is run by hand.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from scipy.stats import norm

from testcard.harness.statistics import percentiles, rounds
from testcard.harness.statistics import rounds as round_estimates
from testcard.harness.statistics.compare import compare


def _script(name: str) -> ModuleType:
    """A module beside this one: tests are no package."""
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    return sys.modules[name]


servers = _script("simulated_servers")


def test_the_same_server_twice_shows_no_difference() -> None:
    """A/A: 40 pairs of runs of one drifting, queueing server, six metrics each: at most 2 verdicts of better or worse in all."""
    generator = np.random.default_rng(3)
    verdicts = []
    for _ in range(40):
        server = servers.Server(generator)
        verdicts += [change.verdict for change in compare(servers.run(server), servers.run(server)).changes]
    wrong = sum(verdict in ("better", "worse") for verdict in verdicts)
    print(f"{wrong} false verdicts among {len(verdicts)}")
    assert len(verdicts) == 240
    assert set(verdicts) <= {"better", "worse", "below the margin", "no difference"}
    assert verdicts.count("no difference") >= 0.85 * len(verdicts)
    assert wrong <= 2


def test_a_server_that_is_slower_is_called_worse() -> None:
    """A/B: 15 % slower service is worse in at least 38 of 40 pairs, and the true ratio of p50 lies in its interval in at least 90 %."""
    generator = np.random.default_rng(4)
    truth = servers.true_ratio(np.random.default_rng(5), 1.15, rounds=400)
    pairs, worse, inside = 80, 0, 0
    for _ in range(pairs):
        server = servers.Server(generator)
        old = servers.run(server)
        p50 = next(change for change in compare(servers.run(server, slow=1.15), old).changes if change.metric.name == "p50")
        assert p50.change is not None
        assert p50.change.low is not None
        assert p50.change.high is not None
        worse += p50.verdict == "worse"
        inside += p50.change.low <= truth <= p50.change.high
    print(f"worse in {worse} of {pairs}; the true ratio {truth:.3f} inside {inside / pairs:.3f} of the intervals")
    assert worse >= pairs * 38 / 40
    assert inside / pairs >= 0.90


@pytest.mark.parametrize(("slow", "least"), [(1.0, {"p50": 0, "p95": 0}), (1.3, {"p50": 9, "p95": 2}), (2.0, {"p50": 30, "p95": 25})])
def test_eight_rounds_of_six_live_requests_decide(slow: float, least: dict[str, int]) -> None:
    """One user, 2 s a picture, log-normal, 30 pairs: twice as slow is worse every time, itself is called worse or better at most twice
    among both metrics and nearly always "no difference", and something is always said (see the table for 1.3 times)."""
    generator = np.random.default_rng(int(10 * slow))
    words: dict[str, list[str]] = {"p50": [], "p95": []}
    for _ in range(30):
        old, new = servers.pair("live, 8 rounds of 6", generator, slow)
        for change in compare(new, old, metrics=["p50", "p95"]).changes:
            words[change.metric.name].append(change.verdict)
    print(slow, {name: {word: said.count(word) for word in set(said)} for name, said in words.items()})
    for name, said in words.items():
        assert said.count("worse") >= least[name]
        if slow == 1.0:
            assert sum(word in ("worse", "better") for word in said) <= 2
            assert said.count("no difference") >= 23
            assert "no decision" not in said


def test_targets_of_one_run_are_told_apart_by_sixty_requests_each() -> None:
    """Three targets, the last 28 % slower, 8 rounds of 8 with speeds of their own, Holm over three pairs: found in half of the runs
    or more, two alike called different in one of ten at most (the table: 0.60 and 0.045)."""
    power, false, coverage, _ = _script("coverage_table").pairs_cell(8, 8, 0.0, 80)
    print(f"found {power:.2f}, false {false:.3f}, ratio covered {coverage:.2f}")
    assert power >= 0.48
    assert false <= 0.10
    assert coverage >= 0.88


def test_single_requests_would_have_raised_false_alarms() -> None:
    """The same pairs, compared request by request with the same t-test: several times the nominal 5 % (so rounds are needed)."""
    generator = np.random.default_rng(6)
    alarms = 0
    for _ in range(60):
        server = servers.Server(generator)
        one, other = (np.concatenate([latency for _, latency in servers.rounds_of(server)]) for _ in range(2))
        alarms += rounds.log_difference(one, other).p_differs < 0.05
    print(f"{alarms / 60:.2f} of A/A pairs differ when single requests are compared")
    assert alarms / 60 >= 0.15


def test_rounds_that_resemble_each_other_are_covered() -> None:
    """Round values with a correlation of 0.4 from one to the next: the interval covers at least 90 % (plain Welch: less)."""
    generator = np.random.default_rng(7)
    hits = 0
    for _ in range(1500):
        series = generator.normal(size=16) * 0.05 + 0.04 * servers.drift(generator, 16, 0.4)
        found = rounds.difference(series[8:], series[:8])
        hits += found.low <= 0.0 <= found.high
    print(f"covers {hits / 1500:.3f}")
    assert hits / 1500 >= 0.90


@pytest.mark.parametrize("n", [20, 50, 100, 200])
def test_the_round_estimate_beats_an_order_statistic(n: int) -> None:
    """Harrell–Davis against the nearest rank, on log-normal rounds of n requests: p50 errs at least 3 % less, p95 at most 1 % more, and
    neither is off by more than 4 % at any size, so rounds of different sizes can be compared."""
    generator = np.random.default_rng(8)
    ordered = np.sort(generator.lognormal(0, 0.4, (3000, n)))
    for q, most in ((0.5, 0.97), (0.95, 1.01)):
        truth = 0.4 * norm.ppf(q)
        smooth = np.log([round_estimates.harrell_davis(row, q) for row in ordered]) - truth
        plain = np.log(ordered[:, percentiles.nearest_rank(n, q) - 1]) - truth
        error = np.sqrt(np.mean(smooth**2)) / np.sqrt(np.mean(plain**2))
        print(f"p{100 * q:g} of {n}: error {error:.3f} of the order statistic's, bias {smooth.mean():+.3f} against {plain.mean():+.3f}")
        assert error <= most
        assert abs(smooth.mean()) <= 0.04
