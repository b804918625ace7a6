"""junit.xml: a suite for each checked target, a case for each rule of each operation, in the form that Jenkins, GitLab and others read.

Written so that both published schemas hold: Ant's as Windy Road wrote it down (strict in order and attributes) and that of Jenkins'
xUnit plugin. So a case holds at most one child, the root has no attributes, and a suite has its output at the end.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from datetime import datetime

from testcard.harness.runs.records import RuleFailure, Verdict, WaiverNote
from testcard.harness.text.commands import curl_block
from testcard.harness.text.sources import cited
from testcard.harness.text.words import clean, listing, shortened, waiver_line, waiver_reason
from testcard.reports.content.evidence import Evidence, Party

MOST_TEXT = 4000
MOST_MESSAGE = 500
#: So many exchanges of a verdict are named in its line.
MOST_EXCHANGES = 3


def junit_xml(evidence: Evidence) -> str:
    """The file's text. Equal runs give equal text, and a case keeps its name from run to run."""
    root = ET.Element("testsuites")
    for number, party in enumerate(party for party in evidence.parties if party.verdicts is not None):
        root.append(_suite(party, number))
    ET.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _suite(party: Party, number: int) -> ET.Element:
    cases = [_case(party, verdict) for verdict in party.judged()]
    cases += [_waiver_case(party, note) for note in party.waivers if note.state == "expired" and note.findings]
    cases += [_unread_case(party, one) for one in party.errors if not one.rule]
    suite = ET.Element(
        "testsuite",
        {
            "name": clean(party.key),
            "package": "testcard",
            "id": str(number),
            "timestamp": party.check.run.started[:19] if party.check else "1970-01-01T00:00:00",
            "hostname": "localhost",
            "tests": str(len(cases)),
            "failures": str(sum(case.find("failure") is not None for case in cases)),
            "errors": str(sum(case.find("error") is not None for case in cases)),
            "skipped": str(sum(case.find("skipped") is not None for case in cases)),
            "time": f"{_elapsed_s(party):.3f}",
        },
    )
    properties = ET.SubElement(suite, "properties")
    for name, value in _properties(party).items():
        ET.SubElement(properties, "property", {"name": name, "value": clean(value)})
    suite.extend(cases)
    ET.SubElement(suite, "system-out").text = "\n".join(_worth_knowing(party))
    ET.SubElement(suite, "system-err").text = "\n".join(clean(waiver_line(note)) for note in party.waivers if note.state != "used")
    return suite


def _properties(party: Party) -> dict[str, str]:
    run = party.check.run if party.check else None
    assert party.verdicts is not None
    found = {
        "outcome": party.verdicts.outcome,
        "base_url": party.target.base_url,
        "mock": "true" if party.target.mock else "false",
        "strict": "true" if party.strict else "false",
    }
    if run is not None:
        found |= {"tool_version": run.tool_version, "ruleset_version": run.ruleset_version, "seed": str(run.seed)}
    return found


def _case(party: Party, verdict: Verdict) -> ET.Element:
    seconds = sum(party.exchanges[name].done_s - party.exchanges[name].sent_s for name in verdict.exchanges if name in party.exchanges)
    case = _named_case(party, verdict.operation, f"{verdict.rule} [{verdict.operation}]", seconds)
    raised = next((one for one in party.errors if (one.rule, one.operation) == (verdict.rule, verdict.operation)), None)
    message = _one_line(verdict.detail)
    if raised is not None:
        error = ET.SubElement(case, "error", {"message": _one_line(raised.message), "type": "internal"})
        error.text = "The rule itself raised: a mistake of Testcard's, no verdict on the target." + _raised_on(party, raised)
    elif verdict.verdict == "fail" or (verdict.verdict == "deviates" and party.strict):
        failure = ET.SubElement(case, "failure", {"message": message, "type": verdict.level})
        failure.text = _told(party, verdict)
    elif verdict.verdict == "waived":
        why = f" {waiver_reason(verdict.waiver)}" if verdict.waiver is not None else ""
        ET.SubElement(case, "skipped", {"message": _one_line(f"waived{why}; seen: {verdict.detail}")})
    elif verdict.verdict in ("unsupported", "unproven", "not-run"):
        ET.SubElement(case, "skipped", {"message": (f"{verdict.verdict}: {message}" if message else verdict.verdict) + _sent(verdict)})
    return case


