"""`testcard report` and `testcard compare`."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from testcard.harness.errors import Exit, UsageError
from testcard.harness.runs.folder import RunReader
from testcard.harness.text.commands import shown_path

if TYPE_CHECKING:
    from testcard.harness.history.index import History
    from testcard.reports.content.baseline import Baseline, Line

_COLOURS = {"fail": "red", "deviates": "yellow", "pass": "green", "unproven": "yellow"}
_WORDS = {Exit.PASS: "pass", Exit.GATE_FAILED: "fail", Exit.USAGE: "not comparable", Exit.INCONCLUSIVE: "inconclusive"}


class _Percentage(click.ParamType[float]):
    """A share above 0, written as 10% or 0.1."""

    name = "percentage"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The share; a usage error for anything else."""
        if isinstance(value, float):
            return value
        text = str(value).strip()
        try:
            share = float(text.removesuffix("%")) / (100.0 if text.endswith("%") else 1.0)
        except ValueError:
            share = -1.0
        if not 0.0 < share <= 1.0:
            self.fail(f"{text!r} is no share of at most 100 %: write 10% or 0.1", param, ctx)
        return share


PERCENTAGE = _Percentage()
#: What `--metric` names; `harness.statistics.compare.METRICS` would bring pandas along with every --help.
_METRICS = ("p50", "p95", "throughput", "goodput", "error_rate", "cost")


@click.command()
@click.argument("runs", nargs=-1, required=True, metavar="RUN…", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="Folder for the report (new). Default: testcard-runs/report-<time>.")
@click.option("--baseline", type=click.Path(path_type=Path), help="Compare with this earlier run; a regression exits 1.")
@click.option("--history", "index", type=click.Path(path_type=Path), help="Show figures over time from this index (testcard history).")
@click.option("--blind", is_flag=True, help="Write a page to vote on pairs of pictures without names, instead of a report.")
@click.option(
    "--votes",
    multiple=True,
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Count votes saved from the page of --blind; again for those of more people.",
)
@click.option("--facts", is_flag=True, help="Measure the pictures: fine detail, block steps, near-duplicates, origin. Takes longer.")
@click.option("--json", "as_json", is_flag=True, help="Print the verdict and the files as JSON.")
def report(
    runs: tuple[Path, ...],
    out: Path | None,
    baseline: Path | None,
    index: Path | None,
    blind: bool,
    votes: tuple[Path, ...],
    facts: bool,
    as_json: bool,
) -> int:
    """Render runs as one offline HTML file, Markdown, CSV and figures.

    RUN is a folder that check, bench or evaluate wrote; an evaluate folder stands for everything in it, and one of a run that
    was killed for what was recorded until then. The verdict is in the
    report: writing it exits 0 whatever it says, because the runs have gated already. With --baseline the regressions count in
    its verdict, and it exits with what that verdict means: 0, 1 or 5, or 2 where the runs measured different things.

    Example: testcard report testcard-runs/check-20270101-120000 testcard-runs/bench-20270101-121500
    """
    from testcard.harness.recovery import RecoveredRun

    readers = [RecoveredRun(run) for run in runs]
    _say_cut_short(readers)
    if blind:
        if votes or facts or baseline is not None or index is not None:
            raise UsageError("--blind makes a page to vote on, and goes with neither --votes, --facts, --baseline nor --history")
        return _blind(readers, out, as_json=as_json)
    from testcard.reports.content.votes import read_votes
    from testcard.reports.pages.render import write_report

    ballots = read_votes(votes) if votes else None
    page = write_report(
        readers, out, baseline=[RecoveredRun(baseline)] if baseline else (), histories=_histories(index), ballots=ballots, facts=facts
    )
    written = RunReader(page.parent).run
    if as_json:
        click.echo(
            json.dumps(
                {
                    "outcome": written.outcome,
                    "sentence": written.reason,
                    "run": str(page.parent),
                    "report": str(page),
                    "files": written.files,
                }
            )
        )
        return written.exit_code or 0
    click.echo(f"{written.outcome.upper()}  {written.reason}")
    click.echo(f"report  {page}")
    click.echo(f"open    {page.resolve().as_uri()}")
    return written.exit_code or 0


def _say_cut_short(readers: Sequence[RunReader]) -> None:
    """Says which of the runs never came to their end."""
    from testcard.harness.recovery import CUT_SHORT
    from testcard.reports.content.evidence import leaves

    for run in leaves(readers):
        if run.run.reason == CUT_SHORT:
            click.echo(f"note: {shown_path(run.folder)}: {CUT_SHORT}", err=True)


