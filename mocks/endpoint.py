"""Serves one operation: key, body, schema, parameters, pictures, answer, with hooks at each stage."""

from __future__ import annotations

import asyncio
import functools
import hashlib
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from testcard.mocks import request_body
from testcard.mocks.conditions import InForce
from testcard.mocks.exchange import AddressMode, Answer, Call, Key, Parameters, Problem, Refused, RenderedPicture, in_base64
from testcard.mocks.faults import FaultSource
from testcard.mocks.pictures.renderer import Renderer
from testcard.mocks.providers.provider_format import ProviderFormat
from testcard.mocks.store import Count, PictureStore, TaskStore
from testcard.specs.profile import Header

#: bodies above this size are read for their pictures in a thread
_LARGE_BODY = 64_000
#: bodies up to this size are remembered once they were found right, so many of them for each operation
_SMALL_BODY, _REMEMBERED = 4_000, 256


@dataclass(frozen=True, slots=True)
class Resources:
    """What every operation of a provider's mock shares."""

    provider_format: ProviderFormat
    renderer: Renderer
    pictures: PictureStore
    tasks: TaskStore
    keys: tuple[Header, ...]
    api_key: str
    live: InForce
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    #: of each header that takes a key: its name, what comes before the key, both as they usually come
    _taken: list[tuple[str, str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._taken.extend((one.name.lower(), one.prefix, one.prefix + self.api_key) for one in self.keys)

    def key_of(self, headers: Mapping[str, str]) -> Key:
        """What key these headers bring; the right one where the provider needs none."""
        if not self.keys:
            return "right"
        found: Key = "missing"
        for name, prefix, whole in self._taken:
            sent = headers.get(name)
            if sent is not None:
                size = len(prefix)
                if sent == whole or (sent[size:] == self.api_key and sent[:size].lower() == prefix.lower()):
                    return "right"
                found = "wrong"
        return found


@dataclass(slots=True)
class _Read:
    """What a body came to, for the next that is equal: nobody changes these values. `parameters`: where they hold no pictures of the request."""

    sent: Any
    fields: dict[str, Any]
    further: dict[str, Any]
    parameters: Parameters | None = None


class Endpoint:
    """One operation. `kind` is the profile's: images, chat or task."""

    def __init__(self, resources: Resources, operation: str, fault_source: FaultSource, count: Count) -> None:
        profile = resources.provider_format.provider.operation_profile(operation)
        self.resources = resources
        self.provider_format = resources.provider_format
        self.operation = operation
        self.fault_source = fault_source
        self.count = count
        self.contract = resources.provider_format.contracts[operation]
        self.limit = resources.provider_format.body_limit(operation)
        self.keyed = profile.auth_required
        self._serve: Callable[[Call, bytes], Any] = {"images": self._pictures, "chat": self._chat, "task": self._task}[profile.kind]
        required = resources.provider_format.provider.operation(operation).required_parameters
        self._required_query = tuple(name for location, name in required if location == "query")
        self.works = bool(self.contract.media_types)
        self._steps = profile.wire_name("steps")
        self._success = self.provider_format.success_status(operation)
        self._success_type = self.provider_format.media_type(operation, self._success)
        self._met: Counter[bytes] = Counter()
        self._remembered: dict[tuple[Any, ...], _Read] = {}

    async def answer(self, call: Call, receive: request_body.Receive) -> Answer:
        """The answer to one request; never raises for anything a client can send."""
        count, era = self.count, self.count.era
        count.open += 1
        try:
            try:
                answer = await self._answer(call, receive)
            except Refused as refused:
                answer = self.provider_format.refusal(refused, self.operation)
            if call.hooks:
                answer = call.hooks.apply("answer", call, answer)
                if answer.late_s:
                    await self.resources.sleep(answer.late_s)
        except asyncio.CancelledError:
            # Only a server that is being stopped cancels: say so, rather than leave a traceback.
            answer = self.provider_format.refusal(Refused(503, "the mock is being stopped", code="stopping"))
        finally:
            count.open -= 1
        answer = self.provider_format.as_sent(answer, self.operation)
        if era == count.era:
            count.add(answer.status, billed=answer.billed and answer.status < 300, images=answer.images)
        return answer

    async def _answer(self, call: Call, receive: request_body.Receive) -> Answer:
        body, too_large = b"", None
        if self.works:
            message = await receive()
            body = message.get("body", b"")
            if message.get("more_body") or len(body) > self.limit:
                try:
                    body = await request_body.read(message, receive, self.limit, drain=not self.provider_format.strict)
                except Refused as refused:
                    body, too_large = b"", refused
        if call.hooks:
            call.met = self._times_met(call, body)
        if self.keyed:
            self._check_key(call)
        if too_large is not None:
            raise too_large
        live = self.resources.live
        if self.works and not live.usual:
            at_the_door = live.refused_at_the_door()
            if at_the_door is not None:
                raise at_the_door if isinstance(at_the_door, Refused) else self.provider_format.moderated()
        for name in self._required_query:
            if name not in call.query:
                raise Refused(self.provider_format.errors.invalid, f"the parameter {name} is required", param=name)
        if self.works:
            call.body_size = len(body)
            place = self._place(call, body)
            if place is None or not self._recalled(call, place):
                await self._read_body(call, body, place)
        served: Answer
        if live.slots is None or not self.works:
            served = await self._serve(call, body)
            return served
        slots = live.slots
        await slots.acquire()
        try:
            served = await self._serve(call, body)
        except BaseException:
            slots.release()
            raise
        if served.events is None:
            slots.release()
        else:
            call.ended = slots.release  # a stream keeps its place up to its last event
        return served

    def _times_met(self, call: Call, body: bytes) -> int:
        sent = [call.method, sorted(call.path.items()), sorted(call.headers.items())]
        equal = hashlib.blake2b(repr(sent).encode() + body, digest_size=16).digest()
        self._met[equal] += 1
        return self._met[equal] - 1

    def _check_key(self, call: Call) -> None:
        key = self.resources.key_of(call.headers)
        refused = None if key == "right" else self.provider_format.keyless(key)
        if call.hooks:
            refused = call.hooks.apply("key", call, refused)
        if refused is not None:
            raise refused

    def _place(self, call: Call, body: bytes) -> tuple[Any, ...] | None:
        """By what an equal request is remembered; None for one that is not to be."""
        if call.body_size > _SMALL_BODY or call.hooks or call.query:
            return None
        return (body, call.headers.get("content-type"), *call.path.values())

    def _recalled(self, call: Call, place: tuple[Any, ...]) -> bool:
        """Whether an equal request was found right before; what it came to is then the call's."""
        read = self._remembered.get(place)
        if read is None:
            return False
        call.read, call.sent, call.fields, call.further = read, read.sent, read.fields, read.further
        return True

    async def _read_body(self, call: Call, body: bytes, place: tuple[Any, ...] | None) -> None:
        fields, problems = await self._parsed(call, body)
        problems = [*problems, *self.contract.parameter_problems(call.path, call.query)]
        call.fields = call.sent = fields
        if call.hooks:
            problems = call.hooks.apply("problems", call, problems)
        if problems:
            first = problems[0]
            raise Refused(self.provider_format.errors.invalid, first.message, param=first.place or None)
        call.fields, call.further = self.contract.complete(call.fields)
        if place is not None:
            if len(self._remembered) >= _REMEMBERED:
                del self._remembered[next(iter(self._remembered))]
            call.read = self._remembered[place] = _Read(call.sent, call.fields, call.further)

    async def _parsed(self, call: Call, body: bytes) -> tuple[Any, list[Problem]]:
        """The body's fields with what is wrong with them; a hook may have it read under another media type, or as one without fields."""
        sent = call.headers.get("content-type", "")
        media_type, _, parameters = sent.partition(";")
        media_type = media_type.strip().lower()
        if media_type not in self.contract.media_types:
            wanted = " or ".join(self.contract.media_types)
            self._refuse_unread(call, Refused(415, f"the content type has to be {wanted}", code="unsupported_media_type"))
            media_type = self.contract.media_types[0]
        try:
            if media_type == "multipart/form-data":
                return self.contract.cast(await request_body.read_form(body, f"{media_type};{parameters}"))
            if media_type == "application/x-www-form-urlencoded":
                return self.contract.cast(request_body.read_urlencoded(body))
            fields = request_body.read_json(body)
        except Refused as refused:
            self._refuse_unread(call, refused)
            return {}, []
        return self.contract.read(fields)

    def _refuse_unread(self, call: Call, refused: Refused) -> None:
        stands = call.hooks.apply("unread", call, refused) if call.hooks else refused
        if stands is not None:
            raise stands

    async def _pictures(self, call: Call, body: bytes) -> Answer:
        known = call.read.parameters if call.read is not None else None
        parameters: Parameters = known if known is not None else await self._parameters(call)
        if call.hooks:
            parameters = call.hooks.apply("parameters", call, parameters)
        live, form = self.resources.live, self.provider_format
        takes_s, declined = 0.0, None
        if not live.usual:
            takes_s = self._takes_s(call, parameters) if live.latency is not None else 0.0
            declined = form.moderated() if live.is_moderated(parameters.caption) else None
        if form.wants_task(call):
            return self._accept(call, parameters, takes_s, body, declined)
        if not live.usual:
            if declined is not None:
                raise declined
            self._pay(call, parameters)
        kind = form.answers_as(call, parameters)
        if kind == "events":
            return self._streamed(call, parameters, await self._drawn(call, parameters), takes_s)
        if takes_s:
            await asyncio.sleep(takes_s)
        status = self._success
        base64: Sequence[tuple[bytes, ...]] = ()
        if kind == "json" and parameters.delivery == "base64" and not call.hooks:
            drawn, base64 = await self.resources.renderer.draw_in_base64(parameters)
        else:
            drawn = await self._drawn(call, parameters)
        headers = form.headers(call, parameters, drawn)
        if kind == "binary":
            media_type = f"image/{drawn[0].format}"
            return Answer(status, data=drawn[0].data, media_type=media_type, headers=headers, images=parameters.n, billed=True)
        said = form.body(call, parameters, drawn)
        if call.hooks:
            said = call.hooks.apply("body", call, said)
        return Answer(status, said, media_type=self._success_type, headers=headers, images=parameters.n, billed=True, base64=base64)

    async def _parameters(self, call: Call) -> Parameters:
        if call.body_size > _LARGE_BODY:
            return await asyncio.to_thread(self.provider_format.parameters, call)
        parameters = self.provider_format.parameters(call)
        if call.read is not None and not parameters.images and parameters.edit is None:
            call.read.parameters = parameters
        return parameters

    def _takes_s(self, call: Call, parameters: Parameters) -> float:
        latency = self.resources.live.latency
        assert latency is not None, "asked only where there is one"
        steps = call.fields.get(self._steps) if self._steps is not None else None
        steps = float(steps) if isinstance(steps, int | float) else 1.0
        return latency.sample(parameters.n, pixels=parameters.width_px * parameters.height_px, steps=steps)

    def _pay(self, call: Call, parameters: Parameters | None) -> None:
        """Takes what the work costs from balance and quota, where they are kept; `Refused` where there is not enough."""
        live, form = self.resources.live, self.provider_format
        if not live.counts_money:
            return
        kept = live.conditions.balance_usd is not None
        cost_usd = form.cost_usd(call, parameters) if kept and parameters is not None else 0.0
        refused = live.refused_for_money(cost_usd, form.balance_usd if kept else None)
        if refused is not None:
            raise refused
        if kept:
            form.charge(cost_usd)

    def _streamed(self, call: Call, parameters: Parameters, drawn: list[RenderedPicture], takes_s: float) -> Answer:
        events = self.provider_format.events(call, parameters, drawn)
        if call.hooks:
            events = call.hooks.apply("events", call, events)
        gap_s = takes_s / max(1, len(events))
        parts = [self.provider_format.event(self.operation, one) for one in events]
        return Answer(200, events=parts, gap_s=gap_s, media_type="text/event-stream", images=parameters.n, billed=True)

    def _json(self, status: int, body: Any, *, images: int = 0, billed: bool = False) -> Answer:
        return Answer(status, body, media_type=self.provider_format.media_type(self.operation, status), images=images, billed=billed)

    async def _make(self, call: Call, parameters: Parameters) -> Any:
        return self._body(call, parameters, await self._drawn(call, parameters))

    async def _drawn(self, call: Call, parameters: Parameters) -> list[RenderedPicture]:
        rendered: list[RenderedPicture] = list(await self.resources.renderer.draw(parameters))
        hooks = call.hooks
        if not hooks:
            return [self._deliver(call, parameters, one) for one in rendered]
        call.publish = functools.partial(self._publish, call)
        rendered = hooks.apply("rendered", call, rendered)
        delivered: list[RenderedPicture] = hooks.apply("delivered", call, [self._deliver(call, parameters, one) for one in rendered])
        return delivered

    def _body(self, call: Call, parameters: Parameters, drawn: list[RenderedPicture]) -> Any:
        body = self.provider_format.body(call, parameters, drawn)
        return call.hooks.apply("body", call, body) if call.hooks else body

    def _deliver(self, call: Call, parameters: Parameters, one: RenderedPicture) -> RenderedPicture:
        if parameters.delivery == "base64":
            return RenderedPicture(one.data, one.seed, one.format, base64=in_base64(one.data))
        return RenderedPicture(one.data, one.seed, one.format, url=self._publish(call, one))

    def _publish(self, call: Call, one: RenderedPicture, *, lifetime_s: float | None = None, mode: AddressMode = "open") -> str:
        if lifetime_s is None:
            lifetime_s = self.resources.live.conditions.url_lifetime_s
        lasts_s = self.provider_format.lifetime_s(self.operation) if lifetime_s is None else lifetime_s
        return call.origin + self.resources.pictures.publish(one.data, one.format, lasts_s, mode)

    def _accept(self, call: Call, parameters: Parameters, takes_s: float, body: bytes, declined: Refused | None) -> Answer:
        async def work() -> Any:
            if declined is not None:
                raise declined
            return await self._make(call, parameters)

        protocol = self.provider_format.provider.protocol(self.operation)
        key = call.headers.get((protocol.idempotency_header or "idempotency-key").lower()) if protocol else None
        if not self.resources.tasks.has(key):
            self._pay(call, parameters)
        reference = self.provider_format.new_reference()
        task, new = self.resources.tasks.submit(work, max(takes_s, 0.2), key=key, body=body, reference=reference)
        status = self.provider_format.accept_status(self.operation)
        answer = self._json(status, self.provider_format.accepted(call, task.reference), images=parameters.n if new else 0, billed=new)
        answer.headers = self.provider_format.accepted_headers(call, task.reference)
        if not new:
            answer.headers = (*answer.headers, *self.provider_format.replayed_headers())
        return answer

    async def _chat(self, call: Call, body: bytes) -> Answer:
        live = self.resources.live
        if live.conditions.moderate and live.is_moderated(_words_of(call.fields.get("messages"))):
            raise self.provider_format.moderated()
        self._pay(call, None)
        answer = await self.provider_format.complete(call)
        if live.latency is not None:
            takes_s = live.latency.sample(0)
            if answer.events is None:
                await asyncio.sleep(takes_s)
            else:
                # The first piece after a third of the time, the others evenly over the rest.
                await asyncio.sleep(takes_s / 3)
                answer.gap_s = takes_s * 2 / 3 / max(1, len(answer.events))
        return answer

    async def _task(self, call: Call, body: bytes) -> Answer:
        reference = self.provider_format.task_reference(call)
        asked = self.provider_format.asked_of_task(self.operation)
        if asked == "cancel":
            self.resources.tasks.cancel(reference)
        wait_s = min(self.provider_format.poll_wait_s(call), self.resources.tasks.ends_in_s(reference))
        if wait_s > 0:
            await asyncio.sleep(wait_s)
        task, state, age_s = await self.resources.tasks.look(reference)
        if asked == "result":
            result = self.provider_format.result(task, state, self.operation)
            return self._json(200, call.hooks.apply("body", call, result) if call.hooks else result)
        status = self.provider_format.progress(task, state, age_s, self.operation, call)
        body = call.hooks.apply("body", call, status) if call.hooks else status
        if asked != "cancel":
            return self._json(self.provider_format.progress_status(self.operation, state), body)
        done = self.provider_format.success_status(self.operation)
        return self._json(done, body) if done != 204 else Answer(done, data=b"")


def _words_of(messages: Any) -> str:
    """The texts of a conversation."""
    if isinstance(messages, str):
        return messages
    if isinstance(messages, dict):
        return " ".join(_words_of(messages[name]) for name in ("content", "text") if name in messages)
    return " ".join(_words_of(one) for one in messages) if isinstance(messages, list) else ""


#: headers of requests as they came → what they are, the newest so many; nobody changes these
_DECODED: dict[tuple[tuple[bytes, bytes], ...], Mapping[str, str]] = {}


def decoded(raw: Iterable[tuple[bytes, bytes]]) -> Mapping[str, str]:
    """Request headers by name, which ASGI has in lower case; of repeated ones the last.

    A client's requests mostly have the same, and share one mapping: a log of the newest thousand then is small enough to stay in a processor's cache.
    """
    place = tuple(raw)
    found = _DECODED.get(place)
    if found is None:
        found = {name.decode("latin-1"): value.decode("latin-1") for name, value in place}
        if len(_DECODED) >= _REMEMBERED:
            _DECODED.clear()
        _DECODED[place] = found
    return found
