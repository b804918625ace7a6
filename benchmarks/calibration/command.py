"""`testcard calibrate`: measures what this machine can be trusted with as a load generator, on servers that it starts itself.

The measurements of a calibration: what `bench` would do, through its own load process, on servers whose truth is known.

The truth of a server of known timing is computed, not measured: the same input gives the same truth.
"""

from __future__ import annotations

import heapq
import math
import os
import platform
import random
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from statistics import NormalDist
from typing import TYPE_CHECKING, Any, Literal

import click
import msgspec

from testcard.benchmarks.calibration.record import Answers, Calibration, Fidelity, Level, Machine, Quantile
from testcard.benchmarks.calibration.servers import ServerCount, ServerPlan, serving
from testcard.benchmarks.load.facts import stage_facts
from testcard.benchmarks.load.turns import schedule
from testcard.benchmarks.plan.job import BlockJob, CellJob, FleetJob, Job, TargetJob
from testcard.benchmarks.plan.workload import Workload
from testcard.benchmarks.run.session import Session
from testcard.benchmarks.show.view import View
from testcard.harness.errors import Exit, Interrupted, TestcardError
from testcard.harness.progress import Progress
from testcard.harness.runs.folder import tool_version
from testcard.harness.runs.records import Block
from testcard.harness.runs.samples import SHARD_PATTERN, read_shard
from testcard.harness.statistics.percentiles import nearest
from testcard.harness.stops import Stop, sentences

if TYPE_CHECKING:
    import pandas as pd


def lognormal_delays_s(median_s: float, sigma: float, count: int, seed: int) -> list[float]:
    """`count` delays with exactly the quantiles of a log-normal distribution, in an order drawn from `seed`.

    The i-th in size is the distribution's quantile at (i + ½)/count, so that no luck of drawing stands between what was
    measured and what is true. `sigma` is the standard deviation of the logarithm.
    """
    normal = NormalDist()
    delays = [median_s * math.exp(sigma * normal.inv_cdf((index + 0.5) / count)) for index in range(count)]
    random.Random(seed).shuffle(delays)
    return delays


def replay_s(
    due_s: Sequence[float], delays_s: Sequence[float], *, freeze_s: tuple[float, float] | None = None, cap: int | None = None
) -> list[float]:
    """True latencies (from when each was due, in its order) of a schedule on a server that takes `delays_s` in turn.

    What reaches the server within `freeze_s` (seconds after its first request) begins at the end of it. With `cap`, so many are
    in flight at most, and the next waits, in order, until one is done.
    """
    busy: list[float] = []
    found: list[float] = []
    zero: float | None = None
    for index, due in enumerate(due_s):
        begin = due
        if cap is not None and len(busy) >= cap:
            begin = max(due, heapq.heappop(busy))
        zero = begin if zero is None else zero
        start = begin
        if freeze_s is not None and freeze_s[0] <= begin - zero < freeze_s[1]:
            start = zero + freeze_s[1]
        done = start + delays_s[index % len(delays_s)]
        if cap is not None:
            heapq.heappush(busy, done)
        found.append(done - due)
    return found


@dataclass
class Ladder:
    """Climbs `shares` of the peak; a level that is not trusted gets one more try, and the climb ends where that fails too."""

    shares: tuple[float, ...]
    peak: Level | None = None
    levels: list[Level] = field(default_factory=list)
    _again: bool = False
    _over: bool = False

    def next_rps(self) -> float | None:
        """The rate to try next, in round numbers; None when the climb is over, or has no peak to start from."""
        if self.peak is None or self._over or len(self.levels) >= len(self.shares):
            return None
        return rounded(self.peak.achieved_rps * self.shares[len(self.levels)])

    def tried(self, level: Level) -> None:
        """Takes in what came of the rate that was tried."""
        if not level.trusted and not self._again:
            self._again = True  # a machine has hiccups; a rate that it cannot do fails twice
            return
        self._again = False
        self.levels.append(level)
        self._over = not level.trusted

    @property
    def trusted_rps(self) -> float | None:
        """The highest rate below the first that was not trusted; None where the lowest was not."""
        return max((level.offered_rps for level in self.levels if level.trusted and level.offered_rps is not None), default=None)

    @property
    def at_ceiling(self) -> bool:
        """Whether there are levels, and each was trusted: faster ones may well be possible."""
        return bool(self.levels) and all(level.trusted for level in self.levels)


def rounded(rate: float) -> float:
    """A rate with two digits that count, and at least 0.1/s."""
    return max(0.1, float(f"{rate:.2g}"))


