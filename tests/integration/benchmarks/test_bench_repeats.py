"""A target that sends one picture to everybody is found out by a benchmark, over all its processes; one that keeps its word is not."""

from __future__ import annotations

import os
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from testcard.harness.runs.folder import RunReader
from testcard.harness.runs.records import SummaryRow
from testcard.harness.targets import embedded_mocks
from testkit.command_line import typed

#: Few prompts, so that prompts come again; whether a seed goes with them is what the cases differ in.
WORKLOAD = """
prompts = ["a boat", "a tree", "a lamp"]
sizes = ["256x256"]
seeds = "{seeds}"
arrival = "constant"
decode = 0.5
[[stage]]
rate_rps = 40
duration_s = 1
"""


def measured(folder: Path, seeds: str, *options: str, providers: tuple[str, ...] = ("nanogpt",), processes: int = 1) -> list[SummaryRow]:
    """The rows of a benchmark of mocks started with these options; what the summary says is held against the samples."""
    workload = folder / "w.toml"
    workload.write_text(WORKLOAD.format(seeds=seeds), encoding="utf-8")
    with embedded_mocks(list(providers), options=["--latency", "0.01", *options]) as mocks:
        command = ["bench", "--workload", str(workload), "--out", str(folder / "run")]
        command += [part for name in providers for part in ("--target", f"{name}={mocks.base_urls[name]}")]
        command += ["--max-requests", "1000", "--processes", str(processes)]
        keep = {name: value for name, value in os.environ.items() if not name.endswith("_API_KEY")}
        environment = {**keep, "TESTCARD_PROGRESS": "none", "TESTCARD_API_KEY": mocks.api_key}
        done = typed(command, env=environment)
    assert done.returncode in (0, 1, 5), done.stderr  # 5: a busy machine may make the generator late
    summary = RunReader(folder / "run").summary()
    assert summary is not None
    flaws = pq.read_table(folder / "run" / "samples.parquet", columns=["flaw"])["flaw"].to_pylist()
    assert flaws.count("duplicate") == sum(row.invalid_pictures.get("duplicate", 0) for row in summary.rows)
    return summary.rows


@pytest.mark.parametrize("processes", [1, 2])
def test_one_picture_for_all_prompts_is_good_for_one_of_them(tmp_path: Path, processes: int) -> None:
    """Whichever of the processes it came to: the first prompt's is good, the rest are duplicates, out of goodput, and their cost is wasted."""
    (row,) = measured(tmp_path, "none", "--fault", "image.follows-prompt", processes=processes)
    assert abs(row.ok - row.requests / 3) <= 1
    assert row.errors == {"invalid-picture": row.requests - row.ok}
    assert row.invalid_pictures == {"duplicate": row.requests - row.ok}
    assert row.money is not None
    assert row.money.wasted_usd == pytest.approx(row.money.spent_usd * (row.requests - row.ok) / row.requests)


def test_a_seed_that_changes_nothing_gives_duplicates(tmp_path: Path) -> None:
    """Fresh seeds ask for fresh pictures: three prompts, three pictures, and the rest are duplicates."""
    (row,) = measured(tmp_path, "fresh", "--fault", "seed.varies")
    assert (row.ok, row.invalid_pictures) == (3, {"duplicate": row.requests - 3})


@pytest.mark.parametrize("seeds", ["fresh", "fixed", "none"])
def test_a_target_that_keeps_its_word_has_none(tmp_path: Path, seeds: str) -> None:
    """Every provider's mock under every seed policy: with one fixed seed equal prompts rightly get equal pictures."""
    rows = measured(tmp_path, seeds, providers=("nanogpt", "nebul", "nvidia-nim-image", "opengpu-relay"))
    assert all(row.errors == {} for row in rows), [(row.provider, row.errors, row.invalid_pictures) for row in rows]
    assert all(row.ok == row.requests for row in rows)
