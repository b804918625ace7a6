"""Responses become answers: what stands where, judged nowhere."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from testcard.harness.errors import UsageError
from testcard.harness.intake.limits import limits
from testcard.harness.wire.decode import (
    decode,
    decode_body,
    retry_after,
    speaks_of_account,
    speaks_of_content,
    stood_for,
    withheld,
)
from testcard.harness.wire.encode import encode
from testcard.harness.wire.model import Answer, TaskRequest, Usage, WireResponse
from testcard.specs.loader import BUNDLED, bundled_ids, load_provider
from testcard.specs.profile import Errors, ResponseMap, Success


def answer(provider: str, operation: str, body: Any, status: int = 200, headers: tuple[tuple[str, str], ...] = ()) -> Answer:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return decode(load_provider(provider), operation, WireResponse(status, headers, data))


def test_pictures_beyond_the_limit_are_left_and_said_to_be() -> None:
    """An answer that was cut is none to be taken for whole, by whoever asked for so many."""
    most = limits().pictures
    whole = answer("nanogpt", "createImage", {"data": [{"b64_json": "AA"}] * most})
    assert (len(whole.pictures), whole.problem) == (most, None)
    cut = answer("nanogpt", "createImage", {"data": [{"b64_json": "AA"}] * (most + 1)})
    assert (len(cut.pictures), cut.problem) == (most, "it has 65 pictures, of which 64 were taken")


@pytest.mark.parametrize("schema", ["{type: integer, minimum: 1, maximum: 100}", "{enum: [1, 4, 100]}"])
def test_as_many_pictures_are_taken_as_the_document_allows(schema: str, tmp_path: Path) -> None:
    """Who may ask for 100 gets 100, and none is said to be too many; what came beyond is. More than are taken is not asked for."""
    folder = tmp_path / "many"
    shutil.copytree(BUNDLED / "nanogpt", folder)
    document = (folder / "openapi.yaml").read_text()
    (folder / "openapi.yaml").write_text(re.sub(r"\bn: \{[^}]*\}", f"n: {schema}", document))
    provider = load_provider(str(folder))
    for came in (100, 101):
        body = json.dumps({"data": [{"b64_json": "AA"}] * came}).encode()
        got = decode(provider, "createImage", WireResponse(200, (), body))
        assert (len(got.pictures), got.problem is None) == (100, came == 100)
    asked = TaskRequest("generate", "a boat", n=100)
    assert b"100" in encode(provider, asked, base_url="http://h", api_key=None).body
    with pytest.raises(UsageError, match="100 pictures are asked for at once, and 64 of an answer are taken"):
        encode(load_provider("nanogpt"), asked, base_url="http://h", api_key=None)


def test_nanogpt_cost_and_balance() -> None:
    """Pictures, the provider's own cost, and the balance."""
    got = answer(
        "nanogpt", "createImage", {"created": 9, "data": [{"b64_json": "AA"}, {"url": "http://x"}], "cost": 1, "remainingBalance": 2.5}
    )
    assert [(p.index, p.base64, p.url, p.place) for p in got.pictures] == [(0, "AA", None, "/data/0"), (1, None, "http://x", "/data/1")]
    assert (got.cost_usd, got.balance_usd, got.created, got.problem) == (1.0, 2.5, 9, None)


def test_nebul_echoes_and_usage() -> None:
    """Echoed fields by meaning; a null url is no url; usage without completion tokens."""
    got = answer(
        "nebul",
        "createImage",
        {"data": [{"b64_json": "AA", "url": None}], "size": "auto", "usage": {"prompt_tokens": 1, "total_tokens": 1}},
    )
    assert got.echoes["size"] == "auto"
    assert got.pictures[0].url is None
    assert got.usage == Usage(1, None, 1)


def test_nim_seed_and_finish() -> None:
    """An artifact's own seed and finish reason."""
    got = answer("nvidia-nim-image", "generateImage", {"artifacts": [{"base64": "AA", "finishReason": "SUCCESS", "seed": 4}]})
    assert (got.pictures[0].seed, got.pictures[0].finish) == (4, "SUCCESS")


def test_relay_lists_of_strings() -> None:
    """Items that are the picture themselves: base64 on one operation, addresses on another."""
    assert answer("opengpu-relay", "generateFlux", {"images": ["AA"]}).pictures[0].base64 == "AA"
    assert answer("opengpu-relay", "generateGptImage", {"images": ["http://x"]}).pictures[0].url == "http://x"
    assert answer("opengpu-relay", "generateQwen", {"urls": ["http://x"]}).pictures[0].place == "/urls/0"


