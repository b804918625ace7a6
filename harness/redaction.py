"""Keeps keys out of everything that leaves this process: each becomes $TESTCARD_API_KEY, however it is spelled.

Keys are known from the moment they are read (`keep_secret`). What is written to a terminal or to a file passes `redacted` or
`redacted_bytes`; what is recorded of an exchange passes a `Redactor`, which knows the one header that carries the key.

A server may say the key back in any spelling: plain or in capitals, percent-encoded (once or twice, either case), as HTML or XML entities, with
JSON's, Python's or CSS's escapes, in base64 or base32 (also as Basic credentials, at any offset), in hexadecimal with or without signs between,
in UTF-16, broken over lines, or cut off at its end; beside pictures also in base85, in base64 of another encoding, as a list of numbers, in wide
letters, or with tags, comments and signs that are not seen between its letters.
"""

from __future__ import annotations

import base64
import html.entities
import re
import unicodedata
from bisect import bisect_left
from collections.abc import Callable
from functools import cache, cached_property, lru_cache
from typing import Any

from testcard.specs.profile import MOCK_API_KEY, Auth

#: What stands in place of a key; the shell and `testcard replay` put it back.
KEY_PLACEHOLDER = "$TESTCARD_API_KEY"
#: From this length on, a key is found by chance in no picture. A shorter one ("test") is part of ordinary words and of base64.
_UNMISTAKABLE = 12
#: How the bytes of pictures begin. A key of a few letters ("x", "none") stands in them by chance, and without it they would not decode.
_PICTURES = (b"\x89PNG", b"\xff\xd8\xff", b"RIFF", b"GIF8")
#: Characters of words and of base64: a short key between them is no key.
_WORDY = "A-Za-z0-9+/"
#: So much of a key, before an ellipsis or the end of a text, is a key that was cut.
_CUT = 10
#: Fewer characters of base64 or hexadecimal than these occur by chance.
_LEAST_ENCODED = 8
#: Bytes up to which a body is looked at for escapes of escapes.
_SMALL = 256_000
#: Base64 of so many bytes is taken for a picture; of a large body so many bytes that are none are looked at for rare spellings.
_LONG_TEXT, _MOST_WORDS = 16_384, 2_000_000
#: Of what says the key more often than this in spellings that no pattern finds, nothing is kept.
_MOST_PIECES = 20
#: The key is looked for in so many bytes and the next ones: in all of a large body at once, to find where it begins would take seconds.
_NARROW_BYTES = 4096
#: Backslashes, from the first one on and all of them: a body may be nothing else, and to try each of them with each number of those behind it would
#: never end.
_SLASHES = r"(?<!\\)\\++"
#: A line break within a key, as itself or escaped, with the indentation or the "= " of quoted-printable around it.
_BREAK = r"(?:[ \t]|=?(?:\r|\n|\\r|\\n|%0[aAdD]|&#(?:10|13|[xX]0*[aAdD]);))*"


