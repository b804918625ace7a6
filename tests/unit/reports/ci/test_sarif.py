"""results.sarif: code scanning shows each finding at the contract's line, once, under a name that stays."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from testcard.harness.runs.folder import RunReader
from testcard.harness.runs.records import ClauseRef, RuleFailure, SpecGap, Verdict, Waived, WaiverNote
from testcard.reports.ci.sarif import MOST_RESULTS, sarif_json
from testcard.reports.content.evidence import gather

Make = Callable[..., RunReader]
As = Callable[..., Verdict]
SCHEMA = json.loads(Path(__file__).with_name("sarif-subset.schema.json").read_text(encoding="utf-8"))
VALIDATOR = jsonschema_rs.validator_for(SCHEMA, validate_formats=True)


def written(*runs: RunReader) -> list[dict[str, Any]]:
    """The SARIF runs of these runs, held against the schema; every rule index leads to the rule that it stands for."""
    log = json.loads(sarif_json(gather(runs)))
    assert [error.message for error in VALIDATOR.iter_errors(log)] == []
    for run in log["runs"]:
        for result in run["results"]:
            assert run["tool"]["driver"]["rules"][result["ruleIndex"]]["id"] == result["ruleId"]
    found: list[dict[str, Any]] = log["runs"]
    return found


def results(*runs: RunReader) -> list[dict[str, Any]]:
    """All results of these runs."""
    return [result for run in written(*runs) for result in run["results"]]


def place(result: dict[str, Any]) -> tuple[str, int]:
    location = result["locations"][0]["physicalLocation"]
    return location["artifactLocation"]["uri"], location["region"]["startLine"]


def test_the_schema_finds_what_is_wrong() -> None:
    """The closed schema of the tests refuses unknown keys, other versions and lines below 1."""
    for log in ({}, {"version": "2.0.0"}, {"$schema": SCHEMA["properties"], "version": "2.1.0", "runs": [{"x": 1}]}):
        assert not VALIDATOR.is_valid(log)


def test_a_whole_evaluation_keeps_the_schema(runs: list[RunReader]) -> None:
    """Five checks are five SARIF runs, apart by category; each broken promise is one result."""
    found = written(*runs)
    judged = [verdicts for run in runs if (verdicts := run.verdicts())]
    assert sorted(run["automationDetails"]["id"] for run in found) == sorted(f"testcard/{one.provider}/" for one in judged)
    broken = sum(verdict.verdict in ("fail", "deviates", "info", "waived") for one in judged for verdict in one.verdicts)
    gaps = sum(len(one.spec_gaps) for one in judged)
    assert sum(len(run["results"]) for run in found) == broken + gaps > 0


@pytest.mark.parametrize(
    ("word", "strict", "level"),
    [
        ("fail", False, "error"),
        ("deviates", False, "warning"),
        ("deviates", True, "error"),
        ("info", False, "note"),
        ("pass", False, None),
        ("unproven", False, None),
        ("not-run", False, None),
        ("unsupported", False, None),
    ],
)
def test_words_have_levels(check_run: Make, judged_as: As, word: str, strict: bool, level: str | None) -> None:
    """Musts are errors, shoulds warnings (errors under --strict), notes notes; what was not broken is no result."""
    assert [one["level"] for one in results(check_run(judged_as(word), strict=strict))] == ([level] if level else [])


def test_a_result_stands_at_the_contract_s_line(check_run: Make, judged_as: As) -> None:
    """The file as the run names it, the operation's line, what was seen and where it is promised."""
    (result,) = results(check_run(judged_as("fail", "128x128 came", place="/data/0")))
    assert place(result) == ("specs/providers/nebul/openapi.yaml", 13)
    assert result["message"]["text"] == (
        "createImage: 128x128 came, exchange e1. Promised: A picture has the size that was asked for. (002.txt, “Sizes”)"
    )
    assert result["properties"] == {"operation": "createImage", "level": "must", "exchanges": ["e1"], "place": "/data/0"}


def test_a_rule_s_help_is_its_own_page_with_links(check_run: Make, judged_as: As) -> None:
    """The document by its title and address, the short id only where a run of before has no title."""
    clause = ClauseRef(document="002.txt", heading="Sizes", title="Docs of Nebul", address="https://docs.example/images")
    (run,) = written(check_run(judged_as("fail", clause=clause), judged_as("pass", operation="createImageEdit")))
    (rule,) = run["tool"]["driver"]["rules"]
    assert rule["helpUri"] == "https://docs.example/images"
    assert rule["help"]["markdown"].startswith("# image.size\n")
    assert "- `createImage`: [Docs of Nebul, “Sizes”](https://docs.example/images)" in rule["help"]["markdown"]
    assert "- `createImageEdit`: 002.txt, “Sizes”" in rule["help"]["markdown"]
    assert "Docs of Nebul, “Sizes”, https://docs.example/images" in run["results"][0]["message"]["text"]
    assert "002.txt" not in run["results"][0]["message"]["text"]


