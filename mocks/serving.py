"""Runs mocks on a socket: bound before anything is said, so that an address that is printed answers."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import sys
import threading
from collections.abc import Callable, Iterator

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
    except OSError as error:
        server.close()
        hint = "choose another port with --port, or let one be chosen with --port 0" if port else "choose another address with --host"
        raise UsageError(f"cannot listen on {host}:{port}: {error.strerror or error}", hint=hint) from None
    return server


def url_of(server: socket.socket) -> str:
    """The address at which a client on this machine finds the socket."""
    host, port = server.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _is_news(record: logging.LogRecord) -> bool:
    """Whether a line of the server's log says more than that an answer was cut off: that is what some faults are there for."""
    return "without completing response" not in record.getMessage()


def _server(app: ASGIApp, grace_s: float = 1.0) -> uvicorn.Server:
    logging.getLogger("uvicorn.error").addFilter(_is_news)
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
    )
    return uvicorn.Server(config)


def serve(
    app: ASGIApp, server: socket.socket, ready: Callable[[], None], *, until_stdin_closes: bool = False, grace_s: float = 1.0
) -> None:
    """Serves until Ctrl-C or SIGTERM (or, if asked, until standard input closes); `ready` is called once requests are answered.

    Then no new connection is taken, and open requests have `grace_s` seconds to end.
    """
    runner = _server(app, grace_s)
    original = runner.startup

    async def startup(sockets: list[socket.socket] | None = None) -> None:
        await original(sockets)
        ready()

    runner.startup = startup  # type: ignore[method-assign]
    if until_stdin_closes:
        threading.Thread(target=_watch_stdin, args=(runner,), daemon=True).start()
    with contextlib.suppress(KeyboardInterrupt):
        runner.run(sockets=[server])


def _watch_stdin(runner: uvicorn.Server) -> None:
    with contextlib.suppress(OSError, ValueError):
        while os.read(sys.stdin.fileno(), 4096):
            pass
    runner.should_exit = True


@contextlib.contextmanager
def serving(app: ASGIApp, host: str = "127.0.0.1") -> Iterator[str]:
    """The base URL of the application, served from a thread of this process on a free port until the block ends."""
    server = bind(host, 0)
    runner = _server(app)
    thread = threading.Thread(target=runner.run, kwargs={"sockets": [server]}, daemon=True)
    thread.start()
    try:
        yield url_of(server)
    finally:
        runner.should_exit = True
        thread.join(timeout=5)
        server.close()
