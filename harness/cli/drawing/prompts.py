"""Prompts from a file, one a line: a batch into a folder, which goes on from there when it is asked for again."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from testcard.harness.cli import say
from testcard.harness.cli.drawing.files import Asked, Template, with_ending
from testcard.harness.client.batch import BatchItem, BatchOutcome, run_batch
from testcard.harness.client.results import ENDINGS, Result
from testcard.harness.client.sync import Client
from testcard.harness.errors import Exit, UsageError, worst
from testcard.harness.text.words import amount, shortened
from testcard.specs.profile import Task


def read_prompts(path: Path) -> list[str]:
    """The prompts of a file (`-`: of standard input), one a line; empty lines and those that begin with # are none."""
    try:
        text = sys.stdin.read() if str(path) == "-" else path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        said = error.strerror if isinstance(error, OSError) else "is no UTF-8 text"
        raise UsageError(f"--prompts {path}: {said}", hint="name a text file with a prompt a line, or - for standard input") from None
    found = [line.strip() for line in text.splitlines()]
    found = [line for line in found if line and not line.startswith("#")]
    if not found:
        raise UsageError(f"--prompts {path}: there is no prompt in it", hint="write one a line")
    return found


def carry_out(
    client: Client,
    prompts: Sequence[str],
    task: Task,
    images: Sequence[Any],
    terms: Mapping[str, Any],
    output: Path | None,
    *,
    concurrency: int,
    quiet: bool,
    as_json: bool,
    again: bool = False,
) -> None:
    """Gets the pictures of every prompt, writes them, and prints a line each; raises at the end where one failed.

    `again`: of those too that are there.
    """
    folder, template = _place(output, f"{client.settings.provider.id}-{task}")
    items = [BatchItem(prompt, task, tuple(images), dict(terms)) for prompt in prompts]

    def names(index: int, item: BatchItem, result: Result) -> list[str]:
        assert template is not None, "asked for only where there is one"
        asked = Asked(item.prompt, item.terms.get("seed"))
        found = []
        for number, picture in enumerate(result.pictures, 1):
            name = template.name(result, picture, asked, index=index + 1, n=number)
            ending = "." + ENDINGS.get(picture.format, picture.format)
            found.append(with_ending(Path(name), ending).name)
        return found

    done = 0

    def tell(outcome: BatchOutcome) -> None:
        nonlocal done
        done += 1
        if not quiet:
            say(f"{done}: {shortened(outcome.item.prompt or '', 60)}: {_came_to(outcome)}")

    try:
        named = names if template is not None else None
        outcomes = run_batch(client, items, folder, concurrency=concurrency, on_outcome=tell, names=named, again=again)
    except KeyboardInterrupt:
        say(f"{done} of {len(items)} prompts done; the same command goes on from {folder}")
        raise
    for outcome in outcomes:
        if as_json:
            error = None if outcome.error is None else str(outcome.error)
            files = [str(file) for file in outcome.files]
            click.echo(
                json.dumps(
                    {"index": outcome.index, "prompt": outcome.item.prompt, "files": files, "error": error, **(outcome.record or {})}
                )
            )
        else:
            for file in outcome.files:
                click.echo(f"{file}")
    _end(outcomes, folder, as_json=as_json)


def _place(output: Path | None, default: str) -> tuple[Path, Template | None]:
    """The folder of a batch and the names in it."""
    if output is None:
        return Path(default), None
    if not Template.is_one(str(output)):
        return output, None
    if Template.is_one(str(output.parent)):
        raise UsageError(f"-o {output}: the folder of a batch is one folder", hint="write fields into the file's name only")
    return output.parent, Template(output.name)


def _came_to(outcome: BatchOutcome) -> str:
    if outcome.error is not None:
        return str(outcome.error)
    assert outcome.result is not None, "told of as it ended"
    cost = outcome.result.cost_usd
    return f"{outcome.result.timings.total_s:.2f} s, {'no price known' if cost is None else amount(cost)}"


def _end(outcomes: Sequence[BatchOutcome], folder: Path, *, as_json: bool) -> None:
    """The last line; raises the worst of what went wrong, so that the exit code says it."""
    costs = [outcome.result.cost_usd for outcome in outcomes if outcome.result is not None]
    known = [cost for cost in costs if cost is not None]
    failed = [outcome.error for outcome in outcomes if outcome.error is not None]
    left = [outcome for outcome in outcomes if not outcome.done and outcome.error is None]
    parts = [f"{sum(outcome.done for outcome in outcomes)} of {len(outcomes)} prompts done"]
    earlier = sum(outcome.earlier for outcome in outcomes)
    parts += [f"{earlier} of them before"] if earlier else []
    if costs:
        parts.append(amount(sum(known)) if known else "no price known")
    if not as_json:
        click.echo(", ".join(parts))
    if not failed:
        return
    say(f"{len(failed)} failed" + (f", {len(left)} were not begun" if left else "") + f"; the same command goes on from {folder}")
    code = worst([Exit(error.exit_code) for error in failed])
    raise next(error for error in failed if error.exit_code == code)
