"""What was measured beside latency stands in the report: every stage, streams, tasks, limits, waste, steadiness, other volumes."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from testcard.harness.runs.folder import RunReader, RunWriter
from testcard.harness.runs.records import SAMPLE_COLUMNS, Estimate, TargetRecord
from testcard.harness.runs.samples import schema
from testcard.harness.statistics.summary import StageFacts, summarise
from testcard.reports.content.comparison import compared_at
from testcard.reports.content.definitions import DEFINITIONS
from testcard.reports.content.measures import ALL_IMAGES, GOOD_IMAGES, scaled
from testcard.reports.pages.page import Page
from testcard.reports.pages.render import composed, write_page

NAMES = ("painter", "writer", "free")
RATES = (5.0, 20.0)
SECONDS = 20.0


def _part(place: int, rate: float, random: np.random.Generator) -> pd.DataFrame:
    """One target at one rate: tasks whose pictures are sometimes duplicates, or streams that are limited at the higher rate."""
    n = int(rate * SECONDS)
    at = np.arange(n) / rate + (1000.0 if rate > 5 else 0.0) + 100.0 * place
    took = 0.2 * np.exp(random.normal(0.0, 0.2, n))
    if (place, rate) == (0, 20.0):
        took *= np.linspace(1.0, 1.6, n)  # it slows down
    columns: dict[str, Any] = dict.fromkeys(SAMPLE_COLUMNS)
    columns |= {
        "provider": NAMES[place], "model": "m", "operation": "work", "round": np.arange(n) * 8 // n, "stage": f"{rate:g}/s", "scheduled_s": at,
        "sent_s": at, "first_byte_s": at + took / 2, "last_byte_s": at + took, "done_s": at + took, "status": 200, "outcome": "ok", "bytes": 9,
        "images": 1, "pictures": 1, "megapixels": 0.25, "cost_usd": 0.01, "warmup": False, "target": place, "worker": 0, "lag_s": 0.0,
    }  # fmt: skip
    if place == 0:
        again = random.random(n) < 0.2
        columns |= {"queue_s": took * 0.3, "last_byte_s": at + took * 0.1, "download_s": took * 0.1}
        columns |= {"outcome": np.where(again, "invalid-picture", "ok"), "flaw": np.where(again, "duplicate", None)}
    elif place == 1:
        limited = (np.arange(n) % 5 == 2) & (rate > 5)
        columns |= {
            "images": 0,
            "pictures": 0,
            "megapixels": 0.0,
            "tokens": np.where(limited, 0, 40),
            "first_token_s": took / 2,
            "inter_token_s": took / 80,
        }
        columns |= {"outcome": np.where(limited, "rate-limited", "ok"), "retry_after_s": np.where(limited, 0.1, np.nan)}
    else:
        columns |= {"cost_usd": None}
    return pd.DataFrame(columns)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> RunReader:
    """Three targets at two rates."""
    targets = [TargetRecord(provider=name, name=name.title(), base_url="http://127.0.0.1:1", mock=True, prices="config") for name in NAMES]
    writer = RunWriter.create(tmp_path_factory.mktemp("rich") / "run", "bench", targets=targets)
    random = np.random.default_rng(9)
    frame = pd.concat([_part(place, rate, random) for rate in RATES for place in range(3)], ignore_index=True)
    table = pa.table({field.name: pa.array(frame[field.name], field.type, from_pandas=True) for field in schema()})
    pq.write_table(table, writer.add_file("samples", "samples.parquet"))
    facts = {f"{rate:g}/s": StageFacts(duration_s=SECONDS) for rate in RATES}
    writer.write("summary", "summary.json", summarise(frame, objectives=["p50<5s"], facts=facts))
    writer.finish("pass", 0)
    return RunReader(writer.folder)


@pytest.fixture(scope="module")
def page(bench: RunReader) -> Page:
    return composed([bench])[1]


@pytest.fixture(scope="module")
def folder(bench: RunReader, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_page(*composed([bench]), tmp_path_factory.mktemp("out") / "report").parent


def cells(page: Page, anchor: str, name: str) -> list[dict[str, str]]:
    (panel,) = [panel for panel in page.panels[anchor] if panel.name == name]
    return [dict(zip(panel.table.header, row, strict=True)) for row in panel.table.rows]


def test_every_stage_is_compared_in_html_markdown_and_csv(page: Page, folder: Path) -> None:
    """The last stage that holds the objectives is the one compared; the other stands folded under it, with the same figures everywhere."""
    rows = [(row.party.label, row.stage, row.further) for row in page.comparison.rows]
    assert rows == [(name.title(), stage, stage == "5/s") for name in sorted(NAMES) for stage in ("20/s", "5/s")]
    assert compared_at(page.comparison) == ["20/s"]
    html = (folder / "report.html").read_text()
    assert html.count('<tr class="further">') == 3
    assert "Show also 3 rows at other stages" in html
    listed = list(csv.DictReader(io.StringIO((folder / "comparison.csv").read_text())))
    assert [(line["target"], line["stage"], line["compared"]) for line in listed] == [(t, s, "no" if f else "yes") for t, s, f in rows]
    markdown = (folder / "report.md").read_text().replace("\\", "")
    for row, line in zip(page.comparison.rows, listed, strict=True):
        shown = row.cells["goodput"].text
        assert shown in html
        assert re.search(rf"\| {row.party.label} \|.*\| {'' if row.further else '→ '}{row.stage} \|.*{re.escape(shown)}", markdown)
        assert row.series is not None
        known = row.series.row.latency_s["p50"].value
        assert line["p50_s"] == "" if known is None else float(line["p50_s"]) == pytest.approx(known)


def test_stages_are_ranked_by_themselves_and_figures_show_the_compared_one(page: Page) -> None:
    """A row's ranks are among its own stage; the figures that compare targets have one series for each."""
    for stage in ("5/s", "20/s"):
        ranks = [row.cells["goodput"].rank for row in page.comparison.rows if row.stage == stage]
        assert all(rank is None or rank <= 3 for rank in ranks)
    assert [series.row.stage for series in page.comparison.compared] == ["20/s"] * 3


