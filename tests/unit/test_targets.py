"""A target is only talked to when it was clearly named, is allowed, and has its key from a safe place."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from testcard.harness.config import Config
from testcard.harness.errors import UsageError
from testcard.harness.targets import (
    answers,
    checked_base_url,
    date_of,
    embedded_mocks,
    is_loopback,
    is_testcard_mock,
    open_target,
    read_key,
    require_live,
)
from testcard.specs.loader import load_provider
from testkit.servers import Response, answering, talking

NANOGPT = load_provider("nanogpt")


@pytest.fixture(autouse=True)
def no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests' own environment has no key."""
    for name in ("TESTCARD_API_KEY", "NANOGPT_API_KEY", "OTHER_KEY"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    "url",
    ["http://localhost:1", "http://127.0.0.1", "http://127.8.9.1:5/x", "http://[::1]:80", "https://LOCALHOST", "http://127.0.0.1:80/v1/"],
)
def test_this_machine_is_recognised(url: str) -> None:
    """localhost, 127.0.0.0/8 and ::1 need no --live."""
    assert is_loopback(url)
    require_live(url, live=False)


@pytest.mark.parametrize(
    "url",
    [
        "https://api.example.com", "http://localhost.example.com", "http://127.0.0.1.example.com", "http://10.0.0.1", "http://0.0.0.0:80",
        "http://127.0.0.1@example.com", "http://[::2]", "http://[::1", "http://2130706433.example",
    ],
)  # fmt: skip
def test_everything_else_needs_live(url: str) -> None:
    """Names that only look like this machine are not it; talking to them takes --live, and with it a bound."""
    assert not is_loopback(url)
    with pytest.raises(UsageError, match="not on this machine") as caught:
        require_live(url, live=False)
    assert "--live" in str(caught.value.hint)
    with pytest.raises(UsageError, match="needs a bound"):
        require_live(url, live=True, bounded=False)
    require_live(url, live=True, bounded=True)


@pytest.mark.parametrize(
    ("url", "clean"),
    [("http://h/", "http://h"), (" http://h:8080/api// ", "http://h:8080/api"), ("http://h/\n", "http://h"), ("HTTPS://h", "HTTPS://h")],
)
def test_a_base_url_is_tidied(url: str, clean: str) -> None:
    """White space around it and slashes at its end do not matter."""
    assert checked_base_url(url) == clean


@pytest.mark.parametrize(
    "url",
    [
        "", "h", "localhost:8080", "ftp://h", "http://", "http:///path", "http://h:99999", "http://h:0", "http://h:abc", "http://h?x=1", "http://h?",
        "http://h#f", "http://[::1", "http://a b", "http://h/\x00x", "http://127.0.0.1\\@h", "file:///etc/passwd", "//h",
    ],
)  # fmt: skip
def test_what_is_no_base_url_is_refused(url: str) -> None:
    """A usage error that quotes it and shows a right one, never a traceback."""
    with pytest.raises(UsageError, match="is no base URL") as caught:
        checked_base_url(url)
    assert caught.value.hint


@pytest.mark.parametrize(
    "url",
    [
        "http://user:secret@h", "http://secret@h", "http://:secret@h", "http://u:secret@h:99999", "u:secret@h", "http://u:sec/secret@h:0",
        "http://h/?key=secret", "http://[::1/?a@b=secret",
    ],
)  # fmt: skip
def test_a_password_in_the_url_is_refused_and_not_repeated(url: str) -> None:
    """Keys do not belong in URLs, nor in messages about them."""
    with pytest.raises(UsageError) as caught:
        checked_base_url(url)
    assert "secret" not in caught.value.message + str(caught.value.hint)


def test_flags_win_over_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The named file, then TESTCARD_API_KEY, then the named variable, then the profile's; blanks around it and blank ones do not count."""
    file = tmp_path / "key"
    file.write_text("from-file\n", encoding="utf-8-sig")  # with the mark that some editors put before a text
    assert read_key(NANOGPT) is None
    monkeypatch.setenv("NANOGPT_API_KEY", " from-profile ")
    assert read_key(NANOGPT) == "from-profile"
    monkeypatch.setenv("OTHER_KEY", "from-config")
    assert read_key(NANOGPT, None, "OTHER_KEY") == "from-config"
    monkeypatch.setenv("TESTCARD_API_KEY", "from-testcard")
    assert read_key(NANOGPT, None, "OTHER_KEY") == "from-testcard"
    assert read_key(NANOGPT, file, "OTHER_KEY") == "from-file"
    monkeypatch.setenv("TESTCARD_API_KEY", "  ")
    assert read_key(NANOGPT, None, "OTHER_KEY") == "from-config"
    with open_target("nanogpt", "http://127.0.0.1:9", config=Config(), key_file=file) as target:
        assert target.api_key == "from-file"


