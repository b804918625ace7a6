"""The async client: the same courses, carried out with httpx.AsyncClient on asyncio or trio."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing, closing
from types import TracebackType
from typing import Any, Generic, Literal, Self, TypeVar, Unpack, overload

import anyio
import httpx

from testcard.harness.client.attempts import NO_RETRY, Retry, TaskUpdate
from testcard.harness.client.call import Call
from testcard.harness.client.http import (
    DEFAULT_TIMEOUT_S,
    AsyncHttp,
    Exchanged,
    default_headers,
    exchange,
    http_request,
    tls,
)
from testcard.harness.client.masks import Mask
from testcard.harness.client.observing import Hook
from testcard.harness.client.results import Preview, Result
from testcard.harness.client.spending import SpendingGuard
from testcard.harness.client.sync import several
from testcard.harness.client.tasks import HandedIn, resumed
from testcard.harness.client.terms import PictureSource, Terms, settings
from testcard.harness.kept_connections import direct
from testcard.harness.pricing import Pricing
from testcard.harness.wire.addresses import Reach
from testcard.harness.wire.course import Done, Send, Step, Steps, Wait
from testcard.harness.wire.model import Headers
from testcard.specs.loader import Provider
from testcard.specs.profile import Task

T = TypeVar("T")
P = TypeVar("P")


class AsyncClient:
    """`Client` for async code: the same arguments, results and errors; methods are awaited, streams iterated with `async for`."""

    def __init__(
        self,
        provider: str | Provider,
        *,
        base_url: str | None = None,
        api_key: str | None = None,
        no_auth: bool = False,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        max_bytes: int | None = None,
        pricing: Pricing | None = None,
        poll_interval_s: float | None = None,
        poll_timeout_s: float | None = None,
        live: bool = False,
        retry: Retry = NO_RETRY,
        budget: SpendingGuard | None = None,
        hooks: Sequence[Hook] = (),
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.settings = settings(
            provider,
            base_url=base_url,
            api_key=api_key,
            no_auth=no_auth,
            pricing=pricing,
            max_bytes=max_bytes,
            poll_interval_s=poll_interval_s,
            poll_timeout_s=poll_timeout_s,
            live=live,
            timeout_s=timeout_s,
            retry=retry,
            guard=budget,
            hooks=hooks,
        )
        self._http = AsyncHttp(
            Reach(self.settings.base_url, live),
            timeout=timeout_s,
            verify=tls(),
            transport=transport,
            mounts=direct(self.settings.base_url),
        )
        self._defaults = default_headers(self._http)

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes the connections."""
        await self._http.aclose()

    @overload
    async def generate(
        self, prompt: str, *, stream: Literal[False] = False, operation: str | None = None, **terms: Unpack[Terms]
    ) -> Result: ...
    @overload
    async def generate(
        self, prompt: str, *, stream: Literal[True], operation: str | None = None, **terms: Unpack[Terms]
    ) -> AsyncPreviewStream: ...
    async def generate(
        self, prompt: str, *, stream: bool = False, operation: str | None = None, **terms: Unpack[Terms]
    ) -> Result | AsyncPreviewStream:
        """Pictures from words; with `stream`, where the provider streams them, an iterator of previews and pictures as they arrive."""
        call = self.settings.call("generate", prompt, operation=operation, stream=stream or None, **terms)
        return AsyncPreviewStream(self._driver(call), call) if stream else await self.finish(call)

    async def edit(
        self,
        image: PictureSource | Sequence[PictureSource],
        prompt: str,
        *,
        mask: PictureSource | Mask | None = None,
        operation: str | None = None,
        **terms: Unpack[Terms],
    ) -> Result:
        """Pictures from a picture (or several) and words; a mask that is a picture is sent as it is, a `Mask` in the provider's polarity."""
        return await self.finish(
            self.settings.call("edit", prompt, await self._in_hand("edit", several(image), operation), mask, operation=operation, **terms)
        )

    async def variation(self, image: PictureSource, *, operation: str | None = None, **terms: Unpack[Terms]) -> Result:
        """Pictures like a picture."""
        return await self.finish(
            self.settings.call("variation", None, await self._in_hand("variation", [image], operation), operation=operation, **terms)
        )

    @overload
    async def describe(
        self,
        image: PictureSource | Sequence[PictureSource],
        prompt: str = ...,
        *,
        stream: Literal[False] = False,
        operation: str | None = None,
        **terms: Unpack[Terms],
    ) -> Result: ...
    @overload
    async def describe(
        self,
        image: PictureSource | Sequence[PictureSource],
        prompt: str = ...,
        *,
        stream: Literal[True],
        operation: str | None = None,
        **terms: Unpack[Terms],
    ) -> AsyncTextStream: ...
    async def describe(
        self,
        image: PictureSource | Sequence[PictureSource],
        prompt: str = "Describe this picture.",
        *,
        stream: bool = False,
        operation: str | None = None,
        **terms: Unpack[Terms],
    ) -> Result | AsyncTextStream:
        """Words about a picture: a `Result` with `text`, or with `stream` an iterator of its pieces as they arrive."""
        call = self.settings.call("describe", prompt, several(image), operation=operation, stream=stream or None, **terms)
        return AsyncTextStream(self._driver(call), call) if stream else await self.finish(call)

    async def submit(
        self,
        prompt: str | None = None,
        *,
        task: Task = "generate",
        images: Sequence[PictureSource] = (),
        mask: PictureSource | Mask | None = None,
        operation: str | None = None,
        **terms: Unpack[Terms],
    ) -> AsyncTaskHandle:
        """Hands the work in and comes back at once, with what is to be waited for.

        It is asked for as a task where that is a choice. Keep `id`: `resume` follows it from any process.
        """
        terms.setdefault("asynchronous", True if self.settings.takes_flag(task, operation) else None)
        call = self.settings.call(task, prompt, await self._in_hand(task, images, operation), mask, operation=operation, **terms)
        return AsyncTaskHandle(self._driver(call), call, await self._driver(call).run(call.submission()))

    def resume(self, task_id: str, *, task: Task = "generate", operation: str | None = None) -> AsyncTaskHandle:
        """The task of this id (or address) that was submitted before; `operation` where the task's usual one did not take it."""
        call = self.settings.resumed(task, operation)
        return AsyncTaskHandle(self._driver(call), call, resumed(task_id, time.monotonic()))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.settings.provider.id!r}, base_url={self.settings.base_url!r})"

    async def _in_hand(self, task: Task, images: Sequence[PictureSource], operation: str | None) -> Sequence[PictureSource]:
        """The pictures; those at addresses fetched, where the operation takes no addresses."""
        wanted = self.settings.to_fetch(task, images, operation)
        if not wanted:
            return images
        driver = self._driver(self.settings.resumed(task, operation))
        found = {}
        for url in dict.fromkeys(wanted):
            found[url] = self.settings.fetched(task, await driver.run(self.settings.fetching(task, url, operation)), operation)
        return [found[one] if isinstance(one, str) and one in found else one for one in images]

    def _driver(self, call: Call) -> _Driver:
        return _Driver(self._http, self._defaults, call)

    async def finish(self, call: Call) -> Result:
        """Carries out a call that was put together before, as batches do."""
        return call.result(await self._driver(call).run(call.course()))