def test_fingerprints_stay_and_tell_apart(check_run: Make, judged_as: As) -> None:
    """Other words, lines, exchanges and days give the same fingerprint; another rule, operation or provider another one."""
    first = check_run(judged_as("fail", "128x128 came"))
    again = check_run(judged_as("fail", "64x64 came", line=99, exchanges=[]), started="2027-03-01T09:00:00.000Z")
    others = check_run(judged_as("fail", rule="image.count"), judged_as("fail", operation="createImageEdit"))
    elsewhere = check_run(judged_as("fail"), provider="nanogpt")
    prints = [[tuple(one["partialFingerprints"].values()) for one in results(run)] for run in (first, again, others, elsewhere)]
    assert prints[0] == prints[1]
    assert len({prints[0][0], *prints[2], prints[3][0]}) == 4


def test_a_rule_says_what_it_promises_and_where(check_run: Make, judged_as: As) -> None:
    """Each judged rule is there, with its sentence, its clauses and where to read more; kept ones too."""
    edit = judged_as("pass", operation="createImageEdit")
    (run,) = written(check_run(judged_as("fail"), edit, judged_as("deviates", rule="http.method-refused")))
    size, method = run["tool"]["driver"]["rules"]
    assert (size["id"], size["name"], size["defaultConfiguration"]) == ("image.size", "ImageSize", {"level": "error"})
    assert size["shortDescription"]["text"] == "A picture has the size that was asked for."
    for part in ("002.txt, “Sizes” (createImage)", "(createImageEdit)", "testcard rules image.size"):
        assert part in size["help"]["text"]
    assert (method["id"], method["name"], method["defaultConfiguration"]) == (
        "http.method-refused",
        "HttpMethodRefused",
        {"level": "warning"},
    )


def test_waived_findings_are_suppressed(check_run: Make, judged_as: As) -> None:
    """They keep their level, carry the waiver as justification, and come after those that count."""
    waiver = Waived(instead_of="fail", reason="ticket 12", owner="ann", expires="2027-01-01")
    run = check_run(judged_as("waived", waiver=waiver), judged_as("fail", rule="image.count"), judged_as("deviates", rule="a.b"))
    found = results(run)
    assert [(one["ruleId"], one["level"]) for one in found] == [("image.count", "error"), ("image.size", "error"), ("a.b", "warning")]
    assert found[1]["suppressions"] == [{"kind": "external", "status": "accepted", "justification": "until 2027-01-01 by ann: ticket 12"}]
    assert "suppressions" not in found[0]


def test_gaps_of_the_document_are_notes(check_run: Make, judged_as: As) -> None:
    """They stand at their operation's line under a rule of their own; two gaps are two fingerprints."""
    gaps = [SpecGap(operation="createImage", detail=f"status {code} is not documented") for code in (401, 405)]
    found = results(check_run(judged_as("pass"), gaps=gaps, outcome="pass"))
    assert [(one["ruleId"], one["level"], place(one)[1]) for one in found] == [("spec.gap", "note", 13)] * 2
    assert len({one["partialFingerprints"]["testcardPromise/v1"] for one in found}) == 2


def test_the_run_tells_how_it_went(check_run: Make, judged_as: As) -> None:
    """Exit code, times; waivers that need a hand and rules that raised are notifications."""
    note = WaiverNote(
        rule="image.*", operation=None, reason="r", owner="o", expires="2026-01-01", state="expired", detail="has expired: it counts",
        findings=[("image.size", "createImage")],
    )  # fmt: skip
    raised = RuleFailure(rule="a.b", operation="createImage", message="KeyError")
    placed = RuleFailure(rule="a.b", operation="createImage", message="IndexError", exchanges=["e0001"])
    (run,) = written(check_run(judged_as("fail"), waivers=[note], errors=[raised, placed]))
    (invocation,) = run["invocations"]
    assert (invocation["exitCode"], invocation["executionSuccessful"]) == (1, False)
    assert (invocation["startTimeUtc"], invocation["endTimeUtc"]) == ("2026-11-20T09:00:00.000Z", "2026-11-20T09:00:07.000Z")
    texts = [(one["level"], one["message"]["text"]) for one in invocation["toolExecutionNotifications"]]
    assert texts == [
        ("error", "The rule a.b raised on createImage: KeyError"),
        ("error", "The rule a.b raised on createImage, exchange e0001: IndexError"),
        ("error", "The waiver of image.* has expired: it counts (o, until 2026-01-01: r)."),
    ]


def test_no_more_results_than_are_shown(check_run: Make, judged_as: As) -> None:
    """Of 5,100 the 5,000 worst stay, and the file says how many are missing."""
    notes = [judged_as("info", rule=f"a.b{number}") for number in range(MOST_RESULTS + 95)]
    (run,) = written(check_run(*notes, *(judged_as("fail", rule=f"z.z{number}") for number in range(5))))
    assert len(run["results"]) == MOST_RESULTS
    assert [one["level"] for one in run["results"][:6]] == ["error"] * 5 + ["note"]
    assert run["invocations"][0]["toolExecutionNotifications"][-1]["message"]["text"].startswith("100 further results were left out")


@pytest.mark.parametrize("nasty", ["\x1b[31m\x00", "\ud800", "x" * 100_000, "</script>"])
def test_whatever_a_server_says_is_text(check_run: Make, judged_as: As, nasty: str) -> None:
    """No control character, no half surrogate, no megabyte."""
    run = check_run(judged_as("fail", nasty), gaps=[SpecGap(operation="createImage", detail=nasty)])
    assert len(results(run)) == 2
    assert len(sarif_json(gather([run])).encode()) < 20_000
