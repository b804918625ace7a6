"""Attacks by the head of an answer: silence, drips, floods, what is no HTTP."""

from __future__ import annotations

import itertools
import json
import socket
import struct
import time

from hostile.kit.talk import HOUR_S, Talk, attack, good


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
