"""Figures say what the samples hold: the tail stops in time, saturation is found, parts of a request's time add up."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from testcard.harness.runs.folder import RunReader
from testcard.harness.text.words import SECONDS
from testcard.reports.content.comparison import compared
from testcard.reports.content.evidence import Evidence, Series, gather
from testcard.reports.figures import distribution, load, timing
from testcard.reports.figures.style import Sketch, render


@pytest.fixture(scope="module")
def evidence(runs: list[RunReader]) -> Evidence:
    """The synthetic evaluation, gathered."""
    return gather(runs)


@pytest.fixture(scope="module")
def rows(evidence: Evidence) -> list[Series]:
    """Its measured rows."""
    return [row.series for row in compared(evidence).rows if row.series is not None]


def _stages(series: Series, shares: dict[float, float]) -> list[Series]:
    """A row's stages by offered rate with the share of good answers at each; the p95 rises with the rate."""
    found = []
    for rate, share in shares.items():
        levels = {
            name: msgspec.structs.replace(estimate, value=(estimate.value or 1.0) * rate) for name, estimate in series.row.latency_s.items()
        }
        row = msgspec.structs.replace(series.row, stage=f"at {rate}", offered_rps=rate, goodput_rps=rate * share, latency_s=levels)
        found.append(replace(series, row=row))
    return found


def test_tail_ends_where_ten_samples_remain(evidence: Evidence, rows: list[Series]) -> None:
    """The last point of each curve has at least ten samples beyond it, and one step further there would be fewer."""
    sketch = distribution.tail(evidence, rows, SECONDS)
    assert sketch is not None
    assert len(sketch.table.rows) == len(rows)
    for line in sketch.table.rows:
        match = re.search(r"\(([\d.]+) %\)", line[-1])
        assert match is not None
        assert round(float(match[1]) / 100 * int(line[1])) == distribution.REMAINING


def test_tail_agrees_with_the_samples(evidence: Evidence, rows: list[Series]) -> None:
    """The time that one in twenty requests exceeds is the 95th percentile of the raw samples, timeouts counted as longer."""
    sketch = distribution.tail(evidence, rows, SECONDS)
    assert sketch is not None
    for series in rows:
        frame = evidence.samples(series)
        frame = frame[~frame["warmup"].astype(bool) & frame["outcome"].isin(["ok", "slow", "timeout"])]
        latency = np.where(frame["outcome"] == "timeout", np.inf, frame["done_s"] - frame["scheduled_s"])
        line = next(line for line in sketch.table.rows if line[0] == series.label)
        promised = float(np.quantile(latency, 0.95, method="inverted_cdf"))
        assert float(line[4].removesuffix(" s")) == pytest.approx(promised, rel=0.05)


def test_the_curve_has_no_figure_where_no_sample_lies_beyond_a_share(evidence: Evidence, rows: list[Series]) -> None:
    """Of 60 answers the longest is no 99 %, as it is no p99; 95 % has three beyond it."""
    few = replace(evidence, frames=[frame[frame.groupby("provider").cumcount() < 60] for frame in evidence.frames])
    sketch = distribution.ecdf(few, rows, SECONDS)
    assert sketch is not None
    lines = [dict(zip(sketch.table.header, line, strict=True)) for line in sketch.table.rows]
    assert lines
    assert {line["99 % within, s"] for line in lines} == {"n\u00a0<\u00a0100"}
    assert not any("<" in line["95 % within, s"] for line in lines)


def test_percentiles_name_the_requests_that_they_rest_on(evidence: Evidence, rows: list[Series]) -> None:
    """Failed requests have no latency: n is that of the estimates, and smaller than the row's where some failed."""
    sketch = distribution.percentiles(evidence, rows, SECONDS)
    assert sketch is not None
    said = {line[0]: int(line[1].replace(",", "")) for line in sketch.table.rows}
    assert said == {series.label: series.row.latency_s["p50"].n for series in rows}
    assert any(said[series.label] < series.row.requests for series in rows)


def test_saturation_is_the_first_rate_that_loses_good_answers(rows: list[Series]) -> None:
    """5 points under the lowest rate's share is saturated; a row that is faulty at every rate alike is not."""
    full = _stages(rows[0], {2.0: 0.99, 4.0: 0.97, 8.0: 0.71, 16.0: 0.4})
    faulty = _stages(rows[1], {2.0: 0.82, 4.0: 0.81, 8.0: 0.80, 16.0: 0.79})
    sketch = load.latency_against_rate([*full, *faulty], SECONDS)
    assert sketch is not None
    assert f"Saturated: {rows[0].label} at 8.00 requests per second (71 % of it good, 99 % at its lowest rate)." in sketch.caption
    assert f"No saturation up to the highest rate offered: {rows[1].label}." in sketch.caption
    assert [line[-2] for line in sketch.table.rows] == ["holds", "holds", "saturated", "saturated", *["holds"] * 4]


def test_what_falls_short_of_the_offer_is_said_of_rates(rows: list[Series]) -> None:
    """A target that falls behind: 190 of 210 late are 90 %, and 0.97 good ones a second of 17.5 offered 94 % short. Nobody else is praised."""
    row = msgspec.structs.replace(rows[0].row, users=None, offered_rps=17.5, achieved_rps=10.2, goodput_rps=0.97)
    behind = replace(rows[0], row=row)
    alone = load.throughput([behind])
    assert alone is not None
    assert (
        alone.caption
        == f"Good requests a second fall short of those offered: {rows[0].label} by 94 % (late, failed, or the target fell behind)."
    )
    keeps_up = replace(rows[1], row=msgspec.structs.replace(rows[1].row, users=None, offered_rps=5.0, goodput_rps=5.0))
    both = load.throughput([behind, keeps_up])
    assert both is not None
    assert both.caption.endswith(" The others delivered what was offered.")


