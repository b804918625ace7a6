"""Which row of a run has which row of its baseline as its counterpart, and whether the two may be compared.

A fingerprint is operation, size, n, model, arrival, region and environment, with what else decides how much work a request is
(prompts, seeds, further parameters, streaming). Runs that differ in it measured different things, so they are refused, with
the reason. Another version of the tool, of the rule set or of the contract only warns.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from testcard.harness.runs.records import Run, Summary, SummaryRow, TargetRecord, Verdicts
from testcard.harness.text.words import without_scheme

if TYPE_CHECKING:
    import pandas as pd

#: Keys of a workload that belong to the fingerprint → what a person calls them.
_WORKLOAD = {
    "task": "task",
    "size": "size",
    "sizes": "size",
    "n": "n",
    "steps": "steps",
    "prompts": "prompts",
    "seeds": "seeds",
    "extra": "further parameters",
    "stream": "streaming",
    "asynchronous": "asynchronous requests",
    "arrival": "arrival",
    "max_in_flight": "in-flight cap",
}
#: What a row says that its requests asked for. Where both rows say it, it counts instead of the workload's words, of which "same" is
#: another size with other targets beside it.
_ASKED = ("task", "size", "n", "quality", "steps", "delivery")
_SETTLED = ("task", "size", "sizes", "n", "steps")
_LOAD = {"rate_rps": "rate", "users": "users"}
_GENERATOR = ("locust", "geventhttpclient", "httpx")


@dataclass(frozen=True, slots=True, eq=False)
class Bench:
    """One benchmark run: its index, its summary and its samples."""

    run: Run
    summary: Summary
    samples: pd.DataFrame


@dataclass(frozen=True, slots=True, eq=False)
class Side:
    """One side of a comparison: the benchmarks and the checks of a run."""

    benches: Sequence[Bench] = ()
    checks: Sequence[tuple[Run, Verdicts]] = ()

    @property
    def runs(self) -> list[Run]:
        """Every run of the side."""
        return [*(bench.run for bench in self.benches), *(run for run, _ in self.checks)]


@dataclass(frozen=True, slots=True, eq=False)
class Pair:
    """A row of the new run and its counterpart in the baseline, with the benchmarks they come from and the target's name."""

    target: str
    new: Bench
    row: SummaryRow
    old: Bench
    counterpart: SummaryRow


@dataclass(frozen=True, slots=True, eq=False)
class _Entry:
    bench: Bench
    row: SummaryRow

    @property
    def provider(self) -> str:
        target = target_of(self.bench.run, self.row)
        return target.provider if target is not None else self.row.provider

    @property
    def address(self) -> str:
        target = target_of(self.bench.run, self.row)
        return target.base_url if target is not None else self.row.provider


#: What has to be equal, from the closest counterpart to the loosest. Looser ones are found so that a refusal can say why.
_CLOSENESS: tuple[Callable[[_Entry], tuple[object, ...]], ...] = (
    lambda entry: (entry.provider, entry.row.operation, entry.row.model, entry.row.stage, entry.address),
    lambda entry: (entry.provider, entry.row.operation, entry.row.model, entry.row.stage),
    lambda entry: (entry.provider, entry.row.operation, entry.row.model),
    lambda entry: (entry.provider, entry.row.operation, entry.row.stage),
    lambda entry: (entry.provider, entry.row.stage),
    lambda entry: (entry.provider,),
)


def matched(new: Sequence[Bench], old: Sequence[Bench]) -> tuple[list[Pair], list[str]]:
    """Each row with its counterpart, in the order of the new run, and what only one side holds, in words.

    A row has at most one counterpart: the same provider, operation, model and stage, at the same address if there are several;
    else the nearest one that is left over.
    """
    mine = [_Entry(bench, row) for bench in new for row in bench.summary.rows]
    theirs = [_Entry(bench, row) for bench in old for row in bench.summary.rows]
    found: dict[int, _Entry] = {}
    left = list(range(len(theirs)))
    for key in _CLOSENESS:
        for place, entry in enumerate(mine):
            if place in found:
                continue
            match = next((other for other in left if key(theirs[other]) == key(entry)), None)
            if match is not None:
                found[place] = theirs[match]
                left.remove(match)
    pairs = [
        Pair(_name(entry, [e for e in mine if e.provider == entry.provider]), entry.bench, entry.row, found[place].bench, found[place].row)
        for place, entry in enumerate(mine)
        if place in found
    ]
    alone = [f"only in the new run: {_words(entry.row)}" for place, entry in enumerate(mine) if place not in found] if old else []
    alone += [f"only in the baseline: {_words(theirs[place].row)}" for place in left] if new else []
    return pairs, alone


def _name(entry: _Entry, alike: Sequence[_Entry]) -> str:
    run: Run = entry.bench.run
    target = target_of(run, entry.row)
    if target is None:
        return entry.row.provider
    name = target.name or target.provider
    return f"{name} ({without_scheme(target.base_url)})" if len({other.address for other in alike}) > 1 else name


def _words(row: SummaryRow) -> str:
    return " ".join(part for part in (row.provider, row.model, row.operation, row.stage) if part)


def target_of(run: Run, row: SummaryRow) -> TargetRecord | None:
    """The target that a row was measured at, as run.json lists it; None where it does not."""
    if row.target is not None and 0 <= row.target < len(run.targets):
        return run.targets[row.target]
    return next((target for target in run.targets if target.provider == row.provider), None)


