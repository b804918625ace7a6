"""`testcard open` and `testcard clean`: a person's way around run folders."""

from __future__ import annotations

import json
import os
import shutil
import webbrowser
from pathlib import Path

import click

from testcard.harness.cli import say
from testcard.harness.cli.options import PATH, json_option
from testcard.harness.errors import UsageError
from testcard.harness.runs.folder import RunReader
from testcard.harness.text.commands import shown_path

DEFAULT = Path("testcard-runs")


@click.command("open")
@click.argument("run", metavar="[RUN]", type=PATH, required=False)
@click.option("--print", "only_print", is_flag=True, help="Print the report's address; open nothing.")
def open_report(run: Path | None, only_print: bool) -> None:
    """Open the report of RUN in the browser; without RUN, of the newest run in testcard-runs.

    Example: testcard open testcard-runs/check-20270101-120000
    """
    folder = run if run is not None else _newest()
    page = folder if folder.suffix == ".html" and not folder.is_dir() else _page(folder)
    address = page.resolve().as_uri()
    click.echo(address)
    if not only_print and not webbrowser.open(address):
        say("no browser could be started; the address above can be opened by hand")


def _newest() -> Path:
    """The newest run of testcard-runs that has a report."""
    for folder in sorted(run_folders(DEFAULT), key=_made, reverse=True):
        if _report_of(folder) is not None:
            return folder
    raise UsageError(f"no run in {DEFAULT} has a report", hint="make one: testcard report RUN")


def _page(folder: Path) -> Path:
    found = RunReader(folder).path("report") if os.path.lexists(folder / "run.json") else None
    if found is None:
        raise UsageError(f"{folder} has no report", hint=f"make one: testcard report {shown_path(folder)}")
    return found


def _report_of(folder: Path) -> Path | None:
    if not (folder / "run.json").is_file():
        return None
    return RunReader(folder).path("report")


def _made_from(folder: Path) -> list[Path]:
    """The runs that a report shows; none of another kind of run."""
    run = RunReader(folder).run
    names = run.config.get("runs") if run.kind == "report" else None
    return [(folder / name).resolve() for name in names if isinstance(name, str)] if isinstance(names, list) else []


def _made(folder: Path) -> float:
    return (folder / "run.json").stat().st_mtime


def run_folders(parent: Path) -> list[Path]:
    """The runs directly in a folder; runs inside a run belong to it, and links are nobody's."""
    if not parent.is_dir():
        return []
    found = [folder for folder in parent.iterdir() if folder.is_dir() and not folder.is_symlink()]
    return [folder for folder in found if (folder / "run.json").is_file()]


@click.command()
@click.argument("folder", metavar="[FOLDER]", type=PATH, default=DEFAULT)
@click.option("--keep", type=click.IntRange(0), default=20, show_default=True, metavar="N", help="Keep the N newest runs.")
@click.option("--dry-run", is_flag=True, help="Say what would go; delete nothing.")
@json_option("what went")
def clean(folder: Path, keep: int, dry_run: bool, as_json: bool) -> None:
    """Delete the older runs in FOLDER (testcard-runs): only folders that hold a run.json, and none that is still being written.

    The runs that a kept report was made from are kept with it.

    Example: testcard clean --keep 20 --dry-run
    """
    if not folder.is_dir():
        raise UsageError(f"{folder}: there is no such folder", hint="name the folder that holds the runs")
    ended = [one for one in run_folders(folder) if RunReader(one).run.ended is not None]
    newest = sorted(ended, key=_made, reverse=True)
    needed = {source for one in newest[:keep] for source in _made_from(one)}
    going = [one for one in newest[keep:] if one.resolve() not in needed]
    for one in going:
        if not dry_run:
            shutil.rmtree(one)
    if as_json:
        click.echo(json.dumps({"deleted": [str(one) for one in going], "dry_run": dry_run}))
        return
    for one in going:
        click.echo(f"{'would delete' if dry_run else 'deleted'} {shown_path(one)}")
    say(f"{len(going)} of {len(ended)} finished runs {'would go' if dry_run else 'deleted'}")
