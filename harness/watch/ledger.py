"""What a watch has spent today, on disk before anything is sent, so that no crash, restart or second process spends it twice.

A look first reserves the most that it may cost; the file says so before the first request leaves. When the look is over, the reservation
becomes what was spent. A reservation that a killed process left behind counts as spent. Days are days of UTC. A clock that is set back
brings no new day.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from testcard.harness.errors import UsageError
from testcard.harness.locks import lock
from testcard.specs.user_files import content

FORMAT = "testcard.watch/1"
_STATE = "state.json"
_LOCK = "watch.lock"
HISTORY = "history.jsonl"
_DUST = 1e-9


@dataclass(frozen=True, slots=True)
class DailyLimits:
    """What all targets together may cost in a day; None: no limit."""

    max_requests: int | None = None
    max_cost_usd: float | None = None

    @property
    def bounded(self) -> bool:
        """Whether there is a limit at all, as targets off this machine have to have."""
        return self.max_requests is not None or self.max_cost_usd is not None


@dataclass(frozen=True, slots=True)
class LookGrant:
    """What one look may spend at most: requests, and US dollars (None: no limit on them)."""

    target: str
    requests: int
    cost_usd: float | None


class DayLedger:
    """The spending of a watch, shared by its targets' threads, and whatever else has to outlive the process.

    As a context manager it holds the folder for this process alone: `UsageError` where another one watches there, or where the file of
    before cannot be read (what was spent is then not known, and nothing may be sent).
    """

    def __init__(self, folder: Path, limits: DailyLimits, targets: Sequence[str], today: Callable[[], str]) -> None:
        self.folder = folder
        self.limits = limits
        self.targets = tuple(targets)
        self._today = today
        self._lock = threading.Lock()
        self._held: IO[str] | None = None
        self._state: dict[str, Any] = {}

    def __enter__(self) -> DayLedger:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            for path in (self.folder / _LOCK, self.folder / _STATE, *(self.folder / name / HISTORY for name in self.targets)):
                if path.exists() and not path.is_file():  # a pipe would be waited for, a device keeps nothing
                    raise UsageError(f"{path} is no file", hint="move it away, or name another folder with --out")
            self._held = (self.folder / _LOCK).open("w", encoding="utf-8")
        except OSError as error:
            raise UsageError(f"{self.folder} cannot be written: {error.strerror}", hint="name another folder with --out") from None
        try:
            lock(self._held)
        except OSError:
            self._held.close()
            raise UsageError(
                f"another watch is running in {self.folder}", hint="stop it, or give this one a folder of its own with --out"
            ) from None
        self._state = self._read()
        with self._lock:
            for entry in self._state["targets"].values():  # a process of before died in the middle
                self._book(entry, entry["held_requests"], entry["held_usd"])
                entry["held_requests"], entry["held_usd"] = 0, 0.0
            self._new_day()
            try:
                self._write()
            except OSError as error:
                self._held.close()
                raise UsageError(f"{self.folder} cannot be written: {error.strerror}", hint="name another folder with --out") from None
        return self

    def __exit__(self, *_: object) -> None:
        if self._held is not None:
            self._held.close()

    def reserve(self, target: str, requests: int, cost_usd: float | None) -> LookGrant | None:
        """Leave to spend so much, on disk when this returns; None where it does not fit into what today has left for the target.

        `cost_usd` None: nobody knows; that never fits a limit on cost.
        """
        with self._lock:
            self._new_day()
            if not self._fits(target, requests, cost_usd):
                return None
            entry = self._entry(target)
            entry["held_requests"] += requests
            entry["held_usd"] += cost_usd or 0.0
            self._write()
        return LookGrant(target, requests, cost_usd if self.limits.max_cost_usd is not None else None)

    def settle(self, grant: LookGrant, requests: int, cost_usd: float | None, *, held_usd: float | None = None) -> None:
        """Puts what was spent in the place of the grant."""
        with self._lock:
            self._new_day()
            entry = self._entry(grant.target)
            entry["held_requests"] = max(0, entry["held_requests"] - grant.requests)
            entry["held_usd"] = max(0.0, entry["held_usd"] - (held_usd if held_usd is not None else grant.cost_usd or 0.0))
            self._book(entry, requests, cost_usd or 0.0)
            self._write()

    def spent(self, target: str | None = None) -> tuple[int, float]:
        """Requests and US dollars of today, what is reserved included; of all targets, or of one."""
        with self._lock:
            entries = self._state["targets"] if target is None else {target: self._entry(target)}
            return self._total(entries)

    def share(self, target: str) -> DailyLimits:
        """What one target may spend in a day: the limits divided by the number of targets."""
        place, count = self.targets.index(target), len(self.targets)
        requests, cost = self.limits.max_requests, self.limits.max_cost_usd
        return DailyLimits(
            None if requests is None else requests // count + (place < requests % count), None if cost is None else cost / count
        )

    def remember(self, key: str, value: Any) -> None:
        """Keeps a value (JSON) beside the spending."""
        with self._lock:
            self._state.setdefault("kept", {})[key] = value
            self._write()

    def recall(self, key: str) -> Any:
        """A value that was kept, None for none."""
        with self._lock:
            return self._state.get("kept", {}).get(key)

    def _fits(self, target: str, requests: int, cost_usd: float | None) -> bool:
        share = self.share(target)
        for limits, entries in ((share, {target: self._entry(target)}), (self.limits, self._state["targets"])):
            gone, money = self._total(entries)
            if limits.max_requests is not None and gone + requests > limits.max_requests:
                return False
            if limits.max_cost_usd is not None and (cost_usd is None or money + cost_usd > limits.max_cost_usd + _DUST):
                return False
        return True

    def _total(self, entries: dict[str, dict[str, Any]]) -> tuple[int, float]:
        requests = sum(one["requests"] + one["held_requests"] for one in entries.values())
        return requests, sum(one["cost_usd"] + one["held_usd"] for one in entries.values())

    def _book(self, entry: dict[str, Any], requests: int, cost_usd: float) -> None:
        entry["requests"] += requests
        entry["cost_usd"] += cost_usd

    def _entry(self, target: str) -> dict[str, Any]:
        fresh = {"requests": 0, "cost_usd": 0.0, "held_requests": 0, "held_usd": 0.0}
        entry: dict[str, Any] = self._state["targets"].setdefault(target, fresh)
        return entry

    def _new_day(self) -> None:
        """Begins at nothing where a later day has come; what is under way stays reserved."""
        day = self._today()
        if day > self._state["day"]:
            self._state["day"] = day
            for entry in self._state["targets"].values():
                entry["requests"], entry["cost_usd"] = 0, 0.0

    def _read(self) -> dict[str, Any]:
        path = self.folder / _STATE
        if not path.exists():
            return {"schema": FORMAT, "day": self._today(), "targets": {}, "kept": {}}
        try:
            state: dict[str, Any] = json.loads(content(path))
            if state["schema"] != FORMAT or not isinstance(state["day"], str):
                raise ValueError(f"is no {FORMAT}")
            if not isinstance(state.get("kept", {}), dict):
                raise TypeError("kept is no object")
            for entry in state["targets"].values():
                for key in ("requests", "cost_usd", "held_requests", "held_usd"):
                    if not entry[key] >= 0:
                        raise ValueError(f"{key} is {entry[key]}")
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise UsageError(
                f"{path} cannot be read ({error}), so nobody knows what was spent today",
                hint="move it away to begin at nothing spent, or name another folder with --out",
            ) from None
        return state

    def _write(self) -> None:
        """Replaces the file as a whole; it is on the disk when this returns."""
        part = self.folder / f".{_STATE}.part"
        with part.open("w", encoding="utf-8") as file:
            json.dump(self._state, file, indent=2)
            file.flush()
            os.fsync(file.fileno())
        part.replace(self.folder / _STATE)
