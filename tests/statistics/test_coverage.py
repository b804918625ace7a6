"""Seeded simulation: how often the intervals hold the truth, and how rarely an objective is judged falsely. Prints what it found.

A few cells of the tables that `coverage_table.py` prints whole (docs/decisions/0029-percentiles-are-always-shown.md), with few series and so
with room for chance: three standard errors below (or above) what the tables have.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from testcard.harness.statistics import percentiles, rates
from testcard.harness.statistics.correlation import Correlation
from testcard.harness.statistics.percentiles import dkw


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


table = _script("coverage_table")
REGIMES = sys.modules["regimes"].REGIMES
SERIES = 100


@pytest.mark.parametrize(
    ("name", "n", "least"),
    [
        ("independent", 40, {"p50": 0.90, "p90": 0.90, "p95": 0.92}),
        ("independent", 400, {"p50": 0.88, "p95": 0.90, "p99": 0.90}),
        ("heavy tail", 200, {"p50": 0.88, "p95": 0.90}),
        ("trend of 20 %", 400, {"p50": 0.90, "p95": 0.90}),
        ("rounds wander by 10 %", 100, {"p50": 0.82, "p95": 0.88}),
        ("AR(1) 0.8", 100, {"p50": 0.86, "p95": 0.88}),
        ("AR(1) 0.8", 400, {"p50": 0.88, "p95": 0.90}),
        ("M/M/1 at 0.7", 400, {"p50": 0.86, "p95": 0.80, "p99": 0.80}),
        ("M/D/1 at 0.7", 200, {"p50": 0.86, "p95": 0.82}),
        ("M/M/1 at 0.9", 400, {"p50": 0.74, "p95": 0.80}),
        ("M/D/1 at 0.9", 1000, {"p50": 0.84, "p95": 0.78}),
        ("one freeze, 4 %", 400, {"p50": 0.92, "p95": 0.95, "p99": 0.95}),
    ],
)
def test_percentiles_are_covered(name: str, n: int, least: dict[str, float]) -> None:
    """Always a value, and an interval that holds the truth (an open end holds what lies beyond it) as often as the table says."""
    found = table.percentile_cell(name, REGIMES[name], n, SERIES)
    print({key: f"covers {coverage:.2f}, open {open_end:.2f}, high/low {width:.2f}" for key, (coverage, open_end, width) in found.items()})
    for key, share in least.items():
        assert found[key][0] >= share, key


def test_independent_samples_do_not_pay_for_correlation() -> None:
    """Two-sided intervals of p95 at n = 200 in nearly all series, about as wide as if independence were known (1.33)."""
    _, open_end, width = table.percentile_cell("independent", REGIMES["independent"], 200, SERIES)["p95"]
    assert open_end <= 0.15
    assert width <= 1.45


def test_independence_would_have_been_wrong_in_a_queue() -> None:
    """The same method without a design effect covers a third of a queue's percentiles: it is needed, and the simulation can tell."""
    generator, regime = np.random.default_rng(5), REGIMES["M/M/1 at 0.7"]
    hits = 0
    for _ in range(SERIES):
        found = percentiles.quantile(regime.draw(generator, 400, 8), 0.95)
        assert found.low is not None
        assert found.high is not None
        hits += found.low <= regime.truth(0.95) <= found.high
    assert hits / SERIES <= 0.6


@pytest.mark.parametrize(
    ("name", "n", "powers"),
    [
        ("independent", 60, {"fail at 4×": 0.75, "fail at 44 %": 0.98}),
        ("independent", 200, {"fail at 2×": 0.55, "pass at 1/10": 0.80}),
        ("rounds wander by 10 %", 100, {"fail at 4×": 0.80, "pass at 1/100": 0.40}),
        ("AR(1) 0.8", 200, {"fail at 44 %": 0.95}),
        ("M/M/1 at 0.7", 200, {"fail at 44 %": 0.90}),
        ("M/M/1 at 0.9", 400, {"fail at 44 %": 0.40}),
        ("M/D/1 at 0.9", 60, {}),
        ("one freeze, 4 %", 200, {"pass at 1/100": 0.80}),
    ],
)
def test_objectives_are_judged_falsely_in_at_most_one_of_twenty_five(name: str, n: int, powers: dict[str, float]) -> None:
    """With the limit at the true p95: 4 % by the table, 9 % allowing for chance in 100 series; and power where there is something to find."""
    found = table.limit_cell(name, REGIMES[name], n, SERIES)
    print({key: round(value, 3) for key, value in found.items()})
    assert found["false fail"] <= 0.09
    assert found["false pass"] <= 0.09
    for key, least in powers.items():
        assert found[key] >= least, key


@pytest.mark.parametrize("name", ["independent", "AR(1) 0.8", "M/M/1 at 0.7", "M/M/1 at 0.9"])
def test_four_looks_are_as_careful_as_one(name: str) -> None:
    """A growing series judged four times: falsely in at most one of twenty-five either way (10 % allowing for chance)."""
    found = table.looks_cell(name, REGIMES[name], 300, SERIES)
    print(found)
    assert max(found.values()) <= 0.10


@pytest.mark.parametrize(
    ("name", "least"), [("independent", 0.90), ("AR(1) 0.8", 0.90), ("M/M/1 at 0.7", 0.88), ("rounds wander by 10 %", 0.82)]
)
def test_the_band_of_the_curve_holds_under_correlation(name: str, least: float) -> None:
    """The whole true distribution lies inside the band; as if independent it would in half of the correlated series or fewer."""
    with_rounds, without = table.band_cell(name, REGIMES[name], 200, SERIES)
    print(f"{with_rounds:.2f}, as if independent {without:.2f}")
    assert with_rounds >= least
    if name not in ("independent", "rounds wander by 10 %"):
        assert without <= 0.65


