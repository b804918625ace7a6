"""`testcard watch`: look at targets again and again within a daily budget, and tell of changes."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import click
import msgspec

from testcard.harness.check.options import CheckOptions
from testcard.harness.cli import say
from testcard.harness.cli.options import MODEL, PATH, PROVIDER, RULE, USD, Duration, config_option, json_option, option, takes
from testcard.harness.config import Config, TargetSection, load_config, providers_of
from testcard.harness.errors import Exit, UsageError, worst
from testcard.harness.extras import require
from testcard.harness.runs.folder import require_free
from testcard.harness.targets import (
    answers,
    checked_base_url,
    is_loopback,
    is_testcard_mock,
    named_target,
    refuse_one_key_for_all,
    require_live,
)
from testcard.harness.text.words import amount, count, significant, time_span
from testcard.harness.watch.ledger import DailyLimits, DayLedger
from testcard.harness.watch.looking import LookKind, PlannedLook, Watched, WatchLook, look, prepare
from testcard.harness.watch.watching import Intervals, TargetWatch, VerdictChange, WatchListener, day_of
from testcard.specs.loader import load_provider

DEFAULT = Path("testcard-runs") / "watch"
CHECK_EVERY_S = 3600.0
PROBE_EVERY_S = 300.0
_DAY_S = 86400.0
#: So long is waited at the end for a look to write down what it has; its folder is read without that too.
_LAST_LOOK_S = 1.5
_CODES = {
    "pass": Exit.PASS, "fail": Exit.GATE_FAILED, "inconclusive": Exit.INCONCLUSIVE, "unreachable": Exit.TARGET, "error": Exit.INTERNAL,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class WatchFlags:
    """When is looked, what that may cost, and who is told; None and empty: not given."""

    check_s: Annotated[
        float | None, option("--check-every", type=Duration(), metavar="T", help="Time from one check to the next (30m, 6h). Default: 1h.")
    ] = None
    probe_s: Annotated[
        float | None, option("--probe-every", type=Duration(), metavar="T", help="Time from one probe to the next. Default: 5m.")
    ] = None
    no_probe: Annotated[bool, option("--no-probe", is_flag=True, help="Send no probes, only checks.")] = False
    max_requests: Annotated[
        int | None,
        option("--max-requests-per-day", type=click.IntRange(1), metavar="N", help="All targets together, in a day of UTC."),
    ] = None
    max_cost: Annotated[
        float | None, option("--max-cost-per-day", type=USD, metavar="USD", help="All targets together, in a day of UTC.")
    ] = None
    rules: Annotated[
        tuple[str, ...],
        option(
            "--rule",
            type=RULE,
            multiple=True,
            metavar="GLOB",
            help="Check only rules that match (repeatable). Default: what few requests show.",
        ),
    ] = ()
    model: Annotated[str | None, option("--model", type=MODEL, help="The model that requests ask for.")] = None
    live: Annotated[bool, option("--live", is_flag=True, help="Allow targets that are not on this machine. It can cost money.")] = False
    api_key_file: Annotated[Path | None, option("--api-key-file", type=PATH, metavar="FILE", help="Read the key from a file.")] = None
    no_auth: Annotated[bool, option("--no-auth", is_flag=True, help="Send no key.")] = False
    port: Annotated[int | None, option("--port", type=click.IntRange(0, 65535), help="Serve Prometheus metrics here.")] = None
    host: Annotated[str, option("--host", show_default=True, help="The address that metrics are served on.")] = "127.0.0.1"
    webhook: Annotated[
        str | None, option("--webhook", envvar="TESTCARD_WEBHOOK", metavar="URL", help="POST each change of a verdict here.")
    ] = None
    exit_on_change: Annotated[
        bool, option("--exit-on-change", is_flag=True, help="End at the first change: 1 for a broken must, 3 for no answer, 0 for a pass.")
    ] = False
    once: Annotated[bool, option("--once", is_flag=True, help="Look once and end, as from cron; the budget of the day holds.")] = False
    keep: Annotated[
        int | None, option("--keep", type=click.IntRange(1), metavar="N", help="Run folders to keep of each kind and target. Default: 50.")
    ] = None
    out: Annotated[
        Path | None, option("--out", type=PATH, metavar="DIR", help=f"History, runs and what was spent. Default: {DEFAULT}.")
    ] = None


@click.command("watch")
@click.argument("names", type=PROVIDER, metavar="[PROVIDER=URL]...", nargs=-1)
@takes("flags", WatchFlags)
@config_option
@json_option("each look, one line each,")
def watch(names: tuple[str, ...], flags: WatchFlags, config_file: Path | None, as_json: bool) -> int:
    """Look at targets on an interval, within a daily budget, until Ctrl-C; tell of changes.

    A check asks for everything that a few cheap requests can show, a probe is one request. What was spent today is kept in --out and
    reserved there before anything is sent, so that a restart spends nothing twice. Without names: the targets of testcard.toml.

    Example: testcard watch nanogpt=http://127.0.0.1:8000 --check-every 30m --port 9464
    """
    config = load_config(config_file)
    flags = _with_config(flags, config)
    if flags.port is not None:
        require(("watch",), "testcard watch --port")
    limits = DailyLimits(flags.max_requests, flags.max_cost)
    targets = _targets(names, flags, config, limits)
    kinds: tuple[LookKind, ...] = ("check",) if flags.no_probe else ("check", "probe")
    prepared = {}
    for one in targets:
        mock = _is_mock(one) if limits.max_cost_usd is not None else None
        prepared[one.name] = {kind: prepare(one, kind, mock=mock) for kind in kinds}
    intervals = Intervals(flags.check_s or CHECK_EVERY_S, None if flags.no_probe else flags.probe_s or PROBE_EVERY_S)
    stop = threading.Event()
    ledger = DayLedger(flags.out or DEFAULT, limits, [one.name for one in targets], lambda: day_of(time.time()))
    _hold_to_budget(prepared, ledger, limits)
    for one in targets:
        require_free(ledger.folder / one.name / "check")  # a folder of its own each time, so this one is never there
    with ledger:
        _announce(prepared, intervals, ledger)
        listeners: list[WatchListener] = [_Lines(ledger, as_json=as_json)]
        courier = None
        if flags.webhook is not None:
            from testcard.harness.watch.watching import Webhook

            courier = Webhook(flags.webhook, say)
        if flags.port is not None:
            from testcard.harness.watch.metrics import Metrics

            metrics = Metrics(ledger.targets, ledger)
            say(f"metrics: http://{flags.host}:{metrics.serve(flags.port, flags.host)}/metrics")
            listeners.append(metrics)
        clock = _SystemClock(stop)
        watches = [
            TargetWatch(one, prepared[one.name], intervals, ledger, clock, look, listeners, courier=courier, keep=flags.keep or 50)
            for one in targets
        ]
        return _watched(watches, stop, listeners[0], exit_on_change=flags.exit_on_change, once=flags.once)


def _with_config(flags: WatchFlags, config: Config) -> WatchFlags:
    section = config.watch
    return replace(
        flags,
        check_s=flags.check_s if flags.check_s is not None else section.check_every,
        probe_s=flags.probe_s if flags.probe_s is not None else section.probe_every,
        max_requests=flags.max_requests if flags.max_requests is not None else section.max_requests_per_day,
        max_cost=flags.max_cost if flags.max_cost is not None else section.max_cost_per_day,
        port=flags.port if flags.port is not None else section.port,
        keep=flags.keep if flags.keep is not None else section.keep,
    )


def _targets(names: Sequence[str], flags: WatchFlags, config: Config, limits: DailyLimits) -> list[Watched]:
    """The targets that are named, else those of testcard.toml; each has to have an address, and leave to be asked."""
    sections = [TargetSection(provider=one, base_url=url) for one, url in map(named_target, names)] or list(config.target)
    if not sections:
        raise UsageError("no target is named", hint="for instance: testcard watch nanogpt=http://127.0.0.1:8000")
    if not names:
        providers_of(config)  # what is wrong there is told with its line
    found: list[Watched] = []
    known: dict[str, int] = {}
    for section in sections:
        provider = load_provider(section.provider, config.providers.path)
        if section.base_url is None:
            raise UsageError(f"{section.provider} has no base URL", hint=f"write {section.provider}=URL: a watch starts no mock")
        url = checked_base_url(section.base_url)
        live = flags.live or section.live
        if not is_loopback(url) and live and not limits.bounded:
            raise UsageError(
                "a live watch needs a bound on what a day may cost", hint="add --max-cost-per-day USD or --max-requests-per-day N"
            )
        require_live(url, live)
        known[provider.id] = known.get(provider.id, 0) + 1
        name = provider.id if known[provider.id] == 1 else f"{provider.id}-{known[provider.id]}"
        options = CheckOptions(
            provider=section.provider, base_url=url, operations=section.operations, model=flags.model or next(iter(section.models), None),
            rules=flags.rules, no_auth=flags.no_auth, timeout_s=config.check.timeout, live=live, waivers=config.waiver,
            key_file=flags.api_key_file, key_env=section.key_env, search=config.providers.path, prices=config.prices, signals=False,
            strict=config.check.strict,
        )  # fmt: skip
        found.append(Watched(name, options))
    asked = [(load_provider(one.options.provider, one.options.search), str(one.options.base_url)) for one in found]
    refuse_one_key_for_all(asked, flags.api_key_file)
    return found


def _is_mock(one: Watched) -> bool:
    """Whether made-up prices count for it, as a check settles it too. Where nothing answers yet, it may become one."""
    url = str(one.options.base_url)
    return is_loopback(url) and (is_testcard_mock(url) or not answers(url))


def _hold_to_budget(prepared: dict[str, dict[LookKind, PlannedLook]], ledger: DayLedger, limits: DailyLimits) -> None:
    """`UsageError` for a look that would not fit into a whole day's budget, and so would never be sent."""
    for name, looks in prepared.items():
        share = ledger.share(name)
        for kind, one in looks.items():
            if limits.max_cost_usd is not None and one.cost_usd is None:
                raise UsageError(
                    f"--max-cost-per-day needs a price for what a {kind} of {name} asks for, and none is known",
                    hint="state one in testcard.toml (testcard doctor says where), or limit with --max-requests-per-day",
                )
            if share.max_requests is not None and one.requests > share.max_requests:
                raise UsageError(
                    f"a {kind} of {name} takes up to {one.requests} requests, and its share of a day is {share.max_requests}",
                    hint="raise --max-requests-per-day, name fewer targets, or narrow with --rule",
                )
            if share.max_cost_usd is not None and (one.cost_usd or 0.0) > share.max_cost_usd:
                raise UsageError(
                    f"a {kind} of {name} costs up to {amount(one.cost_usd or 0.0)}, and its share of a day is {amount(share.max_cost_usd)}",
                    hint="raise --max-cost-per-day, name fewer targets, or narrow with --rule",
                )


