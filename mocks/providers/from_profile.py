"""A mock for any provider whose two files follow the format: it reads requests and writes answers as the profile maps them.

The providers that come with Testcard have formats of their own, written from their documents, so that a mistake in a profile
shows as a disagreement. For a provider that a user adds there is only the profile to go by.
"""

from __future__ import annotations

import math
import re
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Literal, cast
from urllib.parse import urlencode

import msgspec
from PIL import Image

from testcard.mocks.exchange import Answer, Call, Headers, Parameters, PictureFormat, Refused, RenderedPicture, Upload, in_base64
from testcard.mocks.field_meaning import checked_size, read_n, read_size, salt
from testcard.mocks.filling import Filler, put, valid
from testcard.mocks.pictures import inputs
from testcard.mocks.providers.nvidia_nim import NimVision
from testcard.mocks.providers.provider_format import ErrorStyle, openai_error
from testcard.mocks.store import State, Task
from testcard.specs.agreement import has_place
from testcard.specs.errors import SpecError
from testcard.specs.loader import Provider
from testcard.specs.openapi import OpenApi
from testcard.specs.pointers import at, parts_of, whole_number
from testcard.specs.prices import Billable
from testcard.specs.profile import AsyncProtocol, OperationProfile, PictureEvents, TaskCall, WireField
from testcard.specs.schemas import Schema, schema_at, type_of

_HEADER = "header:"
#: Previews before each picture of a stream, where there are any.
_PREVIEWS = 2
#: In an event's data: the type that goes into the event's name alone.
_NAMED = "\0event"

#: meanings that do not change the pixels
_ASIDE = frozenset({"n", "delivery", "user", "format", "seed", "async"})
_SQUARE = (1024, 1024)
_FORMATS = ("png", "jpeg", "webp")
#: pictures of one request: the most where the document allows so many or more, and where it says nothing
_MOST, _MOST_UNSAID = 32, 10
_PIXELS = re.compile(r"([1-9]\d{1,4})\D([1-9]\d{1,4})")
_RATIO = re.compile(r"([1-9]\d?)([:xX/])([1-9]\d?)")
#: "16x9" is a ratio, "64x64" a size in pixels: no ratio in use goes further.
_MOST_OF_A_RATIO = 32


