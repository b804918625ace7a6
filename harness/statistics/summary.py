"""From samples to summary.json: one row per provider × model × operation × stage, with its gates and its outcome.

Definitions, all over the requests scheduled in the stage outside its warm-up:

- latency = done − scheduled, service = done − sent, ttfb = first byte − sent, of requests that delivered (`ok`, `slow`) and of
  timeouts, which count as "at least as long as it was waited for". Other failures are in the error rate, not in a latency.
- offered: scheduled starts per second of the stage. Achieved, goodput, images/s, megapixels/s: what was delivered per second of
  the time in which it came in (`rates.Pace`): in an open loop the stage's own length where the server keeps up, so that neither
  ramp nor drain flatters or hurts, and longer where it falls behind; in a closed loop the time that the users were there. So goodput never
  exceeds achieved.
- good: delivered within the SLO's latency bound (see `slo.limit_s`; without one, delivered). Goodput: good requests per second.
- cost per image: cost of everything / pictures delivered. Per 1,000 good images: cost of everything / pictures of good requests.
  Wasted: cost of requests that were not good. All None where a delivered request has no cost: "no price", never 0.
- The parts of a row (deliveries, streams, tasks, rate limits, money, steadiness) are defined by their records in `harness.runs.records`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import msgspec
import numpy as np
import pandas as pd

from testcard.harness.runs.records import (
    OUTCOMES,
    AsyncTasks,
    Delivery,
    Estimate,
    Gate,
    Generator,
    Money,
    RateLimits,
    Stream,
    Summary,
    SummaryRow,
)
from testcard.harness.statistics import rates, slo, steadiness
from testcard.harness.statistics.columns import CENSORED, DELIVERED, Columns, Floats, Mask, RowName, columns
from testcard.harness.statistics.columns import rows as grouped
from testcard.harness.statistics.correlation import Batches, batches
from testcard.harness.statistics.limit_share import LimitVerdict, judge_limit
from testcard.harness.statistics.percentiles import nearest, percentiles, quantile, spread
from testcard.harness.statistics.rates import Pace
from testcard.harness.statistics.steadiness import spells

#: Of fewer requests than these p99 is the longest, and a single late one does not make the generator the bottleneck.
FEW = 100
#: Without a latency objective a request is long that takes so many times p50.
LONG = 4.0

GeneratorLimit = Literal["late", "busy", "unsent"]
#: Provider, model, operation, stage, and the target's place in the run's list (None: of whatever target).
RowKey = tuple[str, str | None, str, str, int | None]


@dataclass(frozen=True, slots=True)
class StageFacts:
    """What samples alone do not say about a stage (of one row, or of all rows of that stage).

    `duration_s`: seconds in which requests were scheduled for one row, warm-up left out, all rounds together; None: from the
    samples' span. `rounds_s`: the same of each round, by its number. `users`: closed loop with so many. `send_lag_p99_s`: the generator's own lag, where waiting for a free slot
    (an in-flight cap, a closed loop) must not count as lag; None: from sent − scheduled in an open loop. `dropped`: arrivals
    that were scheduled and never sent; `sent_again`: requests that went out twice, for the first died on a kept connection. `saturated`: the bench's own judgement that the generator was the bottleneck: the word for
    it (see `Generator`) and a sentence.
    """

    duration_s: float | None = None
    rounds_s: Mapping[int, float] | None = None
    users: int | None = None
    capped: bool = False
    send_lag_p99_s: float | None = None
    cpu_percent: float | None = None
    dropped: int = 0
    sent_again: int = 0
    saturated: tuple[GeneratorLimit, str] | None = None


_NO_FACTS = StageFacts()


def summarise(
    samples: pd.DataFrame,
    *,
    objectives: Sequence[slo.Objective | str] = (),
    facts: Mapping[RowKey | str, StageFacts] | None = None,
    workload: Mapping[str, Any] | None = None,
    seed: int = 0,
) -> Summary:
    """The summary of a benchmark's samples (columns of `SAMPLE_COLUMNS`).

    `facts` are looked up by `RowKey`, with the target and without, then by stage name. Rows come in the order in which their
    first sample stands; samples of two targets are two rows. `seed` only steers the bootstrap. `UsageError` for an objective that cannot be read.
    """
    parsed = [slo.parse(entry) if isinstance(entry, str) else entry for entry in objectives]
    known = facts or {}
    rows = []
    for name, places in grouped(samples):
        row_facts = known.get((*name.key, name.target)) or known.get((*name.key, None)) or known.get(name.stage) or _NO_FACTS
        rows.append(_row(name, columns(samples, places), parsed, row_facts, seed))
    return Summary(rows=rows, workload=dict(workload or {}), slo=[objective.expression for objective in parsed])


def _row(name: RowName, data: Columns, objectives: Sequence[slo.Objective], facts: StageFacts, seed: int) -> SummaryRow:
    n = len(data.scheduled)
    delivered, censored = data.ended(DELIVERED), data.ended(CENSORED)
    finished = ~data.ended(("interrupted",))  # who cut it off was not the target
    latency = data.done - data.scheduled
    limit = slo.limit_s(objectives)
    good = delivered if limit is None else delivered & (latency <= limit)
    cut = batches(data.rounds)
    pace = rates.pace(data, delivered, rounds_s=_rounds_s(data, facts), declared_s=facts.duration_s, users=facts.users, seed=seed)
    achieved, goodput = pace.per_second(delivered), pace.per_second(good, latencies=None if limit is None else latency)
    rate = achieved.value or 0.0
    ok = int(np.count_nonzero(delivered))
    counts = np.bincount(data.outcome[data.outcome >= 0], minlength=len(data.outcomes))
    errors = {name: int(count) for name, count in zip(data.outcomes, counts, strict=True) if count and name not in DELIVERED}
    timed = delivered | censored
    latencies = percentiles(latency[timed], censored[timed], data.rounds[timed])
    costs = cost(data, delivered, good, cut, seed)
    lag, late = _lag(data, facts, latencies.get("p50"))
    saturated = facts.saturated or late
    refused = data.ended((TOO_MANY,))
    steady = steadiness.steadiness(data, delivered | data.ended(("timeout",)))
    over_s = limit if limit is not None else _long(latencies.get("p50"))
    row = SummaryRow(
        provider=name.provider,
        model=name.model,
        operation=name.operation,
        stage=name.stage,
        target=name.target,
        offered_rps=None if facts.users is not None or not pace.duration_s else (n + facts.dropped) / pace.duration_s,
        achieved_rps=rate,
        requests=n,
        ok=ok,
        errors={kind: errors[kind] for kind in (*OUTCOMES, *sorted(errors)) if kind in errors},
        latency_s=latencies,
        service_s=percentiles((data.done - data.sent)[timed], censored[timed], data.rounds[timed]),
        ttfb_s=percentiles((data.first_byte - data.sent)[delivered], None, data.rounds[delivered]),
        images_per_s=rate * float(data.images[delivered].mean()) if ok else 0.0,
        megapixels_per_s=rate * float(data.megapixels[delivered].mean()) if ok else 0.0,
        goodput_rps=goodput.value or 0.0,
        cost_usd_per_image=costs.per_image,
        generator=Generator(send_lag_p99_s=lag, cpu_percent=facts.cpu_percent, limit=saturated[0] if saturated else None),
        outcome="pass",
        duration_s=pace.duration_s,
        rounds=len(np.unique(data.rounds)),
        rounds_s=pace.scheduled_s.tolist(),
        users=facts.users,
        error_rate=rates.clustered(~delivered[finished], data.rounds[finished]),
        wasted_usd=costs.wasted_usd,
        cost_usd_per_1000_good_images=costs.per_1000_good,
        achieved=achieved if achieved.value is not None else None,
        goodput=goodput if goodput.value is not None else None,
        invalid_pictures=data.counts("flaw"),
        delivery=delivery(data, delivered, pace) if n and pace.duration_s else None,
        stream=stream(data, delivered),
        tasks=tasks(data, delivered),
        rate_limits=rate_limits(data, rates.clustered(refused, data.rounds), refused),
        money=money(data, delivered, good, cut, seed=seed),
        steadiness=steady,
        latency_spread=spread(latency[timed], censored[timed]),
        service_spread=spread((data.done - data.sent)[timed], censored[timed]),
        ttfb_spread=spread((data.first_byte - data.sent)[delivered]),
        spells=[] if over_s is None else spells(data.scheduled[timed], latency[timed], data.rounds[timed], over_s=over_s),
        spells_over_s=over_s,
    )
    gates = [slo.judge(objective, row, _limit(objective, data, delivered)) for objective in objectives]
    outcome, note = _outcome(row, gates, saturated[1] if saturated else None)
    moving = f"not steady: {steady.detail}" if steady.verdict in ("drifting", "settling") else None
    again = (
        f"{facts.sent_again} died on kept connections before a byte of the answer and went out again on new ones"
        if facts.sent_again
        else None
    )
    open_ended = _count(delivered & (data.numbers("unterminated", 0.0) > 0))
    ended = f"{open_ended} of {ok} streams came to their finish reason, and not to [DONE]" if open_ended else None
    held_back = _count(
        delivered & (data.numbers("tokens") > 1) & ~np.isnan(data.numbers("first_token_s")) & np.isnan(data.numbers("inter_token_s"))
    )
    whole = (
        f"{held_back} of {ok} streams came in one piece, as behind a proxy that holds them back: no time between tokens"
        if held_back
        else None
    )
    notes = [text for text in (note, moving, costs.note, again, ended, whole) if text]
    return msgspec.structs.replace(row, gates=gates, outcome=outcome, note="; ".join(notes) or None)


def _rounds_s(data: Columns, facts: StageFacts) -> list[float] | None:
    """How long each round with a request was scheduled, where the facts say it of all of them."""
    if facts.rounds_s is None:
        return None
    found = [facts.rounds_s.get(int(number)) for number in data.rounds[data.edges[:-1]]]
    return None if None in found else [each for each in found if each is not None]


def _count(rows: Mask) -> int:
    return int(np.count_nonzero(rows))


def _long(p50: Estimate | None) -> float | None:
    return None if p50 is None or p50.value is None else LONG * p50.value


def _limit(objective: slo.Objective, data: Columns, delivered: Mask) -> LimitVerdict | None:
    """The verdict of the samples on an objective that bounds a percentile from above; None of any other."""
    wanted = slo.percentile_of(objective)
    if wanted is None:
        return None
    name, level = wanted
    values = times(data, delivered, name)
    # Who was cut off by whoever stopped the run may have kept the limit; a timeout did not.
    cut_off = data.ended(("interrupted",)) & ~(values > objective.threshold)
    known = ~np.isnan(values) & ~cut_off
    return judge_limit(
        values[known],
        data.rounds[known],
        limit=objective.threshold,
        allowed=1.0 - level,
        censored=data.ended(CENSORED)[known],
        inclusive=objective.operator == "<=",
    )


def _lag(data: Columns, facts: StageFacts, p50: Estimate | None) -> tuple[float | None, tuple[GeneratorLimit, str] | None]:
    """The generator's p99 send lag and, where it was the bottleneck, the word for it and a sentence that says so."""
    lag = facts.send_lag_p99_s
    if lag is None and facts.users is None and not facts.capped:
        waits = np.sort((data.sent - data.scheduled)[~np.isnan(data.sent)])
        lag = nearest(waits, 0.99) if len(waits) else None
    if lag is None:
        return None, None
    limit = slo.lag_limit_s(p50.value if p50 is not None else None)
    if lag <= limit or (len(data.scheduled) < FEW and np.count_nonzero(data.numbers("lag_s") > limit) == 1):
        return lag, None
    return lag, ("late", f"the load generator was late: p99 of its send lag is {lag * 1000:.1f} ms, more than {limit * 1000:.1f} ms")


