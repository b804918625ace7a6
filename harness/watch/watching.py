"""When a watch looks at its targets, and what it makes of what it sees: history, metrics, and word of a change.

Each target has a thread of its own, so that one that hangs holds up no other. The clock, waiting and looking are handed in. A look that does
not fit into what today's budget has left is put off until the next day; nothing smaller is sent in its place.

Tells a webhook of changes: one POST with JSON each, tried again at the next look until it is taken.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol, TypeVar

import httpx
import msgspec

from testcard.harness.check.run import CheckRun
from testcard.harness.errors import UsageError
from testcard.harness.kept_connections import direct
from testcard.harness.redaction import redacted_bytes
from testcard.harness.watch.ledger import HISTORY, DayLedger
from testcard.harness.watch.looking import LookKind, PlannedLook, Watched, WatchLook

_MOST_PENDING = 100
_Kept = TypeVar("_Kept")


class WatchClock(Protocol):
    """The time, and waiting for it."""

    def now(self) -> float:
        """Unix seconds."""

    def wait(self, seconds: float) -> bool:
        """Waits so long, or until the watch ends; whether it has ended."""


class Looker(Protocol):
    """Carries out a prepared look (see `looking.look`)."""

    def __call__(
        self,
        watched: Watched,
        prepared: PlannedLook,
        *,
        requests: int,
        cost_usd: float | None,
        folder: Path,
        at: str,
        started: Callable[[CheckRun], None],
    ) -> WatchLook:
        """What was found."""


class VerdictChange(msgspec.Struct, frozen=True, kw_only=True):
    """A target's verdict is another one than at the last check that decided anything; what a webhook is sent."""

    schema: str = "testcard.watch-change/1"
    at: str
    target: str
    before: str | None
    now: str
    newly_broken: list[tuple[str, str]] = []
    kept_again: list[tuple[str, str]] = []
    reason: str | None = None
    run: str | None = None


class WatchListener(Protocol):
    """Whoever is told: metrics, a terminal, a webhook."""

    def looked(self, look: WatchLook) -> None:
        """A look is over."""

    def put_off(self, target: str, kind: LookKind) -> None:
        """A look was not sent: today's budget has no room for it."""

    def changed(self, change: VerdictChange) -> None:
        """A verdict changed; said once."""


class Courier(Protocol):
    """Takes changes elsewhere, which may fail."""

    def deliver(self, change: VerdictChange) -> bool:
        """Whether the change arrived; what did not is tried again at the next look, also by the next process."""


@dataclass(frozen=True, slots=True)
class Intervals:
    """Seconds from one look to the next of its kind; None: never."""

    check_s: float | None
    probe_s: float | None


