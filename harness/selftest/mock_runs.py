"""Checks of the mocks in this process: with or without faults, in memory or over a socket, in time that leaps over long waits."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterator, MutableMapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import httpx

from testcard.harness.check.generation.plan import Plan, make_plan
from testcard.harness.check.judging.verdicts import Conclusion, judge_records
from testcard.harness.check.running.runner import CheckSettings, carry_out
from testcard.harness.check.spending.budget import NO_LIMITS, SpendingLimits
from testcard.harness.extras import resolve
from testcard.harness.pricing import Pricing
from testcard.harness.rules.promises import RULES
from testcard.harness.runs.records import Body, Exchange
from testcard.harness.wire.model import PictureInfo
from testcard.harness.wire.pictures import inspect
from testcard.specs.loader import Provider

BASE_URL = "http://mock.invalid"
API_KEY = "selftest-key-7c1f6a0e"
#: The mocks' tasks move on by this clock, so that no run waits for them.
FASTER = 200.0
POLL_INTERVAL_S = 0.002
LONGEST_WAIT_S = 10.0


class LeapingTime:
    """Monotonic seconds in which long waits take no time: whoever sleeps for minutes moves the clock on instead."""

    def __init__(self) -> None:
        self._ahead_s = 0.0

    def __call__(self) -> float:
        """The time now."""
        return time.monotonic() + self._ahead_s

    async def sleep(self, seconds: float) -> None:
        """Waits, or leaps where waiting would take longer than a person waits for a test."""
        if seconds < LONGEST_WAIT_S:
            await asyncio.sleep(seconds)
        else:
            self._ahead_s += seconds


class Memory:
    """Keeps a run's exchanges and bodies in memory."""

    def __init__(self) -> None:
        self.exchanges: list[Exchange] = []
        self._bodies: dict[str, bytes] = {}

    def body(self, content: bytes) -> Body:
        """The record of a body, by its hash."""
        digest = hashlib.sha256(content).hexdigest()
        self._bodies[digest] = content
        return Body(size=len(content), sha256=digest)

    def append(self, exchange: Exchange) -> None:
        """Keeps one exchange."""
        self.exchanges.append(exchange)

    def bytes_of(self, body: Body) -> bytes:
        """The content of a body."""
        return self._bodies[body.sha256 or ""]


def hastened(provider: Provider) -> Provider:
    """The provider with the time that its tasks have, as fast as the mocks' clock."""
    profile = provider.profile
    if profile.asynchronous is None:
        return provider
    protocol = profile.asynchronous.model_copy(update={"timeout_s": profile.asynchronous.timeout_s / FASTER})
    return replace(provider, profile=profile.model_copy(update={"asynchronous": protocol}))


def full_plan(provider: Provider, seed: int, *, cases: bool = True) -> Plan:
    """Everything that a check of the provider's mock sends; without `cases`, only what rules ask for, which is planned at once."""
    provider = hastened(provider)
    operations = tuple(provider.profile.operations)
    pricing = Pricing(provider, mock=True)
    return make_plan(provider, pricing, rules=tuple(RULES.values()), operations=operations, seed=seed, cases=cases)


def narrowed(plan: Plan, operations: Collection[str], rules: Collection[str]) -> Plan:
    """The part of a plan that these rules need on these operations, with the requests that others are proved against or wait for."""
    serving = [step for step in plan.steps if any(operation in operations and name in rules for operation, name in step.serves)]
    needed = {(step.operation, key) for step in serving for key in (step.probe, step.base, step.after)}
    steps = tuple(step for step in plan.steps if (step.operation, step.probe) in needed)
    return replace(plan, steps=steps, scopes=tuple(scope for scope in plan.scopes if scope.operation_id in operations))


def confined(plan: Plan, operations: Collection[str]) -> Plan:
    """The whole plan of these operations, of the one that polls their tasks too."""
    protocol = plan.provider.profile.asynchronous
    kept = {*operations, *((protocol.operation,) if protocol is not None else ())}
    steps = tuple(step for step in plan.steps if step.operation in kept)
    return replace(plan, steps=steps, scopes=tuple(scope for scope in plan.scopes if scope.operation_id in kept))


class Place:
    """A socket at which one mock after another is served. Each brings its own state; only the address is the same."""

    def __init__(self) -> None:
        self.url = ""
        self._app: Any = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serves one request by the mock that is there now."""
        await self._app(scope, receive, send)

    @contextmanager
    def holding(self, app: Any) -> Iterator[str]:
        """The base URL of this mock, until the block ends."""
        self._app = app
        try:
            yield self.url
        finally:
            self._app = None


@contextmanager
def place() -> Iterator[Place]:
    """An empty place on a free port of this machine, served from a thread of this process until the block ends."""
    empty = Place()
    with resolve("testcard.mocks.serving:serving")(empty) as empty.url:
        yield empty


async def judge_mock(plan: Plan, faults: Sequence[str], *, at: Place | None = None) -> Conclusion:
    """The verdicts on the provider's mock with these faults, served in this process: in memory, or over the socket of a place."""
    create_app, renderer = resolve("testcard.mocks.app:create_app"), resolve("testcard.mocks.pictures.renderer:repeatable_renderer")
    here = LeapingTime()
    app = create_app(
        [plan.provider],
        faults=list(faults),
        api_key=API_KEY,
        timer=lambda: time.monotonic() * FASTER,
        sleep=here.sleep,
        renderer=renderer(),
    )
    if at is None:
        return await judge_app(plan, app, timer=here)
    with at.holding(app) as url:
        return await _judge(plan, url, None, timer=here)


