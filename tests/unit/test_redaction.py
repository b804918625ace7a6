"""The key never reaches a run folder."""

from __future__ import annotations

import base64
import html
import io
import json
import time
from collections.abc import Callable
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from testcard.harness import redaction
from testcard.harness.cli.outgoing import Outgoing
from testcard.harness.redaction import Redactor, TextInPieces, keep_secret, redacted, redacted_bytes
from testcard.specs.loader import load_provider

KEY = 'sk-"se/cret"+1234567890'
AUTH = load_provider("nanogpt").profile.auth
RELAY_AUTH = load_provider("opengpu-relay").profile.auth


def test_every_spelling_is_replaced() -> None:
    """Plain, percent-encoded, JSON-escaped and slash-escaped keys are replaced in text and bytes."""
    redact = Redactor(KEY, AUTH)
    for spelling in (KEY, quote(KEY, safe=""), json.dumps(KEY)[1:-1], KEY.replace("/", "\\/")):
        assert redact.text(f"a {spelling} b") == "a $TESTCARD_API_KEY b"
        assert redact.content(f"a {spelling} b".encode()) == b"a $TESTCARD_API_KEY b"


def test_request_headers_carry_the_placeholder() -> None:
    """The header of the key keeps its form, so that a curl made of it works; others are cleaned too."""
    headers = (("authorization", f"Bearer {KEY}"), ("x-other", f"it is {KEY}"), ("accept", "application/json"))
    assert Redactor(KEY, AUTH).request_headers(headers) == [
        ("authorization", "Bearer $TESTCARD_API_KEY"),
        ("x-other", "it is $TESTCARD_API_KEY"),
        ("accept", "application/json"),
    ]
    assert Redactor(KEY, RELAY_AUTH).request_headers((("x-api-key", KEY),)) == [("x-api-key", "$TESTCARD_API_KEY")]


def shows_key(redact: Redactor, headers: list[tuple[str, str]], body: bytes) -> bool:
    """Whether an answer counts as one that repeats the key."""
    return redact.body(body)[1] or redact.show_key(headers)


def test_an_echo_is_seen() -> None:
    """A response that repeats the key, in a header or the body, is marked."""
    redact = Redactor("sk-1234567890abcdef", AUTH)
    assert shows_key(redact, [("x-debug", "key sk-1234567890abcdef")], b"")
    assert shows_key(redact, [], b'{"key": "sk-1234567890abcdef"}')
    assert not shows_key(redact, [("x", "y")], b"nothing")


def test_a_short_key_spoils_no_picture() -> None:
    """A key such as "test" is part of words and of base64: it is replaced, and seen as an echo, only where it stands by itself."""
    redact = Redactor("test", AUTH)
    picture = b'{"b64_json":"iVBORtestw0KGgotest","note":"the latest"}'
    assert redact.content(picture) == picture
    assert not shows_key(redact, [("x-latest", "attested")], picture)
    for leak in ('{"key":"test"}', "Bearer test", "?key=test&x=1", "no such key: test."):
        assert "test" not in redact.text(leak)
        assert shows_key(redact, [], leak.encode())
        assert shows_key(redact, [("x-debug", leak)], b"")


@pytest.mark.parametrize("key", ["x", "k1", "none"])
def test_a_short_key_spoils_no_picture_that_is_a_body(key: str) -> None:
    """Its bytes hold any few letters by chance, with anything beside them; what is damaged would be called the target's fault."""
    redact = Redactor(key, AUTH)
    for begin in (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"RIFF\0\0\0\0WEBP"):
        body = begin + b"\0" + key.encode() + b"\xfe"
        assert redact.content(body) == body
        assert redact.body(body) == (body, False)


def test_the_public_default_is_an_ordinary_word() -> None:
    """The mocks' default key is documented: bodies that say testcard stay as they are, the header is cleaned all the same."""
    redact = Redactor("testcard", AUTH)
    assert redact.content(b"http://h/_testcard/files/1.png") == b"http://h/_testcard/files/1.png"
    assert not shows_key(redact, [], b"testcard")
    assert redact.request_headers((("authorization", "Bearer testcard"),)) == [("authorization", "Bearer $TESTCARD_API_KEY")]


def test_no_key_nothing_to_hide() -> None:
    """Without a key everything stays."""
    assert Redactor(None, AUTH).text("Bearer abc") == "Bearer abc"
    assert not shows_key(Redactor(None, AUTH), [("a", "b")], b"c")


