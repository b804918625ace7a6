"""Cards, workload lines, gaps and columns: what stands first says it all, and what says nothing is not there."""

from dataclasses import replace

import msgspec
import pytest

from testcard.harness.runs.folder import RunReader
from testcard.harness.runs.records import Estimate, SpecGap
from testcard.harness.text.words import NONE
from testcard.reports.content.comparison import compared
from testcard.reports.content.evidence import Evidence, gather
from testcard.reports.content.exhibits import Table
from testcard.reports.content.measures import forecasts
from testcard.reports.pages.markdown import summary_md
from testcard.reports.pages.page import compose


@pytest.fixture(scope="module")
def everything(runs: list[RunReader]) -> Evidence:
    return gather(runs)


def test_a_card_for_each_target_with_verdict_speed_errors_price_and_what_is_broken(everything: Evidence) -> None:
    page = compose(everything)
    assert [card.party.key for card in page.cards] == [party.key for party in everything.parties]
    for card in page.cards:
        words = {gate.verdict for gate in page.overall.gates if gate.target == card.party.label}
        assert card.word == next((word for word in ("fail", "inconclusive", "pass") if word in words), None)
        musts = [verdict for verdict in card.party.judged() if verdict.verdict == "fail" and verdict.level == "must"]
        broken = {(verdict.operation, verdict.rule) for verdict in musts}  # as everywhere, once for each operation
        assert any(said.startswith(f"{len(broken)} must") for said in card.broken) == bool(broken)
    figures = [dict(row.figures) for card in page.cards for row in card.measured]
    assert all({"p50", "p95", "errors", "requests"} <= set(each) for each in figures)
    assert any(name.startswith("1,000 good pictures") for each in figures for name in each)
    assert any("a megapixel" in each for each in figures)


def test_the_workload_stands_in_one_line_and_in_the_summary(everything: Evidence) -> None:
    page = compose(everything)
    assert len(page.workloads) == len(everything.summaries)
    assert "objectives p95<8s, error_rate<1%" in page.workloads[0]
    text = summary_md(page)
    assert text.index("Workload: ") < text.index("| verdict |")
    assert all(f"**{card.party.label.replace('_', chr(92) + '_')}**" in text for card in page.cards)


def test_gaps_are_one_table_of_status_by_provider(everything: Evidence) -> None:
    gaps = [
        SpecGap(operation="one", detail="status 401 in words", status=401, answered="no key"),
        SpecGap(operation="two", detail="status 401 in other words", status=401, answered="no key"),
        SpecGap(operation="one", detail="status 405", status=405, answered="GET in place of POST"),
        SpecGap(operation="one", detail="no sizes are listed"),
    ]
    parties = []
    for place, party in enumerate(everything.parties):
        assert party.verdicts is not None
        mine = gaps if place == 0 else gaps[:1] if place == 1 else []
        parties.append(replace(party, verdicts=msgspec.structs.replace(party.verdicts, spec_gaps=mine)))
    table = compose(replace(everything, parties=parties, series=[])).gaps
    assert table is not None
    assert table.header == ("left out", parties[0].label, parties[1].label)
    assert table.rows == (
        ("no sizes are listed", "one", NONE),
        ("status 401", "no key (one and two)", "no key (one)"),
        ("status 405", "GET in place of POST (one)", NONE),
    )


def test_columns_without_any_figure_are_left_out() -> None:
    table = Table(("a", "b", "c"), (("x", NONE, "1"), ("y", "", "2")))
    assert table.filled == Table(("a", "c"), (("x", "1"), ("y", "2")))


def test_a_column_of_the_comparison_in_which_nobody_has_a_figure_is_not_shown(everything: Evidence) -> None:
    free = [
        replace(each, row=msgspec.structs.replace(each.row, cost_usd_per_1000_good_images=None, money=None)) for each in everything.series
    ]
    shown = [column.key for column in compared(replace(everything, series=free)).shown]
    assert "cost" not in shown
    assert "megapixel" not in shown
    assert {"p50", "p95", "errors"} <= set(shown)


def test_volumes_of_delivered_and_good_images_are_one_row_where_all_were_good(everything: Evidence) -> None:
    table = compared(everything)
    row = next(each for each in table.rows if each.series is not None and each.series.row.money is not None and not each.further)
    assert row.series is not None
    assert row.series.row.money is not None
    each = Estimate(value=0.01, low=0.01, high=0.01, n=50)
    measured = msgspec.structs.replace(
        row.series.row,
        money=msgspec.structs.replace(row.series.row.money, cost_usd_per_delivered_image=each),
        cost_usd_per_1000_good_images=Estimate(value=10.0, low=10.0, high=10.0, n=50),
    )
    lines = forecasts(replace(table, rows=[replace(row, series=replace(row.series, row=measured))]))
    assert [line.what for line in lines] == ["images (all were good)"]
