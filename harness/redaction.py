"""Keeps the key out of everything that is written: it becomes $TESTCARD_API_KEY wherever it stands."""

from __future__ import annotations

import json
import re
from urllib.parse import quote

from testcard.harness.runs.folder import KEY_PLACEHOLDER
from testcard.specs.profile import MOCK_API_KEY, Auth

#: From this length on, a key is found by chance in no picture. A shorter one ("test") is part of ordinary words and of base64.
_UNMISTAKABLE = 12
#: Characters of words and of base64: a short key between them is no key.
_WORDY = "A-Za-z0-9+/"


class Redactor:
    """Replaces one key, a short one only where it stands by itself: within base64 it would spoil the picture.

    The mocks' public default key is no secret and an ordinary word: it is replaced in the key's header only.
    """

    def __init__(self, api_key: str | None, auth: Auth) -> None:
        self._auth = auth
        self._key = api_key
        secret = api_key if api_key and api_key != MOCK_API_KEY else None
        spellings = {secret, quote(secret, safe=""), json.dumps(secret)[1:-1], secret.replace("/", "\\/")} if secret else set()
        ordered = sorted((text for text in spellings if text), key=len, reverse=True)
        pattern = "|".join(map(re.escape, ordered)) or r"(?!)"
        if secret is not None and len(secret) < _UNMISTAKABLE:
            pattern = f"(?<![{_WORDY}])(?:{pattern})(?![{_WORDY}=])"
        self._spellings = tuple(ordered)
        self._text = re.compile(pattern)
        self._bytes = re.compile(pattern.encode())

    def text(self, value: str) -> str:
        """The text without the key."""
        return self._text.sub(KEY_PLACEHOLDER, value) if any(spelling in value for spelling in self._spellings) else value

    def content(self, value: bytes) -> bytes:
        """The bytes without the key."""
        found = any(spelling.encode() in value for spelling in self._spellings)
        return self._bytes.sub(KEY_PLACEHOLDER.encode(), value) if found else value

    def request_headers(self, headers: tuple[tuple[str, str], ...]) -> list[tuple[str, str]]:
        """Request headers; the key's header carries the placeholder even when the key is the mocks' default."""
        own = {header.name.lower(): header.prefix for header in self._auth.headers}
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
        return self._bytes.search(body) is not None or any(self._text.search(text) for pair in headers for text in pair)
