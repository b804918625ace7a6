"""A server that answers each request with one attack, named by the first segment of the path: raw sockets, a thread for each connection.

`python -m hostile.kit.server PORT` (from `tests/`) serves all of `ATTACKS`; `/<attack>/v1/…` is what a target of that name is asked. No code of Testcard's.
"""

from __future__ import annotations

import base64
import contextlib
import functools
import itertools
import json
import socket
import ssl
import struct
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

HOUR_S = 3600.0


@dataclass
class Talk:
    """One request and the connection that it came over."""

    sock: socket.socket
    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    base: str
    count: int
    ended: bool = field(default=False)

    def send(self, *pieces: bytes) -> None:
        """Sends the bytes as they are."""
        for piece in pieces:
            self.sock.sendall(piece)

    def reply(self, body: bytes, *head: str, status: str = "200 OK", kind: str = "application/json", length: int | None = None) -> None:
        """A plain answer with its length."""
        lines = [f"HTTP/1.1 {status}", f"Content-Type: {kind}", f"Content-Length: {len(body) if length is None else length}", *head]
        self.send("\r\n".join([*lines, "", ""]).encode("latin-1"), body)

    def begin(self, *head: str, status: str = "200 OK", kind: str = "application/json") -> None:
        """The head of an answer that ends with the connection."""
        self.send("\r\n".join([f"HTTP/1.1 {status}", f"Content-Type: {kind}", *head, "", ""]).encode("latin-1"))

    def json(self, value: Any, *head: str, status: str = "200 OK") -> None:
        """A JSON answer."""
        self.reply(json.dumps(value).encode(), *head, status=status)

    def drip(self, pieces: Iterator[bytes], every_s: float = 0.05, for_s: float = HOUR_S) -> None:
        """Piece by piece, for an hour or until the other side has gone."""
        end = time.monotonic() + for_s
        for piece in pieces:
            self.send(piece)
            if time.monotonic() > end:
                return
            time.sleep(every_s)


Attack = Callable[[Talk], None]
#: By name: the provider whose contract is asked, and what answers.
ATTACKS: dict[str, tuple[str, Attack]] = {}


def attack(provider: str = "nanogpt", name: str | None = None) -> Callable[[Attack], Attack]:
    """Enters an attack under its function's name."""

    def enter(function: Attack) -> Attack:
        ATTACKS[(name or function.__name__).replace("_", "-")] = (provider, function)
        return function

    return enter


# What an honest server would send.


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


@functools.cache
def png(width: int = 64, height: int = 64, *extra: bytes, depth: int = 8, colour: int = 2, empty: bool = False) -> bytes:
    """A PNG of this size (or claiming it), with further chunks in front of its data."""
    row = {0: 1, 2: 3, 6: 4}[colour] * width * depth // 8 + 1
    packer = zlib.compressobj(9)
    data = b"" if empty else b"".join([packer.compress(bytes(row)) for _ in range(height)]) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + b"".join(extra) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def good(picture: bytes | None = None, **more: Any) -> dict[str, Any]:
    """NanoGPT's answer with one picture."""
    found = {"b64_json": b64(png(256, 256) if picture is None else picture)}
    return {"created": int(time.time()), "data": [found], "cost": 0.003, "remainingBalance": 9.5, **more}


@functools.cache
def zeros(size: int, wbits: int = 31, times: int = 1) -> bytes:
    """So many zeros, compressed so many times."""
    packer = zlib.compressobj(9, zlib.DEFLATED, wbits)
    block = bytes(1 << 20)
    data = b"".join([packer.compress(block) for _ in range(size >> 20)]) + packer.flush()
    for _ in range(times - 1):
        packer = zlib.compressobj(9, zlib.DEFLATED, wbits)
        data = packer.compress(data) + packer.flush()
    return data


@functools.cache
def heavy(size: int) -> bytes:
    """NanoGPT's answer with a sound picture that carries so many bytes for nothing."""
    return json.dumps(good(png(256, 256, chunk(b"juNk", bytes(size))))).encode()


def sse(talk: Talk) -> None:
    talk.begin(kind="text/event-stream")


def said(text: str, **more: Any) -> bytes:
    """One chunk of a chat completion, as an event."""
    record = {
        "id": "c1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "m",
        "choices": [{"index": 0, "delta": {"content": text}}],
    }
    return b"data: " + json.dumps({**record, **more}).encode() + b"\n\n"


# Heads.


@attack()
def silent(talk: Talk) -> None:
    time.sleep(HOUR_S)


@attack()
def close_at_once(talk: Talk) -> None:
    pass


@attack()
def reset(talk: Talk) -> None:
    talk.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@attack()
