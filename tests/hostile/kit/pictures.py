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


# Pictures of many parts that are not counted where one looks for them.


def frames_bare(frames: int, edge: int = 16) -> bytes:
    """A GIF whose frames have no control blocks."""
    size = struct.pack("<HH", edge, edge)
    return b"GIF89a" + size + b"\x80\0\0\0\0\0\xff\xff\xff" + (b",\0\0\0\0" + size + b"\0\x02\x02\x44\x01\0") * frames + b";"


def segment(marker: int, data: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(data) + 2) + data


def after(kind: bytes, data: bytes, count: int) -> bytes:
    """A PNG with chunks between its pixels and its end."""
    found = png(256, 256)
    return found[:-12] + chunk(kind, data) * count + found[-12:]


def turning_exif() -> bytes:
    """EXIF whose directories lead to one another."""
    first = struct.pack("<H", 2) + struct.pack("<HHII", 0x8769, 4, 1, 8) + struct.pack("<HHII", 0x8825, 4, 1, 8) + struct.pack("<I", 8)
    return b"II*\0" + struct.pack("<I", 8) + first


def huge_exif() -> bytes:
    """EXIF that says it has values beyond its end, of every type."""
    entries = [struct.pack("<HHII", 0x112 + kind, kind, 0x7FFFFFFF, 0xFFFFFFF0) for kind in range(14)]
    return b"II*\0" + struct.pack("<I", 8) + struct.pack("<H", len(entries)) + b"".join(entries) + b"\0" * 4


def riff(*parts: tuple[bytes, bytes]) -> bytes:
    """A WebP with these parts beside its pixels."""
    still = flat("WEBP")[12:]
    header = b"VP8X" + struct.pack("<I", 10) + b"\x2c\0\0\0" + b"\xff\0\0" + b"\xff\0\0"
    body = b"WEBP" + header + b"".join(name + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2) for name, data in parts) + still
    return b"RIFF" + struct.pack("<I", len(body)) + body


def scans_large(count: int, edge: int) -> bytes:
    """A progressive JPEG of many pixels whose last scan comes so many times."""
    import io

    from PIL import Image

    out = io.BytesIO()
    Image.new("RGB", (edge, edge)).save(out, "JPEG", progressive=True)
    found = out.getvalue()
    last = found.rindex(b"\xff\xda")
    return found[:last] + found[last:-2] * count + b"\xff\xd9"


def with_segments(*segments: bytes) -> bytes:
    found = flat("JPEG")
    return found[:2] + b"".join(segments) + found[2:]


