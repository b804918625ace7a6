"""One check as the command line runs it: carried out with progress, judged, written, printed."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
import sys
from pathlib import Path
from typing import Any

import click

from testcard.harness.check import present
from testcard.harness.check.budget import Budget, Limits
from testcard.harness.check.plan import Plan
from testcard.harness.check.runner import Settings
from testcard.harness.check.session import Carried, carry_out, judge_records, run_config, started_of
from testcard.harness.check.verdicts import Judged
from testcard.harness.cli import say
from testcard.harness.errors import Exit, TestcardError
from testcard.harness.progress import Progress
from testcard.harness.runs.folder import RunReader, RunWriter, default_folder
from testcard.harness.runs.records import Body, Exchange, Spend
from testcard.harness.targets import Target, is_loopback

LOOPBACK_POLL_S = 0.05


class CheckRun:
    """One check of one target, from the first request to the exit code."""

    def __init__(
        self,
        target: Target,
        plan: Plan,
        limits: Limits,
        strict: bool,
        concurrency: int,
        keyless: bool,
        model: str | None,
        out: Path | None,
        as_json: bool,
    ) -> None:
        self.target = target
        self.plan = plan
        self.limits = limits
        self.as_json = as_json
        self._strict = strict
        self._concurrency = concurrency
        self._keyless = keyless
        self._model = model
        models = dict.fromkeys(step.model for step in plan.steps if step.model is not None)
        self.writer = RunWriter.create(
            out or default_folder("check"),
            "check",
            targets=[target.record(list(models))],
            seed=plan.seed,
            config=self._run_config(None),
        )

    def _run_config(self, carried: Carried | None) -> dict[str, Any]:
        return run_config(
            self.plan,
            carried,
            keyless=self._keyless,
            strict=self._strict,
            model=self._model,
            limits=self.limits,
            concurrency=self._concurrency,
        )

    def run(self) -> int:
        """Carries the plan out, judges, writes, prints; returns the exit code."""
        target = self.target
        local = is_loopback(target.base_url)
        if not local:
            price = "no price known" if self.plan.cost_usd is None else f"at most ${self.plan.cost_usd:.4f}"
            say(f"Plan: {len(self.plan.steps)} requests, at most {self.plan.images} images, {price}. Mind the provider's terms of use.")
        settings = Settings(target.base_url, target.api_key, self._concurrency, LOOPBACK_POLL_S if local else None)
        try:
            with Progress(f"check {target.provider.id}", len(self.plan.steps)) as progress:

                def watch(done: int, budget: Budget, surprises: int) -> None:
                    spend = budget.spend
                    cost = "?" if spend.cost_usd is None else f"${spend.cost_usd:.3f}"
                    progress.update(done, requests=spend.requests, images=spend.images, spend=cost, findings=surprises)

                carried = asyncio.run(
                    carry_out(
                        self.plan,
                        settings,
                        target.pricing,
                        self.writer,
                        limits=self.limits,
                        watch=watch,
                        on_interrupt=lambda: say("interrupted: judging what is there; once more to abort"),
                    )
                )
                judged, exchanges = self._judge(carried)
                progress.update(findings=present.broken(judged.verdicts))
        except TestcardError as error:
            self.writer.finish("error", error.exit_code, error.message)
            raise
        except KeyboardInterrupt:
            self.writer.finish("interrupted", Exit.INTERRUPTED, "interrupted")
            raise
        return self._conclude(carried, judged, exchanges)

    def _judge(self, carried: Carried) -> tuple[Judged, list[Exchange]]:
        run = RunReader(self.writer.folder)
        exchanges = list(run.exchanges())
        judged = judge_records(
            self.plan.scopes,
            self.plan.rules,
            exchanges,
            run.bytes_of,
            not_sent=carried.not_sent(self.plan),
            strict=self._strict,
            stopped=carried.outcome.stopped is not None,
            started=started_of(run.run),
        )
        return judged, exchanges

    def _conclude(self, carried: Carried, judged: Judged, exchanges: list[Exchange]) -> int:
        target, writer = self.target, self.writer
        record = judged.record(target.provider.id, target.base_url, target.mock, carried.budget.spend)
        code = Exit.INTERRUPTED if carried.outcome.interrupted else judged.exit_code
        writer.update(config=self._run_config(carried))
        path = writer.write("verdicts", "verdicts.json", record)
        outcome = "interrupted" if carried.outcome.interrupted else "error" if judged.errors else judged.outcome
        reason = carried.outcome.stopped or (f"rule {judged.errors[0].rule} raised {judged.errors[0].message}" if judged.errors else None)
        writer.finish(outcome, code, reason)
        print_result(
            judged,
            record.spend,
            target.pricing.origin,
            {one.id: one for one in exchanges},
            writer.folder,
            path.read_bytes() if self.as_json else None,
        )
        if carried.outcome.stopped is not None and not carried.outcome.interrupted:
            say(f"stopped: {carried.outcome.stopped}; everything so far is saved")
        if any(reason == "the budget is spent" for reason in carried.outcome.not_sent.values()):
            say(f"{len(carried.outcome.not_sent)} of {len(self.plan.steps)} requests were not sent: the budget is spent")
            say("next: raise --max-requests, --max-images or --max-cost, or narrow with --operation and --rule")
        report_errors(judged)
        return code


def print_result(
    judged: Judged, spend: Spend, price_origin: str, exchanges: dict[str, Exchange], folder: Path, as_json: bytes | None
) -> None:
    """Prints the result on stdout: verdicts.json, or table, findings, gaps, spend and the run's folder."""
    if as_json is not None:
        click.echo(as_json.decode().rstrip("\n"))
        return
    style = _style if sys.stdout.isatty() and not os.environ.get("NO_COLOR") else present.plain
    for line in present.table(judged, style):
        click.echo(line)
    for line in present.findings(judged, exchanges, lambda body: _body_file(folder, body), style):
        click.echo(line)
    for line in present.gaps(judged):
        click.echo(line)
    click.echo("")
    click.echo(present.summary(judged, spend, price_origin))
    click.echo(f"Run: {folder}")


def _body_file(folder: Path, body: Body) -> str | None:
    """A file in the run folder that holds the body; a short one that is no text is written out for the command line."""
    if body.sha256 is not None:
        return str(folder / "bodies" / body.sha256)
    content = body.text.encode() if body.text is not None else base64.b64decode(body.base64 or "")
    path = folder / "bodies" / hashlib.sha256(content).hexdigest()
    if not path.exists():
        try:
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(content)
        except OSError:
            return None
    return str(path)


def _style(text: str, colour: str) -> str:
    if colour == "bold":
        return click.style(text, bold=True)
    return click.style(text, fg=colour) if colour else text


def report_errors(judged: Judged) -> None:
    """Says on stderr which rules raised, and what to do."""
    for error in judged.errors:
        say(f"internal error: rule {error.rule} on {error.operation} raised {present.clean(error.message)}")
    if judged.errors:
        say("next: report this with the run folder; judge again with a fixed version: testcard check … --replay RUN")
