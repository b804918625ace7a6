"""The addresses under /_testcard that are Testcard's own: health, counts, the request log, the conditions in force, and pictures by URL."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from testcard.mocks.conditions import Conditions, conditions_from, scenario_from
from testcard.mocks.control import Control
from testcard.mocks.exchange import Answer
from testcard.mocks.request_log import RequestLog
from testcard.mocks.store import PREFIX, Counters
from testcard.specs.errors import UsageError


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
        return _json({"requests": log.entries(request.query_params), "seen": log.seen})

    async def conditions(request: Request) -> Response:
        if request.method in ("PUT", "PATCH"):
            try:
                wanted = msgspec.json.decode(await request.body() or b"{}")
                if not isinstance(wanted, dict):
                    raise UsageError("the body is no object", hint="send the conditions as a JSON object")
                control.set(conditions_from(wanted, "conditions", over=control.conditions if request.method == "PATCH" else None))
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
