"""The answer on top of the report, and that nothing is ranked with what was asked for something else."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
import pytest

from testcard.harness.runs.folder import RunReader
from testcard.harness.runs.records import Estimate, Gate, Saturation, Saturations
from testcard.reports.content.answer import overall
from testcard.reports.content.comparison import ComparisonTable, compared
from testcard.reports.content.evidence import Evidence, Series, gather
from testcard.reports.content.exhibits import Drawing
from testcard.reports.content.paragraph import answered
from testcard.reports.figures import cost, style
from testcard.reports.pages.markdown import comparison_part
from testcard.reports.pages.page import compose
from testcard.reports.pages.render import comparison_csv

PICTURES = ("nanogpt", "nebul", "nvidia-nim-image")
ASKED = {"task": "generate", "size": "512×512"}


@pytest.fixture(scope="module")
def bench(synthetic: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Evidence:
    """A benchmark of three providers of pictures, without checks."""
    makers = tuple(replace(maker, fails=0.0) for maker in synthetic.MAKERS if maker.id in PICTURES)
    runs: list[RunReader] = synthetic.write_evaluation(tmp_path_factory.mktemp("alike"), requests=90, makers=makers)
    return gather(runs[-1:])


def asking(evidence: Evidence, *asked: dict[str, str]) -> Evidence:
    """The evidence as if its rows had asked for these, in their order."""
    series = [replace(each, row=msgspec.structs.replace(each.row, asked=said)) for each, said in zip(evidence.series, asked, strict=True)]
    return replace(evidence, series=series)


def ranks(table: ComparisonTable) -> dict[str, int | None]:
    return {row.party.key: row.cells["p50"].rank for row in table.rows}


def test_rows_that_are_alike_are_ranked(bench: Evidence) -> None:
    table = compared(asking(bench, ASKED, ASKED, ASKED))
    assert ranks(table) == {"nvidia-nim-image": 1, "nanogpt": 2, "nebul": 3}
    assert {row.group for row in table.rows} == {"generate · 512×512 · stage steady · p95<8s, error_rate<1%"}


@pytest.mark.parametrize(
    "other",
    [{"size": "1024×1024"}, {"n": "2"}, {"quality": "high"}, {"steps": "4"}, {"task": "edit"}],
    ids=lambda other: next(iter(other)),
)
def test_no_rank_crosses_a_group(bench: Evidence, other: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """What differs in task, size, n, quality or steps is neither ranked with the others nor named faster or slower than they are."""
    monkeypatch.setattr(style, "render", lambda each: Drawing(each.name, each.title, each.caption, each.table, "", "", b"", b""))
    place = next(index for index, each in enumerate(bench.series) if each.party.key == "nvidia-nim-image")
    asked = [ASKED if index != place else {**ASKED, **other} for index in range(3)]
    evidence = asking(bench, *asked)
    table = compared(evidence)
    assert ranks(table) == {"nvidia-nim-image": None, "nanogpt": 1, "nebul": 2}
    answer = answered(evidence, table)
    assert [("NVIDIA" in said) for _, said in answer.ratios] == [False]
    assert not any("NanoGPT" in text and "NVIDIA" in text for text in answer.paragraphs)
    assert "not ranked against each other" in answer.text
    captions = [drawing.caption for name, drawing in compose(evidence).gallery.drawings.items() if name.startswith("latency-")]
    compares = [text for text in captions if "Half of" in text or "heaviest" in text or "takes longer than" in text]
    assert len(compares) == 3
    assert not any("NVIDIA" in text for text in compares)


def test_what_is_said_of_all_is_said_once(bench: Evidence) -> None:
    """Three targets that leave one objective undecided are one clause, two are named, one misses."""
    evidence = asking(bench, ASKED, ASKED, ASKED)

    def said(*verdicts: str) -> str:
        series = []
        for each, verdict in zip(evidence.series, verdicts, strict=True):
            gate = Gate(expression="p95<8s", observed=Estimate(value=None, n=90), verdict=verdict)  # type: ignore[arg-type]
            series.append(replace(each, row=msgspec.structs.replace(each.row, gates=[gate], outcome=verdict)))
        changed = replace(evidence, series=series)
        return answered(changed, compared(changed)).paragraphs[0]

    assert " Every target leaves p95<8s undecided." in said("inconclusive", "inconclusive", "inconclusive")
    mixed = said("inconclusive", "inconclusive", "fail")
    assert " leave p95<8s undecided; " in mixed
    assert " misses p95<8s." in mixed


def test_the_group_stands_in_each_row_of_csv_and_markdown(bench: Evidence) -> None:
    evidence = asking(bench, ASKED, ASKED, {**ASKED, "size": "1024×1024"})
    page = compose(evidence)
    lines: list[dict[str, Any]] = list(csv.DictReader(io.StringIO(comparison_csv(page.comparison))))
    assert sorted("1024×1024" in line["group"] for line in lines) == [False, False, True]
    assert all(line["cost_usd_per_megapixel"] for line in lines)
    rows = comparison_part(page)[0].splitlines()[2:]
    assert sorted("1024×1024" in row for row in rows) == [False, False, True]


def test_the_answer_says_who_by_how_much_at_what_price_and_on_what(bench: Evidence) -> None:
    evidence = asking(bench, ASKED, ASKED, ASKED)
    answer = answered(evidence, compared(evidence))
    first, confidence = answer.paragraphs
    assert first.startswith("generate · 512×512 · stage steady · p95<8s, error_rate<1%: NVIDIA NIM image is fastest (p50 0.3")
    assert "faster than NanoGPT [" in first
    assert "1,000 good pictures cost (illustrative prices): Nebul $2.2" in first
    assert " a megapixel)" in first
    assert confidence.startswith("Measured on 2")
    assert "against mocks" in confidence
    assert len(answer.ratios) == 3


def test_the_ratio_of_a_pair_is_the_share_of_time_saved(bench: Evidence) -> None:
    """NVIDIA's median is 0.38 s and NanoGPT's 0.62 s: 39 % less, inside an interval that holds it."""
    evidence = asking(bench, ASKED, ASKED, ASKED)
    said = next(said for _, said in answered(evidence, compared(evidence)).ratios if "NVIDIA" in said and "NanoGPT" in said)
    head, _, tail = said.partition(" [")
    low, high = (float(each) for each in tail.removesuffix(" %].").split(" to "))
    share = float(head.split(" is ")[1].split(" %")[0])
    assert low < share < high
    assert low < 100 * (1 - 0.38 / 0.62) < high


def test_a_target_whose_pictures_fail_is_not_on_the_frontier(bench: Evidence) -> None:
    table = compared(bench)
    whole = cost.sketch(table.compared, table.latency, {})
    assert whole is not None
    assert "NVIDIA NIM image" in whole.caption.partition("(ringed)")[0]
    rows = [
        replace(each, row=msgspec.structs.replace(each.row, invalid_pictures={"size": 9})) if each.party.key == "nvidia-nim-image" else each
        for each in table.compared
    ]
    without = cost.sketch(rows, table.latency, {})
    assert without is not None
    assert "NVIDIA NIM image" not in without.caption.partition("(ringed)")[0]
    assert "NVIDIA NIM image: too many requests or pictures fail" in without.caption


def with_errors(evidence: Evidence, provider: str, ok: int, **errors: int) -> Evidence:
    """The evidence as if that provider's row had these outcomes."""
    n, p50 = ok + sum(errors.values()), {} if ok < 2 else None
    share = Estimate(value=1 - ok / n, low=max(0.0, 0.98 * (1 - ok / n) - 0.1), high=1.0, n=n)

    def changed(each: Series) -> Series:
        row = msgspec.structs.replace(
            each.row,
            requests=n,
            ok=ok,
            errors={kind.replace("_", "-"): number for kind, number in errors.items()},
            error_rate=share,
            latency_s=each.row.latency_s if p50 is None else p50,
        )
        return replace(each, row=row)

    return replace(evidence, series=[changed(each) if each.party.key == provider else each for each in evidence.series])


