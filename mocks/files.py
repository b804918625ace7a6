"""Pictures that were delivered by URL: kept in memory under signed, expiring addresses."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections import OrderedDict
from collections.abc import Callable, Mapping

from testcard.mocks.exchange import AddressManner, Answer, PictureFormat

PREFIX = "/_testcard/files/"


class Files:
    """Keeps at most `keep_bytes` of pictures, the newest ones. `clock` gives unix seconds."""

    def __init__(self, clock: Callable[[], float], *, keep_bytes: int = 256_000_000) -> None:
        self._clock = clock
        self._secret = secrets.token_bytes(16)
        self._kept: OrderedDict[str, tuple[bytes, PictureFormat, AddressManner]] = OrderedDict()
        self._bytes = 0
        self._keep_bytes = keep_bytes

    def publish(self, data: bytes, form: PictureFormat, lifetime_s: float, manner: AddressManner = "open") -> str:
        """The path and query under which the picture answers for `lifetime_s` seconds, in the manner of a lie where one is named."""
        name = f"{secrets.token_hex(8)}.{'jpg' if form == 'jpeg' else form}"
        self._kept[name] = (data, form, manner)
        self._bytes += len(data)
        while self._bytes > self._keep_bytes and len(self._kept) > 1:
            _, (old, *_) = self._kept.popitem(last=False)
            self._bytes -= len(old)
        expires = str(int(self._clock() + lifetime_s))
        return f"{PREFIX}{name}?expires={expires}&signature={self._sign(name, expires)}"

    def fetch(self, name: str, query: Mapping[str, str]) -> Answer:
        """The picture; 403 for a signature that is wrong or an address that has expired, 404 for a name unknown."""
        expires = query.get("expires", "")
        if not hmac.compare_digest(query.get("signature", "").encode(), self._sign(name, expires).encode()):
            return Answer(403, {"error": "the signature of this address is wrong"})
        if self._clock() > float(expires):
            return Answer(403, {"error": "this address has expired"})
        if name not in self._kept:
            return Answer(404, {"error": "there is no such picture"})
        data, form, manner = self._kept[name]
        if manner == "locked":
            return Answer(401, {"error": "the key is missing"}, headers=(("www-authenticate", "Bearer"),))
        if manner in ("dead", "once"):
            self._bytes -= len(self._kept.pop(name)[0])
        if manner == "dead":
            return Answer(404, {"error": "there is no such picture"})
        if manner == "page":
            return Answer(200, data=b"<html><body>upstream error</body></html>", media_type="text/html")
        return Answer(200, data=data, media_type="text/plain" if manner == "mistyped" else f"image/{form}")

    def _sign(self, name: str, expires: str) -> str:
        return hmac.new(self._secret, f"{name}|{expires}".encode(), hashlib.sha256).hexdigest()[:32]