def test_one_place_for_addresses_and_base64() -> None:
    """A provider that puts either into the same place is told apart by the scheme."""
    provider = load_provider("opengpu-relay")
    either = ResponseMap(pictures="/images/*", base64="", url="")
    operations = {
        **provider.profile.operations,
        "generateFlux": provider.operation_profile("generateFlux").model_copy(update={"response": either}),
    }
    provider = replace(provider, profile=provider.profile.model_copy(update={"operations": operations}))
    body = json.dumps({"images": ["https://h/a.png", "iVBORw0KGgo=", "data:image/png;base64,iVBORw0KGgo="]}).encode()
    pictures = decode(provider, "generateFlux", WireResponse(200, (), body)).pictures
    assert [(p.url, p.base64) for p in pictures] == [
        ("https://h/a.png", None),
        (None, "iVBORw0KGgo="),
        (None, "data:image/png;base64,iVBORw0KGgo="),
    ]


@pytest.mark.parametrize("name", ["task_id", "task_address"])
def test_relay_tasks(name: str) -> None:
    """202 and polls carry a task, under either name; a finished one's result is the sync body."""
    accepted = answer("opengpu-relay", "generateFlux", {name: "0x1", "status": "queued", "poll_url": "/v2/tasks/0x1"}, status=202)
    assert accepted.task is not None
    assert (accepted.task.reference, accepted.task.state, accepted.task.poll_url) == ("0x1", "queued", "/v2/tasks/0x1")
    polled = answer("opengpu-relay", "getTask", {name: "0x1", "status": "completed", "result": {"images": ["AA"]}})
    assert polled.task is not None
    result = decode_body(load_provider("opengpu-relay"), "generateFlux", polled.task.result)
    assert result.pictures[0].base64 == "AA"


def test_vision_text() -> None:
    """The first choice's text and why it ended."""
    got = answer(
        "nvidia-nim-vision", "createVisionChatCompletion", {"choices": [{"message": {"content": "a boat"}, "finish_reason": "stop"}]}
    )
    assert (got.text, got.finish_reason) == ("a boat", "stop")


def test_errors_in_the_documented_shape_and_in_others() -> None:
    """The documented place comes first; common places serve for gateways in between."""
    documented = answer("nanogpt", "createImage", {"error": 400, "message": "bad size"}, status=400)
    assert (documented.error_message, documented.error_code) == ("bad size", 400)
    gateway = answer("nanogpt", "createImage", {"detail": "no route"}, status=404)
    assert gateway.error_message == "no route"
    assert answer("nanogpt", "createImage", b"<html>", status=502).problem == "the body is no valid JSON"


def test_an_errors_words_are_read_to_an_end() -> None:
    """Of megabytes of words the beginning stands for them, in every place that an error has; a look for words about content is bounded too."""
    most, long = limits().error_chars, "x" * 3_000_000
    for body in ({"message": long}, {"error": {"message": long}}, {"message": "no", "code": long, "error": long}):
        refused = answer("nanogpt", "createImage", body, status=400)
        assert all(len(said) < most + 100 for said in (refused.error_message, refused.error_code) if isinstance(said, str))
    assert not speaks_of_content(long + " content policy")
    ended = answer("opengpu-relay", "getTask", {"status": long, "error": long})
    assert ended.task is not None
    assert len(ended.task.state or "") < most + 100


@pytest.mark.parametrize("body", [b"", b"[1", b'{"a": NaN}', b"\xff\xfe", b"[" * 100_000])
def test_what_is_no_json_says_so(body: bytes) -> None:
    """No body makes decode raise."""
    got = answer("nanogpt", "createImage", body)
    assert got.json is None
    assert got.problem is not None


def test_numbers_beyond_doubles_are_json() -> None:
    """1e999 is valid JSON and must not be called a broken body."""
    assert answer("nanogpt", "createImage", b'{"created": 1e999, "data": []}').problem is None


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["data", "images", "urls", "artifacts", "choices", "usage", "url"]), inner)
    ),
    max_leaves=8,
)


@settings(max_examples=80, deadline=None)
@given(json_values, st.sampled_from([200, 202, 400, 500]))
def test_decode_never_raises(body: Any, status: int) -> None:
    """Any JSON at any status becomes an answer, for every operation."""
    for name in bundled_ids():
        for operation in load_provider(name).profile.operations:
            assert answer(name, operation, body, status).status == status