PROVIDER = Path(__file__).parent / "provider"
OPERATION, MODEL = "generate", "calibration"
SMALL_BYTES, LARGE_BYTES = 1_500, 1_400_000
#: Users of the closed loop that finds the peak, and of its peers in tests/performance.
CONNECTIONS = 16
PEAK = "peak"
#: An answer's rate counts as achieved from so much of what was offered on.
KEEPS_UP = 0.99
#: A percentile may be off by so much of the truth, or by so many seconds.
TOLERANCE, TOLERANCE_S = 0.05, 0.002
QUANTILES = {"p50": 0.50, "p90": 0.90, "p95": 0.95, "p99": 0.99}
#: These decide; p99 of some hundred requests is three of them.
DECIDING = ("p50", "p90", "p95")


@dataclass(frozen=True, slots=True)
class Extent:
    """How much is measured: seconds of a level, shares of the peak to try and seconds for all of them, seconds of a timing.

    No level begins later than `climb_s` after the peaks. `pixels`: also with every pixel decoded, in a `QUICK` climb.
    """

    level_s: float
    shares: tuple[float, ...]
    climb_s: float
    timing_s: float
    pixels: bool


QUICK = Extent(0.6, (0.25, 0.5, 0.7, 0.85), 6.0, 1.5, False)
FULL = Extent(1.2, (0.1, 0.25, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9), 20.0, 4.0, True)


class LoadRun:
    """Load on some servers from `processes` processes: jobs with a cell for each server, one after another."""

    def __init__(self, folder: Path, processes: int, progress: Progress) -> None:
        self.folder = folder
        self.processes = processes
        self.progress = progress
        self._jobs = 0

    def load(
        self,
        urls: Sequence[str],
        blocks: list[BlockJob],
        more: Callable[[Session], list[BlockJob]] | None = None,
        **workload: Any,
    ) -> Session:
        """Takes the blocks' turns, then those that `more` gives; samples stay in the session's folder.

        Raises `Interrupted`, or what ended the load process.
        """
        self._jobs += 1
        folder = self.folder / str(self._jobs)
        folder.mkdir()
        whole = Workload.model_validate({"stage": [{"rate_rps": 1, "duration_s": 1}], "prompts": ["calibration"], **workload})
        job = Job(
            folder=str(folder),
            started_s=time.monotonic(),
            seed=1,
            workload=whole.model_dump(mode="json"),
            targets=[
                TargetJob(provider=str(PROVIDER), base_url=url, api_key="none", illustrative_prices=True, may_leave_machine=False)
                for url in urls
            ],
            cells=[
                CellJob(target=index, provider="calibration", operation=OPERATION, task="generate", model=MODEL)
                for index in range(len(urls))
            ],
            blocks=blocks,
            more=more is not None,
            fleet=FleetJob(workers=self.processes, spawn=True) if self.processes > 1 else None,
        )
        session = Session(job, folder, more=None if more is None else lambda: more(session))
        view = View()
        with session.signals_heard():
            for said in session.lines():
                if isinstance(said, Stop):
                    self.progress.say("interrupted: ending")
                elif said.progress is not None:
                    load = view.load = said.progress.load
                    self.progress.update(load.passed_s, total=load.planned_s, **view.fields())
        if session.interrupted:
            raise Interrupted("interrupted: a calibration that is not whole says nothing")
        if session.fatal is not None:
            raise session.fatal
        if session.stops:
            error = TestcardError(f"the load stopped early: {sentences(session.stops)}")
            error.exit_code = Exit.INTERNAL
            raise error
        return session


def answers(run: LoadRun, extent: Extent, sizes: Sequence[tuple[str, int]], checked: Literal["structure", "pixels"]) -> list[Answers]:
    """The rates that can be put on servers that answer at once: the peak of a closed loop, then shares of it as open loops."""
    ladders = [Ladder(extent.shares) for _ in sizes]
    until: float | None = None
    with serving([ServerPlan(bytes=size) for _, size in sizes]) as servers:
        first = [
            BlockJob(cell=cell, round=1, stage=PEAK, rate_rps=None, users=CONNECTIONS, warmup_s=0.2, duration_s=extent.level_s)
            for cell in range(len(sizes))
        ]
        waiting = first

        def more(session: Session) -> list[BlockJob]:
            nonlocal waiting, until
            now = time.monotonic()
            until = until if until is not None else now + extent.climb_s
            for job in waiting:
                level = _level(session, job)
                if job.stage == PEAK:
                    ladders[job.cell].peak = level
                else:
                    ladders[job.cell].tried(level)
            waiting = [
                BlockJob(
                    cell=cell, round=1, stage=f"{rate:g}/s", rate_rps=rate, users=None, warmup_s=0.2, duration_s=extent.level_s, exact=True
                )
                for cell, ladder in enumerate(ladders)
                if now < until and (rate := ladder.next_rps()) is not None
            ]
            return waiting

        run.load(servers.urls, first, more, decode=1.0 if checked == "pixels" else 0.0)
    found = []
    for (name, size), ladder in zip(sizes, ladders, strict=True):
        assert ladder.peak is not None
        found.append(
            Answers(
                name=name,
                bytes=size,
                checked=checked,
                peak_rps=ladder.peak.achieved_rps,
                peak_cpu_s_per_request=ladder.peak.cpu_s_per_request,
                trusted_rps=ladder.trusted_rps,
                at_ceiling=ladder.at_ceiling,
                levels=ladder.levels,
            )
        )
    return found


