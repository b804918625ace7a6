"""The master's clock on a worker: monotonic clocks of two machines share no zero. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

#: So many probes find one whose way there and back was short.
PROBES = 7


class Probe(msgspec.Struct, frozen=True, kw_only=True):
    """A question sent at `sent_s` and answered at `answered_s` by the worker's clock; the master's said `master_s` in between."""

    sent_s: float
    master_s: float
    answered_s: float


def offset_s(probes: Sequence[Probe]) -> float:
    """What to add to the worker's clock to get the master's, by the probe with the shortest way (Cristian's method).

    Off by at most half of that way.
    """
    best = min(probes, key=lambda probe: probe.answered_s - probe.sent_s)
    return best.master_s - (best.sent_s + best.answered_s) / 2
