"""Attacks by the head of an answer: silence, drips, floods, what is no HTTP."""

from __future__ import annotations

import itertools
import json
import socket
import struct
import time
from collections.abc import Callable

from hostile.kit.talk import HOUR_S, UNREAD, Attack, Talk, attack, good, tls


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


@attack()
def http_1_0(talk: Talk) -> None:
    talk.send(b"HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n" + json.dumps(good()).encode())


@attack()
def http_2_word(talk: Talk) -> None:
    talk.send(b"HTTP/2 200\r\nContent-Type: application/json\r\n\r\n" + json.dumps(good()).encode())


@attack()
def http_9_9(talk: Talk) -> None:
    talk.send(b"HTTP/9.9 200 OK\r\nContent-Length: 2\r\n\r\n{}")


@attack()
def line_feeds_only(talk: Talk) -> None:
    talk.send(b"HTTP/1.1 200 OK\nContent-Type: application/json\n\n" + json.dumps(good()).encode())


@attack()
def returns_only(talk: Talk) -> None:
    talk.send(b"HTTP/1.1 200 OK\rContent-Type: application/json\r\r" + json.dumps(good()).encode())


@attack()
def no_reason(talk: Talk) -> None:
    talk.send(b"HTTP/1.1 200\r\nContent-Type: application/json\r\n\r\n" + json.dumps(good()).encode())


@attack()
def header_without_colon(talk: Talk) -> None:
    talk.send(b"HTTP/1.1 200 OK\r\nno colon here\r\nContent-Length: 2\r\n\r\n{}")


@attack()
def header_name_empty(talk: Talk) -> None:
    talk.send(b"HTTP/1.1 200 OK\r\n: nothing\r\nContent-Length: 2\r\n\r\n{}")


@attack()
def header_name_spaced(talk: Talk) -> None:
    talk.send(b"HTTP/1.1 200 OK\r\nContent-Length : 2\r\nBad Name: x\r\n\r\n{}")


@attack()
def header_not_latin(talk: Talk) -> None:
    talk.send(b"HTTP/1.1 200 OK\r\nX-Odd: \xff\xfe\xe2\x80\xae\r\nContent-Length: 2\r\n\r\n{}")


@attack()
def interim_then_silence(talk: Talk) -> None:
    talk.send(b"HTTP/1.1 100 Continue\r\n\r\n")
    time.sleep(HOUR_S)


@attack()
def interim_huge(talk: Talk) -> None:
    for _ in range(15):
        talk.send(b"HTTP/1.1 103 Early Hints\r\n" + b"Link: <" + b"y" * 60_000 + b">\r\n" * 2 + b"\r\n")
    talk.send(b"HTTP/1.1 103 Early Hints\r\nLink: ")
    while True:
        talk.send(b"y" * 65536)


@attack()
def interim_many_headers(talk: Talk) -> None:
    talk.send(b"HTTP/1.1 103 Early Hints\r\n")
    for number in itertools.count():
        talk.send(b"".join(b"X-%d-%d: y\r\n" % (number, each) for each in range(1000)))


@attack()
def interim_in_the_body(talk: Talk) -> None:
    talk.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n" + b"HTTP/1.1 100 Continue\r\n\r\n" * 100)


@attack()
def status_204_with_body(talk: Talk) -> None:
    talk.json(good(), status="204 No Content")


@attack()
def status_304_with_body(talk: Talk) -> None:
    talk.json(good(), status="304 Not Modified")


@attack()
def status_206(talk: Talk) -> None:
    talk.json(good(), "Content-Range: bytes 0-10/99999999999999999999", status="206 Partial Content")


@attack()
def status_000(talk: Talk) -> None:
    talk.json(good(), status="000 Nothing")


@attack()
def two_answers(talk: Talk) -> None:
    talk.json(good())
    talk.json({"data": [], "smuggled": True})
    time.sleep(3)


@attack()
def answer_before_it_is_asked(talk: Talk) -> None:
    talk.json(good())
    for _ in range(3):
        time.sleep(0.2)
        talk.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
    time.sleep(3)


def unread(name: str) -> Callable[[Attack], Attack]:
    """An attack that begins before the request's body was read."""
    UNREAD.add(name)
    return attack(name=name)


