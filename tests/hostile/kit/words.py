"""Attacks by what an answer says: control characters, words for other programs that read our output, the key said back."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from hostile.kit.talk import Talk, attack, b64, good, png, said, sse

EVIL = "\x1b[2J\x1b]0;owned\x07\x9b31m\x00\x85\u202eevil\u2066\u200f\u2028\ufeff\x7f"


def says(name: str, words: str, status: str = "400 Bad Request") -> None:
    """An error in these words."""

    def answer(talk: Talk) -> None:
        talk.json({"message": words, "error": {"message": words, "code": words}, "detail": words}, status=status)

    attack(name=name)(answer)


says("words-controls-400", EVIL)
says("words-controls-401", EVIL, "401 Unauthorized")
says("words-controls-403", EVIL, "403 Forbidden")
says("words-controls-429", EVIL, "429 Too Many")
says("words-controls-500", EVIL, "500 Oops")
says("words-hyperlink", "\x1b]8;;http://127.0.0.1:9/\x1b\\\\click\x1b]8;;\x1b\\\\")
says("words-clipboard", "\x1b]52;c;cm0gLXJmIC8=\x07")
says("words-workflow", "\n::error file=x::owned\n::set-output name=a::b\n::add-mask::x\n##vso[task.setvariable variable=a]b")
says("words-html", "<script>alert(1)</script><img src=x onerror=alert(1)>\"'><svg/onload=alert(1)>")
says("words-markdown", "](http://127.0.0.1:9/) | a | b |\n# owned\n![x](http://127.0.0.1:9/x.png) `` ` `` <!-- -->")
says("words-xml", "]]> <![CDATA[ &a; <?xml version='1.0'?> \x0b\x0c\ufffe\uffff")
says("words-formula", '=HYPERLINK("http://127.0.0.1:9","x")\n@SUM(1)\n+1\n-1')
says("words-format", "%s%s%s%n{0}{0.__class__}{{7*7}}${7*7}#{7*7}$(id)`id`")
says("words-lines", "\n".join(["line"] * 100_000))
says("words-returns", "over\rwritten\r" * 10_000)
says("words-wide", "\u1f4a9\u0301\u0489" * 100_000)
says("words-surrogates", "\ud800\udfff" * 1000)


def holds(name: str, **more: Any) -> None:
    """A success that holds these fields beside its picture."""
    attack(name=name)(lambda talk: talk.json({**good(), **more}))


holds("words-in-prompt", data=[{**good()["data"][0], "revised_prompt": EVIL}])
holds("words-in-model", model=EVIL, id=EVIL)
holds("words-in-keys", **{EVIL: EVIL, "\x1b[31m": 1})
holds("words-in-cost", cost=EVIL, remainingBalance=EVIL)


@attack()
def words_in_head(talk: Talk) -> None:
    talk.json(good(), "X-Request-Id: \x1b[2J\x9b31m", "Server: <script>alert(1)</script>", status="200 \x1b[31m\x9bOK")


for label, words in {
    "sixel": "\x1bPq#0;2;0;0;0#0!999999~-\x1b\\\\", "kitty": "\x1b_Ga=T,f=100;AAAA\x1b\\\\", "c1": "\x90q\x9c\x9d0;owned\x9c\x84\x8d", "answerback": "\x05\x1bZ\x1b[6n\x1b[21t",
    "tags": "".join(chr(0xE0000 + ord(letter)) for letter in "evil"), "arabic-mark": "\u061c\u061cevil", "interlinear": "\ufff9a\ufffab\ufffb", "isolates": "\u2066\u2067\u2068evil\u2069" * 200,
    "combining": "a" + "\u0300" * 50_000, "alternate-screen": "\x1b[?1049h\x1b[?25l\x1b(0\x0e", "backspaces": "pass\b\b\b\bfail", "rich-markup": "[bold red]owned[/] [link=http://127.0.0.1:9]x[/link] [/nothing]",
    "jinja": "{{ 7*7 }}{% raw %}", "csv": '"\n=1+1\n",@x', "paths": "../../../../etc/passwd\0.png",
}.items():  # fmt: skip
    says(f"words-{label}", words)


@attack("nvidia-nim-image")
def words_in_seed(talk: Talk) -> None:
    talk.json({"artifacts": [{"base64": b64(png(256, 256)), "finishReason": EVIL, "seed": EVIL}]})


@attack("nvidia-nim-vision")
def words_in_chat(talk: Talk) -> None:
    said_once = {"index": 0, "message": {"role": EVIL, "content": EVIL}, "finish_reason": EVIL}
    talk.json(
        {"id": EVIL, "object": EVIL, "created": 1, "model": EVIL, "choices": [said_once], "usage": {EVIL: EVIL}, "system_fingerprint": EVIL}
    )


@attack("opengpu-relay")
def words_in_task(talk: Talk) -> None:
    talk.json(
        {"status": EVIL, "error": EVIL, EVIL: EVIL} if talk.method == "GET" else {"task_address": "t1", "message": EVIL},
        status="200 OK" if talk.method == "GET" else "202 Accepted",
    )


# The key, said back.

SPELLINGS: dict[str, Callable[[str], str]] = {
    "plain": str,
    "base64": lambda key: base64.b64encode(key.encode()).decode(),
    "basic": lambda key: "Basic " + base64.b64encode(f"user:{key}".encode()).decode(),
    "url": lambda key: "".join(f"%{ord(letter):02x}" for letter in key),
    "entities": lambda key: "".join(f"&#{ord(letter)};" for letter in key),
    "escapes": lambda key: "".join(f"\\\\u{ord(letter):04x}" for letter in key),
    "lines": lambda key: "\n".join(key),
    "cut": lambda key: "x" * 285 + key,
    "base32": lambda key: base64.b32encode(key.encode()).decode(),
    "base85": lambda key: base64.b85encode(key.encode()).decode(),
    "base64-of-base64": lambda key: base64.b64encode(base64.b64encode(key.encode())).decode(),
    "base64-utf-16": lambda key: base64.b64encode(key.encode("utf-16-le")).decode(),
    "hex-upper": lambda key: key.encode().hex().upper(),
    "hex-colons": lambda key: key.encode().hex(":"),
    "hex-0x": lambda key: "".join(f"\\x{ord(letter):02X}" for letter in key),
    "url-other-case": lambda key: "".join(f"%{ord(letter):02X}" for letter in key).swapcase().replace("%", "%"),
    "url-twice": lambda key: "".join(f"%25{ord(letter):02x}" for letter in key),
    "url-utf-16": lambda key: "".join(f"%00%{ord(letter):02x}" for letter in key),
    "octal": lambda key: "".join(f"\\{ord(letter):03o}" for letter in key),
    "quoted-printable": lambda key: "".join(f"={ord(letter):02X}" for letter in key),
    "css": lambda key: "".join(f"\\{ord(letter):06x}" for letter in key),
    "braces": lambda key: "".join(f"\\u{{{ord(letter):x}}}" for letter in key),
    "percent-u": lambda key: "".join(f"%u{ord(letter):04x}" for letter in key),
    "upper": str.upper,
    "nul-between": "\0".join,
    "spaces-between": " ".join,
    "zero-width": "\u200b".join,
    "soft-hyphens": "\u00ad".join,
    "wide": lambda key: "".join(chr(ord(letter) + 0xFEE0) for letter in key),
    "escapes-between": "\x1b[0m".join,
    "comments": "<!-- -->".join,
    "reversed": lambda key: key[::-1],
}


def key_of(talk: Talk) -> str:
    return talk.headers.get("authorization", talk.headers.get("x-api-key", "none")).removeprefix("Bearer ")


for spelling, spell in SPELLINGS.items():

    def _refused(talk: Talk, spell: Callable[[str], str] = spell) -> None:
        words = spell(key_of(talk))
        talk.json({"message": f"no such key {words}", "error": words}, status="400 Bad Request")

    def _accepted(talk: Talk, spell: Callable[[str], str] = spell) -> None:
        talk.json({**good(), "note": spell(key_of(talk))})

    attack(name=f"key-{spelling}-400")(_refused)
    attack(name=f"key-{spelling}-200")(_accepted)


@attack()
def key_in_head(talk: Talk) -> None:
    key = key_of(talk)
    talk.json(good(), f"X-Echo: {key}", f"X-Encoded: {quote(key)}", f"Set-Cookie: key={key}", status=f"200 {key}")


@attack()
def key_in_status_line(talk: Talk) -> None:
    talk.send(f"HTTP/9.9 {key_of(talk)}\r\n\r\n".encode())


@attack()
def key_in_rubbish(talk: Talk) -> None:
    talk.send(f"{key_of(talk)}\r\n\r\n".encode())


@attack()
def key_in_location(talk: Talk) -> None:
    talk.json({}, f"Location: {talk.base}/{key_of(talk)}?key={key_of(talk)}", status="302 Found")


@attack()
def key_in_url(talk: Talk) -> None:
    talk.json(good(data=[{"url": f"{talk.base}/{key_of(talk)}.png"}]))


@attack()
def key_in_chunks(talk: Talk) -> None:
    body = json.dumps({"message": "no such key " + key_of(talk)}).encode()
    talk.send(b"HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")
    for one in body:
        talk.send(b"1\r\n" + bytes([one]) + b"\r\n")
    talk.send(b"0\r\n\r\n")


@attack("nvidia-nim-vision", name="stream-key")
def _stream_key(talk: Talk) -> None:
    sse(talk)
    key = key_of(talk)
    for letter in key:
        talk.send(said(letter))
    talk.send(said(key), b'data: {"error": {"message": "no such key ' + key.encode() + b'"}}\n\n')
    time.sleep(0.1)
