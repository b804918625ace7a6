"""The reference client, sync and async, over the one course of a request (`harness.wire.course`).

`call` says what is asked for and what the course's end means; `sync` and `asynchronous` only carry its steps out. May import
`harness.wire`, `harness.pricing`, `harness.targets` and `testcard.specs`.

Each name is imported when it is first asked for: a program that only names the package pays for nothing, one that uses the sync client not
for the async one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from testcard.harness.extras import resolve

if TYPE_CHECKING:
    from testcard.harness.client.asynchronous import AsyncClient, AsyncPreviewStream, AsyncTaskHandle, AsyncTextStream
    from testcard.harness.client.attempts import Retry, TaskUpdate
    from testcard.harness.client.batch import BatchItem, BatchOutcome, run_batch, run_batch_async
    from testcard.harness.client.errors import (
        AddressNotAllowed,
        AuthenticationFailed,
        ClientError,
        ConnectionFailed,
        ContractBroken,
        PaymentRequired,
        RateLimited,
        RequestRefused,
        ServerFailed,
        SpendingLimitReached,
        TaskFailed,
        TimedOut,
    )
    from testcard.harness.client.masks import Mask
    from testcard.harness.client.observing import ClientEvent, OpenTelemetryHook, log_calls
    from testcard.harness.client.results import HttpExchange, Picture, Preview, Result, Timings
    from testcard.harness.client.spending import SpendingGuard
    from testcard.harness.client.sync import Client, PreviewStream, TaskHandle, TextStream
    from testcard.harness.errors import ContractViolation

_HOMES: dict[str, tuple[str, ...]] = {
    "testcard.harness.client.asynchronous": (
        "AsyncClient",
        "AsyncPreviewStream",
        "AsyncTaskHandle",
        "AsyncTextStream",
    ),
    "testcard.harness.client.attempts": (
        "Retry",
        "TaskUpdate",
    ),
    "testcard.harness.client.batch": (
        "BatchItem",
        "BatchOutcome",
        "run_batch",
        "run_batch_async",
    ),
    "testcard.harness.client.errors": (
        "AddressNotAllowed",
        "AuthenticationFailed",
        "ClientError",
        "ConnectionFailed",
        "ContractBroken",
        "PaymentRequired",
        "RateLimited",
        "RequestRefused",
        "ServerFailed",
        "SpendingLimitReached",
        "TaskFailed",
        "TimedOut",
    ),
    "testcard.harness.client.masks": ("Mask",),
    "testcard.harness.client.observing": (
        "ClientEvent",
        "OpenTelemetryHook",
        "log_calls",
    ),
    "testcard.harness.client.results": (
        "HttpExchange",
        "Picture",
        "Preview",
        "Result",
        "Timings",
    ),
    "testcard.harness.client.spending": ("SpendingGuard",),
    "testcard.harness.client.sync": (
        "Client",
        "PreviewStream",
        "TaskHandle",
        "TextStream",
    ),
    "testcard.harness.errors": ("ContractViolation",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "AddressNotAllowed",
    "AsyncClient",
    "AsyncPreviewStream",
    "AsyncTaskHandle",
    "AsyncTextStream",
    "AuthenticationFailed",
    "BatchItem",
    "BatchOutcome",
    "Client",
    "ClientError",
    "ClientEvent",
    "ConnectionFailed",
    "ContractBroken",
    "ContractViolation",
    "HttpExchange",
    "Mask",
    "OpenTelemetryHook",
    "PaymentRequired",
    "Picture",
    "Preview",
    "PreviewStream",
    "RateLimited",
    "RequestRefused",
    "Result",
    "Retry",
    "ServerFailed",
    "SpendingGuard",
    "SpendingLimitReached",
    "TaskFailed",
    "TaskHandle",
    "TaskUpdate",
    "TextStream",
    "TimedOut",
    "Timings",
    "log_calls",
    "run_batch",
    "run_batch_async",
]


def __getattr__(name: str) -> Any:
    """The public object of this name, imported now."""
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    resolve("testcard.harness.kept_connections:httpx")  # first: it imports httpx without what a client does not need
    found = globals()[name] = resolve(f"{home}:{name}")
    return found
