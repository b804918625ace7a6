"""What both clients share: how a client's and a call's arguments become its `Settings` and a `Call`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypedDict, Unpack

from testcard.harness.client.call import Call
from testcard.harness.client.http import DEFAULT_MAX_BYTES, DEFAULT_TIMEOUT_S
from testcard.harness.errors import UsageError
from testcard.harness.pricing import Pricing
from testcard.harness.redaction import keep_secret
from testcard.harness.targets import KEY_ENV, checked_base_url, is_loopback, read_key
from testcard.harness.wire.contract import choose
from testcard.harness.wire.model import InputImage, TaskRequest
from testcard.harness.wire.pictures import input_image
from testcard.specs.loader import Provider, load_provider
from testcard.specs.profile import MOCK_API_KEY, Delivery, Task

#: A picture to send: its bytes, the path of a file, an address (where the contract takes one), or an `InputImage`.
PictureSource = bytes | str | os.PathLike[str] | InputImage


class Terms(TypedDict, total=False):
    """The optional terms of a task; what is left out is not sent. Meanings and units as in `TaskRequest`."""

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


@dataclass(frozen=True)
class Settings:
    """A client's fixed part: the target, the key, the prices, the bounds."""

    provider: Provider
    base_url: str
    api_key: str | None
    pricing: Pricing
    max_bytes: int
    poll_interval_s: float | None
    poll_timeout_s: float | None
    live: bool = True
    timeout_s: float = DEFAULT_TIMEOUT_S

    def call(
        self,
        task: Task,
        prompt: str | None,
        images: Sequence[PictureSource] = (),
        mask: PictureSource | None = None,
        *,
        operation: str | None = None,
        stream: bool | None = None,
        **terms: Unpack[Terms],
    ) -> Call:
        """The call that these arguments ask for; `ContractViolation` when the contract does not allow it."""
        request = task_request(task, prompt, images, mask, stream=stream, **terms)
        return Call(
            self.provider,
            choose(self.provider, request, operation),
            self.base_url,
            self.api_key,
            self.pricing,
            wall_clock=lambda: datetime.now(UTC),
            timeout_s=self.timeout_s,
            max_bytes=self.max_bytes,
            poll_interval_s=self.poll_interval_s,
            poll_timeout_s=self.poll_timeout_s,
            live=self.live,
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
    unknown = sorted(set(known) - Terms.__annotations__.keys())
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
    max_bytes: int = DEFAULT_MAX_BYTES,
    poll_interval_s: float | None = None,
    poll_timeout_s: float | None = None,
    live: bool = False,
    timeout_s: float = DEFAULT_TIMEOUT_S,
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
    key = None if keyless else (api_key or read_key(loaded) or (MOCK_API_KEY if is_loopback(url) else None))
    if key is None and not keyless:
        raise UsageError(
            f"there is no key for {loaded.profile.name}", hint=f"pass api_key, or set {KEY_ENV} or {loaded.profile.auth.key_env}"
        )
    keep_secret(key)
    # Without prices of the caller's only the answer's own cost counts: illustrative ones are for runs against our mocks.
    pricing = pricing or Pricing(loaded, mock=False)
    return Settings(loaded, url, key, pricing, max_bytes, poll_interval_s, poll_timeout_s, live, timeout_s)


def as_input_image(source: PictureSource) -> InputImage:
    """The picture to send; `UsageError` for a file that cannot be read."""
    if isinstance(source, InputImage):
        return source
    if isinstance(source, bytes):
        return input_image(source)
    if isinstance(source, str) and source.startswith(("http://", "https://", "data:")):
        return InputImage(url=source)
    path = Path(source)
    try:
        return input_image(path.read_bytes(), path.name)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}", hint="name a picture file, or pass its bytes") from None
