"""What a defect is, and a server with one in it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

IMAGES = ("nanogpt", "nebul", "nvidia-nim-image", "opengpu-relay")
ALL = (*IMAGES, "nvidia-nim-vision")
CHAT = ("nvidia-nim-vision",)


@dataclass(frozen=True)
class Ask:
    """A request on its way in."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON; an empty object for anything else."""
        try:
            value = json.loads(self.body)
        except ValueError:
            return {}
        return value if isinstance(value, dict) else {}

    def asking(self, **changes: Any) -> Ask:
        """The same with other fields, where it asks in JSON; None takes a field away."""
        if not self.json:
            return self
        body = {name: value for name, value in {**self.json, **changes}.items() if value is not None or name not in changes}
        return replace(self, body=json.dumps(body).encode())


Lie = Callable[[Any, Ask], Any]


@dataclass(frozen=True)
class Defect:
    """A defect by name.

    `areas`: first words of the rules that may rightly report it. `noted`: promised by nobody, a note will do.
    `operations`: where on the first provider it is to be seen, when not everywhere.
    """

    name: str
    providers: tuple[str, ...]
    areas: tuple[str, ...]
    lie: Lie = field(repr=False)
    noted: bool = False
    operations: tuple[str, ...] = ()


DEFECTS: list[Defect] = []


def defect(providers: tuple[str, ...], *areas: str, noted: bool = False, operations: tuple[str, ...] = ()) -> Callable[[Lie], Lie]:
    """Registers the function under its name."""

    def register(lie: Lie) -> Lie:
        DEFECTS.append(Defect(lie.__name__.replace("_", "-"), providers, areas, lie, noted, operations))
        return lie

    return register


def seeded(server: Any, wanted: Defect) -> Any:
    """The server with the defect in it. Its `told` says whether any answer was another than the server's own would have been."""
    server.told = False

    def respond(method: str, path: str, headers: dict[str, str], body: bytes) -> Any:
        server.count += 1
        ask = Ask(method, path, headers, body)
        server.heard = []
        reply = wanted.lie(server, ask)
        server.told = server.told or _differs(server, ask, reply)
        return reply

    server.respond = respond
    return server


def honest(server: Any, ask: Ask) -> Any:
    """What the server itself says."""
    reply = server.handle(ask.method, ask.path, ask.headers, ask.body)
    if not server.told:
        server.heard.append((ask, _sight(reply)))
    return reply


def _differs(server: Any, ask: Ask, reply: Any) -> bool:
    """Whether the reply is another than the server's own to this request, ids and times aside where the request itself was changed."""
    for asked, own in server.heard:
        if asked == ask:
            return bool(own != _sight(reply))
    own = server.handle(ask.method, ask.path, ask.headers, ask.body)
    return bool(_sight(own, aside=_FLEETING) != _sight(reply, aside=_FLEETING))


#: What differs between two answers to the same request.
_FLEETING = frozenset({"id", "created", "request_id", "task_id", "poll_url", "elapsed_seconds", "remainingBalance", "system_fingerprint"})


def _sight(reply: Any, *, aside: frozenset[str] = frozenset()) -> tuple[Any, ...]:
    """All that a client can tell of a reply."""
    content = reply.body if reply.json is None or (reply.body is not None and not aside) else json.dumps(_without(reply.json, aside))
    return reply.status, reply.media_type, sorted(reply.headers), hash(content)


def _without(value: Any, aside: frozenset[str]) -> Any:
    if isinstance(value, dict):
        return {name: _without(item, aside) for name, item in value.items() if name not in aside}
    return [_without(item, aside) for item in value] if isinstance(value, list) else value


def default_body(ask: Ask) -> bytes:
    """A valid body for the operation."""
    if "chat" in ask.path:
        return json.dumps({"model": "meta/llama-3.2-90b-vision-instruct", "messages": [{"role": "user", "content": "hello"}]}).encode()
    return json.dumps({"prompt": "a cat"}).encode()
