"""`testcard evaluate`: check, load and compare every target, and say where the report is."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import click

from testcard.harness.child_processes import ChildCommand, ChildProcesses, is_run, usable
from testcard.harness.cli import github, say
from testcard.harness.cli.options import CONFIG, MODEL, PATH, PROVIDER, USD, limit_option, option, takes
from testcard.harness.config import Config, PricesSection, TargetSection, load_config, providers_of
from testcard.harness.errors import Exit, UsageError, worst
from testcard.harness.extras import resolve
from testcard.harness.intake.limits import said
from testcard.harness.pricing import Pricing
from testcard.harness.progress import PLAIN_INTERVAL_S
from testcard.harness.redaction import keep_secret
from testcard.harness.runs.folder import RunReader, RunWriter, default_folder, require_free
from testcard.harness.runs.records import Outcome, TargetRecord
from testcard.harness.targets import (
    KEY_ENV,
    MOCK_LATENCY,
    checked_base_url,
    embedded_mocks,
    is_loopback,
    is_testcard_mock,
    mock_name,
    named_target,
    read_key,
    refuse_one_key_for_all,
)
from testcard.harness.text.commands import shown_path, typed_path
from testcard.harness.text.words import GLYPHS, listing, wrapped
from testcard.harness.wire.addresses import allowed_hosts
from testcard.specs.loader import Provider, bundled_ids, load_provider

DEFAULT_WORKLOAD = "quick"
#: Checks side by side: each keeps a core busy.
CHECKS_AT_ONCE = 2
#: What `--demo` makes of the mocks that draw pictures, one after the other: words for a person, flags of `testcard mock`.
DEMO = (
    ("slow", ("--latency", "lognormal:0.4,0.35")),
    ("fast and steady", ("--latency", "lognormal:0.06,0.2")),
    ("lets 14 requests a second through", ("--latency", "lognormal:0.09,0.3", "--rate-limit", "14/s")),
    (
        "some pictures of half the size, some answers 500",
        ("--latency", "lognormal:0.12,0.4", "--fault", "image.size@0.083", "--fault", "http.no-server-error/on-valid@0.05"),
    ),
)
_OUTCOMES: dict[Exit, Outcome] = {
    Exit.PASS: "pass",
    Exit.GATE_FAILED: "fail",
    Exit.INCONCLUSIVE: "inconclusive",
    Exit.INTERRUPTED: "interrupted",
}


@dataclass(frozen=True, slots=True)
class _Options:
    """What a person may say to `evaluate`."""

    config_file: Annotated[Path | None, option(*CONFIG[0], **CONFIG[1])] = None
    out: Annotated[
        Path | None, option("--out", type=PATH, metavar="DIR", help="Folder for the run (new). Default: testcard-runs/evaluate-<time>.")
    ] = None
    demo: Annotated[
        bool,
        option(
            "--demo",
            is_flag=True,
            help="Evaluate mocks that behave differently (slow, limited, faulty) instead of targets, to see what a report says. Exits 1.",
        ),
    ] = False
    live: Annotated[bool, option("--live", is_flag=True, help="Allow targets that are not on this machine. It can cost money.")] = False
    models: Annotated[
        tuple[str, ...],
        option(
            "--model", type=MODEL, multiple=True, metavar="M", help="Model to ask each target for (repeatable): a check takes the first."
        ),
    ] = ()
    max_requests: Annotated[
        int | None,
        option(
            "--max-requests", type=click.IntRange(0), metavar="N", help="For each check, and for the whole benchmark: no more requests."
        ),
    ] = None
    max_images: Annotated[
        int | None, option("--max-images", type=click.IntRange(0), metavar="N", help="For each check: no more billed pictures.")
    ] = None
    max_downloads: Annotated[
        int | None,
        option(
            "--max-downloads",
            type=click.IntRange(0),
            metavar="N",
            help="For each check, and for the whole benchmark: fetch pictures behind addresses no more often.",
        ),
    ] = None
    max_cost: Annotated[
        float | None, option("--max-cost", type=USD, metavar="USD", help="For each check, and for the whole benchmark: spend no more.")
    ] = None
    slos: Annotated[
        tuple[str, ...], option("--slo", multiple=True, metavar="EXPR", help="Objective of the benchmark, such as 'p95<8s' (repeatable).")
    ] = ()
    workload: Annotated[
        str | None,
        option(
            "--workload",
            metavar="FILE|NAME",
            help="Workload of the benchmark: a name or a file. Default: the config's, else quick (live, where a target is).",
        ),
    ] = None
    sizes: Annotated[
        tuple[str, ...],
        option(
            "--size",
            multiple=True,
            metavar="WxH",
            help="Size of the benchmark's pictures, for all targets (repeatable). Default: 1024x1024, else the nearest that all document.",
        ),
    ] = ()
    seed: Annotated[int | None, option("--seed", type=int, metavar="N", help="Seed of checks and arrivals.")] = None
    quiet: Annotated[
        bool, option("--quiet", "-q", is_flag=True, help="No progress on stderr; errors, and why the result is no pass, are still told.")
    ] = False
    as_json: Annotated[bool, option("--json", is_flag=True, help="Print the result as JSON.")] = False

    @property
    def for_children(self) -> list[str]:
        """The flags that checks and the benchmark get alike."""
        config = ["--config", str(self.config_file)] if self.config_file else []
        given = {
            "--seed": self.seed,
            "--max-requests": self.max_requests,
            "--max-downloads": self.max_downloads,
            "--max-cost": self.max_cost,
        }
        limits = [part for one in said() for part in ("--limit", one)] + [part for one in allowed_hosts() for part in ("--allow-host", one)]
        return [*config, *limits, *(part for name, value in given.items() if value is not None for part in (name, str(value)))]

    def applied(self, config: Config, names: Sequence[str]) -> Config:
        """The configuration with what the command line says in place: flags over file. Targets that it names are the only ones."""
        named = [named_target(name) for name in names]
        for provider, _ in named:
            load_provider(provider, config.providers.path)  # a wrong one is told as the argument that it is
        sections = tuple(TargetSection(provider=provider, base_url=url) for provider, url in named) or config.target
        sections = sections or tuple(TargetSection(provider=name) for name in bundled_ids())
        limits = {name: value for name, value in (("max_requests", self.max_requests), ("max_cost", self.max_cost)) if value is not None}
        update = {"live": True} if self.live else {}
        return config.model_copy(
            update={
                "target": tuple(one.model_copy(update={**update, **({"models": self.models} if self.models else {})}) for one in sections),
                "check": config.check.model_copy(update=limits),
                "bench": config.bench.model_copy(update=limits),
            }
        )


@dataclass(frozen=True, slots=True)
class _Planned:
    """A target with the URL to talk to and its key (None: whatever the child finds by itself)."""

    section: TargetSection
    provider: Provider
    base_url: str
    mock: bool
    label: str
    api_key: str | None
    prices: PricesSection = field(default_factory=PricesSection)
    behaviour: str = ""  # of a mock of `--demo`

    def record(self) -> TargetRecord:
        """The target as run.json keeps it."""
        return TargetRecord(
            provider=self.provider.id,
            name=self.provider.profile.name,
            base_url=self.base_url,
            mock=self.mock,
            models=list(self.section.models),
            spec_digest=self.provider.spec_digest,
            profile_digest=self.provider.profile_digest,
            prices=Pricing(self.provider, self.mock, self.prices).origin,
        )


@click.command()
@click.argument("names", type=PROVIDER, metavar="[PROVIDER[=URL]]...", nargs=-1)
@takes("options", _Options)
@limit_option
def evaluate(names: tuple[str, ...], options: _Options) -> int:
    """Check, load and compare every target, then write one report.

    Without a target, those of testcard.toml are evaluated, else the five bundled providers, against mocks on this machine.
    The limits under [check] hold for each target's check, those under [bench] for the benchmark of all of them.

    Example: testcard evaluate nanogpt=http://127.0.0.1:8000 nebul --out testcard-runs/today
    """
    if options.demo and (names or options.live):
        raise UsageError("--demo brings its own targets", hint="leave out the targets and --live, or --demo")
    config = options.applied(load_config(options.config_file), names)
    if options.demo:
        config = config.model_copy(update={"target": tuple(TargetSection(provider=name) for name in bundled_ids())})
    if options.out is not None:
        require_free(options.out)
    # Found out now, not after the checks have been paid for.
    for objective in options.slos:
        resolve("testcard.harness.statistics.slo:parse")(objective)
    workload = resolve("testcard.benchmarks.plan.workload:load_workload")(options.workload or config.bench.workload or DEFAULT_WORKLOAD)
    if options.sizes:
        data = {**workload.model_dump(), "sizes": options.sizes}
        workload = resolve("testcard.benchmarks.plan.workload:parse_workload")(data, "the flags")
    with ExitStack() as stack:
        planned = _plan(config, stack, demo=options.demo)
        sizes = resolve("testcard.benchmarks.plan.sizes:announced")(planned, [target.section for target in planned], workload)
        writer = RunWriter.create(
            options.out or default_folder("evaluate"),
            "evaluate",
            targets=[target.record() for target in planned],
            seed=options.seed,
            config=config.model_dump(mode="json"),
        )
        stack.enter_context(writer)  # however it ends, run.json says how
        own = [target.label for target in planned if target.section.base_url is None]
        if options.demo and not options.quiet:
            for target in planned:
                say(f"demo: {target.provider.profile.name}: {target.behaviour or 'steady'}")
        elif own and not options.quiet:
            whose = "any target" if len(own) == len(planned) else ", ".join(own)
            say(f"No base URL is given for {whose}: using mocks on this machine, whose latency and prices are made up.")
        for target in planned:
            if len(target.section.models) > 1 and not options.quiet:
                say(f"check {target.label} asks for {target.section.models[0]}, the first of its models; the benchmark loads all of them.")
        for line in sizes if not options.quiet else ():
            say(f"benchmark {line}")
        return _Evaluation(writer, planned, options).run()


def _plan(config: Config, stack: ExitStack, *, demo: bool = False) -> list[_Planned]:
    """The targets with their URLs; starts the mocks that are needed. Everything that can be wrong is found before anything runs.

    `demo`: every mock that draws pictures behaves in another way.
    """
    sections, providers = config.target, providers_of(config)
    labels: list[str] = []
    keys: list[str | None] = []
    for section, provider in zip(sections, providers, strict=True):
        before = sum(label.split("~")[0] == provider.id for label in labels)
        labels.append(f"{provider.id}~{before + 1}" if before else provider.id)
        keys.append(_key_of(section, provider, config) if section.base_url is not None else None)
    refuse_one_key_for_all(
        [
            (provider, section.base_url)
            for section, provider in zip(sections, providers, strict=True)
            if section.base_url is not None and not os.environ.get(section.key_env or "")
        ]
    )
    wanted = list(dict.fromkeys(mock_name(p) for section, p in zip(sections, providers, strict=True) if section.base_url is None))
    drawing = [provider.id for provider in providers if "generate" in provider.profile.tasks]
    behaviours = dict(zip(drawing, DEMO, strict=False)) if demo else {}
    usual = [name for name in wanted if name not in behaviours]
    started = [embedded_mocks(usual, options=["--latency", MOCK_LATENCY])] if usual else []
    started += [embedded_mocks([name], options=flags) for name, (_, flags) in behaviours.items()]
    mocks = [stack.enter_context(each) for each in started]
    places = {name: (url, each.api_key) for each in mocks for name, url in each.base_urls.items()}
    planned: list[_Planned] = []
    for section, provider, label, key in zip(sections, providers, labels, keys, strict=True):
        prices = config.prices.get(provider.id, PricesSection())
        if section.base_url is None:
            words, _ = behaviours.get(provider.id, ("", ()))
            planned.append(_Planned(section, provider, places[provider.id][0], True, label, places[provider.id][1], prices, words))
        else:
            base_url = checked_base_url(section.base_url)
            mock = is_loopback(base_url) and is_testcard_mock(base_url)
            planned.append(_Planned(section, provider, base_url, mock, label, key, prices))
    return planned


def _key_of(section: TargetSection, provider: Provider, config: Config) -> str | None:
    """The key for a target that the configuration places somewhere; `UsageError` where it must not, or cannot, be talked to."""
    base_url = checked_base_url(section.base_url or "")
    key = read_key(provider) if section.key_env is None else os.environ.get(section.key_env) or read_key(provider)
    keep_secret(key)
    if is_loopback(base_url):
        return key
    if not section.live:
        raise UsageError(
            f"{base_url} is not on this machine", hint="add --live, or write live = true below it; requests there can cost money"
        )
    for name, limits in (("check", config.check), ("bench", config.bench)):
        if limits.max_cost is None and limits.max_requests is None:
            raise UsageError(
                f"{base_url} is live, and nothing bounds what its {name} may spend",
                hint=f"add --max-cost or --max-requests, or write max_cost or max_requests below [{name}] in testcard.toml",
            )
    if section.key_env and not os.environ.get(section.key_env):
        raise UsageError(f"{section.key_env}, which the target {provider.id} names as key_env, is not set")
    if key is None and provider.profile.auth.header is not None:
        raise UsageError(f"there is no key for {provider.profile.name}", hint=f"set {provider.profile.auth.key_env}")
    return key


class _Evaluation:
    """The children of one evaluation, in order, and how it ends."""

    def __init__(self, writer: RunWriter, planned: list[_Planned], options: _Options) -> None:
        self._writer = writer
        self._options = options
        self._planned = planned
        self._checks = [
            ChildCommand(
                f"check {target.label}",
                _check_arguments(target, writer.folder, options),
                {KEY_ENV: target.api_key} if target.api_key else {},
            )
            for target in planned
        ]
        # Several targets, several keys: each travels in a variable of its own, and one that would win over all is left out.
        self._bench = ChildCommand("bench", [], without=[KEY_ENV])
        self._report = ChildCommand("report", ["report", str(writer.folder), "--out", str(writer.folder / "report")])

    def run(self) -> Exit:
        """Runs everything, seals the run whatever happens, prints the result; the exit code of the command."""
        writer = self._writer
        try:
            code = asyncio.run(self._carry_out())
        except BaseException as error:
            stopped = isinstance(error, KeyboardInterrupt)
            self._seal(Exit.INTERRUPTED if stopped else Exit.INTERNAL, "interrupted" if stopped else f"{type(error).__name__}: {error}")
            raise
        self._tell(code)
        if code is Exit.INTERRUPTED:
            return code
        summary = writer.folder / "report" / "summary.md"
        if summary.is_file():
            commands = resolve("testcard.reports.ci.github:workflow_commands_of")([RunReader(writer.folder)])
            github.tell(summary.read_text(encoding="utf-8"), commands, as_json=self._options.as_json)
        return code

    @property
    def _children(self) -> list[ChildCommand]:
        return [*self._checks, self._bench, self._report]

    async def _carry_out(self) -> Exit:
        with ChildrenDisplay(self._children, quiet=self._options.quiet) as display:
            async with ChildProcesses(display.changed, display.interrupted) as processes:
                ticker = asyncio.create_task(display.tick())
                try:
                    return await self._one_after_the_other(processes)
                finally:
                    ticker.cancel()

    async def _one_after_the_other(self, processes: ChildProcesses) -> Exit:
        await processes.run(self._checks, at_once=min(CHECKS_AT_ONCE, os.cpu_count() or 1))
        ready = [target for target, check in zip(self._planned, self._checks, strict=True) if usable(check)]
        if ready and not processes.stopping:
            self._bench.arguments = _bench_arguments(ready, self._writer.folder, self._options)
            self._bench.environment = {_key_variable(index): target.api_key or "" for index, target in enumerate(ready)}
            await processes.run([self._bench])
        else:
            self._bench.state = "left out"
        code = worst([child.result for child in (*self._checks, self._bench) if child.result is not None])
        if processes.stopping:
            self._report.state = "left out"
            self._seal(Exit.INTERRUPTED, "interrupted")
            return Exit.INTERRUPTED
        died = "; ".join(f"{child.name}: {child.words}" for child in (*self._checks, self._bench) if (child.exit_code or 0) < 0) or None
        # Sealed before the report is made, so that the report can read how it ended.
        self._seal(code, died)
        if not self._writer.run.children:
            self._report.state = "left out"
            return code
        await processes.run([self._report])
        if processes.stopping:
            code = Exit.INTERRUPTED
        elif self._report.result is not Exit.PASS:
            code = worst([code, Exit.INTERNAL])
        self._seal(code, died)
        return code

    def _seal(self, code: Exit, reason: str | None = None) -> None:
        """Writes into run.json what there is and how it ended."""
        folder = self._writer.folder
        names = [*(f"check-{target.label}" for target in self._planned), "bench", "report"]
        report = {"report": "report/report.html"} if is_run(folder / "report") else {}
        self._writer.update(children=[name for name in names if is_run(folder / name)], files={**self._writer.run.files, **report})
        self._writer.finish(_OUTCOMES.get(code, "error"), code, reason)

    def _tell(self, code: Exit) -> None:
        """Says on stderr what went wrong, and prints the result."""
        folder, page = self._writer.folder, self._writer.folder / "report" / "report.html"
        for child in self._children if code is not Exit.INTERRUPTED else []:
            if child.result not in (Exit.PASS, None):
                say(f"{child.name}: {child.words}")
                for line in [*child.talk][-6:]:
                    say(f"    {line}")
        if not any(usable(check) for check in self._checks) and code is not Exit.INTERRUPTED:
            say("bench: left out, because no check found its target at work")
        if code is Exit.INTERRUPTED:
            say(f"interrupted; what was recorded is in {shown_path(folder)}")
            say(f"next: testcard report {typed_path(folder)} shows it")
        if self._options.as_json:
            outcome = {"outcome": self._writer.run.outcome, "exit_code": int(code), "run": str(folder), "report": str(page)}
            click.echo(json.dumps({**outcome, "steps": {child.name: child.exit_code for child in self._children}}))
        elif code is not Exit.INTERRUPTED:
            answer = folder / "report" / "answer.txt"
            if answer.is_file():
                click.echo(wrapped(answer.read_text(encoding="utf-8"), sys.stdout))
            click.echo(f"{code.words.upper()}  {shown_path(folder)}")
            if page.is_file():
                click.echo(f"report  {shown_path(page)}")
                click.echo(f"open    {page.resolve().as_uri()}")


def _check_arguments(target: _Planned, folder: Path, options: _Options) -> list[str]:
    arguments = ["check", target.section.provider, "--base-url", target.base_url, "--out", str(folder / f"check-{target.label}")]
    arguments += [part for operation in target.section.operations for part in ("--operation", operation)]
    arguments += ["--model", target.section.models[0]] if target.section.models else []
    arguments += ["--max-images", str(options.max_images)] if options.max_images is not None else []
    return [*arguments, *options.for_children, *(["--live"] if target.section.live else [])]


def _key_variable(index: int) -> str:
    return f"TESTCARD_TARGET_KEY_{index}"


def _bench_arguments(ready: list[_Planned], folder: Path, options: _Options) -> list[str]:
    """Each target goes with its own models, operations and leave to go off this machine."""
    arguments = ["bench", "--out", str(folder / "bench"), *options.for_children]
    arguments += ["--workload", options.workload] if options.workload else []
    arguments += [part for slo in options.slos for part in ("--slo", slo)]
    arguments += [part for size in options.sizes for part in ("--size", size)]
    for index, target in enumerate(ready):
        section = target.section.model_copy(update={"base_url": target.base_url, "key_env": _key_variable(index)})
        arguments += ["--target-section", section.model_dump_json(exclude_defaults=True)]
    return arguments


_STATES = {"waiting": ("·", "dim"), "running": ("▸", "bold"), "left out": ("–", "dim")}
_ENDS: dict[Exit | None, tuple[str, str]] = {
    Exit.PASS: (GLYPHS["pass"], "green"),
    Exit.INCONCLUSIVE: (GLYPHS["inconclusive"], "yellow"),
    Exit.INTERRUPTED: (GLYPHS["not-run"], "yellow"),
}


class ChildrenDisplay:
    """A table that is drawn again on a terminal; elsewhere a line when a command starts or ends, and for each one every 10 s."""

    def __init__(self, children: Sequence[ChildCommand], *, quiet: bool = False) -> None:
        self.children = children
        self.notice = ""
        self._quiet = quiet
        self._terminal = not quiet and sys.stderr.isatty() and os.environ.get("TESTCARD_PROGRESS", "live") == "live"
        self._live: Any = None

    def __enter__(self) -> ChildrenDisplay:
        if self._terminal:
            from rich.console import Console
            from rich.live import Live

            self._live = Live(console=Console(stderr=True), refresh_per_second=5, get_renderable=self._table)
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def changed(self, child: ChildCommand) -> None:
        """A command is about to start, or has ended."""
        if self._terminal or self._quiet:
            return
        say(f"{child.name}: started" if child.exit_code is None else f"{child.name}: {child.words} after {child.elapsed_s:.1f} s")

    def interrupted(self, times: int) -> None:
        """A stop was asked for, so many times by now."""
        running = [child.name for child in self.children if child.state == "running"]
        if times > 1 or not running:
            self.notice = "interrupted"
        else:
            self.notice = f"interrupted: waiting for {listing(running)} to save what they have (again: abort)"
        if not self._terminal:
            say(self.notice)

    async def tick(self) -> None:
        """Says how far each running command is, every 10 s, where nothing is drawn; runs until it is cancelled."""
        while True:
            await asyncio.sleep(PLAIN_INTERVAL_S)
            for child in self.children if not (self._terminal or self._quiet) else ():
                if child.state == "running" and (child.total or child.elapsed_s >= PLAIN_INTERVAL_S):
                    share = f"{child.done / child.total:.0%}" if child.total else ""
                    said = " ".join(filter(None, (share, _fields(child)))) or "getting ready"
                    say(f"{child.name}: {said} ({child.elapsed_s:.0f} s)")

    def _table(self) -> Any:
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        table = Table.grid(padding=(0, 2))
        for child in self.children:
            mark, style = _STATES.get(child.state) or _ENDS.get(child.result, (GLYPHS["fail"], "red"))
            bar: Any = child.words
            if child.state == "running":
                bar = ProgressBar(
                    total=child.total or 1,
                    completed=child.done if child.total else 0,
                    width=24,
                    pulse=not child.total,
                    animation_time=time.monotonic(),
                )
            seconds = f"{child.elapsed_s:5.1f} s" if child.started_s else ""
            table.add_row(Text(mark, style=style), Text(child.name, style=style), bar, seconds, Text(_fields(child), style="dim"))
        return Group(table, Text(self.notice)) if self.notice else table


def _fields(child: ChildCommand) -> str:
    return "  ".join(f"{name} {value}" for name, value in child.fields.items() if value not in (None, ""))
