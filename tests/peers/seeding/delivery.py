"""Defects of how pictures are delivered: by address, in base64."""

from __future__ import annotations

import base64
from typing import Any

from .defect import Ask, defect, honest
from .replies import lists, readdressed, rewritten, served


@defect(("nanogpt", "nebul"), "delivery.as-asked")
def always_a_url(server: Any, ask: Ask) -> Any:
    return honest(server, ask.asking(response_format="url") if ask.json.get("response_format") == "b64_json" else ask)


@defect(("nanogpt",), "request.accepts-valid")
def response_format_refused(server: Any, ask: Ask) -> Any:
    reply = honest(server, ask)
    if served(reply) and ask.json.get("response_format") == "url":
        return type(reply)(400, {"error": 400, "message": "response_format is not supported"})
    return reply


@defect(("nanogpt", "nebul"), "delivery.exclusive", "schema")
def both_ways(server: Any, ask: Ask) -> Any:
    reply = honest(server, ask)
    for body, name in lists(reply):
        for item in body[name]:
            if item.get("b64_json"):
                item["url"] = server.publish(ask.headers, base64.b64decode(item["b64_json"]))
    return reply


@defect(("nanogpt", "nebul", "opengpu-relay"), "delivery.as-asked", "delivery.url-absolute", "delivery.exclusive")
def data_url_for_an_address(server: Any, ask: Ask) -> Any:
    return readdressed(server, ask, lambda url, data: f"data:image/png;base64,{base64.b64encode(data).decode()}")


@defect(("nanogpt", "nebul", "opengpu-relay"), "delivery.url-fetchable", "image.decodes")
def dead_address(server: Any, ask: Ask) -> Any:
    return readdressed(server, ask, lambda url, data: url.replace("/pictures/", "/pictures/gone"))


@defect(("nanogpt", "nebul", "opengpu-relay"), "delivery.url-absolute")
def relative_address(server: Any, ask: Ask) -> Any:
    return readdressed(server, ask, lambda url, data: "/" + url.split("/", 3)[3])


@defect(("nanogpt", "opengpu-relay"), "delivery.url-keyless", "delivery.url-fetchable")
def address_wants_the_key(server: Any, ask: Ask) -> Any:
    reply = honest(server, ask)
    if ask.path.startswith("/pictures/") and "authorization" not in ask.headers and "x-api-key" not in ask.headers:
        return type(reply)(401, {"error": "no key"})
    return reply


@defect(("nanogpt", "opengpu-relay"), "delivery.url-is-image")
def address_shows_a_page(server: Any, ask: Ask) -> Any:
    reply = honest(server, ask)
    if ask.path.startswith("/pictures/"):
        return type(reply)(200, body=b"<html><img src=...></html>", media_type="text/html")
    return reply


@defect(("nanogpt", "opengpu-relay"), "delivery.url-lifetime")
def address_works_once(server: Any, ask: Ask) -> Any:
    reply = honest(server, ask)
    if ask.path.startswith("/pictures/"):
        server.told |= server.files.pop(ask.path.removeprefix("/pictures/"), None) is not None
    return reply


@defect(("nanogpt", "nebul", "nvidia-nim-image", "opengpu-relay"), "image.base64-strict")
def base64_behind_a_data_prefix(server: Any, ask: Ask) -> Any:
    return rewritten(honest(server, ask), lambda text: "data:image/png;base64," + text)


@defect(("nanogpt", "nebul", "nvidia-nim-image", "opengpu-relay"), "image.base64-strict")
def base64_in_lines(server: Any, ask: Ask) -> Any:
    return rewritten(honest(server, ask), lambda text: "\n".join(text[at : at + 76] for at in range(0, len(text), 76)))


@defect(("nanogpt", "nebul", "nvidia-nim-image", "opengpu-relay"), "image.base64-strict")
def base64_for_urls(server: Any, ask: Ask) -> Any:
    return rewritten(honest(server, ask), lambda text: text.replace("+", "-").replace("/", "_").rstrip("="))
