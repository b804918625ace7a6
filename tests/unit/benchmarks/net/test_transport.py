"""The bytes that leave: the wire's request with the head that HTTP needs, and nothing that would let two requests mix."""

import itertools
import socket
import time

import pytest

from testcard.benchmarks.net.transport import Timeouts, Transport, head
from testcard.harness.intake.limits import limits
from testcard.harness.wire.model import WireRequest
from testkit.servers import talking


def request(url: str, headers: tuple[tuple[str, str], ...] = (), body: bytes = b"{}", method: str = "POST") -> WireRequest:
    return WireRequest("op", method, url, headers, body, True)


def test_the_head_is_that_of_the_wire_request() -> None:
    """Origin form with its query, the host with its port, the request's own headers, the body's length; user data stays out."""
    text = head(
        request("http://u:p@127.0.0.1:8080/v1/images?a=b%20c", (("authorization", "Bearer k"), ("content-type", "application/json")))
    ).decode()
    lines = text.split("\r\n")
    assert lines[0] == "POST /v1/images?a=b%20c HTTP/1.1"
    assert "Host: 127.0.0.1:8080" in lines
    assert "authorization: Bearer k" in lines
    assert "Content-Length: 2" in lines
    assert text.endswith("\r\n\r\n")
    assert "u:p" not in text


def test_a_fetch_has_no_length_and_an_empty_post_has_zero() -> None:
    """GET carries no body; a POST without one says so."""
    assert "Content-Length" not in head(request("http://h/", body=b"", method="GET")).decode()
    assert "Content-Length: 0" in head(request("http://h", body=b"")).decode()
    assert head(request("http://h", body=b"")).startswith(b"POST / HTTP/1.1")


def test_a_header_with_a_line_break_is_refused() -> None:
    """A key file with two lines cannot smuggle a second request."""
    with pytest.raises(ValueError, match="line break"):
        head(request("http://h/", (("x-api-key", "a\r\nGET / HTTP/1.1"),)))
    with pytest.raises(ValueError, match="line break"):
        head(request("http://h/", (("x-api-key", "a\nb: c"),)))


def test_one_origin_is_one_pool_and_tls_is_verified() -> None:
    """Requests to one origin share connections; https checks certificate and name."""
    import ssl

    transport = Transport(Timeouts())
    one, two = transport.prepare(request("http://127.0.0.1:1/a")), transport.prepare(request("http://127.0.0.1:1/b"))
    other = transport.prepare(request("https://[::1]:8443/a"))
    assert one.pool is two.pool is not other.pool
    assert other.pool.ssl_context.verify_mode == ssl.CERT_REQUIRED
    assert other.pool.ssl_context.check_hostname
    for url in ("ftp://h/", "data:image/png;base64,AA", "http:///x"):
        with pytest.raises(ValueError, match="no http address"):
            transport.prepare(request(url))


@pytest.mark.parametrize(
    ("flood", "said"),
    [
        (itertools.repeat(b"X-More: " + b"y" * 4000 + b"\r\n"), "a head of more than"),
        (itertools.repeat(b"y" * 4096), "a head of more than"),
        (itertools.repeat(b"a: b\r\n"), "header fields"),
        ([b"\r\n\r\n"], "the proxy refused CONNECT: HTTP/1.1 407 \\x1b[m"),
        (itertools.repeat(b""), "did not end in time"),
    ],
    ids=["headers", "a header", "many headers", "refused", "drip"],
)
def test_a_proxys_answer_is_bounded_too(flood: "itertools.repeat[bytes] | list[bytes]", said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy that never ends its answer to CONNECT is given up within the time to connect, and fills no memory."""
    sent = 0

    def talk(connection: socket.socket) -> None:
        nonlocal sent
        connection.recv(4096)
        connection.sendall(b"HTTP/1.1 407 \x1b[m\r\nX: ")
        for piece in flood:
            time.sleep(0 if piece else 0.02)
            connection.sendall(piece or b"z")
            sent += len(piece)

    with talking(talk) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        transport = Transport(Timeouts(connect_s=1.0, first_byte_s=20.0, whole_s=20.0))
        reply = transport.exchange(transport.prepare(request("https://secure.example/v1")))
        transport.close()
    assert (reply.failure, said in reply.detail) == ("connect", True), reply.detail
    assert sent < 8 * limits().header_bytes + 4_000_000  # what the system's buffers hold
