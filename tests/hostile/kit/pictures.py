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


def flat(kind: str, **more: object) -> bytes:
    """A picture of a format as Pillow writes it."""
    import io

    from PIL import Image

    out = io.BytesIO()
    Image.new("RGB", (256, 256), (200, 30, 40)).save(out, kind, **more)
    return out.getvalue()


def animated(kind: str, frames: int) -> bytes:
    """A picture of so many frames."""
    import io

    from PIL import Image

    each = [Image.new("RGB", (64, 64), (number % 256, number // 256 % 256, 0)) for number in range(frames)]
    out = io.BytesIO()
    each[0].save(out, kind, save_all=True, append_images=each[1:], duration=1)
    return out.getvalue()


def scans(count: int) -> bytes:
    """A progressive JPEG whose last scan comes so many times."""
    found = flat("JPEG", progressive=True)
    last = found.rindex(b"\xff\xda")
    return found[:last] + found[last:-2] * count + b"\xff\xd9"


def exif(size: int) -> bytes:
    """A JPEG with so much of its own data before its pixels."""
    found = flat("JPEG")
    return found[:2] + (b"\xff\xe1\xff\xff" + b"Exif\0\0" + bytes(65_527)) * (size // 65_537) + found[2:]


def interlaced(edge: int) -> bytes:
    found = png(edge, edge, depth=1, colour=0)
    header = found[16:28] + b"\1"
    return found[:8] + chunk(b"IHDR", header) + found[33:]


picture("png-0", lambda: png(0, 0, empty=True))
picture("png-2-31", lambda: png(2**31 - 1, 2**31 - 1, empty=True))
picture("png-2-32", lambda: png(2**32 - 1, 1, empty=True))
picture("png-depth-odd", lambda: png(64, 64).replace(b"\x08\x02\0\0\0", b"\x07\x09\x05\x05\x05"))
picture("png-no-header", lambda: b"\x89PNG\r\n\x1a\n" + chunk(b"IDAT", zeros(1 << 20, 15)) + chunk(b"IEND", b""))
picture("png-two-headers", lambda: png(64, 64, chunk(b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, 6, 0, 0, 0))))
picture("png-bad-sums", lambda: bytes(255 - one if index > 40 else one for index, one in enumerate(png(256, 256))))
picture("png-interlaced-39-megapixels", lambda: interlaced(6240))
picture("png-tail", lambda: png(256, 256) + b"\0" * 20_000_000)
picture("png-exif-huge", lambda: png(256, 256, chunk(b"eXIf", bytes(20_000_000))))
picture("png-palette-huge", lambda: png(256, 256, chunk(b"PLTE", bytes(3_000_000))))
picture("png-transparency-odd", lambda: png(256, 256, chunk(b"tRNS", bytes(1_000_000))))
picture("itxt-controls", lambda: png(256, 256, chunk(b"iTXt", "k\0\0\0\0\0\x1b[31m\x9b\u202e".encode())))
picture("apng-2000", lambda: animated("PNG", 2000))
picture("webp-2000", lambda: animated("WEBP", 300))
picture("gif-3000", lambda: animated("GIF", 300))
picture("gif-0", lambda: b"GIF89a" + bytes(4) + b"\0\0\0;")
picture("gif-65535", lambda: gif(1, 65_535))
picture("gif-blocks-endless", lambda: b"GIF89a\x10\0\x10\0\x80\0\0\0\0\0\xff\xff\xff" + b"!\xfe\xff" + b"\xff" * 20_000_000)
picture("jpeg-scans", lambda: scans(500))
picture("jpeg-exif", lambda: exif(20_000_000))
picture("jpeg-cut", lambda: flat("JPEG")[:300])
picture("jpeg-tail", lambda: flat("JPEG") + b"\xff\xd8" * 1_000_000)
picture("webp-cut", lambda: flat("WEBP")[:-40])
picture("webp-claims", lambda: b"RIFF\x1a\0\0\0WEBPVP8X\x0a\0\0\0\x10\0\0\0\xff\xff\xff\xff\xff\xff" + b"ANMF\xff\xff\xff\x7f" * 100_000)
picture("bmp-claims", lambda: b"BM" + struct.pack("<IHHIIiiHHIIiiII", 54, 0, 0, 54, 40, 2**31 - 1, 2**31 - 1, 1, 24, 0, 0, 0, 0, 0, 0))
picture("ico", lambda: b"\0\0\1\0\xff\xff" + bytes(16) * 65_535)
picture("psd", lambda: b"8BPS\0\1" + bytes(6) + struct.pack(">HIIHH", 3, 300_000, 300_000, 8, 3) + bytes(100))
picture("jp2", lambda: b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(1000))
picture("heic", lambda: b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(1000))
picture("pdf", lambda: b"%PDF-1.7\n1 0 obj<</Type/Catalog>>endobj\n" * 1000)
picture("fits", lambda: b"SIMPLE  =                    T" + b" " * 3000)
picture("msp-wmf", lambda: b"\xd7\xcd\xc6\x9a" + bytes(1000))
picture("zip", lambda: b"PK\3\4" + bytes(10_000))
picture("pickle", lambda: b"cos\nsystem\n(S'touch /tmp/owned'\ntR.")
picture("nothing", lambda: b"")
picture("one-byte", lambda: b"\x89")


def spelled(name: str, text: Callable[[], str]) -> None:
    body(name, lambda: json.dumps(good(data=[{"b64_json": text()}])).encode())


spelled("base64-wrapped", lambda: "\n".join(b64(png(256, 256))))
spelled("base64-url-safe", lambda: b64(png(256, 256)).replace("+", "-").replace("/", "_").rstrip("="))
spelled("base64-padding", lambda: b64(png(256, 256)) + "=" * 1_000_000)
spelled("base64-data-url-in-it", lambda: "data:image/png;base64," * 10_000 + b64(png(256, 256)))
spelled("base64-nul", lambda: b64(png(256, 256))[:100] + "\0" * 1000 + b64(png(256, 256))[100:])
spelled("base64-twice", lambda: b64(b64(png(256, 256)).encode()))
spelled("base64-not-ascii", lambda: "\u202e" + b64(png(256, 256)) + "\u0661")
body("pictures-65", lambda: json.dumps(good(data=[{"b64_json": b64(png(256, 256))}] * 65)).encode())
body("pictures-64-bombs", lambda: json.dumps(good(data=[{"b64_json": b64(png(6000, 6000, depth=1, colour=0))}] * 64)).encode())
