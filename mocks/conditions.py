"""How a mock is doing, apart from what it serves: its pace, its limits, what it refuses, its faults; and timelines of such conditions.

Conditions come from flags, from a scenario file, or over HTTP while the mock runs; whatever they come from, they are read here.

How fast a mock answers: the seconds an answer takes, and how many requests may come in a time.
"""

from __future__ import annotations

import asyncio
import math
import random
import re
import secrets
import time
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from email.utils import formatdate
from pathlib import Path
from typing import Any, Literal

import msgspec

from testcard.mocks.exchange import Refused
from testcard.mocks.faults import parse_fault
from testcard.specs.errors import UsageError
from testcard.specs.user_files import content

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


#: which of the processes that serve one mock together this is
_part = 0


def draw_apart(part: int) -> None:
    """After a fork: processes that serve one mock together are not to draw the same times."""
    global _part
    _part = part


class Chance:
    """What a provider's mock draws from: the same again after each `begin` with one seed, something else for every other seed and provider."""

    def __init__(self, provider: str = "") -> None:
        self._provider = provider
        self._seed: int | None = None
        self._source: random.Random | None = None

    def begin(self, seed: int | None) -> None:
        """Draws from the beginning of this seed; None: from the system's chance."""
        self._seed, self._source = seed, None

    @property
    def source(self) -> random.Random:
        """The generator. Made at the first draw, when it is known which process draws."""
        if self._source is None:
            self._source = random.Random(None if self._seed is None else f"{self._seed}|{self._provider}|{_part}")
        return self._source


class Latency:
    """A distribution of service times in seconds, drawn from `chance`, by default the system's. `timer` is monotonic seconds."""

    def __init__(self, text: str, chance: Chance | None = None, *, timer: Callable[[], float] = time.monotonic) -> None:
        self.text = text
        self._chance = chance or Chance()
        self._draws = tuple(_parse(part) for part in text.split("+"))
        self._timer = timer
        self._last = -math.inf

    def sample(self, images: int, *, pixels: int = 0, steps: float = 1.0) -> float:
        """Seconds that an answer takes with so many pictures of so many pixels, each in so many steps."""
        now = self._timer()
        work = Work(images, pixels, steps, now - self._last)
        self._last = now
        return sum(draw(self._chance.source, work) for draw in self._draws)


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
        found = re.fullmatch(r"([0-9]{1,12})/([smh])", text.strip())
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


#: what can be refused by name, as status and code
REFUSALS: Mapping[str, tuple[int, str]] = {
    "credit": (402, "insufficient_credits"),
    "account": (403, "account_inactive"),
    "limit": (429, "rate_limit_exceeded"),
    "error": (500, "internal_error"),
    "upstream": (502, "upstream_error"),
    "overloaded": (503, "overloaded"),
    "timeout": (504, "timeout"),
}
_BY_STATUS = dict(REFUSALS.values())
_SENTENCES = {
    402: "there is no credit left",
    403: "this account is not active",
    429: "too many requests",
    500: "something went wrong here",
    502: "what stands behind this server did not answer rightly",
    503: "this server is overloaded",
    504: "the work took too long",
}
#: what a request is asked to wait after a 429 or 503 that no rate limit explains
_RETRY_AFTER_S = 1.0