def test_what_is_not_steady_is_said_where_it_matters(page: Page, folder: Path) -> None:
    """The drifting row is named in the comparison, in its panel and in the notes, in both formats; nobody else is."""
    assert [(row.party.label, row.stage) for row in page.comparison.rows if row.unsteady] == [("Painter", "20/s")]
    verdicts = {(row["target"], row["stage"]): row["latency"] for row in cells(page, "load", "steadiness")}
    assert verdicts["Painter", "20/s"] == "NOT STEADY"
    assert list(verdicts.values()).count("NOT STEADY") == 1
    assert any("not steady: latency rises by" in note for note in page.notes)
    assert "latency not steady" in (folder / "report.html").read_text()
    assert "latency not steady" in (folder / "report.md").read_text()


def test_streams_tasks_deliveries_flaws_and_limits_have_tables(page: Page) -> None:
    """Each with intervals and n; a target without such a thing is not in its table."""
    (_, stream) = cells(page, "latency", "streams")
    assert stream["target"] == "Writer"
    assert re.fullmatch(r"\d+\.?\d* \[\d.*–.*\]", stream["first token p50, ms"])
    assert stream["n"] == "320"
    (_, task) = cells(page, "latency", "tasks")
    assert task["target"] == "Painter"
    assert re.fullmatch("≈\u00a0\\d+ \\[≥\u00a0\\d+\\]", task["generation p99, ms"])  # of so few tasks a lower bound
    deliveries = {(row["target"], row["stage"]): row for row in cells(page, "load", "delivery")}
    assert deliveries["Writer", "20/s"]["images/s valid"] == "–"
    assert deliveries["Free", "20/s"]["images/s valid"].startswith("20.0 [")
    assert (
        float(deliveries["Painter", "20/s"]["images/s valid"].split()[0])
        < 17
        < float(deliveries["Painter", "20/s"]["images/s delivered"].split()[0])
    )
    assert {row["target"] for row in cells(page, "errors", "flaws")} == {"Painter"}
    (limits,) = cells(page, "errors", "limits")
    assert (limits["target"], limits["stage"], limits["Retry-After from–to"]) == ("Writer", "20/s", "0.100–0.100 s")
    assert limits["got 429"].startswith("20.0 % [")
    assert limits["with Retry-After"].startswith("100 % [")
    assert re.search(r", n = \d", limits["first after it: accepted"])


