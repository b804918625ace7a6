"""`testcard report`."""

from __future__ import annotations

import json
from pathlib import Path

import click

from testcard.harness.runs.folder import RunReader


@click.command()
@click.argument("runs", nargs=-1, required=True, metavar="RUN…", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="Folder for the report (new). Default: testcard-runs/report-<time>.")
@click.option("--json", "as_json", is_flag=True, help="Print the verdict and the files as JSON.")
def report(runs: tuple[Path, ...], out: Path | None, as_json: bool) -> None:
    """Render runs as one offline HTML file, Markdown, CSV and figures.

    RUN is a folder that check, bench or evaluate wrote; an evaluate folder stands for everything in it. The verdict is in the
    report: writing it exits 0 whatever it says, because the runs have gated already.
    """
    from testcard.reports.render import write_report

    readers = [RunReader(run) for run in runs]
    page = write_report(readers, out)
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
        return
    click.echo(f"{written.outcome.upper()}  {written.reason}")
    click.echo(f"report  {page}")
    click.echo(f"open    {page.resolve().as_uri()}")