class _Stream(Generic[P]):
    """The pieces of a streamed answer, in order, as they arrive; afterwards `result` holds the whole."""

    def __init__(self, driver: _Driver, call: Call) -> None:
        self._call = call
        self._end: list[Any] = []
        self._pieces = driver.listen(call.course(), self._end)
        self.result: Result | None = None

    def __aiter__(self) -> AsyncIterator[P]:
        return self

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()

    async def __anext__(self) -> P:
        try:
            piece: P = await anext(self._pieces)
            return piece
        except StopAsyncIteration:
            if self._end and self.result is None:
                self.result = self._call.result(self._end[0])
            raise

    async def close(self) -> None:
        """Stops listening; what was not read is thrown away."""
        with anyio.CancelScope(shield=True):
            await self._pieces.aclose()

    async def finish(self) -> Result:
        """Reads what is left and returns the result."""
        async for _ in self:
            pass
        assert self.result is not None, "the course ends with a result or raises"
        return self.result


class AsyncTextStream(_Stream[str]):
    """The pieces of a streamed text."""


class AsyncPreviewStream(_Stream[Preview]):
    """Previews and pictures of a stream."""


class AsyncTaskHandle(HandedIn):
    """Work that was handed in. `id` is what the provider calls it (None where the answer was the result already)."""

    def __init__(self, driver: _Driver, call: Call, done: Done[Exchanged]) -> None:
        super().__init__(call, done)
        self._driver = driver

    async def wait(self, on_update: Callable[[TaskUpdate], None] | None = None) -> Result:
        """The result, once the task has ended; `on_update` hears after every poll how it is doing. Raises `TaskFailed` where it failed."""
        return await self._driver.run(self._waited(on_update))

    async def poll(self) -> TaskUpdate:
        """How it is doing now, asked once."""
        return await self._driver.run(self._asked())

    async def cancel(self) -> None:
        """Calls it off; `UsageError` where the provider documents no way to, `RequestRefused` where it is not taken."""
        await self._driver.run(self._called_off())


