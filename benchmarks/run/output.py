"""What hears the events of a benchmark on the command line: the plan, progress, the result on stdout, closing words.

Each is a consumer of the same events, called with one after the other. The web page is one too, in the load process, where each
single request is known (`web_page`).
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable
from contextlib import ExitStack

import click
import msgspec

from testcard.benchmarks.plan.job import GRACE_S
from testcard.benchmarks.run.bench import BenchRun
from testcard.benchmarks.run.options import BenchOptions
from testcard.benchmarks.run.planning import BenchPlan
from testcard.benchmarks.show.table import render
from testcard.benchmarks.show.view import View
from testcard.harness.errors import Exit
from testcard.harness.events import Event, Finished, Judged, Noted, Planned, Spent, Stopped
from testcard.harness.extras import missing, resolve
from testcard.harness.progress import Progress
from testcard.harness.runs.folder import RunReader
from testcard.harness.runs.records import Summary, SummaryRow
from testcard.harness.statistics.decidable import Outlook
from testcard.harness.stops import StopReason, next_step
from testcard.harness.targets import MOCK_LATENCY
from testcard.harness.text.commands import typed_path
from testcard.harness.text.words import amount, count, significant, wrapped

#: More than so many times the requests of a run are no next step.
FAR = 20
#: About so many requests a search takes where nothing bounds it.
WHOLE_SEARCH = 1_500


class BenchOutput:
    """All consumers of a benchmark, one object to hand each event to; `exit_code` is the command's, once the benchmark is finished."""

    def __init__(self, run: BenchRun, *, as_json: bool, quiet: bool) -> None:
        self._display = Display(run, quiet=quiet)
        self._result = _print_json if as_json else ResultTable()
        self._consumers: tuple[Callable[[Event], None], ...] = (
            self._display,
            self._result,
            lambda event: _close(event, run.options, quiet=quiet),
        )
        self.exit_code = Exit.INTERNAL

    def __enter__(self) -> BenchOutput:
        self._display.begin()
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        self._display.close()
        if kind is not None and isinstance(self._result, ResultTable):
            self._result.rest()

    def __call__(self, event: Event) -> None:
        """Hands the event to each consumer."""
        for consumer in self._consumers:
            consumer(event)
        if isinstance(event, Finished):
            self.exit_code = event.exit_code


class Display:
    """What is planned, how it goes, and what is said meanwhile, on stderr. `quiet`: none of it."""

    def __init__(self, run: BenchRun, *, quiet: bool) -> None:
        self._run = run
        self._view = View(run.options.max_requests, run.options.max_cost_usd)
        self._quiet = quiet
        self._shown = ExitStack()
        self._progress: Progress | None = None

    def begin(self) -> None:
        """Shows that something is going on: until something is planned, targets are opened and mocks started."""
        self._progress = self._shown.enter_context(Progress("bench", unit="s", view=lambda: self._view, refresh_hz=2, quiet=self._quiet))
        self._progress.phase("planning what to send", told=True)

    def __call__(self, event: Event) -> None:
        """Shows it."""
        self._view(event)
        progress = self._progress
        if progress is None:
            return
        match event:
            case Planned():
                for line in [*warnings(self._run), *([] if self._quiet else announcement(event, self._run))]:
                    progress.say(line) if progress.is_live else click.echo(line, err=True)
            case Spent(done=done, total=total):
                progress.update(done, total=total, **self._view.fields())
            case Noted(sentence=text, failure=True) if not progress.is_live:
                click.echo(text, err=True)
            case Noted(sentence=text):
                progress.say(text)
            case Stopped(interrupted=True):
                words = f"interrupted: waiting up to {GRACE_S:g} s for what is in flight (again: abort)"
                if progress.is_live:
                    self._view.notice = words
                else:
                    click.echo(f"\n{words}", err=True)
            case Judged() | Finished():
                self.close()

    def close(self) -> None:
        """Takes the display away."""
        self._shown.close()
        self._progress = None


