"""What every attack is made of: one request with its connection, the list that attacks enter, and what an honest server would send."""

from __future__ import annotations

import base64
import functools
import json
import socket
import struct
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
    #: The same server by another port: another origin, which no key and no cookie may reach.
    elsewhere: str = ""
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


#: Attacks that answer, or do not, before the request's body was read.
UNREAD: set[str] = set()


#: What is done to a connection whose other side begins TLS, by the name of the attack; the target of those is asked by https.
TLS: dict[str, Callable[[socket.socket], None]] = {}


def tls(name: str) -> Callable[[Callable[[socket.socket], None]], Callable[[socket.socket], None]]:
    """Enters an attack on the handshake of TLS."""

    def enter(function: Callable[[socket.socket], None]) -> Callable[[socket.socket], None]:
        TLS[name] = function
        ATTACKS[name] = ("nanogpt", lambda talk: talk.json({"message": "this one is asked by https"}, status="400 Bad Request"))
        return function

    return enter


def attack(provider: str = "nanogpt", name: str | None = None) -> Callable[[Attack], Attack]:
    """Enters an attack under its function's name."""

    def enter(function: Attack) -> Attack:
        ATTACKS[(name or function.__name__).replace("_", "-")] = (provider, function)
        return function

    return enter


#: What makes the bodies of attacks that take a while to make, by name: called before anybody's time is taken.
READY: dict[str, Callable[[], bytes]] = {}


def once(name: str, make: Callable[[], bytes]) -> Callable[[], bytes]:
    """The body of an attack, made by the first who asks while the others wait."""
    making, made = threading.Lock(), []

    def body() -> bytes:
        with making:
            if not made:
                made.append(make())
        return made[0]

    READY[name] = body
    return body


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
    """So many zeros (whole MiB), compressed so many times. Blocks that are flushed are alike, so that one of them is enough."""
    packer, block, count = zlib.compressobj(9, zlib.DEFLATED, -15), bytes(1 << 20), size >> 20
    once_more = packer.compress(block) + packer.flush(zlib.Z_FULL_FLUSH)
    data = once_more * count + packer.flush()
    if wbits == 31:
        sums = functools.reduce(lambda so_far, _: zlib.crc32(block, so_far), range(count), 0)
        data = b"\x1f\x8b\x08\0\0\0\0\0\2\xff" + data + struct.pack("<II", sums, size & 0xFFFFFFFF)
    elif wbits == 15:
        data = b"\x78\xda" + data + struct.pack(">I", (size % 65521) << 16 | 1)
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
