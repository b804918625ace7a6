"""The ways from the load process to a server: IPv6, verified TLS, proxies from the environment, and what ends in time."""

from __future__ import annotations

import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from testkit.servers import LOOPBACK, read_request, talking
from testkit.waiting import PATIENCE_S

LARGE = bytes(range(256)) * 6000  # 1.5 MB
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(LARGE) + LARGE
Serve = Callable[[socket.socket], None]


@contextmanager
def listening(serve: Serve, host: str = LOOPBACK) -> Iterator[int]:
    """The port of a server that handles each connection so."""
    with talking(serve, host) as server:
        yield server.port


def head_of(sock: socket.socket) -> bytes:
    """A request with its body; empty at the end of the connection."""
    read = read_request(sock)
    return b"" if read is None else read[0] + b"\r\n\r\n" + read[1]


def answers(sock: socket.socket) -> None:
    while head_of(sock):
        sock.sendall(ANSWER)


def greeting(sock: socket.socket) -> None:
    sock.sendall(b"SSH-2.0-OpenSSH_9.6\r\n")
    sock.recv(65536)


def silent(sock: socket.socket) -> None:
    head_of(sock)
    time.sleep(60)


def dripping(sock: socket.socket) -> None:
    head_of(sock)
    for at in range(0, len(ANSWER), 5_000):
        sock.sendall(ANSWER[at : at + 5_000])
        time.sleep(0.2)


class Proxy:
    """A forward proxy that leads every name to this machine, and remembers what it was asked."""

    def __init__(self, tls_port: int) -> None:
        self.asked: list[str] = []
        self._tls_port = tls_port

    def __call__(self, sock: socket.socket) -> None:
        while data := head_of(sock):
            lines = data.decode("latin-1").split("\r\n")
            secrets = [line for line in lines if line.lower().startswith("proxy-authorization")]
            self.asked.append(" ".join([lines[0], *secrets]))
            if not data.startswith(b"CONNECT"):
                sock.sendall(ANSWER)
                continue
            sock.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            with socket.create_connection(("127.0.0.1", self._tls_port)) as other:
                back = threading.Thread(target=_pump, args=(other, sock), daemon=True)
                back.start()
                _pump(sock, other)
            return


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)


def certificate(folder: Path, name: str, names: str) -> tuple[Path, Path]:
    """A certificate that signs itself, and its key."""
    certificate, key = folder / f"{name}.pem", folder / f"{name}.key"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={name}", "-addext", f"subjectAltName={names}",
         "-out", str(certificate), "-keyout", str(key)],
        check=True, capture_output=True,
    )  # fmt: skip
    return certificate, key


def over_tls(certificate: Path, key: Path) -> Serve:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)

    def serve(sock: socket.socket) -> None:
        with context.wrap_socket(sock, server_side=True) as wrapped:
            answers(wrapped)  # type: ignore[arg-type]

    return serve


