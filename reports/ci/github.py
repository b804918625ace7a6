"""Annotations for GitHub Actions: workflow commands that put the worst findings at a line of a file that the repository has."""

from __future__ import annotations

from collections.abc import Sequence

from testcard.harness.runs.folder import RunReader
from testcard.harness.runs.records import SEVERITY, Verdict
from testcard.harness.text.sources import cited
from testcard.harness.text.words import clean, shortened
from testcard.reports.ci.sarif import repository_file
from testcard.reports.content.evidence import Evidence, Party, gather, leaves

#: GitHub shows ten errors and ten warnings of a step.
MOST = 10
MOST_TEXT = 1000


def workflow_commands(evidence: Evidence) -> list[str]:
    """The ten worst findings, each as one line that the runner turns into an annotation: broken musts are errors, shoulds warnings."""
    found = [(party, verdict) for party in evidence.parties for verdict in party.judged() if verdict.verdict in ("fail", "deviates")]
    found.sort(key=lambda one: SEVERITY.index(one[1].verdict))
    return [_command(party, verdict) for party, verdict in found[:MOST]]


def workflow_commands_of(runs: Sequence[RunReader]) -> list[str]:
    """The same of runs that were written before; an `evaluate` folder stands for its children. None where no run was judged."""
    judged = any(run.verdicts() is not None or run.summary() is not None for run in leaves(runs))
    return workflow_commands(gather(runs)) if judged else []


def _command(party: Party, verdict: Verdict) -> str:
    kind = "error" if verdict.verdict == "fail" or party.strict else "warning"
    title = f"{verdict.rule}: {party.label}, {verdict.operation}"
    text = (
        f"{shortened(verdict.detail, MOST_TEXT)}\nPromised: {verdict.title} ({cited(verdict.clause)})\nMore: testcard rules {verdict.rule}"
    )
    file = repository_file(party)
    place = f"file={_property(file.path)},line={file.at(verdict.line)}," if file is not None else ""
    return f"::{kind} {place}title={_property(title)}::{_message(clean(text))}"


def _message(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _message(clean(text)).replace(":", "%3A").replace(",", "%2C")
