"""What a mock keeps while it serves: pictures under signed addresses, tasks that are fetched later, and counts of what was served.

The newest requests of a mock as its users' tests ask for them: what was asked, what was answered, never a key.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import secrets
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

import msgspec

from testcard.mocks.exchange import AddressMode, Answer, Call, PictureFormat, Refused, Upload
from testcard.specs.errors import UsageError

PREFIX = "/_testcard/files/"


class PictureStore:
    """Keeps at most `keep_bytes` of pictures, the newest ones. `clock` gives unix seconds."""

    def __init__(self, clock: Callable[[], float], *, keep_bytes: int = 256_000_000) -> None:
        self._clock = clock
        self._secret = secrets.token_bytes(16)
        self._kept: OrderedDict[str, tuple[bytes, PictureFormat, AddressMode]] = OrderedDict()
        self._bytes = 0
        self._keep_bytes = keep_bytes

    def publish(self, data: bytes, form: PictureFormat, lifetime_s: float, mode: AddressMode = "open") -> str:
        """The path and query under which the picture answers for `lifetime_s` seconds, in the mode of a fault where one is named."""
        name = f"{secrets.token_hex(8)}.{'jpg' if form == 'jpeg' else form}"
        self._kept[name] = (data, form, mode)
        self._bytes += len(data)
        while self._bytes > self._keep_bytes and len(self._kept) > 1:
            _, (old, *_) = self._kept.popitem(last=False)
            self._bytes -= len(old)
        ends = self._clock() + lifetime_s
        expires = str(int(ends)) if lifetime_s >= 10 else f"{ends:.3f}"
        return f"{PREFIX}{name}?expires={expires}&signature={self._sign(name, expires)}"

    def fetch(self, name: str, query: Mapping[str, str]) -> Answer:
        """The picture; 403 for a signature that is wrong or an address that has expired, 404 for a name unknown."""
        expires = query.get("expires", "")
        if not hmac.compare_digest(query.get("signature", "").encode(), self._sign(name, expires).encode()):
            return Answer(403, {"error": "the signature of this address is wrong"})
        if self._clock() > float(expires):
            return Answer(403, {"error": "this address has expired"})
        if name not in self._kept:
            return Answer(404, {"error": "there is no such picture"})
        data, form, mode = self._kept[name]
        if mode == "locked":
            return Answer(401, {"error": "the key is missing"}, headers=(("www-authenticate", "Bearer"),))
        if mode in ("dead", "once"):
            self._bytes -= len(self._kept.pop(name)[0])
        if mode == "dead":
            return Answer(404, {"error": "there is no such picture"})
        if mode == "page":
            return Answer(200, data=b"<html><body>upstream error</body></html>", media_type="text/html")
        return Answer(200, data=data, media_type="text/plain" if mode == "mistyped" else f"image/{form}")

    def _sign(self, name: str, expires: str) -> str:
        return hmac.new(self._secret, f"{name}|{expires}".encode(), hashlib.sha256).hexdigest()[:32]


State = Literal["queued", "running", "completed", "failed", "cancelled"]
#: share of the work time that a task waits before it runs
_QUEUE_SHARE = 0.3


@dataclass(slots=True)
class Task:
    """Accepted work. `work` makes the sync answer's body, once, when the task is first seen completed, and is let go of then.

    `origin`: the idempotency key with the digest of the body; `size`: bytes of the request, and of the result once it is there.
    """

    reference: str
    accepted_s: float
    takes_s: float
    work: Callable[[], Awaitable[Any]] | None
    origin: tuple[str, bytes] | None = None
    size: int = 0
    result: Any = None
    failure: Refused | None = None
    done: bool = False
    cancelled: bool = False
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)


class TaskStore:
    """The tasks of one provider: the newest `keep`, and of those that have ended the newest `keep_bytes` of requests and results.

    `clock` is monotonic seconds, `reused_key` the status for a key that comes with another body.
    """

    def __init__(self, clock: Callable[[], float], *, keep: int = 10_000, keep_bytes: int = 256_000_000, reused_key: int = 409) -> None:
        self._clock = clock
        self._keep = keep
        self._keep_bytes = keep_bytes
        self._bytes = 0
        self._reused_key = reused_key
        self._tasks: OrderedDict[str, Task] = OrderedDict()
        self._by_key: dict[str, str] = {}

    def submit(
        self,
        work: Callable[[], Awaitable[Any]],
        takes_s: float,
        *,
        key: str | None = None,
        body: bytes = b"",
        reference: str | None = None,
    ) -> tuple[Task, bool]:
        """The task and whether it is new: one idempotency key and body give one task; `Refused` for another body."""
        origin = None if key is None else (key, hashlib.sha256(body).digest())
        if key is not None and key in self._by_key:
            known = self._tasks[self._by_key[key]]
            if known.origin != origin:
                raise Refused(self._reused_key, "this idempotency key was used with another body", code="idempotency_key_reused")
            return known, False
        task = Task(reference or "0x" + secrets.token_hex(20), self._clock(), takes_s, work, origin, len(body))
        self._tasks[task.reference] = task
        self._bytes += task.size
        if key is not None:
            self._by_key[key] = task.reference
        while len(self._tasks) > self._keep:
            self._forget(next(iter(self._tasks)))
        self._make_room()
        return task, True

    def _make_room(self) -> None:
        """Forgets the oldest tasks that have ended, whether or not anybody asked about them, but for the newest."""
        if self._bytes <= self._keep_bytes:
            return
        now = self._clock()
        ended = [one.reference for one in self._tasks.values() if one.done or one.cancelled or now - one.accepted_s >= one.takes_s]
        for reference in ended[:-1]:
            self._forget(reference)
            if self._bytes <= self._keep_bytes:
                return

    def _forget(self, reference: str) -> None:
        old = self._tasks.pop(reference)
        self._bytes -= old.size
        if old.origin is not None:
            self._by_key.pop(old.origin[0], None)

    def cancel(self, reference: str) -> None:
        """Calls a task off that has not ended; `Refused` with 404 when there is none."""
        task = self._tasks.get(reference)
        if task is None:
            raise Refused(404, "there is no such task", code="task_not_found")
        task.cancelled = task.cancelled or (not task.done and self._clock() - task.accepted_s < task.takes_s)

    def has(self, key: str | None) -> bool:
        """Whether an idempotency key was accepted before."""
        return key is not None and key in self._by_key

    def ends_in_s(self, reference: str) -> float:
        """Seconds until the task ends; 0 when it has, or when there is none."""
        task = self._tasks.get(reference)
        if task is None or task.cancelled or task.done:
            return 0.0
        return max(0.0, task.accepted_s + task.takes_s - self._clock())

    async def look(self, reference: str) -> tuple[Task, State, float]:
        """The task, its state and its age in seconds; `Refused` with 404 when there is none."""
        task = self._tasks.get(reference)
        if task is None:
            raise Refused(404, "there is no such task", code="task_not_found")
        age_s = self._clock() - task.accepted_s
        if task.cancelled:
            return task, "cancelled", age_s
        if age_s < task.takes_s:
            return task, "queued" if age_s < task.takes_s * _QUEUE_SHARE else "running", age_s
        async with task.turn:
            if task.work is not None:
                try:
                    task.result = await task.work()
                except Refused as failure:
                    task.failure = failure
                task.done, task.work = True, None
                if reference in self._tasks:
                    size = _size(task.result)
                    self._bytes += size - task.size
                    task.size = size
                    self._make_room()
        return task, "completed" if task.failure is None else "failed", task.takes_s


def _size(value: Any) -> int:
    """About the bytes that the body of an answer holds."""
    if isinstance(value, dict):
        return sum(_size(one) for one in value.values())
    if isinstance(value, list | tuple):
        return sum(_size(one) for one in value)
    if isinstance(value, msgspec.Raw):
        return memoryview(value).nbytes
    return len(value) if isinstance(value, str | bytes) else 8


@dataclass(slots=True)
class Count:
    """Of one operation. `images` counts pictures in billed answers, at acceptance for async tasks; `open` what is being served.

    `era` goes up when counts begin from nothing: what was asked before that is not counted when its answer is ready.
    """

    requests: int = 0
    billed_requests: int = 0
    images: int = 0
    open: int = 0
    statuses: dict[int, int] = field(default_factory=dict)
    era: int = 0

    def add(self, status: int, *, billed: bool, images: int) -> None:
        """One answered request."""
        self.requests += 1
        self.statuses[status] = self.statuses.get(status, 0) + 1
        if billed:
            self.billed_requests += 1
            self.images += images

    def take_back(self, status: int) -> None:
        """One answered request fewer, which was not billed: another process answers it."""
        self.requests -= 1
        self.statuses[status] -= 1
        if not self.statuses[status]:
            del self.statuses[status]


class Counters:
    """The counts of every operation that is served; `other` holds requests that reached none."""

    def __init__(self) -> None:
        self.by_operation: dict[str, dict[str, Count]] = {}

    def of(self, provider: str, operation: str) -> Count:
        """The operation's count, to be added to."""
        return self.by_operation.setdefault(provider, {}).setdefault(operation, Count())

    def clear(self) -> None:
        """Counts from nothing again; what is being served at this moment stays open."""
        for operations in self.by_operation.values():
            for count in operations.values():
                count.requests = count.billed_requests = count.images = 0
                count.statuses.clear()
                count.era += 1

    def report(self) -> dict[str, object]:
        """The body of `GET /_testcard/counters`: totals, and the counts of each operation."""
        every = [count for operations in self.by_operation.values() for count in operations.values()]
        return {
            "requests": sum(count.requests for count in every),
            "billed_requests": sum(count.billed_requests for count in every),
            "images": sum(count.images for count in every),
            "open": sum(count.open for count in every),
            "providers": {
                provider: {
                    name: {
                        "requests": count.requests,
                        "billed_requests": count.billed_requests,
                        "images": count.images,
                        "statuses": {str(status): number for status, number in sorted(count.statuses.items())},
                    }
                    for name, count in operations.items()
                }
                for provider, operations in self.by_operation.items()
            },
        }