@pytest.mark.parametrize(
    ("ok", "errors", "wanted"),
    [
        (0, {"invalid_picture": 8}, "NanoGPT delivered what was asked for in none of 8 requests (8 invalid-picture)."),
        (1, {"timeout": 7}, "NanoGPT delivered what was asked for in 1 of 8 requests (7 timeout), too few for a median."),
        (50, {"server_error": 40}, "NanoGPT fails 40 of 90 requests (40 server-error)."),
    ],
)
def test_the_answer_names_who_delivered_too_little(bench: Evidence, ok: int, errors: dict[str, int], wanted: str) -> None:
    """Nothing is said to be unanswered that was answered, and nobody is praised for its speed alone whose requests fail."""
    evidence = asking(with_errors(bench, "nanogpt", ok, **errors), ASKED, ASKED, ASKED)
    said = answered(evidence, compared(evidence)).paragraphs[0]
    assert wanted in said
    assert "was answered" not in said


def test_a_row_in_doubt_is_not_called_a_failure(bench: Evidence) -> None:
    """A benchmark whose first requests were all refused, or whose generator was late, ended inconclusive (exit 5), whatever its gates say:
    the report says the same, in the server's words."""
    gate = Gate(expression="error_rate<20%", observed=Estimate(value=1.0, low=0.51, high=1.0, n=4), verdict="fail", detail="beyond")
    note = "nanogpt answered 400 to 3 requests in a row: there is no model nosuch"
    evidence = with_errors(bench, "nanogpt", 0, refused=4)
    doubted = [
        replace(each, row=msgspec.structs.replace(each.row, gates=[gate], outcome="inconclusive", note=note))
        if each.party.key == "nanogpt"
        else each
        for each in asking(evidence, ASKED, ASKED, ASKED).series
    ]
    evidence = replace(evidence, series=doubted)
    verdict = overall(evidence)
    (line,) = [line for line in verdict.gates if line.target == "NanoGPT"]
    assert (line.verdict, line.threshold) == ("inconclusive", "error_rate<20%")
    assert "not counted, because nanogpt answered 400" in line.detail
    said = answered(evidence, compared(evidence)).paragraphs[0]
    assert f"none of 4 requests (4 refused): {note}." in said
    assert "NanoGPT leaves error_rate<20% undecided" in said
    assert "misses" not in said


