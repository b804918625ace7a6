"""What the servers share: routes, the key, pictures that can be fetched, ASGI."""

from __future__ import annotations

import hashlib
import io
import json
import random
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from PIL import Image

from .painting import paint
from .reading import Json, Refusal

KEY = "independent-key-5521"


@dataclass
class Reply:
    """What is sent back. `json` is encoded last, so that somebody in between may change it."""

    status: int = 200
    json: Any = None
    body: bytes | None = None
    media_type: str = "application/json"
    headers: list[tuple[str, str]] = field(default_factory=list)


class Server:
    """One provider as an ASGI application at the root. `respond` may be replaced, so that somebody stands between (tests/peers/seeding)."""

    routes: ClassVar[Mapping[str, str]] = {}
    key = KEY

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.count = 0

    # what a subclass gives
    def serve(self, route: str, path: str, headers: Mapping[str, str], body: bytes) -> Reply:
        """The reply to a request with a good key."""
        raise Refusal(404, "there is nothing here")

    def error(self, refusal: Refusal) -> Json:
        """The body of an error."""
        return {"error": {"message": str(refusal.message), "type": "invalid_request_error", "param": None, "code": None}}

    def has_key(self, headers: Mapping[str, str]) -> bool:
        """Whether the request carries the key."""
        return headers.get("authorization") == f"Bearer {self.key}"

    def needs_key(self, route: str) -> bool:
        """Whether the route wants one."""
        return True

    def pictures(self, body: Json, size: tuple[int, int], count: int, *, seeded: bool, aside: Iterable[str] = ()) -> list[Image.Image]:
        """So many pictures, each its own; the same for the same body where there is a seed."""
        told = {name: value for name, value in body.items() if name not in {"n", "response_format", "user", *aside}}
        salt = json.dumps(told, sort_keys=True, default=lambda data: hashlib.sha256(data).hexdigest())
        if not seeded:
            salt += str(random.random())
        return [paint(size, f"{salt}#{index}") for index in range(count)]

    def publish(self, headers: Mapping[str, str], data: bytes) -> str:
        """An address at which the picture can be fetched."""
        name = hashlib.sha256(data).hexdigest()[:24]
        self.files[name] = data
        return f"http://{headers['host']}/pictures/{name}?expires={int(time.time()) + 8 * 86_400}"

    def handle(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Reply:
        """The reply to any request."""
        if path.startswith("/pictures/"):
            data = self.files.get(path.removeprefix("/pictures/"))
            if data is None:
                return Reply(404, body=b"no such picture", media_type="text/plain")
            return Reply(200, body=data, media_type=f"image/{(Image.open(io.BytesIO(data)).format or '').lower()}")
        try:
            route = next((route for route in self.routes if self.matches(route, path)), None)
            if route is None:
                raise Refusal(404, "there is nothing here")
            if method != self.routes[route]:
                raise Refusal(405, "not by this method", [("allow", self.routes[route])])
            if self.needs_key(route) and not self.has_key(headers):
                raise Refusal(401, "no valid key", [("www-authenticate", "Bearer")])
            return self.serve(route, path, headers, body)
        except Refusal as refusal:
            return Reply(refusal.status, self.error(refusal), headers=list(refusal.headers))

    def matches(self, route: str, path: str) -> bool:
        """Whether a path is on a route; `*` stands for one part."""
        parts, wanted = path.split("/"), route.split("/")
        return len(parts) == len(wanted) and all(want in ("*", part) for want, part in zip(wanted, parts, strict=True))

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """ASGI."""
        body = b""
        more = True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        reply = self.respond(scope["method"], scope["path"], headers, body)
        content = reply.body if reply.body is not None else json.dumps(reply.json).encode()
        fields = [("content-type", reply.media_type), ("content-length", str(len(content))), *reply.headers]
        raw = [(name.encode(), value.encode("latin-1")) for name, value in dict(fields).items()]
        await send({"type": "http.response.start", "status": reply.status, "headers": raw})
        await send({"type": "http.response.body", "body": content})

    def respond(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Reply:
        """`handle`, which somebody may put a lie around."""
        self.count += 1
        return self.handle(method, path, headers, body)
