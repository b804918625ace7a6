"""How fast a mock answers: the seconds an answer takes, and how many requests may come in a time."""

from __future__ import annotations

import math
import random
import re
import time
from collections.abc import Callable
from dataclasses import dataclass

from testcard.specs.errors import UsageError

_HINT = (
    "write it as 0.2, uniform:0.1,0.3, lognormal:0.3,0.5 (median and sigma), per-image:0.05, per-megapixel:0.3, "
    "per-megapixel-step:0.02 or cold:5,60 (5 more after 60 without work), in seconds; join them with +"
)


@dataclass(frozen=True, slots=True)
class Work:
    """What an answer takes: pictures, their pixels each, the steps each was asked for, and the seconds since other work was asked for."""

    images: int = 1
    pixels: int = 0
    steps: float = 1.0
    idle_s: float = math.inf


Draw = Callable[[random.Random, Work], float]


class Latency:
    """A distribution of service times in seconds, drawn from its own seeded generator. `timer` is monotonic seconds."""

    def __init__(self, text: str, *, seed: int = 0, timer: Callable[[], float] = time.monotonic) -> None:
        self.text = text
        self._random = random.Random(seed)
        self._draws = tuple(_parse(part) for part in text.split("+"))
        self._timer = timer
        self._last = -math.inf

    def sample(self, images: int, *, pixels: int = 0, steps: float = 1.0) -> float:
        """Seconds that an answer takes with so many pictures of so many pixels, each in so many steps."""
        now = self._timer()
        work = Work(images, pixels, steps, now - self._last)
        self._last = now
        return sum(draw(self._random, work) for draw in self._draws)


def _parse(text: str) -> Draw:
    kind, _, rest = text.strip().rpartition(":")
    try:
        numbers = [float(number) for number in rest.split(",")]
    except ValueError:
        raise UsageError(f"{text!r} is no latency", hint=_HINT) from None
    if not all(math.isfinite(number) and number >= 0 for number in numbers):
        raise UsageError(f"{text!r} is no latency: a number is negative or not finite", hint=_HINT)
    match kind, numbers:
        case "", [seconds]:
            return lambda _, __: seconds
        case "uniform", [low, high] if low <= high:
            return lambda source, _: source.uniform(low, high)
        case "lognormal", [median, sigma] if median > 0:
            return lambda source, _: source.lognormvariate(math.log(median), sigma)
        case "per-image", [each]:
            return lambda _, work: each * work.images
        case "per-megapixel", [each]:
            return lambda _, work: each * work.images * work.pixels / 1e6
        case "per-megapixel-step", [each]:
            return lambda _, work: each * work.images * work.steps * work.pixels / 1e6
        case "cold", [more, after]:
            return lambda _, work: more if work.idle_s >= after else 0.0
    raise UsageError(f"{text!r} is no latency", hint=_HINT)


_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}


class RateLimit:
    """`COUNT/s`, `/m` or `/h`: COUNT may come at once, and then as many evenly over the unit. `clock` is monotonic seconds."""

    def __init__(self, text: str, clock: Callable[[], float]) -> None:
        found = re.fullmatch(r"(\d+)/([smh])", text.strip())
        if found is None or int(found[1]) < 1:
            raise UsageError(f"{text!r} is no rate limit", hint="write it as 5/s, 100/m or 1000/h")
        self._each_s = _UNITS[found[2]] / int(found[1])
        self._ahead_s = _UNITS[found[2]] - self._each_s
        self._clock = clock
        self._next_s = clock()

    def wait_s(self) -> float:
        """0 when the request may pass (it then counts), else the seconds until one may."""
        now = self._clock()
        wait = self._next_s - self._ahead_s - now
        if wait > 1e-9:
            return wait
        self._next_s = max(self._next_s, now) + self._each_s
        return 0.0
