"""A picture that comes again as the answer to another request is found, in whichever process it came, and a rightful repetition is not."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from testcard.benchmarks.judging.recorder import seal
from testcard.harness.runs.folder import RunReader, RunWriter
from testcard.harness.runs.samples import schema
from testcard.harness.statistics.samples import duplicates_marked, read

BASE = {"provider": "p", "model": "m", "operation": "o", "target": 0, "outcome": "ok", "images": 1, "pictures": 1, "cost_usd": 0.01}


def table_of(*rows: dict[str, Any]) -> pa.Table:
    whole = [{**BASE, "scheduled_s": float(place), **row} for place, row in enumerate(rows)]
    return pa.table({field.name: pa.array([row.get(field.name) for row in whole], field.type) for field in schema()}, schema=schema())


def judged(*rows: dict[str, Any]) -> list[tuple[str, str | None]]:
    table = duplicates_marked(table_of(*rows))
    return list(zip(table["outcome"].to_pylist(), table["flaw"].to_pylist(), strict=True))


OK, DUPLICATE = ("ok", None), ("invalid-picture", "duplicate")


def test_other_seeds_must_give_other_pictures() -> None:
    """The first of equal pictures stands; every later one that was asked for with another seed or prompt is a duplicate."""
    assert judged(*({"asked": number, "picture_hashes": "aa"} for number in (1, 2, 3))) == [OK, DUPLICATE, DUPLICATE]


def test_the_same_request_may_repeat_its_picture() -> None:
    """Equal bytes: a repeatable target answers alike, and rightly so, be there a seed in them or not."""
    assert judged(*({"asked": 7, "picture_hashes": "aa"} for _ in range(3))) == [OK, OK, OK]


def test_a_duplicate_makes_no_duplicates() -> None:
    """One of two requests got the other's picture, and only its pixels were looked at: the other's next answers are its own."""
    assert judged(
        {"asked": 1, "picture_hashes": "aa"}, {"asked": 2, "picture_hashes": "aa pa"}, {"asked": 1, "picture_hashes": "aa pa"}
    ) == [OK, DUPLICATE, OK]


def test_the_first_is_the_first_by_its_start_not_by_its_place_in_the_file() -> None:
    """Shards come in any order; what was scheduled first is the original."""
    rows = [{"asked": 1, "picture_hashes": "aa", "scheduled_s": 9.0}, {"asked": 2, "picture_hashes": "aa", "scheduled_s": 3.0}]
    assert judged(*rows) == [DUPLICATE, OK]


@pytest.mark.parametrize("other", [{"target": 1}, {"model": None}, {"operation": "edit"}, {"provider": "q"}])
def test_two_targets_may_give_the_same_picture(other: dict[str, Any]) -> None:
    """Only answers of one target, model and operation are held against each other."""
    assert judged({"asked": 1, "picture_hashes": "aa"}, {"asked": 2, "picture_hashes": "aa", **other}) == [OK, OK]


def test_one_of_several_pictures_is_enough() -> None:
    """With several pictures an answer, or pixels hashed beside bytes, any one that came before counts; within an answer none does."""
    found = judged(
        {"asked": 1, "picture_hashes": "aa pa bb"},
        {"asked": 2, "picture_hashes": "cc pb"},
        {"asked": 3, "picture_hashes": "dd pa"},
        {"asked": 4, "picture_hashes": "ee ee"},
    )
    assert found == [OK, OK, DUPLICATE, OK]


def test_other_outcomes_stay_what_they_are() -> None:
    """What failed already, and what has no picture, is not judged again; but a picture seen there counts as seen."""
    found = judged(
        {"asked": 1, "picture_hashes": "aa", "outcome": "invalid-picture", "flaw": "size"},
        {"asked": 2, "picture_hashes": "aa", "outcome": "invalid-picture", "flaw": "size"},
        {"asked": 3, "picture_hashes": "aa"},
        {"asked": 4, "picture_hashes": None, "outcome": "timeout"},
        {"asked": 5, "picture_hashes": None},
    )
    assert found == [("invalid-picture", "size"), ("invalid-picture", "size"), DUPLICATE, ("timeout", None), OK]


def test_it_says_the_same_as_a_plain_reading_of_the_definition() -> None:
    """Random samples of three cells: every outcome is what a loop over them in time order says."""
    draw = random.Random(5)
    rows = [
        {
            "target": draw.randrange(3),
            "asked": draw.choice([1, 2, 3, 4]),
            "picture_hashes": draw.choice([None, *(" ".join(draw.sample("abcdefghijklmnopqrst", draw.randint(1, 3))) for _ in range(3))]),
            "scheduled_s": draw.random(),
        }
        for _ in range(400)
    ]
    seen: dict[tuple[int, str], dict[str, Any]] = {}
    expected: list[tuple[str, str | None]] = [OK] * len(rows)
    for place in sorted(range(len(rows)), key=lambda each: rows[each]["scheduled_s"]):
        row = rows[place]
        marks = [(row["target"], mark) for mark in (row["picture_hashes"] or "").split()]
        if any(mark in seen and seen[mark]["asked"] != row["asked"] for mark in marks):
            expected[place] = DUPLICATE
        else:
            for mark in marks:
                seen.setdefault(mark, row)
    assert judged(*rows) == expected
    assert 0 < expected.count(DUPLICATE) < len(rows)


def test_shards_of_two_processes_read_and_seal_alike(tmp_path: Path) -> None:
    """A duplicate across processes is found in shards that a kill left behind and in the sealed file, whose hashes no frame carries."""
    run = RunWriter.create(tmp_path / "run", "bench")
    for worker, table in enumerate(
        (table_of({"asked": 1, "picture_hashes": "aa"}), table_of({"asked": 2, "picture_hashes": "aa", "scheduled_s": 1.0}))
    ):
        with pa.ipc.new_stream(str(run.folder / f"samples-{worker}.arrow"), schema()) as stream:
            stream.write_table(table)
    before = read(RunReader(run.folder))
    only = read(RunReader(run.folder), columns=["outcome"])
    seal(run.folder)
    run.add_file("samples", "samples.parquet")
    after = read(RunReader(run.folder))
    for frame in (before, only, after):
        assert frame["outcome"].tolist() == ["ok", "invalid-picture"]
    assert "picture_hashes" not in before
    assert "picture_hashes" not in after
    assert list(only.columns) == ["outcome"]
    assert pq.read_table(run.folder / "samples.parquet")["picture_hashes"].to_pylist() == ["aa", "aa"]


def test_samples_of_older_versions_stay_as_they_are() -> None:
    """Without hashes nothing can be said, so nothing is."""
    assert judged({"asked": 1}, {"asked": 2}) == [OK, OK]
    bare = table_of({"asked": 1}).drop_columns(["asked", "picture_hashes"])
    assert duplicates_marked(bare) is bare
