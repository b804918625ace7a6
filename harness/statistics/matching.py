"""Which row of a run has which row of its baseline as its counterpart."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from testcard.harness.runs.records import Run, SummaryRow
from testcard.harness.statistics.fingerprint import target_of

if TYPE_CHECKING:
    from testcard.harness.statistics.compare import Bench


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
    return f"{name} ({target.base_url})" if len({other.address for other in alike}) > 1 else name


def _words(row: SummaryRow) -> str:
    return " ".join(part for part in (row.provider, row.model, row.operation, row.stage) if part)
