"""junit.xml: any CI reads it, and its cases keep their names."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path

import junitparser
import pytest
import xmlschema

from testcard.harness.runs.folder import RunReader
from testcard.harness.runs.records import RuleFailure, SpecGap, Verdict, Waived, WaiverNote
from testcard.reports.ci.junit import junit_xml
from testcard.reports.content.evidence import gather

Make = Callable[..., RunReader]
As = Callable[..., Verdict]
SCHEMA = xmlschema.XMLSchema(Path(__file__).with_name("junit.xsd"))


def written(*runs: RunReader) -> ET.Element:
    """The file of these runs, held against its schema."""
    text = junit_xml(gather(runs))
    SCHEMA.validate(text)
    return ET.fromstring(text)


def cases(*runs: RunReader) -> dict[str, ET.Element | None]:
    """What each case holds (None: passed), by name."""
    return {case.attrib["name"]: next(iter(case), None) for case in written(*runs).iter("testcase")}


def test_a_whole_evaluation_keeps_the_schema(runs: list[RunReader]) -> None:
    """Five checks with every word are five suites with a case for each verdict, and the counts in the suites are true."""
    root = written(*runs)
    judged = {verdicts.provider: verdicts for run in runs if (verdicts := run.verdicts())}
    assert {suite.attrib["name"] for suite in root} == set(judged)
    for suite in root:
        found = suite.findall("testcase")
        assert len(found) == len(judged[suite.attrib["name"]].verdicts) == int(suite.attrib["tests"])
        for kind, counted in (("failure", "failures"), ("error", "errors"), ("skipped", "skipped")):
            assert int(suite.attrib[counted]) == len(suite.findall(f"testcase/{kind}"))
    assert root.findall(".//failure")
    assert root.findall(".//skipped")


def test_a_common_reader_understands_it(runs: list[RunReader], tmp_path: Path) -> None:
    """junitparser reads the same totals and results."""
    path = tmp_path / "junit.xml"
    path.write_text(junit_xml(gather(runs)), encoding="utf-8")
    suites = list(junitparser.JUnitXml.fromfile(str(path)))
    broken = [verdict for run in runs if (verdicts := run.verdicts()) for verdict in verdicts.verdicts if verdict.verdict == "fail"]
    failed = [case for suite in suites for case in suite if any(isinstance(one, junitparser.Failure) for one in case.result)]
    assert sum(suite.failures for suite in suites) == len(failed) == len(broken)
    assert {case.name for case in failed} == {f"{one.rule} [{one.operation}]" for one in broken}


@pytest.mark.parametrize(
    ("word", "strict", "kind"),
    [
        ("pass", False, None),
        ("info", False, None),
        ("fail", False, "failure"),
        ("deviates", False, None),
        ("deviates", True, "failure"),
        ("unsupported", False, "skipped"),
        ("unproven", True, "skipped"),
        ("not-run", False, "skipped"),
        ("waived", False, "skipped"),
    ],
)
def test_each_word_has_its_form(check_run: Make, judged_as: As, word: str, strict: bool, kind: str | None) -> None:
    """A broken must fails, a broken should only under --strict; what was not decided is skipped, with the reason as its message."""
    (child,) = cases(check_run(judged_as(word, "the reason"), strict=strict)).values()
    assert (child.tag if child is not None else None) == kind
    if child is not None:
        assert "the reason" in child.attrib["message"]


def test_a_failure_tells_everything(check_run: Make, judged_as: As) -> None:
    """Promise, clause, what was seen, the exchange and a command that shows it again."""
    (failure,) = cases(check_run(judged_as("fail", "256x256 was asked for"))).values()
    assert failure is not None
    assert failure.attrib == {"message": "256x256 was asked for", "type": "must"}
    for part in (
        "A picture has the size that was asked for.",
        "002.txt, “Sizes”",
        "256x256 was asked for",
        "exchange: e1",
        "curl -sS -i http://",
    ):
        assert part in str(failure.text)


def test_a_waiver_says_who_until_when_and_why(check_run: Make, judged_as: As) -> None:
    """A waived case is skipped with its waiver; an expired waiver is a failure of its own, even of a should that does not count."""
    waived = judged_as("waived", waiver=Waived(instead_of="fail", reason="ticket 12", owner="ann", expires="2027-01-01"))
    note = WaiverNote(
        rule="image.*", operation=None, reason="old", owner="bob", expires="2026-01-01", state="expired", detail="has expired: x counts again",
        findings=[("image.format", "createImage")],
    )  # fmt: skip
    found = cases(check_run(waived, judged_as("deviates", rule="image.format"), waivers=[note]))
    skipped = found["image.size [createImage]"]
    assert skipped is not None
    assert skipped.attrib["message"] == "waived until 2027-01-01 by ann: ticket 12; seen: seen"
    assert found["image.format [createImage]"] is None
    failure = found["waiver of image.* [every operation]"]
    assert failure is not None
    assert (failure.tag, failure.attrib["type"]) == ("failure", "waiver-expired")


def test_a_rule_that_raised_is_an_error_of_the_tool(check_run: Make, judged_as: As) -> None:
    """It is neither a failure of the target nor a pass."""
    raised = RuleFailure(rule="image.size", operation="createImage", message="KeyError: 'oh'")
    (child,) = cases(check_run(judged_as("unproven"), errors=[raised], outcome="inconclusive")).values()
    assert child is not None
    assert (child.tag, child.attrib["message"]) == ("error", "KeyError: 'oh'")
    assert child.text is not None
    assert "exchange" not in child.text
    placed = [
        RuleFailure(rule="image.size", operation="createImage", message="KeyError: 'oh'", exchanges=[name]) for name in ("e0002", "e0004")
    ]
    (child,) = cases(check_run(judged_as("unproven"), errors=placed, outcome="inconclusive")).values()
    assert child is not None
    assert child.text is not None
    assert child.text.endswith("exchange: e0002, e0004")


def test_what_only_deserves_a_line_is_in_the_output(check_run: Make, judged_as: As) -> None:
    """Deviations that do not count, notes, gaps of the document in system-out; idle waivers in system-err."""
    note = WaiverNote(rule="auth.*", operation=None, reason="r", owner="o", expires="2027-01-01", state="unused", detail="is unused")
    gaps = [SpecGap(operation="createImage", detail="status 401 is not documented")]
    run = check_run(judged_as("deviates", "twice"), judged_as("info", "note", rule="a.b"), waivers=[note], gaps=gaps, outcome="pass")
    (suite,) = written(run)
    assert suite.findtext("system-out") == (
        "deviates: image.size [createImage]: twice (exchange e1)\ninfo: a.b [createImage]: note (exchange e1)\ngap in the document: createImage: status 401 is not documented"
    )
    assert suite.findtext("system-err") == "The waiver of auth.* is unused (o, until 2027-01-01: r)."


def test_names_are_the_same_whatever_happened(check_run: Make, judged_as: As) -> None:
    """Two runs with other outcomes, details and times have cases of the same names, so that a CI can draw their history."""
    first = written(check_run(judged_as("pass"), judged_as("fail", rule="image.count"), outcome="fail"))
    second = written(check_run(judged_as("fail", "other"), judged_as("unproven", rule="image.count"), started="2027-01-01T09:00:00.000Z"))
    names = [[(case.attrib["classname"], case.attrib["name"]) for case in root.iter("testcase")] for root in (first, second)]
    assert names[0] == names[1] == [("nebul.createImage", "image.size [createImage]"), ("nebul.createImage", "image.count [createImage]")]


@pytest.mark.parametrize("nasty", ["\x1b[31m\x00", "\ud800", "\ufffe", "]]>", "<failure/>", "a\nb\tc", "\"'&", "x" * 100_000])
def test_whatever_a_server_says_is_text(check_run: Make, judged_as: As, nasty: str) -> None:
    """Control characters, half surrogates and markup leave a file that parses, keeps its schema and stays small."""
    run = check_run(judged_as("fail", nasty), judged_as("unproven", nasty, rule="a.b"), gaps=[SpecGap(operation=nasty[:9], detail=nasty)])
    text = junit_xml(gather([run]))
    SCHEMA.validate(text)
    assert "\x1b" not in text
    assert len(text.encode()) < 30_000
    assert len(ET.fromstring(text).findall(".//failure")) == 1
