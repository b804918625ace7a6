"""results.sarif (SARIF 2.1.0): findings at a line of a file that the repository has, for code scanning.

Which file of the user's repository a finding is shown at: one that is there, or none.

The contract's file where it lies in the repository, else the line of testcard.toml that names the target. A document that came with
Testcard, or lies elsewhere on this machine, is no file of the repository: an annotation there would lead nowhere.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from testcard.harness.runs.records import RuleFailure, SpecGap, Verdict
from testcard.harness.text.sources import cited, title_of
from testcard.harness.text.words import clean, shortened, waiver_line, waiver_reason
from testcard.reports.ci.junit import MOST_EXCHANGES
from testcard.reports.content.evidence import Evidence, Party

_CONFIG = "testcard.toml"
#: Where CI systems say that the checkout is.
_ROOTS = ("GITHUB_WORKSPACE", "CI_PROJECT_DIR")


@dataclass(frozen=True, slots=True)
class RepositoryFile:
    """A file by its path from the root of the repository, in POSIX spelling. `contract`: it is the API document, so that lines of it count."""

    path: str
    line: int
    contract: bool

    def at(self, line: int | None) -> int:
        """The line for something that stands at this line of the contract."""
        return max(line or 1, 1) if self.contract else self.line


def repository_file(party: Party) -> RepositoryFile | None:
    """The file to show a party's findings at; None where the repository has none."""
    root = repository_root()
    if root is None:
        return None
    named = party.openapi
    if named is not None and (path := _inside(root, named)) is not None:
        return RepositoryFile(path, 1, True)
    path = _inside(root, _CONFIG)
    if path is not None and (line := _line_of_target(root / path, party.target.provider)) is not None:
        return RepositoryFile(path, line, False)
    return None


def repository_root() -> Path | None:
    """The folder of the checkout: as the CI system says, else the nearest one above with a `.git`, else the working folder."""
    try:
        here = Path.cwd().resolve()
    except OSError:  # the working folder is gone
        return None
    for name in _ROOTS:
        if os.environ.get(name) and here.is_relative_to(root := Path(os.environ[name]).resolve()):
            return root
    return next((folder for folder in (here, *here.parents) if (folder / ".git").exists()), here)


def _inside(root: Path, named: str) -> str | None:
    try:
        path = Path(named).resolve()
        return path.relative_to(root).as_posix() if path.is_file() and path.is_relative_to(root) else None
    except (OSError, ValueError):  # a name that no file can have
        return None


def _line_of_target(config: Path, provider: str) -> int | None:
    """The line that names the provider, as an id or as a folder of that name."""
    pattern = re.compile(rf"""\s*provider\s*=\s*["'](?:[^"']*/)?{re.escape(provider)}/?["']""")
    try:
        lines = config.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return None
    return next((number for number, line in enumerate(lines, 1) if pattern.match(line)), None)


SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
#: What GitHub shows of one upload at most.
MOST_RESULTS = 5000
MOST_TEXT = 4000
#: So many exchanges of a verdict are named in its message; its properties name all.
GAP_RULE = "spec.gap"
_LEVELS = {"fail": "error", "deviates": "warning", "info": "note"}
_ORDER = ("error", "warning", "note")


@dataclass(frozen=True, slots=True)
class _Finding:
    """A result before it is written: `waived` ones come after those that count."""

    party: Party
    level: str
    waived: bool
    about: Verdict | SpecGap


def sarif_json(evidence: Evidence) -> str:
    """The file's text: one SARIF run for each checked target. Equal runs give equal text."""
    parties = [party for party in evidence.parties if party.verdicts is not None]
    found = [finding for party in parties for finding in _findings(party)]
    found.sort(key=lambda finding: (_ORDER.index(finding.level), finding.waived))
    kept = found[:MOST_RESULTS]
    log = {
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [_run(party, [one for one in kept if one.party is party], found) for party in parties],
    }
    return json.dumps(log, indent=2, ensure_ascii=False) + "\n"


