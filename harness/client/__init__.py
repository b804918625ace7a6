"""The reference client, sync and async, over the one course of a request (`harness.wire.course`).

`call` says what is asked for and what the course's end means; `sync` and `asynchronous` only carry its steps out. May import
`harness.wire`, `harness.pricing`, `harness.targets` and `testcard.specs`.

Each name is imported when it is first asked for: a program that only names the package pays for nothing, one that uses the sync client not
for the async one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from testcard.harness.lazy import resolve

if TYPE_CHECKING:
    from testcard.harness.client.asynchronous import AsyncClient, AsyncTextStream
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
        TaskFailed,
        TimedOut,
    )
    from testcard.harness.client.results import Picture, Result, Timings
    from testcard.harness.client.sync import Client, TextStream
    from testcard.harness.errors import ContractViolation

_HOMES: dict[str, tuple[str, ...]] = {
    "testcard.harness.client.asynchronous": (
        "AsyncClient",
        "AsyncTextStream",
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
        "TaskFailed",
        "TimedOut",
    ),
    "testcard.harness.client.results": (
        "Picture",
        "Result",
        "Timings",
    ),
    "testcard.harness.client.sync": (
        "Client",
        "TextStream",
    ),
    "testcard.harness.errors": ("ContractViolation",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "AddressNotAllowed",
    "AsyncClient",
    "AsyncTextStream",
    "AuthenticationFailed",
    "Client",
    "ClientError",
    "ConnectionFailed",
    "ContractBroken",
    "ContractViolation",
    "PaymentRequired",
    "Picture",
    "RateLimited",
    "RequestRefused",
    "Result",
    "ServerFailed",
    "TaskFailed",
    "TextStream",
    "TimedOut",
    "Timings",
]


def __getattr__(name: str) -> Any:
    """The public object of this name, imported now."""
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = globals()[name] = resolve(f"{home}:{name}")
    return found
