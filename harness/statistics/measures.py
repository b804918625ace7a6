"""What a row holds beside its latencies: deliveries a second, streams, async tasks, costs, and how its target refuses what is too much.

Each is a record of the same name in `harness.runs.records`, which says what it means.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from testcard.harness.runs.records import AsyncTasks, Delivery, Estimate, Money, RateLimits, Stream
from testcard.harness.statistics import rates
from testcard.harness.statistics.columns import CENSORED, Columns, Floats, Mask
from testcard.harness.statistics.correlation import Batches
from testcard.harness.statistics.percentiles import percentiles, quantile
from testcard.harness.statistics.rates import Pace

#: A task that was done so soon after it was last seen waiting was done in the same poll; two polls lie further apart.
SAME_POLL_S = 0.01
TOO_MANY = "rate-limited"


def delivery(data: Columns, delivered: Mask, pace: Pace) -> Delivery:
    """Pictures, megapixels and tokens per second of the time in which the row's answers came in."""
    tokens = data.numbers("tokens", 0.0)
    return Delivery(
        delivered_images_per_s=pace.per_second(_came(data)),
        valid_images_per_s=pace.per_second(np.where(delivered, data.images, 0.0)),
        delivered_megapixels_per_s=pace.per_second(data.megapixels),
        valid_megapixels_per_s=pace.per_second(np.where(delivered, data.megapixels, 0.0)),
        tokens_per_s=pace.per_second(tokens) if tokens.any() else None,
    )


def _came(data: Columns) -> Floats:
    """How many pictures each answer held, sound or not; the sound ones in samples of versions that did not count the others."""
    counted = data.numbers("pictures")
    return np.where(np.isnan(counted), data.images, counted)


def times(data: Columns, delivered: Mask, name: str) -> Floats:
    """A series of times of the row's requests by its name in the summary ("latency_s", "ttfb_s", "queue_s" …); NaN where a request has
    none. What was cut off by a timeout or by whoever stopped the run has the time that it was waited for."""
    ended = delivered | data.ended(CENSORED)
    if name == "latency_s":
        return np.where(ended, data.done - data.scheduled, np.nan)
    if name == "service_s":
        return np.where(ended, data.done - data.sent, np.nan)
    if name == "ttfb_s":
        return np.where(delivered, data.first_byte - data.sent, np.nan)
    if name in ("first_token_s", "inter_token_s"):
        streamed = delivered & ~np.isnan(data.numbers("first_token_s"))
        return np.where(streamed, data.numbers(name), np.nan)
    queue = np.where(delivered, data.numbers("queue_s"), np.nan)
    # The task was accepted when the answer to its submission had come; what it returned was fetched after it was done.
    generation = data.done - data.numbers("download_s", 0.0) - data.numbers("last_byte_s") - queue
    return np.where(generation > SAME_POLL_S, queue if name == "queue_s" else generation, np.nan)


def stream(data: Columns, delivered: Mask) -> Stream | None:
    """Time to the first token and from token to token, or to the first preview, of delivered streams; None without any."""
    first, between = (times(data, delivered, name) for name in ("first_token_s", "inter_token_s"))
    if np.isnan(first).all():
        return None
    pictures = bool((data.numbers("images", 0.0)[~np.isnan(first)] > 0).any())
    return Stream(
        first_token_s=percentiles(first, None, data.rounds),
        inter_token_s=percentiles(between, None, data.rounds),
        of="pictures" if pictures else "text",
    )


def tasks(data: Columns, delivered: Mask) -> AsyncTasks | None:
    """Queue and generation time of delivered async tasks; None without any."""
    mine = delivered & ~np.isnan(data.numbers("queue_s"))
    if not mine.any():
        return None
    queue, generation = (times(data, delivered, name) for name in ("queue_s", "generation_s"))
    return AsyncTasks(
        queue_s=percentiles(queue, None, data.rounds),
        generation_s=percentiles(generation, None, data.rounds),
        unseen=int(np.count_nonzero(mine & np.isnan(queue))),
    )


def money(data: Columns, delivered: Mask, good: Mask, cut: Batches, *, seed: int) -> Money | None:
    """What was spent and what of it was wasted; None where a delivered request has no cost, or none has."""
    unknown = np.isnan(data.cost)
    if unknown.all() or (unknown & delivered).any():
        return None
    cost = np.nan_to_num(data.cost)
    wasted = np.where(good, 0.0, cost)
    spent, lost = float(cost.sum()), float(wasted.sum())
    megapixels, came = np.where(delivered, data.megapixels, 0.0), _came(data)
    n = len(cost)
    share: Estimate | None = None
    if spent > 0.0:  # where nothing was wasted there is nothing to draw from: as a rate of 0 in n
        share = rates.bootstrapped(cut.sums(wasted), cut.sums(cost), n=n, seed=seed) if lost > 0.0 else rates.wilson(0, n)
    return Money(
        spent_usd=spent,
        wasted_usd=lost,
        wasted_requests=int(np.count_nonzero(wasted > 0.0)),
        wasted_share=share,
        cost_usd_per_megapixel=rates.bootstrapped(cut.sums(cost), cut.sums(megapixels), n=n, seed=seed) if megapixels.any() else None,
        cost_usd_per_delivered_image=rates.bootstrapped(cut.sums(cost), cut.sums(came), n=n, seed=seed) if came.any() else None,
    )


@dataclass(frozen=True, slots=True)
class Cost:
    """What a row's pictures cost, in US dollars; None where it is not known. `note`: what was left out."""

    per_image: Estimate | None
    per_1000_good: Estimate | None
    wasted_usd: float | None
    note: str | None


def cost(data: Columns, delivered: Mask, good: Mask, cut: Batches, seed: int) -> Cost:
    """Cost of everything over the pictures delivered, and over those of good requests; none where a delivered request has no price."""
    unknown = np.isnan(data.cost)
    if not delivered.any():
        return Cost(None, None, None if unknown.all() else float(np.nansum(data.cost)), None)
    if (unknown & delivered).any():
        return Cost(None, None, None, None)
    spent = np.nan_to_num(data.cost)
    n = len(spent)
    images = np.where(delivered, data.images, 0.0)
    kept = np.where(good, data.images, 0.0)
    per_image = rates.bootstrapped(cut.sums(spent), cut.sums(images), n=n, seed=seed)
    per_good = rates.bootstrapped(1000.0 * cut.sums(spent), cut.sums(kept), n=n, seed=seed)
    missing = int(np.count_nonzero(unknown))
    note = f"the cost of {missing} failed requests is not known and counts as 0" if missing else None
    return Cost(
        per_image if per_image.value is not None else None,
        per_good if per_good.value is not None else None,
        float(spent[~good].sum()),
        note,
    )


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
        spread |= {name: quantile(waits, q) for name, q in (("p50", 0.5), ("p95", 0.95))}
        spread["longest"] = Estimate(value=ends["longest"], n=n)
    early, after = _what_followed(data, refused, asked)
    return RateLimits(
        share=share,
        retry_after_given=rates.wilson(len(waits), int(np.count_nonzero(refused))),
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
    return rates.wilson(int(np.count_nonzero(events)), len(events)) if len(events) else None
