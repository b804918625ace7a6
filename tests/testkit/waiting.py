"""Waiting for what has to come about, with patience for a machine that is busy: a test fails by what is wrong, not by how slow it is."""

from __future__ import annotations

import time
from collections.abc import Callable

#: Seconds after which a process or a condition is given up: several times what a busy machine with two cores has been seen to need.
PATIENCE_S = 120.0


def until(
    came_about: Callable[[], object], what: str = "what was waited for", *, seconds: float = PATIENCE_S, every_s: float = 0.02
) -> None:
    """Returns once the condition holds; fails with `what` when it does not within `seconds`."""
    deadline = time.monotonic() + seconds
    while not came_about():
        assert time.monotonic() < deadline, f"{what} did not come about within {seconds:.0f} s"
        time.sleep(every_s)
