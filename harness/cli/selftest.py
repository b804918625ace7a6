"""`testcard selftest`: every fault against every rule."""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import click

from testcard.harness.cli import say
from testcard.harness.cli.options import FAULT, PROVIDER, config_option, json_option
from testcard.harness.config import load_config
from testcard.harness.errors import Exit, UsageError
from testcard.harness.progress import Progress
from testcard.harness.rules.promises import RULES
from testcard.harness.selftest.kill_matrix import SEEDS, FaultRun, Matrix, faults_of, kill_matrix
from testcard.harness.text.words import GLYPHS, count
from testcard.specs.loader import bundled_ids, load_provider


@click.command()
@click.option("--provider", "names", type=PROVIDER, multiple=True, metavar="ID", help="Only this provider's mock (repeatable).")
@click.option("--fault", "only", type=FAULT, multiple=True, metavar="GLOB", help="Only these faults (repeatable).")
@click.option("--seed", type=int, default=None, metavar="N", help="Seed of the requests (default: 0; with --full: 0, 1 and 2).")
@click.option("--full", "thorough", is_flag=True, help="Everything that a check sends to every fault, over sockets, under three seeds.")
@click.option(
    "--processes", type=click.IntRange(min=1), default=None, metavar="N", help="Processes to share the work (default: one a core)."
)
@config_option
@json_option("the matrix")
def selftest(
    names: tuple[str, ...],
    config_file: Path | None,
    only: tuple[str, ...],
    seed: int | None,
    thorough: bool,
    processes: int | None,
    as_json: bool,
) -> int:
    """Run every fault of every mock against the rules and print the kill matrix.

    Exits with 1 when a fault is missed, when a rule breaks that the fault does not list, when the conforming mock breaks one,
    or when a rule has no fault. Normally each fault meets the requests that its own rule and those it lists need, in memory.

    Example: testcard selftest --provider nebul --fault 'image.*'
    """
    search = load_config(config_file).providers.path
    providers = [load_provider(name, search) for name in dict.fromkeys(names or bundled_ids())]
    for glob in only:
        known = {one.name for provider in providers for one in faults_of(provider)}
        if not any(fnmatchcase(name, glob) for name in known):
            near = difflib.get_close_matches(glob, known, n=3)
            raise UsageError(
                f"--fault {glob} matches no fault",
                hint=f"did you mean {' or '.join(near)}?" if near else "testcard mock --list-faults prints them",
            )
    seeds = (seed,) if seed is not None else SEEDS if thorough else (0,)
    with Progress("selftest", unit="runs") as progress:

        def watch(done: int, total: int) -> None:
            progress.update(done, total=total)

        matrix = kill_matrix(
            providers,
            seeds=seeds,
            thorough=thorough,
            complete=not (names or only),
            only=only,
            processes=processes or os.cpu_count() or 1,
            watch=watch,
        )
    if as_json:
        click.echo(json.dumps(_record(matrix), indent=2))
    else:
        for line in _lines(matrix):
            click.echo(line)
    for error in matrix.errors:
        say(f"internal error: {error}")
    if matrix.errors:
        return Exit.INTERNAL
    return Exit.PASS if matrix.full else Exit.GATE_FAILED


def _lines(matrix: Matrix) -> Iterator[str]:
    """The matrix, a row for each fault: what it trips is marked by provider."""
    width = max((len(run.fault) for run in matrix.runs), default=0)
    providers = list(matrix.conforming)
    yield f"{'':<{width}}  {'  '.join(providers)}"
    for fault in dict.fromkeys(run.fault for run in matrix.runs):
        cells = []
        notes: dict[str, None] = {}
        for provider in providers:
            runs = [one for one in matrix.runs if one.fault == fault and one.provider == provider]
            cells.append(f"{_mark(runs):^{len(provider)}}")
            notes.update(dict.fromkeys(f"and {rule}" for run in runs for rule in run.broke if rule in run.allowed))
        yield f"{fault:<{width}}  {'  '.join(cells)}  {', '.join(notes)}".rstrip()
    yield ""
    for provider, broke in matrix.conforming.items():
        conforming = "conforming mock: none broken" if not broke else "conforming mock breaks " + ", ".join(broke)
        yield f"{provider}: {_score(matrix, provider)} faults caught; {conforming}"
    seeds = f"seed{'s' if len(matrix.seeds) > 1 else ''} {', '.join(map(str, matrix.seeds))}"
    yield f"in all: {_score(matrix)} faults caught by {count(len(RULES), 'rule')} ({seeds})"
    yield from dict.fromkeys(_complaints(matrix))
    yield "the kill matrix is full" if matrix.full else "the kill matrix is not as it has to be"


def _mark(runs: Sequence[FaultRun]) -> str:
    if not runs:
        return " "
    return GLYPHS["fail"] if not all(run.caught for run in runs) else "!" if any(run.unexpected for run in runs) else GLYPHS["pass"]


def _score(matrix: Matrix, provider: str | None = None) -> str:
    faults = matrix.faults(provider)
    return f"{sum(faults.values())}/{len(faults)}"


def _complaints(matrix: Matrix) -> Iterator[str]:
    for run in matrix.runs:
        if not run.caught:
            yield f"missed: {run.fault} on {run.provider} ({', '.join(run.missed or run.operations)})"
        if run.unexpected:
            yield f"unexpected: {run.fault} on {run.provider} also breaks {', '.join(run.unexpected)}"
    for rule in matrix.unproved_rules:
        yield f"no fault for the rule {rule}"
    for entry in matrix.stale:
        yield f"listed but never tripped: {entry}"


def _record(matrix: Matrix) -> dict[str, Any]:
    return {
        "schema": "testcard.selftest/1",
        "full": matrix.full,
        "seeds": list(matrix.seeds),
        "faults": len(matrix.faults()),
        "caught": sum(matrix.faults().values()),
        "conforming": {provider: list(broke) for provider, broke in matrix.conforming.items()},
        "runs": [
            {
                "provider": run.provider,
                "fault": run.fault,
                "seed": run.seed,
                "rule": run.rule,
                "also": list(run.allowed),
                "broke": list(run.broke),
                "caught": run.caught,
                "missed_on": list(run.missed),
                "unexpected": list(run.unexpected),
            }
            for run in matrix.runs
        ],
        "rules_without_fault": list(matrix.unproved_rules),
        "listed_but_never_tripped": list(matrix.stale),
        "errors": list(matrix.errors),
    }
