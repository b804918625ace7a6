"""The percentiles of one row's times: exact, with intervals that allow for successive samples being alike."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from testcard.harness.runs.records import Estimate
from testcard.harness.statistics import intervals, serial, slo
from testcard.harness.statistics.columns import Floats, Mask

#: Latencies closer than this are equal when correlation is looked for: differences of clock readings carry rounding.
TIE_S = 1e-6


def percentiles(values: Floats, censored: Mask | None, rounds: npt.NDArray[np.intp]) -> tuple[dict[str, Estimate], float | None]:
    """Every percentile (p99.9 only where the samples carry it), and how many independent samples they are worth where
    they are correlated, else None. `values` in time order; NaN is left out; `censored` ones are at least what they say."""
    there = ~np.isnan(values)
    if not there.all():
        values, rounds = values[there], rounds[there]
        censored = None if censored is None else censored[there]
    n = len(values)
    order = np.argsort(values, kind="stable")
    lowest = values[order]
    highest = lowest if censored is None or not censored.any() else np.sort(np.where(censored, np.inf, values))
    cut = serial.blocks(rounds)
    correlated = serial.ranks_correlated(serial.ranks(np.round(values / TIE_S), order), cut)
    found: dict[str, Estimate] = {}
    worth: float | None = None
    for name, q in slo.PERCENTILES.items():
        if name == "p99.9" and n < intervals.needed(q):
            continue
        if correlated:
            # A tail seen too briefly to show its clusters must not claim more than the middle does.
            mine = serial.effective_n(values <= lowest[intervals.nearest_rank(n, q) - 1] + TIE_S, cut, q)
            worth = mine if worth is None else min(worth, mine)
        found[name] = intervals.sorted_quantile(lowest, highest, q, effective_n=worth)
    return found, worth