@unread("upload-never-read")
def _never(talk: Talk) -> None:
    time.sleep(HOUR_S)


@unread("upload-refused-early")
def _early(talk: Talk) -> None:
    talk.json({"message": "too large"}, status="413 Too Large")


@unread("upload-reset-early")
def _reset_early(talk: Talk) -> None:
    talk.json({"message": "too large"}, status="413 Too Large")
    reset(talk)


@unread("upload-answered-early")
def _answered(talk: Talk) -> None:
    talk.json(good())


# Where a target on this machine is asked whether it is a mock.


def health(name: str) -> Callable[[Attack], Attack]:
    """An attack on that question alone: all else is answered honestly."""

    def enter(function: Attack) -> Attack:
        def answer(talk: Talk) -> None:
            if "_testcard" in talk.path:
                function(talk)
            else:
                talk.json(good())

        attack(name=f"health-{name}")(answer)
        return function

    return enter


health("silent")(silent)
health("dripped")(dripped_headers)
health("interim-flood")(interim_flood)
health("rubbish")(rubbish_forever)
health("huge")(huge_header)
health("deep")(lambda talk: talk.reply(b"[" * 5_000_000))
health("odd")(lambda talk: talk.json({"status": ["ok"], "providers": {"nanogpt": 10**400}, "version": "\x1b[31m\x9b"}))
health("redirect")(lambda talk: talk.json({}, f"Location: {talk.elsewhere}/x", status="302 Found"))


# Interim answers with more to them, and what stands around an answer.


def headed(name: str, begin: bytes, status: bytes = b"200 OK") -> None:
    """A sound answer whose head holds these lines, and nothing but its length and type beside them."""

    def answer(talk: Talk) -> None:
        body = json.dumps(good()).encode()
        talk.send(b"HTTP/1.1 " + status + b"\r\n" + begin + b"Content-Length: %d\r\n\r\n" % len(body) + body)

    attack(name=name)(answer)


TYPE = b"Content-Type: application/json\r\n"
headed("type-missing", b"")
headed("type-empty", b"Content-Type:\r\n")
headed("type-twice", TYPE + b"Content-Type: text/event-stream\r\n")
headed("type-folded", b"Content-Type:\r\n\tapplication/json\r\n")
headed("type-list", b"Content-Type: application/json, text/html;q=1\r\n")
headed("obs-text", TYPE + b"X-Obs: " + bytes(range(0x80, 0x100)) + b"\r\nServer: \xc3\xa4\xe2\x80\xae\r\n")
headed("return-in-a-header", TYPE + b"X-A: b\rSet-Cookie: c=1\rContent-Length: 0\r\n")
headed("header-name-controls", TYPE + b"X-\x1b[31m\x9b: y\r\nX-\x00: y\r\n")
headed("header-names-odd", TYPE + b'"(),/:;<=>?@[]{}: y\r\n X: y\r\n:: y\r\n')
headed("keep-alive-huge", TYPE + b"Connection: keep-alive, keep-alive\r\nKeep-Alive: timeout=99999999999999999999, max=-1\r\n")
headed("connection-names-length", TYPE + b"Connection: content-length, content-type, transfer-encoding\r\n")
headed("status-words-turned", TYPE, b"200 \xe2\x80\xae\xe2\x81\xa6\xd8\x9c")
headed("status-tab", TYPE, b"200\tOK")
headed("status-two-spaces", TYPE, b" 200 OK")
headed("status-plus", TYPE, b"+200 OK")
headed("status-0200", TYPE, b"0200 OK")
headed("status-200-point", TYPE, b"200.0 OK")
headed("status-600", TYPE, b"600 Beyond")
headed("status-407", TYPE + b'Proxy-Authenticate: Basic realm="x"\r\n', b"407 Proxy")
headed("status-401-digest", TYPE + b'WWW-Authenticate: Digest realm="x", nonce="' + b"y" * 5000 + b'", Negotiate\r\n', b"401 No")
headed("status-426", TYPE + b"Upgrade: h2c, TLS/9\r\nConnection: upgrade\r\n", b"426 Upgrade")
headed("status-425", TYPE + b"Retry-After: 0\r\n", b"425 Early")
headed("status-418-cookies", TYPE + b"Set-Cookie: a=b; Domain=127.0.0.1\r\n" * 100, b"418 Tea")


