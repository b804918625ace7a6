"""What both clients share: how a client's and a call's arguments become its `Settings` and a `Call`."""

from __future__ import annotations

import io
import math
import os
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypedDict, Unpack

from PIL import Image

from testcard.harness.client.attempts import NO_RETRY, Attendance, Retry
from testcard.harness.client.call import Call, not_allowed
from testcard.harness.client.errors import ConnectionFailed
from testcard.harness.client.http import DEFAULT_TIMEOUT_S, Exchanged
from testcard.harness.client.masks import Mask, in_polarity_of
from testcard.harness.client.observing import ClientEvent, Hook, next_number
from testcard.harness.client.spending import SpendingGuard
from testcard.harness.errors import UsageError
from testcard.harness.pricing import Pricing
from testcard.harness.redaction import keep_secret
from testcard.harness.targets import KEY_ENV, checked_base_url, is_loopback, read_key, sendable_key
from testcard.harness.text.words import shortened
from testcard.harness.wire.addresses import allow_host, fetchable, host_of, origin
from testcard.harness.wire.billing import worst_case
from testcard.harness.wire.contract import Choice, choose
from testcard.harness.wire.course import Conditions, Download, DownloadEnd, Steps, download
from testcard.harness.wire.fields import WireFields
from testcard.harness.wire.model import InputImage, TaskRequest
from testcard.harness.wire.pictures import input_image, lenient_base64
from testcard.specs.loader import Provider, load_provider
from testcard.specs.profile import MOCK_API_KEY, Delivery, Task
from testcard.specs.user_files import content

#: A picture to send: its bytes, the path of a file, a picture of Pillow's, an address (where the contract takes one), a data URL, or an `InputImage`.
PictureSource = bytes | bytearray | memoryview | str | os.PathLike[str] | Image.Image | InputImage


class Terms(TypedDict, total=False):
    """The optional terms of a task; what is left out is not sent. Meanings and units as in `TaskRequest`.

    `idempotency_key`: under which the provider carries the request out once however often it comes; True draws one. Where none is documented it is
    a `UsageError`.
    """

    model: str | None
    size: tuple[int, int] | str | None
    n: int | None
    seed: int | None
    negative_prompt: str | None
    steps: int | None
    guidance: float | None
    strength: float | None
    sampler: str | None
    quality: str | None
    background: str | None
    format: str | None
    delivery: Delivery | None
    aspect_ratio: str | None
    style: str | None
    megapixels: float | None
    tier: str | None
    safety_tolerance: int | None
    user: str | None
    max_tokens: int | None
    temperature: float | None
    asynchronous: bool | None
    extra: dict[str, Any]
    idempotency_key: str | bool | None


#: what a `TaskRequest` has of these
_KNOWN_TERMS = frozenset(Terms.__annotations__) - {"idempotency_key"}