def test_encoded_and_broken_keys_are_replaced() -> None:
    """Entities, escapes of every character, twice encoded, base64 at each offset, hexadecimal, UTF-16, broken over lines."""
    redact = Redactor(KEY, AUTH)
    whole = (
        html.escape(KEY),
        "".join(f"&#{ord(letter)};" for letter in KEY),
        "".join(f"&#x{ord(letter):x};" for letter in KEY),
        "".join(f"\\u{ord(letter):04X}" for letter in KEY),
        quote(quote(KEY, safe=""), safe="").lower(),
        KEY.encode().hex().upper(),
        KEY[:9] + "\r\n\t" + KEY[9:],
        KEY[:9] + "=\n" + KEY[9:],
        json.dumps(KEY[:9] + "\n" + KEY[9:])[1:-1],
    )
    for spelling in whole:
        assert redact.text(f"a {spelling} b") == "a $TESTCARD_API_KEY b"
        assert redact.content(f"a {spelling} b".encode()) == b"a $TESTCARD_API_KEY b"
    for before in ("", "u", "us", "user:"):
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            text = redact.text(encode(f"{before}{KEY}after".encode()).decode())
            assert "$TESTCARD_API_KEY" in text
            assert base64.b64encode(KEY.encode()[3:-3]).decode()[:20] not in text
    for name in ("utf-16-le", "utf-16-be"):
        assert redact.content(KEY.encode(name)) == b"$TESTCARD_API_KEY"


def test_a_cut_key_is_replaced() -> None:
    """Where a text was cut in the middle of a key, its beginning goes too; in the middle of a text it may be a word."""
    redact = Redactor(KEY, AUTH)
    assert redact.text(f"no such key: {KEY[:12]}…") == "no such key: $TESTCARD_API_KEY…"
    assert redact.text(f"no such key: {KEY[:-1]}") == "no such key: $TESTCARD_API_KEY"
    assert redact.text(f"{KEY[:12]} is a word") == f"{KEY[:12]} is a word"


def test_what_leaves_holds_no_key_that_was_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every key that was read goes, the mocks' public one stays; a stream sees a key that comes in pieces."""
    monkeypatch.setattr(redaction, "_secrets", {})
    assert redacted(KEY) == KEY
    for key in (KEY, None, "testcard", "another-key-of-mine-123"):
        keep_secret(key)
    assert redacted(f"{KEY} another-key-of-mine-123 testcard") == "$TESTCARD_API_KEY $TESTCARD_API_KEY testcard"
    assert redacted_bytes(KEY.encode()) == b"$TESTCARD_API_KEY"
    written = io.StringIO()
    stream = Outgoing(written)
    for piece in ("it is ", KEY[:5], KEY[5:9], KEY[9:], " and ", KEY[:6], "ful end ", KEY[:7]):
        assert stream.write(piece) == len(piece)
    stream.release()
    assert written.getvalue() == f"it is $TESTCARD_API_KEY and {KEY[:6]}ful end {KEY[:7]}"


