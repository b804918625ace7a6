"""Attacks by pictures: bombs, rubbish, formats that nobody asked for."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable

from hostile.kit.bodies import body
from hostile.kit.talk import b64, chunk, good, png, zeros


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