#: Asks each address twice, one after the other, with timeouts of its own; prints outcome, length and seconds.
ASKER = """
import json, sys
import locust
import gevent
from testcard.benchmarks.net.transport import Timeouts, Transport
from testcard.harness.wire.model import WireRequest

def ask(url, limits):
    transport = Transport(Timeouts(*limits))
    found = []
    for _ in range(2):
        prepared = transport.prepare(WireRequest("op", "POST", url, (("content-type", "application/json"),), b"{}", True))
        reply = transport.exchange(prepared)
        opened = (reply.connected_s or reply.ended_s) - reply.sent_s
        found.append([reply.failure or reply.status, len(reply.body), reply.ended_s - reply.sent_s, opened])
    transport.close()
    return found

jobs = {name: gevent.spawn(ask, url, limits) for name, (url, limits) in json.load(sys.stdin).items()}
gevent.joinall(list(jobs.values()), raise_error=True)
print(json.dumps({name: job.value for name, job in jobs.items()}))
"""


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What came of every way, and what the proxy was asked (`proxied`)."""
    folder = tmp_path_factory.mktemp("tls")
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed: no certificates can be made")
    ours = certificate(folder, "ours", "IP:127.0.0.1,DNS:localhost,DNS:secure.example")
    strange = certificate(folder, "strange", "IP:127.0.0.1")
    named = certificate(folder, "named", "DNS:else.example")
    trusted = folder / "trusted.pem"
    trusted.write_bytes(ours[0].read_bytes() + named[0].read_bytes())
    limits = (5.0, 10.0, 10.0)
    with ExitStack() as stack:
        plain = stack.enter_context(listening(answers))
        tls = stack.enter_context(listening(over_tls(*ours)))
        proxy = Proxy(tls)
        proxy_port = stack.enter_context(listening(proxy))
        ways: dict[str, tuple[str, tuple[float, float, float]]] = {
            "IPv4": (f"http://127.0.0.1:{plain}/", limits),
            "name": (f"http://localhost:{plain}/", limits),
            "TLS": (f"https://127.0.0.1:{tls}/", limits),
            "TLS by name": (f"https://localhost:{tls}/", limits),
            "TLS, nobody vouches": (f"https://127.0.0.1:{stack.enter_context(listening(over_tls(*strange)))}/", limits),
            "TLS, another name": (f"https://127.0.0.1:{stack.enter_context(listening(over_tls(*named)))}/", limits),
            "TLS, no TLS there": (f"https://127.0.0.1:{stack.enter_context(listening(greeting))}/", limits),
            "proxy": ("http://pictures.example/v1?a=b", limits),
            "proxy, tunnel": ("https://secure.example/v1", limits),
            "no proxy": ("http://direct.invalid/", limits),
            "nobody there": ("http://127.0.0.1:1/", limits),
            "no first byte": (f"http://127.0.0.1:{stack.enter_context(listening(silent))}/", (5.0, 0.3, 10.0)),
            "no whole": (f"http://127.0.0.1:{stack.enter_context(listening(dripping))}/", (5.0, 10.0, 0.7)),
        }
        if socket.has_ipv6:
            with suppress(OSError):
                ways["IPv6"] = (f"http://[::1]:{stack.enter_context(listening(answers, '::1'))}/", limits)
        environment = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
        environment |= {
            "SSL_CERT_FILE": str(trusted),
            "HTTP_PROXY": f"http://user:pass@127.0.0.1:{proxy_port}",
            "HTTPS_PROXY": f"http://127.0.0.1:{proxy_port}",
            "NO_PROXY": "direct.invalid",
        }
        done = subprocess.run(
            [sys.executable, "-c", ASKER], input=json.dumps(ways), capture_output=True, text=True, timeout=PATIENCE_S, env=environment
        )
        assert done.returncode == 0, done.stderr
        return {**json.loads(done.stdout.splitlines()[-1]), "proxied": proxy.asked}


@pytest.mark.parametrize("way", ["IPv4", "name", "IPv6", "TLS", "TLS by name", "proxy", "proxy, tunnel"])
def test_a_large_answer_comes_whole_and_the_connection_is_kept(found: dict[str, Any], way: str) -> None:
    """1.5 MB twice on every way; the second time no connection has to be made."""
    if way == "IPv6" and way not in found:
        pytest.skip("this machine has no IPv6")
    (first, length, _, _), (second, again, _, opened) = found[way]
    assert (first, length, second, again) == (200, len(LARGE), 200, len(LARGE))
    assert opened < 0.1


def test_certificates_and_names_are_verified(found: dict[str, Any]) -> None:
    """Nobody vouches for it, or it is another's: the outcome is tls, and nothing was sent."""
    for way in ("TLS, nobody vouches", "TLS, another name", "TLS, no TLS there"):
        assert [each[:2] for each in found[way]] == [["tls", 0]] * 2, way


def test_proxies_are_taken_from_the_environment(found: dict[str, Any]) -> None:
    """Absolute form with its credentials for http, a tunnel for https, none for what NO_PROXY lists nor for this machine."""
    assert found["no proxy"][0][0] == "connect"
    plain = "POST http://pictures.example/v1?a=b HTTP/1.1 Proxy-Authorization: Basic dXNlcjpwYXNz"
    assert found["proxied"].count(plain) == 2
    tunnels = [asked for asked in found["proxied"] if asked.startswith("CONNECT secure.example:443")]
    assert len(tunnels) == 1
    assert len(found["proxied"]) == 3


def test_a_connection_that_nobody_takes_is_told_apart(found: dict[str, Any]) -> None:
    """Nobody listens: connect, at once."""
    assert [each[0] for each in found["nobody there"]] == ["connect"] * 2
    assert found["nobody there"][0][2] < 4


@pytest.mark.parametrize(("way", "limit_s"), [("no first byte", 0.3), ("no whole", 0.7)])
def test_what_does_not_come_in_time_is_a_timeout(found: dict[str, Any], way: str, limit_s: float) -> None:
    """First byte and whole answer each have their own limit; it ends when it is reached, though bytes keep coming."""
    for outcome, _, seconds, _ in found[way]:
        assert outcome == "timeout"
        assert limit_s - 0.01 <= seconds < limit_s + 20
