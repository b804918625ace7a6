"""Requests to this machine do not go by way of a proxy that the environment names."""

from __future__ import annotations

import asyncio
import http.server
import threading
import time
from collections.abc import Iterator

import httpx
import pytest

from testcard.harness.check.running.transport import http_client, send
from testcard.harness.client import Client, ServerFailed
from testcard.harness.kept_connections import direct
from testcard.harness.wire.encode import fetch_request


class _Answers(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(503)
        self.send_header("content-length", "0")
        self.end_headers()

    do_POST = do_GET  # noqa: N815 (the server's name for it)

    def log_message(self, *told: object) -> None:
        pass


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A server on this machine, in an environment whose proxy is dead."""
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Answers) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_check_and_the_client_talk_to_this_machine_directly(here: str) -> None:
    """Both reach a server here where a plain httpx client is sent to the proxy."""
    with pytest.raises(httpx.ConnectError):
        httpx.get(here)

    async def asked() -> int | None:
        async with http_client(1, base_url=here) as client:
            return (await send(client, fetch_request(here, "x"), time.monotonic)).status

    assert asyncio.run(asked()) == 503
    with Client("nanogpt", base_url=here) as client, pytest.raises(ServerFailed):
        client.generate("a red boat")


@pytest.mark.parametrize(
    ("base_url", "more"),
    [(None, None), ("http://127.0.0.2:8000", "all://127.0.0.2"), ("http://[::1]:80", None), ("https://api.example", None)],
)
def test_other_names_of_this_machine_count_too(base_url: str | None, more: str | None) -> None:
    """localhost, 127.0.0.1, ::1 and what the base URL calls this machine; nothing else."""
    usual = {"all://localhost", "all://127.0.0.1", "all://[::1]"}
    assert set(direct(base_url)) == usual | ({more} if more else set())
