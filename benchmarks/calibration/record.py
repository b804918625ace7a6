"""What a calibration found: its JSON file (`testcard.calibration/1`), and the same as a person reads it. Times in seconds, rates per second. Pure."""

from __future__ import annotations

import math
from typing import Literal

import msgspec
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from testcard.harness.text.words import data_size, significant, time_span


class Level(msgspec.Struct, frozen=True, kw_only=True):
    """One level of load that was tried.

    `offered_rps` is None for the closed loop that finds the peak. `cpu_s_per_request`: CPU time of all load processes while they
    sent, over the requests sent. `cpu_percent` of the busiest process, where 100 is one core. `trusted`: the send lag's p99 is at
    most 10 ms or 1 % of p50, no request was left out, and at least 99 % of what was offered was achieved; `why` says what was not.
    """

    offered_rps: float | None
    achieved_rps: float
    requests: int
    send_lag_p99_s: float | None
    cpu_s_per_request: float
    cpu_percent: float | None
    trusted: bool
    why: str | None = None


class Answers(msgspec.Struct, frozen=True, kw_only=True):
    """The levels tried with one kind of answer; `trusted_rps` is the highest of those below the first that was not trusted.

    `checked`: `structure` (JSON, base64, hash, header, structure and checksums of the picture) or `pixels` (every pixel decoded
    as well). `at_ceiling`: no level was distrusted, so more may well be possible.
    """

    name: str
    bytes: int
    checked: Literal["structure", "pixels"]
    peak_rps: float
    peak_cpu_s_per_request: float
    trusted_rps: float | None
    at_ceiling: bool
    levels: list[Level]


class Quantile(msgspec.Struct, frozen=True, kw_only=True):
    """A percentile of latency: what the server's timeline makes of it, and what was measured. `off`: relative difference."""

    name: str
    true_s: float
    measured_s: float
    off: float


class Fidelity(msgspec.Struct, frozen=True, kw_only=True):
    """One server of known timing. `within`: p50, p90 and p95 are off by at most 5 %, or 2 ms where that is more.

    `server_late_p99_s`: how late the server itself answered, which no generator can know.
    """

    name: str
    requests: int
    quantiles: list[Quantile]
    within: bool
    server_late_p99_s: float | None = None


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """Where it was measured. `load_1min`: the system's load average before the start."""

    cpus: int
    platform: str
    python: str
    load_1min: float | None = None


class Calibration(msgspec.Struct, frozen=True, kw_only=True):
    """A whole calibration: `pass`, or `inconclusive` with the reason why this machine cannot be trusted now."""

    schema: str = "testcard.calibration/1"
    tool_version: str
    created: str
    took_s: float
    processes: int
    machine: Machine
    answers: list[Answers]
    fidelity: list[Fidelity]
    outcome: Literal["pass", "inconclusive"]
    reason: str | None = None


_CHECKED = {"structure": "structure checked", "pixels": "every pixel decoded"}


def rendered(found: Calibration) -> RenderableType:
    """The whole calibration: rates, fidelity, and what they mean."""
    parts: list[RenderableType] = [_rates(found.answers), Text(), _fidelity(found.fidelity), Text()]
    parts += [Text(line) for line in sentences(found)]
    return Group(*parts)


def sentences(found: Calibration) -> list[str]:
    """What the figures mean for whoever puts on load from this machine."""
    each = "this machine" if found.processes == 1 else f"{found.processes} processes of this machine"
    lines = []
    for answer in found.answers:
        what = f"answers of {data_size(answer.bytes)} ({_CHECKED[answer.checked]})"
        cpu = f"{time_span(answer.peak_cpu_s_per_request)} of CPU a request"
        if answer.trusted_rps is None:
            lines.append(f"{what}: {'late at every rate tried' if answer.levels else 'no time to try a rate'} on {each}; {cpu}.")
            continue
        more = " or more" if answer.at_ceiling else ""
        lines.append(f"{what}: trust {each} with up to {significant(answer.trusted_rps, 2)} requests/s{more}; {cpu}.")
    worst = max((abs(q.off) for one in found.fidelity for q in one.quantiles if q.name != "p99"), default=None)
    if worst is not None and all(one.within for one in found.fidelity):
        lines.append(f"Latencies came out true: p50, p90 and p95 within {math.ceil(worst * 1000) / 10:g} % of the servers' own timelines.")
    for one in found.fidelity:
        if not one.within:
            blame = f" (the server itself was up to {time_span(one.server_late_p99_s)} late)" if one.server_late_p99_s else ""
            lines.append(f"Latencies did not come out true with the server “{one.name}”{blame}.")
    load = found.machine.load_1min
    if load is not None and load > found.machine.cpus / 2:
        lines.append(
            f"This machine was busy before (load average {load:.1f} on {found.machine.cpus} cores): measure again when it is idle."
        )
    if found.reason is not None:
        lines.append(f"Inconclusive: {found.reason}.")
    return lines


def _rates(answers: list[Answers]) -> Table:
    table = Table(title="Rates", title_justify="left", box=None, pad_edge=False)
    table.add_column("answers")
    for column in ("offered/s", "achieved/s", "lag p99", "CPU", "CPU/request"):
        table.add_column(column, justify="right")
    table.add_column("trusted")
    for answer in answers:
        name = f"{data_size(answer.bytes)}, {_CHECKED[answer.checked]}"
        table.add_row(name, "closed loop", significant(answer.peak_rps, 2), "–", "–", time_span(answer.peak_cpu_s_per_request), "")
        for level in answer.levels:
            table.add_row("", *_level(level))
    return table


def _level(level: Level) -> tuple[str, ...]:
    cpu = "–" if level.cpu_percent is None else f"{level.cpu_percent:.0f} %"
    return (
        significant(level.offered_rps or 0.0, 2),
        significant(level.achieved_rps, 2),
        "–" if level.send_lag_p99_s is None else time_span(level.send_lag_p99_s),
        cpu,
        time_span(level.cpu_s_per_request),
        "yes" if level.trusted else f"no: {(level.why or '').partition(';')[0].partition(':')[0]}",
    )


def _fidelity(fidelity: list[Fidelity]) -> Table:
    table = Table(title="Fidelity: measured latency (truth)", title_justify="left", box=None, pad_edge=False)
    table.add_column("server")
    for name in [quantile.name for quantile in fidelity[0].quantiles] if fidelity else []:
        table.add_column(name, justify="right")
    table.add_column("within 5 %")
    for one in fidelity:
        cells = [f"{time_span(quantile.measured_s)} ({time_span(quantile.true_s)})" for quantile in one.quantiles]
        table.add_row(one.name, *cells, "yes" if one.within else "no")
    return table
