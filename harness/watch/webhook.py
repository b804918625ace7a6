"""Tells a webhook of changes: one POST with JSON each, tried again at the next look until it is taken."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import msgspec

from testcard.harness.errors import UsageError
from testcard.harness.proxies import direct
from testcard.harness.redaction import redacted_bytes
from testcard.harness.watch.watching import VerdictChange

TIMEOUT_S = 10.0


class Webhook:
    """A courier that POSTs changes to an address. `say` gets a line where that failed; the address, which may hold a token, is not in it."""

    def __init__(self, address: str, say: Callable[[str], None], transport: httpx.BaseTransport | None = None) -> None:
        try:
            url = httpx.URL(address)
        except httpx.InvalidURL:
            url = httpx.URL("")
        if url.scheme not in ("http", "https") or not url.host:
            raise UsageError("--webhook needs an http or https address")
        self._url = url
        self._say = say
        self._transport = transport

    def deliver(self, change: VerdictChange) -> bool:
        """Whether the change was taken: any answer of 200 to 299."""
        try:
            with httpx.Client(timeout=TIMEOUT_S, transport=self._transport, mounts=direct(str(self._url))) as client:
                answer = client.post(
                    self._url, content=redacted_bytes(msgspec.json.encode(change)), headers={"content-type": "application/json"}
                )
        except httpx.HTTPError as error:
            self._say(f"the webhook could not be told of {change.target}: {type(error).__name__}; it is tried again at the next look")
            return False
        if not answer.is_success:
            self._say(f"the webhook answered {answer.status_code} to the change of {change.target}; it is tried again at the next look")
        return answer.is_success