class Spellings:
    """All ways in which one key may stand in a text or in bytes."""

    def __init__(self, key: str) -> None:
        self._key = key
        self._short = len(key) < _UNMISTAKABLE
        self._least = max(_CUT, len(key) // 3)
        raw = key.encode()
        parts = _encoded(raw)
        self._parts = tuple(parts)
        # What is looked for where every escape is undone and every break is out: a hundred times faster than the patterns.
        self._bare = (_bare(raw), *(part.encode().translate(_STANDARD) for part in parts))
        self._folded = (self._bare[0].lower(), *(part.lower().encode() for part in _in_base32(raw)))
        self._odd = _rarely_encoded(raw) if not self._short else ()
        self._numbers = re.compile(b"[^0-9]+".join(b"%d" % code for code in raw))
        self._hex = raw.hex().encode() if 2 * len(raw) >= 2 * _LEAST_ENCODED else None
        self._wide = () if self._short else tuple(key.encode(name) for name in ("utf-16-le", "utf-16-be"))

    def without(self, text: str) -> str:
        """The text with the placeholder in place of the key, or of a beginning of it where the text was cut."""
        if self._may_stand_in(text.encode("utf-8", "replace")):
            text = self._text.sub(KEY_PLACEHOLDER, text)
            if self._still_stands_in(text.encode("utf-8", "replace")):
                text = self._in_pieces(text.encode("utf-8", "surrogatepass")).decode("utf-8", "surrogatepass")
        if not self._short and self._key[: self._least] in text:
            text = self._cut.sub(KEY_PLACEHOLDER, text)
        return text

    def without_bytes(self, content: bytes) -> bytes:
        """The bytes with the placeholder in place of the key."""
        if self._short and content.startswith(_PICTURES):
            return content
        for wide in self._wide:
            content = content.replace(wide, KEY_PLACEHOLDER.encode())
        if self._may_stand_in(content):
            content = self._bytes.sub(KEY_PLACEHOLDER.encode(), content)
            if self._still_stands_in(content):
                content = self._in_pieces(content)
        return content

    def stand_in(self, content: bytes) -> bool:
        """Whether the key stands there in any spelling."""
        return any(wide in content for wide in self._wide) or (self._may_stand_in(content) and self._bytes.search(content) is not None)

    def may_begin_at_end(self, text: str) -> int:
        """How many characters at the end of the text may be the beginning of the key, plain or encoded, also broken over words; 0 for none."""
        bare = _bare(text.encode("utf-8", "replace")).translate(_STANDARD)
        ends = max((_begun(bare, part) for part in self._bare[1:]), default=0)
        lowered = bare.lower()
        ends = max([ends, *(_begun(lowered, part) for part in (self._folded[0].translate(_STANDARD), self._hex) if part is not None)])
        if not ends:
            return 0
        return next((size for size in range(1, len(text)) if len(_bare(text[-size:].encode("utf-8", "replace"))) >= ends), len(text))

    def _still_stands_in(self, content: bytes) -> bool:
        # A short key is no secret within a word: there the patterns have the last word.
        return not self._short and self._may_stand_in(content)

    def _in_pieces(self, content: bytes) -> bytes:
        """Without the smallest piece that holds a key which no pattern finds, such as one encoded in several ways, one over the other."""
        if len(content) <= 4 * _NARROW_BYTES:
            pieces = re.split(rb"([\s\"'<>]+)", content)
            content = b"".join(KEY_PLACEHOLDER.encode() if self._may_stand_in(piece) else piece for piece in pieces)
            if not self._may_stand_in(content):
                return content
        kept, at, found = [], 0, 0
        while at < len(content):
            window = content[at : at + 2 * _NARROW_BYTES]
            if not self._may_stand_in(window):
                kept.append(window[:_NARROW_BYTES])
                at += _NARROW_BYTES
                continue
            found += 1
            # The first place where a key ends, and the last one from which on it is whole.
            end = bisect_left(range(len(window)), True, key=lambda to, window=window: self._may_stand_in(window[:to]))  # type: ignore[misc]
            begin = bisect_left(range(end), True, key=lambda of, window=window, end=end: not self._may_stand_in(window[of:end])) - 1  # type: ignore[misc]
            if begin < 0 or found > _MOST_PIECES:
                return KEY_PLACEHOLDER.encode()
            kept += [window[:begin], KEY_PLACEHOLDER.encode()]
            at += end
        content = b"".join(kept)
        return KEY_PLACEHOLDER.encode() if self._may_stand_in(content) else content

    def _may_stand_in(self, content: bytes) -> bool:
        if len(content) <= _SMALL:
            bare = _bare(content)
            return self._may_stand_within(bare) or (not self._short and self._stands_oddly(content, bare))
        if len(content) <= _WINDOW_BYTES + _OVERLAP_BYTES:
            found = self._may_stand_within(_bare(content))
        else:
            # Of a large body some copies are made: of a piece at a time they take little memory.
            windows = (content[begin : begin + _WINDOW_BYTES + _OVERLAP_BYTES] for begin in range(0, len(content), _WINDOW_BYTES))
            found = any(self._may_stand_within(_bare(window)) for window in windows)
        return found or (not self._short and self._stands_beside_pictures(content))

    def _may_stand_within(self, bare: bytes) -> bool:
        if self._bare[0] in bare:
            return True
        standard = bare.translate(_STANDARD)
        return any(part in standard for part in self._bare[1:]) or (self._hex is not None and self._hex in standard.lower())

    def _stands_beside_pictures(self, content: bytes) -> bool:
        """Whether the key stands in a rare spelling in what is no picture; in letters of the other case, anywhere."""
        # A piece at a time: a body of quotation marks alone would be taken apart into gigabytes.
        words = _SMALL if content.startswith(_PICTURES) else _MOST_WORDS
        for begin in range(0, len(content), _SMALL - _LONG_TEXT):
            window = content[begin : begin + _SMALL]
            if self._folded[0] in window.lower():
                return True
            beside = b'"'.join(text for text in window.split(b'"') if len(text) < _LONG_TEXT or not _is_base64(text)) if words > 0 else b""
            words -= len(beside)
            if beside and self._stands_oddly(beside, _bare(beside)):
                return True
        return False

    def _stands_oddly(self, content: bytes, bare: bytes) -> bool:
        """Whether the key stands there in a spelling that takes long to look for."""
        standard, folded, close = bare.translate(_STANDARD), bare.lower(), content.translate(None, b"\r\n\t ")
        if any(part in folded for part in self._folded) or any(part in standard or part in close for part in self._odd):
            return True
        if self._hex is not None and self._hex in folded.replace(b"0x", b"").translate(None, _NO_HEX):
            return True
        if self._numbers.search(content) is not None:
            return True
        if not (b"<" in content or b"\x1b" in content or not content.isascii()):
            return False
        plain = unicodedata.normalize("NFKC", _BETWEEN.sub(b"", content).decode("utf-8", "ignore"))
        return self._folded[0] in _bare(plain.encode("ascii", "ignore")).lower()

    @cached_property
    def _pattern(self) -> str:
        plain = ("" if self._short else _BREAK).join(_character(letter) for letter in self._key)
        if self._short:
            plain = f"(?<![{_WORDY}])(?:{plain})(?![{_WORDY}=])"
        encoded = [_BREAK.join(_BASE64.get(letter, letter) for letter in part) for part in self._parts]
        if self._hex is not None:
            encoded.append("".join(f"[{digit}{digit.upper()}]" if digit.isalpha() else digit for digit in self._hex.decode()))
        return "|".join((plain, *encoded))

    @cached_property
    def _text(self) -> re.Pattern[str]:
        return re.compile(self._pattern)

    @cached_property
    def _bytes(self) -> re.Pattern[bytes]:
        return re.compile(self._pattern.encode("ascii"))

    @cached_property
    def _cut(self) -> re.Pattern[str]:
        starts = "|".join(re.escape(self._key[:length]) for length in range(len(self._key) - 1, self._least - 1, -1))
        return re.compile(f"(?:{starts})(?=…|\\.\\.\\.|\\Z)")


@lru_cache(maxsize=64)
def spellings(key: str) -> Spellings:
    """The spellings of a key; made once for each."""
    return Spellings(key)


@cache
def _named() -> dict[str, list[str]]:
    """Each character's names as entities, such as "sol" for a slash."""
    found: dict[str, list[str]] = {}
    for name, character in html.entities.html5.items():
        if len(character) == 1 and name.endswith(";") and ord(character) < 128:
            found.setdefault(character, []).append(name)
    return found


def _character(letter: str) -> str:
    """A pattern for one character of a key in each spelling."""
    code = ord(letter)
    digits = "".join(f"[{digit.lower()}{digit.upper()}]" if digit.isalpha() else digit for digit in f"{code:02x}")
    ways = [
        re.escape(letter) if letter.isalnum() else rf"\\*{re.escape(letter)}" if letter == "\\" else rf"(?:{_SLASHES})?{re.escape(letter)}",
        f"%(?:25)*{digits}",
        f"&(?:amp;)?#0*{code};?",
        f"&(?:amp;)?#[xX]0*{digits};?",
        rf"{_SLASHES}(?:u00|x){digits}",
        *(f"&(?:amp;)?{re.escape(name)}" for name in _named().get(letter, ())),
    ]
    return f"(?:{'|'.join(ways)})"


def _encoded(raw: bytes) -> list[str]:
    """What of a key's base64 does not depend on its neighbours, at each of the three offsets; too little to tell from chance is left out."""
    found = []
    for offset in range(3):
        text = base64.b64encode(b"\0" * offset + raw).decode()
        found.append(text[(offset * 8 + 5) // 6 : (offset + len(raw)) * 8 // 6])
    return [text for text in found if len(text) >= _LEAST_ENCODED]


def _begun(text: bytes, part: bytes) -> int:
    return next((size for size in range(min(len(part) - 1, len(text)), 0, -1) if text.endswith(part[:size])), 0)


def _is_base64(text: bytes) -> bool:
    return text.translate(None, b"+/=-_").isalnum()


def _in_base32(raw: bytes) -> list[str]:
    """What of a key's base32 does not depend on its neighbours, at each of the five offsets; too little to tell from chance is left out."""
    found = []
    for offset in range(5):
        text = base64.b32encode(b"\0" * offset + raw).decode()
        found.append(text[(offset * 8 + 4) // 5 : (offset + len(raw)) * 8 // 5])
    return [text for text in found if len(text) >= _LEAST_ENCODED]


def _rarely_encoded(raw: bytes) -> tuple[bytes, ...]:
    """What of a key does not depend on its neighbours in base85 (either alphabet), and in base64 of its UTF-16 or of its base64."""
    wide = raw.decode().encode("utf-16-le")[:-1]
    inner = [part for text in _encoded(raw) for part in _encoded(text.encode())]
    twice = [part.encode().translate(_STANDARD) for part in (*_encoded(wide), *inner)]
    found = []
    for offset in range(4):
        groups = raw[offset : offset + (len(raw) - offset) // 4 * 4]
        found += [base64.b85encode(groups), base64.a85encode(groups)]
    return (*twice, *(text for text in found if len(text) >= _CUT))


def _bare(content: bytes) -> bytes:
    """The bytes with every escape undone that a key may be spelled with, and without what may break or fill it.

    Escapes of escapes are undone too, up to four times, in what is no picture: a large body is looked at once.
    """
    for _ in range(4 if len(content) <= _SMALL else 1):
        before, content = content, _undone_once(content)
        if content == before:
            break
    return content.translate(None, _BETWEEN_LETTERS)


def _undone_once(content: bytes) -> bytes:
    if b"&" in content:
        content = _ENTITIES.undone(content)
    if b"%" in content:
        content = _PERCENTS.undone(content)
    if b"\\" in content:
        # What is left of backslashes is taken out with all others.
        content = _ESCAPES.undone(content.replace(b"\\r", b"").replace(b"\\n", b""))
    return content


class _Escapes(dict[bytes, bytes]):
    """Escapes of one kind, and what each stands for: found out once, for a hostile body has millions."""

    def __init__(self, mark: bytes, pattern: bytes, made: Callable[[re.Match[bytes]], bytes]) -> None:
        super().__init__()
        self._mark = mark  # with which each begins
        self._one = re.compile(pattern)
        self._apart = re.compile(b"(%s)" % pattern)
        self._made = made

    def __missing__(self, escape: bytes) -> bytes:
        found = self._one.fullmatch(escape)
        made = self._made(found) if found is not None else escape
        if len(self) < _MOST_KNOWN:
            self[escape] = made
        return made

    def undone(self, content: bytes) -> bytes:
        """The bytes with each of them undone; a piece at a time, no escape cut, for what they are taken apart into takes much more memory."""
        pieces, begin = [], 0
        while len(content) - begin > _PIECE_BYTES:
            end = begin + _PIECE_BYTES
            mark = max(content.rfind(first, end - _LONGEST_ESCAPE, end) for first in (b"&", b"%", b"\\"))
            end = mark if mark > begin else end
            pieces.append(self._undone(content[begin:end]))
            begin = end
        return b"".join([*pieces, self._undone(content[begin:] if begin else content)])

    def _undone(self, content: bytes) -> bytes:
        if content.count(self._mark) * _SPARSE < len(content):
            return self._undone_one_by_one(content)
        parts: list[Any] = self._apart.split(content)
        if len(parts) == 1:
            return content
        step = self._apart.groups + 1
        kept = [b""] * (2 * (len(parts) // step) + 1)
        kept[::2], kept[1::2] = parts[::step], map(self.__getitem__, parts[1::step])
        return b"".join(kept)

    def _undone_one_by_one(self, content: bytes) -> bytes:
        """The same of a body with few marks, such as a picture's, of which the rest need not be looked at letter by letter."""
        kept: list[bytes] = []
        begin, at = 0, content.find(self._mark)
        while at >= 0:
            found = self._one.match(content, at)
            if found is None:
                at = content.find(self._mark, at + 1)
                continue
            kept += (content[begin:at], self[found[0]])
            begin = found.end()
            at = content.find(self._mark, begin)
        return b"".join((*kept, content[begin:])) if kept else content


def _of_digits(found: re.Match[bytes]) -> bytes:
    if found.lastindex == 2:
        return bytes((int(found[2], 8),))
    return bytes((int(found[1], 16),))


def _of_entity(found: re.Match[bytes]) -> bytes:
    name = found[1].decode("ascii")
    if name.startswith("#"):
        code = int(name[2:], 16) if name[1] in "xX" else int(name[1:])
        return bytes((code,)) if code < 128 else b""
    character = html.entities.html5.get(name + ";", "")
    return character.encode() if len(character) == 1 and character.isascii() else found[0]


_ENTITIES = _Escapes(b"&", rb"&(?:amp;)?(#[0-9]{1,9}|#[xX][0-9a-fA-F]{1,9}|[A-Za-z]{2,24});?", _of_entity)
_PERCENTS = _Escapes(b"%", rb"%(?:25)*(?:u00|00%(?:25)*)?([0-9a-fA-F]{2})(?:%(?:25)*00)?", _of_digits)
#: With hexadecimal digits (JSON, Python, CSS, braces), or three octal ones.
_ESCAPES = _Escapes(b"\\", rb"(?<!\\)\\++(?:(?:u00|x|U000000|0000|[ux]\{0{0,6})([0-9a-fA-F]{2})\}?|([01][0-7]{2}))", _of_digits)
#: With fewer than one mark in so many bytes, marks are looked at one by one.
_SPARSE = 64
#: So many spellings of each kind are remembered.
_MOST_KNOWN = 4096
#: All but hexadecimal digits; what may stand between letters without being seen: tags, comments, colours of terminals.
_NO_HEX = bytes(code for code in range(256) if code not in b"0123456789abcdef")
_BETWEEN = re.compile(rb"<[^<>]{0,100}>|\x1b\[[0-9;]{0,20}[A-Za-z]")
#: White space, control characters and what is left of escapes.
_BETWEEN_LETTERS = bytes((*range(0x21), 0x7F)) + b"\\="
_PIECE_BYTES, _LONGEST_ESCAPE = 256 << 10, 64
#: A key whose spelling, with every break in it, is longer than the overlap is found in no window.
_WINDOW_BYTES, _OVERLAP_BYTES = 4 << 20, 64 << 10
#: URL-safe base64 as the standard one.
_STANDARD = bytes.maketrans(b"-_", b"+/")
#: The two characters of base64 that have more than one spelling.
_BASE64 = {"+": rf"(?:\+|-|%2[bB]|{_SLASHES}u002[bB]|&#43;)", "/": rf"(?:(?:{_SLASHES})?/|_|%2[fF]|{_SLASHES}u002[fF]|&#47;)"}


_secrets: dict[str, None] = {}


def keep_secret(key: str | None) -> None:
    """From now on this key is in nothing that leaves the process. The mocks' public default key is no secret."""
    if key and key != MOCK_API_KEY:
        _secrets[key] = None


def redacted(text: str) -> str:
    """The text without any key that this process knows."""
    for key in _secrets:
        text = spellings(key).without(text)
    return text


def redacted_bytes(content: bytes) -> bytes:
    """The bytes without any key that this process knows."""
    for key in _secrets:
        content = spellings(key).without_bytes(content)
    return content


class TextInPieces:
    """A stranger's text as it comes, piece by piece, without keys, also where one comes letter by letter.

    What is held back until more comes: the last word, and before it what may be the beginning of a key.
    """

    def __init__(self) -> None:
        self._held = ""

    def add(self, piece: str) -> str:
        """What can be shown now."""
        whole = self._held + piece
        if not _secrets:
            return whole
        if len(whole) > _MOST_HELD:
            whole = redacted(whole)
        shown = max(len(_WHOLE_WORDS.match(whole)[0]), len(whole) - _MOST_HELD // 4)  # type: ignore[index] # it may be empty
        shown -= max(spellings(key).may_begin_at_end(whole[max(0, shown - _MOST_HELD // 4) : shown]) for key in _secrets)
        self._held = whole[shown:]
        return redacted(whole[:shown])

    def end(self) -> str:
        """What was held back: no more comes."""
        held, self._held = self._held, ""
        return redacted(held)


#: So many characters are held back at most.
_MOST_HELD = 4096
#: All but a last word; a letter that is no ASCII ends one.
_WHOLE_WORDS = re.compile(r"(?:.*[^!-~])?", re.DOTALL)


def may_begin_key(text: str, least: int) -> int:
    """How many characters at the end of the text, at least so many, may be the beginning of a key whose rest is still to come; 0 for none."""
    return max((_common(text, key, least) for key in _secrets), default=0)


def _common(text: str, key: str, least: int) -> int:
    return next((length for length in range(min(len(key) - 1, len(text)), least - 1, -1) if text.endswith(key[:length])), 0)


class Redactor:
    """Replaces one key, a short one only where it stands by itself: within base64 it would spoil the picture.

    The mocks' public default key is no secret and an ordinary word: it is replaced in the key's header only.
    """

    def __init__(self, api_key: str | None, auth: Auth) -> None:
        self._auth = auth
        self._key = api_key
        self._spellings = spellings(api_key) if api_key and api_key != MOCK_API_KEY else None

    def text(self, value: str) -> str:
        """The text without the key."""
        return self._spellings.without(value) if self._spellings is not None else value

    def content(self, value: bytes) -> bytes:
        """The bytes without the key."""
        return self._spellings.without_bytes(value) if self._spellings is not None else value

    def request_headers(self, headers: tuple[tuple[str, str], ...]) -> list[tuple[str, str]]:
        """Request headers; the key's header carries the placeholder even when the key is the mocks' default."""
        own = {header.name.lower(): header.prefix for header in self._auth.headers}
        cleaned = []
        for name, value in headers:
            prefix = own.get(name.lower())
            if self._key and prefix is not None and value == prefix + self._key:
                value = prefix + KEY_PLACEHOLDER
            cleaned.append((name, self.text(value)))
        return cleaned

    def headers(self, headers: list[tuple[str, str]]) -> list[tuple[str, str]]:
        """Response headers without the key."""
        return [(self.text(name), self.text(value)) for name, value in headers]

    def body(self, value: bytes) -> tuple[bytes, bool]:
        """A response's body without the key, and whether it carried the key: looked for once, for a body may be large."""
        cleaned = self.content(value)
        return cleaned, cleaned is not value and cleaned != value

    def show_key(self, headers: list[tuple[str, str]]) -> bool:
        """Whether response headers carry the key."""
        found = self._spellings
        return found is not None and any(found.stand_in(text.encode("utf-8", "replace")) for pair in headers for text in pair)
