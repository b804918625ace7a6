"""The async client: the same courses, carried out with httpx.AsyncClient on asyncio or trio."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from types import TracebackType
from typing import Any, Literal, TypeVar, Unpack, overload

import anyio
import httpx

from testcard.harness.client.call import Call
from testcard.harness.client.http import (
    DEFAULT_MAX_BYTES,
    DEFAULT_TIMEOUT_S,
    AsyncHttp,
    Exchanged,
    default_headers,
    exchange,
    http_request,
    tls,
)
from testcard.harness.client.results import Result
from testcard.harness.client.sync import several
from testcard.harness.client.terms import PictureSource, Terms, settings
from testcard.harness.pricing import Pricing
from testcard.harness.proxies import direct
from testcard.harness.wire.course import Send, Step, Steps, Wait
from testcard.harness.wire.model import Headers
from testcard.specs.loader import Provider

T = TypeVar("T")


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
        max_bytes: int = DEFAULT_MAX_BYTES,
        pricing: Pricing | None = None,
        poll_interval_s: float | None = None,
        poll_timeout_s: float | None = None,
        live: bool = False,
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
        )
        self._http = AsyncHttp(timeout=timeout_s, verify=tls(), transport=transport, mounts=direct(self.settings.base_url))
        self._defaults = default_headers(self._http)

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes the connections."""
        await self._http.aclose()

    async def generate(self, prompt: str, *, operation: str | None = None, **terms: Unpack[Terms]) -> Result:
        """Pictures from words."""
        return await self._finish(self.settings.call("generate", prompt, operation=operation, **terms))

    async def edit(
        self,
        image: PictureSource | Sequence[PictureSource],
        prompt: str,
        *,
        mask: PictureSource | None = None,
        operation: str | None = None,
        **terms: Unpack[Terms],
    ) -> Result:
        """Pictures from a picture (or several) and words; what a mask's colours mean is the provider's to say."""
        return await self._finish(self.settings.call("edit", prompt, several(image), mask, operation=operation, **terms))

    async def variation(self, image: PictureSource, *, operation: str | None = None, **terms: Unpack[Terms]) -> Result:
        """Pictures like a picture."""
        return await self._finish(self.settings.call("variation", None, [image], operation=operation, **terms))

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
        return AsyncTextStream(self._driver(call), call) if stream else await self._finish(call)

    def _driver(self, call: Call) -> _Driver:
        return _Driver(self._http, self._defaults, call)

    async def _finish(self, call: Call) -> Result:
        return call.result(await self._driver(call).run(call.course()))


class AsyncTextStream:
    """The pieces of a streamed text, in order, as they arrive; afterwards `result` holds the whole."""

    def __init__(self, driver: _Driver, call: Call) -> None:
        self._call = call
        self._end: list[Any] = []
        self._pieces = driver.listen(call.course(), self._end)
        self.result: Result | None = None

    def __aiter__(self) -> AsyncIterator[str]:
        return self

    async def __aenter__(self) -> AsyncTextStream:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()

    async def __anext__(self) -> str:
        try:
            return await anext(self._pieces)
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


class _Driver:
    """Carries out the steps of one call's course."""

    def __init__(self, http: AsyncHttp, defaults: Headers, call: Call) -> None:
        self._http = http
        self._defaults = defaults
        self._timeout_s = call.timeout_s
        self._max_bytes = call.max_bytes

    async def run(self, steps: Steps[T]) -> T:
        """The end of the course."""
        end: list[T] = []
        async for _ in self.listen(steps, end):
            pass
        return end[0]

    async def listen(self, steps: Steps[T], end: list[T]) -> AsyncGenerator[str, None]:
        """The pieces of text that its answers stream, as they arrive; then `end` holds the end of the course."""
        heard: Any = None
        while True:
            try:
                step = steps.send(heard)
            except StopIteration as stop:
                end.append(stop.value)
                return
            if isinstance(step, Send):
                heard = exchange(step, timeout_s=self._timeout_s, max_bytes=self._max_bytes)
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

    async def _read(self, send: Send, found: Exchanged) -> AsyncGenerator[str, None]:
        if send.fresh:
            self._http.kept.fresh()
        try:
            response = await self._http.send(http_request(send.request, self._defaults), stream=True)
            try:
                found.begin(response)
                if response.status_code >= 400:
                    self._http.kept.retire(response)
                async for block in response.aiter_bytes():
                    for piece in found.add(block):
                        yield piece
                    if not found.wants_more:
                        break
            finally:
                with anyio.CancelScope(shield=True):
                    await response.aclose()
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            found.fail(error)
