"""Run folders read once and put side by side: targets with their verdicts and exchanges, benchmark rows with their samples."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin

from testcard.harness.errors import UsageError
from testcard.harness.runs.folder import RunReader
from testcard.harness.runs.records import (
    Exchange,
    RuleFailure,
    Saturations,
    Summary,
    SummaryRow,
    TargetRecord,
    Verdict,
    Verdicts,
    WaiverNote,
)
from testcard.harness.statistics import slo
from testcard.harness.text.words import clean, shortened, without_scheme

if TYPE_CHECKING:
    import pandas as pd


#: The share of requests that surely fail, or of invalid pictures, from which a row is no choice, whatever its speed and price.
FAILING = 0.05
#: What figures and comparisons read of samples; every other column would only take memory.
FRAME_COLUMNS = (
    "provider", "model", "operation", "target", "stage", "round", "warmup", "outcome", "images", "megapixels", "cost_usd", "scheduled_s",
    "sent_s", "connect_s", "first_byte_s", "last_byte_s", "done_s", "queue_s", "download_s", "lag_s", "steps",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Party:
    """A target as the report names it. `key` is safe in an HTML id; `check` is the run that judged it, None when none did."""

    key: str
    label: str
    target: TargetRecord
    check: RunReader | None = None
    verdicts: Verdicts | None = None
    exchanges: dict[str, Exchange] = field(default_factory=dict)
    children: dict[str, list[Exchange]] = field(default_factory=dict)
    #: Sizes of the bodies whose pictures were looked at, by their sha256; and what was made of each, for whoever shows it again.
    looked_at: dict[str, int] = field(default_factory=dict, repr=False)
    thumbs: dict[Any, Any] = field(default_factory=dict, repr=False)
    #: Pixels of the large pictures that were decoded for it, by their sha256.
    decoded_px: dict[str, int] = field(default_factory=dict, repr=False)

    def judged(self) -> list[Verdict]:
        """All verdicts, in file order."""
        return list(self.verdicts.verdicts) if self.verdicts else []

    def followed(self, exchange: Exchange) -> list[Exchange]:
        """What an exchange led to, in the order of recording: its polls, redirects and downloads, and what those led to."""
        found: dict[str, Exchange] = {}
        waiting = [exchange]
        while waiting:
            for child in self.children.get(waiting.pop().id, ()):
                if child.id not in found and child.id != exchange.id and child.source in ("fetch", "poll"):
                    found[child.id] = child
                    waiting.append(child)
        return [one for name, one in self.exchanges.items() if name in found]

    def redirects(self, exchange: Exchange) -> list[Exchange]:
        """The chain of redirects that an exchange stands in, from the first address to the answer; empty where it was not redirected."""
        chain = [exchange]
        while (earlier := next((one for one in self._beside(chain[0]) if _leads(one, chain[0])), None)) and earlier not in chain:
            chain.insert(0, earlier)
        while (later := next((one for one in self._beside(chain[-1]) if _leads(chain[-1], one)), None)) and later not in chain:
            chain.append(later)
        return chain if len(chain) > 1 else []

    def _beside(self, exchange: Exchange) -> list[Exchange]:
        """Its parent, its siblings and its children: where the hop before it or after it is recorded."""
        parent = [self.exchanges[exchange.parent]] if exchange.parent in self.exchanges else []
        siblings = self.children.get(exchange.parent, []) if exchange.parent is not None else []
        return [*parent, *siblings, *self.children.get(exchange.id, [])]

    @property
    def waivers(self) -> list[WaiverNote]:
        """What became of the waivers."""
        return list(self.verdicts.waivers) if self.verdicts else []

    @property
    def errors(self) -> list[RuleFailure]:
        """The rules that raised: mistakes of ours."""
        return list(self.verdicts.errors) if self.verdicts else []

    @property
    def strict(self) -> bool:
        """Whether broken shoulds count."""
        return self.check is not None and bool(self.check.run.config.get("strict"))

    @property
    def openapi(self) -> str | None:
        """The contract's file, as the run names it; None where no run does."""
        named = self.check.run.config.get("openapi") if self.check else None
        return str(named) if named else None


