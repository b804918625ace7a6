"""The newest requests of a mock as its users' tests ask for them: what was asked, what was answered, never a key."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any, NamedTuple, TypeVar

from testcard.mocks.exchange import Call, Upload

_Entry = TypeVar("_Entry")

#: headers of a request that are shown; a key is in none of them
_SHOWN = ("content-type", "content-length", "user-agent", "idempotency-key", "accept", "x-request-id", "traceparent")
#: so many requests are kept
KEPT = 1000
#: characters of a text that are shown
_LONG = 300
#: bytes of a body up to which its fields are kept as they are until somebody asks
_SMALL = 8_000


class Logged(NamedTuple):
    """One request. `fields` are those of its body as they were sent, long texts cut; `phase` is the scenario's, where there is one."""

    number: int
    at: float
    provider: str
    operation: str | None
    method: str
    path: str
    headers: Mapping[str, str]
    fields: Any
    status: int
    seconds: float
    images: int
    billed: bool
    phase: str | None

    def shown(self) -> dict[str, Any]:
        """The entry as JSON has it."""
        return {
            **self._asdict(),
            "headers": {name: self.headers[name] for name in _SHOWN if name in self.headers},
            "fields": shortened(self.fields),
            "seconds": round(self.seconds, 6),
        }


class RequestLog:
    """The newest `keep` requests, oldest first."""

    def __init__(self, *, keep: int = KEPT) -> None:
        self._entries: deque[Logged] = deque(maxlen=keep)
        self.seen = 0

    def add(self, entry: Logged) -> None:
        """One more."""
        self._entries.append(entry)

    def clear(self) -> None:
        """Forgets them all; numbers go on."""
        self._entries.clear()

    def entries(self, query: Mapping[str, str]) -> list[dict[str, Any]]:
        """Those that agree with a query by provider, operation, method, status and phase; of them the newest `limit`."""
        wanted = {name: query[name] for name in ("provider", "operation", "method", "status", "phase") if name in query}
        found = [one for one in self._entries if all(str(getattr(one, name)) == value for name, value in wanted.items())]
        return [one.shown() for one in newest(found, query)]


def newest(entries: list[_Entry], query: Mapping[str, str]) -> list[_Entry]:
    """The last of them, as many as the query's `limit` says; all where it says none."""
    limit = query.get("limit", "")
    return entries[-int(limit) :] if limit.isascii() and limit.isdigit() and int(limit) else entries


def kept(call: Call) -> Any:
    """The fields of a request as the log keeps them: those of a large body without what makes it large."""
    return call.sent if call.body_size <= _SMALL else shortened(call.sent)


def shortened(value: Any) -> Any:
    """The value as JSON can hold it, with long texts cut and files as their size."""
    if isinstance(value, str):
        return value if len(value) <= _LONG else f"{value[:_LONG]}… ({len(value)} characters)"
    if isinstance(value, Upload):
        return f"{value.media_type or 'file'} of {len(value.data)} bytes"
    if isinstance(value, dict):
        return {name: shortened(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [shortened(one) for one in value]
    return value
