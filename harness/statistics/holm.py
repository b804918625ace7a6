"""Holm's correction: many comparisons, one chance of a false alarm."""

from __future__ import annotations

from collections.abc import Sequence


def adjusted(p_values: Sequence[float | None]) -> list[float | None]:
    """The p-values made larger so that comparing each with 5 % keeps the chance of any false alarm at 5 % (Holm 1979).

    None (nothing was tested) stays None and does not count as a test. The order is kept.
    """
    tested = sorted((p, place) for place, p in enumerate(p_values) if p is not None)
    found: list[float | None] = [None] * len(p_values)
    largest = 0.0
    for step, (p, place) in enumerate(tested):
        largest = max(largest, min(1.0, p * (len(tested) - step)))
        found[place] = largest
    return found