def _blind(readers: Sequence[RunReader], out: Path | None, *, as_json: bool) -> int:
    from testcard.reports.pages.html import write_blind

    page = write_blind(readers, out)
    if as_json:
        click.echo(json.dumps({"run": str(page.parent), "page": str(page)}))
        return 0
    click.echo(f"vote    {page}")
    click.echo(f"open    {page.resolve().as_uri()}")
    click.echo("next: vote, save, and count with testcard report RUN… --votes votes.json")
    return 0


def _histories(path: Path | None) -> list[History]:
    if path is None:
        return []
    from testcard.harness.history.index import Index, histories

    if not path.is_file():
        raise UsageError(f"{path} is no history index", hint="testcard history writes one")
    index = Index(path)
    try:
        return histories(index)
    finally:
        index.close()


@click.command()
@click.argument("run", metavar="RUN", type=click.Path(path_type=Path))
@click.argument("baseline", metavar="BASELINE", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="Also write a report of RUN against BASELINE into this new folder.")
@click.option("--metric", "metrics", multiple=True, type=click.Choice(_METRICS), help="Compare only this; may be repeated.")
@click.option("--margin", type=PERCENTAGE, metavar="P", help="The change that does not matter, such as 10%. Default: 5 % mocks, 15 % live.")
@click.option("--json", "as_json", is_flag=True, help="Print every figure as JSON.")
def compare(run: Path, baseline: Path, out: Path | None, metrics: tuple[str, ...], margin: float | None, as_json: bool) -> int:
    """Say what got better or worse from BASELINE to RUN, one sentence a metric.

    Both are folders that bench, check or evaluate wrote. A metric is compared by its value in each round (4 rounds or more on
    each side, small ones merged): better or worse where the rounds surely differ by more than the margin, 5 % against mocks and
    15 % live. A smaller change is said and does not count. Rules that a check found newly broken or fixed are listed too. Exits 1 for a regression, 2 where the runs measured different things, and
    5 where there is too little to decide on.

    Example: testcard compare testcard-runs/bench-20270102-120000 testcard-runs/bench-20270101-120000
    """
    from testcard.harness.recovery import RecoveredRun
    from testcard.reports.content.baseline import against

    readers = [RecoveredRun(run)], [RecoveredRun(baseline)]
    _say_cut_short([*readers[0], *readers[1]])
    if out is not None:
        from testcard.reports.pages.render import composed, write_page

        evidence, page = composed(readers[0], baseline=readers[1], margin=margin, metrics=metrics)
        write_page(evidence, page, out)
        assert page.baseline is not None
        found = page.baseline
    else:
        found = against(*readers, margin=margin, metrics=metrics)
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(as_data(found)), indent=2).decode())
    else:
        _print_comparison(found)
        if out is not None:
            click.echo(f"report  {out / 'report.html'}")
    return int(found.exit)


def as_data(found: Baseline) -> dict[str, Any]:
    """The comparison as plain data: every change with its figures and its sentence, rules, refusals, remarks."""
    from testcard.harness.statistics import sentences

    comparison = found.comparison
    changes = []
    for change in comparison.changes:
        data = msgspec.to_builtins(change)
        changes.append(
            {
                **data,
                "metric": change.metric.name,
                "kind": "difference" if change.metric.share else "ratio",
                "sentence": sentences.TWICE if comparison.itself else sentences.sentence(change),
            }
        )
    return {
        "outcome": _WORDS[found.exit],
        "exit_code": int(found.exit),
        "sentence": sentences.verdict_line(comparison),
        "baseline": found.name,
        "changes": changes,
        "rules": [
            {**msgspec.to_builtins(rule), "regression": rule.regression, "sentence": sentences.rule_sentence(rule)}
            for rule in comparison.rules
        ],
        "not_comparable": [msgspec.to_builtins(refused) for refused in comparison.refused],
        "only_on_one_side": comparison.alone,
        "warnings": comparison.warnings,
    }


def _print_comparison(found: Baseline) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(width=None if sys.stdout.isatty() else 200, highlight=False)
    whole = not sys.stdout.isatty()  # what is no terminal gets a sentence a line

    def sentence(line: Line) -> None:
        mark = Text(f"  {line.glyph} ", _COLOURS.get(line.style, ""))
        if whole:
            console.print(Text.assemble(mark, line.text), soft_wrap=True)
            return
        grid = Table.grid()
        grid.add_row(mark, Text(line.text))
        console.print(grid)

    for group in found.groups:
        console.print(Text(group.name, style="bold"), soft_wrap=whole)
        for line in group.lines:
            sentence(line)
    if found.rules:
        console.print(Text("rules", style="bold"))
        for line in found.rules:
            sentence(line)
    for note in found.notes:
        click.echo(f"note: {note}", err=True)
    console.print(Text.assemble((_WORDS[found.exit].upper(), "bold"), "  ", found.sentence), soft_wrap=whole)
