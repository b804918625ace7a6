"""Where a proxy that the environment names is left out: a request to this machine is not to leave it by way of one."""

from __future__ import annotations

from urllib.parse import urlsplit

from testcard.harness.wire.addresses import is_loopback


def direct(base_url: str | None = None) -> dict[str, None]:
    """The `mounts` by which httpx talks to this machine without a proxy; the base URL's own name for it is one of them."""
    hosts = ["localhost", "127.0.0.1", "[::1]"]
    if base_url is not None and is_loopback(base_url):
        host = urlsplit(base_url).hostname or ""
        hosts.append(f"[{host}]" if ":" in host else host)
    return {f"all://{host}": None for host in dict.fromkeys(hosts)}
