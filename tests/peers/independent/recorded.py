"""OpenAPI documents with recorded answers in them as examples, for servers that answer with what a document shows."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from .painting import encoded, paint
from .server import Server

HEADERS = {"host": "127.0.0.1:1", "content-type": "application/json"}


def with_examples(document: Path, server: Server, models: Mapping[str, str], out: Path) -> Path:
    """The document with an example for each 200, recorded at one of our servers; written to `out`.

    `models`: by path, the model that is asked for. Pictures by address stay in the server's `files`.
    """
    text = json.loads(json.dumps(yaml.safe_load(document.read_text())))
    for path, item in text["paths"].items():
        for method, operation in item.items():
            if method != "post":
                continue
            answer = operation["responses"]["200"]
            if "$ref" in answer:
                answer = operation["responses"]["200"] = json.loads(json.dumps(_at(text, answer["$ref"])))
            for media_type, content in answer["content"].items():
                content["example"] = _recorded(server, path, models[path], streamed=media_type == "text/event-stream")
    out.write_text(json.dumps(text))
    return out


def _at(document: Any, reference: str) -> Any:
    for part in reference.removeprefix("#/").split("/"):
        document = document[part]
    return document


def _recorded(server: Server, path: str, model: str, *, streamed: bool) -> Any:
    """What the server says to a plain request."""
    picture = base64.b64encode(encoded(paint((64, 64), "a picture"))).decode()
    for name, value in zip(("{publisher}", "{model}"), model.split("/"), strict=False):
        path = path.replace(name, value)
    if "chat" in path:
        messages = [{"role": "user", "content": "What is on it?"}]
        body: dict[str, Any] = {"model": model, "messages": messages, "stream": streamed}
    else:
        body = {"prompt": "a red boat", "size": "512x512", **({"image": picture} if path.endswith("edit") else {})}
        if "gpt-image" in path or path.endswith("generations"):
            body["size"] = "1024x1024"
    headers = {**HEADERS, "authorization": f"Bearer {server.key}"}
    content = json.dumps(body).encode()
    if path.endswith(("edits", "variations")):
        path = path.rsplit("/", 1)[0] + "/generations"
    reply = server.handle("POST", path, headers, content)
    assert reply.status == 200, (path, reply.json)
    return reply.body.decode() if streamed and reply.body is not None else reply.json
