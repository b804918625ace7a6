"""Which rate to try next with one kind of answer: from low to high, each a share of the peak. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from testcard.benchmarks.calibration.record import Level


@dataclass
class Ladder:
    """Climbs `shares` of the peak; a level that is not trusted gets one more try, and the climb ends where that fails too."""

    shares: tuple[float, ...]
    peak: Level | None = None
    levels: list[Level] = field(default_factory=list)
    _again: bool = False
    _over: bool = False

    def next_rps(self) -> float | None:
        """The rate to try next, in round numbers; None when the climb is over, or has no peak to start from."""
        if self.peak is None or self._over or len(self.levels) >= len(self.shares):
            return None
        return rounded(self.peak.achieved_rps * self.shares[len(self.levels)])

    def tried(self, level: Level) -> None:
        """Takes in what came of the rate that was tried."""
        if not level.trusted and not self._again:
            self._again = True  # a machine has hiccups; a rate that it cannot do fails twice
            return
        self._again = False
        self.levels.append(level)
        self._over = not level.trusted

    @property
    def trusted_rps(self) -> float | None:
        """The highest rate below the first that was not trusted; None where the lowest was not."""
        return max((level.offered_rps for level in self.levels if level.trusted and level.offered_rps is not None), default=None)

    @property
    def at_ceiling(self) -> bool:
        """Whether there are levels, and each was trusted: faster ones may well be possible."""
        return bool(self.levels) and all(level.trusted for level in self.levels)


def rounded(rate: float) -> float:
    """A rate with two digits that count, and at least 0.1/s."""
    return max(0.1, float(f"{rate:.2g}"))
