"""A mock for any provider whose two files follow the format: it reads requests and writes answers as the profile maps them.

The providers that come with Testcard have formats of their own, written from their documents, so that a mistake in a profile
shows as a disagreement. For a provider that a user adds there is only the profile to go by.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast

from PIL import Image

from testcard.mocks.exchange import Call, Parameters, PictureFormat, Refused, RenderedPicture, Upload
from testcard.mocks.field_meaning import checked_size, read_n, read_size, salt
from testcard.mocks.pictures import inputs
from testcard.mocks.providers.nvidia_nim import NimVision
from testcard.mocks.providers.provider_format import ErrorStyle, openai_error
from testcard.mocks.store import State, Task
from testcard.specs.loader import Provider
from testcard.specs.prices import Billable
from testcard.specs.profile import AsyncProtocol, OperationProfile, WireField

#: meanings that do not change the pixels
_ASIDE = frozenset({"n", "delivery", "user", "format", "seed", "async"})
_SQUARE = (1024, 1024)


class FromProfile(NimVision):
    """Pictures by the profile's field and response maps, chat as OpenAI has it, errors where the profile says they are looked for."""

    def __init__(self, provider: Provider, clock: Callable[[], float], *, strict: bool = False) -> None:
        super().__init__(provider, clock, strict=strict)
        self.errors = ErrorStyle(self._error)

    def _error(self, refused: Refused) -> dict[str, Any]:
        """The message and the code at the first place the profile names for each; OpenAI's shape where it names none."""
        places = self.provider.profile.errors
        if not places.message:
            return openai_error(refused)
        body: dict[str, Any] = {}
        _put(body, places.message[0], refused.message)
        if places.code:
            _put(body, places.code[0], refused.code)
        return body

    def wants_task(self, call: Call) -> bool:
        """Whether the profile's async flag is set."""
        protocol = self.provider.profile.asynchronous
        return protocol is not None and protocol.flag is not None and call.fields.get(protocol.flag) is True

    def parameters(self, call: Call) -> Parameters:
        """The pictures asked for, by the meanings of the fields."""
        profile = self.provider.operation_profile(call.operation)
        sent = dict(_sent(profile, call))
        self._check(profile, call, sent)
        images = tuple(inputs.opaque(picture) for field, value in _all(profile, call, "image") for picture in _pictures(field, value))
        masks = [(field, picture) for field, value in _all(profile, call, "mask") for picture in _pictures(field, value)]
        edit = None
        if masks and images:
            # Where the profile does not say: forms follow OpenAI, where the transparent part may change; elsewhere it is the white one.
            edits = masks[0][0].edits or ("transparent" if masks[0][0].format == "file" else "white")
            read: Callable[[Image.Image], Image.Image] = inputs.transparent_edits if edits == "transparent" else inputs.white_edits
            edit = read(masks[0][1])
        width, height = self._size(profile, sent)
        return Parameters(
            width,
            height,
            str(sent.get("prompt", "")),
            salt(call, [name for name, field in profile.fields.items() if field.means in _ASIDE], always=True),
            n=read_n({"n": sent.get("n")}),
            seed=sent.get("seed"),
            format=cast("PictureFormat", sent.get("format", profile.response.formats[0])),
            delivery=sent.get("delivery", profile.response.default_delivery),
            transparent=sent.get("background") == "transparent" and sent.get("format") != "jpeg",
            images=images,
            edit=edit,
            strength=float(sent.get("strength", 0.8)),
        )

    def body(self, call: Call, parameters: Parameters, rendered: Sequence[RenderedPicture]) -> dict[str, Any]:
        """The answer that the profile's response map describes."""
        profile = self.provider.operation_profile(call.operation)
        places = profile.response
        sent = dict(_sent(profile, call, as_sent=True))
        tokens = len(str(sent.get("prompt", "")).split())
        body: dict[str, Any] = {}
        for meaning, pointer in places.echoes.items():
            _put(body, pointer, sent.get(meaning, parameters.format if meaning == "format" else "auto"))
        for kind, pointer in places.usage.items():
            _put(body, pointer, 0 if kind == "completion_tokens" else tokens)
        for place, value in ((places.created, int(self.clock())), (places.cost and places.cost.at, self._cost(call, parameters, rendered))):
            if place:
                _put(body, place, value)
        if places.pictures:
            _put(body, places.pictures.removesuffix("/*"), [self._item(profile, one) for one in rendered])
        return body

    def accepted(self, call: Call, reference: str) -> dict[str, Any]:
        """The task's reference, state and address, at the places that the async protocol names."""
        protocol = self._protocol
        body: dict[str, Any] = {}
        for pointer in protocol.task_reference:
            _put(body, pointer, reference)
        if protocol.state:
            _put(body, protocol.state, protocol.word("queued"))
        if protocol.poll_url and protocol.operation and protocol.parameter:
            path = self.provider.operation(protocol.operation).path.replace("{" + protocol.parameter + "}", reference)
            _put(body, protocol.poll_url, call.root + path)
        return body

    def progress(self, task: Task, state: State, age_s: float) -> dict[str, Any]:
        """The task's state, age, result and error, at the places that the async protocol names."""
        protocol = self._protocol
        body: dict[str, Any] = {}
        for pointer in protocol.task_reference:
            _put(body, pointer, task.reference)
        if protocol.state:
            _put(body, protocol.state, protocol.word(state) or state)
        if protocol.elapsed_s:
            _put(body, protocol.elapsed_s, round(age_s, 3))
        if state == "completed":
            _put(body, protocol.result, task.result)
        elif task.failure is not None and protocol.error:
            _put(body, protocol.error, task.failure.message)
        return body

    @property
    def _protocol(self) -> AsyncProtocol:
        protocol = self.provider.profile.asynchronous
        if protocol is None:
            raise Refused(404, "this provider has no tasks")
        return protocol

    def _check(self, profile: OperationProfile, call: Call, sent: dict[str, Any]) -> None:
        parts = sorted((field.part or 0, str(call.path[name])) for name, field in profile.path.items() if field.means == "model")
        if self.models[call.operation]:
            self.check_model(call, "/".join(part for _, part in parts) if parts else sent.get("model"))
        for meaning in profile.needs.get(str(sent.get("mode")), ()):
            if meaning not in sent:
                raise Refused(self.errors.invalid, f"{meaning} is required for the mode {sent['mode']}", param=meaning)

    def _size(self, profile: OperationProfile, sent: dict[str, Any]) -> tuple[int, int]:
        default = profile.response.default_size or _SQUARE
        if "width" in sent or "height" in sent:
            return checked_size(int(sent.get("width", default[0])), int(sent.get("height", default[1])), "width")
        if "aspect_ratio" in sent or "tier" in sent:
            across, _, down = str(sent.get("aspect_ratio", "1:1")).partition(":")
            edge = profile.response.tier_edge_px.get(str(sent.get("tier")), default[0])
            ratio = int(across) / int(down)
            return round(edge * math.sqrt(ratio) / 16) * 16, round(edge / math.sqrt(ratio) / 16) * 16
        return read_size(sent.get("size"), default)

    def _item(self, profile: OperationProfile, one: RenderedPicture) -> Any:
        places = profile.response
        given = one.base64 if one.base64 is not None else one.url
        if places.base64 == "" or places.url == "":
            return given
        item: dict[str, Any] = {}
        for place, value in ((places.base64, one.base64), (places.url, one.url), (places.item_seed, one.seed), (places.finish, "SUCCESS")):
            if place and value is not None:
                _put(item, "/" + place.lstrip("/"), value)
        return item

    def _cost(self, call: Call, parameters: Parameters, rendered: Sequence[RenderedPicture]) -> float:
        entry = self.provider.price_entry(call.fields.get("model"), call.operation, "illustrative")
        billed = Billable(
            images=len(rendered), width_px=parameters.width_px, height_px=parameters.height_px, input_images=len(parameters.images)
        )
        return round((entry.price.usd(billed) if entry else None) or 0.0, 6)


