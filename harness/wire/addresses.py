"""Addresses that a target's answers name: which may be asked at all, which lie on this machine, where a redirect leads."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from functools import lru_cache
from urllib.parse import quote, urldefrag, urljoin, urlsplit, urlunsplit

#: More redirects than this in a row lead nowhere.
MOST_REDIRECTS = 5
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
#: What a URL may hold as it is (RFC 3986); anything else is written in percent signs.
_KEPT = "!#$%&'()*+,-./:;=?@[]_~"
_TO_BE_WRITTEN = re.compile(r"[^0-9A-Za-z" + re.escape(_KEPT) + "]")
_AROUND = "".join(map(chr, range(0x21)))


def is_loopback(url: str) -> bool:
    """Whether the URL's host is this machine (localhost, 127.0.0.0/8 or ::1)."""
    try:
        return _is_this_machine(urlsplit(url).hostname or "")
    except ValueError:
        return False


@lru_cache(maxsize=256)
def _is_this_machine(host: str) -> bool:
    """Whether a host's name is one of this machine's; ValueError for what is no address. Kept: load users ask it for every picture."""
    return host == "localhost" or ipaddress.ip_address(host).is_loopback


def fetchable(url: str) -> bool:
    """Whether an address from an answer may be fetched at all: absolute, http or https, with a host, without credentials."""
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.username is None and parts.port != 0
    except ValueError:
        return False


def sendable(url: str) -> str:
    """An address as it is sent: browsers and HTTP clients leave out white space around it, and write what no URL may hold in percent signs.

    So do all that follow a course: what was asked for is the same for the client, a check and a load.
    """
    url = url.strip(_AROUND)
    if _TO_BE_WRITTEN.search(url) is None:
        return url
    try:
        parts = urlsplit(url)
        host = parts.netloc if parts.netloc.isascii() else parts.netloc.encode("idna").decode()
    except ValueError:
        return url
    path, query, fragment = (quote(part, safe=_KEPT) for part in (parts.path, parts.query, parts.fragment))
    return urlunsplit((parts.scheme, host, path, query, fragment))


def may_ask(url: str, *, asked: str, live: bool) -> bool:
    """Whether an address may be asked that came in the answer of the one that was `asked`.

    What a server on this machine says leads off it with --live only: whoever named that server allowed no other.
    """
    return fetchable(url) and (live or is_loopback(url) or not is_loopback(asked))


def origin(url: str) -> tuple[str, str | None, int | None]:
    """Scheme, host and port of an address; the port that its scheme implies where it names none. ValueError for what is no address."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)


def same_origin(url: str, other: str) -> bool:
    """Whether two addresses lie on one server, so that what one may know (the key) the other may."""
    try:
        return origin(url) == origin(other)
    except ValueError:
        return False


def redirected(url: str, status: int, headers: Iterable[tuple[str, str]]) -> str | None:
    """The absolute address that an answer from `url` sends its reader on to; None for an answer that does not."""
    if status not in _REDIRECTS:
        return None
    where = next((value for name, value in headers if name.lower() == "location"), None)
    return absolute(where, url) if where else None


def absolute(url: str, seen_at: str) -> str | None:
    """The address that a URL means where it was seen, without its fragment; None for what is no URL."""
    try:
        return urldefrag(urljoin(seen_at, url)).url
    except ValueError:
        return None


def host_of(url: str) -> str:
    """The host of an address for people to read, with its port where it names one; "no host" where there is none."""
    try:
        parts = urlsplit(url)
        return (parts.hostname or "no host") + (f":{parts.port}" if parts.port is not None else "")
    except ValueError:
        return "no host"
