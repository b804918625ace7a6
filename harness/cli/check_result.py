"""The end of a check, whether it was run or judged again: written into its folder, printed, told to CI, made an exit code."""

from __future__ import annotations

import base64
import hashlib
import os
import sys
from collections.abc import Mapping
from typing import Any

import click

from testcard.harness.check.judging.verdicts import Conclusion
from testcard.harness.cli import check_text as present
from testcard.harness.cli import github, say
from testcard.harness.errors import Exit, worst
from testcard.harness.lazy import resolve
from testcard.harness.runs.folder import RunWriter
from testcard.harness.runs.records import Body, Exchange, Outcome, Spend, Verdicts


def conclude(
    writer: RunWriter,
    judged: Conclusion,
    record: Verdicts,
    exchanges: Mapping[str, Exchange],
    price_origin: str,
    *,
    as_json: bool,
    stopped: str | None = None,
    interrupted: bool = False,
) -> Exit:
    """Writes verdicts.json and what is made from it, seals the run, prints the result; the exit code of the command."""
    code = worst([*judged.exit_codes, *([Exit.INTERRUPTED] if interrupted else [])])
    path = writer.write("verdicts", "verdicts.json", record)
    outcome: Outcome = "interrupted" if interrupted else "error" if judged.errors else judged.outcome
    writer.finish(outcome, code, stopped or _reason(judged))
    files = _files(writer)
    if files is None:
        code = worst([code, Exit.INTERNAL])
        writer.finish("interrupted" if interrupted else "error", code, "the files for CI could not be written")
    if as_json:
        click.echo(path.read_text(encoding="utf-8").rstrip("\n"))
    else:
        _print(judged, record.spend, price_origin, exchanges, writer)
    if files is not None:
        github.tell(files.summary, files.annotations, as_json=as_json)
    for line in present.waivers(judged):
        say(line)
    _report_errors(judged)
    return code


def _reason(judged: Conclusion) -> str | None:
    if judged.errors:
        return f"rule {judged.errors[0].rule} raised {judged.errors[0].message}"
    expired = [note for note in judged.waivers if note.state == "expired" and note.findings]
    return f"the waiver of {expired[0].rule} {expired[0].detail}" if expired else None


def _files(writer: RunWriter) -> Any:
    """Writes report, JUnit, SARIF, summary and badge; None when a mistake of ours kept them from being written."""
    try:
        return resolve("testcard.reports.ci.check_files:write_check_files")(writer)
    except Exception as error:
        if os.environ.get("TESTCARD_TRACEBACK"):
            raise
        say(f"internal error: the report could not be written: {type(error).__name__}: {present.clean(str(error))}")
        say(f"next: the verdicts are in {writer.folder}; TESTCARD_TRACEBACK=1 testcard report {writer.folder} shows where it broke")
        return None


def _print(judged: Conclusion, spend: Spend, price_origin: str, exchanges: Mapping[str, Exchange], writer: RunWriter) -> None:
    """Table, findings, gaps, spend and the run's folder, on stdout."""
    style = _style if sys.stdout.isatty() and not os.environ.get("NO_COLOR") else present.plain
    for line in present.table(judged, style):
        click.echo(line)
    for line in present.findings(judged, exchanges, lambda body: _body_file(writer, body), style):
        click.echo(line)
    for line in present.gaps(judged):
        click.echo(line)
    click.echo("")
    click.echo(present.summary(judged, spend, price_origin))
    click.echo(f"Run: {writer.folder}")


def _body_file(writer: RunWriter, body: Body) -> str | None:
    """A file in the run folder that holds the body; a short one that is no text is written out for the command line."""
    if body.sha256 is not None:
        return str(writer.folder / "bodies" / body.sha256)
    content = body.text.encode() if body.text is not None else base64.b64decode(body.base64 or "")
    try:
        folder = writer.add_file("request_bodies", "requests")
        folder.mkdir(exist_ok=True)
        path = folder / hashlib.sha256(content).hexdigest()
        path.write_bytes(content)
    except OSError:
        return None
    return str(path)


def _style(text: str, colour: str) -> str:
    if colour == "bold":
        return click.style(text, bold=True)
    return click.style(text, fg=colour) if colour else text


def _report_errors(judged: Conclusion) -> None:
    """Says on stderr which rules raised, and what to do."""
    for error in judged.errors:
        say(f"internal error: rule {error.rule} on {error.operation} raised {present.clean(error.message)}")
    if judged.errors:
        say("next: report this with the run folder; judge again with a fixed version: testcard check … --replay RUN")
