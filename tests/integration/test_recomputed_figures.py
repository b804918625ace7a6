"""Every figure of a benchmark computed again from its samples by other code: plain numpy on samples.parquet, nothing of the statistics.

A run in an open loop and one in a closed loop against embedded mocks that fail now and then. What
summary.json, measures.csv and comparison.csv say has to be the same to 1e-6 (intervals, which have simulations of their own, aside).
"""

from __future__ import annotations

import csv
import io
import math
import re
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest

from testcard.harness.cli import run
from testcard.harness.runs.records import Summary, SummaryRow
from testcard.harness.targets import embedded_mocks

LIMIT_S = 0.5
LOADS = {
    "open": ["--rate", "40", "--duration", "6", "--rounds", "4", "--warmup", "0.1"],
    "closed": ["--users", "3", "--duration", "6", "--rounds", "4", "--warmup", "0"],
}


@pytest.fixture(scope="module", params=LOADS)
def bench(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A benchmark's folder."""
    out = tmp_path_factory.mktemp("recomputed") / request.param
    options = ["--latency", "lognormal:0.05,0.6", "--fault", "http.no-server-error@0.05"]
    with embedded_mocks(["nanogpt", "opengpu-relay"], options=options) as mocks:
        targets = [part for name, url in mocks.base_urls.items() for part in ("--target", f"{name}={url}")]
        code = run(
            [
                "bench",
                *targets,
                *LOADS[request.param],
                "--size",
                "256x256",
                "--slo",
                f"p95<{LIMIT_S}s",
                "--slo",
                "error_rate<50%",
                "--out",
                str(out),
            ]
        )
    assert code in (0, 1, 5)
    return out


def nearest(values: np.ndarray, q: float) -> float:
    """The smallest value that at least a share q of all do not exceed."""
    return float(np.sort(values)[math.ceil(round(q * len(values), 6)) - 1])


def recomputed(frame: pd.DataFrame, row: SummaryRow) -> dict[str, float]:
    """The figures of one row, by name."""
    mine = frame[
        (frame.provider == row.provider) & (frame.operation == row.operation) & (frame.stage == row.stage) & (frame.target == row.target)
    ]
    mine = mine[~mine.warmup.astype(bool)].sort_values(["round", "scheduled_s"])
    ok = mine.outcome.isin(["ok", "slow"])
    timed = ok | mine.outcome.isin(["timeout", "interrupted"])
    latency = mine.done_s - mine.scheduled_s
    good = ok & (latency <= LIMIT_S)
    found: dict[str, float] = {"requests": len(mine), "ok": int(ok.sum()), "error_rate": float((~ok)[mine.outcome != "interrupted"].mean())}
    series = {"latency": latency[timed], "service": (mine.done_s - mine.sent_s)[timed], "ttfb": (mine.first_byte_s - mine.sent_s)[ok]}
    for name, values in series.items():
        array = values.to_numpy()
        for key, q, least in (("p50", 0.5, 2), ("p90", 0.9, 10), ("p95", 0.95, 20), ("p99", 0.99, 100)):
            if len(array) >= least:
                found[f"{name}_{key}_s"] = nearest(array, q)
        found |= {
            f"{name}_mean_s": array.mean(),
            f"{name}_min_s": array.min(),
            f"{name}_max_s": array.max(),
            f"{name}_sd_s": array.std(ddof=1),
        }
    taken = seconds(mine, ok, latency, row)
    images = mine.images.fillna(0).to_numpy() * ok.to_numpy()
    came = mine.pictures.fillna(0).to_numpy()
    cost = mine.cost_usd.fillna(0.0).to_numpy()
    megapixels = mine.megapixels.fillna(0).to_numpy()
    over = (latency > LIMIT_S)[timed] | (mine.outcome == "timeout")[timed]
    found |= {f"errors_{kind}": int(count) for kind, count in mine.outcome[~ok].value_counts().items()}
    found |= {
        "delivered_megapixels_per_s": megapixels.sum() / taken,
        "cost_usd_per_megapixel": cost.sum() / (megapixels * ok.to_numpy()).sum(),
        "spent_usd": cost.sum(),
        "wasted_usd": cost[~good.to_numpy()].sum(),
        "wasted_requests": int(((cost > 0) & ~good.to_numpy()).sum()),
        "over_share": float(over.mean()),
    }
    found |= {
        "achieved_per_s": ok.sum() / taken,
        "goodput_per_s": good.sum() / taken,
        "valid_images_per_s": images.sum() / taken,
        "delivered_images_per_s": came.sum() / taken,
        "valid_megapixels_per_s": (megapixels * ok.to_numpy()).sum() / taken,
        "cost_usd_per_image": cost.sum() / images.sum(),
        "cost_usd_per_1000_good_images": 1000.0 * cost.sum() / (mine.images.fillna(0).to_numpy() * good.to_numpy()).sum(),
        "wasted_share": cost[~good.to_numpy()].sum() / cost.sum(),
        "cost_usd_per_delivered_image": cost.sum() / came.sum(),
    }
    return found


def seconds(mine: pd.DataFrame, ok: pd.Series[bool], latency: pd.Series[float], row: SummaryRow) -> float:
    """The seconds that answers took to come in, round by round; of an open loop the server kept up, so what was scheduled."""
    whole = 0.0
    for (_, part), length in zip(mine.groupby("round"), row.rounds_s, strict=True):
        if row.users is None:
            last = part.scheduled_s[ok.loc[part.index]].max()
            whole += max(length, float(last - part.scheduled_s.iloc[0]))
        else:
            first, last_done = part.scheduled_s.to_numpy()[: row.users], part.done_s.to_numpy()[-row.users :]
            whole += max(length, float(last_done.mean() - first.mean()))
    return whole


def test_every_figure_is_that_of_the_samples(bench: Path) -> None:
    """summary.json against the samples."""
    summary = msgspec.json.decode((bench / "summary.json").read_bytes(), type=Summary)
    frame = pd.read_parquet(bench / "samples.parquet")
    assert len(summary.rows) == 2
    for row in summary.rows:
        wanted, said = recomputed(frame, row), figures(row)
        missing = wanted.keys() - said.keys()
        assert not missing
        for name, value in wanted.items():
            assert said[name] == pytest.approx(value, rel=1e-6, abs=1e-9), name
        assert row.requests == row.ok + sum(row.errors.values())
        if row.users is None:
            assert row.offered_rps == pytest.approx(row.requests / sum(row.rounds_s), rel=1e-6)
        # The same figure under a second name, and one that nobody recomputed would be new.
        delivery = row.delivery
        assert delivery is not None
        assert row.goodput is not None
        assert row.achieved is not None
        for first, second in (
            (row.images_per_s, delivery.valid_images_per_s.value),
            (row.megapixels_per_s, delivery.valid_megapixels_per_s.value),
            (row.goodput_rps, row.goodput.value),
            (row.achieved_rps, row.achieved.value),
            (row.wasted_usd, said["wasted_usd"]),
            (row.spells_over_s, LIMIT_S),
            (row.gates[0].observed.value, said["latency_p95_s"]),
            (row.gates[1].observed.value, said["error_rate"]),
        ):
            assert first == pytest.approx(second, rel=1e-9)
        assert {path for path in numbers(msgspec.to_builtins(row)) if not KNOWN.fullmatch(path)} == set()


#: Every number of a row: what is recomputed here, or is no figure of the samples (the plan's, the generator's own, intervals, drift).
KNOWN = re.compile(
    r".*\.(low|high|n)|(latency|service|ttfb)_s\.p\d+\.value|(latency|service|ttfb)_spread\.(mean|min|max|sd)|requests|ok|errors\..*"
    r"|(error_rate|achieved|goodput|cost_usd_per_image|cost_usd_per_1000_good_images|delivery\.\w+)\.value|(offered|achieved|goodput)_rps"
    r"|(images|megapixels)_per_s|wasted_usd|money\.(spent_usd|wasted_usd|wasted_requests|\w+\.value)|spells_over_s|spells\.\d+\.\w+"
    r"|gates\.\d+\.((observed|over_share)\.value|more_requests)|generator\.\w+|duration_s|rounds|rounds_s\.\d+|users|target|steadiness\..*"
)


def numbers(value: Any, path: str = "") -> list[str]:
    """Where the numbers of a record are."""
    if isinstance(value, dict):
        return [found for key, each in value.items() for found in numbers(each, f"{path}.{key}" if path else key)]
    if isinstance(value, list):
        return [found for place, each in enumerate(value) for found in numbers(each, f"{path}.{place}")]
    return [path] if isinstance(value, int | float) and not isinstance(value, bool) else []


def figures(row: SummaryRow) -> dict[str, float]:
    """What summary.json says, by the names above."""
    found: dict[str, Any] = {"requests": row.requests, "ok": row.ok, "error_rate": row.error_rate.value if row.error_rate else None}
    for series in ("latency", "service", "ttfb"):
        found |= {f"{series}_{name}_s": each.value for name, each in getattr(row, f"{series}_s").items()}
        found |= {f"{series}_{name}_s": getattr(getattr(row, f"{series}_spread"), name) for name in ("mean", "min", "max", "sd")}
    assert row.delivery is not None
    assert row.money is not None
    found |= {
        "achieved_per_s": row.achieved_rps,
        "goodput_per_s": row.goodput_rps,
        "valid_images_per_s": row.delivery.valid_images_per_s.value,
        "delivered_images_per_s": row.delivery.delivered_images_per_s.value,
        "valid_megapixels_per_s": row.delivery.valid_megapixels_per_s.value,
        "delivered_megapixels_per_s": row.delivery.delivered_megapixels_per_s.value,
        "cost_usd_per_megapixel": row.money.cost_usd_per_megapixel.value if row.money.cost_usd_per_megapixel else None,
        "spent_usd": row.money.spent_usd,
        "wasted_usd": row.money.wasted_usd,
        "wasted_requests": row.money.wasted_requests,
        "over_share": next(gate.over_share.value for gate in row.gates if gate.over_share is not None),
        **{f"errors_{kind}": number for kind, number in row.errors.items()},
        "cost_usd_per_image": row.cost_usd_per_image.value if row.cost_usd_per_image else None,
        "cost_usd_per_1000_good_images": row.cost_usd_per_1000_good_images.value if row.cost_usd_per_1000_good_images else None,
        "wasted_share": row.money.wasted_share.value if row.money.wasted_share else None,
        "cost_usd_per_delivered_image": row.money.cost_usd_per_delivered_image.value if row.money.cost_usd_per_delivered_image else None,
    }
    return {name: value for name, value in found.items() if value is not None}


def test_csv_and_comparison_say_the_same(bench: Path, tmp_path: Path) -> None:
    """A report's CSV files against the samples: one run has one figure everywhere. Compared with itself nothing differs."""
    summary = msgspec.json.decode((bench / "summary.json").read_bytes(), type=Summary)
    frame = pd.read_parquet(bench / "samples.parquet")
    assert run(["report", str(bench), "--out", str(tmp_path / "report")]) == 0
    measures = list(csv.DictReader(io.StringIO((tmp_path / "report" / "measures.csv").read_text(encoding="utf-8"))))
    compared = list(csv.DictReader(io.StringIO((tmp_path / "report" / "comparison.csv").read_text(encoding="utf-8"))))
    for row in summary.rows:
        wanted = recomputed(frame, row)
        said = {line["metric"]: float(line["value"]) for line in measures if line["provider"] == row.provider and line["value"]}
        for name in wanted.keys() & said.keys():
            assert said[name] == pytest.approx(wanted[name], rel=1e-6, abs=1e-9), name
        assert {"latency_p90_s", "latency_mean_s", "achieved_per_s", "goodput_per_s"} <= said.keys()
        (line,) = [line for line in compared if line["provider"] == row.provider]
        for column, name in (
            ("p50_s", "latency_p50_s"),
            ("p90_s", "latency_p90_s"),
            ("p95_s", "latency_p95_s"),
            ("goodput_rps", "goodput_per_s"),
            ("error_rate", "error_rate"),
        ):
            assert float(line[column]) == pytest.approx(wanted[name], rel=1e-6)
    # What people read has three digits of the same figures, in the page, in Markdown and in the terminal's answer.
    written = (tmp_path / "report" / "report.md").read_text(encoding="utf-8").replace("\\", "")
    answer = (tmp_path / "report" / "answer.txt").read_text(encoding="utf-8")
    header, *lines = table_of(written, "| target | operation | model | group |")
    for row in summary.rows:
        wanted = recomputed(frame, row)
        cells = next(dict(zip(header, line, strict=True)) for line in lines if line[1].partition(" (")[0] == row.operation)
        for column, name, factor in (
            ("p50, ms", "latency_p50_s", 1000.0), ("p90, ms", "latency_p90_s", 1000.0), ("p95, ms", "latency_p95_s", 1000.0),
            ("Goodput, /s", "goodput_per_s", 1.0), ("Error rate, %", "error_rate", 100.0),
            ("Cost of 1,000 good images, $", "cost_usd_per_1000_good_images", 1.0), ("Cost of a megapixel, $", "cost_usd_per_megapixel", 1.0),
        ):  # fmt: skip
            shown = re.search(r"[\d,]+(\.\d+)?", cells[column])
            assert shown is not None, cells
            assert float(shown[0].replace(",", "")) == pytest.approx(factor * wanted[name], rel=5.1e-3, abs=1e-9), column
        p50_ms = f"{1000 * wanted['latency_p50_s']:#.3g}".removesuffix(".")  # all three digits, 55.0 too
        assert f"{p50_ms} ms [" in answer
        assert int(cells["n"]) == wanted["requests"]


def table_of(text: str, begin: str) -> list[list[str]]:
    """The cells of the Markdown table whose first line begins so, the header first."""
    lines = text[text.index(begin) :].split("\n\n", 1)[0].splitlines()
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in [lines[0], *lines[2:]]]


def test_a_run_against_itself_has_the_same_figures_twice(bench: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`testcard compare RUN RUN` says that it says nothing, and exits 0."""
    assert run(["compare", str(bench), str(bench)]) == 0
    shown = capsys.readouterr().out
    assert "both are the same run" in shown.lower()
    assert "✗" not in shown
    assert "cannot be excluded" not in shown
