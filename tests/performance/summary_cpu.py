"""CPU seconds to summarise 1 M samples of five targets: python tests/performance/summary_cpu.py (mark: 2 s)."""

from __future__ import annotations

import time

import numpy as np
import pandas as pd

from testcard.harness.statistics.summary import summarise


def a_million() -> pd.DataFrame:
    """1 M rows as a benchmark writes them, log-normal latencies, 1 % server errors."""
    n = 1_000_000
    generator = np.random.default_rng(0)
    who = generator.integers(0, 5, n)
    scheduled = np.arange(n) / 1000.0
    return pd.DataFrame({
        "provider": pd.Categorical.from_codes(who, list("abcde")), "model": pd.Categorical.from_codes(who, list("ABCDE")),
        "operation": pd.Categorical(["o"] * n), "stage": pd.Categorical(["s"] * n), "round": (np.arange(n) * 3 // n).astype("int32"),
        "scheduled_s": scheduled, "sent_s": scheduled, "first_byte_s": scheduled + 0.1, "done_s": scheduled + generator.lognormal(size=n),
        "outcome": pd.Categorical.from_codes((generator.random(n) < 0.01).astype(int), ["ok", "server-error"]),
        "images": 1, "megapixels": 0.25, "cost_usd": 0.01, "warmup": False,
    })  # fmt: skip


if __name__ == "__main__":
    samples = a_million()
    for _ in range(3):
        started = time.process_time()
        rows = summarise(samples, objectives=["p95<30s", "error_rate<2%"]).rows
        assert sum(row.requests for row in rows) == len(samples)
        print(f"1 M samples summarised in {time.process_time() - started:.2f} s of CPU")
