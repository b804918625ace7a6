"""Seeded simulation: how often the intervals hold the truth. Prints what it found, so that a reader can see the margin."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from scipy.signal import lfilter
from scipy.stats import norm

from testcard.harness.statistics import percentiles, ratios, serial, slo, summary
from testcard.harness.statistics.percentiles import dkw

Floats = npt.NDArray[np.float64]


def ar1(generator: np.random.Generator, n: int, correlation: float) -> Floats:
    """A stationary AR(1) series, standard normal at each point."""
    noise = generator.normal(size=n + 300) * np.sqrt(1 - correlation**2)
    return np.asarray(lfilter([1], [1, -correlation], noise)[300:])


def queue(generator: np.random.Generator, n: int, load: float) -> Floats:
    """Latencies of an M/M/1 queue with one arrival a second, in steady state: exponential with mean load/(1 − load)."""
    service, gaps = generator.exponential(size=n + 2000) * load, generator.exponential(size=n + 2000)
    walk = np.concatenate(([0.0], np.cumsum(service[:-1] - gaps[1:])))
    return (walk - np.minimum.accumulate(walk) + service)[2000:]


def frame(latencies: Floats, rounds: int) -> pd.DataFrame:
    """The latencies as samples of a benchmark: one request a second, in so many rounds."""
    n = len(latencies)
    scheduled = np.arange(float(n))
    texts = {"provider": "p", "model": "m", "operation": "o", "stage": "s", "outcome": "ok"}
    return pd.DataFrame({
        **{name: pd.Categorical.from_codes(np.zeros(n, dtype=np.int8), [text]) for name, text in texts.items()},
        "round": np.arange(n) * rounds // n, "scheduled_s": scheduled, "sent_s": scheduled, "first_byte_s": scheduled,
        "done_s": scheduled + latencies, "images": 1, "megapixels": 1.0, "cost_usd": 0.01, "warmup": False,
    })  # fmt: skip


def covered(
    draw: Callable[[np.random.Generator], Floats], truth: Callable[[float], float], names: list[str], *, repeats: int, rounds: int
) -> dict[str, tuple[float, float]]:
    """For each percentile the share of claimed intervals that hold the truth, and the share of series that claimed one."""
    generator = np.random.default_rng(2026)
    hits, claims = dict.fromkeys(names, 0), dict.fromkeys(names, 0)
    for _ in range(repeats):
        row = summary.summarise(frame(draw(generator), rounds)).rows[0]
        for name in names:
            found = row.latency_s[name]
            if found.low is not None and found.high is not None:
                claims[name] += 1
                # Latencies come out of done − scheduled, so the comparison allows for its rounding.
                hits[name] += found.low - 1e-6 <= truth(float(name[1:]) / 100) <= found.high + 1e-6
    result = {name: (hits[name] / max(claims[name], 1), claims[name] / repeats) for name in names}
    print({name: f"covers {share:.3f} of {claimed:.2f}" for name, (share, claimed) in result.items()})
    return result


def test_independent_samples_are_covered() -> None:
    """On independent latencies the 95 % intervals of p50, p95 and p99 hold the truth in at least 93 % of runs, and are always claimed."""
    found = covered(lambda g: g.lognormal(size=600), lambda q: float(np.exp(norm.ppf(q))), ["p50", "p95", "p99"], repeats=400, rounds=3)
    for share, claimed in found.values():
        assert share >= 0.93
        assert claimed >= 0.98


@pytest.mark.parametrize(
    ("load", "n", "rounds", "names"),
    [(0.5, 4000, 1, ["p50", "p95"]), (0.7, 6000, 10, ["p50", "p95"]), (0.9, 20_000, 10, ["p50"])],
)
def test_a_queue_is_covered(load: float, n: int, rounds: int, names: list[str]) -> None:
    """On a queue's latencies the intervals (from blocks, or from 10 rounds) hold the truth in at least 90 % of runs."""
    found = covered(lambda g: queue(g, n, load), lambda q: -np.log(1 - q) * load / (1 - load), names, repeats=120, rounds=rounds)
    for share, claimed in found.values():
        assert share >= 0.90
        assert claimed >= 0.75


def test_strong_autocorrelation_is_covered() -> None:
    """AR(1) at 0.8, where independence would cover 68 %: at least 90 % here."""
    found = covered(lambda g: ar1(g, 1000, 0.8), lambda q: float(norm.ppf(q)), ["p50", "p90", "p95"], repeats=250, rounds=1)
    assert min(share for share, _ in found.values()) >= 0.90


def test_independence_would_have_been_wrong_there() -> None:
    """The same series with plain order statistics cover far less: the method is needed, and the simulation can tell."""
    generator = np.random.default_rng(5)
    hits = 0
    for _ in range(300):
        found = percentiles.quantile(ar1(generator, 1000, 0.8), 0.5)
        assert found.low is not None
        assert found.high is not None
        hits += found.low <= 0.0 <= found.high
    assert hits / 300 <= 0.75


