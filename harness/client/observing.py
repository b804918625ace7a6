"""What a client tells of its calls while they go on: events for hooks, and the two hooks that most programs want, logging and OpenTelemetry.

A hook is called in the thread, or task, of the call, with one `ClientEvent` at a time. No event holds a key.
"""

from __future__ import annotations

import importlib
import itertools
import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Literal

from testcard.harness.client.results import Result
from testcard.harness.text.words import amount
from testcard.harness.wire.course import Purpose

#: `began` comes first and one of `ENDS` last; `sent` and `received` with each request, polls and downloads too; `retrying` before a pause between
#: attempts. `accepted`: `submit` handed the work in (`wait` begins again, under the same number). `abandoned`: nobody waited for the end, for a
#: stream was closed, a call cancelled, or a callback raised.
EventKind = Literal["began", "sent", "received", "retrying", "accepted", "ended", "failed", "abandoned"]
ENDS: frozenset[EventKind] = frozenset({"accepted", "ended", "failed", "abandoned"})


@dataclass(frozen=True, slots=True)
class ClientEvent:
    """One thing that happened in a call. Times in seconds.

    `call` is the same number for all events of a call; `size` is what was asked for. `purpose`, `method`, `host` and `status` are of one
    request (status None: no answer began), `seconds` how long it took, or of `retrying` the pause. `result` comes with `ended`, `error` with
    `failed`.
    """

    kind: EventKind
    call: int
    provider: str
    operation: str
    model: str | None
    size: str | None = None
    attempt: int = 1
    purpose: Purpose | None = None
    method: str | None = None
    host: str | None = None
    status: int | None = None
    seconds: float | None = None
    result: Result | None = field(default=None, repr=False)
    error: BaseException | None = None


Hook = Callable[[ClientEvent], None]

_NUMBERS = itertools.count(1)


def next_number() -> int:
    """The number of the next call of this process."""
    return next(_NUMBERS)


def log_calls(logger: logging.Logger | None = None, level: int = logging.INFO) -> Hook:
    """A hook that writes a line for each end of a call (and at DEBUG for each request) to a logger, by default `testcard.client`."""
    target = logger or logging.getLogger("testcard.client")

    def hook(event: ClientEvent) -> None:
        what = f"{event.provider} {event.operation}" + (f" {event.model}" if event.model else "")
        if event.kind == "ended" and event.result is not None:
            cost = "cost unknown" if event.result.cost_usd is None else amount(event.result.cost_usd)
            seconds = event.result.timings.total_s
            target.log(level, "%s: %d pictures in %.2f s, %s", what, len(event.result.pictures), seconds, cost)
        elif event.kind == "failed":
            target.log(max(level, logging.WARNING), "%s failed: %s", what, event.error)
        elif event.kind in ("accepted", "abandoned"):
            target.log(level, "%s: %s", what, event.kind)
        elif event.kind == "retrying":
            target.log(
                level,
                "%s: attempt %d ended with %s; again in %.1f s",
                what,
                event.attempt,
                event.status or "no answer",
                event.seconds or 0.0,
            )
        elif event.kind == "received":
            target.debug("%s: %s %s answered %s in %.3f s", what, event.method, event.host, event.status, event.seconds or 0.0)

    return hook


class OpenTelemetryHook:
    """A hook that makes a span of each call, with operation, model, size, attempts, cost and tokens as attributes.

    `tracer` is one of OpenTelemetry's; without one, `opentelemetry.trace.get_tracer("testcard")`, for which opentelemetry-api has to be
    installed. Names follow the semantic conventions for generative AI where they have one.
    """

    def __init__(self, tracer: Any = None) -> None:
        self._tracer: Any = tracer if tracer is not None else importlib.import_module("opentelemetry.trace").get_tracer("testcard")
        self._open: dict[int, Any] = {}

    def __call__(self, event: ClientEvent) -> None:
        """Begins, marks or ends a span."""
        if event.kind == "began":
            attributes = {"gen_ai.operation.name": event.operation, "gen_ai.provider.name": event.provider}
            attributes |= {"gen_ai.request.model": event.model} if event.model else {}
            attributes |= {"testcard.size": event.size} if event.size else {}
            self._open[event.call] = self._tracer.start_span(f"{event.operation} {event.model or event.provider}", attributes=attributes)
            return
        span = self._open.get(event.call)
        if span is None:
            return
        if event.kind == "received":
            span.add_event(f"{event.purpose}", {"http.response.status_code": event.status or 0, "server.address": event.host or ""})
        elif event.kind == "retrying":
            span.add_event("retry", {"testcard.attempt": event.attempt, "testcard.pause_s": event.seconds or 0.0})
        elif event.kind in ENDS:
            del self._open[event.call]
            span.set_attribute("testcard.attempts", event.attempt)
            if event.kind in ("accepted", "abandoned"):
                span.add_event(event.kind, {})
            if event.result is not None:
                self._say(span, event.result)
            if event.error is not None:
                span.set_attribute("error.type", type(event.error).__name__)
                self._mark_failed(span, str(event.error))
                span.record_exception(event.error)
            span.end()

    def _mark_failed(self, span: Any, said: str) -> None:
        with suppress(ImportError):  # a tracer of somebody's own needs no opentelemetry
            span.set_status(importlib.import_module("opentelemetry.trace").StatusCode.ERROR, said)

    def _say(self, span: Any, result: Result) -> None:
        span.set_attribute("testcard.pictures", len(result.pictures))
        if result.cost_usd is not None:
            span.set_attribute("testcard.cost_usd", result.cost_usd)
        if result.usage is not None and isinstance(result.usage.prompt_tokens, int):
            span.set_attribute("gen_ai.usage.input_tokens", result.usage.prompt_tokens)
        if result.usage is not None and isinstance(result.usage.completion_tokens, int):
            span.set_attribute("gen_ai.usage.output_tokens", result.usage.completion_tokens)
