"""Defects of chats, whole or as events."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from .defect import CHAT, Ask, default_body, defect, honest
from .replies import served


def streamed(reply: Any) -> bool:
    return bool(reply.status == 200 and reply.media_type.startswith("text/event-stream"))


def frames(chunks: list[Any], *, end: bool = True) -> bytes:
    lines = [f"data: {json.dumps(chunk)}\n\n" for chunk in chunks] + (["data: [DONE]\n\n"] if end else [])
    return "".join(lines).encode()


@defect(CHAT, "stream.media-type")
def json_for_a_stream(server: Any, ask: Ask) -> Any:
    return honest(server, ask.asking(stream=None) if ask.json.get("stream") is True else ask)


@defect(CHAT, "stream.terminated")
def stream_without_done(server: Any, ask: Ask) -> Any:
    reply = honest(server, ask)
    if streamed(reply):
        reply.body = frames(reply.json, end=False)
    return reply


@defect(CHAT, "stream.one-id")
def an_id_for_each_piece(server: Any, ask: Ask) -> Any:
    reply = honest(server, ask)
    if streamed(reply):
        reply.body = frames([{**chunk, "id": f"chat-{index}"} for index, chunk in enumerate(reply.json)])
    return reply


@defect(CHAT, "stream.text")
def stream_of_nothing(server: Any, ask: Ask) -> Any:
    reply = honest(server, ask)
    if streamed(reply):
        for chunk in reply.json:
            chunk["choices"][0]["delta"] = {"content": ""}
        reply.body = frames(reply.json)
    return reply


@defect(CHAT, "stream.finish-reason")
def stream_never_says_why_it_ended(server: Any, ask: Ask) -> Any:
    reply = honest(server, ask)
    if streamed(reply):
        for chunk in reply.json:
            chunk["choices"][0]["finish_reason"] = None
        reply.body = frames(reply.json)
    return reply


@defect(CHAT, "stream.frames")
def pieces_are_not_json(server: Any, ask: Ask) -> Any:
    reply = honest(server, ask)
    if streamed(reply):
        reply.body = "".join(f"data: {chunk}\n\n" for chunk in [*reply.json, "[DONE]"]).encode()
    return reply


@defect(CHAT, "vision.choices")
def empty_choices(server: Any, ask: Ask) -> Any:
    reply = honest(server, ask)
    if served(reply):
        reply.json["choices"] = []
    return reply


@defect(CHAT, "vision.content")
def empty_answer(server: Any, ask: Ask) -> Any:
    reply = honest(server, ask)
    if served(reply):
        reply.json["choices"][0]["message"]["content"] = ""
    return reply


@defect(CHAT, "vision.role")
def role_is_user(server: Any, ask: Ask) -> Any:
    reply = honest(server, ask)
    if served(reply):
        reply.json["choices"][0]["message"]["role"] = "user"
    return reply


@defect(CHAT, "vision.max-tokens")
def max_tokens_ignored(server: Any, ask: Ask) -> Any:
    return honest(server, ask.asking(max_tokens=None) if type(ask.json.get("max_tokens")) is int else ask)


@defect(CHAT, "vision.length-finish")
def cut_off_text_says_stop(server: Any, ask: Ask) -> Any:
    reply = honest(server, ask)
    if served(reply):
        reply.json["choices"][0]["finish_reason"] = "stop"
    return reply


@defect(CHAT, "vision.undecodable-refused")
def broken_picture_is_described(server: Any, ask: Ask) -> Any:
    reply = honest(server, ask)
    if reply.status == 400 and "image" in str(reply.json):
        return honest(server, replace(ask, body=default_body(ask)))
    return reply
