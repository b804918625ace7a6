"""Attacks by length and framing: false lengths, endless and dripped bodies, chunks."""

from __future__ import annotations

import itertools
import json
import socket
import struct
import time

from hostile.kit.talk import HOUR_S, Talk, attack, good, heavy


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


def framed(name: str, head: bytes, body: bytes = b"{}") -> None:
    """An answer whose head says so of its body."""

    def answer(talk: Talk) -> None:
        talk.send(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n" + head + b"\r\n\r\n" + body)
        time.sleep(1)

    attack(name=name)(answer)


framed("length-plus", b"Content-Length: +2")
framed("length-hex", b"Content-Length: 0x2")
framed("length-list", b"Content-Length: 2, 2")
framed("length-list-differs", b"Content-Length: 2, 9000")
framed("length-fraction", b"Content-Length: 2.0")
framed("length-empty", b"Content-Length:")
framed("length-arabic", "Content-Length: \u0662".encode())
framed("length-leading-zeros", b"Content-Length: " + b"0" * 5000 + b"2")
framed("length-2-31-exactly", b"Content-Length: 2147483648")
framed("length-2-32-and-2", b"Content-Length: 4294967298")
framed("length-2-64-and-2", b"Content-Length: 18446744073709551618")
framed("chunked-twice", b"Transfer-Encoding: chunked, chunked", b"2\r\n{}\r\n0\r\n\r\n")
framed("chunked-two-fields", b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity", b"2\r\n{}\r\n0\r\n\r\n")
framed("chunked-spelled-oddly", b"Transfer-Encoding: \x0bchunked", b"2\r\n{}\r\n0\r\n\r\n")
framed("chunked-negative", b"Transfer-Encoding: chunked", b"-2\r\n{}\r\n0\r\n\r\n")
framed("chunked-long-size", b"Transfer-Encoding: chunked", b"0" * 2_000_000 + b"2\r\n{}\r\n0\r\n\r\n")
framed("chunked-size-too-small", b"Transfer-Encoding: chunked", b"1\r\n{}\r\n0\r\n\r\n")
framed("chunked-line-feeds", b"Transfer-Encoding: chunked", b"2\n{}\n0\n\n")
framed("chunked-huge-trailer", b"Transfer-Encoding: chunked", b"2\r\n{}\r\n0\r\nX: " + b"y" * 5_000_000 + b"\r\n\r\n")
framed(
    "chunked-trailer-says-length", b"Transfer-Encoding: chunked\r\nTrailer: Content-Length", b"2\r\n{}\r\n0\r\nContent-Length: 9000\r\n\r\n"
)
framed("connection-upgrade", b"Connection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 2")
framed("multipart-answer", b"Content-Type: multipart/form-data; boundary=" + b"x" * 5000 + b"\r\nContent-Length: 2")


@attack()
def length_2_31_and_flood(talk: Talk) -> None:
    talk.begin(f"Content-Length: {2**31}")
    while True:
        talk.send(b" " * 65536)


@attack()
def body_63_mb(talk: Talk) -> None:
    talk.reply(heavy(46_000_000))


@attack()
def body_63_mb_without_length(talk: Talk) -> None:
    talk.begin()
    talk.send(heavy(46_000_000))


@attack()
def body_in_bursts(talk: Talk) -> None:
    body = json.dumps(good()).encode()
    talk.begin(f"Content-Length: {len(body) + 100_000}")
    talk.send(body)
    talk.drip(itertools.repeat(b" " * 1000), every_s=0.8)


# Numbers that only some readers take for numbers, extensions and trailers with more to them.

for label, written in {
    "plus": b"+5", "comma": b"5,5", "list": b"5, 6", "hex": b"0x5", "semicolon": b"5;", "exponent": b"1e1", "fraction": b"5.0", "spaces": b" ",
    "underscore": b"1_0", "arabic": "\u0665".encode(), "superscript": b"\xb2", "zeros": b"0" * 3000 + b"5", "quoted": b'"5"', "minus-0": b"-0",
}.items():  # fmt: skip
    framed(f"length-{label}", b"Content-Length: " + written, b"{   }")

for label, written in {
    "plus": b"+2", "hex-word": b"0x2", "underscore": b"0_2", "space-before": b" 2", "space-after": b"2 ", "zeros": b"00000002", "arabic": "\u0662".encode(),
    "2-64": b"10000000000000002", "upper-x": b"0X2", "empty": b"", "fraction": b"2.0", "sign": b"2-", "letters": b"g2",
}.items():  # fmt: skip
    framed(f"chunked-size-{label}", b"Transfer-Encoding: chunked", written + b"\r\n{}\r\n0\r\n\r\n")

framed("chunked-extension-quoted", b"Transfer-Encoding: chunked", b'2;a="\r\n0\r\n\r\nHTTP/1.1 200 OK"\r\n{}\r\n0\r\n\r\n')
framed("chunked-extension-controls", b"Transfer-Encoding: chunked", b"2;\x1b[31m\x00=\x9b\r\n{}\r\n0;last\r\n\r\n")
framed("chunked-extensions-each", b"Transfer-Encoding: chunked", (b"1;" + b"x" * 4000 + b"\r\n \r\n") * 3000 + b"2\r\n{}\r\n0\r\n\r\n")
framed("chunked-no-line-end", b"Transfer-Encoding: chunked", b"2\r\n{}0\r\n\r\n")
framed("chunked-returns-only", b"Transfer-Encoding: chunked", b"2\r{}\r0\r\r")
framed("chunked-no-end", b"Transfer-Encoding: chunked", b"2\r\n{}\r\n")
framed("chunked-0-first", b"Transfer-Encoding: chunked", b"0\r\n\r\n2\r\n{}\r\n0\r\n\r\n")
framed(
    "chunked-trailers-odd",
    b"Transfer-Encoding: chunked\r\nTrailer: Location, Set-Cookie, Content-Encoding",
    b"2\r\n{}\r\n0\r\nContent-Encoding: gzip\r\nSet-Cookie: a=b\r\nLocation: http://127.0.0.1:9/\r\nTransfer-Encoding: chunked\r\n\x00: \x9b\r\n\r\n",
)
framed("transfer-gzip", b"Transfer-Encoding: gzip", b"{}")
framed("transfer-gzip-chunked", b"Transfer-Encoding: gzip, chunked", b"2\r\n{}\r\n0\r\n\r\n")
framed("transfer-unknown", b"Transfer-Encoding: cow\r\nContent-Length: 2")
framed("transfer-empty", b"Transfer-Encoding:\r\nContent-Length: 2")
framed("transfer-upper-case", b"TRANSFER-ENCODING: CHUNKED", b"2\r\n{}\r\n0\r\n\r\n")
framed("transfer-comma", b"Transfer-Encoding: , ,chunked,", b"2\r\n{}\r\n0\r\n\r\n")
framed("ranges", b"Content-Type: multipart/byteranges; boundary=x\r\nContent-Range: bytes 0-1/2\r\nContent-Length: 2")


@attack()
def reset_after_the_head(talk: Talk) -> None:
    talk.begin("Content-Length: 500")
    talk.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@attack()
def half_closed_whole(talk: Talk) -> None:
    """All that was asked for, without a length; the other half of the connection stays open."""
    talk.begin()
    talk.send(json.dumps(good()).encode())
    talk.sock.shutdown(socket.SHUT_WR)
    time.sleep(HOUR_S)


@attack()
def chunked_then_silence(talk: Talk) -> None:
    body = json.dumps(good()).encode()
    talk.send(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n" % (len(body), body))
    time.sleep(HOUR_S)


@attack()
def chunked_trailer_dripped(talk: Talk) -> None:
    talk.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nX: ")
    talk.drip(itertools.repeat(b"y"))


@attack()
def chunked_extension_dripped(talk: Talk) -> None:
    talk.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;")
    talk.drip(itertools.repeat(b"y"))
