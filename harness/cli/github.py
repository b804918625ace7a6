"""What GitHub Actions is told of a result: a job summary, and annotations on the worst findings. Elsewhere nothing happens."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import click

from testcard.harness.cli import say


def tell(summary: str, commands: Iterable[str], *, as_json: bool) -> None:
    """Appends the job summary to the file that GitHub names and prints the workflow commands.

    They go to stdout, as GitHub documents it; with --json to stderr, which the runner reads too, so that stdout is the result alone.
    """
    file = os.environ.get("GITHUB_STEP_SUMMARY")
    if file:
        try:
            with Path(file).open("a", encoding="utf-8") as stream:
                stream.write(summary)
        except OSError as error:
            say(f"the job summary cannot be written: {file}: {error.strerror}")
    if os.environ.get("GITHUB_ACTIONS"):
        for line in commands:
            click.echo(line, err=as_json)
