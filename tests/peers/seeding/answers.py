"""Defects of what an answer says: seeds, defaults, echoes, dates, costs, usage."""

from __future__ import annotations

import random
from typing import Any

from .defect import CHAT, Ask, defect, honest
from .replies import lists, served

SEEDED = ("nanogpt", "nvidia-nim-image", "opengpu-relay")


@defect(SEEDED, "seed.repeatable")
def seed_dropped(server: Any, ask: Ask) -> Any:
    return honest(server, ask.asking(seed=random.randrange(2**31)) if type(ask.json.get("seed")) is int else ask)


@defect(SEEDED, "seed.varies")
def seed_fixed(server: Any, ask: Ask) -> Any:
    return honest(server, ask.asking(seed=1) if type(ask.json.get("seed")) is int else ask)


@defect(("nvidia-nim-image",), "seed.echoed", noted=True)
def seed_echo_wrong(server: Any, ask: Ask) -> Any:
    reply = honest(server, ask)
    for body, name in lists(reply):
        for item in body[name]:
            item["seed"] = 0
    return reply


@defect(("nanogpt", "nvidia-nim-image"), "request.default-applied")
def default_differs(server: Any, ask: Ask) -> Any:
    default = {"nanogpt": {"strength": 0.4, "guidance_scale": 3.0}, "nvidia-nim-image": {"cfg_scale": 7.0}}
    mine = default["nanogpt" if "generations" in ask.path else "nvidia-nim-image"]
    return honest(server, ask.asking(**{name: value for name, value in mine.items() if name not in ask.json}))


@defect(("nebul",), "answer.echo")
def echo_wrong(server: Any, ask: Ask) -> Any:
    reply = honest(server, ask)
    if served(reply):
        reply.json.update(size="1x1", quality="ultra")
    return reply


@defect(("nanogpt", "nebul"), "answer.created")
def created_in_milliseconds(server: Any, ask: Ask) -> Any:
    reply = honest(server, ask)
    if served(reply):
        reply.json["created"] *= 1000
    return reply


@defect(("nanogpt", "nebul"), "schema", "answer.created")
def created_as_text(server: Any, ask: Ask) -> Any:
    reply = honest(server, ask)
    if served(reply):
        reply.json["created"] = "2026-11-20T09:00:00Z"
    return reply


@defect(("nanogpt",), "answer.cost-not-negative")
def cost_negative(server: Any, ask: Ask) -> Any:
    reply = honest(server, ask)
    if served(reply):
        reply.json["cost"] *= -1
    return reply


@defect(("nanogpt",), "answer.balance-falls")
def balance_stands_still(server: Any, ask: Ask) -> Any:
    reply = honest(server, ask)
    if served(reply):
        reply.json["remainingBalance"] = 500.0
    return reply


@defect(("nebul", "nvidia-nim-vision"), "answer.usage", "schema", noted=True)
def usage_null(server: Any, ask: Ask) -> Any:
    reply = honest(server, ask)
    if served(reply):
        reply.json["usage"] = None
    return reply


@defect(("nebul", "nvidia-nim-vision"), "answer.usage", "schema")
def usage_fractional(server: Any, ask: Ask) -> Any:
    reply = honest(server, ask)
    if served(reply):
        reply.json["usage"] = {name: value + 0.5 for name, value in reply.json["usage"].items()}
    return reply


@defect(CHAT, "answer.usage")
def usage_does_not_add_up(server: Any, ask: Ask) -> Any:
    reply = honest(server, ask)
    if served(reply):
        reply.json["usage"]["total_tokens"] += 11
    return reply
