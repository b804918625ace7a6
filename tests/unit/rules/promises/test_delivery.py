"""Rules about how pictures are handed over, and about their addresses."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import Any

import pytest

from testcard.harness.rules.promises import RULES
from testcard.harness.rules.promises.delivery import stated_lifetime_s
from testcard.harness.rules.scope import Scope
from testcard.harness.wire.model import DeliveredPicture
from testcard.harness.wire.pictures import way
from testcard.specs.loader import load_provider

NANOGPT = Scope(load_provider("nanogpt"), "createImage")
NEBUL = Scope(load_provider("nebul"), "createImage")
NIM = Scope(load_provider("nvidia-nim-image"), "generateImage")
GPT = Scope(load_provider("opengpu-relay"), "generateGptImage")
URL = "https://pictures.test/a.png?expires=1"
BASE64, BY_URL = {"task": "generate", "delivery": "base64"}, {"task": "generate", "delivery": "url"}
ABOUT_URLS = ("delivery.url-absolute", "delivery.url-fetchable", "delivery.url-keyless", "delivery.url-is-image")


def test_exclusive(recorded: Any, picture: Any) -> None:
    """One way passes, both and neither break it, whichever was asked for; a refusal proves nothing."""
    rule = "delivery.exclusive"
    one = picture()
    assert recorded(NEBUL).add(200, {"data": [{"b64_json": one, "url": None}]}).words(rule) == {"pass"}
    assert recorded(NEBUL).add(200, {"data": [{"b64_json": one, "url": URL}]}).words(rule) == {"broken"}
    assert recorded(NEBUL).add(200, {"data": [{"b64_json": None, "url": None}]}).words(rule) == {"broken"}
    assert recorded(NANOGPT).add(200, {"data": [{"url": URL}]}, asked=BASE64).words(rule) == {"pass"}
    assert recorded(NANOGPT).add(400, expects="may-refuse").words(rule) == set()
    assert not RULES[rule].applies(NIM)
    assert not RULES[rule].applies(GPT)


def test_as_asked_where_one_can_choose(recorded: Any, picture: Any) -> None:
    """A URL for base64 breaks it, base64 for a URL is noted; both and neither are another rule's."""
    rule = "delivery.as-asked"
    inline, address = {"data": [{"b64_json": picture()}]}, {"data": [{"url": URL}]}
    assert recorded(NANOGPT).add(200, inline, asked=BASE64).words(rule) == {"pass"}
    assert recorded(NANOGPT).add(200, address, asked=BASE64).words(rule) == {"broken"}
    assert recorded(NANOGPT).add(200, address, asked=BY_URL).words(rule) == {"pass"}
    assert recorded(NANOGPT).add(200, inline, asked=BY_URL).words(rule) == {"note"}
    assert recorded(NANOGPT).add(200, {"data": [{"b64_json": picture(), "url": URL}]}, asked=BASE64).words(rule) == {"unproven"}
    assert recorded(NANOGPT).add(200, {"data": [{}]}, asked=BASE64).words(rule) == {"unproven"}


def test_as_asked_by_default(recorded: Any, picture: Any) -> None:
    """A documented default binds; where none is documented, the server chooses."""
    rule = "delivery.as-asked"
    assert recorded(NANOGPT).add(200, {"data": [{"url": URL}]}).words(rule) == {"broken"}
    assert recorded(NEBUL).add(200, {"data": [{"url": URL, "b64_json": None}]}).words(rule) == set()
    assert recorded(NEBUL).add(200, {"data": [{"url": URL, "b64_json": None}]}, asked=BASE64).words(rule) == {"broken"}


def test_as_asked_where_there_is_one_way(recorded: Any, picture: Any) -> None:
    """An address among base64, and base64 among addresses, break it, although both are strings."""
    rule = "delivery.as-asked"
    assert recorded(NIM).add(200, {"artifacts": [{"base64": picture()}]}).words(rule) == {"pass"}
    assert recorded(NIM).add(200, {"artifacts": [{"base64": URL}]}).words(rule) == {"broken"}
    assert recorded(GPT).add(200, {"images": [URL]}).words(rule) == {"pass"}
    assert recorded(GPT).add(200, {"images": [picture()]}).words(rule) == {"broken"}
    assert recorded(GPT).add(200, {"images": [picture(kind="JPEG")]}).words(rule) == {"broken"}
    assert recorded(GPT).add(200, {"images": [None]}).words(rule) == {"unproven"}