def _announce(prepared: dict[str, dict[LookKind, PlannedLook]], intervals: Intervals, ledger: DayLedger) -> None:
    """Says what a day of this asks for, and for how long its budget lasts."""
    every = {"check": intervals.check_s, "probe": intervals.probe_s}
    requests, cost = 0.0, 0.0
    for name, looks in prepared.items():
        for kind, one in looks.items():
            times = _DAY_S / (every[kind] or _DAY_S)
            requests += one.requests * times
            cost += (one.cost_usd or 0.0) * times
            money = f", {amount(one.cost_usd)}" if one.cost_usd is not None else ", no price known"
            say(f"{name}: a {kind} every {_interval(every[kind] or 0.0)} is at most {count(one.requests, 'request')}{money}")
    lasting = [
        limit / wanted for limit, wanted in ((ledger.limits.max_requests, requests), (ledger.limits.max_cost_usd, cost)) if limit and wanted
    ]
    if lasting and min(lasting) < 1:
        say(
            f"at the most, the budget of a day lasts for {time_span(min(lasting) * _DAY_S)}; then nothing is sent until the next day (UTC). "
            f"Intervals {significant(1 / min(lasting))} times as long would fill the day"
        )
    gone, money_gone = ledger.spent()
    if gone:
        say(f"spent today, before this start: {count(gone, 'request')}, {amount(money_gone)}")


