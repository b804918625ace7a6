"""The index: one SQLite file that lists run folders, their figures and what their checks found broken.

Trends and findings, read from an index.

A trend is Mann and Kendall's test over runs of one fingerprint, its size Theil and Sen's slope.
"""

from __future__ import annotations

import math
import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from testcard.harness.errors import UsageError
from testcard.harness.runs.folder import RunReader
from testcard.harness.runs.records import LEVELS, Estimate, Run, Summary, SummaryRow, TargetRecord, Verdicts
from testcard.harness.statistics.compare import MARGIN_LIVE, MARGIN_MOCK
from testcard.harness.statistics.matching import fingerprint, target_of

#: "TCHI": says that a SQLite file is one of ours, so that no other is ever emptied.
APPLICATION = 0x54434849
VERSION = 2
DEFAULT = Path("testcard-runs") / ".history.sqlite"
_DEPTH = 6
_TABLES = """
CREATE TABLE runs (id INTEGER PRIMARY KEY, folder TEXT NOT NULL UNIQUE, stamp TEXT NOT NULL, kind TEXT NOT NULL, started TEXT NOT NULL,
  outcome TEXT NOT NULL, tool_version TEXT NOT NULL, ruleset_version TEXT NOT NULL);
CREATE TABLE figures (run INTEGER NOT NULL REFERENCES runs(id) ON DELETE CASCADE, provider TEXT NOT NULL, site TEXT NOT NULL,
  mock INTEGER NOT NULL, model TEXT, operation TEXT NOT NULL, stage TEXT NOT NULL, fingerprint TEXT NOT NULL, metric TEXT NOT NULL,
  value REAL NOT NULL, low REAL, high REAL, n INTEGER NOT NULL);
CREATE TABLE verdicts (run INTEGER NOT NULL REFERENCES runs(id) ON DELETE CASCADE, provider TEXT NOT NULL, site TEXT NOT NULL,
  operation TEXT NOT NULL, rule TEXT NOT NULL, level TEXT NOT NULL, word TEXT NOT NULL, detail TEXT NOT NULL);
CREATE INDEX figures_by_run ON figures (run);
CREATE INDEX verdicts_by_run ON verdicts (run);
"""
#: Metric → its estimate in a summary row, in the order they are listed.
METRICS: dict[str, Callable[[SummaryRow], Estimate | None]] = {
    "p50_s": lambda row: row.latency_s.get("p50"),
    "p95_s": lambda row: row.latency_s.get("p95"),
    "p99_s": lambda row: row.latency_s.get("p99"),
    "achieved_rps": lambda row: Estimate(value=row.achieved_rps, n=row.requests),
    "goodput_rps": lambda row: row.goodput,
    "error_rate": lambda row: row.error_rate,
    "cost_usd_per_1000_good_images": lambda row: row.cost_usd_per_1000_good_images,
}


@dataclass(slots=True)
class Update:
    """What an update did: runs read, runs that were known already, runs forgotten, and folders that could not be read, with why."""

    read: int = 0
    known: int = 0
    forgotten: int = 0
    unread: list[str] = field(default_factory=list)