@dataclass(frozen=True)
class Settings:
    """A client's fixed part: the target, the key, the prices, the bounds, what it may spend and repeat, and whom it tells."""

    provider: Provider
    base_url: str
    api_key: str | None = field(repr=False)
    pricing: Pricing
    max_bytes: int | None
    poll_interval_s: float | None
    poll_timeout_s: float | None
    live: bool = True
    timeout_s: float = DEFAULT_TIMEOUT_S
    retry: Retry = NO_RETRY
    guard: SpendingGuard | None = None
    hooks: tuple[Hook, ...] = ()

    def call(
        self,
        task: Task,
        prompt: str | None,
        images: Sequence[PictureSource] = (),
        mask: PictureSource | Mask | None = None,
        *,
        operation: str | None = None,
        stream: bool | None = None,
        **terms: Unpack[Terms],
    ) -> Call:
        """The call that these arguments ask for; `ContractViolation` when the contract does not allow it."""
        idempotency_key = terms.pop("idempotency_key", None)
        plain = mask.picture if isinstance(mask, Mask) else mask
        request = task_request(task, prompt, images, plain, stream=stream, **terms)  # type: ignore[arg-type]  # a `Mask` says of its picture only that it is a source
        choice, note = choose(self.provider, request, operation), None
        if isinstance(mask, Mask) and request.mask is not None:
            turned, note = in_polarity_of(self.provider, choice, request.mask, mask.edits)
            if turned is not request.mask:
                choice = choose(self.provider, replace(request, mask=turned), operation)
        key = self._key(choice, idempotency_key)
        return self._call(choice, key, (note,) if note is not None else ())

    def to_fetch(self, task: Task, images: Sequence[PictureSource], operation: str | None) -> tuple[str, ...]:
        """The addresses among the pictures that have to be fetched first, for the operation takes pictures and no addresses."""
        urls = tuple(one for one in images if isinstance(one, str) and is_address(one))
        if not urls:
            return ()
        profile = self.provider.operation_profile(operation or self.provider.default_operation(task))
        takes = profile.kind == "chat" or any(
            field.means == "image" and str(field.format).startswith("url") for field in profile.fields.values()
        )
        return () if takes else urls

    def fetching(self, task: Task, url: str, operation: str | None) -> Steps[Download[Exchanged]]:
        """The way to a picture that is to be sent, without the key.

        The caller named its host, so it may be anywhere; off this machine all the same with `live` only.
        """
        named = operation or self.provider.default_operation(task)
        if fetchable(url) and (self.live or is_loopback(url)):
            _, host, port = origin(url)
            allow_host(f"[{host}]:{port}" if host is not None and ":" in host else f"{host}:{port}")
        return download(Conditions(self.provider, named, self.base_url, None, live=self.live), url)

    def fetched(self, task: Task, found: Download[Exchanged], operation: str | None) -> InputImage:
        """The picture; a `ClientError` where its address did not bring it, and nothing was sent to the provider then."""
        named = operation or self.provider.default_operation(task)
        if found.whole is not None:
            return input_image(found.whole.body)
        if found.end is DownloadEnd.NOT_ALLOWED:
            raise not_allowed(self.resumed(task, operation), None, "a picture to send", found.place)
        reply = found.reply
        said = f"answers {reply.status}" if reply is not None and reply.status is not None else "gives no answer"
        raise ConnectionFailed(
            f"the picture to send could not be fetched: {host_of(found.place)} {said}", operation=named, hint="pass its bytes"
        )

    def takes_flag(self, task: Task, operation: str | None) -> bool:
        """Whether a field of the request says that it is to become a task."""
        protocol = self.provider.protocol(operation or self.provider.default_operation(task))
        return protocol is not None and protocol.flag is not None

    def resumed(self, task: Task, operation: str | None) -> Call:
        """The call whose task was submitted by another process: as far as following it goes."""
        named = operation or self._with_tasks(task)
        choice = Choice(named, TaskRequest(task), WireFields(named), None)
        return replace(self._call(choice, None, ()), resumed=True)

    def _with_tasks(self, task: Task) -> str:
        """The operation of a task whose requests may become tasks of the provider's."""
        default = self.provider.default_operation(task)
        names = [default, *(name for name, one in self.provider.profile.operations.items() if task in one.tasks)]
        return next((name for name in names if self.provider.protocol(name) is not None), default)

    def _key(self, choice: Choice, wanted: str | bool | None) -> str | None:
        if wanted is None or wanted is False:
            return None
        protocol = self.provider.protocol(choice.operation)
        if protocol is None or protocol.idempotency_header is None:
            raise UsageError(
                f"{self.provider.profile.name} documents no idempotency key for {choice.operation}", hint="leave idempotency_key out"
            )
        if protocol.flag is not None and not choice.request.asynchronous:
            raise UsageError("an idempotency key goes with tasks only here", hint="add asynchronous=True, or use submit")
        key = str(uuid.uuid4()) if wanted is True else wanted
        if not (key and key.isascii() and key.isprintable()):
            raise UsageError("the idempotency key is nothing that a header can carry", hint="it has to be one line of plain characters")
        return key

    def _call(self, choice: Choice, key: str | None, notes: tuple[str, ...]) -> Call:
        size = choice.request.size
        shown = f"{size[0]}x{size[1]}" if isinstance(size, tuple) else size
        event = ClientEvent("began", next_number(), self.provider.id, choice.operation, choice.model, shown)
        worst_usd, failures_cost = None, False
        if self.guard is not None and self.guard.max_usd is not None:
            price, _ = self.pricing.look_up(choice.model, choice.operation)
            failures_cost = price is not None and price.billed_on == "always"
            worst_usd = price.usd(worst_case(self.provider, choice.operation, choice.request)) if price is not None else None
        return Call(
            self.provider,
            choice,
            self.base_url,
            self.api_key,
            self.pricing,
            wall_clock=lambda: datetime.now(UTC),
            timeout_s=self.timeout_s,
            max_bytes=self.max_bytes,
            poll_interval_s=self.poll_interval_s,
            poll_timeout_s=self.poll_timeout_s,
            live=self.live,
            idempotency_key=key,
            retry=self.retry,
            attendance=Attendance(event, self.hooks, self.guard, worst_usd, failures_cost=failures_cost),
            notes=notes,
        )


def task_request(
    task: Task,
    prompt: str | None,
    images: Sequence[PictureSource] = (),
    mask: PictureSource | None = None,
    *,
    stream: bool | None = None,
    **terms: Unpack[Terms],
) -> TaskRequest:
    """The request that these arguments make; a term that is None is not sent, one that does not exist is a `UsageError`."""
    known = {name: value for name, value in terms.items() if value is not None}
    unknown = sorted(known.keys() - _KNOWN_TERMS)
    if unknown:
        raise UsageError(
            f"there is no term {unknown[0]}", hint=f"the terms are: {', '.join(Terms.__annotations__)}; wire fields go into extra"
        )
    return TaskRequest(
        task,
        prompt=prompt,
        images=tuple(as_input_image(image) for image in images),
        mask=as_input_image(mask) if mask is not None else None,
        stream=stream,
        **known,  # type: ignore[arg-type]
    )


