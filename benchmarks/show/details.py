"""What a row holds beside its line in the table, in a few lines of words: pictures, money, streams, tasks, rate limits, steadiness."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from testcard.harness.runs.records import Estimate, SummaryRow


def figure(value: float | None) -> str:
    """A number with three significant digits; thousands in full."""
    if value is None:
        return "?"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def spread(estimate: Estimate | None, *, factor: float = 1.0, unit: str = "") -> str:
    """A figure with its interval, such as `12 % [9.1, 15]`; "n too small" where nothing is claimed, "–" where there is none."""
    if estimate is None or estimate.n == 0:
        return "–"
    if estimate.value is None:
        return "n too small"
    text = f"{figure(estimate.value * factor)}{unit}"
    if estimate.low is None and estimate.high is None:
        return text
    ends = ["?" if end is None else figure(end * factor) for end in (estimate.low, estimate.high)]
    return f"{text} [{', '.join(ends)}]"


def percent(estimate: Estimate | None) -> str:
    """A share in percent with its interval."""
    return spread(estimate, factor=100.0, unit=" %")


def details(row: SummaryRow) -> Iterator[tuple[str, str]]:
    """Heading and sentence of every part that the row has; n where it is not the row's own."""
    delivery, money = row.delivery, row.money
    if delivery is not None and delivery.delivered_images_per_s.value:
        came, valid = delivery.delivered_images_per_s, delivery.valid_images_per_s
        yield "pictures/s", f"{spread(valid)} valid, {spread(came)} delivered"
        yield (
            "megapixels/s",
            f"{spread(delivery.valid_megapixels_per_s)} valid, {spread(delivery.delivered_megapixels_per_s)} delivered",
        )
    if row.invalid_pictures:
        yield "invalid", ", ".join(f"{count} {flaw}" for flaw, count in row.invalid_pictures.items())
    if money is not None:
        wasted = (
            f"{percent(money.wasted_share)} of it wasted on {money.wasted_requests} requests" if money.wasted_usd else "none of it wasted"
        )
        parts = [f"${figure(money.spent_usd)} spent", wasted]
        if money.cost_usd_per_megapixel is not None:
            parts.append(f"${spread(money.cost_usd_per_megapixel)} a megapixel")
        if row.cost_usd_per_1000_good_images is not None:
            parts.append(f"${spread(row.cost_usd_per_1000_good_images)} for 1,000 good images")
        yield "money", ", ".join(parts)
    if delivery is not None and delivery.tokens_per_s is not None:
        yield "tokens/s", spread(delivery.tokens_per_s)
    if row.stream is not None:
        yield "first token s", _times(row.stream.first_token_s)
        yield "inter-token s", _times(row.stream.inter_token_s)
    if row.tasks is not None:
        if any(each.n for each in row.tasks.queue_s.values()):
            yield "queue s", _times(row.tasks.queue_s)
            yield "generation s", _times(row.tasks.generation_s)
        if row.tasks.unseen:
            yield "tasks", f"{row.tasks.unseen} were done at the first poll that did not call them waiting: their queue is not known"
    if row.rate_limits is not None:
        yield "rate limits", _limits(row)
    if row.steadiness is not None and row.steadiness.verdict != "unknown":
        yield row.steadiness.verdict, row.steadiness.detail


def _times(percentiles: Mapping[str, Estimate]) -> str:
    shown = [f"{name} {spread(percentiles[name])}" for name in ("p50", "p95", "p99") if name in percentiles]
    n = max((each.n for each in percentiles.values()), default=0)
    return f"{', '.join(shown)}, n = {n}"


def _limits(row: SummaryRow) -> str:
    limits = row.rate_limits
    assert limits is not None
    parts = [f"{percent(limits.share)} got 429", f"Retry-After in {percent(limits.retry_after_given)} of them"]
    if limits.retry_after_s:
        ends = [figure(limits.retry_after_s[name].value) for name in ("shortest", "longest")]
        parts.append(f"asking for {ends[0]} to {ends[1]} s")
    if limits.refused_early is not None:
        parts.append(f"sent earlier: {percent(limits.refused_early)} refused again (n = {limits.refused_early.n})")
    if limits.accepted_after is not None:
        parts.append(f"first after the wait: {percent(limits.accepted_after)} accepted (n = {limits.accepted_after.n})")
    return ", ".join(parts)
