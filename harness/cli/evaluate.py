"""`testcard evaluate`: check, load and compare every target, and say where the report is."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from testcard.harness.child_processes import Step, is_run, run_parallel, usable
from testcard.harness.cli import github, say
from testcard.harness.config import Config, TargetSection, load_config
from testcard.harness.embedded import MOCK_LATENCY, embedded_mocks, mock_name
from testcard.harness.errors import Exit, UsageError, worst
from testcard.harness.lazy import resolve
from testcard.harness.runs.folder import RunReader, RunWriter, default_folder
from testcard.harness.runs.records import Outcome, Target
from testcard.harness.statistics import slo
from testcard.harness.targets import KEY_ENV, checked_base_url, is_loopback, read_key, require_live
from testcard.specs.loader import Provider, bundled_ids, load_provider

DEFAULT_WORKLOAD = "quick"
PLAIN_INTERVAL_S = 10.0
_OUTCOMES: dict[int, Outcome] = {
    Exit.PASS: "pass",
    Exit.GATE_FAILED: "fail",
    Exit.INCONCLUSIVE: "inconclusive",
    Exit.INTERRUPTED: "interrupted",
}


@dataclass(frozen=True)
class _Planned:
    """A target with the URL to talk to and its key (None: whatever the child finds by itself)."""

    section: TargetSection
    provider: Provider
    base_url: str
    mock: bool
    label: str
    api_key: str | None

    @property
    def environment(self) -> dict[str, str]:
        """What a child that talks to this target alone gets to see."""
        return {KEY_ENV: self.api_key} if self.api_key else {}


@click.command()
@click.option("--config", "config_file", type=click.Path(path_type=Path), help="Read targets from this testcard.toml.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder for the run (new). Default: testcard-runs/evaluate-<time>.")
@click.option(
    "--workload",
    default=None,
    help="Workload of the benchmark: a name or a file. Default: the config's, else quick (live, where a target is).",
)
@click.option("--seed", type=int, default=None, help="Seed of checks and arrivals.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def evaluate(config_file: Path | None, out: Path | None, workload: str | None, seed: int | None, as_json: bool) -> int:
    """Check, load and compare every target, then write one report.

    Without a testcard.toml (or one without targets) it evaluates the five bundled providers against mocks on this machine.
    """
    config = load_config(config_file)
    # Found out now, not after the checks have been paid for.
    resolve("testcard.benchmarks.plan.workload:load_workload")(workload or config.bench.workload or DEFAULT_WORKLOAD)
    for expression in config.bench.slo:
        slo.parse(expression)
    sections = config.target or tuple(TargetSection(provider=name) for name in bundled_ids())
    with ExitStack() as stack:
        planned = _plan(sections, config, stack)
        writer = RunWriter.create(
            out or default_folder("evaluate"),
            "evaluate",
            targets=[_record(target) for target in planned],
            seed=seed,
            config=config.model_dump(mode="json"),
        )
        if any(target.mock for target in planned):
            say(
                "No base URL is given for "
                + ("some targets" if not all(t.mock for t in planned) else "any target")
                + ": using mocks on this machine, whose latency and prices are made up."
            )
        return _evaluate(writer, planned, config, config_file, workload, seed, as_json)


def _plan(sections: Sequence[TargetSection], config: Config, stack: ExitStack) -> list[_Planned]:
    """The targets with their URLs; starts the mocks that are needed. Everything that can be wrong is found before anything runs."""
    providers = [load_provider(section.provider, config.providers.path) for section in sections]
    for section in sections:
        if section.base_url is None:
            continue
        base_url = checked_base_url(section.base_url)
        bounded = None not in (config.check.max_cost or config.check.max_requests, config.bench.max_cost or config.bench.max_requests)
        require_live(base_url, section.live, bounded=bounded)
    wanted = list(dict.fromkeys(mock_name(p) for section, p in zip(sections, providers, strict=True) if section.base_url is None))
    mocks = stack.enter_context(embedded_mocks(wanted, options=["--latency", MOCK_LATENCY])) if wanted else None
    planned: list[_Planned] = []
    for section, provider in zip(sections, providers, strict=True):
        label = provider.id
        if sum(other.label.split("~")[0] == label for other in planned):
            label += f"~{sum(other.label.split('~')[0] == label for other in planned) + 1}"
        if section.base_url is None:
            assert mocks is not None
            planned.append(_Planned(section, provider, mocks.base_urls[provider.id], True, label, mocks.api_key))
        else:
            if section.key_env and not os.environ.get(section.key_env) and not is_loopback(section.base_url):
                raise UsageError(f"{section.key_env}, which the target {provider.id} names as key_env, is not set")
            key = os.environ.get(section.key_env or "") or read_key(provider)
            planned.append(_Planned(section, provider, checked_base_url(section.base_url), False, label, key))
    return planned


def _record(target: _Planned) -> Target:
    return Target(
        provider=target.provider.id,
        name=target.provider.profile.name,
        base_url=target.base_url,
        mock=target.mock,
        models=list(target.section.models),
        spec_digest=target.provider.spec_digest,
        profile_digest=target.provider.profile_digest,
        prices="illustrative" if target.mock else "none",
    )


def _evaluate(
    writer: RunWriter,
    planned: list[_Planned],
    config: Config,
    config_file: Path | None,
    workload: str | None,
    seed: int | None,
    as_json: bool,
) -> int:
    common = [*(["--config", str(config_file)] if config_file else []), *(["--seed", str(seed)] if seed is not None else [])]
    checks = [Step(f"check {t.label}", _check_arguments(t, writer.folder, common), t.environment) for t in planned]
    # Several targets, several keys: each travels in a variable of its own, and one that would win over all is left out.
    bench = Step("bench", [], without=[KEY_ENV])
    report = Step("report", ["report", str(writer.folder), "--out", str(writer.folder / "report")])
    display = _Display([*checks, bench, report])
    codes: list[Exit] = []
    try:
        with display:
            run_parallel(checks, workers=min(2, os.cpu_count() or 1), changed=display.changed)
            writer.update(children=[f"check-{t.label}" for t in planned if is_run(writer.folder / f"check-{t.label}")])
            ready = [t for t, step in zip(planned, checks, strict=True) if usable(step.exit_code)]
            if ready:
                bench.arguments = _bench_arguments(ready, writer.folder, common, workload)
                bench.environment = {_key_variable(index): target.api_key or "" for index, target in enumerate(ready)}
                run_parallel([bench], 1, display.changed)
            else:
                bench.state = "left out"
            children = [*writer.run.children, *(["bench"] if is_run(writer.folder / "bench") else [])]
            # Sealed before the report is made, so that the report can read how it ended.
            codes = [Exit(step.exit_code) for step in (*checks, bench) if step.exit_code is not None and step.exit_code in list(Exit)]
            codes += [Exit.INTERNAL for step in (*checks, bench) if step.exit_code is not None and step.exit_code not in list(Exit)]
            code = worst(codes)
            writer.finish(_OUTCOMES.get(code, "error"), code)
            writer.update(children=children)
            if children:
                run_parallel([report], 1, display.changed)
                if report.exit_code:
                    code = worst([code, Exit.INTERNAL])
                elif is_run(writer.folder / "report"):
                    writer.update(children=[*children, "report"], files={**writer.run.files, "report": "report/report.html"})
    except KeyboardInterrupt:
        done = [f"check-{t.label}" for t in planned if is_run(writer.folder / f"check-{t.label}")]
        writer.update(children=[*done, *(["bench"] if is_run(writer.folder / "bench") else [])])
        writer.finish("interrupted", Exit.INTERRUPTED, "Ctrl-C")
        say(f"interrupted; what was recorded is in {writer.folder}")
        say(f"next: testcard report {writer.folder} shows it")
        return Exit.INTERRUPTED
    writer.finish(_OUTCOMES.get(code, "error"), code)
    _tell([*checks, bench, report], writer, code, as_json)
    summary = writer.folder / "report" / "summary.md"
    if summary.is_file():
        commands = resolve("testcard.reports.ci.github:workflow_commands_of")([RunReader(writer.folder)])
        github.tell(summary.read_text(encoding="utf-8"), commands, as_json=as_json)
    return code


def _check_arguments(target: _Planned, folder: Path, common: list[str]) -> list[str]:
    arguments = ["check", target.section.provider, "--base-url", target.base_url, "--out", str(folder / f"check-{target.label}"), *common]
    arguments += [part for operation in target.section.operations for part in ("--operation", operation)]
    if target.section.models:
        arguments += ["--model", target.section.models[0]]
    return [*arguments, *(["--live"] if target.section.live else [])]


def _key_variable(index: int) -> str:
    return f"TESTCARD_TARGET_KEY_{index}"


def _bench_arguments(ready: list[_Planned], folder: Path, common: list[str], workload: str | None) -> list[str]:
    arguments = ["bench", "--out", str(folder / "bench"), *common, *(["--workload", workload] if workload else [])]
    for index, target in enumerate(ready):
        arguments += ["--target", f"{target.section.provider}={target.base_url}", "--target-key-env", _key_variable(index)]
    for model in dict.fromkeys(model for target in ready for model in target.section.models):
        arguments += ["--model", model]
    return [*arguments, *(["--live"] if any(target.section.live for target in ready) else [])]


_WORDS = {
    Exit.PASS: "pass",
    Exit.GATE_FAILED: "gate failed",
    Exit.USAGE: "usage error",
    Exit.TARGET: "target unreachable or key refused",
    Exit.INTERNAL: "internal error",
    Exit.INCONCLUSIVE: "inconclusive",
    Exit.INTERRUPTED: "interrupted",
}


def _tell(steps: list[Step], writer: RunWriter, code: Exit, as_json: bool) -> None:
    page = writer.folder / "report" / "report.html"
    if as_json:
        parts = {step.name: step.exit_code for step in steps}
        click.echo(
            json.dumps(
                {"outcome": writer.run.outcome, "exit_code": int(code), "run": str(writer.folder), "report": str(page), "steps": parts}
            )
        )
        return
    for step in steps:
        if step.exit_code not in (Exit.PASS, None):
            say(f"{step.name}: {_WORDS.get(Exit(step.exit_code), '') if step.exit_code in list(Exit) else f'ended with {step.exit_code}'}")
            for line in step.talk[-6:]:
                say(f"    {line}")
    click.echo(f"{_WORDS[code].upper()}  {writer.folder}")
    if page.is_file():
        click.echo(f"report  {page}")
        click.echo(f"open    {page.resolve().as_uri()}")


class _Display:
    """All steps at once on a terminal; elsewhere a line when a step starts or ends, and every 10 s."""

    def __init__(self, steps: list[Step]) -> None:
        self.steps = steps
        self._terminal = sys.stderr.isatty() and os.environ.get("TESTCARD_PROGRESS", "live") == "live"
        self._live: Any = None
        self._stop = threading.Event()
        self._ticker: threading.Thread | None = None

    def __enter__(self) -> _Display:
        if self._terminal:
            from rich.console import Console
            from rich.live import Live

            live = Live(console=Console(stderr=True), refresh_per_second=5, get_renderable=self._table)
            live.start()
            self._live = live
        else:
            self._ticker = threading.Thread(target=self._tick, daemon=True)
            self._ticker.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if self._live is not None:
            self._live.stop()

    def changed(self, step: Step) -> None:
        """A step is about to start, or has ended."""
        if self._terminal:
            return
        if step.exit_code is None:
            say(f"{step.name}: started")
        else:
            word = _WORDS.get(Exit(step.exit_code), "") if step.exit_code in list(Exit) else f"ended with {step.exit_code}"
            say(f"{step.name}: {word} after {step.elapsed_s:.1f} s")

    def _tick(self) -> None:
        while not self._stop.wait(PLAIN_INTERVAL_S):
            for step in self.steps:
                if step.state == "running":
                    share = f" {step.done / step.total:.0%}" if step.total else ""
                    say(f"{step.name}:{share} {_fields(step)} ({step.elapsed_s:.0f} s)")

    def _table(self) -> Any:
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        table = Table.grid(padding=(0, 2))
        for step in self.steps:
            mark, style = {"waiting": ("·", "dim"), "running": ("▸", "bold"), "left out": ("–", "dim")}.get(step.state, ("✓", "green"))
            if step.state == "done" and step.exit_code:
                mark, style = ("!", "yellow") if step.exit_code == Exit.INCONCLUSIVE else ("✗", "red")
            bar: Any = ""
            if step.state == "running":
                bar = ProgressBar(
                    total=step.total or 1,
                    completed=step.done if step.total else 0,
                    width=24,
                    pulse=not step.total,
                    animation_time=time.monotonic(),
                )
            elif step.state == "done":
                bar = _WORDS.get(Exit(step.exit_code), "") if step.exit_code in list(Exit) else f"ended with {step.exit_code}"
            seconds = f"{step.elapsed_s:5.1f} s" if step.started_s else ""
            table.add_row(Text(mark, style=style), Text(step.name, style=style), bar, seconds, Text(_fields(step), style="dim"))
        return table


def _fields(step: Step) -> str:
    return "  ".join(f"{name} {value}" for name, value in step.fields.items() if value not in (None, ""))