def test_a_target_whose_requests_fail_is_not_on_the_frontier(bench: Evidence) -> None:
    """Also without an objective on errors; three of forty may be chance."""
    for ok, failed, kept in ((50, 40, False), (37, 3, True)):
        evidence = with_errors(bench, "nvidia-nim-image", ok, server_error=failed)
        table = compared(evidence)
        drawn = cost.sketch([replace(each, row=msgspec.structs.replace(each.row, gates=[])) for each in table.compared], table.latency, {})
        assert drawn is not None
        assert ("NVIDIA NIM image" in drawn.caption.partition("(ringed)")[0]) is kept


def test_the_answer_of_a_search_is_what_it_found(bench: Evidence) -> None:
    """Its stages are there to break: none of their medians is the answer, and all their requests stand behind it."""
    first = bench.series[0]
    found = Saturation(
        provider=first.row.provider, model=first.row.model, operation=first.row.operation, target=first.row.target, holds_rps=35.1,
        breaks_rps=36.2, low_rps=34.0, high_rps=37.3, broke_first="p95<550ms (0.61)", conclusive=True, sentence="holds 35.1/s and breaks at 36.2/s",
    )  # fmt: skip
    evidence = asking(replace(bench, searches={0: Saturations(results=[found], slo=["p95<550ms"])}), ASKED, ASKED, ASKED)
    answer = answered(evidence, compared(evidence))
    said, confidence = answer.paragraphs
    assert said == f"generate · 512×512 · {first.row.operation} · p95<550ms: {first.label} holds 35.1/s and breaks at 36.2/s."
    assert f"Measured on {sum(each.row.requests for each in bench.series)} requests" in confidence
    assert answer.ratios == []


def test_a_search_is_gathered_with_its_benchmark(synthetic: ModuleType, tmp_path: Path) -> None:
    """saturation.json is read where run.json lists it."""
    (*_, run) = synthetic.write_evaluation(tmp_path, requests=30, makers=synthetic.MAKERS[:1])
    assert gather([run]).searches == {}
    (run.folder / "saturation.json").write_bytes(msgspec.json.encode(Saturations(results=[], slo=["p95<1s"])))
    record = msgspec.structs.replace(run.run, files={**run.run.files, "saturation": "saturation.json"})
    (run.folder / "run.json").write_bytes(msgspec.json.encode(record))
    assert gather([RunReader(run.folder)]).searches == {0: Saturations(results=[], slo=["p95<1s"])}


def test_the_answer_is_a_file_of_the_report(report: Path) -> None:
    text = (report / "answer.txt").read_text(encoding="utf-8")
    first, _, rest = text.partition("\n")
    assert first in (report / "summary.md").read_text(encoding="utf-8").replace("\\", "").replace("&lt;", "<")
    # `evaluate` ends with it in the terminal: under the paragraphs the targets, as their cards have them.
    assert re.search(r"\nNanoGPT  ✗ fail, \d+ broken, \d+ of \d+ musts kept\n  p50 [\d.]+ m?s \[", rest)
    several = re.findall(r"(\d+) broken, \d+ of \d+ musts kept(?:\n  (?!\d+ must).*)*\n  (\d+) musts? broken: ", rest)
    assert several
    assert all(one == other for one, other in several), several
    for word in ("p95", "errors", "1,000 good pictures (illustrative price) $", "a megapixel $", "requests"):
        assert rest.count(word) >= 3, word
