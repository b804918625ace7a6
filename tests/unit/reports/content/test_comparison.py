"""Counts, ranks and words of the comparison and the verdict."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType

from testcard.harness.runs.folder import RunReader
from testcard.harness.runs.records import ClauseRef, Verdict
from testcard.reports.content.answer import overall
from testcard.reports.content.comparison import compared, conformance, too_few
from testcard.reports.content.evidence import gather


def _verdict(rule: str, word: str, level: str = "must", operation: str = "op") -> Verdict:
    return Verdict(rule=rule, operation=operation, level=level, verdict=word, clause=ClauseRef(document="d", heading="h"))  # type: ignore[arg-type]


def test_conformance_counts_rules_not_cases() -> None:
    """A rule judged at several places counts once, by its worst word; what does not apply is not counted."""
    counts = conformance(
        [
            _verdict("a.one", "pass"),
            _verdict("a.one", "fail"),
            _verdict("a.two", "pass"),
            _verdict("a.three", "unsupported"),
            _verdict("a.four", "waived"),
            _verdict("a.five", "unproven"),
            _verdict("a.six", "deviates", "should"),
        ]
    )
    assert counts is not None
    assert (counts.passed, counts.total, counts.broken, counts.deviated, counts.open) == (1, 3, 1, 1, 1)
    assert conformance([]) is None


def test_only_operations_of_one_task_are_ranked_with_each_other(runs: list[RunReader]) -> None:
    """Describing a picture is no rival of generating one; the fastest generator is best."""
    rows = compared(gather(runs)).rows
    ranked = {row.party.key: row.cells["p50"].rank for row in rows if row.series}
    assert ranked == {"nanogpt": 2, "nebul": 3, "nvidia-nim-image": 1, "nvidia-nim-vision": None, "opengpu-relay": 4}
    assert [row.party.key for row in rows if row.cells["p50"].best] == ["nvidia-nim-image"]


def test_operations_that_were_only_checked_come_last(runs: list[RunReader]) -> None:
    """Measured rows first; the rest say that they were not measured."""
    rows = compared(gather(runs)).rows
    measured = [row.series is not None for row in rows]
    assert measured == sorted(measured, reverse=True)
    assert all(row.cells["p50"].note == "not measured" for row in rows if row.series is None)


def test_few_samples_show_no_sure_number(synthetic: ModuleType, tmp_path: Path) -> None:
    """With 30 requests there is a p50, a p95 that is said to be unsure, and no p99."""
    runs = synthetic.write_evaluation(tmp_path / "few", requests=30, makers=synthetic.MAKERS[:1])
    row = next(row for row in compared(gather(runs)).rows if row.series)
    assert row.cells["p50"].interval
    assert row.cells["p95"].text.startswith("≈\u00a0")
    assert row.cells["p95"].interval.startswith("≥\u00a0")
    assert row.cells["p99"].text == "–"
    assert row.cells["p99"].note == "n\u00a0<\u00a0100"


def test_too_few_names_the_size_from_which_a_sample_lies_beyond() -> None:
    """p50 from 2, p90 from 10, p95 from 20, p99 from 100."""
    assert [too_few(name, 1) for name in ("p50", "p90", "p95", "p99")] == [f"n\u00a0<\u00a0{n}" for n in (2, 10, 20, 100)]


def test_all_pass_says_so(synthetic: ModuleType, tmp_path: Path) -> None:
    """A target that keeps its musts and its thresholds passes, and the badge is green."""
    clean = synthetic.Maker("tidy", "Tidy", "doc.txt", ("createImage",), "m", 0.5, 0.2, 0.01, fails=0.0)
    found = overall(gather(synthetic.write_evaluation(tmp_path / "tidy", requests=600, makers=(clean,))))
    assert (found.word, found.sentence) == ("pass", "The target keeps every must that was checked and holds every threshold.")
    assert found.badge.color == "brightgreen"


def test_interrupted_run_is_inconclusive(synthetic: ModuleType, tmp_path: Path) -> None:
    """A run that did not end cannot pass, whatever it holds."""
    clean = synthetic.Maker("tidy", "Tidy", "doc.txt", ("createImage",), "m", 0.5, 0.2, 0.01, fails=0.0)
    runs = synthetic.write_evaluation(tmp_path / "cut", requests=600, makers=(clean,))
    path = runs[0].folder / "run.json"
    path.write_text(
        path.read_text().replace('"outcome": "pass"', '"outcome": "interrupted"').replace('"reason": null', '"reason": "Ctrl-C"')
    )
    found = overall(gather([RunReader(run.folder) for run in runs]))
    assert found.word == "inconclusive"
    assert found.sentence == "Not conclusive: check-tidy: Ctrl-C."


def test_a_late_generator_leaves_its_row_open(synthetic: ModuleType, tmp_path: Path) -> None:
    """Figures that hold every threshold do not pass when the measurement itself is in doubt; the sentence says why."""
    clean = synthetic.Maker("tidy", "Tidy", "doc.txt", ("createImage",), "m", 0.5, 0.2, 0.01, fails=0.0)
    runs = synthetic.write_evaluation(tmp_path / "late", requests=600, makers=(clean,))
    path = runs[-1].folder / "summary.json"
    record = json.loads(path.read_text())
    record["rows"][0] |= {"outcome": "inconclusive", "note": "the load generator was late; one turn was taken again"}
    path.write_text(json.dumps(record))
    found = overall(gather(runs))
    assert (found.word, found.sentence) == ("inconclusive", "Tidy cannot be judged (the load generator was late).")
    assert [(gate.threshold, gate.detail) for gate in found.gates if gate.verdict == "inconclusive"] == [
        ("sound measurement", "the load generator was late; one turn was taken again")
    ]


def test_two_targets_of_one_provider_keep_apart(synthetic: ModuleType, tmp_path: Path) -> None:
    """Checked twice, at two addresses, a provider has two columns with the address in their names."""
    maker = synthetic.MAKERS[0]
    live = synthetic.write_evaluation(tmp_path / "a", requests=60, makers=(maker,), mock=False)
    mock = synthetic.write_evaluation(tmp_path / "b", requests=60, makers=(maker,))
    evidence = gather([*live, *mock])
    assert [party.key for party in evidence.parties] == ["nanogpt", "nanogpt-2"]
    assert len({party.label for party in evidence.parties}) == 2
    assert [series.party.key for series in evidence.series] == ["nanogpt", "nanogpt-2"]