async def judge_app(
    plan: Plan, app: Any, *, limits: SpendingLimits = NO_LIMITS, concurrency: int = 8, timer: Callable[[], float] = time.monotonic
) -> Conclusion:
    """The verdicts on an ASGI application that takes `API_KEY`, without a socket."""
    return await _judge(plan, BASE_URL, InProcess(app), limits=limits, concurrency=concurrency, timer=timer)


async def _judge(
    plan: Plan,
    base_url: str,
    transport: httpx.AsyncBaseTransport | None,
    *,
    limits: SpendingLimits = NO_LIMITS,
    concurrency: int = 8,
    timer: Callable[[], float],
) -> Conclusion:
    memory = Memory()
    settings = CheckSettings(base_url, API_KEY, concurrency=concurrency, poll_interval_s=POLL_INTERVAL_S, patience_s=0.0)
    pricing = Pricing(plan.provider, mock=True)
    carried = await carry_out(plan, settings, pricing, memory, limits=limits, transport=transport, timer=timer)
    return judge_records(
        plan.scopes,
        plan.rules,
        memory.exchanges,
        memory.bytes_of,
        not_sent=carried.not_sent(plan),
        started=carried.started,
        looking=looked_at_once,
    )


_looked_at: dict[bytes, PictureInfo] = {}


def looked_at_once(data: bytes) -> PictureInfo:
    """What the bytes of a picture are. Most pictures come again with the next fault, and are not decoded a second time."""
    digest = hashlib.sha256(data).digest()
    info = _looked_at.get(digest)
    if info is None:
        info = _looked_at[digest] = inspect(data)
    return info


Message = MutableMapping[str, Any]


class InProcess(httpx.AsyncBaseTransport):
    """Hands each request to the application and collects its answer. An application that raises answers with 500."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """The application's answer; reading its body fails where the application left it unfinished."""
        conversation = _Conversation(await request.aread())
        await conversation.hold(self._app, request)
        if conversation.status is None:
            return httpx.Response(500, request=request)
        return httpx.Response(
            conversation.status, headers=conversation.headers, stream=_Body(conversation.parts, conversation.problem), request=request
        )


class _Conversation:
    """One request and what the application sends for it."""

    def __init__(self, content: bytes) -> None:
        self.status: int | None = None
        self.headers: list[tuple[bytes, bytes]] = []
        self.parts: list[bytes] = []
        self._content: bytes | None = content
        self._ended = asyncio.Event()

    async def hold(self, app: Any, request: httpx.Request) -> None:
        """Runs the application until it returns or raises."""
        url = request.url
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": request.method,
            "headers": [(name.lower(), value) for name, value in request.headers.raw],
            "scheme": url.scheme,
            "path": url.path,
            "raw_path": url.raw_path.partition(b"?")[0],
            "query_string": url.query,
            "server": (url.host, url.port),
            "client": ("127.0.0.1", 123),
            "root_path": "",
        }
        try:
            await app(scope, self._receive, self._send)
        except Exception:  # noqa: BLE001 (a server turns whatever its application raises into a 500 or a broken connection)
            self._ended.clear()

    @property
    def problem(self) -> str | None:
        """What a client would say of the end of the body; None for one that is whole."""
        declared = next((int(value) for name, value in self.headers if name.lower() == b"content-length"), None)
        received = sum(map(len, self.parts))
        if declared is not None and received < declared:
            return f"the connection closed after {received} of {declared} bytes"
        return None if self._ended.is_set() else "the connection closed before the last chunk"

    async def _receive(self) -> Message:
        if self._content is None:
            await self._ended.wait()
            return {"type": "http.disconnect"}
        content, self._content = self._content, None
        return {"type": "http.request", "body": content, "more_body": False}

    async def _send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = list(message.get("headers", ()))
            return
        part = message.get("body", b"")
        if part:
            self.parts.append(part)
        if not message.get("more_body", False):
            self._ended.set()


class _Body(httpx.AsyncByteStream):
    def __init__(self, parts: list[bytes], problem: str | None) -> None:
        self._parts = parts
        self._problem = problem

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for part in self._parts:
            yield part
        if self._problem is not None:
            raise httpx.RemoteProtocolError(self._problem)
