"""Puts mocks together as one ASGI application: each provider's operations, Testcard's own addresses, the pictures delivered by URL.

The addresses under /_testcard that are Testcard's own: health, counts, the request log, the conditions in force, and pictures by URL.

Puts conditions in force in every provider of a mock: those it started with, those of a scenario's phases, those set over HTTP.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol
from urllib.parse import parse_qsl

import msgspec
from msgspec import structs
from starlette.applications import Starlette
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from testcard.mocks.conditions import Conditions, InForce, Scenario, Timeline, checked, conditions_from, scenario_from, seeded
from testcard.mocks.endpoint import Endpoint, Resources, decoded
from testcard.mocks.exchange import NOTHING, Answer, Call, Refused
from testcard.mocks.faults import ActiveFault, FaultSource, parse_fault
from testcard.mocks.pictures.renderer import Renderer
from testcard.mocks.providers import provider_format_of
from testcard.mocks.stages import NO_HOOKS
from testcard.mocks.store import PREFIX, Counters, PictureStore, RequestLog, TaskStore, kept
from testcard.mocks.variants import PLAIN, Variant, variant_named
from testcard.specs.errors import UsageError
from testcard.specs.loader import Provider, load_provider
from testcard.specs.profile import MOCK_API_KEY, WireField


class Controlled(Protocol):
    """One provider's mock, as far as conditions go."""

    @property
    def id(self) -> str:
        """The provider's id."""

    @property
    def live(self) -> InForce:
        """The conditions in force there."""

    @property
    def balance_left_usd(self) -> float | None:
        """What is left of the balance that its conditions name; None where they name none."""

    def put_in_force(self, conditions: Conditions) -> None:
        """Keeps these from the next request on."""


class Control:
    """What is in force; `first` is what the mock started with, `pace` the latency where conditions name none. `timer` is monotonic seconds.

    Where conditions name no seed, that of `first` holds.
    """

    def __init__(self, conditions: Conditions, timer: Callable[[], float], *, pace: str | None = None) -> None:
        self.first = conditions
        self._timer = timer
        self._pace = pace
        self._mocks: list[Controlled] = []
        self.conditions = self._whole(conditions)
        self.timeline: Timeline | None = None

    def add(self, mock: Controlled) -> None:
        """One more provider, which keeps what is in force."""
        self._mocks.append(mock)
        mock.put_in_force(self.conditions)

    @property
    def providers(self) -> list[str]:
        """The ids of those that are served."""
        return [mock.id for mock in self._mocks]

    @property
    def phase(self) -> str | None:
        """The name of the scenario's phase; None without a scenario."""
        return self.timeline.phase.name if self.timeline is not None else None

    def set(self, conditions: Conditions, *, anew: Iterable[str] = ()) -> None:
        """Puts conditions in force, and ends a scenario. Those named in `anew` begin again, the others go on as far as they have got."""
        self.timeline = None
        usual = Conditions()
        self._put(structs.replace(conditions, **{name: getattr(usual, name) for name in anew}))
        self._put(self._whole(conditions))

    def play(self, scenario: Scenario | None) -> None:
        """Begins a scenario; None ends it, and everything is as it was at the start, what was used up of a quota too."""
        self.timeline = Timeline(scenario, self._timer) if scenario is not None else None
        if scenario is None:
            self._put(Conditions())  # what stays the same goes on as far as it has got; here it begins again
        self._put(self._whole(scenario.phases[0].conditions if scenario is not None else self.first))

    def before_work(self) -> None:
        """Called before each request for work: a scenario may go on to its next phase."""
        if self.timeline is not None and self.timeline.next():
            self._put(self._whole(self.timeline.phase.conditions))

    def standing(self) -> dict[str, dict[str, Any]]:
        """What is left of each provider's quota and balance."""
        return {mock.id: {"quota_left": mock.live.left, "balance_usd_left": mock.balance_left_usd} for mock in self._mocks}

    def _put(self, conditions: Conditions) -> None:
        self.conditions = conditions
        for mock in self._mocks:
            mock.put_in_force(self.conditions)

    def _whole(self, conditions: Conditions) -> Conditions:
        latency = conditions.latency if conditions.latency is not None else self._pace
        return structs.replace(conditions, latency=latency, seed=conditions.seed if conditions.seed is not None else self.first.seed)