def _sent(verdict: Verdict) -> str:
    """The exchanges that a verdict rests on, in brackets; nothing where there are none."""
    return clean(f" (exchange {listing(verdict.exchanges, MOST_EXCHANGES)})") if verdict.exchanges else ""


def _raised_on(party: Party, raised: RuleFailure) -> str:
    """The exchanges that the rule raised on, each time that it did."""
    same = [one for one in party.errors if (one.rule, one.operation) == (raised.rule, raised.operation)]
    exchanges = dict.fromkeys(name for one in same for name in one.exchanges)
    return f"\nexchange: {clean(', '.join(exchanges))}" if exchanges else ""


def _unread_case(party: Party, raised: RuleFailure) -> ET.Element:
    """An answer that made Testcard raise fails the run by itself: no verdict says so."""
    case = _named_case(party, raised.operation, f"reading the answer of {', '.join(raised.exchanges)} [{raised.operation}]", 0.0)
    error = ET.SubElement(case, "error", {"message": _one_line(raised.message), "type": "internal"})
    error.text = "Reading the answer raised: a mistake of Testcard's, no verdict on the target."
    return case


def _waiver_case(party: Party, note: WaiverNote) -> ET.Element:
    """An expired waiver fails the run by itself, also where the rule that it covered is only a should."""
    case = _named_case(party, "waivers", f"waiver of {note.rule} [{note.operation or 'every operation'}]", 0.0)
    failure = ET.SubElement(case, "failure", {"message": _one_line(note.detail), "type": "waiver-expired"})
    failure.text = clean(waiver_line(note))
    return case


def _named_case(party: Party, group: str, name: str, seconds: float) -> ET.Element:
    classname = _one_line(f"{party.key}.{group}")
    return ET.Element("testcase", {"name": _one_line(name), "classname": classname, "time": f"{max(seconds, 0.0):.3f}"})


def _told(party: Party, verdict: Verdict) -> str:
    lines = [
        f"promised: {verdict.title}",
        f"          {cited(verdict.clause)}",
        f"seen:     {shortened(verdict.detail, MOST_TEXT)}",
    ]
    if verdict.place:
        lines.append(f"where:    {verdict.place}")
    if verdict.exchanges:
        lines.append(f"exchange: {', '.join(verdict.exchanges)}")
    first = next((party.exchanges[name] for name in verdict.exchanges if name in party.exchanges), None)
    if first is not None and party.check is not None:
        lines.append(shortened(curl_block(first, party.check.folder), MOST_TEXT))
    return clean("\n".join(lines))


def _worth_knowing(party: Party) -> list[str]:
    """What is neither failed nor skipped and still worth a line: shoulds that do not count, notes, gaps of the document."""
    words = ("info",) if party.strict else ("deviates", "info")
    lines = [
        f"{verdict.verdict}: {verdict.rule} [{verdict.operation}]: {_one_line(verdict.detail)}{_sent(verdict)}"
        for verdict in party.judged()
        if verdict.verdict in words
    ]
    assert party.verdicts is not None
    lines += [f"gap in the document: {_one_line(gap.operation)}: {_one_line(gap.detail)}" for gap in party.verdicts.spec_gaps]
    return [clean(line) for line in lines]


def _one_line(text: str) -> str:
    return shortened(" ".join(clean(text).split()), MOST_MESSAGE)


def _elapsed_s(party: Party) -> float:
    run = party.check.run if party.check else None
    if run is None or run.ended is None:
        return 0.0
    try:
        return max((datetime.fromisoformat(run.ended) - datetime.fromisoformat(run.started)).total_seconds(), 0.0)
    except (TypeError, ValueError):
        return 0.0