class ResultTable:
    """The result as a table on stdout; also of a run that ended with an error, as far as it came."""

    def __init__(self) -> None:
        self._rows: list[SummaryRow] = []
        self._planned: Planned | None = None

    def __call__(self, event: Event) -> None:
        """Prints it when everything is judged."""
        match event:
            case Planned():
                self._planned = event
            case Judged(row=SummaryRow() as row):
                self._rows.append(row)
            case Finished(summary=Summary() as summary):
                self._rows = []
                self._print(summary, event)

    def rest(self) -> None:
        """Prints the rows of a run that ended with an error."""
        if self._rows:
            self._print(Summary(rows=self._rows), None)

    def _print(self, summary: Summary, end: Finished | None) -> None:
        from rich.console import Console

        assert self._planned is not None
        console = Console(width=None if sys.stdout.isatty() else 200, highlight=False)
        render(summary, console, illustrative=end is not None and end.prices == "illustrative", folder=self._planned.folder)
        if end is not None and end.saturations is None and any(row.ok for row in summary.rows):
            for text in resolve("testcard.reports.content.paragraph:answer_of")(RunReader(end.folder)).paragraphs:
                click.echo(f"\n{wrapped(text, sys.stdout)}")
        for found in end.saturations.results if end is not None and end.saturations is not None else []:
            click.echo(wrapped(f"{found.provider} {found.operation}: {found.sentence}", sys.stdout))


def _print_json(event: Event) -> None:
    """summary.json on stdout, or saturation.json of a search."""
    if isinstance(event, Finished):
        name = "summary.json" if event.saturations is None else "saturation.json"
        click.echo((event.folder / name).read_text(encoding="utf-8"), nl=False)


def _close(event: Event, options: BenchOptions, *, quiet: bool) -> None:
    """Why the run is no pass, and what to do next, on stderr."""
    if not isinstance(event, Finished):
        return
    if event.reason:
        click.echo(wrapped(f"{event.outcome}: {event.reason}", sys.stderr), err=True)
    if event.exit_code is Exit.INCONCLUSIVE:
        click.echo(f"next: {_next_step(event, options)}", err=True)
    elif event.exit_code in (Exit.PASS, Exit.GATE_FAILED) and not quiet and not missing(("report",)):
        click.echo(f"next: testcard report {typed_path(event.folder)}", err=True)


def _next_step(end: Finished, options: BenchOptions) -> str:
    """What would make an inconclusive run conclusive: more of what ended it, be that the budget or the time."""
    for stop in end.stops:
        if (step := next_step(stop)) is not None:
            return step
    if end.saturations is not None:
        if any(found.stop is not None and found.stop.reason is StopReason.REQUESTS_SPENT for found in end.saturations.results):
            whole = WHOLE_SEARCH * len(end.saturations.results)
            return f"allow more with --max-requests: a whole search often takes about {whole:,}"
        return "a longer --duration, more --max-stages, or --processes where the load generator was the limit"
    rows = end.summary.rows if end.summary is not None else []
    if any(row.generator.limit is not None for row in rows if row.outcome == "inconclusive"):
        return "a lower --rate (or fewer --users), or a machine with nothing else to do"
    undecided = [(row, gate) for row in rows for gate in row.gates if gate.verdict == "inconclusive"]
    if undecided and all(gate.more_requests is not None for _, gate in undecided):
        row, each = max(((row, row.requests + (gate.more_requests or 0)) for row, gate in undecided), key=lambda found: found[1])
        if each > FAR * max(row.requests for row, _ in undecided):
            return (
                "a figure is so near to its limit that no few more requests would decide it: look at the intervals, or state another limit"
            )
        return f"about {each:,} requests a row would decide, if they are like these: {_room(end, options, each * len(rows), each / row.requests)}"
    return f"more samples: {_room(end, options)}"


