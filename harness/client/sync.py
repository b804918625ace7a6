"""The sync client: carries out the flow's steps with httpx.Client."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Sequence
from types import TracebackType
from typing import Literal, Unpack, overload

import httpx

from testcard.harness.client.errors import TimedOut
from testcard.harness.client.flow import DEFAULT_MAX_BYTES, DEFAULT_TIMEOUT_S, Call, Flow, run
from testcard.harness.client.http import SyncHttp, default_headers, http_request, tls
from testcard.harness.client.results import Result
from testcard.harness.client.steps import Block, Head, Open, Read, Say, Step, Wait
from testcard.harness.client.terms import PictureSource, Terms, failure, settings
from testcard.harness.pricing import Pricing
from testcard.harness.proxies import direct
from testcard.harness.wire.model import Headers
from testcard.specs.loader import Provider


class Client:
    """Talks to one provider: `Client("nanogpt", base_url=…, api_key=…).generate("a red boat", size=(512, 512), n=2, seed=7)`.

    `provider` is a bundled id, a folder, or a loaded provider. Times are in seconds; `timeout_s` bounds each HTTP exchange,
    `poll_timeout_s` an async task (default: the documented one). A request that the contract does not allow raises
    `ContractViolation` before anything is sent; failures raise a `ClientError`. Nothing that may be billed is sent twice.
    Without `live`, the answers of a target on this machine lead nowhere else: `AddressNotAllowed` where they would.
    """

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
        transport: httpx.BaseTransport | None = None,
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
        self._http = SyncHttp(timeout=timeout_s, verify=tls(), transport=transport, mounts=direct(self.settings.base_url))
        self._defaults = default_headers(self._http)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connections."""
        self._http.close()

    def generate(self, prompt: str, *, operation: str | None = None, **terms: Unpack[Terms]) -> Result:
        """Pictures from words."""
        return self._finish(self.settings.call("generate", prompt, operation=operation, **terms))

    def edit(
        self,
        image: PictureSource | Sequence[PictureSource],
        prompt: str,
        *,
        mask: PictureSource | None = None,
        operation: str | None = None,
        **terms: Unpack[Terms],
    ) -> Result:
        """Pictures from a picture (or several) and words; what a mask's colours mean is the provider's to say."""
        return self._finish(self.settings.call("edit", prompt, several(image), mask, operation=operation, **terms))

    def variation(self, image: PictureSource, *, operation: str | None = None, **terms: Unpack[Terms]) -> Result:
        """Pictures like a picture."""
        return self._finish(self.settings.call("variation", None, [image], operation=operation, **terms))

    @overload
    def describe(
        self,
        image: PictureSource | Sequence[PictureSource],
        prompt: str = ...,
        *,
        stream: Literal[False] = False,
        operation: str | None = None,
        **terms: Unpack[Terms],
    ) -> Result: ...
    @overload
    def describe(
        self,
        image: PictureSource | Sequence[PictureSource],
        prompt: str = ...,
        *,
        stream: Literal[True],
        operation: str | None = None,
        **terms: Unpack[Terms],
    ) -> TextStream: ...
    def describe(
        self,
        image: PictureSource | Sequence[PictureSource],
        prompt: str = "Describe this picture.",
        *,
        stream: bool = False,
        operation: str | None = None,
        **terms: Unpack[Terms],
    ) -> Result | TextStream:
        """Words about a picture: a `Result` with `text`, or with `stream` an iterator of its pieces as they arrive."""
        call = self.settings.call("describe", prompt, several(image), operation=operation, stream=stream or None, **terms)
        return TextStream(self._driver(call), run(call)) if stream else self._finish(call)

    def _driver(self, call: Call) -> _Driver:
        return _Driver(self._http, self._defaults, call.choice.operation, call.base_url, self.timeout_s)

    def _finish(self, call: Call) -> Result:
        driver, flow = self._driver(call), run(call)
        try:
            step = next(flow)
            while True:
                step = flow.send(driver.carry_out(step))
        except StopIteration as stop:
            result: Result = stop.value
            return result
        finally:
            flow.close()
            driver.close()


class TextStream:
    """The pieces of a streamed text, in order, as they arrive; afterwards `result` holds the whole."""

    def __init__(self, driver: _Driver, flow: Flow) -> None:
        self._driver = driver
        self._flow = flow
        self._pieces = self._run()
        self.result: Result | None = None

    def __iter__(self) -> Iterator[str]:
        return self._pieces

    def __next__(self) -> str:
        return next(self._pieces)

    def __enter__(self) -> TextStream:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Stops listening; what was not read is thrown away."""
        self._pieces.close()
        self._flow.close()
        self._driver.close()

    def finish(self) -> Result:
        """Reads what is left and returns the result."""
        for _ in self._pieces:
            pass
        assert self.result is not None, "the flow ends with a result or raises"
        return self.result

    def _run(self) -> Generator[str, None, None]:
        try:
            step = next(self._flow)
            while True:
                if isinstance(step, Say):
                    yield step.piece
                    step = self._flow.send(None)
                else:
                    step = self._flow.send(self._driver.carry_out(step))
        except StopIteration as stop:
            self.result = stop.value
        finally:
            self._driver.close()


class _Driver:
    """Carries out one flow's steps; holds the answer that is being read."""

    def __init__(self, http: httpx.Client, defaults: Headers, operation: str, base_url: str, timeout_s: float) -> None:
        self._http = http
        self._defaults = defaults
        self._operation = operation
        self._base_url = base_url
        self._timeout_s = timeout_s
        self._response: httpx.Response | None = None
        self._blocks: Iterator[bytes] = iter(())
        self._sent_s = 0.0

    def close(self) -> None:
        if self._response is not None:
            self._response.close()
            self._response = None

    def carry_out(self, step: Step) -> Head | Block | None:
        try:
            if isinstance(step, Open):
                return self._open(step)
            if isinstance(step, Read):
                return self._read()
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            answering = isinstance(step, Read)
            raise failure(error, self._operation, answering=answering, base_url=self._base_url, timeout_s=self._timeout_s) from error
        if isinstance(step, Wait):
            time.sleep(step.seconds)
        return None

    def _open(self, step: Open) -> Head:
        self.close()
        wire = step.request
        request = http_request(wire, self._defaults)
        self._sent_s = time.monotonic()
        response = self._http.send(request, stream=True)
        self._response, self._blocks = response, response.iter_bytes()
        return Head(response.status_code, tuple(response.headers.multi_items()), self._sent_s, time.monotonic())

    def _read(self) -> Block:
        data = next(self._blocks, b"")
        now_s = time.monotonic()
        if not data:
            self.close()
        elif now_s - self._sent_s > self._timeout_s:
            # httpx bounds each wait for bytes, not their sum: a server that drips would hold a caller for ever.
            raise TimedOut(f"no whole answer within {self._timeout_s:g} s", operation=self._operation)
        return Block(data, now_s)


def several(image: PictureSource | Sequence[PictureSource]) -> Sequence[PictureSource]:
    """One picture or several, as a sequence."""
    return image if isinstance(image, list | tuple) else [image]  # type: ignore[list-item]
