"""An afternoon with three providers and sixty paid requests each, in half a minute: answers are forty times as fast as a live server's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from testcard.harness.cli import run
from testcard.harness.runs.folder import RunReader
from testcard.harness.runs.records import Summary
from testcard.mocks.running import RunningMock, running_mock
from testcard.reports.content.evidence import gather
from testcard.reports.content.ranks import pairs_of, ranks_of

#: Median seconds of an answer; the spread is that of lognormal latencies with sigma 0.25.
MEDIAN_S, SIGMA = 0.07, 0.25
LATE = "generator was late"


@pytest.fixture(scope="module")
def afternoon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[RunningMock]]:
    """One as it is, one 30 % slower, one twice as slow."""
    with ExitStack() as stack:
        yield [
            stack.enter_context(running_mock("nanogpt", latency=f"lognormal:{MEDIAN_S * factor:g},{SIGMA}", seed=seed))
            for seed, factor in enumerate((1.0, 1.3, 2.0))
        ]


@pytest.fixture(scope="module")
def alike() -> Iterator[list[RunningMock]]:
    """Three of one speed whose single times differ."""
    with ExitStack() as stack:
        yield [stack.enter_context(running_mock("nanogpt", latency=f"lognormal:{MEDIAN_S},{SIGMA}", seed=seed)) for seed in (11, 12, 13)]


def bench(mocks: list[RunningMock], folder: Path, *more: str) -> int:
    workload = folder / "afternoon.toml"
    workload.write_text(
        'sizes = ["256x256"]\nrounds = 8\ndecode = 0.1\nslo = ["p50<30s", "error_rate<10%"]\n[[stage]]\nusers = 2\nduration_s = 120\n'
    )
    targets = [f"nanogpt={mock.base_url}" for mock in mocks]
    return run(["bench", *targets, "--workload", str(workload), "--max-requests", "180", "--out", str(folder / "run"), *more])


def summary_of(folder: Path) -> Summary:
    found = RunReader(folder / "run").summary()
    assert found is not None
    return found


def test_sixty_requests_each_rank_three_providers(
    afternoon: list[RunningMock], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sixty of each, in turns; p50 with its interval, p95 with a value, the cost; the 30 % are found, and twice as slow; exit 0."""
    monkeypatch.setenv("TESTCARD_PROGRESS", "none")
    code = bench(afternoon, tmp_path)
    said = capsys.readouterr().err
    assert code == (5 if LATE in said else 0), said
    assert "budget: 180 requests, 60 for each of 3 rows, over 8 rounds" in said
    assert "exit 0" in said
    rows = sorted(summary_of(tmp_path).rows, key=lambda row: row.target or 0)
    assert [(row.requests, row.ok) for row in rows] == [(60, 60)] * 3
    for row in rows:
        assert None not in (row.latency_s["p50"].value, row.latency_s["p50"].low, row.latency_s["p50"].high)
        assert row.latency_s["p95"].value is not None
        assert row.cost_usd_per_image is not None
        assert row.cost_usd_per_image.value == pytest.approx(0.014)
    evidence = gather([RunReader(tmp_path / "run")])
    series = sorted(evidence.series, key=lambda one: one.row.target or 0)
    assert all(pair.differs for pair in pairs_of(evidence, series))
    places = ranks_of(evidence, series, {"p50": True, "p95": True})
    assert places["p50"] == [1, 2, 3]
    assert (places["p95"][0], (places["p95"][2] or 0) > 1) == (1, True)


def test_three_that_are_alike_end_in_an_honest_tie(
    alike: list[RunningMock], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sixty of each: nobody is named the fastest, in rows, ranks and the paragraph to paste; exit 0."""
    monkeypatch.setenv("TESTCARD_PROGRESS", "none")
    code = bench(alike, tmp_path)
    said = capsys.readouterr()
    assert code == (5 if LATE in said.err else 0), said.err
    rows = summary_of(tmp_path).rows
    assert [(row.requests, row.ok) for row in rows] == [(60, 60)] * 3
    assert len({row.latency_s["p50"].value for row in rows}) == 3  # not one series three times
    evidence = gather([RunReader(tmp_path / "run")])
    series = sorted(evidence.series, key=lambda one: one.row.target or 0)
    pairs = pairs_of(evidence, series)
    assert [pair.differs for pair in pairs] == [False] * 3
    assert all(pair.p is not None and (pair.ratio.low or 0.0) < 1.0 < (pair.ratio.high or 0.0) for pair in pairs)
    assert ranks_of(evidence, series, {"p50": True})["p50"] == [1, 1, 1]
    assert "no target is surely faster than another" in said.out
    assert "is fastest" not in said.out


def test_a_limit_on_p95_finds_the_one_that_is_twice_as_slow(
    afternoon: list[RunningMock], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """p95 below its median: sixty requests are enough to say that it is broken, and by whom; the fastest is not accused."""
    monkeypatch.setenv("TESTCARD_PROGRESS", "none")
    code = bench(afternoon, tmp_path, "--slo", f"p95<{2000 * MEDIAN_S:g}ms")
    assert code == 1, capsys.readouterr().err
    verdicts = {row.target: row.gates[0].verdict for row in summary_of(tmp_path).rows}
    assert verdicts[2] == "fail"
    assert verdicts[0] != "fail"