def _level(session: Session, job: BlockJob) -> Level:
    """The last turn of a stage, judged as `bench` judges a row."""
    from testcard.harness.statistics.summary import summarise

    turns = [block for block in session.blocks if (block.cell, block.stage) == (job.cell, job.stage)]
    turns = [block for block in turns if block.sequence == max(block.sequence for block in turns)]
    frame = _samples(session.folder)
    began = min(block.started_s for block in turns)
    mine = frame[(frame["target"] == job.cell) & (frame["stage"] == job.stage) & (frame["scheduled_s"] >= began - 1e-6)]
    row = summarise(mine.reset_index(drop=True), facts=stage_facts(mine, turns, capped=False)).rows[0]
    sent = sum(block.sent for block in turns)
    cpu_s = sum(_cpu_s(block) for block in turns)
    late = row.note if row.outcome == "inconclusive" else None
    wrong = f"{row.requests - row.ok} of {row.requests} requests failed" if row.ok < row.requests else None
    behind = None
    if job.rate_rps is not None and row.achieved_rps < KEEPS_UP * (row.offered_rps or 0.0):
        behind = f"achieved {row.achieved_rps:.4g} of {row.offered_rps:.4g} requests a second"
    why = wrong or late or behind
    return Level(
        offered_rps=job.rate_rps,
        achieved_rps=row.achieved_rps,
        requests=row.requests,
        send_lag_p99_s=row.generator.send_lag_p99_s if job.rate_rps is not None else None,
        cpu_s_per_request=cpu_s / max(sent, 1),
        cpu_percent=row.generator.cpu_percent,
        trusted=why is None,
        why=why,
    )


def _cpu_s(block: Block) -> float:
    """CPU seconds of a turn's load process while it sent."""
    return block.cpu_percent / 100.0 * (block.warmup_s + block.duration_s)


def _samples(folder: Path) -> pd.DataFrame:
    import pandas as pd

    frames = [read_shard(shard).to_pandas() for shard in sorted(folder.glob(SHARD_PATTERN))]
    found: pd.DataFrame = pd.concat(frames, ignore_index=True).sort_values("scheduled_s", ignore_index=True)
    return found


@dataclass(frozen=True, slots=True)
class Timing:
    """A server of known timing under a constant rate, and the latencies that are true of it."""

    name: str
    rate_rps: float
    duration_s: float
    delays_s: tuple[float, ...]
    freeze_s: tuple[float, float] | None = None
    cap: int | None = None

    @property
    def plan(self) -> ServerPlan:
        """Its server."""
        return ServerPlan(bytes=200, delays_s=self.delays_s, freeze_s=self.freeze_s)

    def truth_s(self) -> list[float]:
        """Every true latency, ascending."""
        due = schedule("constant", self.rate_rps, self.duration_s, "")
        return sorted(replay_s(due, self.delays_s, freeze_s=self.freeze_s, cap=self.cap))


def timings(seconds: float) -> list[Timing]:
    """The servers of known timing of a calibration; each takes so many seconds."""
    count = round(100 * seconds)
    # A fifth of the requests: p90 and p95 lie well inside what it delays. Its ends lie beside arrivals, not on them: the server's
    # clock starts with the first request, which takes some milliseconds longer than those that find a connection.
    freeze = (0.3 * seconds + 0.002, 0.5 * seconds + 0.002)
    return [
        Timing("20 ms, always", 100, seconds, (0.02,)),
        Timing("log-normal, median 100 ms, σ 0.5", 100, seconds, tuple(lognormal_delays_s(0.1, 0.5, count, seed=1))),
        Timing(f"50 ms, frozen for {seconds / 5:g} s", 100, seconds, (0.05,), freeze),
        Timing(f"50 ms, frozen for {seconds / 5:g} s, at most 10 in flight", 100, seconds, (0.05,), freeze, cap=10),
    ]


def fidelity(run: LoadRun, wanted: Sequence[Timing]) -> list[Fidelity]:
    """Each server of known timing under its load: what was measured beside what is true. In the order in which they are given, by cap."""
    found: list[Fidelity] = []
    for cap in dict.fromkeys(timing.cap for timing in wanted):
        mine = [timing for timing in wanted if timing.cap == cap]
        with serving([timing.plan for timing in mine]) as servers:
            blocks = [
                BlockJob(
                    cell=cell, round=1, stage=timing.name, rate_rps=timing.rate_rps, users=None, warmup_s=0, duration_s=timing.duration_s
                )
                for cell, timing in enumerate(mine)
            ]
            session = run.load(servers.urls, blocks, arrival="constant", max_in_flight=cap, decode=0.0)
        frame = _samples(session.folder)
        for cell, timing in enumerate(mine):
            samples = frame[frame["target"] == cell]
            found.append(compare(timing, sorted(samples["done_s"] - samples["scheduled_s"]), servers.counts[cell]))
    return found