class FromProfile(NimVision):
    """Pictures by the profile's field and response maps, chat as OpenAI has it, errors where the profile says they are looked for.

    Whatever the document requires of an answer beside that is filled in (see `filling`).
    """

    def __init__(self, provider: Provider, clock: Callable[[], float], *, strict: bool = False) -> None:
        super().__init__(provider, clock, strict=strict)
        documented = [operation for operation in provider.openapi.operations.values() if operation.request_content]
        invalid = next((status for status in (400, 422) if documented and all(str(status) in one.responses for one in documented)), 400)
        self.errors = ErrorStyle(self._error, invalid=invalid, unknown_model=invalid)
        self._fillers: dict[tuple[str, int], tuple[str, Filler]] = {}
        self._kinds: dict[OpenApi, FromProfile] = {}

    def _error(self, refused: Refused, schema: Schema | None = None) -> Any:
        """The message and the code at the first place that the profile names for each and the schema has; OpenAI's shape where it names
        none. A schema of texts has the message alone.
        """
        places = self.provider.profile.errors
        if schema and type_of(schema) == "string":
            return refused.message
        if not any(places.message):
            return openai_error(refused)
        body: Any = put({}, _fitting(places.message, schema) or next(filter(None, places.message)), refused.message)
        code = _fitting(places.code, schema) or (None if schema else next(iter(places.code), None))
        return put(body, code, refused.code) if code else body

    def _filler(self, operation: str, status: int) -> tuple[str, Filler]:
        """The media type that the document has for an answer's JSON, and what makes it whole."""
        key = (operation, status)
        if key not in self._fillers:
            documented = self.provider.operation(operation)
            names = [name for name in documented.response_media_types(status) if name == "application/json" or name.endswith("+json")]
            media_type = names[0] if names else "application/json"
            self._fillers[key] = (media_type, Filler(documented.response_schema(status, media_type) if names else None))
        return self._fillers[key]

    def refusal(self, refused: Refused, operation: str | None = None) -> Answer:
        """The refusal, whole by what the document says of its status; in the shape of another where it says nothing of this one."""
        answer = super().refusal(refused)
        if operation is None:
            return answer
        documented = self.provider.operation(operation)
        status = refused.status
        if not documented.documents(status):
            known = [whole_number(one) for one in documented.responses if not one.startswith("2")]
            others = [one for one in known if one is not None]
            described = [one for one in others if self._filler(operation, one)[1].schema]
            status = next(iter([*described, *others]), status)
        names = documented.response_media_types(status)
        plain = next((name for name in names if name.startswith("text/")), None)
        if plain is not None and not any(name.endswith("json") for name in names):
            answer.data, answer.media_type = refused.message.encode(), plain
            return answer
        answer.media_type, filler = self._filler(operation, status)
        said = self._error(refused, filler.schema)
        whole = filler.filled(said)
        # What has to be said at the profile's places may be no part of what is documented for this one status.
        answer.json = whole if isinstance(whole, dict | str) else said
        return answer

    def as_sent(self, answer: Answer, operation: str) -> Answer:
        """A refusal under the status of a success, where the profile says how its body tells the two apart and the document has no such status."""
        success = self.provider.profile.errors.success
        responses = self.provider.operation(operation).responses
        if {str(answer.status), f"{answer.status // 100}XX"} & responses.keys():
            return answer
        if success is None or not 400 <= answer.status < 500 or answer.json is None or answer.data is not None:
            return answer
        status = self.success_status(operation)
        media_type, filler = self._filler(operation, status)
        stated = next((code for code, stands_for in success.statuses.items() if stands_for == answer.status), None)
        body = answer.json if isinstance(answer.json, dict) else {}
        for place in (next(iter(self.provider.profile.errors.code), success.at), success.at):
            schema = schema_at(filler.schema, parts_of(place))
            told = at(body, place)
            choices = [stated, whole_number(stated) if stated is not None else None, *(() if stated else [told]), answer.status]
            choices += [str(answer.status), False, *(schema.get("enum") or ()), told or "error"]
            fits = (one for one in choices if one is not None and one not in success.values and valid(schema, one))
            body = put(body, place, next(fits, answer.status))
        answer.status, answer.media_type, answer.json = status, media_type, filler.filled(body)
        return answer

    def _whole(self, operation: str, status: int, body: Any, known: Mapping[str, Any] = MappingProxyType({})) -> Any:
        """The body of a success with what the document requires beside it, and with the word that says so."""
        success = self.provider.profile.errors.success
        if success is not None and success.values:
            body = put(body, success.at, success.values[0])
        body = self._filler(operation, status)[1].filled(body, known)
        return put(body, success.at, None) if success is not None and not success.values and at(body, success.at) else body

    def success_status(self, operation: str) -> int:
        """The first documented status of a success."""
        return self.provider.operation(operation).success_statuses[0]

    def media_type(self, operation: str, status: int) -> str:
        """The documented media type of an answer's JSON."""
        return self._filler(operation, status)[0]

    def accepted_headers(self, call: Call, reference: str) -> Headers:
        """What the protocol's places say that stands in headers: the task's reference, its address."""
        protocol = self._protocol(call.operation)
        told: list[tuple[str, str | None]] = [(place, reference) for place in protocol.task_reference]
        told += [(protocol.poll_url, self._poll_address(protocol, call, reference))] if protocol.poll_url is not None else []
        return tuple((place.removeprefix(_HEADER), value) for place, value in told if place.startswith(_HEADER) and value is not None)

    def _poll_address(self, protocol: AsyncProtocol, call: Call, reference: str) -> str | None:
        """Where the task can be asked for; None where the profile knows no operation for that."""
        if protocol.operation is None or protocol.parameter is None:
            return None
        return self._address(call, TaskCall(operation=protocol.operation, parameter=protocol.parameter), reference)

    def _address(self, call: Call, asked: TaskCall, reference: str) -> str:
        """The address of what is asked about a task, with what its operation has to be sent in the query."""
        operation, profile = self.provider.operation(asked.operation), self.provider.operation_profile(asked.operation)
        query = {name: field.send for name, field in profile.query.items() if field.send is not None}
        path = operation.path
        if asked.parameter in operation.path_parameters:
            path = path.replace("{" + asked.parameter + "}", reference)
        else:
            query[asked.parameter] = reference
        return call.origin + call.root + path + (f"?{urlencode(query)}" if query else "")

    def wants_task(self, call: Call) -> bool:
        """Whether the profile's async flag is set, or there is none to set."""
        protocol = self.provider.protocol(call.operation)
        return protocol is not None and (protocol.flag is None or call.fields.get(protocol.flag) is True)

    def accept_status(self, operation: str) -> int:
        """The status with which a task is accepted."""
        protocol = self.provider.protocol(operation)
        return protocol.status[0] if protocol is not None else 202

    def new_reference(self) -> str:
        """A task's reference: a UUID."""
        return str(uuid.uuid4())

    def task_reference(self, call: Call) -> str:
        """The reference that a poll names, in its path or its query."""
        protocol = self._polled_by(call.operation)
        return call.path.get(protocol.parameter or "") or call.query.get(protocol.parameter or "") or next(iter(call.path.values()), "")

    def parameters(self, call: Call) -> Parameters:
        """The pictures asked for, by the meanings of the fields."""
        try:
            return self._for(call)._parameters(call)
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError, ArithmeticError):
            raise Refused(self.errors.invalid, "a value is of a kind that makes no picture") from None

    def _for(self, call: Call) -> FromProfile:
        """The format of the kind of request that this is, where the document has several."""
        try:
            provider = self.provider.for_body(call.operation, call.fields)
        except SpecError:
            return self
        if provider is self.provider:
            return self
        if provider.openapi not in self._kinds:
            self._kinds[provider.openapi] = FromProfile(provider, self.clock, strict=self.strict)
        return self._kinds[provider.openapi]

    def _parameters(self, call: Call) -> Parameters:
        profile = self.provider.operation_profile(call.operation)
        sent = self._defaults_further_in(profile, call) | dict(_sent(profile, call))
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
        seed = sent.get("seed")
        delivery = sent.get("delivery", profile.response.default_delivery)
        return Parameters(
            width,
            height,
            str(sent.get("prompt") or ""),
            salt(call, [name for name, field in profile.fields.items() if field.means in _ASIDE], always=True),
            n=self._count(profile, call, sent),
            seed=int(str(seed)) if not isinstance(seed, bool) and re.fullmatch(r"-?[0-9]{1,300}", str(seed)) else None,
            format=cast("PictureFormat", sent["format"] if sent.get("format") in _FORMATS else profile.response.formats[0]),
            delivery="url"
            if delivery == "url" and profile.response.url is not None
            else "base64"
            if profile.response.base64 is not None
            else "url",
            transparent=sent.get("background") == "transparent" and sent.get("format") != "jpeg",
            images=images,
            edit=edit,
            strength=min(1.0, max(0.0, float(0.8 if sent.get("strength") is None else sent["strength"]))),
        )

    def _defaults_further_in(self, profile: OperationProfile, call: Call) -> dict[str, Any]:
        """The documented defaults of fields inside objects of the body, by meaning; those of the body's own are in the call already."""
        schema = self.provider.operation(call.operation).request_schema
        found: dict[str, Any] = {}
        for name, field in profile.fields.items():
            default = schema_at(schema, parts_of(name)).get("default") if name.startswith("/") else None
            if default is not None and field.means != "other":
                words = {wire: word for word, wire in field.values.items()}
                found[field.means] = words.get(default, default) if isinstance(default, str) else default
        return found

    def _count(self, profile: OperationProfile, call: Call, sent: dict[str, Any]) -> int:
        name = profile.wire_name("n")
        asked = int(sent["n"]) if sent.get("n") is not None else 1
        most = schema_at(self.provider.operation(call.operation).request_schema, parts_of(name or "")).get("maximum")
        n = read_n({"n": asked}, int(most) if isinstance(most, int | float) and most <= _MOST else _MOST_UNSAID)
        return n if "*" in (profile.response.pictures or "") else 1

    def body(self, call: Call, parameters: Parameters, rendered: Sequence[RenderedPicture]) -> Any:
        """The answer that the profile's response map describes, whole by the document where it is the answer itself."""
        profile = self.provider.operation_profile(call.operation)
        places = profile.response
        sent = dict(_sent(profile, call, as_sent=True))
        tokens = len(str(sent.get("prompt", "")).split())
        body: Any = {}
        for meaning, pointer in places.echoes.items():
            body = put(body, pointer, sent.get(meaning, parameters.format if meaning == "format" else "auto"))
        for kind, pointer in places.usage.items():
            if pointer.startswith(_HEADER):
                continue
            body = put(body, pointer, 0 if kind == "completion_tokens" else tokens)
        for place, value in ((places.created, int(self.clock())), (places.cost and places.cost.at, self._cost(call, parameters, rendered))):
            if place and not place.startswith(_HEADER):
                body = put(body, place, value)
        if places.pictures is not None:
            owner, several, within = places.pictures.rpartition("/*")
            items = [self._item(profile, one) for one in rendered]
            if several and within:  # each picture below its own item of the list
                items = [put({}, within, item) for item in items]
            body = put(body, owner, items) if several else put(body, places.pictures, items[0])
        if self.wants_task(call):
            return body  # what a poll answers is made whole there
        return self._whole(call.operation, self.success_status(call.operation), body, self._known(call, parameters))

    def _known(self, call: Call, parameters: Parameters) -> dict[str, Any]:
        """What is known of an answer by name: the request's own fields, and the size in the words that sizes have."""
        known = {name: value for name, value in call.fields.items() if not isinstance(value, Upload | list)}
        size = f"{parameters.width_px}x{parameters.height_px}"
        return {
            "size": size,
            "resolution": size,
            "width": parameters.width_px,
            "height": parameters.height_px,
            "seed": parameters.seed,
            **known,
        }

    def accepted(self, call: Call, reference: str) -> Any:
        """The task's reference, state and address, at the places that the async protocol names."""
        protocol = self._protocol(call.operation)
        body: Any = {}
        for pointer in protocol.task_reference:
            if not pointer.startswith(_HEADER):
                body = put(body, pointer, reference)
        documented = self.provider.operation(call.operation).response_schema(self.accept_status(call.operation))
        if protocol.state and (documented is None or has_place(documented, parts_of(protocol.state))):
            body = put(body, protocol.state, protocol.word("queued"))
        address = self._poll_address(protocol, call, reference)
        if protocol.poll_url and not protocol.poll_url.startswith(_HEADER) and address is not None:
            body = put(body, protocol.poll_url, address)
        if protocol.cost is not None and not protocol.cost.at.startswith(_HEADER):
            body = put(body, protocol.cost.at, 4)
        body = self._with_result_address(protocol, body, call, reference)
        return self._whole(call.operation, self.accept_status(call.operation), body, call.fields)

    def answers_as(self, call: Call, parameters: Parameters) -> Literal["json", "binary", "events"]:
        """Events where a stream was asked for and there is one; the picture itself where that is asked for, or usual."""
        profile = self.provider.operation_profile(call.operation)
        where = profile.response
        if where.events is not None and dict(_sent(profile, call)).get("stream") is True:
            return "events"
        if not where.binary:
            return "json"
        accept = call.headers.get("accept", "*/*").lower()
        ways = [way for way, media_type in where.accept.items() if media_type.lower() == accept.strip()]
        way = ways[0] if ways else where.default_delivery if "image/" in accept or "*/*" in accept or where.pictures is None else "base64"
        return "binary" if way == "binary" else "json"

    def headers(self, call: Call, parameters: Parameters, rendered: Sequence[RenderedPicture]) -> Headers:
        """What the profile's places say that stands in headers: cost, seed, finish reason."""
        where = self.provider.operation_profile(call.operation).response
        told = (
            (where.cost.at if where.cost else None, self._cost(call, parameters, rendered)),
            (where.balance.at if where.balance else None, 1000),
            (where.item_seed, rendered[0].seed if rendered else None),
            (where.finish, "SUCCESS"),
        )
        return tuple((place.removeprefix(_HEADER), str(value)) for place, value in told if place is not None and place.startswith(_HEADER))

    def events(self, call: Call, parameters: Parameters, rendered: Sequence[RenderedPicture]) -> list[Any]:
        """For each picture its previews, then itself; at last the end, where the profile has one."""
        where = self.provider.operation_profile(call.operation).response
        events = where.events
        assert events is not None
        found: list[Any] = []
        words = len(parameters.caption.split())
        tokens = {
            "prompt_tokens": words,
            "text_in_tokens": words,
            "image_in_tokens": 0,
            "completion_tokens": 64,
            "total_tokens": words + 64,
        }
        for one in rendered:
            given = (events.base64, in_base64(one.data)) if events.base64 is not None else (events.url, one.url)
            for number in range(_PREVIEWS if events.partial else 0):
                found.append(self._event(events, events.partial[0], given, number))
            whole = self._event(events, events.completed[0], given, None)
            for count, place in events.usage.items():
                whole = put(whole, place, tokens[count])
            found.append(whole)
        return [*found, events.end.encode()] if events.end is not None else found

    def _event(self, events: PictureEvents, kind: str, given: tuple[str | None, Any], number: int | None) -> Any:
        data: Any = put({}, events.type, kind) if events.type is not None else {_NAMED: kind}
        place, value = given
        if place is not None:
            data = put(data, place, value)
        return put(data, events.index, number) if events.index is not None and number is not None else data

    def event(self, operation: str, data: Any) -> bytes:
        """The event with its name, where the profile looks for the type there or the data has one."""
        events = self.provider.operation_profile(operation).response.events
        if not isinstance(data, dict) or events is None:
            return super().event(operation, data)
        data = dict(data)
        name = data.pop(_NAMED, None) if events.type is None else at(data, events.type)
        return (f"event: {name}\n".encode() if isinstance(name, str) else b"") + super().event(operation, data)

    def asked_of_task(self, operation: str) -> Literal["progress", "result", "cancel"]:
        """What the protocols call an operation for."""
        protocol = self._polled_by(operation)
        if protocol.cancel is not None and protocol.cancel.operation == operation:
            return "cancel"
        return "result" if protocol.result_from is not None and protocol.result_from.operation == operation else "progress"

    def result(self, task: Task, state: State, operation: str) -> Any:
        """The task's pictures, whole by what the document says of the operation that gives them."""
        if state != "completed":
            raise Refused(404 if task.failure is None else self.errors.invalid, f"the task is {state}")
        return self._whole(operation, 200, task.result)

    def progress_status(self, operation: str, state: State) -> int:
        """202 while a task goes on, where its polls name no state."""
        return 202 if self._polled_by(operation).state is None and state in ("queued", "running") else 200

    def progress(self, task: Task, state: State, age_s: float, operation: str | None = None, call: Call | None = None) -> Any:
        """The task's state, age, result and error, at the places that the async protocol names."""
        protocol = self._polled_by(operation)
        body: Any = {}
        if state == "completed" and protocol.result_from is None:
            body = put(body, protocol.result, task.result)
        elif task.failure is not None and protocol.error:
            body = put(body, protocol.error, task.failure.message)
        polled = self.provider.operation(operation).response_schema(200) if operation is not None else None
        for pointer in protocol.task_reference:
            if not pointer.startswith(_HEADER) and (polled is None or has_place(polled, parts_of(pointer))):
                body = put(body, pointer, task.reference)
        if protocol.state:
            body = put(body, protocol.state, protocol.word(state) or protocol.word("queued") or state)
        if protocol.elapsed_s:
            body = put(body, protocol.elapsed_s, round(age_s, 3))
        if call is not None:
            body = self._with_result_address(protocol, body, call, task.reference)
        return body if operation is None else self._whole(operation, 200, body)

    def _with_result_address(self, protocol: AsyncProtocol, body: Any, call: Call, reference: str) -> Any:
        """The body with the address of the task's result, where the protocol has a place for it and an operation that answers there."""
        if protocol.result_url is None or protocol.result_from is None:
            return body
        return put(body, protocol.result_url, self._address(call, protocol.result_from, reference))

    def _protocol(self, operation: str) -> AsyncProtocol:
        protocol = self.provider.protocol(operation)
        if protocol is None:
            raise Refused(404, "this provider has no tasks")
        return protocol

    def _polled_by(self, operation: str | None) -> AsyncProtocol:
        """The protocol whose tasks an operation is asked about."""
        protocols = [self.provider.protocol(name) for name in self.provider.profile.operations]
        known = [protocol for protocol in protocols if protocol is not None]
        if not known:
            raise Refused(404, "this provider has no tasks")
        return next((protocol for protocol in known if operation in protocol.operations), known[0])

    def _check(self, profile: OperationProfile, call: Call, sent: dict[str, Any]) -> None:
        parts = sorted((field.part or 0, str(call.path[name])) for name, field in profile.path.items() if field.means == "model")
        if self.models[call.operation]:
            self.check_model(call, "/".join(part for _, part in parts) if parts else sent.get("model"))
        for meaning in profile.needs.get(str(sent.get("mode")), ()):
            if meaning not in sent:
                raise Refused(self.errors.invalid, f"{meaning} is required for the mode {sent['mode']}", param=meaning)

    def check_model(self, call: Call, model: Any) -> None:
        """`Refused` when the operation serves no such model; a model that the document only gives as an example may be any."""
        profile = self.provider.operation_profile(call.operation)
        if all(field.closed is not False for field in (*profile.fields.values(), *profile.path.values()) if field.means == "model"):
            super().check_model(call, model)

    def _size(self, profile: OperationProfile, sent: dict[str, Any]) -> tuple[int, int]:
        default = profile.response.default_size or _SQUARE
        if sent.get("width") is not None or sent.get("height") is not None:
            return checked_size(int(sent.get("width") or default[0]), int(sent.get("height") or default[1]), "width")
        ratio = next((found for meaning in ("aspect_ratio", "size") if (found := _ratio(str(sent.get(meaning, ""))))), None)
        if ratio is not None or sent.get("tier") is not None:
            across, down = ratio if ratio is not None else (1, 1)
            edge = profile.response.tier_edge_px.get(str(sent.get("tier")), default[0])
            shape = across / down
            if sent.get("tier") is None and math.isclose(shape, default[0] / default[1], rel_tol=0.01):
                return default
            return max(16, round(edge * math.sqrt(shape) / 16) * 16), max(16, round(edge / math.sqrt(shape) / 16) * 16)
        size = sent.get("size")
        pixels = _PIXELS.fullmatch(str(size)) if size is not None else None
        if pixels is not None:
            return checked_size(int(pixels[1]), int(pixels[2]), "size")
        words = self._words_for_size(profile, size)
        return default if words else read_size(size, default)

    def _words_for_size(self, profile: OperationProfile, size: Any) -> bool:
        """Whether the document lists this size, so that a word which names no pixels stands for the usual ones."""
        name = profile.wire_name("size")
        operation = next(one for one, entry in self.provider.profile.operations.items() if entry is profile)
        return name is not None and size in (self.provider.operation(operation).properties.get(name, {}).get("enum") or ())

    def _item(self, profile: OperationProfile, one: RenderedPicture) -> Any:
        places = profile.response
        encoded = one.base64
        if encoded is not None and places.data_url:
            encoded = msgspec.Raw(f'"data:image/{one.format};base64,'.encode() + bytes(encoded)[1:])
        given = encoded if encoded is not None else one.url
        if places.base64 == "" or places.url == "":
            return given
        item: Any = {}
        for place, value in ((places.base64, encoded), (places.url, one.url), (places.item_seed, one.seed), (places.finish, "SUCCESS")):
            if place and value is not None and not place.startswith(_HEADER):
                item = put(item, place, value)
        return item

    def _cost(self, call: Call, parameters: Parameters, rendered: Sequence[RenderedPicture]) -> float:
        model = call.fields.get("model")
        entry = self.provider.price_entry(model, call.operation, "illustrative") or self.provider.price_entry(model, call.operation, "list")
        billed = Billable(
            images=len(rendered), width_px=parameters.width_px, height_px=parameters.height_px, input_images=len(parameters.images)
        )
        stated = self.provider.operation_profile(call.operation).response.cost
        each = (stated.usd_each if stated is not None else None) or 1.0
        return round(((entry.price.usd(billed) if entry else None) or 0.0) / each, 6)


