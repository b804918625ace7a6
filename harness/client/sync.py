"""The sync client: carries a course's steps out with httpx.Client."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from types import TracebackType
from typing import Any, Generic, Literal, Self, TypeVar, Unpack, overload

import httpx

from testcard.harness.client.attempts import NO_RETRY, Retry, TaskUpdate
from testcard.harness.client.call import Call
from testcard.harness.client.http import (
    DEFAULT_TIMEOUT_S,
    Exchanged,
    SyncHttp,
    default_headers,
    exchange,
    http_request,
    tls,
)
from testcard.harness.client.masks import Mask
from testcard.harness.client.observing import Hook
from testcard.harness.client.results import Preview, Result
from testcard.harness.client.spending import SpendingGuard
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


class Client:
    """Talks to one provider: `Client("nanogpt", base_url=…, api_key=…).generate("a red boat", size=(512, 512), n=2, seed=7)`.

    `provider` is a bundled id, a folder, or a loaded provider. Times are in seconds; `timeout_s` bounds each HTTP exchange,
    `max_bytes` each body (default: `body_bytes` of the limits), `poll_timeout_s` an async task (default: the documented one). A request that the contract does not allow raises
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
        max_bytes: int | None = None,
        pricing: Pricing | None = None,
        poll_interval_s: float | None = None,
        poll_timeout_s: float | None = None,
        live: bool = False,
        retry: Retry = NO_RETRY,
        budget: SpendingGuard | None = None,
        hooks: Sequence[Hook] = (),
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
            retry=retry,
            guard=budget,
            hooks=hooks,
        )
        self._http = SyncHttp(
            Reach(self.settings.base_url, live),
            timeout=timeout_s,
            verify=tls(),
            transport=transport,
            mounts=direct(self.settings.base_url),
        )
        self._defaults = default_headers(self._http)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connections."""
        self._http.close()

    @overload
    def generate(self, prompt: str, *, stream: Literal[False] = False, operation: str | None = None, **terms: Unpack[Terms]) -> Result: ...
    @overload
    def generate(self, prompt: str, *, stream: Literal[True], operation: str | None = None, **terms: Unpack[Terms]) -> PreviewStream: ...
    def generate(
        self, prompt: str, *, stream: bool = False, operation: str | None = None, **terms: Unpack[Terms]
    ) -> Result | PreviewStream:
        """Pictures from words; with `stream`, where the provider streams them, an iterator of previews and pictures as they arrive."""
        call = self.settings.call("generate", prompt, operation=operation, stream=stream or None, **terms)
        return PreviewStream(self._driver(call), call) if stream else self.finish(call)

    def edit(
        self,
        image: PictureSource | Sequence[PictureSource],
        prompt: str,
        *,
        mask: PictureSource | Mask | None = None,
        operation: str | None = None,
        **terms: Unpack[Terms],
    ) -> Result:
        """Pictures from a picture (or several) and words; a mask that is a picture is sent as it is, a `Mask` in the provider's polarity."""
        return self.finish(
            self.settings.call("edit", prompt, self._in_hand("edit", several(image), operation), mask, operation=operation, **terms)
        )

    def variation(self, image: PictureSource, *, operation: str | None = None, **terms: Unpack[Terms]) -> Result:
        """Pictures like a picture."""
        return self.finish(
            self.settings.call("variation", None, self._in_hand("variation", [image], operation), operation=operation, **terms)
        )

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
        return TextStream(self._driver(call), call) if stream else self.finish(call)

    def submit(
        self,
        prompt: str | None = None,
        *,
        task: Task = "generate",
        images: Sequence[PictureSource] = (),
        mask: PictureSource | Mask | None = None,
        operation: str | None = None,
        **terms: Unpack[Terms],
    ) -> TaskHandle:
        """Hands the work in and comes back at once, with what is to be waited for.

        It is asked for as a task where that is a choice. Keep `id`: `resume` follows it from any process.
        """
        terms.setdefault("asynchronous", True if self.settings.takes_flag(task, operation) else None)
        call = self.settings.call(task, prompt, self._in_hand(task, images, operation), mask, operation=operation, **terms)
        return TaskHandle(self._driver(call), call, self._driver(call).run(call.submission()))

    def resume(self, task_id: str, *, task: Task = "generate", operation: str | None = None) -> TaskHandle:
        """The task of this id (or address) that was submitted before; `operation` where the task's usual one did not take it."""
        call = self.settings.resumed(task, operation)
        return TaskHandle(self._driver(call), call, resumed(task_id, time.monotonic()))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.settings.provider.id!r}, base_url={self.settings.base_url!r})"

    def _in_hand(self, task: Task, images: Sequence[PictureSource], operation: str | None) -> Sequence[PictureSource]:
        """The pictures; those at addresses fetched, where the operation takes no addresses."""
        wanted = self.settings.to_fetch(task, images, operation)
        if not wanted:
            return images
        driver = self._driver(self.settings.resumed(task, operation))
        found = {}
        for url in dict.fromkeys(wanted):
            found[url] = self.settings.fetched(task, driver.run(self.settings.fetching(task, url, operation)), operation)
        return [found[one] if isinstance(one, str) and one in found else one for one in images]

    def _driver(self, call: Call) -> _Driver:
        return _Driver(self._http, self._defaults, call)

    def finish(self, call: Call) -> Result:
        """Carries out a call that was put together before, as batches do."""
        return call.result(self._driver(call).run(call.course()))