def _room(end: Finished, options: BenchOptions, requests: int | None = None, times: float | None = None) -> str:
    """The flags that make room for so many requests in all, which are so many times as many as there were; None: nobody knows.

    A budget is named where it ended the run, or is too small for them; else time did, and a longer --duration is what is missing.
    """
    spend, most, usd = end.spend, options.max_requests, options.max_cost_usd
    flags = []
    if most is not None and (spend.requests >= most or (requests or 0) > most):
        flags.append("a larger --max-requests" if requests is None else f"--max-requests {requests}")
    each_usd = spend.cost_usd / spend.requests if spend.cost_usd and spend.requests else None
    if usd is not None and (each_usd is None or (spend.cost_usd or 0.0) + each_usd > usd or (requests or 0) * each_usd > usd):
        flags.append("a higher --max-cost")
    if flags:
        return f"{' and '.join(flags)}, and time for them (--duration)"
    stages = options.load.stage
    if times is None or len(stages) != 1:
        return "a longer --duration"
    return f"a longer --duration, about {math.ceil(times * stages[0].duration_s):,} s"


def show_plan(run: BenchRun, *, as_json: bool) -> Exit:
    """Prints on stdout what a benchmark would send and can decide; sends nothing."""
    planned = run.look()
    plan = run.plan
    assert plan is not None
    if as_json:
        record = {
            "cells": [msgspec.to_builtins(cell) for cell in plan.cells],
            "turns": [msgspec.to_builtins(block) for block in plan.blocks],
            "requests": plan.requests,
            "requests_a_row": plan.row_requests,
            "images": plan.images,
            "cost_usd": plan.cost_usd,
            "unpriced": list(plan.unpriced),
            "duration_s": planned.duration_s,
            "objectives": [
                {"objective": one.objective.expression, "passes_up_to": one.passes, "fails_from": one.fails, "takes": one.least}
                for one in plan.outlooks
            ],
            "takes": {one.objective.expression: one.least for one in plan.takes},
            "not_judged": [one.objective.expression for one in plan.left_out],
            "exit_code_if_all_goes_well": _foretold(plan),
        }
        click.echo(json.dumps(record, indent=2, ensure_ascii=False))
    else:
        for line in [*warnings(run), *announcement(planned, run), "Nothing was sent."]:
            click.echo(line)
    return Exit.PASS


def warnings(run: BenchRun) -> list[str]:
    """What is said to those too who want it quiet: requests that can cost money, and that they go out one at a time."""
    if not run.options.live:
        return []
    lines = ["live: check that the provider's terms allow load tests; every request below can cost money"]
    if run.options.is_held_to_one:
        lines.append("live: at most 1 request in flight, and waiting for its turn counts as latency; --max-in-flight N allows more")
    return lines


def announcement(planned: Planned, run: BenchRun) -> list[str]:
    """What a person is told before anything is sent: mocks that were started, how much is planned, for how long, what it can cost."""
    plan, search = run.plan, run.options.find_saturation
    assert plan is not None
    lines = []
    if embedded := [target.provider for target in planned.targets if target.embedded]:
        names = ", ".join(embedded)
        lines.append(f"no URL given for {names}: loading mocks on this machine, whose latency ({MOCK_LATENCY} s) and prices are made up")
    missing = f" (no price: {', '.join(plan.unpriced)})" if plan.unpriced else ""
    cost = f", at most about {amount(plan.priced_usd)}" if plan.priced_usd else ""
    lines += plan.said
    rows = count(len(plan.cells), "row")
    if search is not None:
        begin = f"from {search.start_rps:g}/s on" if search.start_rps is not None else "a ramp of users first"
        took = "about 600 answers' time each (a minute at 0.1 s, ten at 1 s; more where fewer than 4 are answered at once)"
        requests = f"{begin}, then up to {search.max_stages} stages, {took}, often about {WHOLE_SEARCH * len(plan.cells):,} requests"
        return [*lines, f"plan: a search for saturation, {rows}, {requests}{cost}{missing}"]
    workload = plan.workload
    requests = f"about {count(plan.requests, 'request')}" if plan.requests is not None else "as many requests as the users get through"
    again = "; a turn in which the generator was late is taken again" if plan.repeats else ""
    lines.append(
        f"plan: workload {workload.name or 'of the flags'}, {rows} × {count(len(workload.stage), 'stage')}, "
        f"{count(workload.rounds, 'round')}, {planned.duration_s or 0.0:.0f} s{' at most' if plan.is_divided else ''}, {requests}{cost}{missing}{again}"
    )
    if run.options.max_downloads is not None:
        lines.append(f"downloads: {run.options.max_downloads:,} at most, redirects included; a run that needs more ends")
    return [*lines, *outlook_lines(plan, run.options.max_requests)]


