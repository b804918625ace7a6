"""The async client: the same flow, carried out with httpx.AsyncClient on asyncio or trio."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from types import TracebackType
from typing import Literal, Unpack, overload

import anyio
import httpx

from testcard.harness.client.errors import TimedOut
from testcard.harness.client.flow import DEFAULT_MAX_BYTES, DEFAULT_TIMEOUT_S, Call, Flow, run
from testcard.harness.client.http import AsyncHttp, default_headers, http_request, tls
from testcard.harness.client.results import Result
from testcard.harness.client.steps import Block, Head, Open, Read, Say, Step, Wait
from testcard.harness.client.sync import several
from testcard.harness.client.terms import PictureSource, Terms, failure, settings
from testcard.harness.pricing import Pricing
from testcard.harness.proxies import direct
from testcard.harness.wire.model import Headers
from testcard.specs.loader import Provider


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
        live: bool = True,
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
        )
        self.timeout_s = timeout_s
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
        return AsyncTextStream(self._driver(call), run(call)) if stream else await self._finish(call)

    def _driver(self, call: Call) -> _Driver:
        return _Driver(self._http, self._defaults, call.choice.operation, call.base_url, self.timeout_s)

    async def _finish(self, call: Call) -> Result:
        driver, flow = self._driver(call), run(call)
        try:
            step = next(flow)
            while True:
                # Sent outside the await: a StopIteration that crosses a coroutine would become a RuntimeError.
                outcome = await driver.carry_out(step)
                step = flow.send(outcome)
        except StopIteration as stop:
            result: Result = stop.value
            return result
        finally:
            flow.close()
            await driver.close()


class AsyncTextStream:
    """The pieces of a streamed text, in order, as they arrive; afterwards `result` holds the whole."""

    def __init__(self, driver: _Driver, flow: Flow) -> None:
        self._driver = driver
        self._flow = flow
        self._step: Step | None = None
        self.result: Result | None = None

    def __aiter__(self) -> AsyncIterator[str]:
        return self

    async def __aenter__(self) -> AsyncTextStream:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()

    async def __anext__(self) -> str:
        if self.result is not None:
            raise StopAsyncIteration
        try:
            step = next(self._flow) if self._step is None else self._flow.send(None)
            while not isinstance(step, Say):
                outcome = await self._driver.carry_out(step)
                step = self._flow.send(outcome)
        except StopIteration as stop:
            self.result = stop.value
            await self._driver.close()
            raise StopAsyncIteration from None
        except BaseException:
            await self.close()
            raise
        self._step = step
        return step.piece

    async def close(self) -> None:
        """Stops listening; what was not read is thrown away."""
        self._flow.close()
        await self._driver.close()

    async def finish(self) -> Result:
        """Reads what is left and returns the result."""
        async for _ in self:
            pass
        assert self.result is not None, "the flow ends with a result or raises"
        return self.result


class _Driver:
    """Carries out one flow's steps; holds the answer that is being read."""

    def __init__(self, http: httpx.AsyncClient, defaults: Headers, operation: str, base_url: str, timeout_s: float) -> None:
        self._http = http
        self._defaults = defaults
        self._operation = operation
        self._base_url = base_url
        self._timeout_s = timeout_s
        self._response: httpx.Response | None = None
        self._blocks: AsyncIterator[bytes] | None = None
        self._sent_s = 0.0

    async def close(self) -> None:
        if self._response is not None:
            with anyio.CancelScope(shield=True):
                await self._response.aclose()
            self._response = None

    async def carry_out(self, step: Step) -> Head | Block | None:
        try:
            if isinstance(step, Open):
                return await self._open(step)
            if isinstance(step, Read):
                return await self._read()
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            answering = isinstance(step, Read)
            raise failure(error, self._operation, answering=answering, base_url=self._base_url, timeout_s=self._timeout_s) from error
        if isinstance(step, Wait):
            await anyio.sleep(step.seconds)
        return None

    async def _open(self, step: Open) -> Head:
        await self.close()
        wire = step.request
        request = http_request(wire, self._defaults)
        self._sent_s = time.monotonic()
        response = await self._http.send(request, stream=True)
        self._response, self._blocks = response, response.aiter_bytes()
        return Head(response.status_code, tuple(response.headers.multi_items()), self._sent_s, time.monotonic())

    async def _read(self) -> Block:
        assert self._blocks is not None, "the flow opens before it reads"
        data = await anext(self._blocks, b"")
        now_s = time.monotonic()
        if not data:
            await self.close()
        elif now_s - self._sent_s > self._timeout_s:
            # httpx bounds each wait for bytes, not their sum: a server that drips would hold a caller for ever.
            raise TimedOut(f"no whole answer within {self._timeout_s:g} s", operation=self._operation)
        return Block(data, now_s)
