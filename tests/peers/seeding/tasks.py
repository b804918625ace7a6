"""Defects of tasks that are asked for and fetched later."""

from __future__ import annotations

from typing import Any

from .defect import Ask, defect, honest
from .replies import served

TASKS = ("opengpu-relay",)


@defect(TASKS, "async.accepted", operations=("generateStableDiffusion", "getTask"))
def async_ignored(server: Any, ask: Ask) -> Any:
    return honest(server, ask.asking(**{"async": None}) if isinstance(ask.json.get("async"), bool) else ask)


@defect(TASKS, "async.accepted", operations=("generateStableDiffusion", "getTask"))
def accepted_with_200(server: Any, ask: Ask) -> Any:
    reply = honest(server, ask)
    if reply.status == 202:
        reply.status = 200
    return reply


@defect(TASKS, "async.reference", operations=("generateStableDiffusion", "getTask"))
def accepted_without_a_name(server: Any, ask: Ask) -> Any:
    reply = honest(server, ask)
    if reply.status == 202:
        reply.json = {"status": "queued"}
    return reply


@defect(TASKS, "async.forward", operations=("generateStableDiffusion", "getTask"))
def task_goes_back(server: Any, ask: Ask) -> Any:
    reply = honest(server, ask)
    if "/tasks/" in ask.path and served(reply):
        looked = server.__dict__.setdefault("looked", {})
        looked[ask.path] = looked.get(ask.path, 0) + 1
        if looked[ask.path] <= 2:
            reply.json = {"task_id": reply.json["task_id"], "status": ("running", "queued")[looked[ask.path] - 1]}
    return reply


@defect(TASKS, "async.terminal", "async.result", operations=("generateStableDiffusion", "getTask"))
def every_task_fails(server: Any, ask: Ask) -> Any:
    reply = honest(server, ask)
    if served(reply) and reply.json.get("status") == "completed":
        reply.json = {"task_id": reply.json["task_id"], "status": "failed", "error": "out of memory"}
    return reply


@defect(TASKS, "async.result", operations=("generateStableDiffusion", "getTask"))
def result_left_out(server: Any, ask: Ask) -> Any:
    reply = honest(server, ask)
    if served(reply) and "result" in reply.json:
        del reply.json["result"]
    return reply


@defect(TASKS, "async.unknown-task", operations=("generateStableDiffusion", "getTask"))
def unknown_task_is_queued(server: Any, ask: Ask) -> Any:
    reply = honest(server, ask)
    if "/tasks/" in ask.path and reply.status == 404:
        return type(reply)(200, {"task_id": ask.path.rpartition("/")[2], "status": "queued"})
    return reply
