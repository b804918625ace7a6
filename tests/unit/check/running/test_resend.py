"""A recorded request made ready again, and two answers compared: what differs is told in words, never in megabytes."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from testcard.harness.check.running.resend import (
    MOST_DIFFERENCES,
    ComparedAnswer,
    differences,
    most_billed,
    moved,
    needs_key,
    request_again,
)
from testcard.harness.runs.records import Body, Exchange, SentRequest
from testcard.harness.wire.addresses import origin
from testcard.harness.wire.billing import worst_case
from testcard.harness.wire.fields import asked_record
from testcard.harness.wire.model import InputImage, TaskRequest
from testcard.specs.loader import load_provider
from testkit.pictures import gradient, in_base64

NANOGPT = load_provider("nanogpt")


def exchange(*, source: str = "probe", operation: str = "createImage", asked: dict[str, Any] | None = None) -> Exchange:
    headers = [("accept", "application/json"), ("authorization", "Bearer $TESTCARD_API_KEY")]
    request = SentRequest(method="POST", url="http://t:1/v1/x", headers=headers, body=Body(size=2, text="{}"))
    return Exchange(
        id="e1", operation=operation, probe="p", source=source, asked=asked or {"task": "generate"}, request=request, sent_s=0, done_s=1
    )  # type: ignore[arg-type]


def reply(body: Any, status: int | None = 200, *, headers: tuple[tuple[str, str], ...] = (), failure: str | None = None) -> ComparedAnswer:
    return ComparedAnswer(status, headers, body if isinstance(body, bytes) else json.dumps(body).encode(), 0.1, failure)


def read(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return None


def told(before: Any, now: Any) -> list[tuple[str, str, str]]:
    one, two = (value if isinstance(value, ComparedAnswer) else reply(value) for value in (before, now))
    return [(found.place, found.before, found.now) for found in differences(one, two, read)]


def picture(width: int = 32, shade: int = 9) -> str:
    return in_base64(gradient(width, 32, shade=shade, mode="L"))


def test_the_key_is_put_back_where_it_stood() -> None:
    """And nothing else of the request changes."""
    again = request_again(exchange(), b"{}", url="http://t:1/v1/x", api_key="sk-1")
    assert again.headers == (("accept", "application/json"), ("authorization", "Bearer sk-1"))
    assert (again.method, again.body) == ("POST", b"{}")
    assert needs_key(exchange())


@pytest.mark.parametrize(
    ("url", "base", "expected"),
    [
        ("http://t:1/v1/x", None, "http://t:1/v1/x"),
        ("http://t:1/v1/x", "https://u", "https://u/v1/x"),
        ("http://t:1", "https://u/p", "https://u/p"),
        ("http://t:10/v1/x", "https://u", "http://t:10/v1/x"),
        ("http://files/v1/x", "https://u", "http://files/v1/x"),
    ],
)
def test_another_base_url_moves_what_went_to_the_recorded_one(url: str, base: str | None, expected: str) -> None:
    """An address elsewhere stays where it is, one that only begins alike too."""
    assert moved(url, "http://t:1", base) == expected


def test_an_origin_knows_its_port() -> None:
    """https without a port is 443."""
    assert origin("https://U.example/x") == ("https", "u.example", 443)
    assert origin("http://u.example:81/x") == ("http", "u.example", 81)


def test_equal_answers_differ_in_nothing() -> None:
    """Headers that are new in every answer do not count, nor how they are spelt."""
    one = reply({"a": 1}, headers=(("Content-Type", "application/json"), ("date", "Mon")))
    assert told(one, reply({"a": 1}, headers=(("content-type", "application/json"), ("date", "Tue")))) == []


def test_status_headers_and_fields_are_told_by_place() -> None:
    """Status, media type, changed values, what is missing, other lengths."""
    one = reply({"a": 1, "b": [1, 2], "gone": {}, "t": True}, headers=(("content-type", "application/json"),))
    two = reply({"a": "1", "b": [1], "new/er": None, "t": 1}, 422, headers=(("content-type", "text/plain"), ("allow", "POST")))
    assert told(one, two) == [
        ("status", "200", "422"),
        ("header content-type", "application/json", "text/plain"),
        ("header allow", "missing", "POST"),
        ("/a", "1", "1"),
        ("/b", "2 items", "1 items"),
        ("/gone", "an object of 0", "missing"),
        ("/t", "true", "1"),
        ("/new~1er", "missing", "null"),
    ]


def test_pictures_are_told_by_what_they_are() -> None:
    """Two pictures in base64 differ in size, pixels and bytes, not in a megabyte of letters."""
    ((place, before, now),) = told({"data": [{"b64_json": picture()}]}, {"data": [{"b64_json": picture(48, 5)}]})
    assert place == "/data/0/b64_json"
    assert before.startswith("png 32x32, pixels ")
    assert now.startswith("png 48x32, pixels ")
    assert told(base64.b64decode(picture()), b"gone")[0][1:] == (now_of(picture()), "4 bytes")


def now_of(text: str) -> str:
    data = base64.b64decode(text)
    return next(found.before for found in differences(reply(data), reply(b"gone"), read))


def test_what_is_told_stays_short() -> None:
    """Long texts are cut, and of many differences the first are shown."""
    ((_, before, _),) = told({"a": "x" * 5000}, {"a": "y"})
    assert before == "x" * 60 + "… (5000 characters)"
    found = told({str(number): 1 for number in range(99)}, {str(number): 2 for number in range(99)})
    assert len(found) == MOST_DIFFERENCES + 1
    assert found[-1] == ("…", "more", "more")


def test_no_answer_is_an_answer_to_compare() -> None:
    """A failure before or now is told as the status."""
    assert told(reply(b"", None, failure="timeout"), reply({}))[0] == ("status", "no answer (timeout)", "200")


def test_what_a_record_can_cost_is_what_its_request_could() -> None:
    """The worst case of a record is that of the request it was made from; polls, downloads and free operations cost nothing."""
    request = TaskRequest("edit", prompt="a boat", n=3, size=(512, 512), images=(InputImage(b"x"), InputImage(b"y")), mask=InputImage(b"z"))
    assert most_billed(NANOGPT, exchange(asked=asked_record(request))) == worst_case(NANOGPT, "createImage", request)
    assert most_billed(NANOGPT, exchange(source="fetch")) is None
    assert most_billed(load_provider("opengpu-relay"), exchange(operation="getTask")) is None
    vision = load_provider("nvidia-nim-vision")
    chat = TaskRequest("describe", prompt="what?", max_tokens=16, images=(InputImage(b"x"),))
    found = most_billed(vision, exchange(operation="createVisionChatCompletion", asked=asked_record(chat)))
    assert found == worst_case(vision, "createVisionChatCompletion", chat)
