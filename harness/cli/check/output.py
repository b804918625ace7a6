"""What hears the events of a check on the command line: progress, the files for CI, the result on stdout, GitHub, closing words.

Each is a consumer of the same events, called with one after the other, in the order of `consumers`.
"""

from __future__ import annotations

import base64
import hashlib
import os
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click

from testcard.harness.cli import github, say
from testcard.harness.cli.check import text as present
from testcard.harness.errors import Exit, worst
from testcard.harness.events import Answered, Event, Finished, Judged, Noted, Planned, Spent, Stopped
from testcard.harness.extras import resolve
from testcard.harness.progress import Progress
from testcard.harness.runs.folder import RunReader, RunWriter
from testcard.harness.runs.records import Body, Outcome
from testcard.harness.text.commands import bench_command, rejudge_command, shown_path, typed_path
from testcard.harness.text.words import one_line
from testcard.harness.wire.addresses import is_loopback

Consumer = Callable[[Event], None]


class CheckOutput:
    """All consumers of a check, one object to hand each event to; `exit_code` is the command's, once the check is finished."""

    def __init__(self, provider: str, *, as_json: bool, quiet: bool = False) -> None:
        self._files = CiFiles()
        self._progress = ProgressLine(provider, quiet=quiet)
        self._consumers: tuple[Consumer, ...] = (
            self._progress,
            self._files,
            _print_json if as_json else lambda event: _print_result(event, quiet=quiet),
            GitHub(self._files, as_json=as_json),
            lambda event: _close(event, provider, quiet=quiet),
        )
        self.exit_code = Exit.INTERNAL

    def __enter__(self) -> CheckOutput:
        self._progress.begin()
        return self

    def __exit__(self, *error: object) -> None:
        self._progress.close()

    def __call__(self, event: Event) -> None:
        """Hands the event to each consumer."""
        for consumer in self._consumers:
            consumer(event)
        if isinstance(event, Finished):
            self.exit_code = worst([event.exit_code, self._files.exit_code])


