"""The client that a check sends with, and one wire request sent with it: says what happened, and never raises for what a target does."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import httpx

from testcard.harness.check.running.early_answers import Duplex
from testcard.harness.kept_connections import KEEP_IDLE_S, KeptConnections, is_stale, was_late
from testcard.harness.proxies import direct
from testcard.harness.runs.folder import tool_version
from testcard.harness.wire.course import Failure
from testcard.harness.wire.model import WireRequest, WireResponse

Clock = Callable[[], float]
#: That no answer came in time; `given-up`: in less than the full time, because others had got none.
LateFailure = Literal["timeout", "given-up"]
#: How long an answer is waited for where nobody says: longer than the longest time that a bundled document names.
TIMEOUT_S = 330.0
CONNECT_TIMEOUT_S = 15.0
#: More than any picture answer: a body without end must not fill the memory.
MAX_BODY_BYTES = 256 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Received:
    """What became of one request. Times are seconds on the run's clock. `status` None: no response began."""

    sent_s: float
    first_byte_s: float | None
    done_s: float
    status: int | None = None
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    complete: bool = True
    failure: Failure | None = None
    detail: str | None = None

    @property
    def ended_s(self) -> float:
        """When the last byte was there, or when it failed."""
        return self.done_s

    def response(self) -> WireResponse:
        """The answer as the wire's decoder takes it."""
        return WireResponse(self.status or 0, self.headers, self.body, self.sent_s, self.first_byte_s or self.sent_s, self.done_s)


class HttpClient(httpx.AsyncClient):
    """httpx's client, and what it keeps of connections."""

    kept: KeptConnections


def http_client(concurrency: int, transport: httpx.AsyncBaseTransport | None = None, *, base_url: str | None = None) -> HttpClient:
    """A client that never follows redirects by itself and never retries; how long an answer is waited for is said with each request.

    It asks this machine without a proxy, reads while it sends a large body, and uses no connection again after an error.
    """
    client = HttpClient(
        transport=transport,
        timeout=httpx.Timeout(None, connect=CONNECT_TIMEOUT_S),
        limits=httpx.Limits(max_connections=concurrency + 2, max_keepalive_connections=concurrency + 2, keepalive_expiry=KEEP_IDLE_S),
        headers={"user-agent": f"testcard/{tool_version()}"},
        follow_redirects=False,
        mounts=direct(base_url),
    )
    client.kept = KeptConnections(client, Duplex)
    return client


async def send(
    client: HttpClient, wire: WireRequest, clock: Clock, *, fresh: bool = False, timeout_s: float = TIMEOUT_S, late: LateFailure = "timeout"
) -> Received:
    """Sends the request and reads the whole answer. No redirect is followed. `fresh`: over a new connection.

    After `timeout_s` seconds it is given up, which is the failure `late`, however much of the answer has come.
    """
    if fresh:
        client.kept.fresh()
    sent_s = clock()
    first_byte_s: float | None = None
    status: int | None = None
    headers: tuple[tuple[str, str], ...] = ()
    chunks: list[bytes] = []
    size = 0
    failure: Failure
    in_time = f"no whole answer within {timeout_s:g} s"
    try:
        async with (
            asyncio.timeout(timeout_s),
            client.stream(wire.method, wire.url, headers=list(wire.headers), content=wire.body or None) as response,
        ):
            first_byte_s = clock()
            status = response.status_code
            if status >= 400:
                client.kept.retire(response)
            headers = tuple((name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in response.headers.raw)
            async for chunk in response.aiter_bytes():
                chunks.append(chunk)
                size += len(chunk)
                if size > MAX_BODY_BYTES:
                    detail = f"the body is longer than {MAX_BODY_BYTES} bytes"
                    return Received(sent_s, first_byte_s, clock(), status, headers, b"", False, "broken", detail)
        done_s = clock()
        if done_s - sent_s > timeout_s:  # the whole answer came while this program was held up: too late all the same
            return Received(sent_s, None, done_s, complete=False, failure=late, detail=in_time)
        return Received(sent_s, first_byte_s, done_s, status, headers, b"".join(chunks))
    except TimeoutError:
        failure, detail = late, in_time
    except httpx.ConnectError as error:
        failure = "tls" if _is_tls(error) else "connect"
        detail = _told(error)
    except httpx.ConnectTimeout as error:
        failure, detail = "connect", _told(error)
    except httpx.TimeoutException as error:
        failure, detail = late, _told(error)
    except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
        failure, detail = "connect", _told(error)
    except (httpx.HTTPError, httpx.StreamError) as error:
        failure = "stale" if is_stale(error) else "given-up" if was_late(error) else "broken"
        detail = _told(error)
    return Received(sent_s, first_byte_s, clock(), status, headers, b"".join(chunks), False, failure, detail)


def _is_tls(error: BaseException) -> bool:
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, ssl.SSLError):
            return True
        seen = seen.__cause__ or seen.__context__
    return "SSL" in str(error) or "certificate" in str(error).lower()


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
