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
