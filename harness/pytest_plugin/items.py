"""Test items made of rules: one for each rule of each operation of each target, which fail with the evidence of their verdict.

A broken must fails; a broken should, and what is waived, is an expected failure (with --testcard-strict a should fails as well); a must that
could not be judged fails as undecided, a should is skipped with the reason; what an operation does not support is skipped.

The one check behind the items of a target: carried out once in a session, by whichever process needs it first.

Processes of pytest-xdist meet in a folder that the controller made. Whoever claims a target first carries its check out and writes how it
ended; the others wait for that. A claim without an end means that its process died: nothing is sent a second time for it.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from testcard.harness.api import CheckOptions, CheckRun, RunReader, check
from testcard.harness.check.judging.verdicts import judge_records
from testcard.harness.cli.check import text as check_text
from testcard.harness.cli.check.output import body_file
from testcard.harness.config import load_config
from testcard.harness.errors import Inconclusive, TestcardError
from testcard.harness.extras import require
from testcard.harness.rules.scope import Scope
from testcard.harness.runs.folder import default_folder
from testcard.harness.runs.records import Verdict, Verdicts
from testcard.harness.targets import checked_base_url, named_target, require_live
from testcard.harness.text.commands import shown_path
from testcard.harness.text.words import waiver_reason

_LOOK_AGAIN_S = 0.1


class SharedCheck:
    """The check of one target for all processes of a session. `folder` will be its run's; `options` say what is asked of it."""

    def __init__(self, options: CheckOptions, folder: Path) -> None:
        self._options = options
        self.folder = folder
        self.strict = options.strict
        self._claim = folder.with_name(f"{folder.name}.claimed")
        self._end = folder.with_name(f"{folder.name}.ended")
        self._verdicts: Verdicts | None = None
        self._error: TestcardError | None = None

    def verdict(self, rule: str, operation: str, wanted: Sequence[tuple[str, str]]) -> Verdict:
        """What was judged; the check is carried out now, for all `wanted` rules and operations, where nobody did it before.

        Raises the check's own error for each item, where it had one.
        """
        if self._verdicts is None and self._error is None:
            self._settle(wanted)
        if self._error is not None:
            raise self._error
        assert self._verdicts is not None
        for one in self._verdicts.verdicts:
            if (one.rule, one.operation) == (rule, operation):
                return one
        raise Inconclusive(f"the check of {self._options.provider} gave no verdict on {rule} of {operation}")

    def _settle(self, wanted: Sequence[tuple[str, str]]) -> None:
        try:
            claim = os.open(self._claim, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
        except FileExistsError:
            self._wait()
        else:
            with os.fdopen(claim, "w") as stream:
                stream.write(str(os.getpid()))
            self._carry_out(wanted)

    def _carry_out(self, wanted: Sequence[tuple[str, str]]) -> None:
        asked = replace(
            self._options,
            rules=tuple(dict.fromkeys(rule for rule, _ in wanted)),
            operations=tuple(dict.fromkeys(operation for _, operation in wanted)),
            out=self.folder,
        )
        try:
            with check(asked) as run:
                self._verdicts = run.finish().verdicts
        except TestcardError as error:
            self._error = error
        finally:
            said = {"message": self._error.message, "hint": self._error.hint} if self._error is not None else {}
            unfinished = self._end.with_name(f"{self._end.name}.{os.getpid()}")
            unfinished.write_text(json.dumps(said), encoding="utf-8")
            unfinished.replace(self._end)
        if self._verdicts is None and self._error is None:
            self._error = Inconclusive("the check ended without verdicts")

    def _wait(self) -> None:
        while not self._end.exists():
            if self._died():
                self._error = Inconclusive(
                    f"the process that checked {self._options.provider} died; nothing is sent a second time",
                    hint=f"what was recorded is in {self.folder}",
                )
                return
            time.sleep(_LOOK_AGAIN_S)
        said = json.loads(self._end.read_text(encoding="utf-8"))
        if said:
            self._error = TestcardError(said["message"], hint=said["hint"])
            return
        self._verdicts = RunReader(self.folder).verdicts()
        if self._verdicts is None:
            self._error = Inconclusive("the check ended without verdicts", hint=f"look at {self.folder}")

    def _died(self) -> bool:
        written = self._claim.read_text()
        if not written:
            return False
        try:
            os.kill(int(written), 0)
        except ProcessLookupError:
            return not self._end.exists()
        except PermissionError:
            return False
        return False


#: Where a worker of pytest-xdist finds the folder that its controller made.
_WORKER_INPUT = "testcard_folder"
#: Flags of `testcard check` in a message, which are called --testcard-… here.
_OURS = re.compile(r"--(rule|operation|model|live|max-requests|max-cost)\b")


class CheckedTargets:
    """The targets of `--testcard` as a plugin of one session: makes their items, and says at its end where the evidence is."""

    def __init__(self, config: pytest.Config) -> None:
        try:
            require(("check",), "pytest --testcard")
            self._plans = [(text, check(_options(config, text))) for text in dict.fromkeys(config.getoption("testcard"))]
            self._pairs = {text: _pairs(plan) for text, plan in self._plans}
        except TestcardError as error:
            raise pytest.UsageError(_OURS.sub(r"--testcard-\1", f"{error.message}{f' ({error.hint})' if error.hint else ''}")) from None
        if not any(self._pairs.values()):
            raise pytest.UsageError(
                "none of the rules of --testcard-rule applies to what --testcard names (`testcard rules` lists all rules)"
            )
        self._config = config
        self._parent: Path | None = None

    @property
    def parent(self) -> Path:
        """The folder of this session's runs, made when it is first needed, so that `--collect-only` leaves nothing behind."""
        if self._parent is None:
            given = getattr(self._config, "workerinput", {}).get(_WORKER_INPUT)
            out = self._config.getoption("testcard_out")
            self._parent = Path(given) if given else default_folder("pytest", Path(out)) if out else default_folder("pytest")
        return self._parent

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Tells a worker of pytest-xdist where all of them meet."""
        node.workerinput[_WORKER_INPUT] = str(self.parent.resolve())

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, session: pytest.Session, items: list[pytest.Item]) -> None:
        """Adds the items, before -k, -m and --lf choose from all."""
        used: Counter[str] = Counter()
        for text, plan in self._plans:
            name = plan.provider.id
            used[name] += 1
            name = f"{name}~{used[name]}" if used[name] > 1 else name
            collector = Target.from_parent(session, name=name, nodeid=f"testcard::{name}")
            collector.prepare(self, plan, self._pairs[text])
            items.extend(collector.collect())

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Where the runs are, and what they came to."""
        if self._parent is None:
            return
        for folder in sorted(one for one in self._parent.iterdir() if (one / "run.json").is_file()):
            verdicts = RunReader(folder).verdicts()
            if verdicts is not None:
                terminalreporter.write_line(
                    f"testcard {folder.name}: {check_text.spending(verdicts.spend, 'none')}; run: {shown_path(folder)}"
                )


class Target(pytest.Collector):
    """The items of one target."""

    def prepare(self, targets: CheckedTargets, plan: CheckRun, pairs: Sequence[tuple[str, str]]) -> None:
        """Says what its items are; from_parent takes no values of ours."""
        self._targets = targets
        self._plan = plan
        self._pairs = pairs
        self._shared: SharedCheck | None = None

    @property
    def shared(self) -> SharedCheck:
        """The check behind the items."""
        if self._shared is None:
            self._shared = SharedCheck(self._plan.options, self._targets.parent / self.name)
        return self._shared

    def collect(self) -> Iterator[RuleItem]:
        """One item for each rule of each operation, in the order of the check."""
        for rule, operation in self._pairs:
            item = RuleItem.from_parent(self, name=rule, nodeid=f"{self.nodeid}::{operation}::{rule}")
            item.of(rule, operation)
            yield item


class RuleItem(pytest.Item):
    """One rule on one operation."""

    def of(self, rule: str, operation: str) -> None:
        """Says which."""
        self.rule = rule
        self.operation = operation
        self.add_marker(pytest.mark.testcard)
        self.extra_keyword_matches.update({rule, operation, f"{operation}-{rule}"})

    def runtest(self) -> None:
        """Looks at the verdict; the first item of a session carries out the check for all that were selected."""
        target = self.parent
        assert isinstance(target, Target)
        selected = [one for one in self.session.items if isinstance(one, RuleItem) and one.parent is target]
        verdict = target.shared.verdict(self.rule, self.operation, [(one.rule, one.operation) for one in selected])
        self.user_properties += [("testcard_verdict", verdict.verdict), ("testcard_run", str(target.shared.folder))]
        word = verdict.verdict
        if word == "fail" or (word == "deviates" and target.shared.strict):
            raise BrokenPromise(_evidence(verdict, target.shared.folder))
        if word == "deviates":
            pytest.xfail(f"a should, no must: {verdict.detail}")
        if word == "waived":
            pytest.xfail(f"waived {waiver_reason(verdict.waiver)}" if verdict.waiver is not None else "waived")
        if word in ("unproven", "not-run") and verdict.level == "must":
            raise BrokenPromise(f"undecided ({word}): {verdict.detail}")
        if word in ("unproven", "not-run", "unsupported"):
            pytest.skip(f"{word}: {verdict.detail}")

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """The evidence as it is, without a traceback; an error of the check with its next step."""
        error = excinfo.value
        if isinstance(error, BrokenPromise):
            return str(error)
        if isinstance(error, TestcardError):
            return f"{error.message}\n{f'next: {error.hint}' if error.hint else ''}".rstrip()
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, int | None, str]:
        """What heads a failure."""
        parent = self.parent
        return self.path, None, f"{parent.name if parent is not None else ''} {self.operation} {self.rule}"


