"""Serves one operation: key, body, schema, order, pictures, answer, with a place for lies at each step."""

from __future__ import annotations

import asyncio
import functools
import hashlib
import math
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from testcard.mocks import request_body
from testcard.mocks.exchange import AddressManner, Answer, Call, Drawn, Order, Problem, Refused, in_base64
from testcard.mocks.faults import Liar
from testcard.mocks.pace import Latency, RateLimit
from testcard.mocks.pictures.studio import Studio
from testcard.mocks.providers.manners import Manners
from testcard.mocks.store import Count, Tasks
from testcard.specs.profile import Header

#: bodies above this size are read for their pictures in a thread
_LARGE_BODY = 64_000


@dataclass(frozen=True, slots=True)
class Means:
    """What every operation of a mock shares."""

    manners: Manners
    studio: Studio
    tasks: Tasks
    keys: tuple[Header, ...]
    api_key: str
    latency: Latency | None
    rate_limit: RateLimit | None
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    places: asyncio.Semaphore | None = None  # as many as are worked on at once; the rest wait their turn


class Endpoint:
    """One operation. `kind` is the profile's: images, chat or task."""

    def __init__(self, means: Means, operation: str, liar: Liar, count: Count) -> None:
        profile = means.manners.provider.operation_profile(operation)
        self.means = means
        self.manners = means.manners
        self.operation = operation
        self.liar = liar
        self.count = count
        self.contract = means.manners.contracts[operation]
        self.limit = means.manners.body_limit(operation)
        self.keyed = profile.auth_required
        self._serve: Callable[[Call, bytes], Any] = {"images": self._pictures, "chat": self._chat, "task": self._task}[profile.kind]
        self._takes_body = bool(self.contract.media_types)
        self._met: Counter[bytes] = Counter()

    async def answer(self, call: Call, receive: request_body.Receive) -> Answer:
        """The answer to one request; never raises for anything a client can send."""
        self.count.open += 1
        try:
            answer = await self._answer(call, receive)
        except Refused as refused:
            answer = refusal(self.manners, refused)
        except asyncio.CancelledError:
            # Only a server that is being stopped cancels: say so, rather than leave a traceback.
            answer = refusal(self.manners, Refused(503, "the mock is being stopped", code="stopping"))
        finally:
            self.count.open -= 1
        if call.lies:
            answer = call.lies.tell("answer", call, answer)
            if answer.late_s:
                await self.means.sleep(answer.late_s)
        self.count.add(answer.status, billed=answer.billed and answer.status < 300, images=answer.images)
        return answer

    async def _answer(self, call: Call, receive: request_body.Receive) -> Answer:
        body, too_large = b"", None
        if self._takes_body:
            try:
                body = await request_body.read(receive, self.limit, drain=not self.manners.shop.strict)
            except Refused as refused:
                too_large = refused
        if call.lies:
            call.met = self._times_met(call, body)
        if self.keyed:
            self._check_key(call)
        if too_large is not None:
            raise too_large
        if self.means.rate_limit is not None and self._takes_body:
            wait_s = self.means.rate_limit.wait_s()
            if wait_s:
                after = ("retry-after", str(max(1, math.ceil(wait_s))))
                raise Refused(429, "too many requests", code="rate_limit_exceeded", headers=(after,))
        if self._takes_body:
            await self._read_body(call, body)
        served: Answer
        if self.means.places is None or not self._takes_body:
            served = await self._serve(call, body)
        else:
            async with self.means.places:
                served = await self._serve(call, body)
        return served

    def _times_met(self, call: Call, body: bytes) -> int:
        told = [call.method, sorted(call.path.items()), sorted(call.headers.items())]
        equal = hashlib.blake2b(repr(told).encode() + body, digest_size=16).digest()
        self._met[equal] += 1
        return self._met[equal] - 1

    def _check_key(self, call: Call) -> None:
        refused = None if self._has_key(call) else self._no_key
        if call.lies:
            refused = call.lies.tell("key", call, refused)
        if refused is not None:
            raise refused

    def _has_key(self, call: Call) -> bool:
        for header in self.means.keys:
            sent = call.headers.get(header.name.lower())
            if sent is not None:
                size = len(header.prefix)
                if sent[size:] == self.means.api_key and sent[:size].lower() == header.prefix.lower():
                    return True
        return False

    @property
    def _no_key(self) -> Refused:
        challenge = ("www-authenticate", self.manners.challenge)
        return Refused(401, "the key is missing or wrong", code="invalid_api_key", headers=(challenge,))

    async def _read_body(self, call: Call, body: bytes) -> None:
        fields, problems = await self._parsed(call, body)
        call.body_size = len(body)
        call.fields = fields
        if call.lies:
            problems = call.lies.tell("problems", call, problems)
        if problems:
            first = problems[0]
            raise Refused(self.manners.invalid, first.message, param=first.place or None)
        call.further = {name: value for name, value in call.fields.items() if name not in self.contract.properties}
        call.fields = self.contract.complete(call.fields)

    async def _parsed(self, call: Call, body: bytes) -> tuple[Any, list[Problem]]:
        """The body's fields with what is wrong with them; a lie may have it read under another media type, or as one without fields."""
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
            fields = request_body.read_json(body)
        except Refused as refused:
            self._refuse_unread(call, refused)
            return {}, []
        return fields, self.contract.problems(fields)

    def _refuse_unread(self, call: Call, refused: Refused) -> None:
        told = call.lies.tell("unread", call, refused) if call.lies else refused
        if told is not None:
            raise told

    async def _pictures(self, call: Call, body: bytes) -> Answer:
        if call.body_size > _LARGE_BODY:
            order = await asyncio.to_thread(self.manners.order, call)
        else:
            order = self.manners.order(call)
        if call.lies:
            order = call.lies.tell("order", call, order)
        takes_s = self.means.latency.sample(order.n) if self.means.latency is not None else 0.0
        if self.manners.wants_task(call):
            return self._accept(call, order, takes_s, body)
        if takes_s:
            await asyncio.sleep(takes_s)
        return Answer(200, await self._make(call, order), images=order.n, billed=True)

    async def _make(self, call: Call, order: Order) -> dict[str, Any]:
        drawn = await self.means.studio.draw(order)
        lies = call.lies
        if not lies:
            return self.manners.body(call, order, [self._deliver(call, order, one) for one in drawn])
        call.publish = functools.partial(self._publish, call)
        drawn = lies.tell("drawn", call, drawn)
        drawn = lies.tell("delivered", call, [self._deliver(call, order, one) for one in drawn])
        told: dict[str, Any] = lies.tell("body", call, self.manners.body(call, order, drawn))
        return told

    def _deliver(self, call: Call, order: Order, one: Drawn) -> Drawn:
        if order.delivery == "base64":
            return Drawn(one.data, one.seed, one.format, base64=in_base64(one.data))
        return Drawn(one.data, one.seed, one.format, url=self._publish(call, one))

    def _publish(self, call: Call, one: Drawn, *, lifetime_s: float | None = None, manner: AddressManner = "open") -> str:
        lasts_s = self.manners.lifetime_s(self.operation) if lifetime_s is None else lifetime_s
        return call.origin + self.manners.shop.files.publish(one.data, one.format, lasts_s, manner)

    def _accept(self, call: Call, order: Order, takes_s: float, body: bytes) -> Answer:
        async def work() -> dict[str, Any]:
            return await self._make(call, order)

        protocol = self.manners.provider.profile.asynchronous
        key = call.headers.get((protocol.idempotency_header or "idempotency-key").lower()) if protocol else None
        task, new = self.means.tasks.submit(work, max(takes_s, 0.2), key=key, body=body)
        return Answer(202, self.manners.accepted(call, task.reference), images=order.n if new else 0, billed=new)

    async def _chat(self, call: Call, body: bytes) -> Answer:
        answer = await self.manners.complete(call)
        if self.means.latency is not None:
            takes_s = self.means.latency.sample(0)
            if answer.events is None:
                await asyncio.sleep(takes_s)
            else:
                # The first piece after a third of the time, the others evenly over the rest.
                await asyncio.sleep(takes_s / 3)
                answer.gap_s = takes_s * 2 / 3 / max(1, len(answer.events))
        return answer

    async def _task(self, call: Call, body: bytes) -> Answer:
        reference = next(iter(call.path.values()))
        task, state, age_s = await self.means.tasks.look(reference)
        status = self.manners.progress(task, state, age_s)
        return Answer(200, call.lies.tell("body", call, status) if call.lies else status)


def refusal(manners: Manners, refused: Refused) -> Answer:
    """The answer that a refusal becomes, in the provider's own shape."""
    return Answer(refused.status, manners.error(refused), headers=refused.headers)


def lower(raw: list[tuple[bytes, bytes]]) -> Mapping[str, str]:
    """Request headers by lower-case name; of repeated ones the last."""
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in raw}