def test_one_rate_gives_no_curve(rows: list[Series]) -> None:
    """A run with a single stage has no figure over the load."""
    assert load.latency_against_rate(_stages(rows[0], {2.0: 0.9}), SECONDS) is None


def test_parts_of_the_time_add_up_to_the_mean_latency(evidence: Evidence, rows: list[Series]) -> None:
    """Nothing is counted twice and nothing lost: the parts of each row sum to its mean latency."""
    sketch = timing.time_split(evidence, rows, SECONDS)
    assert sketch is not None
    for series, line in zip(rows, sketch.table.rows, strict=True):
        frame = evidence.samples(series)
        frame = frame[~frame["warmup"].astype(bool) & frame["outcome"].isin(["ok", "slow"])]
        mean = float((frame["done_s"] - frame["scheduled_s"]).mean())
        parts = [float(cell.split()[0]) for cell in line[2:-1] if cell != "–"]
        assert float(line[-1]) == pytest.approx(mean, rel=0.01)
        assert sum(parts) == pytest.approx(mean, rel=0.01)
    saturated = next(line for line in sketch.table.rows if "Relay" in line[0])
    assert float(saturated[2].split()[0]) > 0.3  # its requests wait for a free place


def test_a_wait_that_no_poll_saw_is_not_called_queueing(evidence: Evidence, rows: list[Series]) -> None:
    """Tasks that were done at the first poll that did not call them waiting: how their time is divided is not known."""

    def caption(done: float) -> str:
        frames = []
        for frame in evidence.frames:
            accepted = frame["sent_s"] + 0.01
            tasks = frame.assign(connect_s=0.0, download_s=np.nan, first_byte_s=accepted, last_byte_s=accepted)
            frames.append(tasks.assign(queue_s=1.0, done_s=accepted + 1.0 + done))
        sketch = timing.time_split(replace(evidence, frames=frames), rows[:1], SECONDS)
        assert sketch is not None
        return sketch.caption

    assert "Most of the time goes into queueing" in caption(0.1)
    assert "Most of the time goes into generating" in caption(0.0)


def test_send_lag_is_the_generator_s_not_the_queue_s(evidence: Evidence, rows: list[Series]) -> None:
    """Waiting for a free place is no lag: the saturated row's lag stays at 2 ms."""
    sketch = load.send_lag(evidence, rows)
    assert sketch is not None
    assert max(float(line[3].removesuffix(" ms")) for line in sketch.table.rows) <= 2.0
    assert "99 % of the requests were sent within 2.00 ms" in sketch.caption


def test_a_generator_that_was_the_bottleneck_is_named_by_its_record(evidence: Evidence, rows: list[Series]) -> None:
    """The row's word decides, whatever its note says; runs of before have only the note."""

    def caption(**changes: Any) -> str:
        row = msgspec.structs.replace(rows[0].row, **changes)
        sketch = load.send_lag(evidence, [replace(rows[0], row=row)])
        assert sketch is not None
        return sketch.caption

    limited = msgspec.structs.replace(rows[0].row.generator, limit="unsent")
    assert "it was the bottleneck" in caption(generator=limited, note="3 requests were left out")
    assert "it was the bottleneck" in caption(outcome="inconclusive", note="the load generator was late: p99 of its send lag is 40 ms")
    assert "it was the bottleneck" not in caption(note="steady")


def test_samples_without_lag_give_no_figure(evidence: Evidence, rows: list[Series]) -> None:
    """Runs of an earlier Testcard do not record it; a reason takes the figure's place."""
    bare = replace(evidence, frames=[frame.assign(lag_s=np.nan) for frame in evidence.frames])
    assert load.send_lag(bare, rows) is None


@pytest.mark.parametrize("kind", ["tail", "rates", "phases", "lag"])
def test_equal_samples_give_equal_bytes(evidence: Evidence, rows: list[Series], kind: str) -> None:
    """SVG and PNG of a second drawing are those of the first; both schemes are in the SVG."""
    stages = [stage for series in rows for stage in _stages(series, {2.0: 0.99, 8.0: 0.6})]
    makers: dict[str, Any] = {
        "tail": lambda: distribution.tail(evidence, rows, SECONDS),
        "rates": lambda: load.latency_against_rate(stages, SECONDS),
        "phases": lambda: timing.time_split(evidence, rows, SECONDS),
        "lag": lambda: load.send_lag(evidence, rows),
    }
    drawn = []
    for _ in range(2):
        sketch = makers[kind]()
        assert isinstance(sketch, Sketch)
        drawn.append(render(sketch))
    assert drawn[0].svg == drawn[1].svg
    assert drawn[0].png == drawn[1].png
    assert b"prefers-color-scheme:dark" in drawn[0].svg
    assert drawn[0].caption.endswith(".")
    assert drawn[0].table.rows


def test_every_figure_is_in_both_reports(report: Path) -> None:
    """What is drawn is shown: each figure's name is in the HTML and in the Markdown, with its numbers in words behind it."""
    html, markdown = (report / "report.html").read_text(), (report / "report.md").read_text()
    names = [path.stem for path in (report / "figures").glob("*.svg")]
    assert len(names) == 9
    for name in names:
        assert f'id="figure-{name}"' in html
        assert f"figures/{name}.png" in markdown
