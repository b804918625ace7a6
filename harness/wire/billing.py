"""What a request can cost at most, what an answer did cost: quantities for the price model, no amounts of our own.

Two questions that look alike have two answers. What an answer *cost*, for a figure: what it states, else what the price makes of
what came (`answer_cost`). What it *counts as* against a limit: never less than the known price makes of what was asked for, whatever
the answer states or leaves out (`booked_cost`). A server that errs, or lies, can end a run early and never make it longer.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cached_property
from typing import Any

from testcard.harness.errors import ContractViolation
from testcard.harness.wire.fields import pixel_size, task_value, values_by_meaning, wire_fields
from testcard.harness.wire.model import Answer, PictureInfo, TaskRequest
from testcard.specs.loader import Provider
from testcard.specs.prices import Billable, Price

#: Output tokens reserved for a request that sets no limit of its own.
UNBOUNDED_OUT_TOKENS = 4096
#: A picture costs a vision model at most about this many tokens (OpenAI's high detail: 765 for 1024², 1445 for the largest).
TOKENS_PER_PICTURE = 6500
#: A picture that is billed by tokens takes at most about this many (OpenAI, image generation: 6240 for 1024x1536 in high quality).
OUT_TOKENS_PER_PICTURE = 6240
#: As many times its price, such as pictures that nobody asked for, is allowed for before a target's first answer.
UNKNOWN_TIMES = 4.0
#: What a target adds to a price is believed up to this: sums have to stay numbers.
MOST_TIMES = 1e6
#: Refusals that nobody bills, not even who bills failures: the key, the account, the rate.
COST_NOTHING = (401, 402, 403, 429)
#: No answer is billed for more tokens, steps or pixels than this.
_MOST_COUNTED = 10**9
#: No tokenizer makes fewer than one token of so many characters, and no picture that is drawn fewer than so many. (A picture that is
#: looked at may count as none: models with cross-attention, such as Llama 3.2 Vision, take it in beside the prompt.)
_MOST_CHARS_PER_TOKEN = 16
_LEAST_PER_DRAWN_PICTURE = 32


def worst_case(provider: Provider, operation: str, request: TaskRequest) -> Billable:
    """The most that the request can be billed for: n pictures of the size asked (unknown sizes, tiers and qualities stay
    None, for which every price takes its most expensive row), all of max_tokens, one token a byte of text."""
    profile = provider.operation_profile(operation)
    asked = _asked(provider, operation, request)
    if profile.kind == "chat":
        return Billable(
            input_images=len(request.images),
            text_in_tokens=_tokens_at_most(request.prompt or ""),
            image_in_tokens=TOKENS_PER_PICTURE * len(request.images),
            out_tokens=request.max_tokens if request.max_tokens is not None else UNBOUNDED_OUT_TOKENS,
        )
    width, height = _pixels(provider, operation, request)
    return Billable(
        images=int(request.n or _integer(asked.get("n")) or 1),
        width_px=width,
        height_px=height,
        quality=_word(asked.get("quality")),
        size=f"{width}x{height}" if width and height else None,
        tier=_word(asked.get("tier")),
        steps=_integer(asked.get("steps")),
        input_images=len(request.images),
        text_in_tokens=_tokens_at_most(request.prompt or ""),
        image_in_tokens=TOKENS_PER_PICTURE * len(request.images),
        out_tokens=OUT_TOKENS_PER_PICTURE * int(request.n or _integer(asked.get("n")) or 1),
    )


def delivered(provider: Provider, operation: str, request: TaskRequest, answer: Answer, pictures: Sequence[PictureInfo]) -> Billable:
    """What the answer delivered: its pictures with the first one's decoded size, its stated tokens (else text's length / 4)."""
    asked = _asked(provider, operation, request)
    usage = answer.usage
    prompt_tokens = _integer(usage.prompt_tokens) if usage else None
    out_tokens = _integer(usage.completion_tokens) if usage else None
    if provider.operation_profile(operation).kind == "chat":
        return Billable(
            input_images=len(request.images),
            text_in_tokens=prompt_tokens if prompt_tokens is not None else len(request.prompt or "") // 4,
            out_tokens=out_tokens if out_tokens is not None else len(answer.text or "") // 4,
        )
    first = next((picture for picture in pictures if picture.width_px), None)
    width, height = (first.width_px, first.height_px) if first else _pixels(provider, operation, request)
    return Billable(
        images=len(answer.pictures),
        width_px=width,
        height_px=height,
        quality=_word(asked.get("quality")),
        size=f"{width}x{height}" if width and height else None,
        tier=_word(asked.get("tier")),
        steps=_integer(asked.get("steps")),
        input_images=len(request.images),
        text_in_tokens=prompt_tokens or 0,
        out_tokens=out_tokens or 0,
    )


def charged(provider: Provider, operation: str, request: TaskRequest, answer: Answer, came: Billable) -> Billable:
    """What a success counts as against a limit: what was asked for, or what came (see `delivered`) where that is more.

    Token counts that the answer states are taken where they can be true of the text and the pictures that are there; else the worst
    case counts, of text that came a token a byte.
    """
    about = _about(provider, operation, request)
    most = about.most
    usage = answer.usage
    stated_in = _integer(usage.prompt_tokens) if usage else None
    stated_out = _integer(usage.completion_tokens) if usage else None
    least_in = len(request.prompt or "") // _MOST_CHARS_PER_TOKEN
    least_out = len(answer.text or "") // _MOST_CHARS_PER_TOKEN + _LEAST_PER_DRAWN_PICTURE * len(answer.pictures)
    if stated_in is not None and stated_in >= max(least_in, 1):
        most = replace(most, text_in_tokens=stated_in, image_in_tokens=0)
    if stated_out is not None and stated_out >= max(least_out, 1):
        most = replace(most, out_tokens=stated_out)
    elif answer.text:
        most = replace(most, out_tokens=min(most.out_tokens, _tokens_at_most(answer.text)))
    return about.at_least(came) if most is about.most else at_least(most, came)


def at_least(asked: Billable, came: Billable) -> Billable:
    """The larger of two quantities, one by one; of two areas the larger, and where one of them is not known the other."""
    if _holds(asked, came):
        return asked
    sizes = [one for one in (asked, came) if one.width_px and one.height_px]
    larger = max(sizes, key=lambda one: (one.width_px or 0) * (one.height_px or 0), default=asked)
    return Billable(
        images=max(asked.images, came.images),
        width_px=larger.width_px,
        height_px=larger.height_px,
        quality=asked.quality or came.quality,
        size=larger.size or asked.size or came.size,
        tier=asked.tier or came.tier,
        steps=asked.steps if asked.steps is not None else came.steps,
        input_images=max(asked.input_images, came.input_images),
        text_in_tokens=max(asked.text_in_tokens, came.text_in_tokens),
        image_in_tokens=max(asked.image_in_tokens, came.image_in_tokens),
        out_tokens=max(asked.out_tokens, came.out_tokens),
    )


def _holds(asked: Billable, came: Billable) -> bool:
    """Whether what came is in nothing more than what was asked for: then nothing has to be put together, for each answer of a load."""
    return (
        came.images <= asked.images
        and came.width_px == asked.width_px
        and came.height_px == asked.height_px
        and came.size == asked.size
        and came.quality == asked.quality
        and came.tier == asked.tier
        and came.steps == asked.steps
        and came.input_images <= asked.input_images
        and came.text_in_tokens <= asked.text_in_tokens
        and came.image_in_tokens <= asked.image_in_tokens
        and came.out_tokens <= asked.out_tokens
    )


def stated_cost(answer: Answer) -> float | None:
    """The cost that the answer states, in USD; None where it states none, or what can be none: below zero, or beyond every number."""
    cost = answer.cost_usd
    return abs(cost) if cost is not None and math.isfinite(cost) and cost >= 0 else None


def answer_cost(price: Price | None, answer: Answer, billable: Billable) -> float | None:
    """USD that the answer cost: its own cost field where it has one, else the price; 0 for a refusal billed on success only.

    None where no price is known: a cost that nobody stated is not 0.
    """
    stated = stated_cost(answer)
    if stated is not None:
        return stated
    return _priced(price, answer, billable)


def booked_cost(price: Price | None, answer: Answer, counted: Billable) -> float | None:
    """USD that the answer counts as against a limit: what it states, or what the price makes of `counted` (see `charged`) if that is more.

    None where nobody knows it.
    """
    known = [cost for cost in (stated_cost(answer), _priced(price, answer, counted)) if cost is not None]
    return max(known, default=None)


def _priced(price: Price | None, answer: Answer, billable: Billable) -> float | None:
    if price is None:
        return None
    if answer.status >= 400 and price.billed_on == "success":
        return 0.0
    return price.usd(billable)


def _tokens_at_most(text: str) -> int:
    """One token a byte, and some for what stands around the text."""
    return len(text.encode("utf-8", "surrogatepass")) + 64


class _About:
    """What holds for a request: an answer's cost asks several times for the same one, and a load's answers are to a few."""

    def __init__(self, provider: Provider, operation: str, request: TaskRequest) -> None:
        self.provider = provider
        self.operation = operation
        self.request = request
        self.asked = _looked_up(provider, operation, request)
        self._latest: tuple[Billable, Billable] | None = None

    @cached_property
    def most(self) -> Billable:
        """Its worst case."""
        return worst_case(self.provider, self.operation, self.request)

    def at_least(self, came: Billable) -> Billable:
        """Its worst case, or what came where that is more: nearly always the same that came the last time."""
        if self._latest is None or came != self._latest[0]:
            self._latest = came, at_least(self.most, came)
        return self._latest[1]


#: By the request's identity; each holds its request, so that no other can take its number. The latest few are kept.
_known: dict[int, _About] = {}
_MOST_KNOWN = 256


def _about(provider: Provider, operation: str, request: TaskRequest) -> _About:
    found = _known.get(id(request))
    if found is None or found.operation != operation or found.provider is not provider:
        if len(_known) >= _MOST_KNOWN:
            _known.clear()
        found = _known[id(request)] = _About(provider, operation, request)
    return found


def _asked(provider: Provider, operation: str, request: TaskRequest) -> Mapping[str, Any]:
    """What holds for a request by meaning: its own terms, its extra fields, then the schema's documented defaults."""
    return _about(provider, operation, request).asked


