"""Kills a process of a run at a random moment, over and over, and prints what was lost: `python tests/crash/random_kills.py [N] [SEED]`.

Runs of a check, a benchmark, a fleet and an evaluation take turns, and each of their processes. Exits 1 where anything was lost.
"""

from __future__ import annotations

import random
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from testkit.kills import VICTIMS, killed_once


def main(kills: int, seed: int) -> int:
    """The table; 1 where anything was lost."""
    draw = random.Random(seed)
    every = [(kind, victim) for kind, victims in VICTIMS.items() for victim in victims]
    bad = 0
    print("run       victim        at s  answered  recorded  lost  orphans  unreadable  unsaid", flush=True)
    for number in range(kills):
        kind, victim = every[number % len(every)]
        with tempfile.TemporaryDirectory() as folder:
            found = killed_once(kind, victim, Path(folder), draw.uniform(0.0, 4.0))
        bad += not found.good
        print(
            f"{found.run:<9} {found.victim:<13} {found.at_s:4.1f}  {found.answered:8d}  {found.recorded:8d}  {found.lost:4d}  "
            f"{len(found.orphans):7d}  {'no' if not found.unreadable else found.unreadable:<10}  {'no' if not found.unsaid else 'yes'}"
            f"{'' if found.good else '  <-- ' + ', '.join(found.orphans)}",
            flush=True,
        )
    print(f"{kills} kills, {bad} with a loss")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 100, int(sys.argv[2]) if len(sys.argv) > 2 else 1))