class ProgressLine:
    """A line on stderr while requests are sent: how many, how many pictures, what was spent, how many answers look odd.

    An odd answer is no finding: many may come to one, and some to none. Findings are counted when everything is judged.
    """

    def __init__(self, provider: str, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self._label = f"check {provider}"
        self._shown = ExitStack()
        self._progress: Progress | None = None
        self._planned = 0
        self._surprises = 0
        self._broken = 0

    def begin(self) -> None:
        """Shows that something is going on: planning takes seconds in which nothing is sent."""
        self._progress = self._shown.enter_context(Progress(self._label, quiet=self._quiet))
        self._progress.phase("planning what to send", told=True)

    def __call__(self, event: Event) -> None:
        """Shows it."""
        if self._progress is None:
            return
        match event:
            case Planned():
                for line in present.announcement(event, quiet=self._quiet):
                    (self._progress.say if self._progress.is_live else say)(line)
                self._planned = event.requests or 0
                self._progress.update(0, total=event.requests)
            case Answered():
                self._surprises += event.surprising
            case Spent(spend=spend):
                # Downloads and polls are requests too: where the budget ends before the plan, they bring the end nearer.
                done = max(event.done, spend.requests) if self._planned < event.total else event.done
                cost = "?" if spend.cost_usd is None else f"${spend.cost_usd:.3f}"
                self._progress.update(
                    min(done, self._planned), requests=spend.requests, images=spend.images, spend=cost, odd=self._surprises
                )
            case Noted(sentence=sentence):
                self._progress.say(one_line(sentence))
            case Stopped(interrupted=True):
                self._progress.say("interrupted: judging what is there; once more to abort")
            case Judged():
                self._broken += event.broken
            case Finished():
                self._progress.update(findings=self._broken)
                self.close()

    def close(self) -> None:
        """Takes the line away."""
        self._shown.close()
        self._progress = None


class CiFiles:
    """Writes report, JUnit, SARIF, summary and badge into the run's folder. `written` is what goes out of it; None: a mistake of ours."""

    def __init__(self) -> None:
        self.written: Any = None
        self.exit_code = Exit.PASS

    def __call__(self, event: Event) -> None:
        """Writes them when the check is finished."""
        if not isinstance(event, Finished):
            return
        writer = RunWriter(event.folder, RunReader(event.folder).run)
        try:
            self.written = resolve("testcard.reports.pages.render:write_check_files")(writer)
        except Exception as error:
            if os.environ.get("TESTCARD_TRACEBACK"):
                raise
            shown = shown_path(event.folder)
            say(f"internal error: the report could not be written: {type(error).__name__}: {one_line(str(error))}")
            say(f"next: the verdicts are in {shown}; TESTCARD_TRACEBACK=1 testcard report {shown} shows where it broke")
            self.exit_code = Exit.INTERNAL
            outcome: Outcome = "interrupted" if event.outcome == "interrupted" else "error"
            writer.finish(outcome, worst([event.exit_code, Exit.INTERNAL]), "the files for CI could not be written")


class GitHub:
    """Annotations and a job summary, where GitHub Actions runs the check."""

    def __init__(self, files: CiFiles, *, as_json: bool) -> None:
        self._files = files
        self._as_json = as_json

    def __call__(self, event: Event) -> None:
        """Tells them when the check is finished."""
        if isinstance(event, Finished) and self._files.written is not None:
            github.tell(self._files.written.summary, self._files.written.annotations, as_json=self._as_json)


def _print_json(event: Event) -> None:
    """verdicts.json on stdout."""
    if isinstance(event, Finished):
        click.echo((event.folder / "verdicts.json").read_text(encoding="utf-8").rstrip("\n"))


def _print_result(event: Event, *, quiet: bool) -> None:
    """Table, findings, gaps, spend and the run's folder, on stdout. `quiet`: findings, spend and folder."""
    if not isinstance(event, Finished) or event.verdicts is None:
        return
    record, run = event.verdicts, RunReader(event.folder)
    style = _style if sys.stdout.isatty() and not os.environ.get("NO_COLOR") else present.plain
    exchanges = {one.id: one for one in run.exchanges()}
    for line in () if quiet else present.table(record, style):
        click.echo(line)
    found = list(present.findings(record, exchanges, lambda body: body_file(event.folder, body), style))
    for line in found:
        click.echo(line)
    for line in () if quiet else present.gaps(record):
        click.echo(line)
    if found or not quiet:
        click.echo("")
    click.echo(present.summary(record, event.prices))
    click.echo(f"Run: {shown_path(event.folder)}")


def _close(event: Event, provider: str, *, quiet: bool) -> None:
    """What a person has to know beside the result, on stderr; of a pass that is nothing where it is to be quiet."""
    if isinstance(event, Finished) and not (quiet and event.exit_code is Exit.PASS):
        run = RunReader(event.folder).run
        config, openapi = run.config, str(run.config.get("openapi", ""))
        lines = list(present.closing_words(event, rejudge_command(event.folder, provider, openapi)))
        if not any(line.startswith("next: ") for line in lines):
            if RunReader(event.folder).path("report") is not None:
                lines.append(f"next: testcard open {typed_path(event.folder)}")
                if event.exit_code is Exit.PASS and (target := next(iter(run.targets), None)) is not None:
                    lines.append(f"then: {bench_command(target, openapi, config.get('model'), live=not is_loopback(target.base_url))}")
            elif event.outcome == "interrupted":
                lines.append(f"next: testcard report {typed_path(event.folder)} shows it")
        for line in lines:
            say(line)


def body_file(folder: Path, body: Body) -> str | None:
    """A file in the run folder that holds the body; a short one that is no text is written out for the command line."""
    if body.sha256 is not None:
        return shown_path(folder / "bodies" / body.sha256)
    content = body.text.encode() if body.text is not None else base64.b64decode(body.base64 or "")
    try:
        place = RunWriter(folder, RunReader(folder).run).add_file("request_bodies", "requests")
        place.mkdir(exist_ok=True)
        path = place / hashlib.sha256(content).hexdigest()
        path.write_bytes(content)
    except OSError:
        return None
    return shown_path(path)


def _style(text: str, colour: str) -> str:
    if colour == "bold":
        return click.style(text, bold=True)
    return click.style(text, fg=colour) if colour else text
