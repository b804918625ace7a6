"""Addresses of pictures as an object store signs them: the time of signing and the seconds from it, in place of the end itself."""

from __future__ import annotations

from datetime import UTC, datetime
from urllib.parse import parse_qs, urlencode

_TIME = "%Y%m%dT%H%M%SZ"


def as_signed_by_a_store(url: str, lifetime_s: float) -> str:
    """The mock's own address (`?expires=…&signature=…`) with the query that Amazon's signature version 4 has."""
    path, _, query = url.partition("?")
    own = parse_qs(query)
    lifetime = int(lifetime_s)
    signed = datetime.fromtimestamp(int(own["expires"][0]) - lifetime, UTC)
    told = {
        "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
        "X-Amz-Credential": f"mock/{signed:%Y%m%d}/eu/s3/aws4_request",
        "X-Amz-Date": signed.strftime(_TIME),
        "X-Amz-Expires": lifetime,
        "X-Amz-SignedHeaders": "host",
        "X-Amz-Signature": own["signature"][0],
    }
    return f"{path}?{urlencode(told)}"


def own_query(query: bytes) -> bytes:
    """The mock's own query again; any other query stays as it is."""
    told = parse_qs(query.decode("latin-1"))
    try:
        signed = datetime.strptime(told["X-Amz-Date"][0], _TIME).replace(tzinfo=UTC)
        expires = int(signed.timestamp()) + int(told["X-Amz-Expires"][0])
        return urlencode({"expires": expires, "signature": told["X-Amz-Signature"][0]}).encode()
    except (KeyError, ValueError):
        return query
