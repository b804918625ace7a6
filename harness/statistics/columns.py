"""The samples of one row of a benchmark as arrays in time order: what every figure of the row is computed from.

A row is a provider × model × operation × stage, and × target where samples say which one of the run's targets they went to
(two targets may be the same provider at two addresses).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

DELIVERED = ("ok", "slow")
#: Known only to have taken at least as long as they were waited for.
CENSORED = ("timeout", "interrupted")

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
Places = npt.NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class RowName:
    """What a row is called. `target` is the place of its target in the run's list, None where the samples do not say."""

    provider: str
    model: str | None
    operation: str
    stage: str
    target: int | None = None

    @property
    def key(self) -> tuple[str, str | None, str, str]:
        """The name without the target."""
        return self.provider, self.model, self.operation, self.stage


@dataclass(frozen=True, slots=True, eq=False)
class Columns:
    """One row's samples outside the warm-up, by round and then by scheduled start. A missing number is NaN."""

    scheduled: Floats
    sent: Floats
    first_byte: Floats
    done: Floats
    outcome: npt.NDArray[np.intp]  # place in `outcomes`
    outcomes: list[str]
    images: Floats
    megapixels: Floats
    cost: Floats
    rounds: npt.NDArray[np.intp]
    samples: pd.DataFrame
    places: Places

    def numbers(self, name: str, missing: float = np.nan) -> Floats:
        """A further column of numbers, `missing` where it or one of its values is."""
        return _numbers(self.samples, name, self.places, missing)

    def counts(self, name: str) -> dict[str, int]:
        """How often each text of a column occurs."""
        if name not in self.samples:
            return {}
        codes, names = _texts(self.samples[name], self.places)
        found = np.bincount(codes[codes >= 0], minlength=len(names))
        return {text: int(count) for text, count in zip(names, found, strict=True) if count}

    @property
    def edges(self) -> Places:
        """Where each round begins, and at last the number of samples."""
        n = len(self.rounds)
        inner = np.flatnonzero(self.rounds[1:] != self.rounds[:-1]) + 1
        return np.concatenate(([0], inner, [n])).astype(np.intp) if n else np.zeros(1, dtype=np.intp)

    def ended(self, names: Sequence[str]) -> Mask:
        """Which requests ended in one of these ways."""
        wanted = np.array([name in names for name in self.outcomes] + [False])
        return wanted[self.outcome]  # a missing outcome is −1: the last


def rows(samples: pd.DataFrame) -> list[tuple[RowName, Places]]:
    """Each row's name and the places of its samples in file order; rows in order of first appearance."""
    names = ["provider", "model", "operation", "stage"]
    code = np.zeros(len(samples), dtype=np.int64)
    levels: list[tuple[npt.NDArray[np.int64], list[Any]]] = []
    for name in [*names, "target"] if "target" in samples else names:
        codes, values = pd.factorize(samples[name], use_na_sentinel=True)
        levels.append((np.asarray(codes), list(values)))
        code = code * (len(values) + 1) + codes + 1
    numbers, unique = pd.factorize(code)
    order = np.argsort(numbers, kind="stable")
    edges = np.searchsorted(numbers, np.arange(len(unique) + 1), sorter=order)
    found = []
    for index in range(len(unique)):
        places = order[edges[index] : edges[index + 1]]
        first = [None if codes[places[0]] < 0 else values[codes[places[0]]] for codes, values in levels]
        provider, model, operation, stage = (None if value is None else str(value) for value in first[:4])
        target = int(first[4]) if len(first) > 4 and first[4] is not None else None
        found.append((RowName(provider or "", model, operation or "", stage or "", target), places))
    return found


def columns(samples: pd.DataFrame, places: Places) -> Columns:
    """The arrays of the row whose samples stand at `places`, its warm-up left out."""
    if "warmup" in samples:
        warm = samples["warmup"].to_numpy()[places]
        # A column with missing values comes as objects; what is not said to be warm-up counts.
        places = places[~(warm if warm.dtype == np.bool_ else np.equal(warm, True).astype(bool))]
    scheduled = _numbers(samples, "scheduled_s", places, np.nan)
    rounds = _numbers(samples, "round", places, 0.0).astype(np.intp)
    if len(places) and (np.any(rounds[1:] < rounds[:-1]) or np.any((rounds[1:] == rounds[:-1]) & (scheduled[1:] < scheduled[:-1]))):
        order = np.lexsort((scheduled, rounds))
        places, scheduled, rounds = places[order], scheduled[order], rounds[order]
    codes, names = _texts(samples["outcome"], places)
    return Columns(
        scheduled=scheduled,
        sent=_numbers(samples, "sent_s", places, np.nan),
        first_byte=_numbers(samples, "first_byte_s", places, np.nan),
        done=_numbers(samples, "done_s", places, np.nan),
        outcome=codes,
        outcomes=names,
        images=_numbers(samples, "images", places, 0.0),
        megapixels=_numbers(samples, "megapixels", places, 0.0),
        cost=_numbers(samples, "cost_usd", places, np.nan),
        rounds=rounds,
        samples=samples,
        places=places,
    )


def _numbers(samples: pd.DataFrame, name: str, places: Places, missing: float) -> Floats:
    if name not in samples:
        return np.full(len(places), missing)
    column = samples[name].array
    values: Floats = column.take(places).to_numpy(dtype=np.float64, na_value=np.nan)
    return values if np.isnan(missing) else np.nan_to_num(values, nan=missing)


def _texts(column: pd.Series[Any], places: Places) -> tuple[npt.NDArray[np.intp], list[str]]:
    if isinstance(column.dtype, pd.CategoricalDtype):
        return column.cat.codes.to_numpy()[places].astype(np.intp), [str(name) for name in column.cat.categories]
    codes, names = pd.factorize(column.take(places), use_na_sentinel=True)
    return np.asarray(codes, dtype=np.intp), [str(name) for name in names]
