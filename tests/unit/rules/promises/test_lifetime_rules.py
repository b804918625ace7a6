"""How long addresses last: by the end that a signed one states, and by fetching one once more."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import Any

import pytest

from testcard.harness.rules.promises.lifetime import stated_lifetime_s
from testcard.harness.rules.registry import RULES
from testcard.harness.rules.scope import Scope
from testcard.specs.loader import load_provider

NOW = 1_790_000_000.0
NANOGPT = Scope(load_provider("nanogpt"), "createImage", started=NOW)
QWEN = Scope(load_provider("opengpu-relay"), "generateQwen", started=NOW)
RULE = "delivery.url-lifetime"
BY_URL = {"task": "generate", "delivery": "url"}
PLAIN = "https://pictures.test/a.png"
SIGNED = "https://s3.test/a.png?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Date=20260921T141320Z&X-Amz-Expires={}&X-Amz-Signature=ab"


@pytest.mark.parametrize(
    ("url", "left_s"),
    [
        (SIGNED.format(3600), 3600),
        (SIGNED.format(604800), 604800),
        ("https://storage.test/a?X-Goog-Date=20260921T134320Z&X-Goog-Expires=3600", 1800),
        ("https://s3.test/a?AWSAccessKeyId=A&Expires=1790003600&Signature=b", 3600),
        ("https://cdn.test/a?expires=1790003600000", 3600),
        ("https://blob.test/a?sv=2024&sig=x&se=2026-09-21T15%3A13%3A20Z", 3600),
        ("https://cdn.test/a?exp=1789999900", -100),
    ],
)
def test_the_end_that_an_address_states(url: str, left_s: float) -> None:
    """S3, GCS, CloudFront, Azure and plain parameters in seconds or milliseconds are read."""
    assert stated_lifetime_s(url, NOW) == left_s


@pytest.mark.parametrize(
    "url",
    [
        PLAIN,
        "https://cdn.test/a?expires=never",
        "https://cdn.test/a?expires=60",
        "https://cdn.test/a?expires=9999999999999999999999",
        "https://cdn.test/a?se=2026-09-21",
        "https://blob.test/a?sig=x&se=soon",
        "https://[half/a?expires=1790003600",
    ],
)
def test_what_states_no_end(url: str) -> None:
    """Other parameters, small numbers and nonsense are no end, and no error."""
    assert stated_lifetime_s(url, NOW) is None


def test_without_a_clock_only_the_signed_span_counts() -> None:
    """An end in Unix time says nothing without now; a number of seconds from the signing does."""
    assert stated_lifetime_s("https://cdn.test/a?expires=1790003600", None) is None
    assert stated_lifetime_s(SIGNED.format(600), None) == 600


def answered(recorded: Any, url: str, scope: Scope = NANOGPT, **more: Any) -> Any:
    answer = {"data": [{"url": url}]} if scope is NANOGPT else {"urls": [url]}
    return recorded(scope).add(200, answer, asked=BY_URL, sent_s=0.0, **more)


def fetched(run: Any, url: str, picture: Any, *statuses: int | None, at_s: float = 2.0) -> Any:
    for number, status in enumerate(statuses):
        data = base64.b64decode(picture()) if status == 200 else b"gone"
        run.add(status, data, source="fetch", parent="e0", asked={"url": url}, sent_s=2.0 if number == 0 else at_s)
    return run


@pytest.mark.parametrize(
    ("scope", "expires", "word"),
    [
        (NANOGPT, 3600, "pass"), (NANOGPT, 3000, "pass"), (NANOGPT, 7200, "pass"), (NANOGPT, 900, "broken"), (NANOGPT, 60, "broken"),
        (QWEN, 604800, "pass"), (QWEN, 86400, "broken"), (QWEN, 3600, "broken"),
    ],
)  # fmt: skip
def test_a_stated_end(scope: Scope, expires: int, word: str, recorded: Any) -> None:
    """About an hour, and seven days: three quarters of it have to be there."""
    assert answered(recorded, SIGNED.format(expires), scope).words(RULE) == {word}


def test_the_servers_clock_counts(recorded: Any) -> None:
    """An end in Unix time is held against the answer's Date, whatever the clock of this machine says."""
    url = "https://cdn.test/a?expires=1700003600"
    assert answered(recorded, url, headers=[("date", "Tue, 14 Nov 2023 22:13:20 GMT")]).words(RULE) == {"pass"}
    assert answered(recorded, url).words(RULE) == {"broken"}
    assert answered(recorded, url, headers=[("date", "some day")]).words(RULE) == {"broken"}


def test_fetched_once_more(recorded: Any, picture: Any) -> None:
    """A picture that is still there passes; gone, forbidden or not found break it; a busy server and silence prove nothing."""
    assert fetched(answered(recorded, PLAIN), PLAIN, picture, 200, 200).words(RULE) == {"pass"}
    for status in (403, 404, 410):
        assert fetched(answered(recorded, PLAIN), PLAIN, picture, 200, status).words(RULE) == {"broken"}
    for status in (429, 503, None):
        assert fetched(answered(recorded, PLAIN), PLAIN, picture, 200, status).words(RULE) == {"unproven"}
    assert fetched(answered(recorded, PLAIN), PLAIN, picture, 200).words(RULE) == {"unproven"}
    signed = SIGNED.format(3600)
    assert fetched(answered(recorded, signed), signed, picture, 200, 404).words(RULE) == {"broken", "pass"}


def test_an_address_may_end_in_its_time(recorded: Any, picture: Any) -> None:
    """What is gone after the documented hour was there for as long as promised."""
    assert fetched(answered(recorded, PLAIN), PLAIN, picture, 200, 404, at_s=600.0).words(RULE) == {"broken"}
    assert fetched(answered(recorded, PLAIN), PLAIN, picture, 200, 404, at_s=4000.0).words(RULE) == {"unproven"}


def test_where_it_applies(recorded: Any, picture: Any) -> None:
    """Only where a document names a time; base64 in place of a URL breaks nothing."""
    nebul, gpt = Scope(load_provider("nebul"), "createImage"), replace(QWEN, operation_id="generateGptImage")
    assert [RULES[RULE].applies(scope) for scope in (NANOGPT, QWEN, nebul, gpt)] == [True, True, False, False]
    assert recorded(NANOGPT).add(200, {"data": [{"b64_json": picture()}]}, asked=BY_URL).words(RULE) == {"unsupported"}