def _findings(party: Party) -> Iterable[_Finding]:
    for verdict in party.judged():
        word: str = verdict.verdict
        if word == "waived":
            word = verdict.waiver.instead_of if verdict.waiver is not None else "fail" if verdict.level == "must" else "deviates"
        if word in _LEVELS:
            level = "error" if word == "deviates" and party.strict else _LEVELS[word]
            yield _Finding(party, level, verdict.verdict == "waived", verdict)
    assert party.verdicts is not None
    for gap in party.verdicts.spec_gaps:
        yield _Finding(party, "note", False, gap)


def _run(party: Party, findings: Sequence[_Finding], everything: Sequence[_Finding]) -> dict[str, Any]:
    rules = _rules(party)
    places = {rule["id"]: index for index, rule in enumerate(rules)}
    left_out = sum(one.party is party for one in everything) - len(findings)
    file = repository_file(party)
    artifacts: list[dict[str, Any]] = []
    if file is not None:
        artifacts.append({"location": {"uri": quote(file.path)}})
        if file.contract and party.target.spec_digest:
            artifacts[0]["hashes"] = {"sha-256": party.target.spec_digest}
    driver: dict[str, Any] = {"name": "Testcard", "rules": rules}
    if party.check is not None:
        driver["version"] = party.check.run.tool_version
        driver["properties"] = {"rulesetVersion": party.check.run.ruleset_version}
    return {
        "tool": {"driver": driver},
        "automationDetails": {"id": f"testcard/{clean(party.key)}/"},
        "invocations": [_invocation(party, left_out)],
        "artifacts": artifacts,
        "columnKind": "unicodeCodePoints",
        "results": [_result(finding, places, file) for finding in findings],
    }


def _what(raised: RuleFailure) -> str:
    return f"The rule {raised.rule}" if raised.rule else "Reading an answer"


def _of(exchanges: Sequence[str]) -> str:
    return f", exchange {', '.join(exchanges)}" if exchanges else ""


def _invocation(party: Party, left_out: int) -> dict[str, Any]:
    run = party.check.run if party.check else None
    notes = [
        {"level": "error", "message": {"text": clean(f"{_what(one)} raised on {one.operation}{_of(one.exchanges)}: {one.message}")}}
        for one in party.errors
    ]
    notes += [
        {"level": "error" if one.state == "expired" and one.findings else "warning", "message": {"text": clean(waiver_line(one))}}
        for one in party.waivers
        if one.state != "used"
    ]
    if left_out:
        notes.append(
            {
                "level": "warning",
                "message": {"text": f"{left_out} further results were left out: {MOST_RESULTS} is the most that is shown."},
            }
        )
    found: dict[str, Any] = {"executionSuccessful": not party.errors, "toolExecutionNotifications": notes}
    if run is not None:
        found["startTimeUtc"] = run.started
        if run.ended is not None:
            found["endTimeUtc"] = run.ended
        if run.exit_code is not None:
            found["exitCode"] = run.exit_code
    return found


def _rules(party: Party) -> list[dict[str, Any]]:
    """Every rule that was judged, with its promise, where that is made, and what to do about it."""
    judged: dict[str, list[Verdict]] = {}
    for verdict in party.judged():
        judged.setdefault(verdict.rule, []).append(verdict)
    rules = [_rule(rule, verdicts) for rule, verdicts in judged.items()]
    assert party.verdicts is not None
    if party.verdicts.spec_gaps:
        text = (
            "The provider's document leaves out what its server does, such as a status that HTTP implies. It is never the server's fault."
        )
        rules.append(_descriptor(GAP_RULE, "The document leaves something out.", text, text, "note", "spec"))
    return rules


