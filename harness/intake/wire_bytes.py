"""The bytes of one answer before anybody parses them: what is too much, too slow, or too late as they come in, and what they unpack to. Sans IO
and without a clock.

Every transport asks: `Meter.wait_s` before it waits for bytes, `Meter.heard` with what came. The head is looked at only as far as it takes to
know where it ends; what it says is for the parser.

A body's content codings are undone in small pieces (`Decoding`): what is unpacked is bounded before it takes memory. Only gzip and deflate are
undone, which the standard library can do in pieces; nothing else is asked for (`ACCEPTED`), so that an answer coded otherwise is the server's
mistake. Pictures do not compress: nothing is lost.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator

from testcard.harness.intake.limits import IntakeLimits

#: A body in chunks of a byte or two takes a few times its bytes; what frames it may be so much of what is sent.
_FRAMED = 1.25
_END = re.compile(rb"\r?\n\r?\n")
_INTERIM = re.compile(rb"HTTP/1\.[01] 1(?!01)[0-9]{2}")


class TooMuch(Exception):
    """An answer went beyond a limit. The message says which, as the rest of a sentence about the answer."""


class TooLate(Exception):
    """There is no time left for the answer."""


class Meter:
    """What has come of one answer. Times are seconds of the caller's clock; `until_s`: when the whole answer has to be there."""

    __slots__ = ("_head", "_interims", "_most", "_window_bytes", "_window_s", "_wire", "cut", "until_s")

    def __init__(self, most: IntakeLimits, until_s: float) -> None:
        self.until_s = until_s
        self.cut: str | None = None
        self._most = most
        self._head: bytearray | None = bytearray()
        self._interims = 0
        self._wire = 0
        self._window_s: float | None = None
        self._window_bytes = 0

    def wait_s(self, now_s: float) -> float:
        """How long the next bytes may be waited for; raises `TooLate`."""
        left_s = self.until_s - now_s
        if left_s <= 0:
            raise TooLate
        return min(left_s, self._most.between_bytes_s)

    def heard(self, data: bytes | memoryview, now_s: float) -> None:
        """Counts what came; raises `TooMuch`, whose words `cut` keeps."""
        try:
            self._count(len(data), now_s)
            if self._head is not None:
                self._look(data)
        except TooMuch as why:
            self.cut = str(why)
            raise

    def _count(self, size: int, now_s: float) -> None:
        most = self._most
        self._wire += size
        if self._wire > most.body_bytes * _FRAMED + most.header_bytes:
            raise TooMuch(f"is longer than {most.body_bytes:,} bytes; the rest was not read")
        if self._window_s is None:
            self._window_s = now_s
            return
        self._window_bytes += size
        passed_s = now_s - self._window_s
        if passed_s >= most.window_s:
            if self._window_bytes < most.bytes_per_s * passed_s:
                raise TooMuch(f"came too slowly: {self._window_bytes} bytes in {passed_s:.0f} s; the rest was not waited for")
            self._window_s, self._window_bytes = now_s, 0

    def _look(self, data: bytes | memoryview) -> None:
        """Looks for the end of the head, over interim answers."""
        head = self._head
        assert head is not None, "asked for only while it is sought"
        most, seen = self._most, max(len(head) - 3, 0)
        head += data
        while True:
            end = _END.search(head, seen)
            line = head.find(b"\n", 0, most.status_line_bytes + 1)
            if line < 0 and len(head) > most.status_line_bytes:
                raise TooMuch(f"has a status line of more than {most.status_line_bytes:,} bytes")
            size = end.end() if end is not None else len(head)
            if size > most.header_bytes:
                raise TooMuch(f"has a head of more than {most.header_bytes:,} bytes")
            if head.count(b"\n", 0, size) > most.header_count + 2:
                raise TooMuch(f"has more than {most.header_count:,} header fields")
            if end is None:
                return
            if not _INTERIM.match(head):
                self._head = None
                return
            self._interims += 1
            if self._interims > most.interim_count:
                raise TooMuch(f"is preceded by more than {most.interim_count:,} interim answers")
            del head[: end.end()]
            seen = 0


#: What a request says it takes.
ACCEPTED = "gzip, deflate"
_PIECE = 65_536
_GZIP = ("gzip", "x-gzip")


class Unreadable(Exception):
    """The body is not what its Content-Encoding says. The message is the rest of a sentence about the answer."""


class _Layer:
    """One coding, undone bit by bit."""

    def __init__(self, name: str) -> None:
        self._gzip = name in _GZIP
        self._inflating = zlib.decompressobj(31 if self._gzip else 15)
        self._begun = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        """What these bytes unpack to, in pieces."""
        while data:
            piece, data = self._piece(data)
            if piece:
                yield piece
            if self._inflating.eof:
                # Of gzip further members may follow; nothing else is unpacked.
                data = self._inflating.unused_data
                if not self._gzip or not data.startswith(b"\x1f\x8b"):
                    return
                self._inflating = zlib.decompressobj(31)
        while not self._inflating.eof:
            piece, _ = self._piece(b"")
            if not piece:
                return
            yield piece

    def _piece(self, data: bytes) -> tuple[bytes, bytes]:
        try:
            piece = self._inflating.decompress(data, _PIECE)
        except zlib.error as error:
            if self._gzip or self._begun:
                raise Unreadable(f"is not coded as it says: {error}") from None
            # "deflate" is zlib's format by the standard, and bare deflate from some servers.
            self._inflating = zlib.decompressobj(-15)
            self._begun = True
            return self._piece(data)
        self._begun = True
        return piece, self._inflating.unconsumed_tail

    @property
    def whole(self) -> bool:
        """Whether the coding has come to its end."""
        return self._inflating.eof or not self._begun


class Decoding:
    """A body being decoded. `feed` gives what its bytes decode to; `size`: how much that was in all."""

    def __init__(self, codings: str, most: IntakeLimits) -> None:
        names = [name for part in codings.split(",")[: most.codings + 2] if (name := part.strip().lower()) not in ("", "identity")]
        if len(names) > most.codings:
            raise Unreadable(f"has more than {most.codings} content codings on top of each other")
        unknown = next((name for name in names if name not in (*_GZIP, "deflate")), None)
        if unknown is not None:
            raise Unreadable(f"is coded as {unknown[:40]!r}, which was not asked for")
        self._layers = [_Layer(name) for name in reversed(names)]
        self._most = most
        self.size = 0

    def feed(self, data: bytes) -> Iterator[bytes]:
        """What the bytes decode to, in pieces of at most 64 KB where they were coded; raises `TooMuch` and `Unreadable`."""
        for piece in self._through(data, 0):
            self.size += len(piece)
            if self.size > self._most.body_bytes:
                raise TooMuch(f"is longer than {self._most.body_bytes:,} bytes; the rest was not read")
            yield piece

    def _through(self, data: bytes, layer: int) -> Iterator[bytes]:
        if layer == len(self._layers):
            yield data
            return
        for piece in self._layers[layer].feed(data):
            yield from self._through(piece, layer + 1)

    def end(self) -> None:
        """No more comes; raises `Unreadable` where a coding has not come to its end."""
        if any(not layer.whole for layer in self._layers):
            raise Unreadable("is not coded as it says: it ends too early")
