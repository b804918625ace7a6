"""Puts mocks together as one ASGI application: providers, Testcard's own addresses, the pictures delivered by URL."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from testcard.mocks.counters import Counters
from testcard.mocks.faults import ActiveFault, parse_fault
from testcard.mocks.files import PREFIX, Files
from testcard.mocks.latency import Latency
from testcard.mocks.pictures.studio import Studio
from testcard.mocks.provider_app import ProviderApp
from testcard.mocks.rate_limit import RateLimit
from testcard.mocks.variants import PLAIN, variant_named
from testcard.specs.loader import Provider, load_provider


def create_app(
    providers: Sequence[str | Provider],
    *,
    faults: Sequence[str | ActiveFault] = (),
    latency: str | None = None,
    api_key: str = "testcard",
    rate_limit: str | None = None,
    variant: str | None = None,
    clock: Callable[[], float] = time.time,
    timer: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    max_concurrent: int | None = None,
    studio: Studio | None = None,
) -> ASGIApp:
    """The mocks of these providers: one at the root, several each under `/<id>`.

    `faults` are names as `testcard mock --fault` takes them, `variant` one of those of `testcard.mocks.variants`.
    `clock` gives unix seconds, `timer` monotonic ones; `sleep` waits so many of those before an answer that a fault holds back.
    `studio` draws the pictures, by default one of the mock's own.
    Of each provider at most `max_concurrent` requests for work are worked on at once; the others queue in order of arrival.
    Raises `UsageError` for an unknown provider, fault or variant, and for a latency or rate limit that cannot be read.
    """
    manner = variant_named(variant) if variant is not None else PLAIN
    loaded = [name if isinstance(name, Provider) else load_provider(name) for name in providers]
    active = [fault if isinstance(fault, ActiveFault) else parse_fault(fault) for fault in faults]
    files, counters, pace = Files(clock), Counters(), latency or manner.latency
    studio = studio or Studio()

    async def file(request: Request) -> Response:
        answer = files.fetch(request.path_params["name"], request.query_params)
        media_type = manner.file_media_type if answer.status == 200 and manner.file_media_type else answer.media_type
        return Response(answer.payload(), answer.status, dict(answer.headers), media_type)

    async def health(request: Request) -> Response:
        return JSONResponse({"server": "testcard mock", "status": "ready", "providers": [provider.id for provider in loaded]})

    async def count(request: Request) -> Response:
        return JSONResponse(counters.report())

    routes = [Route("/_testcard/health", health), Route("/_testcard/counters", count), Route(PREFIX + "{name}", file)]
    mocks: dict[str, ProviderApp] = {}
    for provider in loaded:
        mock = ProviderApp(
            provider,
            files=files,
            counters=counters,
            studio=studio,
            faults=active,
            latency=Latency(pace) if pace else None,
            api_key=api_key,
            rate_limit=RateLimit(rate_limit, timer) if rate_limit else None,
            clock=clock,
            timer=timer,
            variant=manner,
            sleep=sleep,
            max_concurrent=max_concurrent,
        )
        mocks["" if len(loaded) == 1 else provider.id] = mock
    return manner.dress(Mocks(Starlette(routes=routes), mocks))


class Mocks:
    """Hands requests to the provider they are for, by the first part of the path, and Testcard's own addresses to `own`.

    Not done by Starlette's router, which takes a tenth of the time that a quick answer takes.
    """

    def __init__(self, own: ASGIApp, mocks: Mapping[str, ProviderApp]) -> None:
        self._own = own
        self._mocks = mocks
        self._alone = mocks.get("")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request."""
        if scope["type"] == "http":
            path: str = scope["path"]
            if self._alone is not None:
                if not path.startswith("/_testcard/"):
                    return await self._alone(scope, receive, send)
            else:
                name = path.split("/", 2)[1] if path.startswith("/") else ""
                if name in self._mocks:
                    scope["root_path"] = f"{scope.get('root_path', '')}/{name}"
                    return await self._mocks[name](scope, receive, send)
        return await self._own(scope, receive, send)
