"""`testcard calibrate`: measures what this machine can be trusted with as a load generator, on servers that it starts itself."""

from __future__ import annotations

import os
import platform
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import msgspec

from testcard.benchmarks.calibration.measure import FULL, LARGE_BYTES, QUICK, SMALL_BYTES, LoadRun, answers, fidelity, timings
from testcard.benchmarks.calibration.record import Answers, Calibration, Fidelity, Machine
from testcard.harness.errors import Exit
from testcard.harness.progress import Progress
from testcard.harness.runs.folder import tool_version

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
