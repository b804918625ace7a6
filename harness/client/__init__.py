"""The reference client, sync and async, over the one course of a request (`harness.wire.course`).

`call` says what is asked for and what the course's end means; `sync` and `asynchronous` only carry its steps out. May import
`harness.wire`, `harness.pricing`, `harness.targets` and `testcard.specs`.
"""

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