def test_the_way_of_a_picture(picture: Any) -> None:
    """Base64 of a JPEG begins with a slash and is no path; a data: prefix does not make base64 an address."""
    assert way(DeliveredPicture(0, base64=picture(kind="JPEG"))) == way(DeliveredPicture(0, url=picture(kind="JPEG"))) == "base64"
    assert way(DeliveredPicture(0, base64="data:image/png;base64," + picture())) == "base64"
    assert way(DeliveredPicture(0, url="data:image/png;base64," + picture())) == "url"
    assert way(DeliveredPicture(0, url="/files/abcd")) == way(DeliveredPicture(0, base64="https://a.test/b")) == "url"


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("/files/a.png", "a relative address"),
        ("files/a.png", "a relative address"),
        ("//pictures.test/a.png", "a relative address"),
        ("data:image/png;base64,AAAA", "a data: URL"),
        ("s3://bucket/a.png", "an address of the scheme s3"),
        ("http:///a.png", "an address without a host"),
        ("https://user:word@pictures.test/a.png", "an address with a name and password"),
        ("https://[::1/a.png", "no address"),
    ],
)
def test_an_address_that_nobody_can_fetch(url: str, why: str, recorded: Any) -> None:
    """Relative, inline and foreign addresses break delivery.url-absolute alone; the report says what they are."""
    run = recorded(NANOGPT).add(200, {"data": [{"url": url}]}, asked=BY_URL)
    (seen,) = run.observations("delivery.url-absolute")
    assert seen.word == "broken"
    assert why in seen.detail
    assert all(run.words(rule) == {"unproven"} for rule in ABOUT_URLS[1:])


def fetched(recorded: Any, status: int | None, body: bytes = b"", media_type: str | None = "image/png", **more: Any) -> Any:
    run = recorded(NANOGPT).add(200, {"data": [{"url": URL}]}, asked=BY_URL)
    headers = [("content-type", media_type or ""), *more.pop("headers", ())]
    return run.add(status, body, source="fetch", parent="e0", asked={"url": URL}, headers=headers, **more)


def words(run: Any) -> list[str]:
    return ["/".join(sorted(run.words(rule))) for rule in ABOUT_URLS]


def test_an_address_that_works(recorded: Any, picture: Any) -> None:
    """An absolute address that gives the picture without a key keeps all four; its type may be unstated or unspecific."""
    data = base64.b64decode(picture())
    for media_type in ("image/png", "IMAGE/PNG; q=1", "application/octet-stream", "binary/octet-stream", None):
        assert words(fetched(recorded, 200, data, media_type)) == ["pass"] * 4
    jpeg = base64.b64decode(picture(kind="JPEG"))
    assert words(fetched(recorded, 200, jpeg, "image/jpg")) == ["pass"] * 4


@pytest.mark.parametrize(
    ("status", "more", "expected"),
    [
        (404, {}, ["pass", "broken", "unproven", "unproven"]),
        (403, {}, ["pass", "broken", "unproven", "unproven"]),
        (500, {}, ["pass", "broken", "unproven", "unproven"]),
        (302, {}, ["pass", "broken", "unproven", "unproven"]),
        (401, {}, ["pass", "unproven", "broken", "unproven"]),
        (403, {"headers": [("www-authenticate", "Bearer")]}, ["pass", "unproven", "broken", "unproven"]),
        (429, {}, ["pass", "unproven", "unproven", "unproven"]),
        (None, {"failure": "connect"}, ["pass", "broken", "unproven", "unproven"]),
        (None, {"failure": "broken"}, ["pass", "broken", "unproven", "unproven"]),
        (None, {"failure": "timeout"}, ["pass", "unproven", "unproven", "unproven"]),
    ],
)
def test_an_address_that_does_not_work(status: int | None, more: dict[str, Any], expected: list[str], recorded: Any) -> None:
    """A dead address breaks one rule, one that asks for a key another; a busy or slow one proves nothing."""
    assert words(fetched(recorded, status, b"no", "text/plain", **more)) == expected