def _interval(seconds: float) -> str:
    shown = time_span(seconds)
    return shown.removeprefix("1 ").removesuffix("s") if shown.startswith("1 ") and shown != "1 s" else shown


class _SystemClock:
    def __init__(self, stop: threading.Event) -> None:
        self._stop = stop

    def now(self) -> float:
        return time.time()

    def wait(self, seconds: float) -> bool:
        return self._stop.wait(min(max(seconds, 0.0), 60.0))  # a clock that is set is noticed within a minute


class _Lines:
    """A line for each look on stdout, changes on stderr."""

    def __init__(self, ledger: DayLedger, *, as_json: bool) -> None:
        self._ledger = ledger
        self._as_json = as_json
        self._lock = threading.Lock()
        self._said: set[tuple[str, str, str]] = set()
        self.words: list[str] = []
        self.change: VerdictChange | None = None
        self.on_change = threading.Event()

    def looked(self, look: WatchLook) -> None:
        with self._lock:
            self.words.append(look.word)
            if self._as_json:
                click.echo(msgspec.json.encode(look).decode())
                return
            spent, cost = self._ledger.spent()
            took = f" {time_span(look.latency_s)}" if look.latency_s is not None else ""
            broken = (
                f": {', '.join(sorted({rule for rule, _ in look.broken}))}" if look.broken else f": {look.reason}" if look.reason else ""
            )
            click.echo(f"{look.at} {look.target} {look.kind} {look.word}{took}{broken} · today {count(spent, 'request')}, {amount(cost)}")

    def put_off(self, target: str, kind: LookKind) -> None:
        with self._lock:
            self.words.append("inconclusive")
            key = (target, kind, day_of(time.time()))
            if key not in self._said:
                self._said.add(key)
                say(f"{target}: no {kind} until tomorrow (UTC): today's budget has no room for it")

    def changed(self, change: VerdictChange) -> None:
        with self._lock:
            said = f"{change.target}: {change.before or 'first look'} → {change.now}"
            if change.newly_broken:
                said += f"; broken: {', '.join(sorted({rule for rule, _ in change.newly_broken}))}"
            if change.kept_again:
                said += f"; kept again: {', '.join(sorted({rule for rule, _ in change.kept_again}))}"
            say(said + (f" ({change.run})" if change.run else ""))
            if change.before is not None or self.change is None:
                self.change = change
            self.on_change.set()


