"""Latency by size, first requests, async resolution, and the same prompt from every target."""

from dataclasses import replace

import msgspec
import numpy as np
import pytest

from testcard.harness.runs.folder import RunReader
from testcard.harness.runs.records import AsyncTasks, Estimate, TargetRecord
from testcard.harness.text.words import SECONDS
from testcard.reports.content.comparison import compared
from testcard.reports.content.evidence import Evidence, _same, gather
from testcard.reports.content.measures import panels
from testcard.reports.content.pictures import MOST_PROMPTS, same_prompts
from testcard.reports.content.varied import by_size, first_requests


@pytest.fixture(scope="module")
def everything(runs: list[RunReader]) -> Evidence:
    return gather(runs)


def drawing(evidence: Evidence) -> int:
    return next(
        place for place, series in enumerate(evidence.series) if series.row.images_per_s and not series.row.stage.startswith("burst")
    )


def test_sizes_that_vary_are_told_apart(everything: Evidence) -> None:
    """Every second picture of a row is four times as large and takes a second longer: two lines, with their own p50 and n."""
    place = drawing(everything)
    series = everything.series[place]
    frame = everything.frames[series.bench].copy()
    mine = everything.samples(series).index
    large = mine[::2]
    frame.loc[mine, "megapixels"] = 0.262144 * frame.loc[mine, "images"]
    frame.loc[large, "megapixels"] = 1.048576 * frame.loc[large, "images"]
    frame.loc[large, "done_s"] += 1.0
    row = msgspec.structs.replace(series.row, asked={**series.row.asked, "size": "512×512 / 1024×1024"})
    evidence = replace(everything, frames=[frame if index == series.bench else each for index, each in enumerate(everything.frames)])
    panel = by_size(evidence, [replace(series, row=row)], SECONDS)
    assert panel is not None
    small, big = panel.table.rows
    assert (small[2], big[2]) == ("512×512", "1024×1024")
    assert float(big[4]) - float(small[4]) == pytest.approx(1.0, abs=0.3)
    answered = evidence.samples(series)
    answered = answered[~answered["warmup"].to_numpy(dtype=bool) & answered["outcome"].isin(["ok", "slow"]).to_numpy(dtype=bool)]
    assert int(small[-1].replace(",", "")) + int(big[-1].replace(",", "")) == len(answered)


def test_steps_that_vary_are_told_apart(everything: Evidence) -> None:
    """Every second request of a row asks for three times the steps and takes a second longer: a line each, under a column of their own."""
    place = drawing(everything)
    series = everything.series[place]
    frame = everything.frames[series.bench].copy()
    mine = everything.samples(series).index
    frame["megapixels"] = 0.262144 * frame["images"]
    frame.loc[mine, "steps"] = 10
    frame.loc[mine[::2], "steps"] = 30
    frame.loc[mine[::2], "done_s"] += 1.0
    evidence = replace(everything, frames=[frame if index == series.bench else each for index, each in enumerate(everything.frames)])
    panel = by_size(evidence, [series], SECONDS)
    assert panel is not None
    assert panel.table.header[4] == "steps"
    few, many = panel.table.rows
    assert (few[4], many[4]) == ("10", "30")
    assert float(many[5]) - float(few[5]) == pytest.approx(1.0, abs=0.3)


def test_one_size_has_no_such_table(everything: Evidence) -> None:
    series = everything.series[drawing(everything)]
    frame = everything.frames[series.bench].copy()
    frame["megapixels"] = 0.262144 * frame["images"]
    evidence = replace(everything, frames=[frame if index == series.bench else each for index, each in enumerate(everything.frames)])
    assert by_size(evidence, [series], SECONDS) is None


def test_a_cold_start_is_seen(everything: Evidence) -> None:
    """The first request of all took ten seconds more: it stands beside the median of the later ones."""
    series = everything.series[drawing(everything)]
    frame = everything.frames[series.bench].copy()
    mine = everything.samples(series)
    answered = mine[mine["outcome"].isin(["ok", "slow"]).to_numpy(dtype=bool)].sort_values("scheduled_s")
    first = answered.index[0]
    frame.loc[first, "done_s"] += 10.0
    evidence = replace(everything, frames=[frame if index == series.bench else each for index, each in enumerate(everything.frames)])
    panel = first_requests(evidence, [series], SECONDS)
    assert panel is not None
    (line,) = panel.table.rows
    assert float(line[2]) > 10.0
    rest = (answered["done_s"] - answered["scheduled_s"]).to_numpy()[1:]
    assert float(line[5]) == pytest.approx(float(np.median(rest)), rel=0.1)


def test_async_latency_says_its_resolution(everything: Evidence) -> None:
    place = drawing(everything)
    times = {"p50": Estimate(value=1.0, n=9)}
    row = msgspec.structs.replace(everything.series[place].row, tasks=AsyncTasks(queue_s=times, generation_s=times), asked={"poll_s": "2"})
    series = [replace(each, row=row) if index == place else each for index, each in enumerate(everything.series)]
    evidence = replace(everything, series=series)
    table = compared(evidence)
    assert [each.poll_s for each in table.rows if each.poll_s] == ["2"]
    said = next(panel.sentence for panel in panels(evidence, table)["latency"] if panel.name == "tasks")
    assert "the interval between polls, 2 s at first" in said


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [(("8001", False), ("8001", False), True), (("8001", False), ("8002", False), False), (("8001", True), ("8002", True), True)],
)
def test_mocks_at_two_ports_are_two_targets_unless_runs_started_them(one: tuple[str, bool], other: tuple[str, bool], same: bool) -> None:
    records = [
        TargetRecord(provider="nebul", name="Nebul", base_url=f"http://127.0.0.1:{port}", mock=True, embedded=embedded)
        for port, embedded in (one, other)
    ]
    assert _same(*records) is same


def test_the_same_prompt_stands_in_one_row_of_targets(everything: Evidence) -> None:
    """Each row: one picture a target, of two targets or more, with time and price; never the same prompt twice."""
    rows = same_prompts(everything)
    assert 0 < len(rows) <= MOST_PROMPTS
    assert len({(row.task, row.prompt) for row in rows}) == len(rows)
    for row in rows:
        keys = [shot.party.key for shot in row.shots]
        assert len(keys) == len(set(keys)) > 1
        assert all(shot.thumb.uri and shot.seconds >= 0 and shot.price for shot in row.shots)
