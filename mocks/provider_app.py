"""One provider as an ASGI application: finds the operation, serves it, sends the answer."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterable, MutableMapping, Sequence
from typing import Any

from testcard.mocks.counters import Counters
from testcard.mocks.endpoint import Endpoint, Means, lower, refusal
from testcard.mocks.exchange import Answer, Call, Refused
from testcard.mocks.faults import ActiveFault, Liar
from testcard.mocks.files import Files
from testcard.mocks.latency import Latency
from testcard.mocks.pictures.studio import Studio
from testcard.mocks.providers import manners_of
from testcard.mocks.providers.manners import Shop
from testcard.mocks.rate_limit import RateLimit
from testcard.mocks.tasks import Tasks
from testcard.mocks.variants import Variant
from testcard.specs.loader import Provider

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class ProviderApp:
    """One provider's operations as an ASGI application, with its own way to say 404 and 405."""

    def __init__(
        self,
        provider: Provider,
        *,
        files: Files,
        counters: Counters,
        studio: Studio,
        faults: Sequence[ActiveFault],
        latency: Latency | None,
        api_key: str,
        rate_limit: RateLimit | None,
        clock: Callable[[], float],
        timer: Callable[[], float],
        variant: Variant,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        max_concurrent: int | None = None,
    ) -> None:
        self.id = provider.id
        self.manners = manners_of(Shop(provider, files, clock, variant.strict))
        auth = provider.profile.auth
        places = asyncio.Semaphore(max_concurrent) if max_concurrent is not None else None
        means = Means(self.manners, studio, Tasks(timer), (auth.header, *auth.also_accepts), api_key, latency, rate_limit, sleep, places)
        self._fixed: dict[str, dict[str, Endpoint]] = {}
        self._templates: list[tuple[re.Pattern[str], dict[str, Endpoint]]] = []
        self._elsewhere = counters.of(self.id, "(none)")
        for operation in provider.openapi.operations.values():
            liar = Liar(self.id, operation.id, faults, variant.habits(provider, operation.id, self.manners.contracts[operation.id]))
            endpoint = Endpoint(means, operation.id, liar, counters.of(self.id, operation.id))
            methods = {operation.method: endpoint}
            if operation.method == "GET":
                methods["HEAD"] = endpoint
            if "{" not in operation.path:
                self._fixed.setdefault(operation.path, {}).update(methods)
            else:
                pattern = re.compile(re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[^/]+)", re.escape(operation.path)))
                self._templates.append((pattern, methods))

    def _find(self, path: str) -> tuple[dict[str, Endpoint] | None, dict[str, str]]:
        methods = self._fixed.get(path)
        if methods is not None:
            return methods, {}
        for pattern, methods in self._templates:
            found = pattern.fullmatch(path)
            if found is not None:
                return methods, found.groupdict()
        return None, {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one HTTP request."""
        root: str = scope.get("root_path", "")
        methods, path = self._find(scope["path"][len(root) :])
        method = scope["method"]
        if methods is None:
            answer = self._refuse(Refused(404, "there is nothing at this address", code="not_found"))
        else:
            endpoint = methods.get(method) or next(iter(methods.values()))
            headers = lower(scope["headers"])
            origin = f"{scope.get('scheme', 'http')}://{headers.get('host', 'localhost')}"
            call = Call(self.id, endpoint.operation, method, headers, path, origin, root, endpoint.liar.next())
            refused = None if method in methods else _not_allowed(call, methods)
            answer = await endpoint.answer(call, receive) if refused is None else self._refuse(refused)
        await respond(answer, send, head=method == "HEAD")

    def _refuse(self, refused: Refused) -> Answer:
        self._elsewhere.add(refused.status, billed=False, images=0)
        return refusal(self.manners, refused)


def _not_allowed(call: Call, methods: Iterable[str]) -> Refused | None:
    """The refusal of a method that the path does not have; None where a lie serves it all the same."""
    refused = Refused(405, "this method is not allowed here", code="method_not_allowed", headers=(("allow", ", ".join(methods)),))
    told: Refused | None = call.lies.tell("method", call, refused) if call.lies else refused
    return told


async def respond(answer: Answer, send: Send, *, head: bool = False) -> None:
    """Sends the answer; a stream goes out event by event, everything else with its length. One that is cut never ends."""
    body = answer.payload()
    chunked = answer.events is not None or answer.cut == "chunks"
    headers = [(b"content-type", answer.media_type.encode("latin-1"))]
    if not chunked:
        headers.append((b"content-length", str(len(body)).encode()))
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
