"""Attacks by what a body holds: content codings, JSON, and waits that it or its head asks for."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable

from hostile.kit.talk import Talk, attack, b64, good, once, png, zeros

# Content codings.


def coded(name: str, body: Callable[[], bytes], label: str) -> None:
    made = once(name, body)

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
    made = once(name, make)

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


# Codings of other answers than successes, and dripped.


def coded_error(name: str, status: str, make: Callable[[], bytes], label: str) -> None:
    made = once(name, make)
    attack(name=name)(lambda talk: talk.reply(made(), f"Content-Encoding: {label}", status=status))


coded_error("gzip-bomb-400", "400 Bad Request", lambda: zeros(4 << 30), "gzip")
coded_error("gzip-bomb-401", "401 Unauthorized", lambda: zeros(4 << 30), "gzip")
coded_error("gzip-bomb-429", "429 Too Many", lambda: zeros(4 << 30), "gzip")
coded_error("gzip-bomb-500", "500 Oops", lambda: zeros(4 << 30), "gzip")
coded("gzip-deflate-bomb", lambda: zlib.compress(zeros(4 << 30)), "gzip, deflate")
coded("identity-bomb", lambda: b" " * 80_000_000, "identity, identity")
coded("coding-long", lambda: b"{}", "x" * 50_000)
coded("coding-commas", lambda: b"{}", "," * 50_000)
coded("coding-upper-case", lambda: zeros(1 << 30), "GZIP")
coded("coding-x-gzip", lambda: zeros(1 << 30), "x-gzip")
coded("coding-aws-chunked", lambda: b"2\r\n{}\r\n0\r\n\r\n", "aws-chunked")
coded("coding-compress", lambda: b"\x1f\x9d\x90" + bytes(1000), "compress")


@attack()
def gzip_bomb_chunked(talk: Talk) -> None:
    talk.send(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n")
    bomb = zeros(1 << 30)
    for begin in range(0, len(bomb), 1000):
        piece = bomb[begin : begin + 1000]
        talk.send(b"%x\r\n%s\r\n" % (len(piece), piece))
    talk.send(b"0\r\n\r\n")


@attack()
def gzip_dripped(talk: Talk) -> None:
    talk.begin("Content-Encoding: gzip")
    talk.drip(bytes([one]) for one in zeros(1 << 30))


@attack()
def gzip_endless_empty_members(talk: Talk) -> None:
    member = zlib.compressobj(9, zlib.DEFLATED, 31)
    empty = member.flush() * 1000
    talk.begin("Content-Encoding: gzip")
    while True:
        talk.send(empty)


# Numbers and shapes.

body("exponent-huge", within("1e99999999999999999999"))
body("exponent-tiny", within("1e-99999999999999999999"))
body("fraction-of-a-megabyte", within("0." + "1" * 1_000_000))
body("cost-text-of-a-megabyte", within('"' + "9" * 1_000_000 + '"'))
body("cost-text-nan", within('"nan"'))
body("cost-text-spaces", within('"' + " " * 1_000_000 + '1"'))
body("cost-true", within("true"))
body("cost-list", within("[1e999]"))
body("balance-negative", within("-1e308", "remainingBalance"))
body("created-list", within("[1]", "created"))
body("created-float-nan", within("NaN", "created"))
body("data-null", lambda: b'{"data": null}')
body("data-text", lambda: b'{"data": "iVBORw0KGgo="}')
body("data-nested", lambda: b'{"data": [[[{"b64_json": "AA=="}]]]}')
body("b64-number", lambda: b'{"data": [{"b64_json": 1e999}]}')
body("b64-object", lambda: b'{"data": [{"b64_json": {"a": 1}}]}')
body("both-places", lambda: json.dumps(good(data=[{"b64_json": "AA==", "url": "http://127.0.0.1:9/x"}])).encode())
body("key-of-a-megabyte", lambda: json.dumps(good(**{"k" * 1_000_000: 1})).encode())
body("keys-alike", lambda: json.dumps(good()).encode()[:-1] + b"".join(b',"x%07d":0' % number for number in range(9000)) + b"}")
body("pointer-keys", lambda: json.dumps(good(**{"a/b~0~1": 1, "/data/0": 2, "": 3, "\x00": 4, "__proto__": {"x": 1}})).encode())
body("byte-order-mark", lambda: b"\xef\xbb\xbf" + json.dumps(good()).encode())
body("json-then-rubbish", lambda: json.dumps(good()).encode() + b"\0" * 1_000_000)
body("json-twice", lambda: json.dumps(good()).encode() * 2)
body("json-comments", lambda: b"/* x */" + json.dumps(good()).encode())
body("long-error-code", lambda: json.dumps({"error": {"code": "c" * 5_000_000, "message": "no"}}).encode(), status="400 Bad Request")
body("error-list", lambda: json.dumps({"error": [{"message": "no"}] * 3000, "detail": [["x"]] * 3000}).encode(), status="422 No")
body("error-as-success", lambda: b'{"error": {"message": "no"}}')
body("pydantic-detail", lambda: json.dumps({"detail": [{"loc": ["body"] * 4000, "msg": "y" * 100_000}]}).encode(), status="422 No")
body("media-type-long", lambda: json.dumps(good()).encode(), kind="application/json; " + "x" * 50_000)
body("media-type-controls", lambda: json.dumps(good()).encode(), kind="application/\x1b[31m\x9b; charset=\x07")
body("charset-unknown", lambda: json.dumps(good()).encode(), kind="application/json; charset=utf-7")
body("charset-utf-16", lambda: json.dumps(good()).encode(), kind="application/json; charset=utf-16")
body("media-type-xml", lambda: b'<!DOCTYPE x [<!ENTITY a "aa">' + b'<!ENTITY b "&a;&a;">' * 1000 + b"]><x>&b;</x>", kind="application/xml")
body("media-type-picture", lambda: png(256, 256), kind="image/png")
body("media-type-stream", lambda: b"data: {}\n\n" * 10_000, kind="text/event-stream")

body("retry-after-twice", lambda: b'{"message": "slow down"}', "Retry-After: 1", "Retry-After: 99999999", status="429 Too Many")
body("retry-after-fraction", lambda: b'{"message": "slow down"}', "Retry-After: 0.5", status="429 Too Many")
body("retry-after-past", lambda: b'{"message": "slow down"}', "Retry-After: Mon, 01 Jan 1990 00:00:00 GMT", status="429 Too Many")
body("retry-after-controls", lambda: b'{"message": "slow down"}', "Retry-After: \x1b[31m\x9b", status="503 Busy")
body("account-empty", lambda: b'{"message": "no credit"}', status="402 Pay")
body("key-refused", lambda: b'{"message": "no such key"}', status="401 Unauthorized")
body("forbidden-account", lambda: b'{"message": "your account is suspended"}', status="403 Forbidden")


# Codings that are not what they are called.


def packed(data: bytes, wbits: int) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, wbits)
    return packer.compress(data) + packer.flush()


def sound() -> bytes:
    return json.dumps(good()).encode()


coded("deflate-raw", lambda: packed(sound(), -15), "deflate")
coded("deflate-zlib", lambda: packed(sound(), 15), "deflate")
coded("deflate-in-fact-gzip", lambda: packed(sound(), 31), "deflate")
coded("gzip-in-fact-deflate", lambda: packed(sound(), 15), "gzip")
coded("gzip-deflate-stacked", lambda: packed(packed(sound(), 31), 15), "gzip, deflate")
coded("zstd-not-sent", sound, "zstd")
coded("br-not-sent", sound, "br")
coded("coding-empty", sound, "")
coded("coding-quoted", lambda: packed(sound(), 31), '"gzip"')
coded("coding-weighed", lambda: packed(sound(), 31), "gzip;q=1.0")
coded("coding-star", sound, "*")
coded("coding-controls", sound, "\x1b[31m\x9b")
coded("coding-identity-gzip", lambda: packed(sound(), 31), "identity, gzip, identity")
coded("coding-two-fields", lambda: packed(packed(sound(), 31), 31), "gzip\r\nContent-Encoding: gzip")
coded("coding-folded", lambda: packed(sound(), 31), "\r\n gzip")
coded("gzip-long-name", lambda: b"\x1f\x8b\x08\x08" + bytes(6) + b"x" * 30_000_000, "gzip")
coded("gzip-extra", lambda: (b"\x1f\x8b\x08\x04" + bytes(6) + b"\xff\xff" + bytes(65535) + packed(b"", -15) + bytes(8)) * 400, "gzip")
coded("gzip-bad-sum", lambda: packed(sound(), 31)[:-8] + b"\0" * 8, "gzip")
coded("gzip-second-member-bomb", lambda: packed(sound(), 31) + zeros(1 << 30), "gzip")
coded("deflate-dictionary", lambda: b"\x78\xbb\0\0\0\1" + packed(sound(), -15), "deflate")
coded("deflate-empty-blocks", lambda: b"\0\0\0\xff\xff" * 10_000_000, "deflate")
coded("deflate-empty-huffman", lambda: b"\x02\x08\x20\x80" * 12_000_000, "deflate")


@attack()
def gzip_after_the_length(talk: Talk) -> None:
    """The length of what is unpacked instead of what is sent."""
    data = packed(sound(), 31)
    talk.reply(data, "Content-Encoding: gzip", length=len(sound()))


# JSON that readers read differently.

body("json-nul-between", lambda: sound().replace(b", ", b",\0", 1))
body("json-nul-after", lambda: sound() + b"\0")
body("json-data-twice", lambda: sound()[:-1] + b', "data": []}')
body("json-data-twice-then-sound", lambda: b'{"data": "no", ' + sound()[1:])
body("json-name-escaped", lambda: sound().replace(b'"data"', b'"\\u0064ata"'))
body("json-name-upper-case", lambda: sound().replace(b'"data"', b'"DATA"'))
body("json-data-nan", lambda: b'{"created": 1, "data": NaN}')
body("json-picture-nan", lambda: b'{"created": 1, "data": [NaN, {"b64_json": Infinity}]}')
body("json-minus-0", within("-0"))
body("json-exponent-minus", within("1e-400"))
body("json-exponent-digits", within("1e" + "0" * 100_000 + "1"))
body("json-leading-0", within("007"))
body("json-plus", within("+1"))
body("json-hex", within("0x10"))
body("json-point-first", within(".5"))
body("json-digits-4300-many", lambda: json.dumps(good(extra="@")).replace('"@"', "[" + ",".join(["1" * 4300] * 8000) + "]").encode())
body("json-fractions-many", lambda: json.dumps(good(extra="@")).replace('"@"', "[" + ",".join(["0." + "1" * 4300] * 8000) + "]").encode())
body("json-exponents-many", lambda: json.dumps(good(extra="@")).replace('"@"', "[" + ",".join(["1e999"] * 9000) + "]").encode())
body("json-escapes-5-mb", lambda: b'{"message": "' + b"\\u0000" * 5_000_000 + b'"}', status="400 Bad Request")
body("json-string-of-brackets", lambda: b'{"message": "' + b"[" * 10_000_000 + b'"}', status="400 Bad Request")
body("json-string-of-quotes", lambda: b'{"message": "' + b'\\"' * 10_000_000 + b'"}', status="400 Bad Request")
body("json-string-of-backslashes", lambda: b'{"message": "' + b"\\" * 20_000_000 + b'"}', status="400 Bad Request")
body("json-in-a-string", lambda: json.dumps(json.dumps(json.dumps(good()))).encode())
body("json-lines", lambda: b"\n".join([sound()] * 5))
body("json-trailing-comma", lambda: sound()[:-1] + b",}")
body("json-single-quotes", lambda: sound().replace(b'"', b"'"))
body("json-control-in-a-string", lambda: b'{"message": "a\nb\x1b[31m\x00"}', status="400 Bad Request")
body("json-overlong", lambda: b'{"message": "\xc0\x80\xe0\x80\xaf\xf8\x88\x80\x80\x80"}', status="400 Bad Request")
body("json-surrogate-bytes", lambda: b'{"message": "\xed\xa0\x80\xed\xbf\xbf"}', status="400 Bad Request")
body("json-utf-16-no-mark", lambda: json.dumps(good()).encode("utf-16-be"))
body("json-utf-7", lambda: json.dumps(good()).encode("utf-7"), kind="application/json; charset=utf-7")
body("json-marks", lambda: b"\xef\xbb\xbf" * 3 + sound())
body("json-spaces-30-mb", lambda: b" " * 30_000_000 + sound())
body("json-spaces-within", lambda: sound().replace(b", ", b"," + b"\n" * 5_000_000, 1))
body("json-names-alike", lambda: b"{" + b",".join(b'"%s": 1' % (b"a" * 3000) for _ in range(9000)) + b"}")
body("json-names-empty", lambda: b"{" + b'"": 1,' * 9000 + b'"": {}}')
body("json-error-names", lambda: b'{"error": {' + b",".join(b'"k%d": "v"' % one for one in range(9000)) + b"}}", status="500 Oops")
body("json-error-words-huge", lambda: json.dumps({"detail": [{"msg": "x" * 5000, "loc": ["b"]}] * 3000}).encode(), status="422 No")
body("json-created-bool", within("true", "created"))
body("json-balance-object", within('{"a": 1e999}', "remainingBalance"))
body("jsonp", lambda: b"callback(" + sound() + b")")
body("json-prefixed", lambda: b")]}',\n" + sound())

# Waits that are lies.

for label, value in {
    "0": "0", "minus-0": "-0", "plus": "+1", "unit": "1000ms", "hex": "0x10", "list": "1, 99999", "two-digit-year": "Sunday, 06-Nov-94 08:49:37 GMT",
    "asctime": "Sun Nov  6 08:49:37 2094", "no-zone": "Sun, 06 Nov 2094 08:49:37", "arabic": "\xd9\xa1", "space": " ", "exponent": "1e3", "99-digits": "9" * 99 + ".5",
}.items():  # fmt: skip
    body(f"retry-after-{label}", lambda: b'{"message": "slow down"}', f"Retry-After: {value}", status="429 Too Many")
body("retry-after-503-0", lambda: b'{"message": "later"}', "Retry-After: 0", status="503 Busy")
body("retry-after-200", sound, "Retry-After: 99999")
body(
    "rate-headers-huge",
    sound,
    "X-RateLimit-Reset: 1e999",
    "RateLimit-Remaining: -1",
    "RateLimit: limit=x;r=0;t=99999999999",
    "X-RateLimit-Limit: \x1b[31m",
)


@attack()
def retry_after_that_lies(talk: Talk) -> None:
    """Asks to come back in a second, every time, with another body."""
    talk.json({"message": f"slow down {talk.count}"}, "Retry-After: 1", status=("429 Too Many", "503 Busy")[talk.count % 2])
