"""What a check records of the pictures that came: where they stand, so that nobody has to search bodies for them."""

from __future__ import annotations

import asyncio
import json
import time

import pytest

from testcard.harness.check.running.runner import CheckSettings, carry_out
from testcard.harness.extras import resolve
from testcard.harness.pricing import Pricing
from testcard.harness.runs.records import Exchange
from testcard.harness.selftest.mock_runs import API_KEY, BASE_URL, FASTER, POLL_INTERVAL_S, InProcess, Memory, full_plan, narrowed
from testcard.harness.wire.pictures import inspect, lenient_base64
from testcard.specs.loader import load_provider
from testcard.specs.pointers import at


@pytest.mark.parametrize(
    ("name", "operations", "rules"),
    [
        ("nanogpt", ("createImage",), ("delivery.as-asked", "image.count")),
        ("opengpu-relay", ("generateQwen", "generateFlux"), ("async.result", "image.count")),
    ],
)
def test_every_picture_of_a_check_is_found_where_its_record_says(name: str, operations: tuple[str, ...], rules: tuple[str, ...]) -> None:
    """Base64, addresses, results of tasks and the files behind addresses: each place holds a picture, and no picture is left out."""
    plan = narrowed(full_plan(load_provider(name), 0, cases=False), operations, rules)
    memory = Memory()
    app = resolve("testcard.mocks.app:create_app")([plan.provider], api_key=API_KEY, timer=lambda: time.monotonic() * FASTER)
    settings = CheckSettings(BASE_URL, API_KEY, concurrency=4, poll_interval_s=POLL_INTERVAL_S, patience_s=0.0)
    asyncio.run(carry_out(plan, settings, Pricing(plan.provider, mock=True), memory, transport=InProcess(app)))
    spellings = set()
    fetched = {record.asked["url"] for record in memory.exchanges if record.source == "fetch"}
    for record in memory.exchanges:
        assert record.pictures is not None
        for one in record.pictures:
            spellings.add((record.source, one.spelling))
            content = _content(record, memory, one.place)
            if one.spelling == "url":
                assert content.decode() in fetched
            else:
                assert inspect(content if one.spelling == "bytes" else lenient_base64(content.decode()) or b"").problem is None
        if record.source == "probe" and record.response is not None and record.response.status == 200:
            assert len(record.pictures) == record.images
    expected = {
        "nanogpt": {("probe", "base64"), ("probe", "url"), ("fetch", "bytes")},
        "opengpu-relay": {("probe", "base64"), ("probe", "url"), ("poll", "base64"), ("poll", "url"), ("fetch", "bytes")},
    }
    assert spellings == expected[name]


def _content(record: Exchange, memory: Memory, place: str) -> bytes:
    assert record.response is not None
    body = memory.bytes_of(record.response.body)
    if not place:
        return body
    text = at(json.loads(body), place)
    assert isinstance(text, str)
    return text.encode()
