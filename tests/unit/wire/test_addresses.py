"""Addresses that answers name: what may be asked, what lies on this machine, where redirects lead."""

from __future__ import annotations

import pytest

from testcard.harness.wire.addresses import fetchable, host_of, is_loopback, may_ask, redirected

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
        ("http://127.0.0.1:9/a.png", HERE, False, True),
        ("https://files.example/a.png", HERE, False, False),
        ("https://files.example/a.png", HERE, True, True),
        ("https://files.example/a.png", THERE, False, True),
        ("http://localhost/a.png", THERE, False, True),
        ("http://user:pw@files.example/a.png", THERE, True, False),
        ("file:///etc/passwd", THERE, True, False),
        ("data:image/png;base64,", HERE, True, False),
        ("//files.example/a.png", HERE, True, False),
    ],
)
def test_an_answer_leads_off_this_machine_with_live_only(url: str, asked: str, live: bool, allowed: bool) -> None:
    """From a target on this machine to another host only when a person allowed it; what is no http address never."""
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
