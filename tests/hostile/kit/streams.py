"""Attacks by event streams."""

from __future__ import annotations

import itertools
import socket
import time
from collections.abc import Callable

from hostile.kit.talk import HOUR_S, Attack, Talk, attack, good, said, sse, zeros


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


def streamed(name: str, *pieces: bytes) -> None:
    """A stream of these pieces and its end."""

    def answer(talk: Talk) -> None:
        talk.send(*pieces)

    stream(name)(answer)


DONE = b"data: [DONE]\n\n"
streamed("id-huge", said("x", id="c" * 5_000_000), DONE)
streamed("event-40-mb", b"data: " + b"x" * 40_000_000 + b"\n\n", DONE)
streamed("event-60-mb", b"data: " + b"x" * 60_000_000 + b"\n\n", DONE)
streamed("lines-million", b"data: x\n" * 1_000_000 + b"\n", DONE)
streamed("fields-unknown", b"zzz: y\n" * 1_000_000 + b"\n", said("a cat"), DONE)
streamed("retry-huge", b"retry: " + b"9" * 100_000 + b"\n\n", said("a cat"), DONE)
streamed("marks", b"\xef\xbb\xbf" * 100_000, said("a cat"), DONE)
streamed("choices-many", said("x", choices=[{"index": number, "delta": {"content": "x"}} for number in range(5000)]), DONE)
streamed("choice-index-huge", said("x", choices=[{"index": 10**18, "delta": {"content": "x"}}]), DONE)
streamed("choice-index-negative", said("x", choices=[{"index": -5, "delta": {"content": "x"}}]), DONE)
streamed("delta-list", said("x", choices=[{"index": 0, "delta": ["x"]}]), said("x", choices="no"), said("x", choices=[None, 5]), DONE)
streamed("content-object", said("x", choices=[{"index": 0, "delta": {"content": {"a": []}}}]), DONE)
streamed("values", b'data: 5\n\ndata: null\n\ndata: "x"\n\ndata: []\n\ndata: true\n\ndata: 1e999\n\n', DONE)
streamed("usages", *[said("x", usage={"prompt_tokens": number, "completion_tokens": -number}) for number in range(3000)], DONE)
streamed("not-utf8", said("a cat")[:-3] + b'\xff\xfe\xc3\x28"}}]}\n\n', DONE)
streamed("surrogates", said("a cat").replace(b"a cat", b"\\ud800 \\udfff"), DONE)
streamed("done-many", said("a cat"), DONE * 100_000)
streamed("finish-odd", said("", choices=[{"index": 0, "delta": {}, "finish_reason": "\x1b[31m" + "x" * 1_000_000}]), DONE)
streamed("error-midway", said("a"), b'data: {"error": {"message": "\\u001b[2J\\u009b", "code": 1e999}}\n\n')
streamed("html", b"<html>" * 100_000)
streamed("bodyless")


@stream("one-byte-each")
def _one_each(talk: Talk) -> None:
    for one in said("a cat") * 20 + DONE:
        talk.send(bytes([one]))


@attack("nvidia-nim-vision")
def stream_gzip_bomb(talk: Talk) -> None:
    talk.begin("Content-Encoding: gzip", kind="text/event-stream")
    talk.send(zeros(1 << 30))


@attack("nvidia-nim-vision")
def stream_status_500(talk: Talk) -> None:
    talk.begin(status="500 Oops", kind="text/event-stream")
    while True:
        talk.send(said("word ") * 500)


@attack("nvidia-nim-vision")
def stream_length_huge(talk: Talk) -> None:
    talk.begin(f"Content-Length: {2**40}", kind="text/event-stream")
    talk.send(said("a cat"), DONE)
    time.sleep(HOUR_S)


@stream("comment-endless")
def _comment(talk: Talk) -> None:
    talk.send(b": ")
    while True:
        talk.send(b"x" * 65536)


@stream("id-field-endless")
def _id_field(talk: Talk) -> None:
    talk.send(b"id: ")
    while True:
        talk.send(b"9" * 65536)


