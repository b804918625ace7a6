"""Run by hand: six real pairs of benchmarks of one mock (A/A), then two against a mock that is 15 % slower (A/B), compared.

    .venv/bin/python tests/performance/compare_mock_pairs.py [pairs]

Each benchmark is `testcard bench` as a user runs it: 8 rounds of 50 requests, on 127.0.0.1 only. Prints what
`testcard compare` says. About half a minute a benchmark; the mark is at most 2 verdicts of better or worse in the A/A pairs.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

PROVIDERS = ("nanogpt",)
#: Median service time: long beside what a busy machine adds to a request, as a provider's is.
MEDIAN_S = 0.3
WORKLOAD = """
arrival = "poisson"
warmup_s = 0.5
rounds = 8
decode = 0.05
slo = ["p95<2s", "error_rate<5%"]
[[stage]]
rate_rps = 25
duration_s = 16
"""


def testcard(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The command, run to its end."""
    command = [sys.executable, "-m", "testcard.harness.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **environment})


def bench(folder: Path, workload: Path, median_s: float, seed: int) -> None:
    """One benchmark of a mock whose service takes so long at the median."""
    command = [
        sys.executable,
        "-m",
        "testcard.harness.cli",
        "mock",
        *PROVIDERS,
        "--port",
        "0",
        "--json",
        "--latency",
        f"lognormal:{median_s},0.3",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as mock:
        try:
            assert mock.stdout is not None
            ready = json.loads(mock.stdout.readline())
            targets = [part for name in PROVIDERS for part in ("--target", f"{name}={ready['base_urls'][name]}")]
            arguments = ("bench", *targets, "--workload", str(workload), "--seed", str(seed), "--out", str(folder))
            done = testcard(*arguments, TESTCARD_API_KEY=ready["api_key"])
            if done.returncode not in (0, 5):
                raise SystemExit(done.stderr)
        finally:
            mock.terminate()


def main() -> None:
    """Prints every verdict that is not `no difference`, and the counts."""
    pairs = int(sys.argv[1]) if len(sys.argv) > 1 else 6
    with tempfile.TemporaryDirectory() as place:
        workload = Path(place) / "workload.toml"
        workload.write_text(WORKLOAD, encoding="utf-8")
        for name, factor, count in (("A/A", 1.0, pairs), ("A/B, 15 % slower", 1.15, max(1, pairs // 3))):
            verdicts: dict[str, int] = {}
            slower = 0
            for number in range(count):
                folders = [Path(place) / f"{factor}-{number}-{side}" for side in ("old", "new")]
                for seed, (folder, median) in enumerate(zip(folders, (MEDIAN_S, MEDIAN_S * factor), strict=True)):
                    bench(folder, workload, median, 10 * number + seed)
                answer = testcard("compare", str(folders[1]), str(folders[0]), "--json")
                found = json.loads(answer.stdout)
                for change in found["changes"]:
                    verdicts[change["verdict"]] = verdicts.get(change["verdict"], 0) + 1
                    if change["verdict"] != "no difference":
                        print(f"  pair {number + 1}: {change['target']}: {change['sentence']}", flush=True)
                slower += any(change["verdict"] == "worse" for change in found["changes"])
                print(f"{name} pair {number + 1}: exit {answer.returncode}, {found['sentence']}", flush=True)
            print(f"{name}: {verdicts} in {count} pairs, {slower} pairs with something worse", flush=True)


if __name__ == "__main__":
    main()
