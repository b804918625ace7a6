"""Values that pass through a mock: a request being served, the parameters of its pictures, the answer, and why it was refused."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Literal, Protocol

import msgspec
import pybase64
from PIL import Image

from testcard.mocks.stages import StageHooks
from testcard.specs.loader import Provider

Headers = tuple[tuple[str, str], ...]
#: what key a request came with
Key = Literal["right", "wrong", "missing"]
PictureFormat = Literal["png", "jpeg", "webp"]
#: how an address answers: with the picture to anyone; or, for a fault, only with a key, never, with a page, with the picture
#: called a text, or with the picture once and never again
AddressMode = Literal["open", "locked", "dead", "page", "mistyped", "once"]


class Refused(Exception):
    """The request is not carried out: status, a sentence, and the field it is about."""

    def __init__(
        self, status: int, message: str, *, param: str | None = None, code: str = "invalid_request", headers: Headers = ()
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.param = param
        self.code = code
        self.headers = headers


@dataclass(frozen=True, slots=True)
class Problem:
    """One way in which a request body departs from the schema: the field's place ("" for the body), the keyword, a sentence."""

    place: str
    keyword: str
    message: str


#: of a path or a query without parameters
NOTHING: Mapping[str, str] = MappingProxyType({})


class Call(msgspec.Struct):
    """One request as it is being served. `fields` are the body's, cast to their declared types; `path` the path's parameters, `query` those of the
    query, `further` what the body holds beside the documented fields (of any type: no schema has judged it).

    `sent`: the body's fields before defaults were added, as they came.
    `described`: by what the provider is described, for faults of any provider's mock. `met` counts the equal requests that came before (kept only where there are hooks).
    `read`: what an equal body came to before, where that was kept.
    `ended` is called when the answer was sent. `publish` makes a picture fetchable and gives its address. `root` is the provider's mount path ("" at the root).
    """

    provider: str
    operation: str
    method: str
    headers: Mapping[str, str]
    path: Mapping[str, str]
    scheme: str
    root: str
    hooks: StageHooks
    query: Mapping[str, str] = NOTHING
    publish: Publish | None = None
    fields: dict[str, Any] = {}
    sent: Any = None
    further: dict[str, Any] = {}
    described: Provider | None = None
    body_size: int = 0
    met: int = 0
    read: Any = None
    ended: Callable[[], None] | None = None

    @property
    def origin(self) -> str:
        """Scheme and host as the client knows them."""
        return f"{self.scheme}://{self.headers.get('host', 'localhost')}"


class Publish(Protocol):
    """Makes a picture fetchable, by default for as long as the provider's addresses last, and gives its address."""

    def __call__(self, one: RenderedPicture, *, lifetime_s: float | None = None, mode: AddressMode = "open") -> str:
        """The absolute address."""


@dataclass(frozen=True, slots=True)
class Upload:
    """A file of a multipart body."""

    data: bytes
    media_type: str | None
    name: str | None


class Parameters(msgspec.Struct, frozen=True, gc=False):
    """The pictures that a request asks for, in the mock's own terms.

    `salt` stands for every parameter that may change the pixels: equal seed and salt give equal pixels. `seed` None means
    a fresh picture each time. `edit` is an 8-bit mask, 255 where the picture may change. `echo_seed` is for answers that say the seed.
    """

    width_px: int
    height_px: int
    caption: str
    salt: bytes
    n: int = 1
    seed: int | None = None
    format: PictureFormat = "png"
    delivery: Literal["base64", "url"] = "base64"
    transparent: bool = False
    images: tuple[Image.Image, ...] = ()
    edit: Image.Image | None = None
    strength: float = 0.8


class RenderedPicture(msgspec.Struct, frozen=True, gc=False):
    """One finished picture: its encoded bytes, the seed it was drawn from, and, where it was delivered so, base64 or an address.

    `data` is empty where the bytes were made in base64 alone, which then stands beside the answer (`base64_at`).
    """

    data: bytes
    seed: int
    format: PictureFormat
    base64: msgspec.Raw | None = None
    url: str | None = None


def in_base64(data: bytes) -> msgspec.Raw:
    """The bytes in base64, as a JSON string that is ready to be sent (it needs no escapes, so none are looked for)."""
    return msgspec.Raw(b"".join((b'"', pybase64.b64encode(data), b'"')))


@lru_cache(maxsize=64)
def base64_at(place: int) -> msgspec.Raw:
    """A JSON string that stands for base64 kept beside the answer (`Answer.base64`), so that what is long is copied once, when it is sent.

    No other JSON holds the byte that marks it: in a text it is escaped.
    """
    return msgspec.Raw(b'"\0%d\0"' % place)


_ENCODER = msgspec.json.Encoder()


class Answer(msgspec.Struct, gc=False):
    """What is sent back: a JSON value, ready bytes, or a stream of events `gap_s` seconds apart. `images` and `billed` go into the counters.

    `base64`: what belongs at the places that `base64_at` marks in the JSON, each in pieces.
    `late_s`: seconds it is held back. `cut` breaks the connection off in the middle of the body: of one that has declared its
    length, or of one that comes in chunks.
    """

    status: int = 200
    json: Any = None
    data: bytes | None = None
    events: Sequence[bytes] | None = None
    gap_s: float = 0.0
    media_type: str = "application/json"
    headers: Headers = ()
    images: int = 0
    billed: bool = False
    late_s: float = 0.0
    cut: Literal["length", "chunks"] | None = None
    base64: Sequence[tuple[bytes, ...]] = ()

    def payload(self) -> bytes:
        """The whole body; empty for a stream."""
        if self.data is not None:
            return self.data
        if self.events is not None:
            return b""
        encoded = _ENCODER.encode(self.json)
        if not self.base64:
            return encoded
        if len(self.base64) == 1:
            before, _, after = encoded.split(b"\0")
            return b"".join((before, *self.base64[0], after))
        parts: list[bytes] = []
        for number, part in enumerate(encoded.split(b"\0")):
            if number % 2:
                parts += self.base64[int(part)]
            else:
                parts.append(part)
        return b"".join(parts)
