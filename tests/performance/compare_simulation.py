"""Run by hand: comparisons of simulated servers at full size, for several amounts of drift, load and rounds.

    .venv/bin/python tests/performance/compare_simulation.py [pairs]

Prints, for each setting and per 40 pairs: false verdicts of better or worse when nothing changed (all metrics together, then p50
and p95), how many pairs find a server 15 % slower worse (p50; p50 or p95), and how many intervals of p50 hold the true ratio.
The marks: at most 2, at least 38, at least 90 %. Seeded: the same numbers each time.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np

from testcard.harness.statistics.compare import compare

SLOWER = 1.15
#: (load, standard deviation of drift, rounds, requests a round)
SETTINGS = (
    (0.5, 0.00, 8, 200),
    (0.5, 0.03, 8, 200),
    (0.5, 0.05, 8, 200),
    (0.5, 0.03, 8, 100),
    (0.5, 0.03, 12, 100),
    (0.7, 0.03, 8, 200),
    (0.7, 0.03, 16, 400),
)


def _servers() -> ModuleType:
    path = Path(__file__).parent.parent / "statistics" / "simulated_servers.py"
    spec = importlib.util.spec_from_file_location("testcard_simulated_servers", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def main() -> None:
    """Prints a line for each setting."""
    servers = _servers()
    pairs = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    print(f"per 40 of {pairs} pairs        A/A: all  p50  p95   A/B worse: p50  p50|p95   p50 inside   true ratio")
    for load, sigma, rounds, requests in SETTINGS:
        generator = np.random.default_rng(2026)
        truth = servers.true_ratio(np.random.default_rng(1), SLOWER, load=load, rounds=600, requests=requests)
        false = {"all": 0, "p50": 0, "p95": 0}
        found, either, inside = 0, 0, 0
        for _ in range(pairs):
            server = servers.Server(generator, load=load, sigma=sigma)
            size = {"rounds": rounds, "requests": requests}
            old = servers.run(server, **size)
            for change in compare(servers.run(server, **size), old).changes:
                wrong = change.verdict in ("better", "worse")
                false["all"] += wrong
                if change.metric.name in false:
                    false[change.metric.name] += wrong
            changes = {change.metric.name: change for change in compare(servers.run(server, slow=SLOWER, **size), old).changes}
            p50, p95 = changes["p50"], changes["p95"]
            found += p50.verdict == "worse"
            either += "worse" in (p50.verdict, p95.verdict)
            assert p50.change is not None
            assert p50.change.low is not None
            assert p50.change.high is not None
            inside += p50.change.low <= truth <= p50.change.high
        each = 40 / pairs
        print(
            f"load {load:g}, drift {sigma:4.0%}, {rounds:>2} × {requests}     {false['all'] * each:5.1f} {false['p50'] * each:4.1f} {false['p95'] * each:4.1f}"
            f"           {found * each:5.1f}    {either * each:5.1f}        {inside / pairs:.3f}        {truth:.3f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
