"""The sync client: carries a course's steps out with httpx.Client."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from types import TracebackType
from typing import Any, Literal, TypeVar, Unpack, overload

import httpx

from testcard.harness.client.call import Call
from testcard.harness.client.http import (
    DEFAULT_MAX_BYTES,
    DEFAULT_TIMEOUT_S,
    Exchanged,
    SyncHttp,
    default_headers,
    exchange,
    http_request,
    tls,
)
from testcard.harness.client.results import Result
from testcard.harness.client.terms import PictureSource, Terms, settings
from testcard.harness.pricing import Pricing
from testcard.harness.proxies import direct
from testcard.harness.wire.course import Send, Step, Steps, Wait
from testcard.harness.wire.model import Headers
from testcard.specs.loader import Provider

T = TypeVar("T")


class Client:
    """Talks to one provider: `Client("nanogpt", base_url=…, api_key=…).generate("a red boat", size=(512, 512), n=2, seed=7)`.

    `provider` is a bundled id, a folder, or a loaded provider. Times are in seconds; `timeout_s` bounds each HTTP exchange,
    `poll_timeout_s` an async task (default: the documented one). A request that the contract does not allow raises
    `ContractViolation` before anything is sent; failures raise a `ClientError`. Nothing that may be billed is sent twice.
    A target off this machine needs `live=True`, as the command needs --live. Without it, the answers of a target on this machine lead nowhere else: `AddressNotAllowed` where they would.
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
        live: bool = False,
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
            timeout_s=timeout_s,
        )
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
        return TextStream(self._driver(call), call) if stream else self._finish(call)

    def _driver(self, call: Call) -> _Driver:
        return _Driver(self._http, self._defaults, call)

    def _finish(self, call: Call) -> Result:
        return call.result(self._driver(call).run(call.course()))


class TextStream:
    """The pieces of a streamed text, in order, as they arrive; afterwards `result` holds the whole."""

    def __init__(self, driver: _Driver, call: Call) -> None:
        self._driver = driver
        self._call = call
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

    def finish(self) -> Result:
        """Reads what is left and returns the result."""
        for _ in self._pieces:
            pass
        assert self.result is not None, "the course ends with a result or raises"
        return self.result

    def _run(self) -> Generator[str, None, None]:
        done = yield from self._driver.listen(self._call.course())
        self.result = self._call.result(done)


class _Driver:
    """Carries out the steps of one call's course."""

    def __init__(self, http: SyncHttp, defaults: Headers, call: Call) -> None:
        self._http = http
        self._defaults = defaults
        self._timeout_s = call.timeout_s
        self._max_bytes = call.max_bytes

    def run(self, steps: Steps[T]) -> T:
        """The end of the course."""
        return _end_of(self.listen(steps))

    def listen(self, steps: Steps[T]) -> Generator[str, None, T]:
        """The pieces of text that its answers stream, as they arrive; returns the end of the course."""
        heard: Any = None
        while True:
            try:
                step = steps.send(heard)
            except StopIteration as stop:
                end: T = stop.value
                return end
            heard = (yield from self._exchanged(step)) if isinstance(step, Send) else self._carried_out(step)

    def _carried_out(self, step: Step) -> Any:
        if isinstance(step, Wait):
            time.sleep(step.seconds)
            return time.monotonic()
        assert not isinstance(step, Send), "requests are sent by `listen`"
        return [self.run(steps) for steps in step.courses]

    def _exchanged(self, send: Send) -> Generator[str, None, Exchanged]:
        found = exchange(send, timeout_s=self._timeout_s, max_bytes=self._max_bytes)
        if send.fresh:
            self._http.kept.fresh()
        try:
            with closing(self._http.send(http_request(send.request, self._defaults), stream=True)) as response:
                found.begin(response)
                if response.status_code >= 400:
                    self._http.kept.retire(response)
                for block in response.iter_bytes():
                    yield from found.add(block)
                    if not found.wants_more:
                        break
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            found.fail(error)
        return found


def _end_of(pieces: Generator[str, None, T]) -> T:
    while True:
        try:
            next(pieces)
        except StopIteration as stop:
            end: T = stop.value
            return end


def several(image: PictureSource | Sequence[PictureSource]) -> Sequence[PictureSource]:
    """One picture or several, as a sequence."""
    return image if isinstance(image, list | tuple) else [image]  # type: ignore[list-item]