class TargetWatch:
    """One target's part of a watch. What has to outlive the process is in the ledger: when it was looked at last, and what was found."""

    def __init__(
        self,
        watched: Watched,
        prepared: dict[LookKind, PlannedLook],
        intervals: Intervals,
        ledger: DayLedger,
        clock: WatchClock,
        looker: Looker,
        listeners: Sequence[WatchListener] = (),
        *,
        courier: Courier | None = None,
        keep: int = 50,
    ) -> None:
        self.watched = watched
        self.prepared = prepared
        self.ledger = ledger
        self.clock = clock
        self.looker = looker
        self.listeners = listeners
        self.courier = courier
        self.keep = keep
        self.changes: list[VerdictChange] = []
        self._every: dict[LookKind, float] = {}
        if intervals.check_s is not None:
            self._every["check"] = intervals.check_s
        if intervals.probe_s is not None:
            self._every["probe"] = intervals.probe_s
        self._running: CheckRun | None = None
        self._lock = threading.Lock()
        self._stopped = False

    def run(self, *, once: bool = False) -> None:
        """Looks until the clock says that the watch has ended; `once`: each kind of look once, now."""
        if once:
            for kind in self._every:
                self.take(kind)
            return
        while True:
            kind, due = min(((kind, self.due(kind)) for kind in self._every), key=lambda one: (one[1], one[0]))
            wait_s = due - self.clock.now()
            if wait_s > 0:
                if self.clock.wait(wait_s):
                    return
                continue  # the clock may have been set meanwhile
            self.take(kind)
            if self._stopped or self.clock.wait(0):
                return

    def stop(self) -> None:
        """Ends a look that is under way; what was sent of it is booked. One that is being judged is left unjudged."""
        with self._lock:
            self._stopped = True
            if self._running is not None and not self._running.stop():
                self._running.abort()

    def due(self, kind: LookKind) -> float:
        """When the next look of a kind is due, in Unix seconds, also after a restart: an interval after the last one, or when a day
        with a budget of its own begins. A time of before that now lies ahead, because the clock was set back, counts as now."""
        now = self.clock.now()
        last, until = (self.ledger.recall(f"{self.watched.name} {kind} {word}") for word in ("last", "put off until"))
        if isinstance(last, int | float) and last > now:
            last = now
            self.ledger.remember(f"{self.watched.name} {kind} last", now)
        due = last + self._every[kind] if isinstance(last, int | float) else now
        return max(due, min(float(until), _midnight_after(now))) if isinstance(until, int | float) else due

    def take(self, kind: LookKind) -> WatchLook | None:
        """Looks now, where the budget allows it, and says what came of it; None where it was put off."""
        now = self.clock.now()
        prepared, name = self.prepared[kind], self.watched.name
        # Written down first: a look that kills the process is not repeated at once by whoever starts it again.
        self.ledger.remember(f"{name} {kind} last", now)
        grant = self.ledger.reserve(name, prepared.requests, prepared.cost_usd)
        if grant is None:
            self.ledger.remember(f"{name} {kind} put off until", _midnight_after(now))
            for listener in self.listeners:
                listener.put_off(name, kind)
            return None
        at = datetime.fromtimestamp(now, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        folder = self._folder(kind, now)
        try:
            look = self.looker(
                self.watched, prepared, requests=grant.requests, cost_usd=grant.cost_usd, folder=folder, at=at, started=self._started
            )
        except BaseException:
            # How far it came is not known: all that it was allowed counts as spent.
            self.ledger.settle(grant, grant.requests, grant.cost_usd, held_usd=prepared.cost_usd)
            raise
        finally:
            with self._lock:
                self._running = None
        cost = look.spend.cost_usd if look.spend.cost_usd is not None else (prepared.cost_usd if look.spend.billed_requests else 0.0)
        self.ledger.settle(grant, look.spend.requests, cost, held_usd=prepared.cost_usd)
        self._tell(look)
        return look

    def _started(self, run: CheckRun) -> None:
        with self._lock:
            self._running = run
            if self._stopped:
                run.stop()

    def _folder(self, kind: LookKind, now: float) -> Path:
        stem = f"{kind}-{datetime.fromtimestamp(now, UTC):%Y%m%d-%H%M%S}"
        parent = self.ledger.folder / self.watched.name
        number = 1
        while (folder := parent / (stem if number == 1 else f"{stem}-{number}")).exists():
            number += 1
        return folder

    def _tell(self, look: WatchLook) -> None:
        parent = self.ledger.folder / self.watched.name
        parent.mkdir(parents=True, exist_ok=True)
        with (parent / HISTORY).open("ab") as file:
            file.write(msgspec.json.encode(look) + b"\n")
        self._tidy(parent, look.kind)
        for listener in self.listeners:
            listener.looked(look)
        if look.kind == "check" and not self._stopped:
            self._compare(look)
        self._deliver()

    def _tidy(self, parent: Path, kind: LookKind) -> None:
        """Deletes the oldest runs of a kind; history.jsonl keeps what they found."""
        runs = sorted(one for one in parent.iterdir() if one.is_dir() and one.name.startswith(f"{kind}-") and (one / "run.json").is_file())
        for one in runs[: -self.keep] if self.keep else ():
            shutil.rmtree(one, ignore_errors=True)

    def _compare(self, look: WatchLook) -> None:
        """Notes a change. What decides nothing (inconclusive, an error of ours) is no news, and the verdict before it stays."""
        if look.word not in ("pass", "fail", "unreachable"):
            return
        key = f"{self.watched.name} verdict"
        before = _as_kept(self.ledger.recall(key), _KeptVerdict)
        broken = sorted(map(list, look.broken))
        self.ledger.remember(key, {"word": look.word, "broken": broken if look.word != "unreachable" or before is None else before.broken})
        if before is None and look.word == "pass":
            return
        was = sorted(map(list, before.broken if before is not None else []))
        newly = [one for one in broken if one not in was]
        again = [one for one in was if one not in broken] if look.word != "unreachable" else []
        if before is not None and before.word == look.word and not newly and not again:
            return
        change = VerdictChange(
            at=look.at,
            target=look.target,
            before=before.word if before is not None else None,
            now=look.word,
            newly_broken=[(one[0], one[1]) for one in newly],
            kept_again=[(one[0], one[1]) for one in again],
            reason=look.reason,
            run=str(self.ledger.folder / self.watched.name / look.run) if look.run else None,
        )
        self.changes.append(change)
        for listener in self.listeners:
            listener.changed(change)
        if self.courier is not None:
            key = f"{self.watched.name} pending"
            self.ledger.remember(key, [*map(msgspec.to_builtins, self._pending()), msgspec.to_builtins(change)][-_MOST_PENDING:])

    def _deliver(self) -> None:
        """Passes on the changes that have not arrived yet, the oldest first, those of a process before this one too."""
        pending = self._pending()
        if self.courier is None or not pending:
            return
        while pending and self.courier.deliver(pending[0]):
            pending.pop(0)
        self.ledger.remember(f"{self.watched.name} pending", [msgspec.to_builtins(one) for one in pending])

    def _pending(self) -> list[VerdictChange]:
        return _as_kept(self.ledger.recall(f"{self.watched.name} pending"), list[VerdictChange]) or []


class _KeptVerdict(msgspec.Struct):
    """What the last check that decided anything found."""

    word: str
    broken: list[tuple[str, str]] = []


def _as_kept(value: object, kind: type[_Kept]) -> _Kept | None:
    """What was kept, as its kind; None for nothing, and for what is damaged."""
    try:
        return None if value is None else msgspec.convert(value, kind)
    except msgspec.ValidationError:
        return None


def _midnight_after(now: float) -> float:
    day = datetime.fromtimestamp(now, UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return (day + timedelta(days=1)).timestamp()


def day_of(now: float) -> str:
    """The day of UTC, ISO 8601."""
    return f"{datetime.fromtimestamp(now, UTC):%Y-%m-%d}"


TIMEOUT_S = 10.0


class Webhook:
    """A courier that POSTs changes to an address. `say` gets a line where that failed; the address, which may hold a token, is not in it."""

    def __init__(self, address: str, say: Callable[[str], None], transport: httpx.BaseTransport | None = None) -> None:
        try:
            url = httpx.URL(address)
        except httpx.InvalidURL:
            url = httpx.URL("")
        if url.scheme not in ("http", "https") or not url.host:
            raise UsageError("--webhook needs an http or https address")
        self._url = url
        self._say = say
        self._transport = transport

    def deliver(self, change: VerdictChange) -> bool:
        """Whether the change was taken: any answer of 200 to 299."""
        try:
            with httpx.Client(timeout=TIMEOUT_S, transport=self._transport, mounts=direct(str(self._url))) as client:
                answer = client.post(
                    self._url, content=redacted_bytes(msgspec.json.encode(change)), headers={"content-type": "application/json"}
                )
        except httpx.HTTPError as error:
            self._say(f"the webhook could not be told of {change.target}: {type(error).__name__}; it is tried again at the next look")
            return False
        if not answer.is_success:
            self._say(f"the webhook answered {answer.status_code} to the change of {change.target}; it is tried again at the next look")
        return answer.is_success
