"""What a benchmark's row holds beside latency: pictures and tokens a second, streams, async tasks, rate limits, money, steadiness.

Each figure is an `Estimate`: with its 95 % interval and its n. A part is None where the row has nothing of that kind.
"""

from __future__ import annotations

from typing import Literal

from testcard.harness.runs.record import Record


class Estimate(Record, frozen=True, kw_only=True):
    """A figure with its 95 % interval and the number of samples; None where n is too small to say.

    `value` None with `low` set: the figure lies among timeouts and is at least `low`. `value` set with neither end: no interval
    is claimed (too few rounds), so the figure proves nothing by itself.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    n: int = 0


class Delivery(Record, frozen=True, kw_only=True):
    """Pictures and tokens per second of the time in which answers came in (as `achieved_rps`).

    Delivered: every picture that came, whatever was wrong with it or its answer (megapixels: of those that can be read at all).
    Valid: those of requests that got what they asked for. Tokens: those that answers state to have generated, None without any.
    """

    delivered_images_per_s: Estimate
    valid_images_per_s: Estimate
    delivered_megapixels_per_s: Estimate
    valid_megapixels_per_s: Estimate
    tokens_per_s: Estimate | None = None


class Stream(Record, frozen=True, kw_only=True):
    """Streams of text. Percentile keys: as of latencies.

    `first_token_s`: from the moment of sending to the first piece of text. `inter_token_s`: a request's mean time from one token
    to the next (from its first to its last piece, over tokens − 1); the percentiles are over requests.
    """

    first_token_s: dict[str, Estimate]
    inter_token_s: dict[str, Estimate]


class AsyncTasks(Record, frozen=True, kw_only=True):
    """Tasks that are accepted first and polled until done. Percentile keys: as of latencies.

    `queue_s`: from the acceptance to the first poll that says the task no longer waits, so it is exact to one poll interval.
    `generation_s`: from there to the poll that says it is done, downloads left out. `unseen`: tasks that the first poll which did
    not call them waiting called done; how their time is divided is not known, and they are in neither.
    """

    queue_s: dict[str, Estimate]
    generation_s: dict[str, Estimate]
    unseen: int = 0


class RateLimits(Record, frozen=True, kw_only=True):
    """How a target refuses what is too much (status 429).

    `share`: of all requests. `retry_after_given`: of the 429s. `retry_after_s`: the waits asked for (keys shortest, p50, p95,
    longest). `refused_early`: of requests sent before such a wait was over, the share that got 429 again.
    `accepted_after`: of the first requests sent after such a wait was over, the share that did not get 429. None where no request
    was sent then.
    """

    share: Estimate
    retry_after_given: Estimate
    retry_after_s: dict[str, Estimate]
    refused_early: Estimate | None = None
    accepted_after: Estimate | None = None


class Money(Record, frozen=True, kw_only=True):
    """Where the money of a row went. `wasted_share`: of what was spent, the part for requests that were billed and not good
    (failed, invalid, or later than the SLO allows); `wasted_requests` counts them. A delivered image is every picture that came,
    whatever was wrong with it."""

    spent_usd: float
    wasted_usd: float
    wasted_requests: int
    wasted_share: Estimate | None = None
    cost_usd_per_megapixel: Estimate | None = None
    cost_usd_per_delivered_image: Estimate | None = None


class Steadiness(Record, frozen=True, kw_only=True):
    """Whether latency stood still after the warm-up. `change`: how much higher it ended than it began, as a share, from the
    first request of the stage to the last; `turn_change`: the same within a turn (a round), None with too few turns.

    drifting: the stage as a whole moves; settling: each turn does (a warm-up that is too short, or a queue that grows);
    unknown: too few answers to tell.
    """

    verdict: Literal["steady", "drifting", "settling", "unknown"]
    change: Estimate
    turn_change: Estimate | None = None
    detail: str = ""
