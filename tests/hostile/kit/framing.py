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
