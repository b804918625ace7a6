"""What bench prints under its table: each part of a row in words, with interval and n, and nothing of what the row has not."""

from __future__ import annotations

import io
from pathlib import Path

import msgspec
import pytest
from rich.console import Console

from testcard.benchmarks.show.table import details, render, spread
from testcard.harness.runs.records import (
    AsyncTasks,
    Delivery,
    Estimate,
    Generator,
    Money,
    RateLimits,
    Spell,
    Spread,
    Steadiness,
    Stream,
    Summary,
    SummaryRow,
)

SURE = Estimate(value=0.25, low=0.2, high=0.3, n=200)
BARE = SummaryRow(
    provider="p", model=None, operation="o", stage="5/s", offered_rps=5.0, achieved_rps=5.0, requests=200, ok=200, errors={}, latency_s={},
    service_s={}, ttfb_s={}, images_per_s=5.0, megapixels_per_s=1.0, goodput_rps=5.0, cost_usd_per_image=None,
    generator=Generator(send_lag_p99_s=None, cpu_percent=None), outcome="pass",
)  # fmt: skip
FULL = msgspec.structs.replace(
    BARE,
    invalid_pictures={"duplicate": 3},
    latency_spread=Spread(mean=0.3, min=0.1, max=1.5, sd=0.2, n=200),
    spells=[Spell(requests=30, start_s=1.0, end_s=1.2, longest_s=1.5)],
    spells_over_s=0.2,
    delivery=Delivery(
        delivered_images_per_s=SURE,
        valid_images_per_s=SURE,
        delivered_megapixels_per_s=SURE,
        valid_megapixels_per_s=SURE,
        tokens_per_s=SURE,
    ),
    stream=Stream(first_token_s={"p50": SURE}, inter_token_s={"p95": SURE}),
    tasks=AsyncTasks(queue_s={"p50": SURE}, generation_s={"p99": Estimate(value=None, n=200)}),
    rate_limits=RateLimits(
        share=SURE, retry_after_given=SURE, retry_after_s={"shortest": SURE, "longest": SURE}, refused_early=SURE, accepted_after=SURE
    ),
    money=Money(spent_usd=2.0, wasted_usd=0.5, wasted_requests=50, wasted_share=SURE, cost_usd_per_megapixel=SURE),
    steadiness=Steadiness(verdict="drifting", change=SURE, detail="latency rises by 25 % [20, 30] over the stage"),
)


def test_every_part_of_a_row_is_said_with_its_interval() -> None:
    """The golden lines."""
    assert dict(details(FULL)) == {
        "all latencies s": "mean 0.3, least 0.1, longest 1.5, standard deviation 0.2",
        "spells": "one spell: 30 requests in a row over 200 ms",
        "pictures/s": "0.25 [0.2, 0.3] valid, 0.25 [0.2, 0.3] delivered",
        "megapixels/s": "0.25 [0.2, 0.3] valid, 0.25 [0.2, 0.3] delivered",
        "invalid": "3 duplicate",
        "money": "$2 spent, 25 % [20, 30] of it wasted on 50 requests, $0.25 [0.2, 0.3] a megapixel",
        "tokens/s": "0.25 [0.2, 0.3]",
        "first token s": "p50 0.25 [0.2, 0.3], n = 200",
        "inter-token s": "p95 0.25 [0.2, 0.3], n = 200",
        "queue s": "p50 0.25 [0.2, 0.3], n = 200",
        "generation s": "p99 –, n = 200",
        "rate limits": "25 % [20, 30] got 429, Retry-After in 25 % [20, 30] of them, asking for 0.25 to 0.25 s, "
        "sent earlier: 25 % [20, 30] refused again (n = 200), first after the wait: 25 % [20, 30] accepted (n = 200)",
        "drifting": "latency rises by 25 % [20, 30] over the stage",
    }


def test_what_a_row_has_not_is_not_mentioned() -> None:
    """No streams, no tasks, no 429, no price: no line."""
    assert list(details(BARE)) == []
    console = Console(file=io.StringIO(), width=120)
    render(Summary(rows=[BARE]), console, illustrative=False, folder=Path("run"))
    assert "money" not in console.file.getvalue()  # type: ignore[attr-defined]


@pytest.mark.parametrize("width", [80, 200])
def test_a_narrow_terminal_gets_lines_instead_of_the_table(width: int) -> None:
    """Where a table would have to break its words, its figures stand in lines under the row's name."""
    console = Console(file=io.StringIO(), width=width)
    render(Summary(rows=[msgspec.structs.replace(BARE, latency_s={"p95": SURE})]), console, illustrative=False, folder=Path("run"))
    said = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert ("goodput/s" in said[0]) == (width == 200)
    if width == 80:
        assert said[:4] == [
            "p o 5/s  ✓ pass",
            "  latency s: p50 –, p90 –, p95 0.25 [0.2, 0.3], p99 –",
            "  requests/s: 5 achieved of 5 offered, goodput 5",
            "  requests: 200, errors 0, no price of an image",
        ]


def test_a_table_that_would_break_its_words_is_none() -> None:
    """A model with a long name beside intervals: lines hold both whole."""
    name = "black-forest-labs/FLUX.1-Kontext-dev-of-a-publisher-with-a-name"
    long = msgspec.structs.replace(
        BARE, model=name, latency_s=dict.fromkeys(("p50", "p90", "p95", "p99"), SURE), errors={"invalid-picture": 8, "server-error": 12}
    )
    console = Console(file=(out := io.StringIO()), width=200)
    render(Summary(rows=[long]), console, illustrative=False, folder=Path("run"))
    assert f"p {name} o 5/s" in out.getvalue()
    assert "8 invalid-picture, 12 server-error" in out.getvalue()


@pytest.mark.parametrize("width", [80, 200])
def test_each_row_says_what_it_was_asked_for(width: int) -> None:
    """Rows that were asked for something else are not compared, so the row itself says what it was."""
    row = msgspec.structs.replace(FULL, asked={"task": "generate", "size": "512×512", "n": "2", "quality": "high", "poll_s": "1"})
    assert dict(details(row))["exact to"] == "1 s, the time between polls"
    console = Console(file=(out := io.StringIO()), width=width)
    render(Summary(rows=[row]), console, illustrative=False, folder=Path("run"))
    assert "p o 5/s  generate · 512×512 · 2 pictures a request · quality high" in out.getvalue()


def test_open_ends_and_absent_figures_have_words() -> None:
    """An upper end that no sample marks, a wide interval, no interval, one that shows nothing more, too few, nothing at all, timeouts."""
    assert spread(Estimate(value=1234.5, low=1.0, n=9)) == "1,234 [1, ?]"
    assert spread(Estimate(value=2.0, n=3)) == "2"
    assert spread(Estimate(value=2.0, low=2.0, high=2.0, n=3)) == "2"
    assert spread(Estimate(value=2.0, low=1.0, high=4.0, n=30, quality="wide")) == "≈2 [1, 4]"
    assert (spread(Estimate(value=None, n=3)), spread(None)) == ("–", "–")
    assert spread(Estimate(value=2.0, low=1.0, n=30, quality="lower-bound")) == "≈2 [1, ?]"
    assert spread(Estimate(value=30.0, low=30.0, n=30, quality="lower-bound", at_least=True)) == "≥30"
    assert spread(Estimate(value=None, low=30.0, n=30)) == "≥30"  # as runs of before 2026-12 have it