class Conditions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What can be asked of a running mock. Everything left out is as in a mock that was started without flags.

    `latency`, `rate_limit`, `faults`: as the flags of `testcard mock` take them. `refuse`: NAME[@RATE], of REFUSALS, "moderated", or a status
    from 400 to 599. `quota`: so many billed requests, then `quota_status`. `balance_usd`: what is there to be spent at the profile's illustrative
    prices, then 402. `moderate`: words in a prompt that are refused. `max_concurrent`: requests worked on at once, others queue. `seed`: of the
    service times; the same again for the same requests in the same order. A mock that is given none takes one of its own.
    """

    latency: str | None = None
    rate_limit: str | None = None
    retry_after: Literal["seconds", "date"] = "seconds"
    faults: tuple[str, ...] = ()
    refuse: tuple[str, ...] = ()
    quota: int | None = None
    quota_status: Literal[402, 403, 429] = 402
    balance_usd: float | None = None
    moderate: tuple[str, ...] = ()
    url_lifetime_s: float | None = None
    max_concurrent: int | None = None
    seed: int | None = None


def seeded(conditions: Conditions) -> Conditions:
    """The same with a seed, one of their own where they name none."""
    return conditions if conditions.seed is not None else msgspec.structs.replace(conditions, seed=secrets.randbits(32))


def conditions_from(value: Any, place: str, *, over: Conditions | None = None) -> Conditions:
    """The conditions that a mapping says, over others where given; `UsageError` that names the place, and the part that cannot be used.

    A latency may be a number of seconds, and of what is a list one may stand alone.
    """
    try:
        merged = {**(msgspec.structs.asdict(over) if over is not None else {}), **value}
        if isinstance(latency := merged.get("latency"), int | float) and not isinstance(latency, bool):
            merged["latency"] = str(latency)
        for name in ("faults", "refuse", "moderate"):
            if isinstance(merged.get(name), str):
                merged[name] = (merged[name],)
        found = msgspec.convert(merged, Conditions, strict=False)
    except (msgspec.ValidationError, TypeError) as error:
        raise UsageError(f"{place}: {error}", hint=f"conditions are {', '.join(Conditions.__struct_fields__)}") from None
    try:
        checked(found)
    except UsageError as error:
        raise UsageError(f"{place}: {error}", hint=error.hint) from None
    return found


def checked(conditions: Conditions) -> None:
    """`UsageError` for conditions that can be read but not kept."""
    if conditions.latency is not None:
        Latency(conditions.latency)
    if conditions.rate_limit is not None:
        RateLimit(conditions.rate_limit, lambda: 0.0)
    for fault in conditions.faults:
        parse_fault(fault)
    for refusal in conditions.refuse:
        parse_refusal(refusal)
    for name in ("quota", "balance_usd", "url_lifetime_s", "max_concurrent"):
        value = getattr(conditions, name)
        least = 1 if name == "max_concurrent" else 0
        if value is not None and not (math.isfinite(value) and value >= least):
            raise UsageError(f"{name} cannot be {value}", hint=f"it is at least {least}")


@dataclass(slots=True)
class Refusal:
    """A refusal that holds for a share of the requests, in an even rhythm. `status` None: as the provider refuses a prompt for its content.

    `ahead` is the part of a request by which its rhythm is before that of others, so that they do not fall on the same requests.
    """

    status: int | None
    code: str
    rate: float
    ahead: float = 0.0
    _seen: int = 0
    _given: int = 0

    def count(self) -> bool:
        """Counts a request; whether one is to be refused by now."""
        self._seen += 1
        return int(self._seen * self.rate + self.ahead + 1e-9) > self._given

    def give(self) -> None:
        """The request that was counted is refused."""
        self._given += 1


def next_refusal(refusals: Sequence[Refusal]) -> Refusal | None:
    """The one that refuses the next request, if one does: each counts every request, and what one could not refuse it refuses next."""
    due = [one for one in refusals if one.count()]
    if not due:
        return None
    due[0].give()
    return due[0]


def parse_refusal(text: str) -> Refusal:
    """`NAME[@RATE]`; `UsageError` with the names for anything else."""
    name, _, share = text.partition("@")
    if name in REFUSALS:
        status, code = REFUSALS[name]
    elif re.fullmatch(r"[45]\d\d", name):
        status, code = int(name), _BY_STATUS.get(int(name), "refused")
    elif name != "moderated":
        raise UsageError(f"{text!r} is nothing to refuse with", hint=f"{', '.join(REFUSALS)}, moderated, or a status from 400 to 599")
    try:
        rate = float(share) if share else 1.0
    except ValueError:
        rate = 0.0
    if not 0 < rate <= 1:
        raise UsageError(f"{text}: a rate is above 0 and at most 1", hint=f"for every tenth request write {name}@0.1")
    return Refusal(None, "moderated", rate) if name == "moderated" else Refusal(status, code, rate)


class InForce:
    """The conditions as one provider's mock keeps them, with what is left of its quota and its limits.

    `timer` is monotonic seconds, `clock` unix seconds. `set` changes what is different and leaves the rest as far as it has got.
    `provider` tells its service times from those of others with the same seed. `usual`: nothing is asked that could hold a request up or refuse it.
    """

    def __init__(self, timer: Callable[[], float], clock: Callable[[], float], provider: str = "") -> None:
        self._timer = timer
        self._clock = clock
        self._chance = Chance(provider)
        self._now = Conditions()
        self.latency: Latency | None = None
        self._rate_limit: RateLimit | None = None
        self._refusals: tuple[Refusal, ...] = ()
        self._left: int | None = None
        self.slots: asyncio.Semaphore | None = None
        self._words: re.Pattern[str] | None = None
        self.usual = True

    def set(self, wanted: Conditions) -> None:
        """Puts other conditions in force."""
        now = self._now
        if wanted.seed != now.seed:
            self._chance.begin(wanted.seed)
        if wanted.latency != now.latency:
            self.latency = Latency(wanted.latency, self._chance, timer=self._timer) if wanted.latency is not None else None
        if wanted.rate_limit != now.rate_limit:
            self._rate_limit = RateLimit(wanted.rate_limit, self._timer) if wanted.rate_limit is not None else None
        if wanted.refuse != now.refuse:
            several = len(wanted.refuse)
            self._refusals = tuple(replace(parse_refusal(text), ahead=number / several) for number, text in enumerate(wanted.refuse))
        if wanted.quota != now.quota:
            self._left = wanted.quota
        if wanted.max_concurrent != now.max_concurrent:
            self.slots = asyncio.Semaphore(wanted.max_concurrent) if wanted.max_concurrent is not None else None
        if wanted.moderate != now.moderate:
            alternatives = "|".join(re.escape(word) for word in wanted.moderate)
            self._words = re.compile(rf"(?<!\w)(?:{alternatives})(?!\w)", re.IGNORECASE) if wanted.moderate else None
        self._now = wanted
        self.usual = not (self._refusals or self.counts_money) and all(
            one is None for one in (self.latency, self._rate_limit, self.slots, self._words)
        )

    @property
    def conditions(self) -> Conditions:
        """Those in force."""
        return self._now

    @property
    def counts_money(self) -> bool:
        """Whether work is paid for: from a balance, or out of a quota."""
        return self._left is not None or self._now.balance_usd is not None

    @property
    def left(self) -> int | None:
        """Billed requests that the quota still allows; None without one."""
        return self._left

    def refused_at_the_door(self) -> Refused | Refusal | None:
        """Why the next request for work is not let in, whatever it asks for: a rate limit, or a refusal that was asked for."""
        if self._rate_limit is not None:
            wait_s = self._rate_limit.wait_s()
            if wait_s:
                return Refused(429, _SENTENCES[429], code="rate_limit_exceeded", headers=(self._retry_after(wait_s),))
        refusal = next_refusal(self._refusals) if self._refusals else None
        if refusal is None or refusal.status is None:
            return refusal
        headers = (self._retry_after(_RETRY_AFTER_S),) if refusal.status in (429, 503) else ()
        said = _SENTENCES.get(refusal.status, "refused as the mock was told")
        return Refused(refusal.status, said, code=refusal.code, headers=headers)

    def refused_for_money(self, cost_usd: float, balance_usd: float | None) -> Refused | None:
        """Why work that costs this is not done: the quota or the balance is used up. What is let through counts against the quota."""
        if balance_usd is not None and (balance_usd <= 0 or cost_usd > balance_usd):
            return Refused(402, _SENTENCES[402], code="insufficient_credits")
        if self._left is None:
            return None
        if self._left < 1:
            status = self._now.quota_status
            code = {402: "insufficient_credits", 403: "account_inactive", 429: "insufficient_quota"}[status]
            return Refused(status, "the quota is used up", code=code)
        self._left -= 1
        return None

    def is_moderated(self, text: str) -> bool:
        """Whether a prompt holds a word that is refused."""
        return self._words is not None and self._words.search(text) is not None

    def _retry_after(self, wait_s: float) -> tuple[str, str]:
        if self._now.retry_after == "date":
            return "retry-after", formatdate(math.ceil(self._clock() + wait_s), usegmt=True)
        return "retry-after", str(max(1, math.ceil(wait_s)))


@dataclass(frozen=True, slots=True)
class Phase:
    """A part of a scenario: its conditions, and how long they last, in seconds or in requests for work; neither: to the end."""

    name: str
    conditions: Conditions
    seconds: float | None = None
    requests: int | None = None


@dataclass(frozen=True, slots=True)
class Scenario:
    """Phases one after the other; `repeat` begins again after the last."""

    phases: tuple[Phase, ...]
    repeat: bool = False


class Timeline:
    """Where a scenario has got to. It begins with the first request for work; `timer` is monotonic seconds."""

    def __init__(self, scenario: Scenario, timer: Callable[[], float]) -> None:
        self._scenario = scenario
        self._timer = timer
        self._at = 0
        self._began: float | None = None
        self._seen = 0

    @property
    def phase(self) -> Phase:
        """The phase that holds now."""
        return self._scenario.phases[self._at]

    def next(self) -> bool:
        """Counts a request for work; whether it is the first of another phase."""
        if self._began is None:
            self._began = self._timer()
        moved = False
        # An idle mock may have let several phases pass, and of a scenario that repeats several rounds.
        self._skip_rounds()
        for _ in range(len(self._scenario.phases)):
            if not self._over():
                break
            moved = self._move() or moved
        self._seen += 1
        return moved

    def _skip_rounds(self) -> None:
        lengths = [phase.seconds for phase in self._scenario.phases]
        assert self._began is not None, "set by the first request"
        if self._scenario.repeat and None not in lengths:
            round_s = sum(seconds or 0.0 for seconds in lengths)
            rounds = (self._timer() - self._began) // round_s
            if rounds > 0:
                self._began += rounds * round_s
                self._seen = 0

    def _over(self) -> bool:
        phase, began = self.phase, self._began
        assert began is not None, "set by the first request"
        by_time = phase.seconds is not None and self._timer() - began >= phase.seconds
        return by_time or (phase.requests is not None and self._seen >= phase.requests)

    def _move(self) -> bool:
        phases = self._scenario.phases
        if self._at + 1 == len(phases) and not self._scenario.repeat:
            return False
        seconds = self.phase.seconds
        assert self._began is not None, "set by the first request"
        now = self._timer()
        # One that ended by time ended then, whenever the next request came; one that ended by count before its time ends now.
        self._began = min(self._began + seconds, now) if seconds is not None else now
        self._at = (self._at + 1) % len(phases)
        self._seen = 0
        return True


def read_scenario(path: Path, *, over: Conditions | None = None) -> Scenario:
    """The scenario of a TOML file, its phases over these conditions; `UsageError` that names the file and the phase."""
    try:
        found = tomllib.loads(content(path).decode())
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}", hint="name a file of [[phase]] tables") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UsageError(f"{path} is no TOML: {error}", hint="write a [[phase]] table for each phase") from None
    return scenario_from(found, str(path), over=over)


def scenario_from(value: Mapping[str, Any], place: str, *, over: Conditions | None = None) -> Scenario:
    """The scenario that a mapping says: `phase` (a list), `repeat`."""
    unknown = sorted(set(value) - {"phase", "repeat"})
    phases: Sequence[Any] = value.get("phase") or ()
    if unknown or not isinstance(phases, list) or not phases or not isinstance(value.get("repeat", False), bool):
        what = f"there is no {unknown[0]}" if unknown else "there is no [[phase]], or repeat is neither true nor false"
        raise UsageError(f"{place}: {what}", hint="a scenario is a list of [[phase]] tables, and repeat = true or false")
    found = tuple(_phase(one, number, f"{place}, phase {number}", over) for number, one in enumerate(phases, 1))
    endless = next((one for one in found[:-1] if one.seconds is None and one.requests is None), None)
    if endless is not None:
        raise UsageError(f"{place}: the phase {endless.name} never ends, and others follow it", hint="give it seconds or requests")
    return Scenario(found, bool(value.get("repeat", False)))


def _phase(value: Any, number: int, place: str, over: Conditions | None) -> Phase:
    if not isinstance(value, dict):
        raise UsageError(f"{place} is no table", hint="write it as [[phase]]")
    own = {name: value[name] for name in ("name", "seconds", "requests") if name in value}
    rest = {name: one for name, one in value.items() if name not in own}
    seconds, requests = own.get("seconds"), own.get("requests")
    for name, one, kinds in (("seconds", seconds, (int, float)), ("requests", requests, (int,))):
        if one is not None and (isinstance(one, bool) or not isinstance(one, kinds) or not one > 0):
            raise UsageError(f"{place}: {name} cannot be {one!r}", hint="it is a number above 0")
    return Phase(str(own.get("name", f"phase {number}")), conditions_from(rest, place, over=over), seconds, requests)
