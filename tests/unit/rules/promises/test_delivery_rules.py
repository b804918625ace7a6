"""How pictures are handed over: in one way, in the right one, and under addresses that lead to them."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from testcard.harness.rules.promises.delivery import way
from testcard.harness.rules.registry import RULES
from testcard.harness.rules.scope import Scope
from testcard.harness.wire.model import DeliveredPicture
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