def routes(control: Control, log: RequestLog, counters: Counters, fetch: Callable[[str, Mapping[str, str]], Answer]) -> list[Route]:
    """Their routes; `fetch` gives the picture of a name and query."""

    async def file(request: Request) -> Response:
        answer = fetch(request.path_params["name"], request.query_params)
        return Response(answer.payload(), answer.status, dict(answer.headers), answer.media_type)

    async def health(request: Request) -> Response:
        return _json({"server": "testcard mock", "status": "ready", "providers": control.providers})

    async def count(request: Request) -> Response:
        if request.method == "DELETE":
            counters.clear()
            return Response(status_code=204)
        return _json(counters.report())

    async def requests(request: Request) -> Response:
        if request.method == "DELETE":
            log.clear()
            counters.clear()
            return Response(status_code=204)
        try:
            return _json({"requests": log.entries(request.query_params), "seen": log.seen})
        except UsageError as error:
            return _refused(error)

    async def conditions(request: Request) -> Response:
        if request.method in ("PUT", "PATCH"):
            try:
                wanted = msgspec.json.decode(await request.body() or b"{}")
                if not isinstance(wanted, dict):
                    raise UsageError("the body is no object", hint="send the conditions as a JSON object")
                found = conditions_from(wanted, "conditions", over=control.conditions if request.method == "PATCH" else None)
                control.set(found, anew=wanted)
            except (UsageError, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                return _refused(error)
        return _json(_told(control))

    async def scenario(request: Request) -> Response:
        if request.method == "PUT":
            try:
                control.play(scenario_from(msgspec.json.decode(await request.body(), type=dict[str, Any]), "scenario", over=control.first))
            except (UsageError, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                return _refused(error)
        elif request.method == "DELETE":
            control.play(None)
        return _json(_told(control))

    return [
        Route("/_testcard/health", health),
        Route("/_testcard/counters", count, methods=["GET", "DELETE"]),
        Route("/_testcard/requests", requests, methods=["GET", "DELETE"]),
        Route("/_testcard/conditions", conditions, methods=["GET", "PUT", "PATCH"]),
        Route("/_testcard/scenario", scenario, methods=["GET", "PUT", "DELETE"]),
        Route(PREFIX + "{name}", file),
    ]


def _told(control: Control) -> dict[str, Any]:
    conditions = {name: getattr(control.conditions, name) for name in Conditions.__struct_fields__}
    return {"conditions": conditions, "phase": control.phase, "providers": control.standing()}


def _json(value: Any, status: int = 200) -> Response:
    return Response(msgspec.json.encode(value), status, media_type="application/json")


def _refused(error: Exception) -> Response:
    """The 400 for what cannot be put in force, with the next step."""
    hint = error.hint if isinstance(error, UsageError) else "send JSON"
    return _json({"error": {"message": str(error), "hint": hint}}, 400)


#: set in the scope of a request that another process may know: a 404 to it is neither counted nor written down
MAY_BE_ELSEWHERE = "testcard.may-be-elsewhere"


def create_app(
    providers: Sequence[str | Provider],
    *,
    faults: Sequence[str] = (),
    latency: str | None = None,
    api_key: str = MOCK_API_KEY,
    rate_limit: str | None = None,
    variant: str | None = None,
    clock: Callable[[], float] = time.time,
    timer: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    max_concurrent: int | None = None,
    renderer: Renderer | None = None,
    conditions: Conditions | None = None,
    scenario: Scenario | None = None,
    cors: bool = False,
) -> ASGIApp:
    """The mocks of these providers: one at the root, several each under `/<id>`.

    `faults` are names as `testcard mock --fault` takes them, `variant` one of those of `testcard.mocks.variants`.
    `clock` gives unix seconds, `timer` monotonic ones; `sleep` waits so many of those before an answer that a fault holds back.
    `renderer` draws the pictures, by default one of the mock's own.
    `conditions` says all that can be asked of a mock; `faults`, `latency`, `rate_limit` and `max_concurrent` are the commonest of them by name.
    Of each provider at most `max_concurrent` requests for work are worked on at once; the others queue in order of arrival.
    `scenario` lets conditions follow each other. `cors`: pages of any origin may ask.
    Raises `UsageError` for an unknown provider, fault or variant, and for conditions that cannot be kept.
    """
    chosen = variant_named(variant) if variant is not None else PLAIN
    loaded = [name if isinstance(name, Provider) else load_provider(name) for name in providers]
    given = {"faults": tuple(faults), "latency": latency, "rate_limit": rate_limit, "max_concurrent": max_concurrent}
    first = seeded(structs.replace(conditions or Conditions(), **{name: value for name, value in given.items() if value}))
    checked(first)
    pictures, counters, log, renderer = PictureStore(clock), Counters(), RequestLog(), renderer or Renderer()
    control = Control(first, timer, pace=chosen.latency)

    def fetch(name: str, query: Mapping[str, str]) -> Answer:
        answer = pictures.fetch(name, query)
        if answer.status == 200 and chosen.file_media_type:
            answer.media_type = chosen.file_media_type
        return answer

    mocks: dict[str, ProviderApp] = {}
    for provider in loaded:
        provider_format = provider_format_of(provider, clock, strict=chosen.strict)
        resources = Resources(
            provider_format,
            renderer,
            pictures,
            TaskStore(timer, reused_key=provider_format.errors.reused_key),
            keys=provider.profile.auth.headers,
            api_key=api_key,
            live=InForce(timer, clock, provider.id),
            sleep=sleep,
        )
        mock = ProviderApp(resources, counters, log, control, chosen, clock=clock)
        control.add(mock)
        mocks["" if len(loaded) == 1 else provider.id] = mock
    if scenario is not None:
        control.play(scenario)
    app = chosen.wrap(Mocks(Starlette(routes=routes(control, log, counters, fetch)), mocks))
    return for_pages(app) if cors else app


def for_pages(app: ASGIApp) -> ASGIApp:
    """The same application, which pages of any origin may ask."""
    # What a page may read of an answer beside its body.
    exposed = ("retry-after", "x-request-id", "idempotency-replayed", "location", "x-testcard-replay")
    return CORSMiddleware(app, allow_origins=["*"], allow_methods=["*"], allow_headers=["*"], expose_headers=exposed)


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

    def __init__(
        self, resources: Resources, counters: Counters, log: RequestLog, control: Control, variant: Variant, *, clock: Callable[[], float]
    ) -> None:
        self._resources = resources
        self._log = log
        self._control = control
        self._clock = clock
        self._variant = variant
        self.live = resources.live
        self.provider_format = resources.provider_format
        self._opening_usd = self.provider_format.balance_usd
        provider = self.provider_format.provider
        self.id = provider.id
        self._fixed: dict[str, dict[str, Endpoint]] = {}
        self._templates: list[tuple[re.Pattern[str], list[str], dict[str, Endpoint]]] = []
        self._endpoints: list[Endpoint] = []
        self._elsewhere = counters.of(self.id, "(none)")
        for operation in provider.openapi.operations.values():
            endpoint = Endpoint(resources, operation.id, self._faults_at(operation.id, ()), counters.of(self.id, operation.id))
            self._endpoints.append(endpoint)
            methods = {operation.method: endpoint}
            if operation.method == "GET":
                methods["HEAD"] = endpoint
            if "{" not in operation.path:
                self._fixed.setdefault(operation.path, {}).update(methods)
            else:
                self._add_template(operation.path, provider.operation_profile(operation.id).path, methods)

    @property
    def balance_left_usd(self) -> float | None:
        """What is left of the balance that its conditions name; None where they name none."""
        return self.provider_format.balance_usd if self.live.conditions.balance_usd is not None else None

    def put_in_force(self, conditions: Conditions) -> None:
        """Keeps these conditions from the next request on."""
        before = self.live.conditions
        self.live.set(conditions)
        if conditions.balance_usd != before.balance_usd:
            self.provider_format.balance_usd = conditions.balance_usd if conditions.balance_usd is not None else self._opening_usd
        if conditions.faults != before.faults:
            active = [parse_fault(name) for name in conditions.faults]
            for endpoint in self._endpoints:
                endpoint.fault_source = self._faults_at(endpoint.operation, active)

    def _faults_at(self, operation: str, active: Sequence[ActiveFault]) -> FaultSource:
        provider = self.provider_format.provider
        hooks = self._variant.hooks(provider, operation, self.provider_format.contracts[operation])
        return FaultSource(provider, operation, active, hooks)

    def _add_template(self, path: str, fields: Mapping[str, WireField], methods: dict[str, Endpoint]) -> None:
        """A path with parameters, whatever their names are spelt with; further methods of one that is there already join it.

        A parameter that is a whole model's name may hold slashes: names of the kind owner/name do, escaped or not.
        """
        names = [piece.partition("}")[0] for piece in path.split("{")[1:]]
        models = [name for name, field in fields.items() if field.means == "model" and field.part is None]
        places = iter(["(.+)" if name in models else "([^/]+)" for name in names])
        pattern = re.compile(re.sub(r"\\\{.+?\\\}", lambda _: next(places), re.escape(path)))
        for known, parameters, there in self._templates:
            if known.pattern == pattern.pattern and parameters == names:
                there.update(methods)
                return
        self._templates.append((pattern, names, methods))
        self._templates.sort(key=lambda entry: "(.+)" in entry[0].pattern)  # those that take anything come last

    def _find(self, path: str) -> tuple[dict[str, Endpoint] | None, Mapping[str, str]]:
        for pattern, names, methods in self._templates:
            found = pattern.fullmatch(path)
            if found is not None:
                return methods, dict(zip(names, found.groups(), strict=True))
        return None, NOTHING

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one HTTP request."""
        began, era = self._clock(), self._log.era
        root: str = scope.get("root_path", "")
        asked: str = scope["path"][len(root) :]
        path = NOTHING
        methods = self._fixed.get(asked)
        if methods is None:
            methods, path = self._find(asked)
        method = scope["method"]
        headers = decoded(scope["headers"])
        count, timeline = self._elsewhere, self._control.timeline
        if methods is None:
            phase = self._control.phase
            call = Call(self.id, "", method, headers, path, scope.get("scheme", "http"), root, NO_HOOKS)
            answer = self._elsewhere_at(method, asked, headers)
        else:
            endpoint = methods.get(method) or next(iter(methods.values()))
            if endpoint.works and timeline is not None:
                self._control.before_work()
            phase = None if timeline is None else self._control.phase
            hooks = endpoint.fault_source.next()
            call = Call(self.id, endpoint.operation, method, headers, path, scope.get("scheme", "http"), root, hooks)
            if hooks:
                call.described = self.provider_format.provider
            if scope["query_string"]:
                call.query = dict(parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True))
            refused = None if method in methods else _not_allowed(call, methods)
            answer = await endpoint.answer(call, receive) if refused is None else self._refuse(refused, endpoint.operation)
            count = endpoint.count
        if answer.status == 404 and scope.get(MAY_BE_ELSEWHERE):
            count.take_back(404)
        elif era == self._log.era:
            self._write_down(scope, call, answer, began, phase)
        try:
            await respond(answer, send, head=method == "HEAD")
        except asyncio.CancelledError:
            pass  # only a server that is being stopped cancels: what was left to send of a stream is left
        finally:
            if call.ended is not None:
                call.ended()

    def _write_down(self, scope: Scope, call: Call, answer: Answer, began: float, phase: str | None) -> None:
        query = scope["query_string"]
        path = f"{scope['path']}?{query.decode('latin-1')}" if query else scope["path"]
        billed = answer.billed and answer.status < 300
        self._log.add(
            began,
            self.id,
            call.operation or None,
            call.method,
            path,
            call.headers,
            kept(call),
            answer.status,
            self._clock() - began,
            answer.images if billed else 0,
            billed,
            phase,
        )

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
