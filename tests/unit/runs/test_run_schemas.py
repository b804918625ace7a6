"""The published schemas are what the records write, and a run folder that strays from them is found out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import jsonschema_rs
import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from testcard.harness.cli.schema import WRITTEN
from testcard.harness.runs.folder import RunWriter
from testcard.harness.runs.records import (
    RECORD_TYPES,
    Badge,
    CheckedTarget,
    ClauseRef,
    Estimate,
    Exchange,
    Generator,
    SeenResponse,
    SentRequest,
    Spend,
    Summary,
    SummaryRow,
    Verdict,
    Verdicts,
)
from testcard.harness.runs.samples import schema
from testcard.harness.runs.validate import FOLDER, MAX_PROBLEMS, published, rendered, validate_run


@pytest.mark.parametrize("name", RECORD_TYPES)
def test_published_schema_is_what_the_record_generates(name: str) -> None:
    """After a change of a record, `python -m testcard.harness.runs.validate` writes the schemas anew."""
    assert (FOLDER / f"{name}.schema.json").read_text(encoding="utf-8") == rendered(name)


@pytest.mark.parametrize("name", RECORD_TYPES)
def test_published_schema_is_valid_2020_12(name: str) -> None:
    """Each file is a JSON Schema of the dialect it names, and has an id of its own."""
    found = published(name)
    assert found["$schema"].endswith("2020-12/schema")
    assert found["$id"] == f"urn:testcard:{name}:1"
    jsonschema_rs.meta.validate(found)


def test_no_schema_is_left_over() -> None:
    """Every schema file belongs to a record that exists, or to a file that people write (tests/unit/test_generated_pages.py holds those)."""
    assert {path.name for path in FOLDER.glob("*.json")} == {f"{name}.schema.json" for name in (*RECORD_TYPES, *WRITTEN)}


def a_whole_run(folder: Path) -> RunWriter:
    writer = RunWriter.create(folder, "check")
    for number in range(3):
        writer.append(
            Exchange(
                id=f"x{number}",
                operation="createImage",
                probe="p",
                source="probe",
                parent=None if number == 0 else "x0",
                request=SentRequest(method="POST", url="http://127.0.0.1:1/", headers=[("a", "b")], body=writer.body(b"{}")),
                response=SeenResponse(status=200, headers=[("c", "d")], body=writer.body(b"z" * 6000)),
                sent_s=0.0,
                done_s=1.0,
            )
        )
    clause = ClauseRef(document="d", heading="h")
    verdict = Verdict(rule="image.size", operation="createImage", level="must", verdict="pass", clause=clause, exchanges=["x0"])
    target = CheckedTarget(base_url="http://127.0.0.1:1", mock=True)
    writer.write(
        "verdicts", "verdicts.json", Verdicts(provider="nanogpt", target=target, outcome="pass", spend=Spend(), verdicts=[verdict])
    )
    row = SummaryRow(
        provider="nanogpt", model=None, operation="createImage", stage="steady", offered_rps=None, achieved_rps=1.0, requests=1, ok=1,
        errors={}, latency_s={"p50": Estimate(value=1.0, low=0.5, high=2.0, n=9)}, service_s={}, ttfb_s={}, images_per_s=1.0,
        megapixels_per_s=0.1, goodput_rps=1.0, cost_usd_per_image=None, generator=Generator(send_lag_p99_s=None, cpu_percent=3.0), outcome="pass",
    )  # fmt: skip
    writer.write("summary", "summary.json", Summary(rows=[row]))
    writer.write("badge", "badge.json", Badge(label="a", message="b", color="c"))
    pq.write_table(schema().empty_table(), writer.add_file("samples", "samples.parquet"))
    writer.finish("pass", 0)
    return writer


def test_a_whole_run_is_valid(tmp_path: Path) -> None:
    """What the writer writes keeps the published schemas; nothing is reported."""
    a_whole_run(tmp_path / "run")
    assert validate_run(tmp_path / "run") == []


def _replace(name: str, old: str, new: str) -> Callable[[Path], object]:
    def change(folder: Path) -> None:
        text = (folder / name).read_text()
        assert old in text
        (folder / name).write_text(text.replace(old, new))

    return change


def _samples_without_a_column(folder: Path) -> None:
    pq.write_table(schema().empty_table().drop_columns(["done_s"]), folder / "samples.parquet")


def _samples_of_other_types(folder: Path) -> None:
    table = schema().empty_table()
    place = table.column_names.index("round")
    pq.write_table(table.set_column(place, "round", pa.array([], pa.string())), folder / "samples.parquet")


def _spoil_a_body(folder: Path) -> None:
    next((folder / "bodies").iterdir()).write_bytes(b"other")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (_replace("run.json", '"outcome": "pass"', '"outcome": "fine"'), "run.json: /outcome breaks"),
        (_replace("run.json", '"kind": "check",', ""), "run.json: / breaks the schema's"),
        (_replace("verdicts.json", '"level": "must"', '"level": "ought"'), "verdicts.json: /verdicts/0/level breaks"),
        (_replace("summary.json", '"requests": 1', '"requests": "one"'), "summary.json: /rows/0/requests breaks"),
        (_replace("badge.json", '"schemaVersion": 1', '"schemaVersion": 2'), "badge.json: /schemaVersion breaks"),
        (_replace("badge.json", "{", "["), "badge.json: is not JSON"),
        (_replace("exchanges.jsonl", '"id":"x1"', '"id":"x0"'), "exchanges.jsonl:2: the id x0 stands twice"),
        (_replace("exchanges.jsonl", '"parent":"x0"', '"parent":"x9"'), "exchanges.jsonl:2: its parent x9 does not stand before it"),
        (_replace("exchanges.jsonl", '"sent_s":0.0', '"sent_s":"0"'), "exchanges.jsonl:1: /sent_s breaks"),
        (lambda folder: (folder / "badge.json").unlink(), "badge.json: is listed as badge and does not exist"),
        (lambda folder: (folder / "stray.txt").write_text("x"), "stray.txt: is not listed in run.json"),
        (lambda folder: (folder / "bodies" / ("0" * 64)).write_text("x"), "no exchange names it"),
        (_spoil_a_body, "its content has another sha256"),
        (lambda folder: next((folder / "bodies").iterdir()).unlink(), "is named by an exchange and does not exist"),
        (_samples_without_a_column, "samples.parquet: column done_s is missing"),
        (_samples_of_other_types, "samples.parquet: column round is string, not int32"),
        (lambda folder: (folder / "samples.parquet").write_bytes(b"PAR1 nonsense"), "samples.parquet: cannot be read"),
    ],
)
def test_what_strays_is_named(tmp_path: Path, change: Callable[[Path], object], expected: str) -> None:
    """Each way to spoil a run folder leads to a sentence that names the file and the place."""
    a_whole_run(tmp_path / "run")
    change(tmp_path / "run")
    problems = validate_run(tmp_path / "run")
    assert any(expected in problem for problem in problems), problems


def test_children_are_validated_too(tmp_path: Path) -> None:
    """An evaluate folder is as good as the runs inside it."""
    parent = RunWriter.create(tmp_path / "all", "evaluate")
    a_whole_run(tmp_path / "all" / "check-a")
    parent.update(children=["check-a"])
    assert validate_run(tmp_path / "all") == []
    (tmp_path / "all" / "check-a" / "badge.json").unlink()
    assert validate_run(tmp_path / "all") == ["check-a/badge.json: is listed as badge and does not exist"]


def test_problems_carry_no_values_and_are_capped(tmp_path: Path) -> None:
    """A megabyte of somebody's answer is not repeated in a message, and a thousand broken lines are not a thousand messages."""
    writer = a_whole_run(tmp_path / "run")
    with (tmp_path / "run" / "exchanges.jsonl").open("ab") as file:
        for _ in range(100):
            file.write(msgspec.json.encode({"id": "secret" * 100_000}) + b"\n")
    problems = validate_run(writer.folder)
    assert len(problems) == MAX_PROBLEMS + 1
    assert max(map(len, problems)) < 300
