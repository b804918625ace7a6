"""httpx, set up as a client of paid APIs needs it: no cookies, no redirects that carry a key, requests taken as they are."""

from __future__ import annotations

import ssl
from functools import lru_cache

import httpx

from testcard.harness.wire.model import Headers, WireRequest


class _NoCookies(httpx.Cookies):
    """Keeps nothing: a request must not depend on the answers before it."""

    def extract_cookies(self, response: httpx.Response) -> None:
        """Leaves the response's cookies where they are."""


class SyncHttp(httpx.Client):
    """httpx.Client without cookies; environment proxies and TLS verification as httpx has them."""

    @property  # type: ignore[misc]
    def cookies(self) -> httpx.Cookies:
        """Always empty."""
        return _NO_COOKIES


class AsyncHttp(httpx.AsyncClient):
    """httpx.AsyncClient without cookies."""

    @property  # type: ignore[misc]
    def cookies(self) -> httpx.Cookies:
        """Always empty."""
        return _NO_COOKIES


_NO_COOKIES = _NoCookies()


def default_headers(http: httpx.Client | httpx.AsyncClient) -> Headers:
    """What httpx would add to a request (user agent, accepted encodings, keep-alive), without what the wire always sets."""
    return tuple((name, value) for name, value in http.headers.items() if name != "accept")


def http_request(wire: WireRequest, defaults: Headers) -> httpx.Request:
    """The wire request for httpx, with httpx's own default headers behind it."""
    return httpx.Request(wire.method, _parsed(wire.url), headers=[*wire.headers, *defaults], content=wire.body or None)


@lru_cache(maxsize=1)
def tls() -> ssl.SSLContext:
    """httpx's own TLS settings, read once: reading the certificates takes longer than most requests to this machine."""
    return httpx.create_ssl_context()


@lru_cache(maxsize=64)
def _parsed(url: str) -> httpx.URL:
    return httpx.URL(url)