@pytest.mark.parametrize("size", [1, 2, 3, 7, 500])
@pytest.mark.parametrize(
    "spell",
    [
        str,
        str.swapcase,
        lambda key: base64.b64encode(key.encode()).decode(),
        lambda key: key.encode().hex(),
        lambda key: quote(key, safe=""),
        lambda key: "".join(f"\\u{ord(letter):04x}" for letter in key),
        lambda key: "".join(f"&#{ord(letter)};" for letter in key),
        lambda key: f"{key[:9]}\n  {key[9:]}",
        "\n".join,
        " ".join,
    ],
)
def test_a_key_that_comes_in_pieces_is_not_shown(monkeypatch: pytest.MonkeyPatch, spell: Callable[[str], str], size: int) -> None:
    """A stream of text may bring it letter by letter; what is no key is shown word by word."""
    monkeypatch.setattr(redaction, "_secrets", {KEY: None})
    for before in ("It is ", "x" * 4090, "x" * 9000 + " "):
        shown, said = TextInPieces(), f"{before}{spell(KEY)} and a boat"
        came = [shown.add(said[begin : begin + size]) for begin in range(0, len(said), size)]
        text = "".join([*came, shown.end()])
        assert spell(KEY) not in text
        assert spell(KEY)[: len(spell(KEY)) // 2] not in text
        assert text.startswith(before.rstrip("x"))
        assert text.endswith(" and a boat")


def test_text_in_pieces_is_shown_word_by_word(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is lost, and hardly anything waits."""
    monkeypatch.setattr(redaction, "_secrets", {KEY: None})
    shown = TextInPieces()
    came = [shown.add(piece) for piece in ("A bo", "at on the", " sea", "s", " is", " ", "小船")]
    assert came == ["A ", "boat on ", "the ", "", "sea", "s i", "s 小船"]
    assert "".join([*came, shown.end()]) == "A boat on the seas is 小船"


def test_a_key_encoded_in_two_ways_takes_its_piece_with_it() -> None:
    """What no pattern finds, a server that encodes what it has encoded, goes with the piece of text that holds it; the rest stays."""
    redact = Redactor(KEY, AUTH)
    text = f"see {quote(html.escape(KEY), safe='')} and this"
    assert redact.text(text) == "see $TESTCARD_API_KEY and this"
    assert (
        redact.content(b'{"note": "' + quote(json.dumps(KEY)[1:-1], safe="").encode() + b'", "n": 1}')
        == b'{"note": "$TESTCARD_API_KEY", "n": 1}'
    )


@given(
    st.lists(
        st.sampled_from(
            [
                b"&amp;#65;",
                b"&sol;",
                b"%2525%2541",
                b"%41",
                b"\\\\\\u0041",
                b"\\n",
                b"\\\\r",
                b"\\x4",
                b"&#x41",
                b"plain",
                b"%",
                b"&",
                b"\\",
            ]
        ),
        max_size=40,
    ),
    st.integers(70, 90),
)
def test_escapes_are_undone_a_piece_at_a_time(parts: list[bytes], size: int) -> None:
    """As they are in one go, wherever a piece ends."""
    content = b"".join(parts)
    whole = redaction._bare(content)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(redaction, "_PIECE_BYTES", size)
        assert redaction._bare(content) == whole


def test_a_key_across_windows_of_a_large_body_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A large body is looked through a window at a time: at each border, and in each spelling, the key is found all the same."""
    monkeypatch.setattr(redaction, "_WINDOW_BYTES", 4096)
    monkeypatch.setattr(redaction, "_OVERLAP_BYTES", 512)
    redact = Redactor(KEY, AUTH)
    for spelled in (KEY, "".join(f"%{ord(letter):02X}" for letter in KEY), "\r\n  ".join(KEY)):
        for begin in range(4060, 4640, 29):
            cleaned, echoed = redact.body(b"x" * begin + b" " + spelled.encode() + b" " + b"y" * 9000)
            assert echoed
            assert cleaned == b"x" * begin + b" $TESTCARD_API_KEY " + b"y" * 9000


@pytest.mark.parametrize(
    "spell",
    [
        lambda key: base64.b32encode(f"user:{key}".encode()).decode(),
        lambda key: base64.b32encode(key.encode()).decode().lower(),
        lambda key: base64.b85encode(f"xy{key}".encode()).decode(),
        lambda key: base64.b64encode(base64.b64encode(f"user:{key}".encode())).decode(),
        lambda key: base64.b64encode(key.encode("utf-16-be")).decode(),
        lambda key: key.encode().hex(":").upper(),
        lambda key: ", ".join(hex(code) for code in key.encode()),
        lambda key: str(list(key.encode())),
        lambda key: "".join(f"%{code:02X}" for code in key.encode()).swapcase(),
        lambda key: "".join(f"%00%{code:02x}" for code in key.encode()),
        lambda key: "".join(f"%u{code:04x}" for code in key.encode()),
        lambda key: "".join(f"\\{code:03o}" for code in key.encode()),
        lambda key: "".join(f"\\{code:06x}" for code in key.encode()),
        lambda key: "".join(f"\\u{{{code:x}}}" for code in key.encode()),
        lambda key: "".join(chr(code + 0xFEE0) for code in key.encode()),
        lambda key: "\u200b".join(key),
        lambda key: "<!-- -->".join(key),
        lambda key: "\x1b[1m".join(key),
        str.upper,
    ],
)
@pytest.mark.parametrize("filled", [0, 400_000])
def test_a_rare_spelling_is_replaced_too(spell: Callable[[str], str], filled: int) -> None:
    """Also beside a picture."""
    key = "sk-hostile-0123456789-abcdefghij"
    redact, text = Redactor(key, AUTH), spell(key)
    body = json.dumps({"picture": "A" * filled, "note": f"no such key {text}", "more": 1}, ensure_ascii=False)
    assert text not in redact.text(body)
    assert text.encode() not in redact.content(body.encode())
    assert redact.text(body).startswith(body[: filled + 10])


RARE = {
    "other case": str.swapcase,
    "base32": lambda key: base64.b32encode(key.encode()).decode(),
    "hexadecimal with signs": lambda key: key.encode().hex("-"),
    "unseen signs between": "\u200b".join,
    "control characters between": "\x0b".join,
    "percent signs over escapes": lambda key: "".join(f"%5C%75{code:04x}" for code in key.encode()),
}


@pytest.mark.parametrize("spelling", RARE)
@pytest.mark.parametrize(
    "around",
    [
        pytest.param(lambda said: '{"a":[' + '"filler",' * 40_000 + f'"{said}"]}}', id="many short texts"),
        pytest.param(lambda said: '{"message": "' + "lorem ipsum " * 30_000 + said + ' dolor"}', id="one long text"),
        pytest.param(lambda said: "x " * 200_000 + said, id="no text"),
    ],
)
def test_a_rare_spelling_is_replaced_wherever_it_stands_in_a_large_body(spelling: str, around: Callable[[str], str]) -> None:
    """Behind a quarter of a megabyte of words too, and within a second."""
    key = "sk-hostile-0123456789-abcdefghij"
    redact, text = Redactor(key, AUTH), RARE[spelling](key)
    began = time.process_time()
    cleaned = redact.content(around(text).encode())
    assert text.encode() not in cleaned
    assert cleaned.startswith(around("")[:350_000].encode())
    assert time.process_time() - began < 3.0


def test_letters_of_the_other_case_are_found_within_a_picture_too() -> None:
    """The text of a PNG is as its sender wrote it."""
    key = "sk-hostile-0123456789-abcdefghij"
    picture = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 2000 + key.upper().encode() + bytes(500)
    assert key.upper().encode() not in Redactor(key, AUTH).content(picture)


@given(
    st.lists(
        st.sampled_from(
            [
                b"\\u0041",
                b"\\\\x4a",
                b"\\101",
                b"\\u{4A}",
                b"%2541",
                b"%u0041",
                b"&#65;",
                b"&amp;#x41",
                b"&sol;",
                b"&nosuch;",
                b"\\",
                b"%",
                b"&",
                b"A",
                b"\\u004",
            ]
        )
    ),
    st.integers(1, 40),
)
def test_escapes_are_undone_wherever_they_stand_and_are_cut(parts: list[bytes], times: int) -> None:
    """In a body of millions each spelling is found out once; what is undone is what undoing one after another gives."""
    content = b"".join(parts) * times
    for kind in (redaction._ENTITIES, redaction._PERCENTS, redaction._ESCAPES):
        assert kind.undone(content) == kind._one.sub(kind._made, content)


def test_few_spellings_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that spells each letter in another way fills no memory."""
    monkeypatch.setattr(redaction, "_MOST_KNOWN", 3)
    kind = redaction._Escapes(b"%", rb"%([0-9a-f]{2})", redaction._of_digits)
    assert kind.undone(b"%41%42%43%44%45") == b"ABCDE"
    assert len(kind) == 3


ESCAPED = st.lists(
    st.sampled_from(
        [b"%", b"25", b"&", b"amp;", b"#x41;", b"\\", b"\\\\", b"u0041", b"x41", b"101", b"a", b"%u0041", b"lt;", b"{41}", b"u{", b"00"]
    )
    | st.binary(max_size=4),
    max_size=25,
).map(b"".join)


@given(ESCAPED)
@settings(max_examples=300, deadline=None)
def test_few_marks_are_undone_as_many_are(content: bytes) -> None:
    """One by one, or all in one pass: the same comes of it, however escapes lie over each other."""
    undone = []
    for sparse in (0, 1_000_000):
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(redaction, "_SPARSE", sparse)
            undone.append([kind.undone(content) for kind in (redaction._ENTITIES, redaction._PERCENTS, redaction._ESCAPES)])
    assert undone[0] == undone[1]


@pytest.mark.parametrize("run", [b"\\" * 100_000, b"\\\\u" * 30_000, b"%25" * 30_000, b"&amp;" * 20_000, b"%" * 100_000])
def test_a_body_of_nothing_but_signs_of_escapes_is_looked_through(run: bytes) -> None:
    """In one go: tried from each sign with each number of those behind it, a run of backslashes takes hours. The key beside it is found."""
    known = redaction.spellings(KEY)
    for body in (run + KEY.encode() + run, run + b"".join(b"\\\\\\u%04x" % ord(letter) for letter in KEY) + b" " + run):
        assert not known.stand_in(known.without_bytes(body))
        assert known.without_bytes(body) != body
    assert known.without_bytes(run) == run
