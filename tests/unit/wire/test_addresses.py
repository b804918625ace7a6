"""Addresses that answers name: what may be asked, what lies on this machine, where redirects lead."""

from __future__ import annotations

import pytest

from testcard.harness.wire import addresses
from testcard.harness.wire.addresses import Reach, allow_host, fetchable, host_of, is_loopback, is_public, may_ask, redirected

HERE, THERE = "http://127.0.0.1:8080/v1", "https://api.example/v1"


@pytest.mark.parametrize(
    ("url", "here"),
    [
        ("http://localhost:1/x", True),
        ("http://127.0.0.1", True),
        ("http://127.9.9.9/x", True),
        ("http://[::1]:80/", True),
        ("http://localhost.example.com/", False),
        ("http://127.0.0.1.example.com/", False),
        ("http://127.0.0.1@example.com/", False),
        ("http://127.0.0.1\n.example.com/", False),
        ("http://10.0.0.1/", False),
        ("http://0x7f000001/", False),
        ("http://[broken", False),
        ("/relative", False),
    ],
)
def test_only_this_machine_is_this_machine(url: str, here: bool) -> None:
    """localhost, 127.0.0.0/8 and ::1, by what a URL really names as its host."""
    assert is_loopback(url) is here


@pytest.mark.parametrize(
    ("url", "asked", "live", "allowed"),
    [
        ("http://127.0.0.1:8080/a.png", HERE, False, True),
        ("http://localhost:8080/a.png", HERE, False, True),
        ("http://127.0.0.1:9/a.png", HERE, False, False),
        ("http://127.0.0.1:8080/a.png", HERE, True, True),
        ("http://127.0.0.1:9/admin", HERE, True, False),
        ("http://169.254.169.254/latest/meta-data/", HERE, True, False),
        ("http://10.0.0.8/", THERE, True, False),
        ("http://[fd00::1]/", THERE, True, False),
        ("http://[::ffff:127.0.0.1]/", THERE, True, False),
        ("http://0.0.0.0/", THERE, True, False),
        ("https://api.example:443/a.png", THERE, True, True),
        ("https://files.example/a.png", HERE, False, False),
        ("https://files.example/a.png", HERE, True, True),
        ("https://files.example/a.png", THERE, False, True),
        ("http://localhost/a.png", THERE, False, False),
        ("http://user:pw@files.example/a.png", THERE, True, False),
        ("file:///etc/passwd", THERE, True, False),
        ("data:image/png;base64,", HERE, True, False),
        ("//files.example/a.png", HERE, True, False),
    ],
)
def test_an_answer_leads_off_this_machine_with_live_only(url: str, asked: str, live: bool, allowed: bool) -> None:
    """From a target on this machine to another host or port only when a person allowed it, to a private one never; nor to what is no http address."""
    assert may_ask(url, asked=asked, live=live) is allowed


@pytest.mark.parametrize(
    ("status", "location", "onward"),
    [
        (302, "https://cdn.example/a.png#top", "https://cdn.example/a.png"),
        (301, "/b.png", "http://127.0.0.1:8080/b.png"),
        (307, "b.png", "http://127.0.0.1:8080/v1/b.png"),
        (308, "//cdn.example/a", "http://cdn.example/a"),
        (303, "", None),
        (304, "/b.png", None),
        (200, "/b.png", None),
        (302, "http://[broken", None),
    ],
)
def test_where_a_redirect_leads(status: int, location: str, onward: str | None) -> None:
    """Location, made absolute and without its fragment; only statuses that send a reader on do."""
    assert redirected("http://127.0.0.1:8080/v1/a", status, [("Location", location)]) == onward
    assert redirected("http://127.0.0.1:8080/v1/a", status, []) is None


@pytest.mark.parametrize(
    ("url", "host"),
    [("https://a.example/x", "a.example"), ("http://a.example:81", "a.example:81"), ("http://[x", "no host"), ("x", "no host")],
)
def test_hosts_as_people_read_them(url: str, host: str) -> None:
    """The host, and its port where one is named; never an exception."""
    assert host_of(url) == host


@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        ("https://h/x.png", True),
        ("http://127.0.0.1:1/x", True),
        ("data:image/png;base64,AA", False),
        ("file:///etc/passwd", False),
        ("/relative", False),
        ("https://user:pass@h/", False),
        ("http://[::1", False),
        ("http://h:99999/", False),
    ],
)
def test_only_http_addresses_are_fetched(url: str, allowed: bool) -> None:
    """Absolute http(s) addresses without credentials."""
    assert fetchable(url) is allowed


def test_a_host_that_is_named_may_be_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """With its port, or on every one; what names no host is refused."""
    monkeypatch.setattr(addresses, "_allowed", set())
    allow_host("127.0.0.1:9")
    allow_host("Files.Internal")
    for url, allowed in [("http://127.0.0.1:9/a", True), ("http://127.0.0.1:10/a", False), ("https://files.internal/a", True)]:
        assert may_ask(url, asked=HERE, live=False) is allowed
    for named in ("", "http://host", "host/path", "user@host", "host:0"):
        with pytest.raises(ValueError, match="host"):
            allow_host(named)


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("93.184.216.34", True),
        ("2606:2800:220:1::1", True),
        ("127.0.0.1", False),
        ("10.1.2.3", False),
        ("100.64.0.1", False),
        ("169.254.169.254", False),
        ("0.0.0.0", False),
        ("224.0.0.1", False),
        ("::1", False),
        ("fe80::1%eth0", False),
        ("::ffff:10.0.0.1", False),
        ("64:ff9b::a9fe:a9fe", False),
        ("2002:7f00:1::", False),
        ("fec0::1", False),
        ("::127.0.0.1", False),
        ("::ffff:0:127.0.0.1", False),
        ("64:ff9b:1::7f00:1", False),
        ("64:ff9b::808:808", True),
        ("192.0.0.192", False),
        ("168.63.129.16", False),
        ("::ffff:168.63.129.16", False),
        ("3fff::1", False),
        ("localhost", False),
    ],
)
def test_which_addresses_are_public(address: str, public: bool) -> None:
    """Also where an IPv6 address holds one of the older kind."""
    assert is_public(address) is public


def test_a_connection_goes_where_its_name_may_lead() -> None:
    """The user's own address may be anywhere; another name of a live target leads to public addresses, of a local one nowhere."""
    live, local = Reach("https://api.example/v1", live=True), Reach("http://localhost:8080")
    assert not live.resolves("api.example", 443)
    assert live.resolves("api.example", 8443)
    assert (live.permits("93.184.216.34"), live.permits("127.0.0.1"), live.permits("169.254.169.254")) == (True, False, False)
    assert not local.resolves("127.0.0.1", 8080)
    assert local.resolves("127.0.0.1", 8081)
    assert not local.permits("93.184.216.34")


def test_a_host_is_shown_as_text() -> None:
    """What acts on a terminal is spelt out."""
    assert host_of("http://127.0.0.1\0.example.invalid:9/") == "127.0.0.1\\x00.example.invalid:9"