@pytest.mark.parametrize(
    ("name", "n", "users", "least"),
    [
        ("independent", 60, None, {"goodput": 0.88, "cost": 0.90}),
        ("M/M/1 at 0.9", 60, None, {"goodput": 0.84}),
        ("M/D/1 at 0.7", 200, None, {"goodput": 0.86, "cost": 0.86}),
        ("AR(1) 0.8", 100, 1, {"rate": 0.78, "goodput": 0.76}),
        ("rounds wander by 10 %", 60, 1, {"rate": 0.84, "goodput": 0.84}),
    ],
)
def test_rates_of_good_requests_and_their_cost_are_covered(name: str, n: int, users: int | None, least: dict[str, float]) -> None:
    """Nine of ten requests are in time: what is printed of goodput, its cost and a closed loop's rate, as often as the table says."""
    found = table.figures_cell(name, REGIMES[name], n, SERIES, users=users)
    print({key: f"covers {coverage:.2f}, none or open {none:.2f}, high/low {width:.2f}" for key, (coverage, none, width) in found.items()})
    for key, share in least.items():
        assert found[key][0] >= share, key


def test_goodput_of_a_queue_without_a_late_request_is_not_sure() -> None:
    """Wilson's interval of the share alone holds the truth in a tenth of such runs: none of 60 was late until the next busy spell."""
    generator, regime = np.random.default_rng(9), REGIMES["M/M/1 at 0.9"]
    alone = careful = 0
    for _ in range(SERIES):
        latency = regime.draw(generator, 60, 8)
        good, rounds = latency <= regime.truth(0.9), sys.modules["regimes"].round_numbers(60, 8)
        for latencies in (None, latency):
            found = rates.clustered(good, rounds, latencies=latencies)
            assert found.low is not None
            assert found.high is not None
            held = found.low <= 0.9 <= found.high
            alone, careful = alone + (held and latencies is None), careful + (held and latencies is not None)
    assert alone <= 0.3 * SERIES
    assert careful >= 0.84 * SERIES


def test_the_band_of_independent_samples_is_dkws() -> None:
    """The whole true distribution lies inside the DKW band in at least 95 % of runs."""
    generator = np.random.default_rng(23)
    hits = 0
    for _ in range(500):
        found = dkw(generator.random(100))
        below = np.concatenate(([0.0], found.share[:-1]))
        hits += bool(np.all(found.x <= found.share + found.half_width) and np.all(found.x >= below - found.half_width))
    assert hits / 500 >= 0.95


def test_correlation_is_hinted_at_where_it_is() -> None:
    """AR(1) at 0.5 and a step between rounds are seen in at least 95 % of series; independent ones in about a fifth (two tests at 10 %),
    equal latencies and two values by chance no more often."""
    generator, nothing = np.random.default_rng(11), np.zeros(200, dtype=bool)
    rounds = np.repeat(np.arange(8), 25)

    def hinted(values: np.ndarray) -> bool:
        return Correlation(values, rounds).hinted(nothing)

    alike = REGIMES["AR(1) 0.5"]
    assert np.mean([hinted(alike.draw(generator, 200, 8)) for _ in range(200)]) >= 0.95
    assert np.mean([hinted(generator.normal(size=200) + np.repeat(generator.permutation(8), 25) * 0.5) for _ in range(200)]) >= 0.95
    assert np.mean([hinted(generator.lognormal(size=200)) for _ in range(400)]) <= 0.27
    assert not hinted(np.ones(200))
    assert np.mean([hinted((generator.random(200) < 0.1).astype(float)) for _ in range(400)]) <= 0.27


@pytest.mark.parametrize("share", [0.01, 0.2])
def test_rates_are_covered(share: float) -> None:
    """Wilson intervals of 500 independent trials hold the true rate in at least 93 % of runs."""
    generator = np.random.default_rng(7)
    counts = generator.binomial(500, share, size=3000)
    found = [rates.wilson(int(count), 500) for count in counts]
    assert np.mean([e.low is not None and e.high is not None and e.low <= share <= e.high for e in found]) >= 0.93


def test_errors_in_bursts_are_covered() -> None:
    """Failures in bursts of ten among 1,000 requests: covered in at least 88 % of runs, by Wilson alone in fewer than 75 %."""
    coverage, _ = table.rate_cell(1000, 0.1, 10, 150)
    generator = np.random.default_rng(17)
    plain = []
    for _ in range(150):
        events = np.repeat(generator.random(100) < 0.1, 10)
        alone = rates.wilson(int(events.sum()), 1000)
        assert alone.low is not None
        assert alone.high is not None
        plain.append(alone.low <= 0.1 <= alone.high)
    print(f"covers {coverage:.2f}, alone {np.mean(plain):.2f}")
    assert coverage >= 0.88
    assert np.mean(plain) < 0.75


@pytest.mark.parametrize("units", [6, 10, 30])
def test_ratios_are_covered(units: int) -> None:
    """Bootstrap over rounds of cost / images: at least 90 % of runs hold the truth, even with 6 rounds."""
    generator = np.random.default_rng(units)
    hits, repeats = 0, 300
    for _ in range(repeats):
        level = generator.lognormal(0.0, 0.3, size=units)  # a round's own price level
        images = generator.poisson(40, size=units)
        found = rates.bootstrapped(images * level, images, n=int(images.sum()), resamples=600)
        assert found.low is not None
        assert found.high is not None
        hits += found.low <= np.exp(0.045) <= found.high
    print(f"{units} rounds: covers {hits / repeats:.3f}")
    assert hits / repeats >= 0.90