def test_a_key_file_that_cannot_be_used_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Missing, a folder, binary, empty: each a usage error with the file's name, and no other key is taken instead."""
    monkeypatch.setenv("TESTCARD_API_KEY", "from-testcard")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "empty").write_text(" \n")
    for name in ("missing", ".", "binary", "empty"):
        with pytest.raises(UsageError, match="--api-key-file"):
            read_key(NANOGPT, tmp_path / name)


@pytest.mark.parametrize("key", ["two\nlines", "schlüssel", "tab\tinside", "two words"])
def test_a_key_that_no_header_carries_is_refused_without_being_shown(monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    """A file with two lines or a pasted sentence would end as a broken header; the message does not repeat it."""
    monkeypatch.setenv("TESTCARD_API_KEY", key)
    with pytest.raises(UsageError, match="TESTCARD_API_KEY") as caught:
        read_key(NANOGPT)
    assert key not in caught.value.message


def test_a_target_on_this_machine_gets_the_mocks_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """A base URL on loopback without a key uses the mocks' documented one; --no-auth sends none; a set key wins."""
    with open_target("nanogpt", "http://127.0.0.1:9/", config=Config()) as target:
        assert (target.base_url, target.api_key, target.mock) == ("http://127.0.0.1:9", "testcard", False)
    with open_target("nanogpt", "http://127.0.0.1:9", config=Config(), no_auth=True) as target:
        assert target.api_key is None
    monkeypatch.setenv("NANOGPT_API_KEY", "mine")
    with open_target("nanogpt", "http://127.0.0.1:9", config=Config()) as target:
        assert target.api_key == "mine"
        assert "mine" not in str(target.record(["hidream"]))


def test_a_target_elsewhere_needs_a_key_of_its_own() -> None:
    """Off loopback the mocks' key is never tried, and the message names the variables to set."""
    with (
        pytest.raises(UsageError, match="no key") as caught,
        open_target("nanogpt", "https://api.example.com", config=Config(), live=True),
    ):
        raise AssertionError("unreachable")
    assert "NANOGPT_API_KEY" in str(caught.value.hint)
    with open_target("nanogpt", "https://api.example.com", config=Config(), live=True, no_auth=True) as target:
        assert target.api_key is None


def test_an_unknown_provider_is_a_usage_error() -> None:
    """Before anything is started or sent."""
    with pytest.raises(UsageError, match="no provider"), open_target("nanogtp", None, config=Config()):
        raise AssertionError("unreachable")


@pytest.fixture
def stranger() -> Iterator[str]:
    """A server on this machine that is no mock of ours, although it answers our health address with 200."""
    with answering(lambda request: Response({"status": "ok"})) as server:
        yield server.url


def test_only_our_own_mock_gets_made_up_prices(stranger: str) -> None:
    """A real server on this machine has no illustrative price: its cost is unknown until the user sets one. Our mock's is made up."""
    for url in (stranger, "http://127.0.0.1:9"):
        with open_target("nanogpt", url, config=Config()) as target:
            assert not target.mock
            assert target.pricing.origin == "none"
            assert target.pricing.price("hidream", "createImage") is None
            assert target.record().prices == "none"
    with embedded_mocks(["nanogpt"]) as mocks, open_target("nanogpt", mocks.base_urls["nanogpt"], config=Config()) as target:
        assert target.mock
        assert target.pricing.origin == "illustrative"
        assert target.pricing.price("hidream", "createImage") is not None


@pytest.mark.parametrize(
    "begin",
    [b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n", b"", b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000],
    ids=["head", "body", "silence", "header"],
)
def test_who_drips_is_no_mock_and_holds_nobody_up(begin: bytes) -> None:
    """A server that never ends its answer, or sends interim answers without end, is waited for two seconds in all, whatever it drips."""

    def talk(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(begin)
        for number in range(3000):
            connection.sendall(b"X-%d: y\r\n" % number if begin else b"HTTP/1.1 100 Continue\r\n\r\n")
            time.sleep(0.02)

    with talking(talk) as server:
        began = time.monotonic()
        assert not is_testcard_mock(server.url)
        assert answers(server.url, 1.0) == (b"\r\n\r\n" in begin)
        assert time.monotonic() - began < 30  # of a minute that it drips


def test_a_mock_is_known_by_its_health() -> None:
    """Also behind interim answers; another server is none, whatever its status says."""
    for status, body, known in ((200, b'{"testcard": "1"}', True), (503, b'{"testcard": "1"}', False), (200, b"{}", False)):

        def talk(connection: socket.socket, status: int = status, body: bytes = body) -> None:
            connection.recv(4096)
            interim = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
            connection.sendall(interim + b"HTTP/1.1 %d OK\r\nDate: now\r\nContent-Length: %d\r\n\r\n%s" % (status, len(body), body))
            connection.recv(1)

        with talking(talk) as server:
            assert is_testcard_mock(server.url) is known
            assert date_of(server.url) == (None if status == 503 else "now")
