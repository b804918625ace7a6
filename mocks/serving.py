"""Runs mocks on a socket: bound before anything is said, so that an address that is printed answers."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import socket
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp

from testcard.specs.errors import UsageError


def bind(host: str, port: int) -> socket.socket:
    """A listening TCP socket (`port` 0: a free one); `UsageError` with the next step when the address cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol is named because asyncio switches Nagle's algorithm off only where it is: head and body are two writes.
    server = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        server.bind((host, port))
        server.listen(2048)
    except (OSError, UnicodeError) as error:  # a name that IDNA cannot spell is none, too
        server.close()
        about_port = getattr(error, "errno", None) in (errno.EADDRINUSE, errno.EACCES)
        hint = "choose another port with --port, or let one be chosen with --port 0" if about_port else "choose another address with --host"
        raise UsageError(f"cannot listen on {host}:{port}: {getattr(error, 'strerror', None) or error}", hint=hint) from None
    return server


def url_of(server: socket.socket, certificate: Certificate | None = None) -> str:
    """The address at which a client on this machine finds the socket."""
    host, port = server.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    scheme = "http" if certificate is None else "https"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def _is_news(record: logging.LogRecord) -> bool:
    """Whether a line of the server's log says more than that an answer was cut off, as some faults do, or that something was open at the end."""
    said = record.getMessage()
    raised = record.exc_info[1] if record.exc_info else None
    # A body that breaks off into what is no HTTP: the server has said 400 to it, and the mock's own answer comes too late.
    if type(raised).__name__ == "LocalProtocolError" and str(raised).startswith("can't handle event type Response"):
        return False
    # A client that gave up leaves its request open: that is what a test of timeouts looks like, and no error.
    return "without completing response" not in said and not said.startswith("Cancel ")


@dataclass(frozen=True, slots=True)
class Certificate:
    """The files of a certificate that this machine made for itself: what a server shows, and what a client is to trust."""

    server: Path
    key: Path
    authority: Path


@contextlib.contextmanager
def throwaway_certificate(host: str) -> Iterator[Certificate]:
    """A certificate for this host, localhost and 127.0.0.1, valid while the block lasts: its files and its authority's key go with it."""
    try:
        import trustme
    except ImportError:
        raise UsageError("a throwaway certificate needs trustme", hint="pip install 'testcard[tls]'") from None
    authority = trustme.CA()
    names = dict.fromkeys((host.strip("[]"), "localhost", "127.0.0.1", "::1"))
    issued = authority.issue_cert(*(name for name in names if name not in ("0.0.0.0", "::")))
    with tempfile.TemporaryDirectory(prefix="testcard-tls-") as place:
        found = Certificate(*(Path(place) / name for name in ("server.pem", "server.key", "ca.pem")))
        found.key.touch(mode=0o600)
        issued.private_key_pem.write_to_path(found.key)
        for number, blob in enumerate(issued.cert_chain_pems):
            blob.write_to_path(found.server, append=bool(number))
        authority.cert_pem.write_to_path(found.authority)
        yield found


def _server(app: ASGIApp, grace_s: float = 1.0, certificate: Certificate | None = None) -> uvicorn.Server:
    logging.getLogger("uvicorn.error").addFilter(_is_news)
    # What is wrong with a form is said in the answer; without a handler it would be written to the user's terminal as well.
    logging.getLogger("python_multipart").addHandler(logging.NullHandler())
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        lifespan="off",
        server_header=False,
        date_header=False,
        ws="none",
        timeout_graceful_shutdown=grace_s,  # type: ignore[arg-type]  # asyncio.wait_for takes fractions
        timeout_keep_alive=75,
        backlog=2048,
        ssl_certfile=certificate.server if certificate is not None else None,
        ssl_keyfile=certificate.key if certificate is not None else None,
    )
    return uvicorn.Server(config)


def serve(
    app: ASGIApp,
    server: socket.socket,
    ready: Callable[[], None],
    *,
    until_stdin_closes: bool = False,
    grace_s: float = 1.0,
    certificate: Certificate | None = None,
    beside: socket.socket | None = None,
) -> None:
    """Serves until Ctrl-C or SIGTERM (or, if asked, until standard input closes); `ready` is called once requests are answered.

    `beside`: a further socket that is served. Then no new connection is taken, and open requests have `grace_s` seconds to end.
    """
    runner = _server(app, grace_s, certificate)
    original = runner.startup

    async def startup(sockets: list[socket.socket] | None = None) -> None:
        await original(sockets)
        ready()

    runner.startup = startup  # type: ignore[method-assign]
    if until_stdin_closes:

        def stop() -> None:
            runner.should_exit = True

        when_stdin_closes(stop)
    with contextlib.suppress(KeyboardInterrupt):
        runner.run(sockets=[server] if beside is None else [server, beside])


def when_stdin_closes(then: Callable[[], None]) -> None:
    """Calls this, from a thread, at the end of standard input."""

    def wait() -> None:
        with contextlib.suppress(OSError, ValueError):
            while os.read(sys.stdin.fileno(), 4096):
                pass
        then()

    threading.Thread(target=wait, daemon=True).start()


@contextlib.contextmanager
def serving(app: ASGIApp, host: str = "127.0.0.1", *, certificate: Certificate | None = None) -> Iterator[str]:
    """The base URL of the application, served from a thread of this process on a free port until the block ends."""
    server = bind(host, 0)
    runner = _server(app, certificate=certificate)
    thread = threading.Thread(target=runner.run, kwargs={"sockets": [server]}, daemon=True)
    thread.start()
    try:
        yield url_of(server, certificate)
    finally:
        runner.should_exit = True
        thread.join(timeout=5)
        server.close()