def _watched(watches: Sequence[TargetWatch], stop: threading.Event, lines: WatchListener, *, exit_on_change: bool, once: bool) -> int:
    """Runs each target's watch in a thread of its own until all have ended, one failed, a change ends them, or a person does."""
    assert isinstance(lines, _Lines)
    errors: list[BaseException] = []

    def run(one: TargetWatch) -> None:
        try:
            one.run(once=once)
        except BaseException as error:  # noqa: BLE001 (raised again by the main thread)
            errors.append(error)
            stop.set()

    threads = [threading.Thread(target=run, args=(one,), name=f"watch-{one.watched.name}", daemon=True) for one in watches]
    try:
        for thread in threads:
            thread.start()
        early = exit_on_change and not once
        while any(thread.is_alive() for thread in threads) and not errors and not (early and lines.on_change.is_set()):
            lines.on_change.wait(0.1) if early else time.sleep(0.1)
    finally:
        stop.set()
        for one in watches:
            one.stop()
        until = time.monotonic() + _LAST_LOOK_S
        for thread in threads:
            thread.join(max(0.0, until - time.monotonic()))
    if errors:
        raise errors[0]
    if once and not exit_on_change:
        return worst([_CODES[word] for word in lines.words])
    return _CODES[lines.change.now] if exit_on_change and lines.change is not None else Exit.PASS
