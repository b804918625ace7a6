"""Prints how often every interval holds the truth, and how wide it is, in each regime: the tables of docs/decisions/0029 and 0030.

By hand: `python tests/statistics/coverage_table.py [series] [percentiles] [limits] [looks] [bands] [rates] [figures] [compare]
[pairs]`, 400 series by default (half an hour for all). The tests run a few cells of the same tables.
"""

from __future__ import annotations

import sys
import zlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.signal import lfilter

sys.path.insert(0, str(Path(__file__).parent))
import simulated_servers as servers
from regimes import REGIMES, Regime, round_numbers

from testcard.harness.statistics import summary
from testcard.harness.statistics.columns import columns
from testcard.harness.statistics.compare import compare
from testcard.harness.statistics.correlation import batches
from testcard.harness.statistics.limit_share import judge_limit
from testcard.harness.statistics.percentiles import PERCENTILES, dkw, percentiles
from testcard.harness.statistics.ranking import Times, pairs
from testcard.harness.statistics.rates import clustered, pace

SIZES = (40, 60, 100, 200, 400, 1000)
ROUNDS = 8
#: Regimes in which a user who waits for each answer meets the same times: a queue or a freeze would be another one for it.
CLOSED = ("independent", "heavy tail", "trend of 20 %", "rounds wander by 10 %", "AR(1) 0.5", "AR(1) 0.8")
GOOD = 0.9


def seeded(*what: object) -> np.random.Generator:
    """A generator that depends on what it is for, so that a cell is the same in any table."""
    return np.random.default_rng(zlib.crc32(repr(what).encode()))


def percentile_cell(name: str, regime: Regime, n: int, series: int, rounds: int = ROUNDS) -> dict[str, tuple[float, float, float]]:
    """For each percentile with a value: coverage (an open end holds what lies beyond it), share of open upper ends, and the
    median of high / low where there are both."""
    g, number = seeded(name, n, rounds), round_numbers(n, rounds)
    held: dict[str, list[bool]] = {}
    open_end: dict[str, list[bool]] = {}
    width: dict[str, list[float]] = {}
    for _ in range(series):
        for key, found in percentiles(regime.draw(g, n, rounds), None, number).items():
            if found.value is None:
                continue
            low, high = found.low or 0.0, np.inf if found.high is None else found.high
            held.setdefault(key, []).append(bool(low - 1e-6 <= regime.truth(PERCENTILES[key]) <= high + 1e-6))
            open_end.setdefault(key, []).append(found.high is None)
            if found.high is not None and found.low:
                width.setdefault(key, []).append(found.high / found.low)
    return {
        key: (float(np.mean(held[key])), float(np.mean(open_end[key])), float(np.median(width[key])) if key in width else np.nan)
        for key in held
    }


def limit_cell(name: str, regime: Regime, n: int, series: int, level: float = 0.95) -> dict[str, float]:
    """False fails and passes with the limit at the true percentile, and the power: fails where 2, 4 and 44/5 times as many requests
    are over the limit as may be, passes where a tenth and a hundredth are."""
    g, number, allowed = seeded(name, n, level), round_numbers(n, ROUNDS), 1.0 - level
    drawn = [regime.draw(g, n, ROUNDS) for _ in range(series)]

    def verdicts(share: float) -> list[str]:
        limit = regime.truth(1.0 - share)
        return [judge_limit(each, number, limit=limit, allowed=allowed).verdict for each in drawn]

    at = verdicts(allowed)
    found = {
        "false fail": float(np.mean([word == "breaks" for word in at])),
        "false pass": float(np.mean([word == "holds" for word in at])),
    }
    for factor, key in ((2, "fail at 2×"), (4, "fail at 4×"), (8.8, "fail at 44 %")):
        found[key] = float(np.mean([word == "breaks" for word in verdicts(min(allowed * factor, 0.44))]))
    for factor, key in ((0.1, "pass at 1/10"), (0.01, "pass at 1/100")):
        found[key] = float(np.mean([word == "holds" for word in verdicts(allowed * factor)]))
    return found