def _looked_up(provider: Provider, operation: str, request: TaskRequest) -> Mapping[str, Any]:
    profile = provider.operation_profile(operation)
    properties = provider.operation(operation).properties
    found: dict[str, Any] = {
        entry.means: task_value(entry, properties[name]["default"])
        for name, entry in profile.fields.items()
        if name in properties and "default" in properties[name]
    }
    found.update(values_by_meaning(profile, request.extra))
    for term in ("n", "quality", "tier", "steps"):
        if getattr(request, term) is not None:
            found[term] = getattr(request, term)
    if request.tier is None and request.size is not None and profile.wire_name("tier") is not None:
        with suppress(ContractViolation):
            found.update(values_by_meaning(profile, wire_fields(provider, request, operation).body))
    return found


def _pixels(provider: Provider, operation: str, request: TaskRequest) -> tuple[int | None, int | None]:
    if request.size is not None:
        return pixel_size(request.size) or (None, None)
    asked = _asked(provider, operation, request)
    size = asked.get("size")
    width, height = _integer(asked.get("width")), _integer(asked.get("height"))
    if isinstance(size, str):
        return pixel_size(size) or (None, None)
    if width and height:
        return width, height
    return provider.operation_profile(operation).response.default_size or (None, None)


def _integer(value: Any) -> int | None:
    """The count that a value is; None for what is none: a flag, less than nothing, more than anybody counts, no number at all."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _MOST_COUNTED:
        return None
    return int(value)


def _word(value: Any) -> str | None:
    return value if isinstance(value, str) else None
