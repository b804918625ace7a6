"""Values that cross the wire: what a person asks for, the bytes that are sent, the bytes that come back, what they mean."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

from testcard.specs.profile import Delivery, Task, TaskPhase

Headers = tuple[tuple[str, str], ...]
_NOTHING: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class InputImage:
    """A picture that a request carries: its encoded bytes, media type and (for multipart) file name.

    `url` replaces the bytes where the contract takes an address (vision, Relay's Qwen edit).
    """

    data: bytes = b""
    media_type: str = "image/png"
    name: str = "image.png"
    url: str | None = None


@dataclass(frozen=True, slots=True)
class TaskRequest:
    """What a person asks for, in the task's own terms; None means "not sent".

    `size` is (width, height) in pixels or a word the provider documents ("auto"). `format` is png, jpeg or webp,
    `delivery` is how pictures come back. `extra` holds further body fields by wire name, sent as they are.
    """

    task: Task
    prompt: str | None = None
    model: str | None = None
    n: int | None = None
    size: tuple[int, int] | str | None = None
    seed: int | None = None
    negative_prompt: str | None = None
    steps: int | None = None
    guidance: float | None = None
    strength: float | None = None
    sampler: str | None = None
    quality: str | None = None
    background: str | None = None
    format: str | None = None
    delivery: Delivery | None = None
    aspect_ratio: str | None = None
    style: str | None = None
    megapixels: float | None = None
    tier: str | None = None
    safety_tolerance: int | None = None
    user: str | None = None
    images: tuple[InputImage, ...] = ()
    mask: InputImage | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    stream: bool | None = None
    asynchronous: bool | None = None
    extra: Mapping[str, Any] = field(default_factory=lambda: _NOTHING)


@dataclass(frozen=True, slots=True)
class WireRequest:
    """One HTTP request, ready to send: `url` is absolute, `headers` include content type and key, `body` is bytes."""

    operation: str
    method: str
    url: str
    headers: Headers
    body: bytes
    billed: bool
    stream: bool = False


@dataclass(frozen=True, slots=True)
class WireResponse:
    """One HTTP response with its whole body, and when it happened (seconds on the transport's monotonic clock)."""

    status: int
    headers: Headers
    body: bytes
    sent_s: float = 0.0
    first_byte_s: float = 0.0
    done_s: float = 0.0

    def header(self, name: str) -> str | None:
        """The first header of that name, in any case, or None."""
        wanted = name.lower()
        return next((value for key, value in self.headers if key.lower() == wanted), None)


@dataclass(frozen=True, slots=True)
class DeliveredPicture:
    """One item of an answer's picture list, as it stands there: exactly one of `base64` and `url` in a sound answer.

    Where there are both, the base64 is the picture. `place` is a JSON pointer to the item, `value_place` one to the text that counts.
    `data`: the picture's bytes, where the body is the picture. `withheld`: whether it was held back for its content.
    """

    index: int
    base64: str | None = None
    url: str | None = None
    seed: int | None = None
    finish: str | None = None
    place: str = ""
    value_place: str = ""
    data: bytes | None = field(default=None, repr=False)
    withheld: bool = False

    @property
    def carried(self) -> str | None:
        """The text that is the picture itself, base64 or a data URL; None for one that lies behind an address, or nowhere."""
        if self.base64 is not None:
            return self.base64
        return self.url if self.url is not None and self.url.startswith("data:") else None

    @property
    def address(self) -> str | None:
        """The address that the picture has to be fetched from; None where it is carried, and where nothing is."""
        return self.url if self.carried is None and self.data is None else None


@dataclass(frozen=True, slots=True)
class Usage:
    """Token counts as the answer states them (None: not stated). Values are kept as sent, to be judged elsewhere."""

    prompt_tokens: Any = None
    completion_tokens: Any = None
    total_tokens: Any = None


@dataclass(frozen=True, slots=True)
class AsyncTask:
    """A reference to work accepted with 202, or a poll's answer about it. `state` is the wire's word.

    `phase`: how far it is where the status tells that and no word does. `result`: what stands at the protocol's place, or the bytes
    of a picture that answered a poll. `result_url`: where the result lies. `cost_usd`: what the task costs, where its answers say so.
    """

    reference: str | None
    state: str | None
    poll_url: str | None = None
    result: Any = None
    error: Any = None
    phase: TaskPhase | None = None
    result_url: str | None = None
    cost_usd: float | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What an HTTP response means. Nothing here is judged: a field the body lacks is None, an empty list is empty.

    `json` is the parsed body (None when it is not JSON); `problem` says why a body could not be understood. `unterminated`: a stream of text that came to its finish reason, but not to its [DONE]. `partials`: previews that
    an event stream brought before its pictures. `status` is HTTP's, or the one that an error in a success stands for; `sent_as` is HTTP's
    then. `raised`: what reading the answer raised, a mistake of Testcard's own: nothing is known of it.
    """

    status: int
    json: Any = None
    pictures: tuple[DeliveredPicture, ...] = ()
    text: str | None = None
    finish_reason: str | None = None
    usage: Usage | None = None
    cost_usd: float | None = None
    balance_usd: float | None = None
    created: Any = None
    echoes: Mapping[str, Any] = field(default_factory=lambda: _NOTHING)
    task: AsyncTask | None = None
    error_message: str | None = None
    error_code: Any = None
    retry_after_s: float | None = None
    problem: str | None = None
    partials: int = 0
    unterminated: bool = False
    raised: str | None = None
    sent_as: int | None = None


#: No bytes came; nothing stood where the picture belongs; its address gave none.
Absence = Literal["empty", "nothing", "address"]


@dataclass(frozen=True, slots=True)
class PictureInfo:
    """What the bytes of a picture are. `problem` is None when they decode completely.

    `lowest_alpha`: of its most transparent pixel, 0 to 255 (255: opaque everywhere); None where no pixel was looked at. The two
    digests are sha256 but where `inspect` was given another function.
    """

    format: str | None  # png, jpeg, webp, gif or avif
    width_px: int | None
    height_px: int | None
    size_bytes: int
    sha256: str
    pixels_sha256: str | None = None  # of the decoded RGBA pixels
    blank: bool | None = None
    problem: str | None = None
    lowest_alpha: int | None = None
    absent: Absence | None = None  # why there were no bytes to look at