def looks_cell(name: str, regime: Regime, n: int, series: int, looks: int = 4) -> dict[str, float]:
    """As `limit_cell`'s false verdicts, where the growing series is judged at each quarter and stops at the first sure answer."""
    g, limit = seeded(name, n, "looks"), regime.truth(0.95)
    wrong = {"breaks": 0, "holds": 0}
    for _ in range(series):
        drawn = regime.draw(g, n, 1)
        for look in range(1, looks + 1):
            part = drawn[: n * look // looks]
            verdict = judge_limit(part, np.zeros(len(part)), limit=limit, allowed=0.05, looks=looks).verdict
            if verdict != "undecided":
                wrong[verdict] += 1
                break
    return {"false fail": wrong["breaks"] / series, "false pass": wrong["holds"] / series}


def band_cell(name: str, regime: Regime, n: int, series: int) -> tuple[float, float]:
    """How often the whole true distribution lies in the ECDF's band: allowing for correlation, and without."""
    g, number = seeded(name, n, "band"), round_numbers(n, ROUNDS)
    levels = np.linspace(0.02, 0.98, 49)
    places = np.array([regime.truth(float(level)) for level in levels])
    last_of_equal = np.append(places[1:] > places[:-1], True)  # a constant service time has an atom, whose share is its last level's
    levels, places = levels[last_of_equal][1:], places[last_of_equal][1:]
    hits = [0, 0]
    for _ in range(series):
        drawn = regime.draw(g, n, ROUNDS)
        share = np.searchsorted(np.sort(drawn), places, side="right") / n
        for index, rounds in enumerate((number, None)):
            half = dkw(drawn, rounds=rounds).half_width
            hits[index] += bool(np.all(np.abs(share - levels) <= half))
    return hits[0] / series, hits[1] / series


def rate_cell(n: int, share: float, spell: int, series: int) -> tuple[float, float]:
    """Coverage and median width of an error rate whose failures come in spells of that length."""
    g, number = seeded(n, share, spell), round_numbers(n, ROUNDS)
    held, width = [], []
    for _ in range(series):
        shift = int(g.integers(spell))
        events = np.repeat(g.random(n // spell + 2) < share, spell)[shift : shift + n]
        found = clustered(events, number)
        assert found.low is not None
        assert found.high is not None
        held.append(found.low <= share <= found.high)
        width.append(found.high - found.low)
    return float(np.mean(held)), float(np.median(width))


@cache
def mean_of(name: str) -> float:
    """The mean of a regime's distribution, from its quantiles (a trend's take most of a minute)."""
    return float(np.mean([REGIMES[name].truth((place + 0.5) / 2000) for place in range(2000)]))


def figures_cell(name: str, regime: Regime, n: int, series: int, *, users: int | None = None) -> dict[str, tuple[float, float, float]]:
    """Coverage where an interval is printed, share without one or with an open end, and median of high / low, of what is printed beside the percentiles where nine of ten
    requests are good: goodput and the cost of 1,000 good pictures; with one user also the rate, else all arrivals are ours."""
    g, number = seeded(name, n, users, "figures"), round_numbers(n, ROUNDS)
    limit, each_usd = regime.truth(GOOD), 0.01
    truths = {"goodput": GOOD, "cost": 1000.0 * each_usd / GOOD}  # an open loop's rate is one a second
    if users is not None:
        mean = mean_of(name)
        truths |= {"rate": 1.0 / mean, "goodput": GOOD / mean}
    held: dict[str, list[bool]] = {key: [] for key in truths}
    open_end: dict[str, list[bool]] = {key: [] for key in truths}
    width: dict[str, list[float]] = {key: [] for key in truths}
    for _ in range(series):
        latency = regime.draw(g, n, ROUNDS)
        start = np.arange(n, dtype=np.float64) if users is None else np.concatenate(([0.0], np.cumsum(latency)[:-1]))
        frame = pd.DataFrame({"round": number, "scheduled_s": start, "sent_s": start, "done_s": start + latency, "first_byte_s": start})
        frame = frame.assign(outcome="ok", images=1, megapixels=1.0, cost_usd=each_usd, warmup=False)
        data = columns(frame, np.arange(n))
        every, good = np.ones(n, dtype=bool), latency <= limit
        lengths = None if users is not None else np.bincount(number).astype(np.float64).tolist()
        paced = pace(data, every, rounds_s=lengths or [0.0] * ROUNDS, declared_s=None, users=users)
        found = {
            "goodput": paced.per_second(good, latencies=latency),
            "cost": summary.cost(data, every, good, batches(data.rounds), 0).per_1000_good,
        }
        if users is not None:
            found["rate"] = paced.per_second(every)
        for key, estimate in found.items():
            low = estimate.low if estimate is not None else None
            high = estimate.high if estimate is not None else None
            if low is not None and high is not None and high - low < 1e-9:  # it came out the same in every round: no interval is printed
                open_end[key].append(True)
                continue
            held[key].append(bool((low or 0.0) - 1e-9 <= truths[key] <= (np.inf if high is None else high) + 1e-9))
            open_end[key].append(low is None or high is None)
            if low and high:
                width[key].append(high / low)
    return {
        key: (float(np.mean(held[key])), float(np.mean(open_end[key])), float(np.median(width[key])) if width[key] else np.nan)
        for key in truths
    }


def compare_cell(workload: str, slow: float, series: int) -> dict[str, dict[str, float]]:
    """For p50 and p95 how often each verdict is given on a run against one of the same server, slower by so much."""
    g = seeded(workload, slow)
    counts: dict[str, dict[str, float]] = {"p50": {}, "p95": {}}
    for _ in range(series):
        old, new = servers.pair(workload, g, slow)
        for change in compare(new, old, metrics=["p50", "p95"]).changes:
            words = counts[change.metric.name]
            words[change.verdict] = words.get(change.verdict, 0.0) + 1.0 / series
    return counts


def pairs_cell(rounds: int, each: int, correlation: float, series: int) -> tuple[float, float, float, float]:
    """Three targets, the last 28 % slower, rounds that share half of their speed: how often it is found slower than the first; how
    often the first two are called different; coverage and median high / low of the ratio."""
    g, number = seeded(rounds, each, correlation), np.repeat(np.arange(rounds), each)
    found, false, held, width = 0, 0, [], []
    for _ in range(series):
        spread = 0.07 if rounds > 1 else 0.0  # one round's own speed is the target's, as far as this run can tell
        shared = spread * g.normal(size=rounds)
        targets = []
        for factor in (1.0, 1.0, 1.28):
            level = (shared + spread * g.normal(size=rounds))[number]
            noise = lfilter([1], [1, -correlation], g.normal(size=rounds * each + 100) * np.sqrt(1 - correlation**2))[100:]
            targets.append(Times(factor * np.exp(0.4 * noise + level), number))
        alike, slower, _ = pairs(targets)
        false += alike.differs
        found += slower.differs
        low, high = slower.ratio.low or 0.0, np.inf if slower.ratio.high is None else slower.ratio.high
        held.append(low <= 1.28 <= high)
        width.append(high / low if low else np.inf)
    return found / series, false / series, float(np.mean(held)), float(np.median(width))


def shown_as(values: Sequence[float]) -> str:
    """Figures of a cell: "0.95 / 0.10 / 1.20", a dash for what no series had."""
    return " / ".join("–" if np.isnan(value) else f"{value:.2f}" for value in values)


TABLES = ("percentiles", "limits", "looks", "bands", "rates", "figures", "compare", "pairs")


def main(arguments: list[str]) -> None:
    """Prints the tables asked for."""
    series = next((int(each) for each in arguments if each.isdigit()), 400)
    wanted = [each for each in arguments if not each.isdigit()] or list(TABLES)
    if "percentiles" in wanted:
        for rounds in (8, 4):
            print(f"\n### Percentiles, {rounds} rounds: coverage / open upper end / median of high ÷ low\n")
            print("| regime | n | p50 | p90 | p95 | p99 |\n| --- | --- | --- | --- | --- | --- |")
            for name, regime in REGIMES.items():
                for n in SIZES if rounds == ROUNDS else (60, 400):
                    cell = percentile_cell(name, regime, n, series, rounds)
                    shown = [shown_as(cell[key]) if key in cell else "–" for key in ("p50", "p90", "p95", "p99")]
                    print(f"| {name} | {n} | {' | '.join(shown)} |", flush=True)
    if "limits" in wanted:
        print("\n### p95 objectives\n")
        for place, (name, regime) in enumerate(REGIMES.items()):
            for size, n in enumerate(SIZES):
                cells = limit_cell(name, regime, n, series)
                if not place and not size:
                    print(f"| regime | n | {' | '.join(cells)} |\n| --- | --- |{' --- |' * len(cells)}")
                print(
                    f"| {name} | {n} | {' | '.join(f'{value:.3f}' if 'false' in key else f'{value:.2f}' for key, value in cells.items())} |",
                    flush=True,
                )
    if "looks" in wanted:
        print(
            "\n### Four looks at a growing series, the limit at the true p95\n\n| regime | n at the last look | false fail | false pass |\n| --- | --- | --- | --- |"
        )
        for name, regime in REGIMES.items():
            if any(word in name for word in ("freeze", "wander", "trend")):
                continue  # a stage that grows while it is looked at is one round, and a part of these has another truth than the whole
            for n in (200, 400):
                found = looks_cell(name, regime, n, series)
                print(f"| {name} | {n} | {found['false fail']:.3f} | {found['false pass']:.3f} |", flush=True)
    if "bands" in wanted:
        print(
            "\n### The band of the ECDF: coverage, and as if independent\n\n| regime | n | coverage | as if independent |\n| --- | --- | --- | --- |"
        )
        for name, regime in REGIMES.items():
            for n in (100, 400):
                with_rounds, without = band_cell(name, regime, n, series)
                print(f"| {name} | {n} | {with_rounds:.2f} | {without:.2f} |", flush=True)
    if "rates" in wanted:
        print("\n### Error rates: coverage / median width\n\n| n | rate | spells of | coverage | width |\n| --- | --- | --- | --- | --- |")
        for n in (60, 200, 1000):
            for share in (0.02, 0.1):
                for spell in (1, 5, 10):
                    coverage, width = rate_cell(n, share, spell, series)
                    print(f"| {n} | {share:g} | {spell} | {coverage:.2f} | {width:.3f} |", flush=True)
    if "figures" in wanted:
        print(
            "\n### Nine of ten requests good: coverage / none or open / median of high ÷ low\n\n| regime | n | goodput, open loop | 1,000 good pictures, open loop | rate, one user | goodput, one user |\n| --- | --- | --- | --- | --- | --- |"
        )
        for name, regime in REGIMES.items():
            for n in SIZES:
                open_loop = figures_cell(name, regime, n, series)
                one_user = figures_cell(name, regime, n, series, users=1) if name in CLOSED else {}
                cells = [open_loop["goodput"], open_loop["cost"], one_user.get("rate"), one_user.get("goodput")]
                shown = [shown_as(cell) if cell else "–" for cell in cells]
                print(f"| {name} | {n} | {' | '.join(shown)} |", flush=True)
    if "compare" in wanted:
        print(
            "\n### Two runs: how often each verdict is given\n\n| workload | speed | metric | worse | better | below the margin | no difference | no decision |\n| --- | --- | --- | --- | --- | --- | --- | --- |"
        )
        for workload in servers.WORKLOADS:
            for slow in (1.0, 1.3, 2.0):
                for metric, words in compare_cell(workload, slow, max(series // 4, 20)).items():
                    shares = " | ".join(
                        f"{words.get(word, 0.0):.2f}" for word in ("worse", "better", "below the margin", "no difference", "no decision")
                    )
                    print(f"| {workload} | {slow:g}× | {metric} | {shares} |", flush=True)
    if "pairs" in wanted:
        print(
            "\n### Targets of one run: how often one is called slower, three compared (Holm); coverage and width of the ratio\n\n| rounds × requests | alike | slower by 28 %, found | alike, found | coverage | high ÷ low |\n| --- | --- | --- | --- | --- | --- |"
        )
        for rounds, each, correlation in ((8, 8, 0.0), (8, 15, 0.0), (8, 15, 0.8), (4, 15, 0.0), (1, 60, 0.0)):
            power, false, coverage, width = pairs_cell(rounds, each, correlation, series)
            print(f"| {rounds} × {each} | AR(1) {correlation:g} | {power:.2f} | {false:.3f} | {coverage:.2f} | {width:.2f} |", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
