"""Event streams read the same wherever the network cuts them."""

from __future__ import annotations

import json
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from testcard.harness.intake.limits import limits
from testcard.harness.wire import sse
from testcard.harness.wire.decode import decode
from testcard.harness.wire.model import WireResponse
from testcard.harness.wire.sse import ChatStream, EventStream, StreamEvent
from testcard.specs.loader import load_provider


def chunk(text: str | None = None, finish: str | None = None, **more: object) -> str:
    delta = {} if text is None else {"content": text}
    return json.dumps({"id": "c1", "choices": [{"delta": delta, "finish_reason": finish}], **more}, ensure_ascii=False)


USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
EVENTS = (("Content-Type", "text/event-stream; charset=utf-8"),)
STREAM = (
    f"\ufeff: hello\r\nid: 1\r\ndata: {chunk('Ein Boot — ')}\r\n\r\ndata: {chunk('🚣 rot')}\n\nevent: note\ndata: {chunk(None, 'stop', usage=USAGE)}\r\r"
    "data: [DONE]\n\n"
).encode()


def read(blocks: list[bytes]) -> list[StreamEvent]:
    stream = EventStream()
    return [event for block in blocks for event in stream.feed(block)]


@pytest.mark.parametrize("cut", range(len(STREAM) + 1))
def test_a_cut_at_any_byte_changes_nothing(cut: int) -> None:
    """Two blocks give the events of one, also when the cut is inside a letter or between CR and LF."""
    assert read([STREAM[:cut], STREAM[cut:]]) == read([STREAM])


def test_single_bytes_change_nothing() -> None:
    """One byte at a time gives the same events."""
    assert read([STREAM[i : i + 1] for i in range(len(STREAM))]) == read([STREAM])


def test_events_are_what_the_standard_says() -> None:
    """Types, ids, comments, several data lines, and a data line without a value."""
    events = read([b"data: a\ndata\ndata:  b\nid: 7\nevent: x\n\n: only a comment\n\ndata: c\n\nid: 8\n\ndata: unfinished"])
    assert events == [StreamEvent("a\n\n b", "x", "7"), StreamEvent("c", "message", "7")]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\n"), min_size=1, max_size=20), max_size=6), st.data()
)
def test_any_pieces_add_up(pieces: list[str], data: st.DataObject) -> None:
    """The text is the pieces joined, however the bytes are cut."""
    body = "".join(f"data: {chunk(piece)}\n\n" for piece in pieces).encode() + b"data: [DONE]\n\n"
    cuts = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=5)))
    blocks = [body[a:b] for a, b in zip([0, *cuts], [*cuts, len(body)], strict=True)]
    chat = ChatStream()
    for event in read(blocks):
        chat.add(event)
    assert (chat.text, chat.done, chat.problem) == ("".join(pieces), True, None)


def test_the_accumulator_keeps_finish_usage_and_ids() -> None:
    """Everything that a rule or a caller asks of a stream."""
    chat = ChatStream()
    pieces = [chat.add(event) for event in read([STREAM])]
    assert pieces == ["Ein Boot — ", "🚣 rot", None, None]
    assert chat.finish_reason == "stop"
    assert chat.usage is not None
    assert chat.usage.total_tokens == 5
    assert chat.ids == ["c1"]


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b"data: {}\n\n", "without [DONE]"),
        (b"data: nope\n\ndata: [DONE]\n\n", "no JSON object"),
        (b'data: {"error": {"message": "too hot"}}\n\n', "too hot"),
        (b"", "without [DONE]"),
    ],
)
def test_a_broken_stream_says_how(body: bytes, problem: str) -> None:
    """The decoded answer of a stream names what is wrong with it."""
    response = WireResponse(200, EVENTS, body)
    answer = decode(load_provider("nvidia-nim-vision"), "createVisionChatCompletion", response)
    assert problem in str(answer.problem)


@pytest.mark.parametrize("rest", [b"", b"data: {}\n\n", b"data: nope\n\n", b"data: half", b'data: {"error": {"message": "no"}}\n\n'])
def test_what_follows_the_end_is_no_part_of_the_answer(rest: bytes) -> None:
    """Whether a client sees it depends on how the bytes came in, and its answer must not; a check tells of it by a rule of its own."""
    body = b'data: {"choices": [{"delta": {"content": "a cat"}}]}\n\ndata: [DONE]\n\n' + rest
    answer = decode(load_provider("nvidia-nim-vision"), "createVisionChatCompletion", WireResponse(200, EVENTS, body))
    assert (answer.problem, answer.text) == (None, "a cat")


def test_a_body_of_line_ends_takes_little_memory() -> None:
    """Of a body that is fed whole, only a piece at a time is taken apart; what stands behind is read all the same."""
    body = b"\r" * 4_000_000 + b":\n" * 150_000 + b"data: 1\n\n"
    tracemalloc.start()
    try:
        assert EventStream().feed(body) == [StreamEvent("1")]
        assert tracemalloc.get_traced_memory()[1] < 12_000_000
    finally:
        tracemalloc.stop()


def test_a_stream_of_lines_without_events_ends() -> None:
    """A million lines that are no event, or all of one, are cut like a million events, and it is said."""
    for line in (b":\n", b"data: x\n", b"nosuch: x\n"):
        stream = EventStream()
        assert stream.feed(line * 10 * limits().sse_events + b"\ndata: 1\n\n") == []
        assert stream.cut == f"the stream has more than {10 * limits().sse_events:,} lines; the rest was not read"


@given(
    st.lists(st.sampled_from([b"\r", b"\n", b"\r\n", b"data: a\n", b"event: b\n", b":c\n", b"id: 1\n", "data: ä\n".encode()]), max_size=30),
    st.integers(1, 9),
)
def test_pieces_make_no_difference(parts: list[bytes], size: int) -> None:
    """However a body is cut, the events are the same."""
    body = b"".join(parts)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sse, "_PIECE_BYTES", size)
        cut = EventStream().feed(body)
    assert cut == EventStream().feed(body)
