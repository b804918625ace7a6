"""How a target refuses what is too much: its 429s, the waits that it asks for, and what became of the requests after them."""

from __future__ import annotations

import numpy as np

from testcard.harness.runs.records import Estimate, RateLimits
from testcard.harness.statistics import intervals
from testcard.harness.statistics.columns import Columns, Floats, Mask

TOO_MANY = "rate-limited"


def rate_limits(data: Columns, share: Estimate, refused: Mask) -> RateLimits | None:
    """The behaviour of a row whose `refused` requests got 429, `share` of all; None without any."""
    if not refused.any():
        return None
    asked = data.numbers("retry_after_s")
    waits = np.sort(asked[refused & ~np.isnan(asked)])
    spread: dict[str, Estimate] = {}
    if len(waits):
        n = len(waits)
        ends = {"shortest": float(waits[0]), "longest": float(waits[-1])}
        spread = {"shortest": Estimate(value=ends["shortest"], n=n)}
        spread |= {name: intervals.quantile(waits, q) for name, q in (("p50", 0.5), ("p95", 0.95))}
        spread["longest"] = Estimate(value=ends["longest"], n=n)
    early, after = _what_followed(data, refused, asked)
    return RateLimits(
        share=share,
        retry_after_given=intervals.wilson(len(waits), int(np.count_nonzero(refused))),
        retry_after_s=spread,
        refused_early=early,
        accepted_after=after,
    )


def _what_followed(data: Columns, refused: Mask, asked: Floats) -> tuple[Estimate | None, Estimate | None]:
    """Of requests sent before a wait was over, the share refused; of the first sent after each wait, the share that was not."""
    answered = refused & ~np.isnan(asked)
    if not answered.any():
        return None, None
    known_at, over_at = data.done[answered], (data.done + asked)[answered]
    order = np.argsort(known_at, kind="stable")
    latest = np.maximum.accumulate(over_at[order])
    was_sent = ~np.isnan(data.sent)
    by_start = np.argsort(data.sent[was_sent], kind="stable")
    sent, got_429 = data.sent[was_sent][by_start], refused[was_sent][by_start]
    waits = np.searchsorted(known_at[order], sent, side="right")  # how many were known when it was sent
    early = (waits > 0) & (sent < latest[np.maximum(waits - 1, 0)])
    free, free_waits = got_429[~early], waits[~early]
    first = np.diff(free_waits, prepend=0) > 0
    return _share(got_429[early]), _share(~free[first])


def _share(events: Mask) -> Estimate | None:
    return intervals.wilson(int(np.count_nonzero(events)), len(events)) if len(events) else None
