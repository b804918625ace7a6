"""`testcard history`: how figures and findings moved over runs."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from testcard.harness.cli import say
from testcard.harness.cli.options import PATH, json_option
from testcard.harness.errors import Exit, UsageError
from testcard.harness.history.index import DEFAULT
from testcard.harness.text.words import DOLLARS, NONE, PER_SECOND, PERCENT, SECONDS
from testcard.harness.text.words import count as counted

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from testcard.harness.history.index import BrokenRule, History

_TITLES = {
    "p50_s": ("p50 latency", SECONDS),
    "p95_s": ("p95 latency", SECONDS),
    "p99_s": ("p99 latency", SECONDS),
    "achieved_rps": ("achieved", PER_SECOND),
    "goodput_rps": ("goodput", PER_SECOND),
    "error_rate": ("error rate", PERCENT),
    "cost_usd_per_1000_good_images": ("cost of 1,000 good images", DOLLARS),
}
_BARS = "▁▂▃▄▅▆▇█"
_BOUNDLESS = 10_000
#: Points that a terminal's little chart has room for.
_CHART = 24


@click.command()
@click.argument("folders", nargs=-1, metavar="[FOLDER]…", type=PATH)
@click.option("--index", "index_path", type=PATH, help=f"The index file. Default: {DEFAULT}.")
@click.option("--rebuild", is_flag=True, help="Forget the index and read every run again.")
@json_option("trends and findings")
def history(folders: tuple[Path, ...], index_path: Path | None, rebuild: bool, as_json: bool) -> int:
    """Show trends of figures, and when findings were first and last seen.

    FOLDER is a run, or a folder that holds runs at any depth; without any, testcard-runs. What was read is kept in a SQLite
    index beside the runs, which only saves time: it can be deleted, and --rebuild makes it anew. Runs are put side by side
    where operation, size, n, model, arrival, region and environment are the same. A run that cannot be read is left out and
    named, and the exit code is then 2.

    Example: testcard history testcard-runs
    """
    from testcard.harness.history.index import Index, broken_rules, histories

    if not folders and not DEFAULT.parent.is_dir():
        raise UsageError("there is no testcard-runs here", hint="name folders that hold runs: testcard history FOLDER")
    index = Index(index_path or DEFAULT, rebuild=rebuild)
    try:
        done = index.update(folders or (DEFAULT.parent,))
        series, findings = histories(index), broken_rules(index)
        (count,) = index.query("SELECT COUNT(*) FROM runs")[0]
    finally:
        index.close()
    for problem in done.unread:
        say(f"left out: {problem}")
    code = Exit.USAGE if done.unread else Exit.PASS
    if as_json:
        content = {"index": str(index.path), "runs": count, "trends": series, "findings": findings}
        click.echo(msgspec.json.format(msgspec.json.encode(content), indent=2).decode())
        return code
    say(f"{index.path}: {counted(count, 'run')} ({done.read} read now, {done.forgotten} gone)")
    if not count:
        raise UsageError("there is no run to show", hint="testcard check, bench or evaluate record one")
    from rich.console import Console

    show(series, findings, Console(width=None if sys.stdout.isatty() else 200, highlight=False))
    return code


def show(series: Sequence[History], findings: Sequence[BrokenRule], console: Console) -> None:
    """Prints figures and findings: tables, or on a terminal in which these would break words, lines."""
    from rich.table import Table
    from rich.text import Text

    if series:
        table = Table(box=None, pad_edge=False, header_style="bold")
        for name in ("provider", "at", "model", "operation", "stage", "figure"):
            table.add_column(name, overflow="fold")
        for name in ("runs", "first", "median", "latest"):
            table.add_column(name, justify="right")
        table.add_column("over the runs")
        table.add_column("trend")
        for each in series:
            table.add_row(*(Text(cell) for cell in _cells(each)))
        if _fits(console, table):
            console.print(table)
        else:
            _print_lines(console, series)
        console.print(
            "trend: Mann–Kendall over runs with the same fingerprint, from 8 runs on; from 3 on the latest stands beside the median and the range of those before it",
            markup=False,
        )
    if findings:
        table = Table(box=None, pad_edge=False, header_style="bold")
        for name in ("provider", "at", "operation", "rule", "level", "first seen", "last seen"):
            table.add_column(name, overflow="fold")
        table.add_column("runs", justify="right")
        table.add_column("now")
        for found in findings:
            style = "red" if found.open and found.level == "must" else "yellow" if found.open else "green"
            now = "broken" if found.open else f"kept on {found.last_judged[:10]}"
            cells = (found.provider, found.site, found.operation, found.rule, found.level, _day(found.first_seen), _day(found.last_seen))
            table.add_row(*(Text(cell) for cell in (*cells, f"{found.runs} of {found.judged}")), Text(now, style=style))
        console.print()
        if _fits(console, table):
            console.print(table)
        else:
            _print_findings(console, findings)
    elif not series:
        console.print("no figure and no finding in any run")


def _fits(console: Console, table: Table) -> bool:
    """Whether a table can be printed without breaking a word of it."""
    return console.measure(table, options=console.options.update(width=_BOUNDLESS)).maximum <= console.width


def _print_lines(console: Console, series: Sequence[History]) -> None:
    """The figures in lines, those of a row under its name, for a terminal too narrow for the table."""
    from rich.padding import Padding
    from rich.text import Text

    above = ""
    for each in series:
        *names, figure, runs, first, middle, latest, bars, trend = _cells(each)
        name = f"{' · '.join(names)}, {runs} run{'' if runs == '1' else 's'}"
        if name != above:
            console.print(Text(name, style="bold"))
            above = name
        title, _, unit = figure.rpartition(", ")
        line = f"{title} {unit}: {latest}; first {first}, median {middle}  {bars}  {trend}"
        console.print(Padding(Text(line), (0, 0, 0, 2)))


def _print_findings(console: Console, findings: Sequence[BrokenRule]) -> None:
    """The rules that were broken, in lines."""
    from rich.padding import Padding
    from rich.text import Text

    for found in findings:
        style = "red" if found.open and found.level == "must" else "yellow" if found.open else "green"
        now = "broken" if found.open else f"kept on {found.last_judged[:10]}"
        console.print(Text.assemble((f"{found.rule}, {found.level}: ", "bold"), (now, style)))
        seen = f"first seen {_day(found.first_seen)}, last {_day(found.last_seen)}, in {found.runs} of {counted(found.judged, 'run')}"
        console.print(Padding(Text(f"{found.provider} {found.site} {found.operation}: {seen}"), (0, 0, 0, 2)))


def _cells(each: History) -> list[str]:
    from statistics import median

    title, unit = _TITLES[each.metric]
    values = [point.value for point in each.points]
    moved = each.trend
    change = f" ({100 * moved.change:+.0f} %)" if moved.change is not None and moved.word in ("rising", "falling") else ""
    latest = unit.text(values[-1]) + (f" (×{moved.latest:.2f})" if moved.latest is not None else "")
    if moved.lowest is not None and moved.highest is not None:
        where = "above" if values[-1] > moved.highest else "below" if values[-1] < moved.lowest else "within"
        latest += f", {where} {unit.text(moved.lowest)} to {unit.text(moved.highest)}"
    return [
        each.provider,
        each.site,
        each.model or NONE,
        each.operation,
        each.stage,
        f"{title}, {unit.name}",
        str(len(values)),
        unit.text(values[0]),
        unit.text(moved.median if moved.median is not None else median(values)),  # what the latest is put beside
        latest,
        chart(values),
        moved.word + change,
    ]


def chart(values: Sequence[float]) -> str:
    """The last values as bars between their lowest and highest; a flat line where all are equal."""
    shown = values[-_CHART:]
    low, high = min(shown), max(shown)
    if high - low <= 1e-9 * max(abs(high), abs(low)):  # equal but for rounding
        return _BARS[3] * len(shown)
    return "".join(_BARS[round((value - low) / (high - low) * (len(_BARS) - 1))] for value in shown)


def _day(moment: str) -> str:
    return moment[:16].replace("T", " ")