class _Driver:
    """Carries out the steps of one call's course."""

    def __init__(self, http: AsyncHttp, defaults: Headers, call: Call) -> None:
        self._http = http
        self._defaults = defaults
        self._timeout_s = call.timeout_s
        self._max_bytes = call.max_bytes
        self._listener = call.listener
        self._handed_over = call.attendance.handed_over

    async def run(self, steps: Steps[T]) -> T:
        """The end of the course."""
        end: list[T] = []
        async for _ in self.listen(steps, end):
            pass
        return end[0]

    async def listen(self, steps: Steps[T], end: list[T]) -> AsyncGenerator[Any, None]:
        """The pieces of text that its answers stream, as they arrive; then `end` holds the end of the course."""
        heard: Any = None
        with closing(steps):
            while True:
                try:
                    step = steps.send(heard)
                except StopIteration as stop:
                    end.append(stop.value)
                    return
                if isinstance(step, Send):
                    heard = exchange(step, timeout_s=self._timeout_s, max_bytes=self._max_bytes, listener=self._listener)
                    async with aclosing(self._read(step, heard)) as pieces:
                        async for piece in pieces:
                            yield piece
                else:
                    heard = await self._carried_out(step)

    async def _carried_out(self, step: Step) -> Any:
        if isinstance(step, Wait):
            await anyio.sleep(step.seconds)
            return time.monotonic()
        assert not isinstance(step, Send), "requests are sent by `listen`"
        ends: list[list[Any]] = [[] for _ in step.courses]
        async with anyio.create_task_group() as group:
            for steps, end in zip(step.courses, ends, strict=True):
                group.start_soon(self._run_into, steps, end)
        return [end[0] for end in ends]

    async def _run_into(self, steps: Steps[Any], end: list[Any]) -> None:
        end.append(await self.run(steps))

    async def _read(self, send: Send, found: Exchanged) -> AsyncGenerator[Any, None]:
        if send.fresh:
            self._http.kept.fresh()
        try:
            response = await self._http.send(http_request(found, self._defaults), stream=True)
            try:
                found.begin(response.status_code, tuple(response.headers.multi_items()))
                if response.status_code >= 400:
                    self._http.kept.retire(response)
                blocks = response.aiter_raw() if not response.is_stream_consumed else response.aiter_bytes()
                while found.wants_more and (block := await anext(blocks, None)) is not None:
                    for piece in found.add(block):
                        with self._handed_over():
                            yield piece
                found.end()
            finally:
                with anyio.CancelScope(shield=True):
                    await response.aclose()
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            found.fail(error)
