"""Run by hand: time and peak memory from samples on disk to a whole report, at 0.3, 1 and 3 million samples of five targets.

    .venv/bin/python tests/performance/report_scale.py [0.3 1 3]

Each size runs in a process of its own (peak memory never falls again in one): `testcard report RUN` as a user runs it, imports
included, `testcard compare`, and what `testcard bench` does at its end: looking for pictures that came again, and the summary. The mark: 1 M in at most 10 s and 1 GB, and
neither grows faster than the samples. Quote ratios; this machine's seconds are not another's.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

PROVIDERS = ("nanogpt", "nebul", "nvidia-nim-image", "nvidia-nim-vision", "opengpu-relay")
ROUNDS = 10
SLO = ["p95<8s", "error_rate<1%"]


def write_run(folder: Path, n: int) -> None:
    """A bench run of n samples: five targets, ten rounds, log-normal latencies, 2 % failures, 3 % warm-up."""
    from testcard.harness.runs import samples
    from testcard.harness.runs.folder import RunWriter
    from testcard.harness.runs.records import TargetRecord

    targets = [
        TargetRecord(provider=name, name=name, base_url=f"http://127.0.0.1:9/{name}", mock=True, prices="illustrative")
        for name in PROVIDERS
    ]
    writer = RunWriter.create(folder, "bench", targets=targets, seed=1)
    generator = np.random.default_rng(1)
    each = n // len(PROVIDERS)
    parts = []
    for place, name in enumerate(PROVIDERS):
        turn = np.arange(each) * ROUNDS // each
        scheduled = np.sort(generator.uniform(0, 60, each)) / ROUNDS + turn * 60.0 + place * 10.0
        scheduled = np.sort(scheduled)
        latency = generator.lognormal(-0.5 + 0.2 * place, 0.5, each)
        failed = generator.random(each) < 0.02
        outcome = np.where(failed, np.where(generator.random(each) < 0.3, "timeout", "server-error"), "ok")
        done = scheduled + np.where(outcome == "timeout", 30.0, latency)
        columns = {
            "provider": [name] * each, "model": ["a-model"] * each, "operation": ["createImage"] * each, "round": turn + 1,
            "stage": ["steady"] * each, "scheduled_s": scheduled, "sent_s": scheduled + 0.001, "first_byte_s": done - 0.02,
            "last_byte_s": done, "done_s": done, "status": np.where(failed, 500, 200), "outcome": outcome, "bytes": 180_000,
            "images": (~failed).astype(int), "megapixels": np.where(failed, 0, 0.262144), "cost_usd": np.where(failed, 0.0, 0.01),
            "warmup": np.arange(each) % (each // ROUNDS) < each // ROUNDS * 0.03, "target": place, "worker": 0, "lag_s": 0.001,
            "connect_s": 0.0001, "pictures": (~failed).astype(int), "asked": np.arange(each) + 1,
            "picture_hashes": [f"{each * place + number:016x}" for number in range(each)], "tokens": 50, "queue_s": latency * 0.2,
            "first_token_s": latency * 0.3, "inter_token_s": latency * 0.01, "retry_after_s": np.where(failed, 1.0, np.nan),
        }  # fmt: skip
        arrays = []
        for field in samples.schema():
            values = columns.get(field.name)
            if values is None:
                arrays.append(pa.nulls(each, field.type))
            elif isinstance(values, int | float):
                arrays.append(pa.array(np.full(each, values)).cast(field.type))
            else:
                arrays.append(pa.array(values).cast(field.type))
        parts.append(pa.Table.from_arrays(arrays, schema=samples.schema()))
    pq.write_table(pa.concat_tables(parts).sort_by("scheduled_s"), writer.add_file("samples", "samples.parquet"), compression="zstd")
    writer.finish("pass", 0)


def summarised(folder: Path) -> None:
    """Reads the samples and writes the summary, as a benchmark does at its end."""
    from testcard.harness.runs.folder import RunReader, RunWriter
    from testcard.harness.statistics import samples
    from testcard.harness.statistics.summary import summarise

    reader = RunReader(folder)
    writer = RunWriter(folder, reader.run)
    writer.write("summary", "summary.json", summarise(samples.read(reader), objectives=SLO))


def marked(folder: Path) -> None:
    """Looks for pictures that came again in the samples, as a benchmark does when it seals them."""
    from testcard.harness.statistics.samples import NEEDED, duplicates_marked

    found = duplicates_marked(pq.read_table(folder / "samples.parquet", columns=list(NEEDED)))
    assert found["flaw"].null_count == len(found)


def measured(*arguments: str) -> tuple[float, float, float]:
    """Wall seconds, CPU seconds and peak megabytes of one child process."""
    started = time.monotonic()
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    process = subprocess.Popen([sys.executable, *arguments], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(arguments)} ended with {status}")
    del before
    return time.monotonic() - started, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def main() -> None:
    """Prints a line for each size and step."""
    if sys.argv[1:2] == ["--summarise"]:
        summarised(Path(sys.argv[2]))
        return
    if sys.argv[1:2] == ["--mark"]:
        marked(Path(sys.argv[2]))
        return
    if sys.argv[1:2] == ["--write"]:
        write_run(Path(sys.argv[2]), int(float(sys.argv[3]) * 1_000_000))
        return
    sizes = [float(text) for text in sys.argv[1:]] or [0.3, 1.0, 3.0]
    print(f"{'samples':>9}  {'step':<10} {'wall s':>7} {'CPU s':>7} {'peak MB':>8}   per million: CPU s, MB")
    for size in sizes:
        with tempfile.TemporaryDirectory() as place:
            run = Path(place) / "run"
            measured(__file__, "--write", str(run), str(size))
            for step, arguments in (
                ("duplicates", (__file__, "--mark", str(run))),
                ("summarise", (__file__, "--summarise", str(run))),
                ("report", ("-m", "testcard.harness.cli", "report", str(run), "--out", str(Path(place) / "report"))),
                ("compare", ("-m", "testcard.harness.cli", "compare", str(run), str(run))),
            ):
                wall, cpu, peak = measured(*arguments)
                print(f"{size:>7g} M  {step:<10} {wall:>7.2f} {cpu:>7.2f} {peak:>8.0f}   {cpu / size:.2f}, {peak / size:.0f}", flush=True)


if __name__ == "__main__":
    main()
