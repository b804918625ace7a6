"""A body's content codings undone in small pieces: what is unpacked is bounded before it takes memory. Sans IO.

Only gzip and deflate are undone, which the standard library can do in pieces; nothing else is asked for (`ACCEPTED`), so that an answer
coded otherwise is the server's mistake. Pictures do not compress: nothing is lost.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from testcard.harness.intake.limits import IntakeLimits
from testcard.harness.intake.wire_bytes import TooMuch

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