class BrokenPromise(AssertionError):
    """A verdict that fails a test; its text is the evidence."""


def _evidence(verdict: Verdict, folder: Path) -> str:
    """Promise, place, what was seen and a curl, as `testcard check` prints them."""
    run = RunReader(folder)
    written = run.verdicts()
    assert written is not None
    one = Verdicts(
        provider=written.provider, target=written.target, outcome=written.outcome, spend=written.spend, verdicts=[verdict], spec_gaps=[]
    )
    exchanges = {each.id: each for each in run.exchanges()}
    return "\n".join(check_text.findings(one, exchanges, lambda body: body_file(folder, body))).strip()


def _options(config: pytest.Config, text: str) -> CheckOptions:
    """What pytest's flags and testcard.toml ask of one target; flags win. `UsageError` for a target that may not be talked to."""
    settings, said = load_config(), config.getoption
    name, url = named_target(text)
    requests, cost = said("testcard_max_requests"), said("testcard_max_cost")
    options = CheckOptions(
        provider=name,
        base_url=url,
        operations=tuple(said("testcard_operation")),
        model=said("testcard_model"),
        rules=tuple(said("testcard_rule")),
        seed=said("testcard_seed") if said("testcard_seed") is not None else settings.check.seed or 0,
        concurrency=settings.check.concurrency,
        max_requests=requests if requests is not None else settings.check.max_requests,
        max_images=settings.check.max_images,
        max_downloads=settings.check.max_downloads,
        max_cost_usd=cost if cost is not None else settings.check.max_cost,
        strict=said("testcard_strict") or settings.check.strict,
        live=said("testcard_live"),
        waivers=settings.waiver,
        search=settings.providers.path,
        prices=settings.prices,
        signals=False,
    )
    if url is not None:
        require_live(checked_base_url(url), options.live, bounded=options.bounded)
    return options


def _pairs(plan: CheckRun) -> list[tuple[str, str]]:
    """Every rule on every operation that the check would judge, found out by judging nothing at all: the plan is made when it is needed."""
    options = plan.options
    scopes = [Scope(plan.provider, operation, options.seed, options.model, options.no_auth) for operation in plan.operations]
    found = judge_records(scopes, plan.rules, [], lambda body: b"")
    return [(one.rule, one.operation) for one in found.verdicts]
