"""One check as the command line runs it: carried out with progress, judged, written, printed."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from testcard.harness.check.generation.plan import Plan
from testcard.harness.check.judging.verdicts import Conclusion
from testcard.harness.check.judging.waivers import waive
from testcard.harness.check.running.runner import CheckSettings
from testcard.harness.check.session import Carried, carry_out, day_of, judge_records, run_config, started_of
from testcard.harness.check.spending.allowance import at_most
from testcard.harness.check.spending.budget import CheckBudget, SpendingLimits
from testcard.harness.cli import check_text as present
from testcard.harness.cli import say
from testcard.harness.cli.check_result import conclude
from testcard.harness.config import WaiverSection
from testcard.harness.errors import Exit, TestcardError
from testcard.harness.progress import Progress
from testcard.harness.runs.folder import RunReader, RunWriter, default_folder
from testcard.harness.runs.records import Exchange
from testcard.harness.targets import Target, is_loopback

LOOPBACK_POLL_S = 0.05


class CheckRun:
    """One check of one target, from the first request to the exit code."""

    def __init__(
        self,
        target: Target,
        plan: Plan,
        limits: SpendingLimits,
        strict: bool,
        concurrency: int,
        keyless: bool,
        model: str | None,
        out: Path | None,
        as_json: bool,
        waivers: Sequence[WaiverSection] = (),
        live: bool = False,
    ) -> None:
        self.target = target
        self.plan = plan
        self.limits = limits
        self._as_json = as_json
        self._waivers = waivers
        self._strict = strict
        self._concurrency = concurrency
        self._keyless = keyless
        self._model = model
        self._live = live
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
            live=self._live,
            waivers=self._waivers,
        )

    def run(self) -> int:
        """Carries the plan out, judges, writes, prints; returns the exit code."""
        target = self.target
        local = is_loopback(target.base_url)
        if not local:
            most = at_most(self.plan.steps, self.limits)
            price = "no price known" if most.cost_usd is None else f"at most ${most.cost_usd:.4f}"
            say(f"Plan: {len(self.plan.steps)} requests, at most {most.images} images, {price}. Mind the provider's terms of use.")
        settings = CheckSettings(target.base_url, target.api_key, self._concurrency, LOOPBACK_POLL_S if local else None, live=self._live)
        try:
            with Progress(f"check {target.provider.id}", len(self.plan.steps)) as progress:

                def watch(done: int, budget: CheckBudget, surprises: int) -> None:
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

    def _judge(self, carried: Carried) -> tuple[Conclusion, list[Exchange]]:
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
            live=self._live,
        )
        rules = [rule.id for rule in self.plan.rules]
        return waive(judged, self._waivers, scopes=self.plan.scopes, rules=rules, on=day_of(run.run)), exchanges

    def _conclude(self, carried: Carried, judged: Conclusion, exchanges: list[Exchange]) -> int:
        target, writer, outcome = self.target, self.writer, carried.outcome
        writer.update(config=self._run_config(carried))
        record = judged.record(target.provider.id, target.base_url, target.mock, carried.budget.spend)
        code = conclude(
            writer,
            judged,
            record,
            {one.id: one for one in exchanges},
            target.pricing.origin,
            as_json=self._as_json,
            stopped=outcome.stopped,
            interrupted=outcome.interrupted,
        )
        if outcome.stopped is not None and not outcome.interrupted:
            say(f"stopped: {present.clean(outcome.stopped)}; everything so far is saved")
        if any(reason == "the budget is spent" for reason in outcome.not_sent.values()):
            say(f"{len(outcome.not_sent)} of {len(self.plan.steps)} requests were not sent: the budget is spent")
            say("next: raise --max-requests, --max-images or --max-cost, or narrow with --operation and --rule")
        return code
