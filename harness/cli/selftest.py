"""`testcard selftest`: every fault against every rule."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import click

from testcard.harness.check.kill_matrix import Matrix, kill_matrix
from testcard.harness.cli import say
from testcard.harness.errors import Exit
from testcard.harness.progress import Progress
from testcard.harness.rules import RULES
from testcard.specs.loader import bundled_ids, load_provider


@click.command()
@click.option("--provider", "names", multiple=True, metavar="ID", help="Only this provider's mock (repeatable).")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the requests.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def selftest(names: tuple[str, ...], seed: int, as_json: bool) -> int:
    """Run every fault of every mock against the rules and print the kill matrix.

    Exits with 1 when a fault is missed, when a rule breaks that the fault does not list, when the conforming mock breaks one,
    or when a rule has no fault.
    """
    providers = [load_provider(name) for name in dict.fromkeys(names or bundled_ids())]
    with Progress("selftest", unit="runs") as progress:

        def watch(done: int, total: int) -> None:
            progress.update(done, total=total)

        matrix = asyncio.run(kill_matrix(providers, seed=seed, complete=not names, watch=watch))
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
            run = next((one for one in matrix.runs if one.fault == fault and one.provider == provider), None)
            mark = " " if run is None else "✗" if not run.caught else "!" if run.unexpected else "✓"
            cells.append(f"{mark:^{len(provider)}}")
            if run is not None:
                notes.update(dict.fromkeys(f"and {rule}" for rule in run.broke if rule in run.allowed))
        yield f"{fault:<{width}}  {'  '.join(cells)}  {', '.join(notes)}".rstrip()
    yield ""
    for provider, broke in matrix.conforming.items():
        runs = [run for run in matrix.runs if run.provider == provider]
        conforming = "conforming mock: none broken" if not broke else "conforming mock breaks " + ", ".join(broke)
        yield f"{provider}: {sum(run.caught for run in runs)}/{len(runs)} faults caught; {conforming}"
    yield f"in all: {matrix.caught}/{len(matrix.runs)} faults caught by {len(RULES)} rules"
    for run in matrix.runs:
        if not run.caught:
            yield f"missed: {run.fault} on {run.provider} ({', '.join(run.missed or run.operations)})"
        if run.unexpected:
            yield f"unexpected: {run.fault} on {run.provider} also breaks {', '.join(run.unexpected)}"
    for rule in matrix.unproved_rules:
        yield f"no fault for the rule {rule}"
    for entry in matrix.stale:
        yield f"listed but never tripped: {entry}"
    yield "the kill matrix is full" if matrix.full else "the kill matrix is not as it has to be"


def _record(matrix: Matrix) -> dict[str, Any]:
    return {
        "schema": "testcard.selftest/1",
        "full": matrix.full,
        "faults": len(matrix.runs),
        "caught": matrix.caught,
        "conforming": {provider: list(broke) for provider, broke in matrix.conforming.items()},
        "runs": [
            {
                "provider": run.provider,
                "fault": run.fault,
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
