"""`testcard report`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from testcard.harness.errors import UsageError
from testcard.harness.runs.folder import RunReader

if TYPE_CHECKING:
    from testcard.harness.history.reading import History


@click.command()
@click.argument("runs", nargs=-1, required=True, metavar="RUN…", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="Folder for the report (new). Default: testcard-runs/report-<time>.")
@click.option("--baseline", type=click.Path(path_type=Path), help="Compare with this earlier run; a regression exits 1.")
@click.option("--history", "index", type=click.Path(path_type=Path), help="Show figures over time from this index (testcard history).")
@click.option("--json", "as_json", is_flag=True, help="Print the verdict and the files as JSON.")
def report(runs: tuple[Path, ...], out: Path | None, baseline: Path | None, index: Path | None, as_json: bool) -> int:
    """Render runs as one offline HTML file, Markdown, CSV and figures.

    RUN is a folder that check, bench or evaluate wrote; an evaluate folder stands for everything in it. The verdict is in the
    report: writing it exits 0 whatever it says, because the runs have gated already. With --baseline it exits as testcard
    compare does: 1 for a regression, 2 where the runs measured different things, 5 where there is too little to decide on.
    """
    from testcard.reports.pages.render import write_report

    readers = [RunReader(run) for run in runs]
    page = write_report(readers, out, baseline=[RunReader(baseline)] if baseline else (), histories=_histories(index))
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


def _histories(path: Path | None) -> list[History]:
    if path is None:
        return []
    from testcard.harness.history.index import Index
    from testcard.harness.history.reading import histories

    if not path.is_file():
        raise UsageError(f"{path} is no history index", hint="testcard history writes one")
    index = Index(path)
    try:
        return histories(index)
    finally:
        index.close()