def dripped_status(talk: Talk) -> None:
    talk.drip(bytes([one]) for one in itertools.cycle(b"HTTP/1.1 200 OK and so on and on"))


@attack()
def dripped_headers(talk: Talk) -> None:
    talk.send(b"HTTP/1.1 200 OK\r\n")
    talk.drip(b"X-%d: y\r\n" % number for number in itertools.count())


@attack()
def dripped_header_value(talk: Talk) -> None:
    talk.send(b"HTTP/1.1 200 OK\r\nX-Long: ")
    talk.drip(itertools.repeat(b"y"))


@attack()
def interim_flood(talk: Talk) -> None:
    while True:
        talk.send(b"HTTP/1.1 100 Continue\r\n\r\n" * 100)


@attack()
def interim_dripped(talk: Talk) -> None:
    talk.drip(itertools.repeat(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"))


@attack()
def interim_102_hour(talk: Talk) -> None:
    talk.drip(itertools.repeat(b"HTTP/1.1 102 Processing\r\n\r\n"), every_s=0.5)


@attack()
def switching_protocols(talk: Talk) -> None:
    talk.send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n")
    talk.drip(itertools.repeat(b"\0\0\0"))


@attack()
def huge_header(talk: Talk) -> None:
    talk.send(b"HTTP/1.1 200 OK\r\nX-Huge: ")
    for _ in range(4000):
        talk.send(b"y" * 65536)


@attack()
def huge_header_ended(talk: Talk) -> None:
    talk.json(good(), "X-Huge: " + "y" * 2_000_000)


@attack()
def many_headers(talk: Talk) -> None:
    talk.json(good(), *[f"X-{number}: y" for number in range(50_000)])


@attack()
def some_thousand_headers(talk: Talk) -> None:
    talk.json(good(), *[f"X-{number}: y" for number in range(3000)])


@attack()
def huge_status_line(talk: Talk) -> None:
    talk.reply(b"{}", status="200 " + "O" * 5_000_000)


@attack()
def long_status_line(talk: Talk) -> None:
    talk.reply(json.dumps(good()).encode(), status="200 " + "O" * 50_000)


@attack()
def status_999(talk: Talk) -> None:
    talk.json(good(), status="999 What")


@attack()
def status_negative(talk: Talk) -> None:
    talk.json(good(), status="-200 OK")


@attack()
def status_huge(talk: Talk) -> None:
    talk.json(good(), status="2" * 400 + " OK")


@attack()
def http_0_9(talk: Talk) -> None:
    talk.send(b"<html>hello</html>" * 1000)


@attack()
def http_2_preface(talk: Talk) -> None:
    talk.send(b"\0\0\x12\x04\0\0\0\0\0\0\x03\0\0\0d\0\x04@\0\0\0\0\x02\0\0\0\0" * 1000)


@attack()
def rubbish(talk: Talk) -> None:
    for _ in range(2000):
        talk.send(b"\xff\xfe\0\x80" * 16384)


@attack()
def rubbish_forever(talk: Talk) -> None:
    while True:
        talk.send(b"\x80" * 65536)


@attack()
def tls_rubbish(talk: Talk) -> None:
    talk.send(b"\x15\x03\x01\x00\x02\x02\x28" * 100)


@attack()
def folded_headers(talk: Talk) -> None:
    talk.send(b"HTTP/1.1 200 OK\r\nX-A: b\r\n" + b" folded\r\n" * 20_000 + b"Content-Length: 2\r\n\r\n{}")


@attack()
def nul_header(talk: Talk) -> None:
    talk.json(good(), "X-Nul: a\0b", "X-Bare: \x7f\x01")


@attack()
def header_controls(talk: Talk) -> None:
    talk.json({"error": {"message": "no"}}, "X-Evil: \x9b31m\x1b]0;owned\x07", status="400 \x1b[31mBad\x9b")


# Lengths and framing.


@attack()
def length_too_long(talk: Talk) -> None:
    talk.reply(json.dumps(good()).encode(), length=10_000_000)


@attack()
def length_too_short(talk: Talk) -> None:
    talk.reply(json.dumps(good()).encode(), length=10)


@attack()
def length_2_31(talk: Talk) -> None:
    talk.reply(b"{", length=2**31 + 5)


@attack()
def length_2_63(talk: Talk) -> None:
    talk.reply(b"{", length=2**63 + 5)


@attack()
def length_400_digits(talk: Talk) -> None:
    talk.send(b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 400 + b"\r\n\r\n{}")


@attack()
def length_5000_digits(talk: Talk) -> None:
    talk.send(b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n{}")


@attack()
def length_negative(talk: Talk) -> None:
    talk.reply(json.dumps(good()).encode(), length=-1)


@attack()
def length_word(talk: Talk) -> None:
    talk.send(b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n{}")


@attack()
def length_twice(talk: Talk) -> None:
    talk.reply(json.dumps(good()).encode(), "Content-Length: 5")


@attack()
def length_and_chunked(talk: Talk) -> None:
    talk.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{    \r\n0\r\n\r\n")


@attack()
def endless_body(talk: Talk) -> None:
    talk.begin()
    while True:
        talk.send(b" " * 65536)


@attack()
def endless_body_with_length(talk: Talk) -> None:
    talk.begin(f"Content-Length: {2**50}")
    while True:
        talk.send(b" " * 65536)


@attack()
def body_200_mb(talk: Talk) -> None:
    talk.begin(f"Content-Length: {200_000_000}")
    for _ in range(200):
        talk.send(b" " * 1_000_000)


@attack()
def body_20_mb(talk: Talk) -> None:
    talk.reply(heavy(15_000_000))


@attack()
def body_60_mb(talk: Talk) -> None:
    talk.reply(heavy(45_000_000))


@attack()
def dripped_body(talk: Talk) -> None:
    talk.begin("Content-Length: 100000")
    talk.drip(itertools.repeat(b" "))


@attack()
def slow_body(talk: Talk) -> None:
    talk.begin("Content-Length: 100000")
    talk.drip(itertools.repeat(b" "), every_s=2.0)


@attack()
def half_a_body(talk: Talk) -> None:
    body = json.dumps(good()).encode()
    talk.reply(body[: len(body) // 2], length=len(body))


@attack()
def reset_in_body(talk: Talk) -> None:
    talk.reply(b'{"data": [', length=5000)
    talk.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@attack()
def half_closed(talk: Talk) -> None:
    talk.reply(b'{"data": [', length=5000)
    talk.sock.shutdown(socket.SHUT_WR)
    time.sleep(HOUR_S)


@attack()
def head_then_silence(talk: Talk) -> None:
    talk.begin("Content-Length: 500")
    time.sleep(HOUR_S)


@attack()
def chunked_huge_size(talk: Talk) -> None:
    talk.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"f" * 16 + b"\r\n{}")
    time.sleep(1)


@attack()
def chunked_size_line_forever(talk: Talk) -> None:
    talk.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        talk.send(b"0" * 65536)


@attack()
def chunked_extension_forever(talk: Talk) -> None:
    talk.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;")
    while True:
        talk.send(b"x" * 65536)


@attack()
def chunked_one_byte_each(talk: Talk) -> None:
    talk.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        talk.send(b"1\r\n \r\n" * 10_000)


@attack()
def chunked_endless(talk: Talk) -> None:
    talk.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        talk.send(b"10000\r\n" + b" " * 65536 + b"\r\n")


@attack()
def chunked_trailers_forever(talk: Talk) -> None:
    talk.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n")
    for number in itertools.count():
        talk.send(b"X-%d: y\r\n" % number * 1000)


@attack()
def chunked_no_end(talk: Talk) -> None:
    talk.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n")
    time.sleep(HOUR_S)


@attack()
def chunked_rubbish(talk: Talk) -> None:
    talk.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n{}\r\n")


@attack()
def transfer_gzip(talk: Talk) -> None:
    talk.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n")


# Content codings.


def coded(name: str, body: Callable[[], bytes], label: str) -> None:
    made = functools.cache(body)

    def answer(talk: Talk) -> None:
        talk.reply(made(), f"Content-Encoding: {label}")

    attack(name=name)(answer)


def brotli_bomb() -> bytes:
    import brotli

    packer = brotli.Compressor(quality=9, lgwin=24)
    block = bytes(1 << 24)
    return b"".join([packer.process(block) for _ in range(64)]) + bytes(packer.finish())


coded("gzip-bomb", lambda: zeros(4 << 30), "gzip")
coded("deflate-bomb", lambda: zeros(2 << 30, 15), "deflate")
coded("raw-deflate-bomb", lambda: zeros(2 << 30, -15), "deflate")
coded("gzip-twice", lambda: zeros(8 << 30, 31, 2), "gzip, gzip")
coded("gzip-thrice", lambda: zeros(1 << 30, 31, 3), "gzip, gzip, gzip")
coded("gzip-fifty-times", lambda: zeros(1 << 20, 31, 50), ", ".join(["gzip"] * 50))
coded("brotli-bomb", brotli_bomb, "br")
coded("zstd-rubbish", lambda: b"\x28\xb5\x2f\xfd" + bytes(1000), "zstd")
coded("gzip-of-nothing", lambda: b"", "gzip")
coded("gzip-that-is-none", lambda: json.dumps(good()).encode(), "gzip")
coded("gzip-cut", lambda: zeros(1 << 20)[:500], "gzip")
coded("coding-unknown", lambda: json.dumps(good()).encode(), "rot13")
coded("gzip-thousand-members", lambda: zeros(1 << 20) * 3000, "gzip")
coded("gzip-then-rubbish", lambda: zeros(1 << 20) + b"\xff" * 3_000_000, "gzip")


@attack()
def gzip_good(talk: Talk) -> None:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    talk.reply(packer.compress(json.dumps(good()).encode()) + packer.flush(), "Content-Encoding: gzip")


# JSON.


def body(
    name: str, make: Callable[[], bytes], *head: str, status: str = "200 OK", provider: str = "nanogpt", kind: str = "application/json"
) -> None:
    made = functools.cache(make)

    def answer(talk: Talk) -> None:
        talk.reply(made(), *head, status=status, kind=kind)

    attack(provider, name=name)(answer)


def within(value: str, place: str = "cost") -> Callable[[], bytes]:
    """NanoGPT's answer with this JSON text at a place."""
    return lambda: json.dumps(good(**{place: "@"})).replace('"@"', value).encode()


body("deep-arrays", lambda: b"[" * 5_000_000 + b"]" * 5_000_000)
body("deep-objects", lambda: b'{"a":' * 1_000_000 + b"1" + b"}" * 1_000_000)
body("deep-in-extra", lambda: json.dumps(good(extra="@")).replace('"@"', "[" * 900 + "]" * 900).encode())
body("deep-in-error", lambda: b'{"error":' + b"[" * 900 + b"]" * 900 + b"}", status="400 Bad Request")
body("deep-message", lambda: b'{"error":{"message":' + b'{"a":' * 500 + b"1" + b"}" * 500 + b"}}", status="500 Oops")
body("many-keys", lambda: b"{" + b",".join(b'"k%d":0' % number for number in range(3_000_000)) + b"}")
body("many-empty-arrays", lambda: b"[" + b"[]," * 15_000_000 + b"[]]")
body("many-empty-objects", lambda: b'{"data":[' + b"{}," * 10_000_000 + b"{}]}")
body("many-nulls", lambda: b'{"data":[' + b"null," * 5_000_000 + b"null]}")
body("long-string", lambda: b'{"data":"' + b"x" * 40_000_000 + b'"}')
body("string-without-end", lambda: b'{"data":"' + b"[" * 100 + b'\\"' * 10_000_000)
body("digits-400", within("1" + "0" * 400))
body("digits-5000", within("1" + "0" * 5000))
body("digits-5-million", within("1" * 5_000_000))
body("cost-1e999", within("1e999"))
body("cost-negative", within("-1"))
body("cost-nan", within("NaN"))
body("cost-infinity", within("Infinity"))
body("cost-text", within('"1e400"'))
body("cost-object", within('{"a": []}'))
body("balance-10-400", within("1" + "0" * 400, "remainingBalance"))
body("balance-nan", within("NaN", "remainingBalance"))
body("balance-1e308", within("1e308", "remainingBalance"))
body("created-10-400", within("1" + "0" * 400, "created"))
body("created-negative", within("-99999999999999", "created"))
body("created-1e308", within("1e308", "created"))
body("created-text", within('"soon"', "created"))
body("lone-surrogates", lambda: b'{"error": {"message": "\\ud800 \\udfff bad"}, "message": "\\ud800"}', status="400 Bad Request")
body("lone-surrogate-picture", lambda: b'{"created": 1, "data": [{"b64_json": "\\ud800\\ud801"}]}')
body("lone-surrogate-url", lambda: b'{"created": 1, "data": [{"url": "http://127.0.0.1/\\ud800"}]}')
body("nul-in-message", lambda: b'{"message": "a\\u0000b", "error": "\\u0000"}', status="400 Bad Request")
body(
    "controls-in-message",
    lambda: json.dumps(
        {"message": "\x1b[2J\x9b31m\u202eevil\u2066\x07\x00\x85", "error": {"message": "\x1b]0;owned\x07\x9b2J\u202e"}}
    ).encode(),
    status="400 Bad Request",
)
body("invalid-utf8", lambda: b'{"message": "\xff\xfe\x80", "data": "\xc3\x28"}')
body("utf-16", lambda: json.dumps(good()).encode("utf-16"))
body("utf-32-bomb", lambda: ('{"data":"' + "x" * 5_000_000 + '"}').encode("utf-32"))
body("duplicate-keys", lambda: b"{" + b'"data":[],' * 100_000 + b'"data":[]}')
body("json-null", lambda: b"null")
body("json-number", lambda: b"5")
body("data-is-object", lambda: b'{"data": {"0": {"b64_json": "AA=="}}}')
body("data-of-numbers", lambda: b'{"data": [1, null, true, "x", [], {}]}')
body(
    "usage-10-400",
    lambda: json.dumps(
        {
            "id": "1",
            "object": "chat.completion",
            "created": 1,
            "model": "m",
            "choices": [{"index": 0, "message": {"role": "assistant", "content": "a cat"}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 10**400, "completion_tokens": 10**30, "total_tokens": -5},
        }
    ).encode(),
    provider="nvidia-nim-vision",
)
body(
    "usage-nan",
    lambda: (
        b'{"id":"1","object":"chat.completion","created":1e999,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"a cat"},"finish_reason":"stop"}],"usage":{"prompt_tokens":1e999,"completion_tokens":-1e999,"total_tokens":1e308}}'
    ),
    provider="nvidia-nim-vision",
)
body(
    "seed-10-400",
    lambda: json.dumps({"artifacts": [{"base64": b64(png(256, 256)), "finishReason": "SUCCESS", "seed": 10**400}]}).encode(),
    provider="nvidia-nim-image",
)
body("html", lambda: b"<html>" + b"<p>" * 500_000)
body("error-50-mb", lambda: json.dumps({"error": {"message": "x" * 50_000_000}}).encode(), status="500 Oops")
body("refusals-mb", lambda: json.dumps({"error": {"message": "x " * 500_000}}).encode(), status="400 Bad Request")
body("regex-food", lambda: json.dumps({"error": {"message": "content " * 100_000 + "safety" * 50_000}}).encode(), status="400 Bad Request")

# Waits.

for label, value in {
    "year": "Fri, 31 Dec 99999999999 23:59:59 GMT",
    "zone": "Wed, 21 Oct 2026 07:28:00 +99999999",
    "zone-9999": "Wed, 21 Oct 9999 23:59:59 -2359",
    "year-1": "Mon, 01 Jan 0001 00:00:00 +2359",
    "negative": "-5",
    "huge": "9" * 400,
    "word": "later",
    "nan": "nan",
    "infinity": "1e999",
    "hour": "3600",
    "unicode": "\xb2\xb3",
    "long": "x" * 60_000,
}.items():
    body(f"retry-after-{label}", lambda: b'{"message": "slow down"}', f"Retry-After: {value}", status="429 Too Many")
body("limited-for-ever", lambda: b'{"message": "slow down"}', status="429 Too Many")
body("limited-retry-1", lambda: b'{"message": "slow down"}', "Retry-After: 1", status="429 Too Many")
body("unavailable-retry-huge", lambda: b'{"message": "later"}', "Retry-After: 99999999", status="503 Busy")
body("date-year", lambda: json.dumps(good()).encode(), "Date: Fri, 31 Dec 99999999999 23:59:59 GMT")
body("date-zone", lambda: json.dumps(good()).encode(), "Date: Wed, 21 Oct 2026 07:28:00 +99999999")

# Pictures.


def picture(name: str, make: Callable[[], bytes]) -> None:
    body(name, lambda: json.dumps(good(make())).encode())


body("pictures-20000", lambda: json.dumps(good(data=[{"b64_json": b64(png(16, 16))}] * 20_000)).encode())
body("pictures-empty-20000", lambda: json.dumps(good(data=[{}] * 20_000)).encode())
body("base64-40-mb", lambda: json.dumps(good(data=[{"b64_json": "A" * 40_000_000}])).encode())
body("base64-rubbish-40-mb", lambda: json.dumps(good(data=[{"b64_json": "=-_ \n" * 8_000_000}])).encode())
body("data-url-rubbish", lambda: json.dumps(good(data=[{"url": "data:" + "x" * 5_000_000}])).encode())
picture("bomb-claims-gigapixels", lambda: png(65_000, 65_000, empty=True))
picture("bomb-88-megapixels", lambda: png(9380, 9380, depth=1, colour=0))
picture("bomb-39-megapixels", lambda: png(6240, 6240, colour=6))
picture("bomb-wide", lambda: png(1_000_000, 80, depth=1, colour=0))
picture("bomb-one-row", lambda: png(80_000_000, 1, depth=1, colour=0))
picture("eps", lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 64\n%%EndComments\n%%EOF\n")
picture("tiff", lambda: b"II*\0" + struct.pack("<IH", 8, 2) + struct.pack("<HHIIHHII", 256, 4, 1, 512, 257, 4, 1, 512) + b"\0" * 4)
picture(
    "svg",
    lambda: (
        b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "aaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]><svg xmlns="http://www.w3.org/2000/svg">&b;</svg>'
    ),
)
picture("ztxt-bomb", lambda: png(256, 256, chunk(b"zTXt", b"k\0\0" + zeros(1 << 30, 15))))
picture("ztxt-many", lambda: png(256, 256, *[chunk(b"zTXt", b"k%d\0\0" % number + zeros(1 << 20, 15)) for number in range(500)]))
picture("itxt-bomb", lambda: png(256, 256, chunk(b"iTXt", b"k\0\1\0\0\0" + zeros(1 << 30, 15))))
picture("iccp-bomb", lambda: png(256, 256, chunk(b"iCCP", b"k\0\0" + zeros(1 << 30, 15))))
picture("text-huge", lambda: png(256, 256, chunk(b"tEXt", b"k\0" + b"x" * 20_000_000)))
picture("chunks-million", lambda: png(256, 256, chunk(b"juNk", b"") * 1_000_000))
picture("idat-bomb", lambda: png(256, 256, chunk(b"IDAT", zeros(1 << 30, 15))))
picture("chunk-length-huge", lambda: b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 0x7FFFFFFF) + b"IHDR" + bytes(100))
picture("png-cut", lambda: png(1024, 1024)[:300])
picture("gif-frames", lambda: gif(20_000))
picture("gif-huge-frames", lambda: gif(2000, 10_000))
picture("webp-rubbish", lambda: b"RIFF\xff\xff\xff\x7fWEBPVP8X\x0a\0\0\0\x02\0\0\0\xff\xff\xff\xff\xff\xff" + bytes(1000))
picture("avif-rubbish", lambda: b"\0\0\0\x20ftypavif\0\0\0\0avifmif1miafMA1B" + bytes(5000))
picture("jpeg-claims", lambda: b"\xff\xd8\xff\xc0\0\x11\x08\xff\xff\xff\xff\x03\x01\x11\0\x02\x11\0\x03\x11\0\xff\xd9")
picture("jpeg-markers", lambda: b"\xff\xd8" + b"\xff\xe0\0\x02" * 2_000_000 + b"\xff\xd9")
picture("apng-frames", lambda: png(256, 256, chunk(b"acTL", struct.pack(">II", 2**31 - 1, 0))))


def gif(frames: int, edge: int = 16) -> bytes:
    """A GIF of so many frames."""
    size = struct.pack("<HH", edge, edge)
    head = b"GIF89a" + size + b"\x80\0\0\0\0\0\xff\xff\xff"
    frame = b"!\xf9\x04\0\x01\0\0\0,\0\0\0\0" + size + b"\0\x02\x02\x44\x01\0"
    return head + frame * frames + b";"


# Addresses.


def leads(name: str, url: str, count: int = 1) -> None:
    def answer(talk: Talk) -> None:
        if "/got" in talk.path or "/loop" in talk.path:
            if "/loop" in talk.path:
                talk.json({}, f"Location: {talk.base}/loop{talk.count}", status="302 Found")
            else:
                talk.reply(png(256, 256), kind="image/png")
            return
        urls = [url.replace("BASE", talk.base).replace("NUMBER", str(number)) for number in range(count)]
        talk.json(good(data=[{"url": one} for one in urls]))

    attack(name=name)(answer)


leads("url-to-metadata", "http://169.254.169.254/latest/meta-data/")
leads("url-to-file", "file:///etc/passwd")
leads("url-to-gopher", "gopher://127.0.0.1:25/x")
leads("url-to-other-port", "http://127.0.0.1:9/secret")
leads("url-decimal-host", "http://2130706433:9/")
leads("url-zero-host", "http://0.0.0.0:9/")
leads("url-v6-loopback", "http://[::1]:9/")
leads("url-v6-mapped", "http://[::ffff:169.254.169.254]/")
leads("url-with-user", "http://user:pass@127.0.0.1:9/")
leads("url-port-huge", "http://127.0.0.1:99999999/")
leads("url-bracket", "http://[::1/x")
leads("url-million", "BASE/got?" + "x" * 1_000_000)
leads("url-controls", "BASE/got\r\nX-Injected: 1\x00")
leads("url-spaces", "BASE/got a b\t")
leads("urls-15000", "BASE/gotNUMBER", 15_000)
leads("urls-in-circles", "BASE/loop")


def redirects(name: str, where: str) -> None:
    def answer(talk: Talk) -> None:
        talk.json({}, "Location: " + where.replace("BASE", talk.base).replace("NUMBER", str(talk.count)), status="307 Temporary Redirect")

    attack(name=name)(answer)


redirects("redirect-circle", "BASE/again")
redirects("redirect-file", "file:///etc/passwd")
redirects("redirect-metadata", "http://169.254.169.254/")
redirects("redirect-origin", "http://127.0.0.1:9/")
redirects("redirect-controls", "BASE/\x1b[31m\x9b")
redirects("redirect-million", "BASE/" + "x" * 60_000)


def download(name: str) -> Callable[[Attack], Attack]:
    """An attack on the way to a picture: the answer is sound and names an address, which is answered by the attack."""

    def enter(function: Attack) -> Attack:
        def answer(talk: Talk) -> None:
            if "/picture" in talk.path:
                function(talk)
            else:
                talk.json(good(data=[{"url": talk.base + "/picture.png"}]))

        attack(name=f"download-{name}")(answer)
        return function

    return enter


download("silent")(silent)
download("dripped-headers")(dripped_headers)
download("dripped")(dripped_body)
download("endless")(endless_body)
download("gzip-bomb")(lambda talk: ATTACKS["gzip-bomb"][1](talk))
download("redirect-file")(lambda talk: talk.json({}, "Location: file:///etc/passwd", status="302 Found"))
download("redirect-metadata")(lambda talk: talk.json({}, "Location: http://169.254.169.254/", status="302 Found"))
download("redirect-circle")(lambda talk: talk.json({}, f"Location: {talk.base}/picture{talk.count}", status="302 Found"))
download("interim-flood")(interim_flood)
download("bomb")(lambda talk: talk.reply(png(9380, 9380, depth=1, colour=0), kind="image/png"))


# Tasks.


def task(name: str, accepted: Any = None, head: tuple[str, ...] = ()) -> Callable[[Attack], Attack]:
    """An attack on the way of a task: accepted, and then polled."""

    def enter(function: Attack) -> Attack:
        def answer(talk: Talk) -> None:
            if talk.method == "GET":
                function(talk)
            else:
                talk.json(
                    accepted if accepted is not None else {"task_address": f"t{talk.count}", "message": "ok"}, *head, status="202 Accepted"
                )

        attack("opengpu-relay", name=f"task-{name}")(answer)
        return function

    return enter


task("silent")(silent)
task("dripped-headers")(dripped_headers)
task("for-ever")(lambda talk: talk.json({"status": "processing"}))
task("queued-retry-huge")(lambda talk: talk.json({"status": "queued"}, "Retry-After: 99999999"))
task("retry-year", head=("Retry-After: Fri, 31 Dec 99999999999 23:59:59 GMT",))(lambda talk: talk.json({"status": "queued"}))
task("not-found")(lambda talk: talk.json({"message": "no"}, status="404 Not Found"))
task("limited")(lambda talk: talk.json({"message": "no"}, status="429 Too Many"))
task("unavailable")(lambda talk: talk.json({"message": "no"}, status="503 Busy"))
task("unknown-word")(lambda talk: talk.json({"status": f"state {talk.count}"}))
task("deep")(lambda talk: talk.reply(b'{"status":' + b"[" * 900 + b"]" * 900 + b"}"))
task("endless")(endless_body)
task("redirect-circle")(lambda talk: talk.json({}, f"Location: {talk.base}/v2/{talk.count}", status="302 Found"))
task("dots", {"task_address": "../../admin", "message": "ok"})(lambda talk: talk.json({"status": "processing"}))
task("newline", {"task_address": "a\r\nX-Injected: 1\r\n\r\nGET /admin", "message": "ok"})(lambda talk: talk.json({"status": "processing"}))
task("long", {"task_address": "x" * 1_000_000, "message": "ok"})(lambda talk: talk.json({"status": "processing"}))
task("slashes", {"task_address": "/..//http://127.0.0.1:9/", "message": "ok"})(lambda talk: talk.json({"status": "processing"}))
task("result-deep")(lambda talk: talk.reply(b'{"status": "completed", "result": ' + b"[" * 900 + b"]" * 900 + b"}"))
task("result-20000")(lambda talk: talk.json({"status": "completed", "result": {"images": [b64(png(16, 16))] * 20_000}}))
task("error-huge")(lambda talk: talk.json({"status": "failed", "error": {"message": "\x1b[31m" + "x" * 5_000_000}}))


# Streams.


def stream(name: str) -> Callable[[Callable[[Talk], None]], Attack]:
    """An attack by an event stream of text."""

    def enter(function: Callable[[Talk], None]) -> Attack:
        def answer(talk: Talk) -> None:
            sse(talk)
            function(talk)

        attack("nvidia-nim-vision", name=f"stream-{name}")(answer)
        return answer

    return enter


@stream("ids-50000")
def _ids(talk: Talk) -> None:
    talk.send(b"".join(said("x", id=f"c{number}") for number in range(50_000)), b"data: [DONE]\n\n")


@stream("ids-are-lists")
def _lists(talk: Talk) -> None:
    talk.send(b"".join(said("x", id=[number]) for number in range(2000)), b"data: [DONE]\n\n")


@stream("flood")
def _flood(talk: Talk) -> None:
    block = said("word ") * 500
    while True:
        talk.send(block)


@stream("comments")
def _comments(talk: Talk) -> None:
    while True:
        talk.send(b": ping\n\n" * 1000)


@stream("pings")
def _pings(talk: Talk) -> None:
    talk.drip(itertools.repeat(b": ping\n\n"), every_s=0.2)


@stream("line")
def _line(talk: Talk) -> None:
    talk.send(b"data: ")
    while True:
        talk.send(b"x" * 65536)


@stream("event")
def _event(talk: Talk) -> None:
    while True:
        talk.send(b"data: xxxxxxxxxxxxxxx\n" * 3000)


@stream("returns")
def _returns(talk: Talk) -> None:
    while True:
        talk.send(b"\r" * 65536)


@stream("deep")
def _deep(talk: Talk) -> None:
    talk.send(b"data: " + b"[" * 5000 + b"\n\n", b"data: " + b'{"a":' * 900 + b"1" + b"}" * 900 + b"\n\n", b"data: [DONE]\n\n")


@stream("words-for-ever")
def _words(talk: Talk) -> None:
    talk.drip(itertools.repeat(said("word ")), every_s=0.1)


@stream("controls")
def _controls(talk: Talk) -> None:
    talk.send(
        said("\x1b[2J\x9b31m\u202eevil\u2066\x07\0"),
        said("", choices=[{"index": 0, "delta": {}, "finish_reason": "stop"}]),
        b"data: [DONE]\n\n",
    )


@stream("usage-huge")
def _usage(talk: Talk) -> None:
    talk.send(said("a cat", usage={"prompt_tokens": 10**400, "completion_tokens": 10**25, "total_tokens": -(10**30)}), b"data: [DONE]\n\n")


@stream("error-deep")
def _error(talk: Talk) -> None:
    talk.send(b'data: {"error": {"message": ' + b"[" * 60 + b"]" * 60 + b"}}\n\n")


@stream("cut-letter")
def _cut(talk: Talk) -> None:
    talk.send(said("a cat")[:-3] + b"\xe2\x82")


@stream("after-done")
def _after(talk: Talk) -> None:
    talk.send(said("a cat"), b"data: [DONE]\n\n")
    while True:
        talk.send(said("more") * 500)


@stream("silence")
def _silence(talk: Talk) -> None:
    talk.send(said("a"))
    time.sleep(HOUR_S)


@attack()
def cookies(talk: Talk) -> None:
    if "cookie" in talk.headers:
        talk.json({"message": "a cookie came back"}, status="500 Cookie")
        return
    talk.json(good(), "Set-Cookie: session=1; Path=/", "Set-Cookie: other=" + "x" * 3000)


@attack()
def honest(talk: Talk) -> None:
    talk.json(good())


# The server.


class Server:
    """Serves all attacks on a port of 127.0.0.1 until `close`. `asked`: how many requests each attack had."""

    def __init__(self, port: int = 0, context: ssl.SSLContext | None = None) -> None:
        self._listening = socket.create_server(("127.0.0.1", port), backlog=256)
        self._context = context
        self.port = self._listening.getsockname()[1]
        self.asked: dict[str, int] = {}
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def url(self, name: str) -> str:
        """The base URL of a target that is this attack."""
        return f"http://127.0.0.1:{self.port}/{name}"

    def close(self) -> None:
        """Accepts nothing more."""
        self._listening.close()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listening.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        with contextlib.suppress(OSError, ValueError), sock:
            sock.settimeout(HOUR_S)
            talk = self._heard(sock)
            if talk is None:
                return
            name = talk.path.split("/")[1].partition("?")[0]
            with self._lock:
                talk.count = self.asked[name] = self.asked.get(name, 0) + 1
            talk.base = self.url(name)
            found = ATTACKS.get(name)
            if found is None:
                talk.json({"message": "there is no such attack"}, status="404 Not Found")
            else:
                found[1](talk)
            with contextlib.suppress(OSError):
                # Closed in order, so that what was sent arrives; an attack that wants a reset has said so to the socket.
                sock.shutdown(socket.SHUT_WR)
                sock.settimeout(0.2)
                while sock.recv(65536):
                    pass

    def _heard(self, sock: socket.socket) -> Talk | None:
        data = b""
        while b"\r\n\r\n" not in data:
            more = sock.recv(65536)
            if not more:
                return None
            data += more
        head, _, rest = data.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        method, path, *_ = [*first.split(" "), "", ""]
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        length = int(headers.get("content-length", "0"))
        pieces, got = [rest], len(rest)
        while got < length:
            more = sock.recv(65536)
            if not more:
                return None
            pieces.append(more)
            got += len(more)
        return Talk(sock, method, path, headers, b"".join(pieces), "", 0)


if __name__ == "__main__":
    served = Server(int(sys.argv[1]) if len(sys.argv) > 1 else 0)
    print(served.port, flush=True)
    threading.Event().wait()