@attack()
def header_leads_elsewhere(talk: Talk) -> None:
    where = talk.elsewhere
    talk.json(
        good(),
        f"Refresh: 0; url={where}",
        f'Alt-Svc: h2="{where}"',
        f"Link: <{where}>; rel=preload",
        f"Content-Location: {where}",
        f"Location: {where}",
    )


def interim(name: str, *heads: bytes) -> None:
    def answer(talk: Talk) -> None:
        talk.send(*heads)
        talk.json(good())

    attack(name=name)(answer)


interim("interim-with-a-body", b"HTTP/1.1 100 Continue\r\nContent-Length: 5\r\n\r\nhello")
interim("interim-that-closes", b"HTTP/1.1 100 Continue\r\nConnection: close\r\n\r\n")
interim("interim-chunked", b"HTTP/1.1 103 Early Hints\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
interim("interim-199", b"HTTP/1.1 199 What\r\n\r\n" * 3)
interim("interim-100-twice", b"HTTP/1.1 100 Continue\r\n\r\n" * 2)
interim("interim-101-then-200", b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n")
interim("interim-1-0", b"HTTP/1.0 100 Continue\r\n\r\n")
interim("interim-retry", b"HTTP/1.1 102 Processing\r\nRetry-After: 99999\r\nLocation: http://127.0.0.1:9/\r\n\r\n")


@attack()
def half_closed_before_the_head(talk: Talk) -> None:
    talk.sock.shutdown(socket.SHUT_WR)
    time.sleep(HOUR_S)


@attack()
def half_closed_in_the_head(talk: Talk) -> None:
    talk.send(b"HTTP/1.1 200 OK\r\nContent-Ty")
    talk.sock.shutdown(socket.SHUT_WR)
    time.sleep(HOUR_S)


@attack()
def poisoned_connection(talk: Talk) -> None:
    """A sound answer, and a while later another one that nobody asked for."""
    talk.json(good())
    time.sleep(0.3)
    talk.json({"message": "what the next request is answered"}, status="500 Poison")
    time.sleep(HOUR_S)


@attack()
def reset_after_the_answer(talk: Talk) -> None:
    talk.json(good())
    talk.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    talk.sock.close()


@attack()
def urgent_byte(talk: Talk) -> None:
    body = json.dumps(good()).encode()
    talk.begin(f"Content-Length: {len(body)}")
    talk.send(body[:10])
    talk.sock.send(b"!", socket.MSG_OOB)
    talk.send(body[10:])


# TLS, where the target is asked by https.


@tls("tls-silent")
def _tls_silent(sock: socket.socket) -> None:
    time.sleep(HOUR_S)


@tls("tls-close")
def _tls_close(sock: socket.socket) -> None:
    pass


@tls("tls-http")
def _tls_http(sock: socket.socket) -> None:
    sock.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 2\r\n\r\n{}")


@tls("tls-warnings")
def _tls_warnings(sock: socket.socket) -> None:
    while True:
        sock.sendall(b"\x15\x03\x03\x00\x02\x01\x5a" * 1000)


@tls("tls-dripped")
def _tls_dripped(sock: socket.socket) -> None:
    """The first record of a handshake, a byte at a time."""
    for one in b"\x16\x03\x03\x40\x00\x02\x00\xff\xff" + bytes(16384):
        sock.sendall(bytes([one]))
        time.sleep(0.1)


@tls("tls-handshake-endless")
def _tls_endless(sock: socket.socket) -> None:
    """A message of a handshake that says it has 16 MB, and goes on."""
    sock.sendall(b"\x16\x03\x03\x40\x00\x02\xff\xff\xff" + bytes(16380))
    while True:
        sock.sendall(b"\x16\x03\x03\x40\x00" + bytes(16384))


@tls("tls-half-closed")
def _tls_half_closed(sock: socket.socket) -> None:
    sock.shutdown(socket.SHUT_WR)
    time.sleep(HOUR_S)