def settings(
    provider: str | Provider,
    *,
    base_url: str | None,
    api_key: str | None,
    no_auth: bool = False,
    pricing: Pricing | None = None,
    max_bytes: int | None = None,
    poll_interval_s: float | None = None,
    poll_timeout_s: float | None = None,
    live: bool = False,
    timeout_s: float = DEFAULT_TIMEOUT_S,
    retry: Retry = NO_RETRY,
    guard: SpendingGuard | None = None,
    hooks: Sequence[Hook] = (),
) -> Settings:
    """A client's settings. Without a base URL the provider's first documented one; the key from the argument,
    TESTCARD_API_KEY or the profile's variable; on this machine the mocks' documented key will do."""
    loaded = load_provider(provider) if isinstance(provider, str) else provider
    if base_url is None and not loaded.profile.base_urls:
        raise UsageError(f"{loaded.profile.name} documents no address", hint="pass base_url")
    url = checked_base_url(base_url if base_url is not None else loaded.profile.base_urls[0])
    if not live and not is_loopback(url):
        raise UsageError(f"{url} is not on this machine", hint="pass live=True to talk to it; requests there can cost money")
    keyless = no_auth or loaded.profile.auth.header is None
    given = sendable_key(api_key, "api_key") if api_key else None
    key = None if keyless else (given or read_key(loaded) or (MOCK_API_KEY if is_loopback(url) else None))
    if key is None and not keyless:
        raise UsageError(
            f"there is no key for {loaded.profile.name}", hint=f"pass api_key, or set {KEY_ENV} or {loaded.profile.auth.key_env}"
        )
    keep_secret(key)
    for name, seconds in (("timeout_s", timeout_s), ("poll_interval_s", poll_interval_s), ("poll_timeout_s", poll_timeout_s)):
        if seconds is not None and not 0 <= seconds < math.inf:
            raise UsageError(f"{name} cannot be {seconds}", hint="it is a number of seconds, at least 0")
    # Without prices of the caller's only the answer's own cost counts: illustrative ones are for runs against our mocks.
    pricing = pricing or Pricing(loaded, mock=False)
    bounds = (max_bytes, poll_interval_s, poll_timeout_s)
    return Settings(loaded, url, key, pricing, *bounds, live, timeout_s, retry, guard, tuple(hooks))


def is_address(source: object) -> bool:
    """Whether a picture to send is given by its address."""
    return isinstance(source, str) and source[:8].lower().startswith(("http://", "https://"))


def as_input_image(source: PictureSource) -> InputImage:
    """The picture to send; `UsageError` for what is none, or a file that cannot be read."""
    if isinstance(source, InputImage):
        return source
    if isinstance(source, bytes | bytearray | memoryview):
        return input_image(bytes(source))
    if isinstance(source, Image.Image):
        return input_image(_png_of(source))
    if isinstance(source, str) and source[:5].lower() == "data:":
        carried = lenient_base64(f"data:{source[5:]}")
        if carried is None:
            raise UsageError(f"{source[:40]}… is no data URL of a picture", hint="write it as data:image/png;base64,…")
        return input_image(carried)
    if isinstance(source, str) and is_address(source):
        return InputImage(url=source)
    if not isinstance(source, str | os.PathLike):
        raise UsageError(
            f"{type(source).__name__} is no picture", hint="pass a path, bytes, a picture of Pillow's, an address or a data URL"
        )
    path = Path(source)
    try:
        return input_image(content(path), path.name)
    except OSError as error:
        raise UsageError(f"{shortened(str(path), 200)}: {error.strerror}", hint="name a picture file, or pass its bytes") from None


#: What PNG cannot hold, and what holds the same.
_AS_PNG = {"PA": "RGBA", "La": "LA", "RGBa": "RGBA", "CMYK": "RGB", "YCbCr": "RGB", "HSV": "RGB"}


def _png_of(picture: Image.Image) -> bytes:
    """The picture as PNG; `UsageError` where its pixels cannot be had, or nobody can say what they look like."""
    buffer = io.BytesIO()
    try:
        (picture.convert(_AS_PNG[picture.mode]) if picture.mode in _AS_PNG else picture).save(buffer, "PNG")
    except (OSError, ValueError) as error:
        raise UsageError(
            f"the picture (mode {picture.mode}) cannot be sent: {error}", hint='convert it first: picture.convert("RGB")'
        ) from None
    return buffer.getvalue()
