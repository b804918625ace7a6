"""Defects of HTTP and keys."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from .defect import ALL, Ask, default_body, defect, honest
from .replies import served


@defect(ALL, "http.status-documented")
def created_201(server: Any, ask: Ask) -> Any:
    reply = honest(server, ask)
    if reply.status == 200 and ask.method == "POST":
        reply.status = 201
    return reply


@defect(ALL, "http.no-server-error")
def client_faults_as_500(server: Any, ask: Ask) -> Any:
    reply = honest(server, ask)
    if reply.status in (400, 422):
        reply.status = 500
    return reply


@defect(ALL, "http.error-not-200", "request.refuses-invalid")
def errors_as_200(server: Any, ask: Ask) -> Any:
    reply = honest(server, ask)
    if reply.status in (400, 422):
        reply.status = 200
    return reply


@defect(ALL, "http.media-type", "schema.response")
def json_called_html(server: Any, ask: Ask) -> Any:
    reply = honest(server, ask)
    if served(reply):
        reply.media_type = "text/html"
    return reply


@defect(ALL, "http.body-complete", "schema.response")
def json_cut_short(server: Any, ask: Ask) -> Any:
    reply = honest(server, ask)
    if served(reply) and ask.method == "POST":
        reply.body = json.dumps(reply.json).encode()[:-20]
    return reply


@defect(ALL, "http.steady", "http.no-server-error")
def every_ninth_request_fails(server: Any, ask: Ask) -> Any:
    reply = honest(server, ask)
    return type(reply)(502, body=b"Bad Gateway", media_type="text/plain") if server.count % 9 == 0 else reply


@defect(ALL, "auth.required")
def no_key_needed(server: Any, ask: Ask) -> Any:
    return honest(server, keyed(server, ask))


def keyed(server: Any, ask: Ask) -> Ask:
    return replace(ask, headers={**ask.headers, "authorization": f"Bearer {server.key}"})


@defect(ALL, "auth.wrong-refused")
def any_key_will_do(server: Any, ask: Ask) -> Any:
    return honest(server, keyed(server, ask) if "authorization" in ask.headers or "x-api-key" in ask.headers else ask)


@defect(ALL, "auth.not-echoed")
def key_in_the_error(server: Any, ask: Ask) -> Any:
    reply = honest(server, ask)
    if reply.status >= 400 and isinstance(reply.json, dict):
        reply.headers.append(("x-debug", ask.headers.get("authorization") or ask.headers.get("x-api-key", "")))
    return reply


@defect(ALL, "http.method-refused")
def get_is_served(server: Any, ask: Ask) -> Any:
    reply = honest(server, ask)
    return type(reply)(200, {"status": "ok"}) if reply.status == 405 else reply


@defect(ALL, "http.malformed-refused")
def malformed_json_is_served(server: Any, ask: Ask) -> Any:
    reply = honest(server, ask)
    if reply.status != 400 or "json" not in ask.headers.get("content-type", ""):
        return reply
    try:
        json.loads(ask.body)
    except ValueError:
        body = ask.body.decode("utf-8", "replace")
        for end in ("}", '"}', ' ""}', "]}"):
            again = honest(server, replace(ask, body=(body + end).encode()))
            if again.status == 200:
                return again
        return honest(server, replace(ask, body=default_body(ask)))
    return reply
