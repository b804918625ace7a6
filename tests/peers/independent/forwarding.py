"""A server that somebody else wrote, at an address on this machine, in the place of one of ours."""

from __future__ import annotations

import json
from collections.abc import Mapping

import httpx

from .server import Reply, Server

_PASSED_ON = ("authorization", "x-api-key", "content-type", "accept", "idempotency-key")
_PASSED_BACK = ("allow", "retry-after", "www-authenticate")


class Forwarding(Server):
    """Hands requests on and answers back, so that a lie can be put between (tests/peers/seeding). `key` is the one that is taken there.

    `files`: pictures by name that the other server has addresses of.
    """

    def __init__(self, base_url: str, key: str, files: Mapping[str, bytes] | None = None) -> None:
        super().__init__()
        self.files.update(files or {})
        self.key = key
        self._http = httpx.Client(base_url=base_url, timeout=60, trust_env=False)

    def handle(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Reply:
        """What the other server says. Pictures that a lie has published are served here."""
        if path.startswith("/pictures/"):
            return super().handle(method, path, headers, body)
        sent = {name: value for name, value in headers.items() if name in _PASSED_ON}
        answer = self._http.request(method, path, headers=sent, content=body)
        media_type = answer.headers.get("content-type", "")
        kept = [(name, value) for name, value in answer.headers.items() if name in _PASSED_BACK]
        if media_type.startswith("text/event-stream"):
            chunks = [json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: {")]
            return Reply(answer.status_code, chunks, answer.content, media_type, kept)
        if "json" not in media_type:
            return Reply(answer.status_code, None, answer.content, media_type, kept)
        return Reply(answer.status_code, answer.json(), None, media_type, kept)