picture("gif-frames-bare", lambda: frames_bare(1_000_000))
picture("gif-frames-bare-65535", lambda: frames_bare(63, 65_535))
picture("gif-palettes", lambda: gif(60).replace(b",\0\0\0\0\x10\0\x10\0\0", b",\0\0\0\0\x10\0\x10\0\x87" + bytes(768)))
picture("gif-comments-million", lambda: b"GIF89a\x10\0\x10\0\x80\0\0\0\0\0\xff\xff\xff" + b"!\xfe\1a\0" * 1_000_000 + gif(1)[19:])
picture("gif-frame-outside", lambda: gif(1).replace(b",\0\0\0\0\x10\0\x10\0", b",\xff\xff\xff\xff\xff\xff\xff\xff"))
picture("jpeg-markers-padded", lambda: b"\xff\xd8" + b"\xff" * 3 + b"\xff\xe0\0\x02" * 2_000_000 + flat("JPEG")[2:])
picture("jpeg-fill-bytes", lambda: b"\xff\xd8" + b"\xff" * 20_000_000 + flat("JPEG")[2:])
picture("jpeg-scans-large", lambda: scans_large(95, 6000))
picture(
    "jpeg-icc-parts", lambda: with_segments(*[segment(0xE2, b"ICC_PROFILE\0" + bytes([one, 255]) + bytes(60_000)) for one in range(256)])
)
picture("jpeg-icc-one", lambda: with_segments(segment(0xE2, b"ICC_PROFILE\0\1\1" + b"\xff" * 128)))
picture("jpeg-exif-circle", lambda: with_segments(segment(0xE1, b"Exif\0\0" + turning_exif())))
picture("jpeg-exif-beyond", lambda: with_segments(segment(0xE1, b"Exif\0\0" + huge_exif())))
picture(
    "jpeg-mpo",
    lambda: with_segments(
        segment(
            0xE2,
            b"MPF\0II*\0"
            + struct.pack("<IH", 8, 2)
            + struct.pack("<HHI4s", 0xB000, 7, 4, b"0100")
            + struct.pack("<HHII", 0xB001, 4, 1, 0x7FFFFFFF)
            + bytes(4),
        )
    ),
)
picture("jpeg-comments", lambda: with_segments(*[segment(0xFE, b"\x1b[31m" * 10_000)] * 200))
picture("jpeg-adobe-odd", lambda: with_segments(segment(0xEE, b"Adobe\0\x64\0\0\0\0\x09")))
picture("jpeg-tables", lambda: with_segments(*[segment(0xDB, bytes(65))] * 9000))
picture("jpeg-restarts", lambda: flat("JPEG")[:-2] + b"\xff\xd0" * 5_000_000 + b"\xff\xd9")
picture("jpeg-wide", lambda: flat("JPEG").replace(b"\1\0\1\0\3", b"\xff\xff\0\1\3"))
picture("png-chunks-after", lambda: after(b"juNk", b"", 1_000_000))
picture("png-text-after", lambda: after(b"zTXt", b"k\0\0" + zeros(1 << 20, 15), 500))
picture("png-iccp-after", lambda: after(b"iCCP", b"k\0\0" + zeros(1 << 28, 15), 3))
picture("png-text-9000", lambda: png(256, 256, chunk(b"tEXt", b"key\0" + b"\x1b[31m" * 100) * 9000))
picture("png-iccp-9000", lambda: png(256, 256, chunk(b"iCCP", b"k\0\0" + zeros(1 << 20, 15)) * 9000))
picture("png-exif-circle", lambda: png(256, 256, chunk(b"eXIf", turning_exif())))
picture("png-exif-beyond", lambda: png(256, 256, chunk(b"eXIf", huge_exif())))
picture("png-physical-0", lambda: png(256, 256, chunk(b"pHYs", bytes(9)), chunk(b"gAMA", bytes(4)), chunk(b"cHRM", b"\xff" * 32)))
picture("png-data-empty-million", lambda: png(256, 256, chunk(b"IDAT", b"") * 1_000_000))
picture("png-no-end", lambda: png(256, 256)[:-12] + struct.pack(">I", 0x7FFFFFFF) + b"IDAT" + bytes(100))
picture("png-16-bit-39-megapixels", lambda: png(6240, 6240, depth=16, colour=6))
picture(
    "png-frames-63-large",
    lambda: png(
        6000,
        6000,
        chunk(b"acTL", struct.pack(">II", 63, 0)),
        *[chunk(b"fcTL", struct.pack(">IIIIIHHBB", one, 6000, 6000, 0, 0, 1, 1, 0, 0)) for one in range(63)],
    ),
)
picture("webp-exif-circle", lambda: riff((b"EXIF", turning_exif())))
picture("webp-icc-huge", lambda: riff((b"ICCP", bytes(20_000_000))))
picture("webp-xmp-huge", lambda: riff((b"XMP ", b"<x>" * 5_000_000)))
picture("webp-parts-million", lambda: riff(*[(b"juNk", b"")] * 1_000_000))
picture("webp-frames-64-large", lambda: animated_large("WEBP"))
picture("avif-frames", lambda: animated("AVIF", 200))
picture("avif-cut", lambda: flat("AVIF")[:-60])
picture("avif-claims", lambda: flat("AVIF").replace(b"ispe" + bytes(4) + struct.pack(">II", 256, 256), b"ispe" + bytes(4) + b"\xff" * 8))
picture("avif-boxes", lambda: flat("AVIF")[:32] + b"\0\0\0\x08free" * 2_000_000 + flat("AVIF")[32:])
picture("two-kinds", lambda: png(256, 256) + b"PK\3\4<script>alert(1)</script>" + flat("JPEG") + gif(3))


def animated_large(kind: str) -> bytes:
    """64 frames of 9 megapixels."""
    import io

    from PIL import Image

    each = [Image.new("RGB", (3000, 3000), (number, 0, 0)) for number in range(2)]
    out = io.BytesIO()
    each[0].save(out, kind, save_all=True, append_images=each[1:] * 31, duration=1)
    return out.getvalue()


spelled("base64-lines-of-76", lambda: "\r\n".join(b64(png(256, 256))[at : at + 76] for at in range(0, len(b64(png(256, 256))), 76)))
spelled("base64-tabs", lambda: "\t".join(b64(png(256, 256))))
spelled("base64-padding-within", lambda: b64(png(256, 256)[:100]) + "==" + b64(png(256, 256)[100:]))
spelled("base64-one-letter", lambda: "A")
spelled("base64-spaces-only", lambda: " " * 5_000_000)
spelled("base64-percent", lambda: b64(png(256, 256)).replace("+", "%2B").replace("/", "%2F").replace("=", "%3D"))
spelled("base64-entities", lambda: b64(png(256, 256)).replace("=", "&#61;").replace("+", "&#43;"))
spelled("base64-hex-instead", lambda: png(256, 256).hex())
spelled("base64-wide-letters", lambda: "".join(chr(ord(letter) + 0xFEE0) for letter in b64(png(256, 256))))
