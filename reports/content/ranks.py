"""Which of several measured rows are surely better than which: their ranks, column by column, by tests over rounds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from testcard.harness.statistics import slo
from testcard.harness.statistics.columns import DELIVERED, Columns, columns
from testcard.harness.statistics.ranking import TargetPair, Times, pairs, ranks, ranks_by_rounds
from testcard.harness.statistics.rounds import RoundValues, round_values
from testcard.reports.content.evidence import Evidence, Series

#: A column's metric in round values; p50 has the rank test of all latencies, and percentiles further out than p95 too few a round.
_BY_ROUNDS = {"p95": "p95", "goodput": "goodput", "errors": "error_rate", "cost": "cost"}


def ranks_of(evidence: Evidence, rows: Sequence[Series], lower_is_better: Mapping[str, bool]) -> dict[str, list[int | None]]:
    """For each column (with which end is better) the rank of each row: 1 + the number of rows that are surely better; None where
    nothing is compared. The rows have to be alike in what was asked of them."""
    values: list[dict[str, RoundValues]] = [_rounds(evidence, series) for series in rows]
    found: dict[str, list[int | None]] = {}
    for key, lower in lower_is_better.items():
        if key == "p50":
            found[key] = ranks(len(rows), pairs_of(evidence, rows))
        elif key in _BY_ROUNDS:
            metric = _BY_ROUNDS[key]
            found[key] = ranks_by_rounds([each[metric] for each in values], metric == "error_rate", lower_is_better=lower)
        else:
            found[key] = [None] * len(rows)
    return found


def pairs_of(evidence: Evidence, rows: Sequence[Series]) -> list[TargetPair]:
    """Every two of the rows compared by their latencies: "B is 22 % faster than A [5 to 36 %]"."""
    return pairs([times_of(evidence, series) for series in rows])


def times_of(evidence: Evidence, series: Series) -> Times:
    """A row's latencies in time order, infinite where a request timed out."""
    data = data_of(evidence, series)
    late = data.ended(("timeout",))
    latency = np.where(late, np.inf, data.done - data.scheduled)
    known = (data.ended(DELIVERED) | late) & ~np.isnan(latency)
    return Times(latency[known], data.rounds[known])


def data_of(evidence: Evidence, series: Series) -> Columns:
    """The row's samples outside its warm-up."""
    frame = evidence.samples(series)
    return columns(frame, np.arange(len(frame)))


def _rounds(evidence: Evidence, series: Series) -> dict[str, RoundValues]:
    row = series.row
    limit = slo.limit_s([slo.parse(text) for text in evidence.summaries[series.bench].slo])
    return round_values(data_of(evidence, series), row, limit_s=limit, offered_rps=None if row.users is not None else row.offered_rps)