@stream("comments-long")
def _comments_long(talk: Talk) -> None:
    while True:
        talk.send(b": " + b"x" * 1_000_000 + b"\n")


@stream("events-empty")
def _events_empty(talk: Talk) -> None:
    while True:
        talk.send(b"data:\n\n" * 10_000)


streamed("id-fields-huge", *[b"id: " + b"9" * 1_000_000 + b"\n\n"] * 30, said("a cat"), DONE)
streamed("id-nul", b"id: a\0b\n", said("a cat"), DONE)
streamed("retry-many", b"retry: 99999999999\n\n" * 100_000, said("a cat"), DONE)
streamed("retry-odd", b"retry: -1\nretry: 1e999\nretry: \xd9\xa1\nretry:\n\n", said("a cat"), DONE)
streamed("names", b"event: error\n" + said("a cat"), b"event: \x1b[31m\x9b\n" + said("b"), b"event: " + b"x" * 1_000_000 + b"\n\n", DONE)
streamed("mark-midway", said("a"), b"\xef\xbb\xbf" + said(" cat"), DONE)
streamed("line-ends-mixed", said("a").replace(b"\n\n", b"\r\r"), said(" cat").replace(b"\n\n", b"\r\n\n"), DONE)
streamed("colonless", b"data\n\ndata\ndata\n\nDATA: x\n\n data: x\n\n", said("a cat"), DONE)
streamed("over-lines", said("a cat").replace(b", ", b",\ndata: "), DONE)
streamed("done-odd", said("a cat"), b"data: [done]\n\ndata: [DONE] \n\ndata:[DONE]\n\n")
streamed(
    "tool-calls",
    said("x", choices=[{"index": 0, "delta": {"tool_calls": [{"index": 10**9, "function": {"arguments": "x" * 1_000_000}}] * 20}}]),
    DONE,
)
streamed("roles", *[said("x", choices=[{"index": 0, "delta": {"role": "\x1b[31m", "content": None}}])] * 2000, DONE)
streamed("model-changes", *[said("x", model=f"\x1b[31m\x9b\u061c{number}") for number in range(2000)], DONE)
streamed("created-odd", *[said("x", created=one) for one in (10**400, -1, "soon", None, [], True)], DONE)
streamed("content-huge", said("x" * 30_000_000), DONE)
streamed("surrogate-halves", said("a").replace(b'"a"', b'"\\ud83d"'), said("b").replace(b'"b"', b'"\\ude00"'), DONE)
streamed("json-instead", b'{"id": "c1", "choices": [{"index": 0, "message": {"role": "assistant", "content": "a cat"}}]}')
streamed("nul-bytes", b"\0" * 100_000, said("a cat"), DONE)
streamed("deep-delta", b'data: {"choices": [{"index": 0, "delta": {"content": ' + b"[" * 60 + b"]" * 60 + b"}}]}\n\n", DONE)


@attack("nvidia-nim-vision")
def stream_charset(talk: Talk) -> None:
    talk.begin(kind="text/event-stream; charset=utf-16")
    talk.send((said("a cat") + DONE).decode().encode("utf-16"))


@attack("nvidia-nim-vision")
def stream_as_json(talk: Talk) -> None:
    talk.begin(kind="application/json")
    talk.send(said("a cat"), DONE)


@attack("nvidia-nim-vision")
def stream_redirect(talk: Talk) -> None:
    talk.json({}, f"Location: {talk.elsewhere}/v1/chat/completions", status="307 Temporary Redirect")


@attack("nvidia-nim-vision")
def stream_chunk_extensions(talk: Talk) -> None:
    talk.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        talk.send((b"1;" + b"x" * 4000 + b"\r\n:\r\n") * 100)


@attack("nvidia-nim-vision")
def stream_half_closed(talk: Talk) -> None:
    sse(talk)
    talk.send(said("a cat"))
    talk.sock.shutdown(socket.SHUT_WR)
    time.sleep(HOUR_S)