def _foretold(plan: BenchPlan) -> Exit | None:
    """The exit code if all goes well; None where the number of requests is open, and with it what can be decided."""
    if plan.takes:
        return None
    return Exit.INCONCLUSIVE if any(one.passes is None for one in plan.outlooks) else Exit.PASS


def outlook_lines(plan: BenchPlan, max_requests: int | None) -> list[str]:
    """What each row gets, what the objectives can decide with it, and which exit code follows if all goes well."""
    rows, each = len(plan.rows), plan.row_requests
    if not rows:
        return []
    if each is None:
        return [f"decides: {_takes(one, plan)}" for one in plan.takes]
    rounds = count(len({block.round for block in plan.blocks}), "round")
    if not plan.is_divided:
        lines = []
    elif max_requests is not None:
        lines = [f"budget: {count(max_requests, 'request')}, {each:,} for each of {count(rows, 'row')}, over {rounds}"]
    else:
        lines = [f"budget: money for {count(each, 'request')} for each of {count(rows, 'row')}, over {rounds}, more where they cost less"]
    if plan.left_out:
        named = " and ".join(one.objective.expression for one in plan.left_out)
        takes = max((one.least for one in plan.left_out if one.least is not None), default=None)
        enough = "" if takes is None else f" ({takes:,} can)"
        are, them = ("it is", "it") if len(plan.left_out) == 1 else ("they are", "them")
        lines.append(
            f"counts only if broken: {named} of the default workload: {count(each, 'request')} a row cannot show that {are} kept{enough}; "
            f"--slo asks for {them}"
        )
    lines += [f"decides: {one.words}" for one in plan.outlooks]
    if not plan.is_divided and not plan.outlooks:
        return lines
    within = "" if plan.answer_s is None else f", and an answer takes less than {significant(plan.answer_s)} s on average"
    undecided = [one for one in plan.outlooks if one.passes is None]
    if not undecided:
        return [*lines, f"if all goes well{within}: exit 0"]
    takes = max(one.least or 0 for one in undecided)
    enough = f"--max-requests {takes * rows:,}" if max_requests is not None else f"{count(takes, 'request')} a row"
    more = f"; {enough} could decide" if takes else ""
    return [
        *lines,
        f"if all goes well{within}: exit 5, for {' and '.join(one.objective.expression for one in undecided)} stay{'s' if len(undecided) == 1 else ''} undecided{more}",
    ]


def _takes(one: Outlook, plan: BenchPlan) -> str:
    """How many requests an objective takes where users decide how many there are, and how fast they have to come for it."""
    if one.least is None:
        return f"{one.objective.expression} can be shown to be broken, not to be kept"
    user_s = min(
        sum(block.duration_s * (block.users or 0) for block in plan.blocks if (block.cell, block.stage) == row)
        for row in {(block.cell, block.stage) for block in plan.blocks}
    )
    return (
        f"{one.objective.expression} takes {count(one.least, 'request')} a row to pass, which an answer of {significant(user_s / one.least)} s "
        "on average leaves time for"
    )