class _Stream(Generic[P]):
    """The pieces of a streamed answer, in order, as they arrive; afterwards `result` holds the whole."""

    def __init__(self, driver: _Driver, call: Call) -> None:
        self._driver = driver
        self._call = call
        self._pieces = self._run()
        self.result: Result | None = None

    def __iter__(self) -> Iterator[P]:
        return self._pieces

    def __next__(self) -> P:
        return next(self._pieces)

    def __enter__(self) -> Self:
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

    def _run(self) -> Generator[P, None, None]:
        done = yield from self._driver.listen(self._call.course())
        self.result = self._call.result(done)


class TextStream(_Stream[str]):
    """The pieces of a streamed text."""


class PreviewStream(_Stream[Preview]):
    """Previews and pictures of a stream."""


class TaskHandle(HandedIn):
    """Work that was handed in. `id` is what the provider calls it (None where the answer was the result already)."""

    def __init__(self, driver: _Driver, call: Call, done: Done[Exchanged]) -> None:
        super().__init__(call, done)
        self._driver = driver

    def wait(self, on_update: Callable[[TaskUpdate], None] | None = None) -> Result:
        """The result, once the task has ended; `on_update` hears after every poll how it is doing. Raises `TaskFailed` where it failed."""
        return self._driver.run(self._waited(on_update))

    def poll(self) -> TaskUpdate:
        """How it is doing now, asked once."""
        return self._driver.run(self._asked())

    def cancel(self) -> None:
        """Calls it off; `UsageError` where the provider documents no way to, `RequestRefused` where it is not taken."""
        self._driver.run(self._called_off())


class _Driver:
    """Carries out the steps of one call's course."""

    def __init__(self, http: SyncHttp, defaults: Headers, call: Call) -> None:
        self._http = http
        self._defaults = defaults
        self._timeout_s = call.timeout_s
        self._max_bytes = call.max_bytes
        self._listener = call.listener
        self._handed_over = call.attendance.handed_over

    def run(self, steps: Steps[T]) -> T:
        """The end of the course."""
        return _end_of(self.listen(steps))

    def listen(self, steps: Steps[T]) -> Generator[Any, None, T]:
        """The pieces of text that its answers stream, as they arrive; returns the end of the course."""
        heard: Any = None
        with closing(steps):
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

    def _exchanged(self, send: Send) -> Generator[Any, None, Exchanged]:
        found = exchange(send, timeout_s=self._timeout_s, max_bytes=self._max_bytes, listener=self._listener)
        if send.fresh:
            self._http.kept.fresh()
        try:
            with closing(self._http.send(http_request(found, self._defaults), stream=True)) as response:
                found.begin(response.status_code, tuple(response.headers.multi_items()))
                if response.status_code >= 400:
                    self._http.kept.retire(response)
                blocks = response.iter_raw() if not response.is_stream_consumed else response.iter_bytes()
                while found.wants_more and (block := next(blocks, None)) is not None:
                    for piece in found.add(block):
                        with self._handed_over():
                            yield piece
                found.end()
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            found.fail(error)
        return found


def _end_of(pieces: Generator[Any, None, T]) -> T:
    while True:
        try:
            next(pieces)
        except StopIteration as stop:
            end: T = stop.value
            return end


def several(image: PictureSource | Sequence[PictureSource]) -> Sequence[PictureSource]:
    """One picture or several, as a sequence."""
    return image if isinstance(image, list | tuple) else [image]  # type: ignore[list-item]
