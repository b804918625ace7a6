"""Addresses that a target's answers name: which may be asked at all, which lie on this machine, where a redirect leads.

Twice is decided: by the address as it stands (`may_ask`), and by what its name resolves to when the connection is made (`Reach`), because
a name can lead anywhere, and elsewhere the next time. The target's own address was named by the user and may be asked; what else an answer
names may be no private place where the target is live, and nothing else at all where it is on this machine.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import quote, urldefrag, urljoin, urlsplit, urlunsplit

from testcard.harness.intake.shown import as_text

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
    """Whether an address may be asked that came in the answer of the one that was `asked`; see `why_not`."""
    return fetchable(url) and why_not(url, asked=asked, live=live) is None


def why_not(url: str, *, asked: str, live: bool) -> str | None:
    """Why an address may not be asked that came in the answer of the one that was `asked`, as the rest of a sentence; None where it may.

    What a server on this machine says leads to its own host and port only, but for `--live` and `--allow-host`; what any other says leads
    to no private address.
    """
    if own_address(url, asked) or is_allowed(url):
        return None
    if not live and is_loopback(asked):
        if is_loopback(url):
            return "another address of this machine: not asked without --allow-host"
        return "off this machine: not asked without --live"
    return "a private address: not asked without --allow-host" if _is_private_literal(url) else None


def own_address(url: str, asked: str) -> bool:
    """Whether an address has the host and the port of the one that was asked; this machine's names are one."""
    try:
        (_, host, port), (_, other, at) = origin(url), origin(asked)
    except ValueError:
        return False
    return port == at and (host == other or (is_loopback(url) and is_loopback(asked)))


#: Hosts, with a port or without, that answers may lead to whatever they are: what `--allow-host` names.
_allowed: set[str] = set()


def allow_host(named: str) -> None:
    """Lets answers lead to this host (`HOST` or `HOST:PORT`) from now on; ValueError for what names none."""
    parts = urlsplit(f"//{named}")
    if not parts.hostname or parts.path or parts.query or parts.username is not None or (parts.port == 0):
        raise ValueError(f"{named[:80]} is no host; write it as cdn.example.com or 127.0.0.1:8001")
    _allowed.add(parts.hostname if parts.port is None else f"{parts.hostname}:{parts.port}")


def allowed_hosts() -> list[str]:
    """What was allowed, for a process that is to be told the same."""
    return sorted(_allowed)


def is_allowed(url: str) -> bool:
    """Whether the host of an address, or that with its port, was allowed by name."""
    if not _allowed:
        return False
    try:
        _, host, port = origin(url)
    except ValueError:
        return False
    return host in _allowed or f"{host}:{port}" in _allowed


def is_public(address: str) -> bool:
    """Whether an IP address is one of the open internet: none of this machine, of a private network, of a link, of a cloud's metadata."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv6Address):
        within = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        if within is None and ip in _NAT64:
            within = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if within is None:
            return ip in _UNICAST and ip.is_global and ip not in _DOCUMENTATION
        ip = within
    return ip.is_global and not ip.is_multicast and not any(ip in net for net in _OF_CLOUDS)


_NAT64 = ipaddress.ip_network("64:ff9b::/96")
#: All that is global of IPv6 so far (RFC 4291, IANA): site-local, IPv4-compatible, translated and local NAT64 addresses lie outside.
_UNICAST = ipaddress.ip_network("2000::/3")
_DOCUMENTATION = ipaddress.ip_network("3fff::/20")
#: Global by their numbers, or to some versions of Python, and nowhere but in a cloud: Oracle's metadata (192.0.0.192), Azure's wire server.
_OF_CLOUDS = (ipaddress.ip_network("192.0.0.0/24"), ipaddress.ip_network("168.63.129.16/32"))


def _is_private_literal(url: str) -> bool:
    """Whether the host is written as an IP address that is no public one, or as a name of this machine."""
    try:
        host = urlsplit(url).hostname or ""
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return is_loopback(url)
    return not is_public(host)


@dataclass(frozen=True, slots=True)
class Reach:
    """How far the connections for one target go: `base_url` as the user named it, `live` as the user allowed."""

    base_url: str
    live: bool = False

    def resolves(self, host: str, port: int) -> bool:
        """Whether connections to this host need what it resolves to looked at: all but those to what the user named."""
        url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        return not own_address(url, self._own) and not is_allowed(url)

    def permits(self, address: str) -> bool:
        """Whether a connection to this IP address may be made for such a host."""
        return is_public(address) if self.live or not is_loopback(self.base_url) else False

    @property
    def _own(self) -> str:
        _, host, port = origin(self.base_url)
        return f"http://[{host}]:{port}" if host is not None and ":" in host else f"http://{host}:{port}"


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
        return as_text(parts.hostname or "no host") + (f":{parts.port}" if parts.port is not None else "")
    except ValueError:
        return "no host"