def test_an_address_that_gives_something_else(recorded: Any, picture: Any) -> None:
    """A page breaks it; a picture under a wrong type is a deviation at most; a picture that is cut off is image.decodes's."""
    data = base64.b64decode(picture())
    (page,) = fetched(recorded, 200, b"<html></html>", "text/html").observations("delivery.url-is-image")
    assert (page.word, page.level) == ("broken", "must")
    for media_type in ("text/plain", "image/jpeg"):
        (mistyped,) = fetched(recorded, 200, data, media_type).observations("delivery.url-is-image")
        assert (mistyped.word, mistyped.level) == ("broken", "should")
    for kind in ("JPEG", "WEBP", "GIF", "AVIF"):
        typed = fetched(recorded, 200, base64.b64decode(picture(kind=kind)), f"image/{kind.lower()}")
        assert typed.words("delivery.url-is-image") == {"pass"}
    cut = fetched(recorded, 200, data[:-40])
    assert cut.words("delivery.url-is-image") == {"pass"}
    assert cut.words("image.decodes") == {"broken"}


@pytest.mark.parametrize("rule", ABOUT_URLS)
def test_base64_in_place_of_a_url(rule: str, recorded: Any, picture: Any) -> None:
    """A service that has no URL to give breaks no rule about URLs; base64 that was asked for says nothing of them."""
    inline = {"data": [{"b64_json": picture()}]}
    assert recorded(NANOGPT).add(200, inline, asked=BY_URL).words(rule) == {"unsupported"}
    assert recorded(NANOGPT).add(200, inline, asked=BASE64).words(rule) == set()
    assert not RULES[rule].applies(NIM)


# ── how long addresses last ───────────────────────────────────────────────────────────────────────────────────────────
NOW = 1_790_000_000.0
STARTED = Scope(load_provider("nanogpt"), "createImage", started=NOW)
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


def answered(recorded: Any, url: str, scope: Scope = STARTED, **more: Any) -> Any:
    answer = {"data": [{"url": url}]} if scope is STARTED else {"urls": [url]}
    return recorded(scope).add(200, answer, asked=BY_URL, sent_s=0.0, **more)


def fetched_and_again(run: Any, url: str, picture: Any, *statuses: int | None, at_s: float = 2.0) -> Any:
    for number, status in enumerate(statuses):
        data = base64.b64decode(picture()) if status == 200 else b"gone"
        run.add(status, data, source="fetch", parent="e0", asked={"url": url}, sent_s=2.0 if number == 0 else at_s)
    return run


@pytest.mark.parametrize(
    ("scope", "expires", "word"),
    [
        (STARTED, 3600, "pass"), (STARTED, 3000, "pass"), (STARTED, 7200, "pass"), (STARTED, 900, "broken"), (STARTED, 60, "broken"),
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
    assert fetched_and_again(answered(recorded, PLAIN), PLAIN, picture, 200, 200).words(RULE) == {"pass"}
    for status in (403, 404, 410):
        assert fetched_and_again(answered(recorded, PLAIN), PLAIN, picture, 200, status).words(RULE) == {"broken"}
    for status in (429, 503, None):
        assert fetched_and_again(answered(recorded, PLAIN), PLAIN, picture, 200, status).words(RULE) == {"unproven"}
    assert fetched_and_again(answered(recorded, PLAIN), PLAIN, picture, 200).words(RULE) == {"unproven"}
    signed = SIGNED.format(3600)
    assert fetched_and_again(answered(recorded, signed), signed, picture, 200, 404).words(RULE) == {"broken", "pass"}


def test_an_address_may_end_in_its_time(recorded: Any, picture: Any) -> None:
    """What is gone after the documented hour was there for as long as promised."""
    assert fetched_and_again(answered(recorded, PLAIN), PLAIN, picture, 200, 404, at_s=600.0).words(RULE) == {"broken"}
    assert fetched_and_again(answered(recorded, PLAIN), PLAIN, picture, 200, 404, at_s=4000.0).words(RULE) == {"unproven"}


def test_where_it_applies(recorded: Any, picture: Any) -> None:
    """Only where a document names a time; base64 in place of a URL breaks nothing."""
    nebul, gpt = Scope(load_provider("nebul"), "createImage"), replace(QWEN, operation_id="generateGptImage")
    assert [RULES[RULE].applies(scope) for scope in (STARTED, QWEN, nebul, gpt)] == [True, True, False, False]
    assert recorded(STARTED).add(200, {"data": [{"b64_json": picture()}]}, asked=BY_URL).words(RULE) == {"unsupported"}