def test_correlation_is_seen_where_it_is_and_not_where_it_is_not() -> None:
    """Independent series raise the alarm in at most 3 % of runs, AR(1) at 0.5 and a step between rounds in at least 95 %."""
    generator = np.random.default_rng(11)
    cut = serial.blocks(np.zeros(200))
    rounds = serial.blocks(np.repeat(np.arange(8), 25))
    alarms = [serial.is_correlated(generator.lognormal(size=200), cut) for _ in range(600)]
    seen = [serial.is_correlated(ar1(generator, 200, 0.5), cut) for _ in range(200)]
    drift = [serial.is_correlated(generator.normal(size=200) + np.repeat(generator.permutation(8), 25) * 0.5, rounds) for _ in range(200)]
    assert np.mean(alarms) <= 0.03
    assert np.mean(seen) >= 0.95
    assert np.mean(drift) >= 0.95


def test_equal_latencies_are_not_called_correlated() -> None:
    """A server with a constant latency, or one that takes two values by chance, has ties and no correlation."""
    cut = serial.blocks(np.zeros(400))
    assert not serial.is_correlated(np.ones(400), cut)
    generator = np.random.default_rng(3)
    assert np.mean([serial.is_correlated((generator.random(400) < 0.1).astype(float), cut) for _ in range(300)]) <= 0.04


@pytest.mark.parametrize("share", [0.01, 0.2])
def test_rates_are_covered(share: float) -> None:
    """Wilson intervals of 500 independent trials hold the true rate in at least 93 % of runs."""
    generator = np.random.default_rng(7)
    counts = generator.binomial(500, share, size=3000)
    found = [ratios.wilson(int(count), 500) for count in counts]
    assert np.mean([e.low is not None and e.high is not None and e.low <= share <= e.high for e in found]) >= 0.93


def test_errors_in_bursts_are_covered() -> None:
    """Failures that come in bursts of ten: the error rate's interval holds the truth in at least 90 % of runs, Wilson alone in fewer than 75 %."""
    generator = np.random.default_rng(17)
    plain, ours, repeats = 0, 0, 200
    for _ in range(repeats):
        events = np.repeat(generator.random(200) < 0.1, 10)
        alone = ratios.wilson(int(events.sum()), 2000)
        found = summary._rate(events, serial.blocks(np.zeros(2000)))
        for estimate, is_ours in ((alone, False), (found, True)):
            assert estimate.low is not None
            assert estimate.high is not None
            hit = estimate.low <= 0.1 <= estimate.high
            ours += hit and is_ours
            plain += hit and not is_ours
    assert ours / repeats >= 0.90
    assert plain / repeats < 0.75


def test_the_band_holds_everywhere_at_once() -> None:
    """The whole true distribution lies inside the DKW band in at least 95 % of runs."""
    generator = np.random.default_rng(23)
    hits = 0
    for _ in range(500):
        found = dkw(generator.random(100))
        below = np.concatenate(([0.0], found.share[:-1]))
        half = found.share[0] - found.low[0] if found.low[0] > 0 else np.sqrt(np.log(40) / 200)
        hits += bool(np.all(found.x <= found.share + half) and np.all(found.x >= below - half))
    assert hits / 500 >= 0.95


@pytest.mark.parametrize("units", [6, 10, 30])
def test_ratios_are_covered(units: int) -> None:
    """Bootstrap over rounds of cost / images: at least 90 % of runs hold the truth, even with 6 rounds."""
    generator = np.random.default_rng(units)
    hits, repeats = 0, 300
    for _ in range(repeats):
        level = generator.lognormal(0.0, 0.3, size=units)  # a round's own price level
        images = generator.poisson(40, size=units)
        found = ratios.bootstrapped(images * level, images, n=int(images.sum()), resamples=600)
        assert found.low is not None
        assert found.high is not None
        hits += found.low <= np.exp(0.045) <= found.high
    print(f"{units} rounds: covers {hits / repeats:.3f}")
    assert hits / repeats >= 0.90


@pytest.mark.parametrize("load", [0.5, 0.9, 0.95])
@pytest.mark.parametrize("n", [72, 400])
def test_far_below_the_threshold_is_far_enough(load: float, n: int) -> None:
    """A queue that just breaks `p95<T` shows only samples below T/10 in at most 2.5 % of runs, so that gate may ignore correlation."""
    generator = np.random.default_rng(n)
    threshold = -np.log(0.05) * load / (1 - load)
    assert np.mean([queue(generator, n, load).max() * slo.FAR <= threshold for _ in range(400)]) <= 0.025