def test_retry_after_takes_seconds_and_dates() -> None:
    """A number of seconds, a date against the Date header or the clock, and nothing for nonsense."""
    assert retry_after("12") == 12.0
    assert retry_after("Fri, 20 Nov 2026 10:00:30 GMT", "Fri, 20 Nov 2026 10:00:00 GMT") == 30.0
    assert retry_after("Fri, 20 Nov 2026 10:00:30 GMT", None, datetime(2026, 11, 20, 10, 0, 20, tzinfo=UTC)) == 10.0
    assert retry_after("Fri, 20 Nov 2026 09:00:00 GMT", "Fri, 20 Nov 2026 10:00:00 GMT") == 0.0
    for nonsense in (None, "soon", "-1", "1.5", "٣"):
        assert retry_after(nonsense, "Fri, 20 Nov 2026 10:00:00 GMT") is None


@pytest.mark.parametrize(
    ("message", "account", "content"),
    [
        ("You exceeded your current quota, please check your plan and billing details.", True, False),
        ("insufficient_quota", True, False),
        ("Insufficient balance. Please add credits.", True, False),
        ("Not enough funds", True, False),
        ("Your organization has been suspended", True, False),
        ("insufficient permissions to use this model", False, False),
        ("this key may not use the model flux-pro", False, False),
        ("Your request was rejected as a result of our safety system.", False, True),
        ("content_policy_violation", False, True),
        ("The prompt was flagged by moderation", False, True),
        ("NSFW content detected", False, True),
        ("safety_tolerance must be at most 6", False, False),
        ("safety-tolerance: Input should be less than or equal to 6", False, False),
        ("size must be one of 256x256", False, False),
        (None, False, False),
    ],
)
def test_what_an_error_is_about(message: str | None, account: bool, content: bool) -> None:
    """The account, the content, or neither: check, load users and tasks read it alike."""
    assert (speaks_of_account(message), speaks_of_content(message)) == (account, content)


@pytest.mark.parametrize(
    ("finish", "held"),
    [
        ("CONTENT_FILTERED", True),
        ("SAFETY", True),
        ("IMAGE_SAFETY", True),
        ("blocked", True),
        ("SUCCESS", False),
        ("stop", False),
        (None, False),
    ],
)
def test_a_picture_that_was_withheld(finish: str | None, held: bool) -> None:
    """The words that services put beside a picture that they do not show."""
    assert withheld(finish) is held


@pytest.mark.parametrize(
    ("body", "is_task"),
    [
        ({"sdGenerationJob": {}}, True),
        ({"sdGenerationJob": {"generationId": "g1"}}, True),
        ({"error": "no credit"}, False),
        ({}, False),
        ([], False),
    ],
)
def test_a_task_without_a_reference_is_one_all_the_same(body: Any, *, is_task: bool) -> None:
    """Where every request becomes a task, the documented status says so, unless the body is an error: that a reference lacks is async.reference's."""
    task = answer("leonardo", "createGeneration", body).task
    assert (task is not None) is is_task
    assert task is None or task.reference == body["sdGenerationJob"].get("generationId")


ENVELOPE = str(Path(__file__).parents[2] / "fixtures" / "ways" / "envelope")


@pytest.mark.parametrize(
    ("said", "status"),
    [
        ({"status_code": 0, "status_msg": "success"}, 200),
        ({"status_code": "0"}, 200),
        ({}, 200),
        ({"status_code": 1004, "status_msg": "login fail"}, 401),
        ({"status_code": 1002}, 429),
        ({"status_code": 503}, 503),
        ({"status_code": 2049}, 400),
        ({"status_code": False}, 400),
        ({"status_code": None}, 400),
    ],
)
def test_an_error_in_a_success_stands_for_a_status(said: dict[str, Any], status: int) -> None:
    """By the profile's words, else by a code that is a status itself, else for 400; a body without the place is what its status says."""
    got = answer(
        ENVELOPE, "makeImage", {"id": "1", "data": {"image_urls": ["https://h/1"]}, "base_resp": said}, headers=(("retry-after", "7"),)
    )
    assert (got.status, got.sent_as) == (status, None if status == 200 else 200)
    assert len(got.pictures) == (status == 200)
    assert got.error_message == (said.get("status_msg") if status != 200 else None)
    assert got.retry_after_s == (None if status == 200 else 7.0)


def test_an_error_of_its_own_place_is_told_by_anything_that_stands_there() -> None:
    """Without values of a success: null, false, 0 and what is empty are no error."""
    errors = Errors(message=("/error/message",), success=Success(at="/error"))
    for body in ({}, {"error": None}, {"error": ""}, {"error": {}}, {"error": False}):
        assert stood_for(errors, 200, body) == 200
    assert stood_for(errors, 200, {"error": {"message": "no"}}) == 400
    assert stood_for(errors, 200, {"error": "no"}) == 400
    assert stood_for(errors, 404, {}) == 404
