"""Puts mocks together as one ASGI application: each provider's operations, Testcard's own addresses, the pictures delivered by URL."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from urllib.parse import parse_qsl

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from testcard.mocks.endpoint import Endpoint, Resources, decoded
from testcard.mocks.exchange import Answer, Call, Refused
from testcard.mocks.faults import ActiveFault, FaultSource, parse_fault
from testcard.mocks.pace import Latency, RateLimit
from testcard.mocks.pictures.renderer import Renderer
from testcard.mocks.providers import provider_format_of
from testcard.mocks.store import PREFIX, Counters, PictureStore, TaskStore
from testcard.mocks.variants import PLAIN, Variant, variant_named
from testcard.specs.loader import Provider, load_provider
from testcard.specs.profile import MOCK_API_KEY


def create_app(
    providers: Sequence[str | Provider],
    *,
    faults: Sequence[str | ActiveFault] = (),
    latency: str | None = None,
    api_key: str = MOCK_API_KEY,
    rate_limit: str | None = None,
    variant: str | None = None,
    clock: Callable[[], float] = time.time,
    timer: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    max_concurrent: int | None = None,
    renderer: Renderer | None = None,
) -> ASGIApp:
    """The mocks of these providers: one at the root, several each under `/<id>`.

    `faults` are names as `testcard mock --fault` takes them, `variant` one of those of `testcard.mocks.variants`.
    `clock` gives unix seconds, `timer` monotonic ones; `sleep` waits so many of those before an answer that a fault holds back.
    `renderer` draws the pictures, by default one of the mock's own.
    Of each provider at most `max_concurrent` requests for work are worked on at once; the others queue in order of arrival.
    Raises `UsageError` for an unknown provider, fault or variant, and for a latency or rate limit that cannot be read.
    """
    chosen = variant_named(variant) if variant is not None else PLAIN
    loaded = [name if isinstance(name, Provider) else load_provider(name) for name in providers]
    active = [fault if isinstance(fault, ActiveFault) else parse_fault(fault) for fault in faults]
    pictures, counters, pace = PictureStore(clock), Counters(), latency or chosen.latency
    renderer = renderer or Renderer()

    async def file(request: Request) -> Response:
        answer = pictures.fetch(request.path_params["name"], request.query_params)
        media_type = chosen.file_media_type if answer.status == 200 and chosen.file_media_type else answer.media_type
        return Response(answer.payload(), answer.status, dict(answer.headers), media_type)

    async def health(request: Request) -> Response:
        return JSONResponse({"server": "testcard mock", "status": "ready", "providers": [provider.id for provider in loaded]})

    async def count(request: Request) -> Response:
        return JSONResponse(counters.report())

    routes = [Route("/_testcard/health", health), Route("/_testcard/counters", count), Route(PREFIX + "{name}", file)]
    mocks: dict[str, ProviderApp] = {}
    for provider in loaded:
        auth = provider.profile.auth
        provider_format = provider_format_of(provider, clock, strict=chosen.strict)
        resources = Resources(
            provider_format,
            renderer,
            pictures,
            TaskStore(timer, reused_key=provider_format.errors.reused_key),
            keys=auth.headers,
            api_key=api_key,
            latency=Latency(pace) if pace else None,
            rate_limit=RateLimit(rate_limit, timer) if rate_limit else None,
            sleep=sleep,
            slots=asyncio.Semaphore(max_concurrent) if max_concurrent is not None else None,
        )
        mocks["" if len(loaded) == 1 else provider.id] = ProviderApp(resources, counters, active, chosen)
    return chosen.wrap(Mocks(Starlette(routes=routes), mocks))


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


class ProviderApp:
    """One provider's operations as an ASGI application, with its own way to say 404 and 405."""

    def __init__(self, resources: Resources, counters: Counters, faults: Sequence[ActiveFault], variant: Variant) -> None:
        self._resources = resources
        self.provider_format = resources.provider_format
        provider = self.provider_format.provider
        self.id = provider.id
        self._fixed: dict[str, dict[str, Endpoint]] = {}
        self._templates: list[tuple[re.Pattern[str], list[str], dict[str, Endpoint]]] = []
        self._elsewhere = counters.of(self.id, "(none)")
        for operation in provider.openapi.operations.values():
            hooks = variant.hooks(provider, operation.id, self.provider_format.contracts[operation.id])
            source = FaultSource(provider, operation.id, faults, hooks)
            endpoint = Endpoint(resources, operation.id, source, counters.of(self.id, operation.id))
            methods = {operation.method: endpoint}
            if operation.method == "GET":
                methods["HEAD"] = endpoint
            if "{" not in operation.path:
                self._fixed.setdefault(operation.path, {}).update(methods)
            else:
                self._add_template(operation.path, methods)

    def _add_template(self, path: str, methods: dict[str, Endpoint]) -> None:
        """A path with parameters, whatever their names are spelt with; further methods of one that is there already join it."""
        names = [piece.partition("}")[0] for piece in path.split("{")[1:]]
        pattern = re.compile(re.sub(r"\\\{.+?\\\}", "([^/]+)", re.escape(path)))
        for known, parameters, there in self._templates:
            if known.pattern == pattern.pattern and parameters == names:
                there.update(methods)
                return
        self._templates.append((pattern, names, methods))

    def _find(self, path: str) -> tuple[dict[str, Endpoint] | None, dict[str, str]]:
        methods = self._fixed.get(path)
        if methods is not None:
            return methods, {}
        for pattern, names, methods in self._templates:
            found = pattern.fullmatch(path)
            if found is not None:
                return methods, dict(zip(names, found.groups(), strict=True))
        return None, {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one HTTP request."""
        root: str = scope.get("root_path", "")
        methods, path = self._find(scope["path"][len(root) :])
        method = scope["method"]
        if methods is None:
            answer = self._elsewhere_at(method, scope["path"][len(root) :], decoded(scope["headers"]))
        else:
            endpoint = methods.get(method) or next(iter(methods.values()))
            hooks = endpoint.fault_source.next()
            call = Call(self.id, endpoint.operation, method, decoded(scope["headers"]), path, scope.get("scheme", "http"), root, hooks)
            if hooks:
                call.described = self.provider_format.provider
            if scope["query_string"]:
                call.query = dict(parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True))
            refused = None if method in methods else _not_allowed(call, methods)
            answer = await endpoint.answer(call, receive) if refused is None else self._refuse(refused, endpoint.operation)
        await respond(answer, send, head=method == "HEAD")

    def _elsewhere_at(self, method: str, path: str, headers: Mapping[str, str]) -> Answer:
        """The answer at an address that the document does not name: what the provider has there beside it, or 404."""
        try:
            found = self.provider_format.elsewhere("GET" if method == "HEAD" else method, path, self._resources.key_of(headers))
        except Refused as refused:
            return self._refuse(refused)
        if found is None:
            return self._refuse(Refused(404, "there is nothing at this address", code="not_found"))
        self._elsewhere.add(found.status, billed=False, images=0)
        return found

    def _refuse(self, refused: Refused, operation: str | None = None) -> Answer:
        self._elsewhere.add(refused.status, billed=False, images=0)
        return self.provider_format.refusal(refused, operation)


_JSON = (b"content-type", b"application/json")


def _not_allowed(call: Call, methods: Iterable[str]) -> Refused | None:
    """The refusal of a method that the path does not have; None where a fault has it served all the same."""
    refused = Refused(405, "this method is not allowed here", code="method_not_allowed", headers=(("allow", ", ".join(methods)),))
    stands: Refused | None = call.hooks.apply("method", call, refused) if call.hooks else refused
    return stands


async def respond(answer: Answer, send: Send, *, head: bool = False) -> None:
    """Sends the answer; a stream goes out event by event, everything else with its length. One that is cut never ends."""
    body = answer.payload()
    chunked = answer.events is not None or answer.cut == "chunks"
    headers = [_JSON if answer.media_type == "application/json" else (b"content-type", answer.media_type.encode("latin-1"))]
    if not chunked:
        headers.append((b"content-length", b"%d" % len(body)))
    if answer.headers:
        headers += [(name.encode("latin-1"), value.encode("latin-1")) for name, value in answer.headers]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    if answer.events is not None and not head:
        for event in answer.events:
            await send({"type": "http.response.body", "body": event, "more_body": True})
            if answer.gap_s:
                await asyncio.sleep(answer.gap_s)
        body = b""
    if answer.cut is not None and not head:
        # The application ends without an end of the body: the server closes the connection.
        await send({"type": "http.response.body", "body": body[: len(body) // 2], "more_body": True})
        return
    await send({"type": "http.response.body", "body": b"" if head else body})
