"""The freeze test of the design's marks: `python tests/performance/freeze.py`.

A server answers after 50 ms; all that reaches it in [4 s, 5 s) is answered at 5 s + 50 ms. Load: constant, 100/s for 9 s,
uncapped and capped at 10 in flight. The truth is the server's timeline replayed over schedule and cap (≈ 160 and 610 ms for
p90 and p95 uncapped, ≈ 580 and 810 ms capped); the mark is within 5 %. Servers, truth and measurement are those of
`testcard calibrate`. Exits 1 when the mark is missed. Not collected by pytest.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from testcard.benchmarks.calibration.command import TOLERANCE, LoadRun, Timing, fidelity
from testcard.harness.progress import Progress

SERVERS = [Timing(f"cap {cap or 'none'}", 100, 9, (0.05,), (4.0, 5.0), cap) for cap in (None, 10)]


def main() -> int:
    """Prints measured and true percentiles; 1 when p90 or p95 is more than 5 % off or a sample is missing."""
    with tempfile.TemporaryDirectory() as folder, Progress("freeze", unit="s") as progress:
        found = fidelity(LoadRun(Path(folder), 1, progress), SERVERS)
    missed = False
    for one in found:
        missed |= one.requests != 900
        for quantile in one.quantiles:
            marked = quantile.name in ("p90", "p95")
            missed |= marked and abs(quantile.off) > TOLERANCE
            print(
                f"{one.name:>8}  {quantile.name}: measured {quantile.measured_s * 1000:6.1f} ms, truth {quantile.true_s * 1000:6.1f} ms, "
                f"off {quantile.off:+.1%}{' (mark: 5 %)' if marked else ''}"
            )
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