def test_money_says_what_was_wasted(page: Page) -> None:
    """A fifth of the painter's pictures came again; a target without a price is not in the table."""
    money = {(row["target"], row["stage"]): row for row in cells(page, "cost", "money")}
    assert ("Free", "20/s") not in money
    share = float(money["Painter", "20/s"]["share wasted"].split()[0])
    assert 14 < share < 27
    assert float(money["Painter", "20/s"]["per good image"].split()[0]) == pytest.approx(0.01 / (1 - share / 100), rel=0.02)


def test_other_volumes_are_the_measured_cost_times_the_number(page: Page, folder: Path) -> None:
    """Images and good images at four volumes with their intervals; no price where there is none; what writes words has no line."""
    lines = {(line.target, line.what): line for line in page.forecasts}
    assert set(lines) == {("Painter", ALL_IMAGES), ("Painter", GOOD_IMAGES), ("Free", ALL_IMAGES)}
    good = lines["Painter", GOOD_IMAGES]
    row = next(series.row for series in page.comparison.compared if series.party.label == "Painter")
    assert row.cost_usd_per_1000_good_images is not None
    assert good.each is not None
    assert good.each.value == pytest.approx(row.cost_usd_per_1000_good_images.value / 1000)  # type: ignore[operator]
    assert (
        good.at(1000)
        == f"{row.cost_usd_per_1000_good_images.value:.1f} [{row.cost_usd_per_1000_good_images.low:.1f}–{row.cost_usd_per_1000_good_images.high:.1f}]"
    )
    assert lines["Painter", ALL_IMAGES].at(1_000_000) == "10,000"  # a cent each in every round
    assert lines["Free", ALL_IMAGES].at(1000) == "no price"
    html, markdown = (folder / "report.html").read_text(), (folder / "report.md").read_text()
    assert html.count('class="num yours"') == 4  # the heading and three lines
    assert html.count(" data-each=") == 2
    assert "Volume discounts, free tiers and minimum fees are not in the price model" in html
    assert "### What other volumes would cost" in markdown
    assert good.at(1000) in markdown.replace("\\", "")


def test_an_estimate_scales_with_its_interval() -> None:
    """Value and ends alike; what is not known stays so."""
    assert scaled(Estimate(value=2.0, low=1.0, n=5), 10.0) == Estimate(value=20.0, low=10.0, n=5)
    assert scaled(None, 10.0) is None


def test_every_metric_is_defined_in_both_formats_and_listed_in_csv(page: Page, folder: Path) -> None:
    """Method has one line for each; measures.csv has value, interval and n of every figure of every row."""
    html, markdown = (folder / "report.html").read_text(), (folder / "report.md").read_text()
    for name, _ in DEFINITIONS:
        assert f"<dt>{name}</dt>" in html
        assert f"- **{name}**: " in markdown
    lines = list(csv.DictReader(io.StringIO((folder / "measures.csv").read_text())))
    found = {(line["target"], line["stage"], line["metric"]): line for line in lines}
    assert len(found) == len(lines)
    assert all("5/s" in line["group"] for line in lines if line["stage"] == "5/s")  # what each row may be ranked with
    stream = found["Writer", "5/s", "first_token_p50_s"]
    assert float(stream["low"]) <= float(stream["value"]) <= float(stream["high"])
    assert stream["n"] == "100"
    assert {
        "latency_p50_s", "queue_p95_s", "generation_p50_s", "valid_images_per_s", "delivered_megapixels_per_s", "wasted_share", "goodput_per_s",
        "cost_usd_per_megapixel", "cost_usd_per_1000_good_images", "cost_usd_per_image", "latency_change", "error_rate",
    } <= {metric for target, _, metric in found if target == "Painter"}  # fmt: skip
    assert {"rate_limited", "retry_after_given", "retry_after_longest_s", "refused_early", "accepted_after", "tokens_per_s"} <= {
        metric for target, stage, metric in found if (target, stage) == ("Writer", "20/s")
    }
