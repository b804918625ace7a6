"""Reads requests by hand: fields, forms, JSON, and what is wrong with them."""

from __future__ import annotations

import email
import email.policy
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

Json = dict[str, Any]


class Refusal(Exception):
    """An error answer."""

    def __init__(self, status: int, message: str, headers: Sequence[tuple[str, str]] = ()) -> None:
        super().__init__(message)
        self.status, self.message, self.headers = status, message, headers


Check = Callable[[Any], bool]


def is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_text(value: Any) -> bool:
    return isinstance(value, str)


def is_flag(value: Any) -> bool:
    return isinstance(value, bool)


def between(low: float, high: float, kind: Check = is_number) -> Check:
    return lambda value: kind(value) and low <= value <= high


def among(*words: str) -> Check:
    return lambda value: value in words


def pixels(value: Any) -> bool:
    if not is_text(value):
        return False
    width, _, height = value.partition("x")
    return value == "auto" or (width.isdigit() and height.isdigit() and 64 <= int(width) <= 4096 and 64 <= int(height) <= 4096)


def checked(body: Any, fields: Mapping[str, Check], needed: Iterable[str], status: int) -> Json:
    """The body, when every field in it is of its kind and none is missing."""
    if not isinstance(body, dict):
        raise Refusal(status, "the body has to be an object")
    for name in needed:
        if name not in body:
            raise Refusal(status, f"{name} is missing")
    for name, value in body.items():
        if name in fields and not fields[name](value):
            raise Refusal(status, f"{name} is not valid")
    return body


def form(headers: Mapping[str, str], body: bytes) -> tuple[dict[str, str], dict[str, list[bytes]]]:
    """Text fields and files of a multipart body."""
    if not headers.get("content-type", "").startswith("multipart/form-data"):
        raise Refusal(415, "the body has to be multipart/form-data")
    message = email.message_from_bytes(f"content-type: {headers['content-type']}\r\n\r\n".encode() + body, policy=email.policy.HTTP)
    texts: dict[str, str] = {}
    files: dict[str, list[bytes]] = {}
    for part in message.iter_parts() if message.is_multipart() else ():
        name = str(part.get_param("name", header="content-disposition"))
        data = part.get_payload(decode=True)
        assert isinstance(data, bytes)
        if part.get_filename() is not None:
            files.setdefault(name, []).append(data)
        else:
            texts[name] = data.decode("utf-8", "replace")
    return texts, files


def json_body(headers: Mapping[str, str], body: bytes) -> Any:
    if headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise Refusal(415, "the body has to be application/json")
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise Refusal(400, "the body is not JSON") from None


def dimensions(text: str | None, default: tuple[int, int]) -> tuple[int, int]:
    if text is None or text == "auto":
        return default
    width, _, height = text.partition("x")
    return int(width), int(height)