def _outcome(row: SummaryRow, gates: Sequence[Gate], saturated: str | None) -> tuple[Any, str | None]:
    if row.requests == 0:
        return "inconclusive", "no request was scheduled outside the warm-up"
    if saturated:
        return "inconclusive", saturated
    if any(gate.verdict == "fail" for gate in gates):
        return "fail", None
    if row.ok == 0:
        return "fail", "no request delivered what was asked for"
    if any(gate.verdict == "inconclusive" for gate in gates):
        return "inconclusive", None
    return "pass", None


# ── what a row holds beside its latencies, each a record of the same name in `harness.runs.records` ───────────────────

#: A task that was done so soon after it was last seen waiting was done in the same poll; two polls lie further apart.
SAME_POLL_S = 0.01
TOO_MANY = "rate-limited"


def delivery(data: Columns, delivered: Mask, pace: Pace) -> Delivery:
    """Pictures, megapixels and tokens per second of the time in which the row's answers came in."""
    tokens, came = data.numbers("tokens", 0.0), _came(data)
    pictures, pixels = float(came.max(initial=1.0)), float(data.megapixels.max(initial=0.0))
    return Delivery(
        delivered_images_per_s=pace.per_second(came),
        valid_images_per_s=pace.per_second(np.where(delivered, data.images, 0.0), each=pictures),
        delivered_megapixels_per_s=pace.per_second(data.megapixels, each=pixels),
        valid_megapixels_per_s=pace.per_second(np.where(delivered, data.megapixels, 0.0), each=pixels),
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
    if (delivered & ~good).any():
        latencies = (data.done - data.scheduled)[delivered]
        per_good = _as_late_as(per_good, rates.clustered(good[delivered], data.rounds[delivered], latencies=latencies))
    missing = int(np.count_nonzero(unknown))
    note = f"the cost of {missing} failed requests is not known and counts as 0" if missing else None
    return Cost(
        per_image if per_image.value is not None else None,
        per_good if per_good.value is not None else None,
        float(spent[~good].sum()),
        note,
    )


def _as_late_as(cost_of_good: Estimate, in_time: Estimate) -> Estimate:
    """The cost with an interval no narrower than the share of answers in time allows: a queue's late ones come in a few spells, of which
    rounds may hold none."""
    value, share, low, high = cost_of_good.value, in_time.value, in_time.low, in_time.high
    if value is None or not share or cost_of_good.low is None or cost_of_good.high is None or low is None or high is None:
        return cost_of_good
    dearest = max(cost_of_good.high, value * share / low) if low > 0.0 else None
    return msgspec.structs.replace(cost_of_good, low=min(cost_of_good.low, value * share / high), high=dearest)


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
