"""Few rows that show much: picks rows so that every level, then every pair of levels, of all factors is seen together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations

Row = dict[str, int]
_Choice = tuple[str, int | None]
_Pair = tuple[_Choice, _Choice]


def pick_rows(pool: Iterable[Row], levels: Mapping[str, Sequence[int | None]], limit: int, seen: Iterable[Row] = ()) -> list[Row]:
    """At most `limit` rows, most telling first, until every pair of levels is together in one (`seen` count as sent already).

    `levels` are the choices of each factor, None for leaving it out. Rows come from the pool while those help, then are
    made up from the pairs still missing (greedy, as in AETG by Cohen et al., 1997). Equal arguments give equal rows.
    """
    names = list(levels)
    candidates = list({_key(row, names): row for row in pool}.values())
    missing_levels = {(name, level) for name in names for level in levels[name]}
    missing_pairs = {pair for a, b in combinations(names, 2) for pair in _pairs_of(a, b, levels)}
    for row in seen:
        _strike(row, names, missing_levels, missing_pairs)
    rows: list[Row] = []
    while len(rows) < limit and (missing_levels or missing_pairs):
        best = max(candidates, key=lambda row: _worth(row, names, missing_levels, missing_pairs), default={})
        made = _made(names, levels, missing_levels, missing_pairs)
        if _worth(made, names, missing_levels, missing_pairs) > _worth(best, names, missing_levels, missing_pairs):
            best = made
        if not _strike(best, names, missing_levels, missing_pairs):
            break
        rows.append(best)
    return rows


def pairs_missing(rows: Iterable[Row], levels: Mapping[str, Sequence[int | None]]) -> int:
    """How many pairs of levels no row shows together."""
    names = list(levels)
    missing = {pair for a, b in combinations(names, 2) for pair in _pairs_of(a, b, levels)}
    for row in rows:
        _strike(row, names, set(), missing)
    return len(missing)


def _key(row: Row, names: Sequence[str]) -> tuple[int | None, ...]:
    return tuple(row.get(name) for name in names)


def _pairs_of(a: str, b: str, levels: Mapping[str, Sequence[int | None]]) -> Iterable[_Pair]:
    return (((a, first), (b, second)) for first in levels[a] for second in levels[b])


def _choices(row: Row, names: Sequence[str]) -> list[_Choice]:
    return [(name, row.get(name)) for name in names]


def _worth(row: Row, names: Sequence[str], missing_levels: set[_Choice], missing_pairs: set[_Pair]) -> tuple[int, int, int]:
    chosen = _choices(row, names)
    pairs = sum(pair in missing_pairs for pair in combinations(chosen, 2))
    return sum(choice in missing_levels for choice in chosen), pairs, -len(row)


def _strike(row: Row, names: Sequence[str], missing_levels: set[_Choice], missing_pairs: set[_Pair]) -> bool:
    before = len(missing_levels) + len(missing_pairs)
    chosen = _choices(row, names)
    missing_levels.difference_update(chosen)
    missing_pairs.difference_update(combinations(chosen, 2))
    return len(missing_levels) + len(missing_pairs) < before


def _made(names: Sequence[str], levels: Mapping[str, Sequence[int | None]], missing_levels: set[_Choice], missing_pairs: set[_Pair]) -> Row:
    """A row built factor by factor, each time with the level that adds most to what is missing; the hungriest factor first."""
    hunger = {name: sum(name in (a[0], b[0]) for a, b in missing_pairs) for name in names}
    chosen: dict[str, int | None] = {}
    for name in sorted(names, key=lambda name: -hunger[name]):

        def gain(level: int | None, name: str = name) -> tuple[int, int]:
            pairs = 0
            for other, taken in chosen.items():
                a, b = sorted(((name, level), (other, taken)), key=lambda choice: names.index(choice[0]))
                pairs += (a, b) in missing_pairs
            open_pairs = sum((name, level) in pair for pair in missing_pairs)
            return (pairs, open_pairs + ((name, level) in missing_levels))

        chosen[name] = max(levels[name], key=gain)
    return {name: level for name in names if (level := chosen[name]) is not None}