_Entry = TypeVar("_Entry")

#: headers of a request that are shown; a key is in none of them
_SHOWN = ("content-type", "content-length", "user-agent", "idempotency-key", "accept", "x-request-id", "traceparent")
#: so many requests are kept
KEPT = 1000
#: characters of a text that are shown
_LONG = 300
#: bytes of a body up to which its fields are kept as they are until somebody asks
_SMALL = 8_000


class Logged(msgspec.Struct, frozen=True):
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
            **msgspec.structs.asdict(self),
            "headers": {name: self.headers[name] for name in _SHOWN if name in self.headers},
            "fields": shortened(self.fields),
            "seconds": round(self.seconds, 6),
        }


_ASKED_BY = ("provider", "operation", "method", "status", "phase")


class RequestLog:
    """The newest `keep` requests, oldest first."""

    def __init__(self, *, keep: int = KEPT) -> None:
        self._entries: deque[tuple[Any, ...]] = deque(maxlen=keep)
        self.seen = 0
        self.era = 0

    def add(self, *said: Any) -> None:
        """One more: what `Logged` has after the number. It is made one when somebody asks."""
        self.seen += 1
        self._entries.append((self.seen, *said))

    def clear(self) -> None:
        """Forgets them all, those too that are being answered (a later `era`); numbers go on."""
        self._entries.clear()
        self.era += 1

    def entries(self, query: Mapping[str, str]) -> list[dict[str, Any]]:
        """Those that agree with a query by provider, operation, method, status and phase; of them the newest `limit`.

        `UsageError` for a query by anything else: a misspelt one would let a test pass that should not.
        """
        strange = next((name for name in query if name not in (*_ASKED_BY, "limit")), None)
        if strange is not None:
            raise UsageError(f"requests are not asked for by {strange}", hint=f"ask by {', '.join(_ASKED_BY)} or limit")
        limit = query.get("limit", "1")
        if not (limit.isascii() and limit.isdigit() and len(limit) < 10 and int(limit)):
            raise UsageError(f"limit cannot be {limit}", hint="it is a number above 0")
        wanted = {name: query[name].upper() if name == "method" else query[name] for name in _ASKED_BY if name in query}
        entries = (Logged(*one) for one in self._entries)
        found = [one for one in entries if all(str(getattr(one, name)) == value for name, value in wanted.items())]
        return [one.shown() for one in newest(found, query)]


def newest(entries: list[_Entry], query: Mapping[str, str]) -> list[_Entry]:
    """The last of them, as many as the query's `limit` says; all where it says none."""
    return entries[-int(query["limit"]) :] if "limit" in query else entries


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
