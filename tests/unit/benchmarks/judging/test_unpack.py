"""Large answers are taken apart without changing what they say: the skeleton with its marks put back is the body."""

from __future__ import annotations

import json
import random
from typing import Any

import msgspec
import pytest

from testcard.benchmarks.judging.judge import MANY_BYTES, unpacked
from testcard.harness.wire.pictures import encode_base64

BIG = random.Random(1).randbytes(100_000)
TEXT = encode_base64(BIG)


def put_back(value: Any, data: dict[str, bytes], texts: dict[bytes, str]) -> Any:
    """The parsed skeleton with each mark replaced by the string that it stands for."""
    if isinstance(value, dict):
        return {name: put_back(each, data, texts) for name, each in value.items()}
    if isinstance(value, list):
        return [put_back(each, data, texts) for each in value]
    return texts[data[value]] if isinstance(value, str) and value in data else value


@pytest.mark.parametrize(
    ("value", "marks"),
    [
        ({"data": [{"b64_json": TEXT}], "cost": 0.5}, 1),
        ({"data": [{"b64_json": TEXT}, {"b64_json": TEXT[: 4 * MANY_BYTES]}]}, 2),
        ({"images": [TEXT], 'a "quoted" word': 'x"' * 50}, 1),
        ({"url": "data:image/png;base64," + TEXT}, 1),
        ({"text": TEXT + " "}, 0),
        ({"text": "\n".join(TEXT[at : at + 76] for at in range(0, len(TEXT), 76))}, 0),
        ({"text": "data:image/png," + TEXT}, 0),
        ({"text": '"' + TEXT}, None),
        ({"text": TEXT + '"'}, 0),
        ({"text": "é" + TEXT}, 0),
        ({"text": "a" * (4 * MANY_BYTES + 1)}, 0),  # letters of base64, but of no length that base64 has
        ({"numbers": list(range(30_000))}, 0),
        ({"data": [{"b64_json": TEXT[:-4]}] * 3, "more": [""] * 2000}, 3),
    ],
)
def test_the_marks_put_back_give_the_body(value: Any, marks: int | None) -> None:
    """Every value, escapes and lengths included; the number of strings taken out is the expected one."""
    body = json.dumps(value, ensure_ascii=False).encode()
    skeleton, data = unpacked(body)
    assert marks is None or len(data) == marks
    if not data:
        assert skeleton is body
        return
    assert len(skeleton) < len(body) / 2 or "more" in value
    texts = {each: encode_base64(each) for each in data.values()}
    if "url" in value:
        texts = {each: "data:image/png;base64," + text for each, text in texts.items()}
    found = msgspec.json.decode(skeleton)
    if marks is not None:
        assert put_back(found, data, texts) == value
    else:  # within a longer string a mark stands for nothing: nobody who looks for a picture finds one
        assert not set(data) & {found["text"]}


@pytest.mark.parametrize("bad", [b'{"a": "%s"', b'{"a" "%s"}', b'{"a": %s}', b'"%s', b'{"a": "%s",}', b'{"a": "%s" "b"}'])
def test_what_is_no_json_stays_none(bad: bytes) -> None:
    """Taking a string out mends nothing."""
    skeleton, _ = unpacked(bad % TEXT.encode())
    with pytest.raises(msgspec.DecodeError):
        msgspec.json.decode(skeleton)


def test_small_bodies_are_left_alone() -> None:
    """Below 64 KB parsing costs next to nothing."""
    body = json.dumps({"b64_json": encode_base64(BIG[:20_000])}).encode()
    assert unpacked(body) == (body, {})
