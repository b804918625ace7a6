"""An answer is bounded before it is parsed: its head, its pace, its length, what it unpacks to."""

from __future__ import annotations

import json
import zlib
from contextlib import suppress

import msgspec
import pytest

from testcard.harness.intake.limits import IntakeLimits
from testcard.harness.intake.shown import as_output, as_text, as_words, words_of
from testcard.harness.intake.wire_bytes import Decoding, Meter, TooLate, TooMuch, Unreadable

SMALL = IntakeLimits(status_line_bytes=100, header_bytes=2000, header_count=20, interim_count=3, body_bytes=10_000)


def fed(data: bytes, *, by: int = 1, most: IntakeLimits = SMALL) -> str | None:
    """Which limit these bytes went beyond, handed over so many at a time."""
    meter = Meter(most, 1e9)
    with suppress(TooMuch):
        for start in range(0, len(data), by):
            meter.heard(data[start : start + by], start * 1e-6)
    return meter.cut


HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


@pytest.mark.parametrize("by", [1, 7, 100_000])
@pytest.mark.parametrize(
    ("data", "said"),
    [
        (HEAD, None),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 3 + HEAD, None),
        (b"HTTP/1.1 103 Early\r\nLink: </a>\r\n\r\n" * 4 + HEAD, "preceded by more than 3 interim answers"),
        (b"HTTP/1.1 200 " + b"O" * 200, "status line of more than 100 bytes"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 30, "more than 20 header fields"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"y" * 3000, "head of more than 2,000 bytes"),
        (b"HTTP/1.1 101 Switching\r\n\r\n" + b"X: y\r\n" * 30, None),
        (b"\0" * 200, "status line"),
        (HEAD + b" " * 20_000, "longer than 10,000 bytes"),
    ],
)
def test_a_head_has_limits(data: bytes, said: str | None, by: int) -> None:
    """However its bytes come, the same is said of them; a body is not looked at, only counted."""
    found = fed(data, by=by)
    assert (found is None) if said is None else (found is not None and said in found)


def test_time_is_bounded_always() -> None:
    """The next bytes are waited for no longer than the whole answer, and bytes that trickle are no answer."""
    meter = Meter(IntakeLimits(between_bytes_s=5, window_s=10, bytes_per_s=2), until_s=100.0)
    assert (meter.wait_s(0.0), meter.wait_s(98.0)) == (5, 2.0)
    with pytest.raises(TooLate):
        meter.wait_s(100.0)
    meter.heard(HEAD, 0.0)
    meter.heard(b"x" * 30, 9.0)
    meter.heard(b"x", 11.0)  # 31 bytes in 11 s
    with pytest.raises(TooMuch, match="too slowly"):
        meter.heard(b"x", 22.0)


def packed(data: bytes, wbits: int = 31) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, wbits)
    return packer.compress(data) + packer.flush()


def unpacked(codings: str, data: bytes, by: int, most: IntakeLimits = SMALL) -> bytes:
    decoding = Decoding(codings, most)
    found = b"".join(piece for start in range(0, len(data), by) for piece in decoding.feed(data[start : start + by]))
    decoding.end()
    return found


TEXT = b"a picture says more " * 300


@pytest.mark.parametrize("by", [1, 13, 100_000])
@pytest.mark.parametrize(
    ("codings", "data"),
    [
        ("", TEXT),
        ("identity", TEXT),
        ("gzip", packed(TEXT)),
        ("X-GZip", packed(TEXT[:3000]) + packed(TEXT[3000:])),
        ("deflate", packed(TEXT, 15)),
        ("gzip, gzip", packed(packed(TEXT))),
        ("deflate, gzip", packed(packed(TEXT, 15))),
        ("gzip", packed(TEXT) + b"rubbish behind it"),
    ],
)
def test_codings_are_undone_however_they_come(codings: str, data: bytes, by: int) -> None:
    """Also one over the other, members behind each other, and byte by byte."""
    assert unpacked(codings, data, by) == TEXT


def test_bare_deflate_is_understood() -> None:
    """Some servers call that deflate."""
    assert unpacked("deflate", packed(TEXT, -15), 100_000) == TEXT


@pytest.mark.parametrize(
    ("codings", "data"),
    [
        ("gzip", packed(bytes(10_000_000))),
        ("gzip, gzip", packed(packed(bytes(10_000_000)))),
        ("deflate", packed(bytes(10_000_000), 15)),
        ("gzip", packed(bytes(5000)) * 10),
    ],
)
def test_a_bomb_is_cut(codings: str, data: bytes) -> None:
    """What a few bytes unpack to is counted while they are unpacked."""
    with pytest.raises(TooMuch, match=r"longer than 10,000 bytes; the rest was not read"):
        unpacked(codings, data, 4096)


@pytest.mark.parametrize(
    ("codings", "data", "said"),
    [
        ("br", b"x", "coded as 'br', which was not asked for"),
        ("gzip, gzip, gzip", b"x", "more than 2 content codings"),
        (", ".join(["gzip"] * 5000), b"x", "more than 2 content codings"),
        ("gzip", b"not gzip", "not coded as it says"),
        ("deflate", b"\xff\xff\xff\xff", "not coded as it says"),
        ("gzip", packed(TEXT)[:-9], "ends too early"),
    ],
)
def test_what_is_not_coded_as_it_says(codings: str, data: bytes, said: str) -> None:
    """It is the answer's mistake, told in words."""
    with pytest.raises(Unreadable, match=said):
        unpacked(codings, data, 100_000)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, ümlaut, 漢字 and\ttabs\n", "plain, ümlaut, 漢字 and\ttabs\n"),
        ("\x1b[2J\x9b31m", "\\x1b[2J\\x9b31m"),
        ("a\x00b\x7f\r", "a\\x00b\\x7f\\x0d"),
        ("\u202egnp.exe\u2066", "\\u202egnp.exe\\u2066"),
        ("\ud800", "\\ud800"),
    ],
)
def test_a_strangers_text_acts_on_nobody(text: str, shown: str) -> None:
    """Controls of both kinds, marks of direction and halves of letters are spelt out; what we draw with goes through at the end."""
    assert as_text(text) == shown
    assert as_output("\x1b[1mbold\x1b[0m\r") == "\x1b[1mbold\x1b[0m\r"
    assert "\x9b" not in as_output(text)
    assert "\u202e" not in as_output(text)


def test_json_that_is_written_stays_json() -> None:
    """A program that reads what `--json` prints gets each character that was meant, whatever a terminal is spared."""
    value = "".join(map(chr, (*range(0x20, 0x100), 0x61C, 0x200E, 0x2028, 0x202E, 0xFEFF, 0x1F600))) + "\\\x9b"
    for written in (json.dumps(value, ensure_ascii=False), msgspec.json.encode(value).decode()):
        shown = as_output(written)
        assert "\x9b" not in shown
        assert json.loads(shown) == value


def test_an_errors_words_have_an_end() -> None:
    """Of a message of megabytes the beginning is read, and how much was cut is said; of an error that is no text, its names and texts."""
    most = IntakeLimits().error_chars
    assert as_words("no\x1b[m") == "no\\x1b[m"
    assert as_words("x" * (most + 1500)) == "x" * most + "… (1,500 characters more)"
    assert words_of({"code": 5, "why": ["a filter", None, {"kind": "nsfw"}]}) == "code 5 why a filter kind nsfw"
    assert len(words_of([{"message": "y" * 10**7}, "never read"])) <= most
    deep: object = "end"
    for _ in range(5000):
        deep = [deep]
    assert words_of(deep) == "end"