def compare(timing: Timing, measured_s: Sequence[float], count: ServerCount) -> Fidelity:
    """What was measured beside what is true; not `within` where a request is missing."""
    truth = timing.truth_s()
    quantiles = []
    for name, share in QUANTILES.items():
        true, seen = nearest(truth, share), nearest(measured_s, share) if measured_s else 0.0
        quantiles.append(Quantile(name=name, true_s=true, measured_s=seen, off=seen / true - 1))
    close = all(
        abs(each.measured_s - each.true_s) <= max(TOLERANCE * each.true_s, TOLERANCE_S) for each in quantiles if each.name in DECIDING
    )
    whole = len(measured_s) == len(truth) == count.answers
    return Fidelity(
        name=timing.name, requests=len(measured_s), quantiles=quantiles, within=close and whole, server_late_p99_s=count.late_p99_s
    )


#: Seconds that a calibration takes where nothing keeps the machine busy; for the display only.
USUAL_S, QUICK_USUAL_S = 45.0, 19.0


class Going(Progress):
    """How far the calibration as a whole is, whose jobs each tell of themselves only."""

    began_s: float = 0.0

    def update(self, done: float | None = None, *, total: float | None = None, **fields: Any) -> None:
        """Shows the time that has passed, and of a job's figures what it measures and how fast it sends."""
        known = {name: fields[name] for name in ("stage", "rate", "errors") if name in fields}
        super().update(time.monotonic() - self.began_s, **known)


@click.command(short_help="Measure which rates this machine can be trusted with.")
@click.option("--quick", is_flag=True, help="At most 20 s instead of 60: fewer and shorter levels.")
@click.option("--processes", type=click.IntRange(1, 256), default=1, show_default=True, metavar="N", help="As in bench --processes.")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Write the figures to this JSON file too.")
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON instead of a table.")
def calibrate(quick: bool, processes: int, out: Path | None, as_json: bool) -> int:
    """Measure which rates this machine can be trusted with as a load generator.

    Starts servers of known behaviour on 127.0.0.1 and loads them as bench does: with small and large answers, ever faster, until
    the generator is late or falls behind; and with known delays and a freeze, whose true percentiles are known. Exit 5 when the
    machine cannot be trusted with anything now, because percentiles came out wrong or it was late at the lowest rate.

    Example: testcard calibrate --quick
    """
    extent = QUICK if quick else FULL
    began = time.monotonic()
    machine = Machine(
        cpus=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        platform=platform.platform(),
        python=platform.python_version(),
        load_1min=os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
    )
    with (
        tempfile.TemporaryDirectory(prefix="testcard-calibrate-") as folder,
        Going("calibrate", QUICK_USUAL_S if quick else USUAL_S, unit="s") as going,
    ):
        going.began_s = began
        run = LoadRun(Path(folder), processes, going)
        sizes = [("small", SMALL_BYTES), ("large", LARGE_BYTES)]
        rates = answers(run, extent, sizes, "structure")
        if extent.pixels:
            rates += answers(run, QUICK, sizes[1:], "pixels")
        timed = fidelity(run, timings(extent.timing_s))
    reason = _doubt(rates, timed)
    found = Calibration(
        tool_version=tool_version(),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        took_s=time.monotonic() - began,
        processes=processes,
        machine=machine,
        answers=rates,
        fidelity=timed,
        outcome="pass" if reason is None else "inconclusive",
        reason=reason,
    )
    encoded = msgspec.json.format(msgspec.json.encode(found), indent=2).decode() + "\n"
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(encoded, encoding="utf-8")
    if as_json:
        click.echo(encoded, nl=False)
    else:
        from rich.console import Console

        from testcard.benchmarks.calibration.record import rendered

        Console(file=sys.stdout, width=None if sys.stdout.isatty() else 140).print(rendered(found))
    return Exit.PASS if reason is None else Exit.INCONCLUSIVE


def _doubt(rates: list[Answers], timed: list[Fidelity]) -> str | None:
    """Why this machine cannot be trusted now, or None."""
    if wrong := [one.name for one in timed if not one.within]:
        return "percentiles did not come out true with " + ", ".join(f"“{name}”" for name in wrong)
    if late := [one.name for one in rates if one.trusted_rps is None and one.levels]:
        return f"the generator was late at the lowest rate of {' and '.join(late)} answers"
    return None