def _sent(profile: OperationProfile, call: Call, *, as_sent: bool = False) -> Iterator[tuple[str, Any]]:
    """What was sent or is the default, by meaning, in the task's own words unless `as_sent`."""
    for name, field in profile.fields.items():
        if name in call.fields:
            words = {} if as_sent else {wire: word for word, wire in field.values.items()}
            value = call.fields[name]
            yield field.means, words.get(value, value) if isinstance(value, str) else value


def _all(profile: OperationProfile, call: Call, meaning: str) -> Iterator[tuple[WireField, Any]]:
    for name, field in profile.fields.items():
        if field.means == meaning and name in call.fields:
            yield field, call.fields[name]


def _pictures(field: WireField, value: Any) -> Iterator[Image.Image]:
    for one in value if isinstance(value, list | tuple) else [value]:
        if isinstance(one, Upload):
            data = one.data
        elif field.format == "data-url" and "base64" not in field.also_formats:
            data = inputs.from_data_url(one, field.means)
        elif field.format == "url-or-base64" and one.startswith(("https://", "http://")):
            yield Image.new("RGB", (512, 512), (128, 128, 128))
            continue
        else:
            data = inputs.from_either(one, field.means)
        yield inputs.decode(data, field.means)


def _put(body: dict[str, Any], pointer: str, value: Any) -> None:
    """Sets the value at a JSON pointer, making the objects on the way."""
    *way, last = pointer.strip("/").split("/")
    for part in way:
        body = body.setdefault(part, {})
    body[last] = value
