"""Simulated servers of known distribution: what latencies look like in the regimes that users have, and the true quantiles.

A regime draws n successive latencies in `rounds` rounds; `truth(q)` is the quantile of its distribution. Loaded by file path from
the tests here and from the scripts that print whole tables (tests are no package).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from scipy.signal import lfilter
from scipy.stats import norm

Floats = npt.NDArray[np.float64]
Generator = np.random.Generator
SIGMA = 0.4  # spread of the logarithm of a service time


@dataclass(frozen=True, slots=True)
class Regime:
    """`draw(generator, n, rounds)` gives latencies in time order; `truth(q)` the quantile they are drawn from."""

    draw: Callable[[Generator, int, int], Floats]
    truth: Callable[[float], float]


def round_numbers(n: int, rounds: int) -> npt.NDArray[np.intp]:
    """The round of each of n successive requests."""
    return np.arange(n) * rounds // n


def lognormal(generator: Generator, n: int, sigma: float = SIGMA) -> Floats:
    """Independent log-normal times with a median of 1."""
    return np.exp(sigma * generator.normal(size=n))


def independent(sigma: float = SIGMA) -> Regime:
    """Nothing is alike."""
    return Regime(lambda g, n, _: lognormal(g, n, sigma), lambda q: float(np.exp(sigma * norm.ppf(q))))


def trend(by: float) -> Regime:
    """Slower by so much from first to last; the truth is that of the whole."""
    scales = 1 + by * (np.arange(1000) + 0.5) / 1000

    @lru_cache
    def truth(q: float) -> float:
        low, high = 1e-3, 1e3
        for _ in range(80):
            middle = (low * high) ** 0.5
            low, high = (middle, high) if norm.cdf(np.log(middle / scales) / SIGMA).mean() < q else (low, middle)
        return float(middle)

    return Regime(lambda g, n, _: lognormal(g, n) * (1 + by * (np.arange(n) + 0.5) / n), truth)


def wander(by: float) -> Regime:
    """Each round has a speed of its own, alike to its neighbour's by 0.37."""

    def draw(g: Generator, n: int, rounds: int) -> Floats:
        level = np.empty(rounds)
        level[0] = g.normal()
        for place in range(1, rounds):
            level[place] = np.exp(-1) * level[place - 1] + np.sqrt(1 - np.exp(-2)) * g.normal()
        return lognormal(g, n) * np.exp(by * level)[round_numbers(n, rounds)]

    return Regime(draw, lambda q: float(np.exp(np.hypot(SIGMA, by) * norm.ppf(q))))


def ar1(correlation: float) -> Regime:
    """Successive latencies are alike, an AR(1) series of logarithms."""

    def draw(g: Generator, n: int, _: int) -> Floats:
        noise = g.normal(size=n + 100) * np.sqrt(1 - correlation**2)
        return np.exp(SIGMA * np.asarray(lfilter([1], [1, -correlation], noise)[100:]))

    return Regime(draw, lambda q: float(np.exp(SIGMA * norm.ppf(q))))


def queue(load: float, *, constant: bool = False) -> Regime:
    """One server with one Poisson arrival a second, in steady state: M/M/1, or M/D/1 with a `constant` service."""
    burn_in = int(min(6 / (1 - load) ** 2, 1500))

    def draw(g: Generator, n: int, _: int) -> Floats:
        whole = n + burn_in
        service = np.full(whole, load) if constant else g.exponential(size=whole) * load
        walk = np.concatenate(([0.0], np.cumsum(service[:-1] - g.exponential(size=whole)[1:])))
        return (walk - np.minimum.accumulate(walk) + service)[burn_in:]

    @lru_cache
    def ordered() -> Floats:
        g = np.random.default_rng(1)
        return np.sort(np.concatenate([draw(g, 60_000, 1) for _ in range(20)]))

    if not constant:
        return Regime(draw, lambda q: float(-np.log(1 - q) * load / (1 - load)))
    return Regime(draw, lambda q: float(ordered()[int(np.ceil(q * len(ordered()))) - 1]))


def freeze(share: float, service: float = 0.2, length: float = 20.0) -> Regime:
    """One stop for so much of the run: who arrives then waits for its end, `length` service times long."""

    def draw(g: Generator, n: int, _: int) -> Floats:
        many = share * n
        left = (g.uniform(0, n - many) + many - np.arange(n)) / many
        return lognormal(g, n, service) + np.where((left >= 0) & (left < 1), length * left, 0.0)

    @lru_cache
    def ordered() -> Floats:
        g = np.random.default_rng(2)
        return np.sort(lognormal(g, 400_000, service) + np.where(g.random(400_000) < share, length * g.random(400_000), 0.0))

    return Regime(draw, lambda q: float(ordered()[int(np.ceil(q * len(ordered()))) - 1]))


REGIMES = {
    "independent": independent(),
    "heavy tail": independent(1.0),
    "trend of 20 %": trend(0.2),
    "rounds wander by 10 %": wander(0.1),
    "AR(1) 0.5": ar1(0.5),
    "AR(1) 0.8": ar1(0.8),
    "M/M/1 at 0.7": queue(0.7),
    "M/D/1 at 0.7": queue(0.7, constant=True),
    "M/M/1 at 0.9": queue(0.9),
    "M/D/1 at 0.9": queue(0.9, constant=True),
    "one freeze, 4 %": freeze(0.04),
    "one freeze, 8 %": freeze(0.08),
}


def edges(n: int, rounds: int) -> list[tuple[int, int]]:
    """Where the rounds of n successive requests begin and end."""
    return list(pairwise(np.searchsorted(round_numbers(n, rounds), np.arange(rounds + 1)).tolist()))
