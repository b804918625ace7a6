"""Keeps the key out of everything that is written: it becomes $TESTCARD_API_KEY wherever it stands."""

from __future__ import annotations

import json
from urllib.parse import quote

from testcard.harness.embedded import DEFAULT_KEY
from testcard.harness.runs.folder import KEY_PLACEHOLDER
from testcard.specs.profile import Auth


class Redactor:
    """Replaces one key. The mocks' public default key is no secret and an ordinary word: it is replaced in the key's header only."""

    def __init__(self, api_key: str | None, auth: Auth) -> None:
        self._auth = auth
        self._key = api_key
        secret = api_key if api_key and api_key != DEFAULT_KEY else None
        spellings = {secret, quote(secret, safe=""), json.dumps(secret)[1:-1], secret.replace("/", "\\/")} if secret else set()
        self._spellings = tuple(sorted((text for text in spellings if text), key=len, reverse=True))

    def text(self, value: str) -> str:
        """The text without the key."""
        for spelling in self._spellings:
            value = value.replace(spelling, KEY_PLACEHOLDER)
        return value

    def content(self, value: bytes) -> bytes:
        """The bytes without the key."""
        for spelling in self._spellings:
            value = value.replace(spelling.encode(), KEY_PLACEHOLDER.encode())
        return value

    def request_headers(self, headers: tuple[tuple[str, str], ...]) -> list[tuple[str, str]]:
        """Request headers; the key's header carries the placeholder even when the key is the mocks' default."""
        own = {self._auth.header.name.lower(): self._auth.header.prefix}
        own.update((header.name.lower(), header.prefix) for header in self._auth.also_accepts)
        cleaned = []
        for name, value in headers:
            prefix = own.get(name.lower())
            if self._key and prefix is not None and value == prefix + self._key:
                value = prefix + KEY_PLACEHOLDER
            cleaned.append((name, self.text(value)))
        return cleaned

    def headers(self, headers: list[tuple[str, str]]) -> list[tuple[str, str]]:
        """Response headers without the key."""
        return [(self.text(name), self.text(value)) for name, value in headers]

    def shows_key(self, headers: list[tuple[str, str]], body: bytes) -> bool:
        """Whether a response carries the key."""
        return any(
            spelling.encode() in body or any(spelling in name or spelling in value for name, value in headers)
            for spelling in self._spellings
        )