def _rule(rule: str, verdicts: Sequence[Verdict]) -> dict[str, Any]:
    title = next((one.title for one in verdicts if one.title), rule)
    levels = sorted({one.level for one in verdicts}, key=("must", "should", "info").index)
    clauses = list(dict.fromkeys(f"{cited(one.clause)} ({one.operation})" for one in verdicts))
    lines = [title, "", "Promised in:", *(f"- {clause}" for clause in clauses), "", f"More: testcard rules {rule}"]
    found = _descriptor(
        rule, title, f"{title} Level: {' or '.join(levels)}.", "\n".join(lines), {"must": "error", "should": "warning", "info": "note"}[levels[0]],
        verdicts[0].area,
    )  # fmt: skip
    found["help"]["markdown"] = shortened(clean(_page(rule, title, levels, verdicts)), MOST_TEXT)
    address = next((one.clause.address for one in verdicts if one.clause.address), None)
    if address is not None:
        found["helpUri"] = clean(address)
    return found


def _page(rule: str, title: str, levels: Sequence[str], verdicts: Sequence[Verdict]) -> str:
    """The rule's own page: what it promises, at which level, and where each operation's document says so, as links."""
    lines = [f"# {rule}", "", title, "", f"Level: {' or '.join(levels)}", "", "Promised in:", ""]
    for one in verdicts:
        name = f"{title_of(one.clause)}, “{one.clause.heading}”"
        lines.append(f"- `{one.operation}`: [{name}]({one.clause.address})" if one.clause.address else f"- `{one.operation}`: {name}")
    lines += ["", f"`testcard rules {rule}` says more, `testcard replay RUN EXCHANGE` sends an exchange that shows it again."]
    return "\n".join(lines)


def _descriptor(rule: str, short: str, full: str, help_text: str, level: str, area: str) -> dict[str, Any]:
    return {
        "id": clean(rule),
        "name": "".join(part.capitalize() for part in clean(rule).replace("-", ".").replace("/", ".").split(".")),
        "shortDescription": {"text": clean(short)},
        "fullDescription": {"text": clean(full)},
        "help": {"text": shortened(clean(help_text), MOST_TEXT)},
        "defaultConfiguration": {"level": level},
        "properties": {"tags": ["conformance", clean(area)]},
    }


def _result(finding: _Finding, places: dict[str, int], file: RepositoryFile | None) -> dict[str, Any]:
    party, about = finding.party, finding.about
    if isinstance(about, SpecGap):
        rule, line, text = GAP_RULE, about.line or _line_of(party, about.operation), about.detail
        properties: dict[str, Any] = {"operation": clean(about.operation)}
    else:
        rule, line = about.rule, about.line or 1
        text = f"{about.detail or 'no detail recorded'}{_of(about.exchanges[:MOST_EXCHANGES])}. Promised: {about.title} ({cited(about.clause)})"
        properties = {"operation": clean(about.operation), "level": about.level, "exchanges": about.exchanges}
        if about.place:
            properties["place"] = clean(about.place)
    # Neither the line nor the words seen go in: both change from run to run, what is broken does not.
    parts = (party.target.provider, about.operation, rule, about.detail if isinstance(about, SpecGap) else "")
    fingerprint = hashlib.sha256("\n".join(parts).encode("utf-8", "replace")).hexdigest()[:32]
    location: dict[str, Any] = {"logicalLocations": [{"name": clean(about.operation), "kind": "function"}]}
    if file is not None:
        where = {"artifactLocation": {"uri": quote(file.path), "index": 0}, "region": {"startLine": file.at(line)}}
        location = {"physicalLocation": where, **location}
    result: dict[str, Any] = {
        "ruleId": clean(rule),
        "ruleIndex": places[clean(rule)],
        "level": finding.level,
        "message": {"text": shortened(clean(f"{about.operation}: {text}"), MOST_TEXT)},
        "locations": [location],
        "partialFingerprints": {"testcardPromise/v1": fingerprint, "primaryLocationLineHash": f"{fingerprint[:16]}:1"},
        "properties": properties,
    }
    if finding.waived:
        suppression: dict[str, Any] = {"kind": "external", "status": "accepted"}
        if isinstance(about, Verdict) and about.waiver is not None:
            suppression["justification"] = clean(waiver_reason(about.waiver))
        result["suppressions"] = [suppression]
    return result


def _line_of(party: Party, operation: str) -> int:
    return next((verdict.line for verdict in party.judged() if verdict.operation == operation and verdict.line), 1)
