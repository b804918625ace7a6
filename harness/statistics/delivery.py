"""What a row's requests brought in a second, how its streams and its async tasks went, where its money went."""

from __future__ import annotations

import numpy as np

from testcard.harness.runs.records import AsyncTasks, Delivery, Estimate, Money, Stream
from testcard.harness.statistics import bootstrap, intervals
from testcard.harness.statistics.columns import Columns, Floats, Mask
from testcard.harness.statistics.percentiles import percentiles
from testcard.harness.statistics.serial import Blocks

#: A task that was done so soon after it was last seen waiting was done in the same poll; two polls lie further apart.
SAME_POLL_S = 0.01


def delivery(data: Columns, delivered: Mask, cut: Blocks, spent_s: Floats, *, seed: int) -> Delivery:
    """Pictures, megapixels and tokens per second. `spent_s`: seconds that each block stands for, together the time in which the
    row's answers came in. Intervals: bootstrap over blocks."""
    came = _came(data)
    tokens = data.numbers("tokens", 0.0)
    n = len(came)

    def rate(series: Floats) -> Estimate:
        return bootstrap.ratio(cut.sums(series), spent_s, n=n, seed=seed)

    return Delivery(
        delivered_images_per_s=rate(came),
        valid_images_per_s=rate(np.where(delivered, data.images, 0.0)),
        delivered_megapixels_per_s=rate(data.megapixels),
        valid_megapixels_per_s=rate(np.where(delivered, data.megapixels, 0.0)),
        tokens_per_s=rate(tokens) if tokens.any() else None,
    )


def _came(data: Columns) -> Floats:
    """How many pictures each answer held, sound or not; the sound ones in samples of versions that did not count the others."""
    counted = data.numbers("pictures")
    return np.where(np.isnan(counted), data.images, counted)


def stream(data: Columns, delivered: Mask) -> Stream | None:
    """Time to the first token and from token to token, of delivered streams; None without any."""
    first, between = data.numbers("first_token_s"), data.numbers("inter_token_s")
    mine = delivered & ~np.isnan(first)
    if not mine.any():
        return None
    return Stream(
        first_token_s=percentiles(first[mine], None, data.rounds[mine])[0],
        inter_token_s=percentiles(between[mine], None, data.rounds[mine])[0],
    )


def tasks(data: Columns, delivered: Mask) -> AsyncTasks | None:
    """Queue and generation time of delivered async tasks; None without any."""
    queue = data.numbers("queue_s")
    mine = delivered & ~np.isnan(queue)
    if not mine.any():
        return None
    # The task was accepted when the answer to its submission had come; what it returned was fetched after it was done.
    generation = data.done - data.numbers("download_s", 0.0) - data.numbers("last_byte_s") - queue
    seen = mine & (generation > SAME_POLL_S)
    return AsyncTasks(
        queue_s=percentiles(queue[seen], None, data.rounds[seen])[0],
        generation_s=percentiles(generation[seen], None, data.rounds[seen])[0],
        unseen=int(np.count_nonzero(mine & ~seen)),
    )


def money(data: Columns, delivered: Mask, good: Mask, cut: Blocks, *, seed: int) -> Money | None:
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
        share = bootstrap.ratio(cut.sums(wasted), cut.sums(cost), n=n, seed=seed) if lost > 0.0 else intervals.wilson(0, n)
    return Money(
        spent_usd=spent,
        wasted_usd=lost,
        wasted_requests=int(np.count_nonzero(wasted > 0.0)),
        wasted_share=share,
        cost_usd_per_megapixel=bootstrap.ratio(cut.sums(cost), cut.sums(megapixels), n=n, seed=seed) if megapixels.any() else None,
        cost_usd_per_delivered_image=bootstrap.ratio(cut.sums(cost), cut.sums(came), n=n, seed=seed) if came.any() else None,
    )