def _fitting(places: Sequence[str], schema: Schema | None) -> str | None:
    """The first of the places that a schema has; None for none."""
    return next((place for place in places if place and schema and has_place(schema, parts_of(place))), None)


def _ratio(word: str) -> tuple[int, int] | None:
    """The two numbers of a ratio; None for what is none, such as a size of few pixels."""
    found = _RATIO.fullmatch(word)
    if found is None:
        return None
    across, down = int(found[1]), int(found[3])
    return (across, down) if found[2] in ":/" or max(across, down) <= _MOST_OF_A_RATIO else None


def _sent(profile: OperationProfile, call: Call, *, as_sent: bool = False) -> Iterator[tuple[str, Any]]:
    """What was sent or is the default, by meaning, in the task's own words unless `as_sent`."""
    for name, field in profile.fields.items():
        value = _value(call, name)
        if value is not None:
            words = {} if as_sent else {wire: word for word, wire in field.values.items()}
            if field.means != "other":
                yield field.means, words.get(value, value) if isinstance(value, str) else value


def _all(profile: OperationProfile, call: Call, meaning: str) -> Iterator[tuple[WireField, Any]]:
    for name, field in profile.fields.items():
        if field.means == meaning and (value := _value(call, name)) is not None:
            yield field, value


def _value(call: Call, name: str) -> Any:
    """What was sent under a wire name, which may be a pointer to a place further in."""
    return at(call.fields, name) if name.startswith("/") else call.fields.get(name)


def _pictures(field: WireField, value: Any) -> Iterator[Image.Image]:
    for one in value if isinstance(value, list | tuple) else [value]:
        if isinstance(one, Upload):
            data = one.data
        elif str(one).startswith(("https://", "http://")) and field.format in ("url", "url-or-base64", "url-or-data-url"):
            yield Image.new("RGB", (512, 512), (128, 128, 128))
            continue
        elif field.format in ("data-url", "url-or-data-url") and "base64" not in field.also_formats:
            data = inputs.from_data_url(one, field.means)
        else:
            data = inputs.from_either(one, field.means)
        yield inputs.decode(data, field.means)