def differences(new: tuple[Run, Summary, SummaryRow], old: tuple[Run, Summary, SummaryRow]) -> list[str]:
    """Why the two rows must not be compared, a phrase each ("size: 512x512 against 1024x1024"); empty where they may."""
    (run, summary, row), (other_run, other_summary, other) = new, old
    found = []
    for name, mine, theirs in (("operation", row.operation, other.operation), ("model", row.model, other.model)):
        if mine != theirs:
            found.append(_against(name, mine, theirs))
    one, two = summary.workload, other_summary.workload
    for name in _ASKED if row.asked and other.asked else ():
        if row.asked.get(name) != other.asked.get(name):
            found.append(_against(name, row.asked.get(name), other.asked.get(name)))
    for key, name in _WORKLOAD.items():
        if one.get(key) != two.get(key) and not (key in _SETTLED and row.asked and other.asked):
            found.append(f"{name} differ" if name in ("prompts", "further parameters") else _against(name, one.get(key), two.get(key)))
    load, other_load = _stage(one, row), _stage(two, other)
    stated = all(any(side.get(key) is not None for key in _LOAD) for side in (load, other_load))
    for key, name in _LOAD.items() if stated else ():
        if load.get(key) != other_load.get(key):
            found.append(_against(name, load.get(key), other_load.get(key)))
    if not stated and row.stage != other.stage:
        found.append(_against("stage", row.stage, other.stage))
    if run.region != other_run.region:
        found.append(_against("region", run.region, other_run.region))
    here, there = run.environment, other_run.environment
    if here.platform != there.platform:
        found.append(_against("environment", here.platform, there.platform))
    if here.cpu_count != there.cpu_count:
        found.append(_against("environment", f"{here.cpu_count} CPUs", f"{there.cpu_count} CPUs"))
    target, other_target = target_of(run, row), target_of(other_run, other)
    if target is not None and other_target is not None and target.mock != other_target.mock:
        found.append(_against("environment", *("a mock" if each.mock else "a real service" for each in (target, other_target))))
    return list(dict.fromkeys(found))


def fingerprint(run: Run, summary: Summary, row: SummaryRow) -> str:
    """A digest of everything that `differences` refuses for: rows with equal ones may be put side by side."""
    target = target_of(run, row)
    load = _stage(summary.workload, row)
    facts = {
        "row": [row.operation, row.model, row.stage],
        "workload": {key: summary.workload.get(key) for key in _WORKLOAD if not (key in _SETTLED and row.asked)},
        "asked": [row.asked.get(name) for name in _ASKED],
        "load": [load.get(key) for key in _LOAD],
        "place": [run.region, run.environment.platform, run.environment.cpu_count, target is not None and target.mock],
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()[:16]


def warnings(new: Sequence[Run], old: Sequence[Run]) -> list[str]:
    """What does not forbid a comparison and may explain a change: versions, contracts, runs that did not end well."""
    found = []
    for place, name in enumerate(_VERSIONS):
        mine, theirs = (sorted({_versions(run)[place] for run in side}) for side in (new, old))
        if mine != theirs:
            found.append(f"{name} {', '.join(mine)} against {', '.join(theirs)}")
    contracts, others = _contracts(new), _contracts(old)
    changed = sorted(provider for provider in contracts.keys() & others.keys() if contracts[provider].isdisjoint(others[provider]))
    if changed:
        found.append(f"the contract of {', '.join(changed)} was described otherwise (openapi.yaml or profile.yaml changed)")
    for side, runs in (("the new run", new), ("the baseline", old)):
        found += [f"{side} has a part that {_ENDINGS[run.outcome]}" for run in runs if run.outcome in _ENDINGS]
    return list(dict.fromkeys(found))


_VERSIONS = ("Testcard", "rule set", "Python", *_GENERATOR)
_ENDINGS = {"error": "ended with an error", "interrupted": "was interrupted", "running": "has not ended"}


def _versions(run: Run) -> list[str]:
    python = ".".join(run.environment.python.split(".")[:2])
    return [run.tool_version, run.ruleset_version, python, *(run.environment.packages.get(name, "none") for name in _GENERATOR)]


def _contracts(runs: Sequence[Run]) -> dict[str, set[tuple[str, str]]]:
    found: dict[str, set[tuple[str, str]]] = {}
    for run in runs:
        for target in run.targets:
            found.setdefault(target.provider, set()).add((target.spec_digest, target.profile_digest))
    return found


def _stage(workload: Mapping[str, Any], row: SummaryRow) -> Mapping[str, Any]:
    """The stage as the workload states it; what the row itself says where the workload does not."""
    stages = workload.get("stage")
    for stage in stages if isinstance(stages, list) else ():
        if isinstance(stage, dict):
            rate, users = stage.get("rate_rps"), stage.get("users")
            label = stage.get("name") or (f"{rate:g}/s" if rate is not None else f"{users} user{'s' if users != 1 else ''}")
            if label == row.stage:
                return stage
    return {"users": row.users}


def _against(name: str, mine: object, theirs: object) -> str:
    return f"{name}: {_text(mine)} against {_text(theirs)}"


def _text(value: object) -> str:
    if value is None:
        return "none"
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)