@dataclass(frozen=True, slots=True)
class Series:
    """One benchmark row with what it belongs to. `index` decides its colour and marker."""

    key: str
    label: str
    party: Party
    row: SummaryRow
    bench: int
    index: int

    @property
    def timed(self) -> int:
        """How many requests its latencies rest on: those that delivered or timed out."""
        return max((estimate.n for estimate in self.row.latency_s.values()), default=0)

    @property
    def fails(self) -> bool:
        """Whether its requests or pictures fail more often than an objective, or any use, allows."""
        row = self.row
        missed = any(gate.verdict == "fail" and "_rate" in gate.expression for gate in slo.counted(row))
        errors = row.error_rate.low if row.error_rate is not None else None
        return missed or (errors or 0.0) > FAILING or sum(row.invalid_pictures.values()) > FAILING * max(row.requests, 1)


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything a report is made of."""

    runs: list[RunReader]
    parties: list[Party]
    series: list[Series]  # all stages, in file order
    summaries: list[Summary]
    frames: list[pd.DataFrame]  # samples of each bench run, beside `summaries`
    tasks: dict[tuple[str, str], str]  # (party key, operation) → task
    searches: dict[int, Saturations] = field(default_factory=dict)  # bench → what it found, where it searched for the highest rate

    @property
    def slo_s(self) -> float | None:
        """The seconds within which a request counts as good, where the benchmarks name them."""
        limits = [slo.limit_s([slo.parse(text) for text in summary.slo]) for summary in self.summaries]
        return max((limit for limit in limits if limit is not None), default=None)

    def samples(self, series: Series) -> pd.DataFrame:
        """The raw samples of one series, warm-up included."""
        frame = self.frames[series.bench]
        row = series.row
        mask = (frame["provider"] == row.provider) & (frame["operation"] == row.operation) & (frame["stage"] == row.stage)
        mask &= frame["model"].isna() if row.model is None else frame["model"] == row.model
        if row.target is not None:
            mask &= frame["target"] == row.target
        return frame[mask.to_numpy(dtype=bool)]

    def task(self, party: Party, operation: str, row: SummaryRow | None = None) -> str:
        """What an operation is used for, as the exchanges say; without them, what came back; empty where nobody knows."""
        known = self.tasks.get((party.key, operation))
        if known is not None:
            return known
        if row is None or not row.ok:
            return ""
        return "pictures" if row.images_per_s else "words"


def _leads(one: Exchange, other: Exchange) -> bool:
    """Whether one exchange was answered with a redirect to the address that the other asked."""
    if one is other or other.source not in ("fetch", "poll") or one.response is None or not 300 <= one.response.status < 400:
        return False
    location = next((value for name, value in one.response.headers if name.lower() == "location"), None)
    try:
        return location is not None and urljoin(one.request.url, location) == other.request.url
    except ValueError:  # a server's own idea of an address
        return False


def gather(runs: Sequence[RunReader]) -> Evidence:
    """The evidence of these runs; an `evaluate` folder stands for its children. `UsageError` where none holds verdicts or a summary."""
    found = leaves(runs)
    checks = [(run, verdicts) for run in found if (verdicts := run.verdicts()) is not None]
    benches = [(run, summary) for run in found if (summary := run.summary()) is not None]
    if not checks and not benches:
        raise UsageError(
            "there is nothing to report on: no run holds verdicts.json or summary.json",
            hint="name folders that check, bench or evaluate wrote",
        )
    targets: dict[str, tuple[TargetRecord, RunReader | None, Verdicts | None]] = {}
    for run, verdicts in checks:
        target = run.run.targets[0] if run.run.targets else _target_of(verdicts)
        targets[_free(targets, target.provider)] = (target, run, verdicts)
    homes: list[dict[str | int, str]] = []  # for each benchmark: a target's place in the run's list, or its provider → party
    for run, summary in benches:
        homes.append({})
        for place, target in enumerate(_bench_targets(run, summary)):
            taken = homes[-1].values()  # two targets of one benchmark are two, also where both are mocks of one provider
            alike = [(key, other) for key, (other, _, _) in targets.items() if _same(target, other) and key not in taken]
            key = next((key for key, other in sorted(alike, key=lambda entry: entry[1].base_url != target.base_url)), None)
            if key is None:
                key = _free(targets, target.provider)
                targets[key] = (target, None, None)
            homes[-1][place] = key
            homes[-1].setdefault(target.provider, key)
    named = Counter(target.name or target.provider for target, _, _ in targets.values())
    places = Counter(without_scheme(target.base_url) for target, _, _ in targets.values())
    parties = []
    for key, entry in targets.items():
        short = without_scheme(url := entry[0].base_url)
        repeated = named[entry[0].name or entry[0].provider] > 1
        parties.append(_party(key, *entry, place=short if places[short] == 1 else url, repeated=repeated))
    parties.sort(key=lambda party: party.key)
    by_key = {party.key: party for party in parties}
    series = _series([summary for _, summary in benches], homes, by_key)
    frames = [_frame(run) for run, _ in benches]
    tasks = {}
    for party in parties:
        seen: dict[str, Counter[str]] = {}
        for exchange in party.exchanges.values():
            task = exchange.asked.get("task")
            if isinstance(task, str):
                seen.setdefault(exchange.operation, Counter())[task] += 1
        tasks.update({(party.key, operation): counter.most_common(1)[0][0] for operation, counter in seen.items()})
    searches = {bench: each for bench, (run, _) in enumerate(benches) if (each := run.saturations()) is not None}
    return Evidence(found, parties, series, [summary for _, summary in benches], frames, tasks, searches)


def leaves(runs: Sequence[RunReader]) -> list[RunReader]:
    """The runs without parents of runs, reports left out, each folder once."""
    found: dict[str, RunReader] = {}
    for run in runs:
        for leaf in run.children() if run.run.kind == "evaluate" else [run]:
            if leaf.run.kind not in ("report", "selftest"):
                found.setdefault(str(leaf.folder.resolve()), leaf)
    return list(found.values())


def _free(taken: dict[str, tuple[TargetRecord, RunReader | None, Verdicts | None]], provider: str) -> str:
    stem = re.sub(r"[^A-Za-z0-9-]+", "-", provider).strip("-") or "target"
    number, key = 1, stem
    while key in taken:
        number += 1
        key = f"{stem}-{number}"
    return key


def _same(one: TargetRecord, other: TargetRecord) -> bool:
    """Whether a benchmark's target is a check's: the same address, or the provider's mock that each run started for itself.

    Mocks that a person started at two ports are two targets: one may be told to misbehave. Runs of before 2026-12 do not say who
    started a mock.
    """
    return one.provider == other.provider and (one.base_url == other.base_url or (one.embedded and other.embedded))


def _target_of(verdicts: Verdicts) -> TargetRecord:
    return TargetRecord(provider=verdicts.provider, name=verdicts.provider, base_url=verdicts.target.base_url, mock=verdicts.target.mock)


def _bench_targets(run: RunReader, summary: Summary) -> list[TargetRecord]:
    known = {target.provider for target in run.run.targets}
    placed = len(run.run.targets)
    rest = dict.fromkeys(row.provider for row in summary.rows if row.provider not in known and not _placed(row, placed))
    return [*run.run.targets, *(TargetRecord(provider=name, name=name, base_url="", mock=False) for name in rest)]


def _placed(row: SummaryRow, targets: int) -> bool:
    return row.target is not None and 0 <= row.target < targets


def _party(key: str, target: TargetRecord, run: RunReader | None, verdicts: Verdicts | None, *, place: str, repeated: bool) -> Party:
    label = clean(target.name or target.provider)
    if repeated:
        label = f"{label} ({clean(place)})"
    exchanges: dict[str, Exchange] = {}
    children: dict[str, list[Exchange]] = {}
    for exchange in run.exchanges() if run else ():
        exchanges[exchange.id] = exchange
        if exchange.parent is not None:
            children.setdefault(exchange.parent, []).append(exchange)
    return Party(key, label, target, run, verdicts, exchanges, children)


def _series(summaries: list[Summary], homes: list[dict[str | int, str]], parties: dict[str, Party]) -> list[Series]:
    found: list[tuple[int, Party, SummaryRow]] = []
    for bench, summary in enumerate(summaries):
        home = homes[bench]
        for row in summary.rows:
            key = home[row.target] if row.target is not None and row.target in home else home[row.provider]
            found.append((bench, parties[key], row))
    variants: dict[str, set[tuple[int, str, str | None]]] = {}
    for bench, party, row in found:
        variants.setdefault(party.key, set()).add((bench, row.operation, row.model))
    colours: dict[tuple[int, str, str, str | None], int] = {}
    for bench, party, row in sorted(found, key=lambda entry: entry[1].key):
        colours.setdefault((bench, party.key, row.operation, row.model), len(colours))
    series = []
    for bench, party, row in found:
        label = party.label
        if len(variants[party.key]) > 1:
            several_operations = len({operation for _, operation, _ in variants[party.key]}) > 1
            label += f" · {clean(row.operation)}" if several_operations else ""
            label += (
                f" · {shortened(clean(row.model), 32)}"
                if row.model and len({m for _, o, m in variants[party.key] if o == row.operation}) > 1
                else ""
            )
            label += f" · run {bench + 1}" if len({b for b, _, _ in variants[party.key]}) > 1 else ""
        index = colours[bench, party.key, row.operation, row.model]
        series.append(Series(f"{party.key}-{index}", label, party, row, bench, index))
    return series


def _frame(run: RunReader) -> pd.DataFrame:
    from testcard.harness.statistics import samples

    return samples.read(run, columns=FRAME_COLUMNS)