class Index:
    """An open index. Folders are kept relative to the index file where they lie below its folder, so that both can be moved."""

    def __init__(self, path: Path, *, rebuild: bool = False) -> None:
        """Opens or creates the index. `UsageError` where the file is something else or cannot be written."""
        self.path = path
        self._home = path.resolve().parent
        if path.exists() and (not path.is_file() or path.stat().st_size) and not _ours(path):
            raise UsageError(f"{path} is no history index", hint="name another file with --index")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if rebuild and path.exists():
                path.unlink()
            self._database = sqlite3.connect(path)
            self._database.execute("PRAGMA foreign_keys = ON")
            self._prepare()
        except OSError as error:
            raise UsageError(
                f"{path} cannot be written: {error.strerror}", hint="name a file in a folder that can be written, with --index"
            ) from None
        except sqlite3.Error as error:
            raise UsageError(f"{path}: {error}", hint="--rebuild makes it anew from the run folders; --index names another file") from None

    def close(self) -> None:
        """Closes the file."""
        self._database.close()

    def query(self, statement: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Rows that a SELECT gives."""
        return self._database.execute(statement, tuple(values)).fetchall()

    def update(self, folders: Sequence[Path]) -> Update:
        """Reads every run under these folders that is new or has changed, and forgets runs whose folder is gone."""
        done = Update()
        with self._database:
            for (name,) in self.query("SELECT folder FROM runs"):
                if not (self.folder(str(name)) / "run.json").is_file():
                    self._database.execute("DELETE FROM runs WHERE folder = ?", (name,))
                    done.forgotten += 1
            known = dict(self.query("SELECT folder, stamp FROM runs"))
            for folder in dict.fromkeys(path.resolve() for top in folders for path in run_folders(top)):
                name, stamp = self._name(folder), _stamp(folder)
                if known.get(name) == stamp:
                    done.known += 1
                    continue
                try:
                    self._read(folder, name, stamp)
                    done.read += 1
                except UsageError as error:
                    done.unread.append(error.message)
        return done

    def folder(self, name: str) -> Path:
        """The run folder that a name in the index stands for."""
        return self._home / name

    def _prepare(self) -> None:
        (version,) = self._database.execute("PRAGMA user_version").fetchone()
        if version == VERSION:
            self._database.execute("SELECT folder FROM runs LIMIT 1")
            return
        with self._database:
            for table in ("verdicts", "figures", "runs"):
                self._database.execute(f"DROP TABLE IF EXISTS {table}")
            self._database.executescript(_TABLES)
            self._database.execute(f"PRAGMA application_id = {APPLICATION}")
            self._database.execute(f"PRAGMA user_version = {VERSION}")

    def _name(self, folder: Path) -> str:
        return folder.relative_to(self._home).as_posix() if folder.is_relative_to(self._home) else folder.as_posix()

    def _read(self, folder: Path, name: str, stamp: str) -> None:
        reader = RunReader(folder)
        run = reader.run
        summary, verdicts = reader.summary(), reader.verdicts()
        self._database.execute("DELETE FROM runs WHERE folder = ?", (name,))
        cursor = self._database.execute(
            "INSERT INTO runs (folder, stamp, kind, started, outcome, tool_version, ruleset_version) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (name, stamp, run.kind, run.started, run.outcome, run.tool_version, run.ruleset_version),
        )
        if summary is not None:
            self._database.executemany(
                "INSERT INTO figures VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [(cursor.lastrowid, *values) for values in _figures(run, summary)],
            )
        if verdicts is not None:
            self._database.executemany(
                "INSERT INTO verdicts VALUES (?, ?, ?, ?, ?, ?, ?, ?)", [(cursor.lastrowid, *values) for values in _verdicts(verdicts)]
            )


def run_folders(top: Path) -> Iterator[Path]:
    """The folders of checks and benchmarks at or under a folder: also those inside an evaluation. `UsageError` where there is no folder."""
    if not top.is_dir():
        raise UsageError(f"{top} is no folder", hint="name folders that hold runs, such as testcard-runs")
    for place, names, files in os.walk(top):
        depth = len(Path(place).relative_to(top).parts)
        names[:] = (
            [] if depth >= _DEPTH else sorted(name for name in names if name not in ("bodies", "figures") and not name.startswith("."))
        )
        if "run.json" in files and ("verdicts.json" in files or "summary.json" in files):
            yield Path(place)
            names[:] = []


def site(run: Run, target: TargetRecord | None) -> str:
    """Where a target is, for telling series apart: `mock`, else its base URL. A mock's port changes from run to run, so several of one
    provider are told apart by their place among the run's targets: `mock`, `mock 2`."""
    if target is None or not target.mock:
        return "" if target is None else target.base_url
    twins = [other.base_url for other in run.targets if other.mock and other.provider == target.provider]
    place = list(dict.fromkeys(twins)).index(target.base_url) + 1
    return "mock" if place == 1 else f"mock {place}"


def _figures(run: Run, summary: Summary) -> Iterator[tuple[object, ...]]:
    for row in summary.rows:
        target = target_of(run, row)
        key = fingerprint(run, summary, row)
        for metric, read in METRICS.items():
            estimate = read(row)
            if estimate is not None and estimate.value is not None:
                yield (
                    target.provider if target else row.provider,
                    site(run, target),
                    int(target is not None and target.mock),
                    row.model,
                    row.operation,
                    row.stage,
                    key,
                    metric,
                    estimate.value,
                    estimate.low,
                    estimate.high,
                    estimate.n,
                )


def _verdicts(verdicts: Verdicts) -> Iterator[tuple[object, ...]]:
    where = "mock" if verdicts.target.mock else verdicts.target.base_url
    for verdict in verdicts.verdicts:
        yield (verdicts.provider, where, verdict.operation, verdict.rule, verdict.level, verdict.verdict, verdict.detail[:500])


def _stamp(folder: Path) -> str:
    facts = [(folder / name).stat() for name in ("run.json", "summary.json", "verdicts.json") if (folder / name).is_file()]
    return " ".join(f"{each.st_mtime_ns}:{each.st_size}" for each in facts)


def _ours(path: Path) -> bool:
    if not path.is_file():  # a pipe would be waited for
        return False
    try:
        with path.open("rb") as file:
            if file.read(16) != b"SQLite format 3\x00":
                return False
        with closing(sqlite3.connect(path)) as database:
            (number,) = database.execute("PRAGMA application_id").fetchone()
        return bool(number == APPLICATION)
    except (sqlite3.Error, OSError):
        return False


#: Fewest runs that a trend is read from.
MIN_RUNS = 8
#: Fewest runs of which the latest is put beside the range of those before it.
MIN_RANGE = 3
ALPHA = 0.05

Word = Literal["rising", "falling", "steady", "too few runs"]


@dataclass(frozen=True, slots=True)
class Trend:
    """How a figure moved: `word`, the change over the whole series as a share of its median (Theil–Sen), and the test's p.

    `latest`: the last value over the median of those before it, None with fewer than two or a median of 0. `median`, `lowest`,
    `highest`: of those before it, None with fewer than two of them: from three runs on the latest can be put beside a range.
    """

    word: Word
    change: float | None
    p: float | None
    latest: float | None
    median: float | None = None
    lowest: float | None = None
    highest: float | None = None


@dataclass(frozen=True, slots=True)
class Point:
    """One run's figure."""

    run: str
    started: str
    value: float
    low: float | None
    high: float | None
    n: int


@dataclass(frozen=True, slots=True)
class History:
    """One figure of one row over runs with the same fingerprint, in the order of time."""

    provider: str
    site: str
    model: str | None
    operation: str
    stage: str
    fingerprint: str
    metric: str
    points: list[Point]
    trend: Trend


@dataclass(frozen=True, slots=True)
class BrokenRule:
    """A rule that was found broken, over time. `level`: the strongest that was broken; `runs`: how many showed it; `last_judged`: the latest run that could have; `open`: whether that one did."""

    provider: str
    site: str
    operation: str
    rule: str
    level: str
    first_seen: str
    last_seen: str
    runs: int
    judged: int
    last_judged: str
    open: bool
    detail: str


def histories(index: Index) -> list[History]:
    """Every figure with its points, by provider, model, operation, stage and metric. Runs that did not end are left out."""
    found: dict[tuple[Any, ...], list[Point]] = {}
    mocks: dict[tuple[Any, ...], bool] = {}
    for *names, mock, folder, started, value, low, high, n in index.query(
        "SELECT provider, site, model, operation, stage, fingerprint, metric, mock, folder, started, value, low, high, n "
        "FROM figures JOIN runs ON runs.id = figures.run WHERE outcome NOT IN ('running', 'error', 'interrupted') ORDER BY started, folder"
    ):
        found.setdefault(tuple(names), []).append(Point(folder, started, value, low, high, n))
        mocks[tuple(names)] = bool(mock)
    order = list(METRICS)
    series = []
    for key in sorted(found, key=lambda key: (*(part or "" for part in key[:6]), order.index(key[6]))):
        provider, where, model, operation, stage, mark, metric = key
        points = found[key]
        moved = trend([point.value for point in points], noise=MARGIN_MOCK if mocks[key] else MARGIN_LIVE)
        series.append(History(provider, where, model, operation, stage, mark, metric, points, moved))
    return series


def broken_rules(index: Index) -> list[BrokenRule]:
    """Every rule that any run found broken, those that still are first, the latest first among them."""
    found = []
    rank = "CASE level " + " ".join(f"WHEN '{level}' THEN {place}" for place, level in enumerate(LEVELS)) + " END"
    broken = "word IN ('fail', 'deviates')"
    for row in index.query(
        f"SELECT provider, site, operation, rule, MIN(CASE WHEN {broken} THEN {rank} END), "
        f"MIN(CASE WHEN {broken} THEN started END), MAX(CASE WHEN {broken} THEN started END), "
        f"COUNT(DISTINCT CASE WHEN {broken} THEN run END), COUNT(DISTINCT run), MAX(started) "
        "FROM verdicts JOIN runs ON runs.id = verdicts.run WHERE word NOT IN ('not-run', 'unproven') "
        f"GROUP BY provider, site, operation, rule HAVING SUM({broken}) > 0"
    ):
        provider, where, operation, rule, place, first, last, runs, judged, latest = row
        ((detail,),) = index.query(
            "SELECT detail FROM verdicts JOIN runs ON runs.id = verdicts.run WHERE provider = ? AND site = ? AND operation = ? AND rule = ? "
            f"AND {broken} ORDER BY started DESC, {rank} LIMIT 1",
            (provider, where, operation, rule),
        )
        found.append(BrokenRule(provider, where, operation, rule, LEVELS[place], first, last, runs, judged, latest, last == latest, detail))
    found.sort(key=lambda each: (each.provider, each.operation, each.rule))
    found.sort(key=lambda each: each.last_seen, reverse=True)
    found.sort(key=lambda each: not each.open)
    return found


def trend(values: Sequence[float], *, noise: float) -> Trend:
    """The trend of values in the order of time. It rises or falls where the test says so (Mann 1945, p < 5 %, two-sided) and
    the change over the series is more than `noise` of the median (of the range of values where the median is 0)."""
    series = np.asarray(values, dtype=np.float64)
    n = len(series)
    before = float(np.median(series[:-1])) if n > 1 else 0.0
    latest = float(series[-1]) / before if before else None
    earlier = (before, float(series[:-1].min()), float(series[:-1].max())) if n >= MIN_RANGE else (None, None, None)
    if n < MIN_RUNS:
        return Trend("too few runs", None, None, latest, *earlier)
    rows, columns = np.triu_indices(n, 1)
    steps = series[columns] - series[rows]
    score = float(np.sign(steps).sum())
    _, ties = np.unique(series, return_counts=True)
    variance = (n * (n - 1) * (2 * n + 5) - float((ties * (ties - 1) * (2 * ties + 5)).sum())) / 18.0
    p = math.erfc(max(abs(score) - 1.0, 0.0) / math.sqrt(2.0 * variance)) if variance > 0 else 1.0
    slope = float(np.median(steps / (columns - rows)))
    scale = abs(float(np.median(series))) or float(np.ptp(series))
    change = slope * (n - 1) / scale if scale else 0.0
    word: Word = "steady" if p >= ALPHA or abs(change) <= noise else "rising" if change > 0 else "falling"
    return Trend(word, change, p, latest, *earlier)
