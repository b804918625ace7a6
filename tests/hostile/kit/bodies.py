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
