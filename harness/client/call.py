"""One call of the client: what is asked for and under what conditions, and what the end of its course means, a result or an error.

How it goes on in between is the course's (`harness.wire.course`); the sync and the async client only carry that out.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from datetime import datetime
from typing import Any

from testcard.harness.client.attempts import NO_RETRY, Attendance, Retry, TaskUpdate, asked_to_wait_s, attended, observed
from testcard.harness.client.errors import (
    AddressNotAllowed,
    AuthenticationFailed,
    ClientError,
    ConnectionFailed,
    ContractBroken,
    PaymentRequired,
    RateLimited,
    RequestRefused,
    ServerFailed,
    TaskFailed,
    TimedOut,
)
from testcard.harness.client.http import DEFAULT_TIMEOUT_S, Exchanged, Pieces, shown
from testcard.harness.client.observing import ClientEvent
from testcard.harness.client.results import Picture, PreviewPieces, Result, Timings
from testcard.harness.intake.shown import as_words, words_of
from testcard.harness.pricing import Pricing
from testcard.harness.redaction import redacted
from testcard.harness.text.words import shortened
from testcard.harness.wire.addresses import host_of, why_not
from testcard.harness.wire.billing import answer_cost, booked_cost, charged, delivered, stated_cost
from testcard.harness.wire.contract import Choice
from testcard.harness.wire.course import Conditions, Done, Download, DownloadEnd, End, Send, Steps, course, follow
from testcard.harness.wire.decode import decode, message_anywhere, told
from testcard.harness.wire.encode import build, cancel_request, poll_request
from testcard.harness.wire.fields import with_defaults
from testcard.harness.wire.model import Answer, DeliveredPicture, Headers, PictureInfo, WireRequest
from testcard.harness.wire.pictures import lenient_base64, look
from testcard.specs.loader import Provider
from testcard.specs.pointers import at


@dataclass(frozen=True, slots=True)
class Call:
    """Everything one request needs: who is asked for what, where, with which key, at which price, within which bounds.

    `live`: whether an answer of a target on this machine may lead off it.
    """

    provider: Provider
    choice: Choice
    base_url: str
    api_key: str | None = field(repr=False)
    pricing: Pricing
    wall_clock: Callable[[], datetime]
    timeout_s: float = DEFAULT_TIMEOUT_S
    max_bytes: int | None = None
    poll_interval_s: float | None = None
    poll_timeout_s: float | None = None
    live: bool = True
    idempotency_key: str | None = field(default=None, repr=False)
    retry: Retry = NO_RETRY
    attendance: Attendance = field(default_factory=lambda: Attendance(ClientEvent("began", 0, "", "", None), (), None, None), repr=False)
    draw: Callable[[], float] = random.random
    notes: tuple[str, ...] = ()
    resumed: bool = False

    def course(self) -> Steps[Done[Exchanged]]:
        """The course of the request, with the attempts that the policy allows."""
        return self._attended(lambda: course(self._conditions(), self._request()))

    def submission(self) -> Steps[Done[Exchanged]]:
        """The request alone: answered, refused or without an answer; what it leads to is not followed."""
        return self._attended(self._submitted)

    def following(self, done: Done[Exchanged], on_update: Callable[[TaskUpdate], None] | None = None) -> Steps[Done[Exchanged]]:
        """The course from an accepted submission on; `on_update` hears after every poll how the task is doing."""
        answer = done.answer
        assert answer is not None, "an accepted submission has its answer"
        self.attendance.begin()
        polled = None if on_update is None else lambda reply: on_update(self.update_of(reply))
        followed = follow(self._conditions(), answer, done.finished_s, done.first)
        return self.attendance.heard_out(observed(followed, self.attendance, polled))

    def update_of(self, reply: Exchanged) -> TaskUpdate:
        """What an answer to the question how the task is doing says."""
        protocol = self.provider.protocol(self.choice.operation)
        assert protocol is not None, "a task has a protocol"
        answer = decode(self.provider, protocol.operation or self.choice.operation, reply.response(), poll=True)
        said = told(protocol, answer.task)
        share, elapsed_s = (at(answer.json, place) if place is not None else None for place in (protocol.progress, protocol.elapsed_s))
        return TaskUpdate(said.state, said.phase.value if said.phase is not None else None, _number(share), _number(elapsed_s))

    def poll(self, reference: str) -> WireRequest:
        """The request that asks how a task is doing, by its reference or its address."""
        by_address = reference.startswith(("http://", "https://", "/"))
        return poll_request(
            self.provider,
            None if by_address else reference,
            base_url=self.base_url,
            api_key=self.api_key,
            poll_url=reference if by_address else None,
            submitted=self.choice.operation,
        )

    def cancellation(self, reference: str) -> WireRequest:
        """The request that calls a task off; `UsageError` where the provider documents none."""
        return cancel_request(self.provider, self.choice.operation, reference, base_url=self.base_url, api_key=self.api_key)

    @property
    def listener(self) -> Callable[[], Pieces] | None:
        """What reads a stream of this call's answers; None for one of text."""
        events = self.provider.operation_profile(self.choice.operation).response.events
        return (lambda: PreviewPieces(events)) if events is not None else None

    def _attended(self, once: Callable[[], Steps[Done[Exchanged]]]) -> Steps[Done[Exchanged]]:
        return self.attendance.heard_out(attended(once, self.attendance, self.retry, self._pause_s))

    def _submitted(self) -> Steps[Done[Exchanged]]:
        send = Send(self._request(), "submit")
        reply: Exchanged = yield send
        if reply.failure == "stale":
            reply = yield replace(send, fresh=True)
        if reply.failure is not None or reply.status is None:
            return Done(End.NO_ANSWER, reply=reply, finished_s=reply.ended_s, first=reply)
        answer = decode(self.provider, self.choice.operation, reply.response())
        end = End.ANSWERED if 200 <= answer.status < 300 else End.REFUSED
        return Done(end, answer, reply, finished_s=reply.ended_s, first=reply)

    def _pause_s(self, done: Done[Exchanged], attempt: int, elapsed_s: float) -> float | None:
        header, keyed = self.provider.profile.errors.retry_after_header, self.idempotency_key is not None
        now, draw = self.wall_clock, self.draw()
        return self.retry.pause_s(done, attempt=attempt, keyed=keyed, elapsed_s=elapsed_s, now=now, header=header, draw=draw)

    def _request(self) -> WireRequest:
        stream = bool(self.choice.request.stream)
        protocol = self.provider.protocol(self.choice.operation)
        headers: Headers = ()
        if self.idempotency_key is not None and protocol is not None and protocol.idempotency_header is not None:
            headers = ((protocol.idempotency_header, self.idempotency_key),)
        return build(self.provider, self.choice.fields, base_url=self.base_url, api_key=self.api_key, headers=headers, stream=stream)

    def _conditions(self) -> Conditions:
        return Conditions(
            self.provider,
            self.choice.operation,
            self.base_url,
            self.api_key,
            live=self.live,
            interval_s=self.poll_interval_s,
            limit_s=self.poll_timeout_s,
        )

    def error_of(self, done: Done[Exchanged]) -> ClientError:
        """Why a course ended without an answer, as a typed error with its exchange."""
        return _with_exchange(_Failed(self, done).error(), done)

    def result(self, done: Done[Exchanged]) -> Result:
        """What the end of the course is worth; raises a `ClientError` where it is no result."""
        try:
            found = self._worth(done)
        except ClientError as error:
            self.attendance.settle(self.booked(done.answer, ()) if done.end is End.ANSWERED else None, whole=False)
            self.attendance.tell("failed", error=_with_exchange(error, done))
            raise
        finally:
            self.attendance.let_go()
        self.attendance.settle(self.booked(found.answer, found.pictures))
        self.attendance.tell("ended", result=found)
        return found

    def booked(self, answer: Answer | None, pictures: Sequence[Picture]) -> float | None:
        """USD that an answer counts as against a limit, which no answer can lower; None where nobody knows it."""
        if answer is None:
            return None
        asked = self.provider, self.choice.operation, self.choice.request, answer
        price, _ = self.pricing.look_up(self.choice.model, self.choice.operation)
        return booked_cost(price, answer, charged(*asked, delivered(*asked, [_info(one) for one in pictures])))

    def _worth(self, done: Done[Exchanged]) -> Result:
        if done.end is not End.ANSWERED:
            raise _Failed(self, done).error()
        answer, first = done.answer, done.first or done.reply
        assert answer is not None, "a course that was answered has its answer"
        assert first is not None, "a course begins with its submission"
        operation = self.choice.operation
        if first.request.stream and not first.is_stream:
            kind = first.media_type or "no media type"
            raise ContractBroken(f'a stream was asked for and "{kind}" came', operation=operation, answer=answer)
        if answer.problem is not None:
            raise ContractBroken(f"the answer cannot be used: {answer.problem}", operation=operation, answer=answer)
        pictures: tuple[Picture, ...] = ()
        notes: list[str] = []
        if self.provider.operation_profile(operation).kind != "chat":
            pictures, notes = _Pictures(self, answer, done).in_hand()
        elif answer.text is None:
            raise ContractBroken("the answer holds no text", operation=operation, answer=answer)
        if self.attendance.sent_again:
            notes.append("it was sent twice: the first time the connection died before an answer; that may have been billed as well")
        if answer.unterminated:
            notes.append("the stream ended without [DONE]; its finish reason had come, so the text is whole")
        return _result(self, answer, pictures, _timings(done, first), notes)

    def without_key(self, text: str) -> str:
        """The text as it may be shown: some servers repeat the key in their error message, and control sequences are no words."""
        text = " ".join(redacted(text[:_MOST_READ]).split())
        return shortened("".join(letter if letter.isprintable() else "?" for letter in text), _MOST_LETTERS)


_MOST_LETTERS = 300
#: Nobody reads further, and a server may send megabytes.
_MOST_READ = 100_000
_NEXT = "check the address and that the server runs; testcard mock serves one on this machine"
_LIVE = "add --live to let the target's answers lead off this machine, --allow-host to let them lead to one more host"


class _Failed:
    """Why a course ended without an answer to its request, as a typed error."""

    def __init__(self, call: Call, done: Done[Exchanged]) -> None:
        self._call = call
        self._done = done
        self._operation = call.choice.operation

    def error(self) -> ClientError:
        """The error, with what the transport raised as its cause."""
        error = self._error()
        error.__cause__ = self._done.reply.cause if self._done.reply is not None else None
        return error

    def _error(self) -> ClientError:
        call, done, operation = self._call, self._done, self._operation
        answer = done.answer
        match done.end:
            case End.NO_ANSWER:
                assert done.reply is not None, "something came of the submission"
                return self._no_answer(done.reply, "")
            case End.REFUSED:
                return self._refused(done, "")
            case End.TASK_LOST:
                return self._lost("the task could not be followed: ")
            case End.RESULT_LOST:
                return self._lost("the result of the completed task could not be had: ")
            case End.TASK_FAILED | End.TASK_MODERATED:
                moderated = done.end is End.TASK_MODERATED
                task = answer.task if answer is not None else None
                said = call.without_key(_words_of(task.error if task is not None else None))
                what = "the task was refused for its content" if moderated else "the task ended as failed"
                return TaskFailed(f"{what}: {said}", operation=operation, answer=answer, moderated=moderated)
            case End.TASK_UNENDED:
                protocol = call.provider.protocol(operation)
                limit_s = call.poll_timeout_s if call.poll_timeout_s is not None else protocol.timeout_s if protocol is not None else 0.0
                return TaskFailed(f"the task came to no end within {limit_s:g} s", operation=operation, answer=answer)
            case End.TASK_UNNAMED:
                return ContractBroken("the task was accepted without a reference to poll", operation=operation, answer=answer)
            case End.ADDRESS_UNUSABLE:
                return ContractBroken("the task is to be polled at an address that is none", operation=operation, answer=answer)
            case End.ADDRESS_NOT_ALLOWED:
                return not_allowed(call, answer, "the task", done.place)
        raise AssertionError(f"the client carries out every step: {done.end}")

    def _no_answer(self, reply: Exchanged, of: str) -> ClientError:
        """The error of a request that was not answered whole; `of` says what it was for, where it was no submission."""
        base_url, operation, said = self._call.base_url, self._operation, reply.detail
        match reply.failure:
            case "timeout":
                limit = f"{of}no whole answer within {reply.timeout_s:g} s"
                return TimedOut(limit, operation=operation, hint="allow more time, or ask asynchronously")
            case "connect" | "tls":
                return ConnectionFailed(f"{of}nothing answers at {base_url} ({said})", operation=operation, hint=_NEXT)
            case _ if reply.status is not None:
                return ContractBroken(f"{of}the answer {said}", operation=operation)
        return ConnectionFailed(f"{of}the connection to {base_url} broke: {said}", operation=operation, hint=_NEXT)

    def _lost(self, of: str) -> ClientError:
        done = self._done
        answer, reply = done.answer, done.reply
        if reply is not None and reply.failure is not None:
            return self._no_answer(reply, of)
        if answer is not None and answer.status in (401, 402, 403):
            return self._refused(done, of)
        said = f": {self._call.without_key(answer.error_message)}" if answer is not None and answer.error_message else ""
        status = (answer.sent_as or answer.status) if answer is not None else 0
        what = f"its address answers {status}{said}" if answer is not None else "its address gave no answer"
        if answer is not None and answer.status < 300:
            what += ", which says nothing about it"
        return TaskFailed(of + what, operation=self._operation, answer=answer)

    def _refused(self, done: Done[Exchanged], of: str) -> ClientError:
        """The typed error of a status that is no success."""
        call, answer, reply, operation = self._call, done.answer, done.reply, self._operation
        assert answer is not None, "a status was answered"
        status = answer.status
        if status < 400:
            where = reply.response().header("location") if reply is not None else None
            return ContractBroken(
                f"{of}the target answered {status}" + (f" and points to {call.without_key(where)}" if where else ""),
                operation=operation,
                answer=answer,
                hint="redirects are not followed, so that the key goes nowhere else; use the final address as --base-url",
            )
        auth = call.provider.profile.auth
        kinds: dict[int, tuple[type[ClientError], str]] = {
            401: (AuthenticationFailed, f"set TESTCARD_API_KEY or {auth.key_env} to a key that this target accepts"),
            403: (AuthenticationFailed, "check that the key may use this model, and that the account is in order"),
            402: (PaymentRequired, "top up the account, or use another key"),
            429: (RateLimited, "wait, then try again"),
        }
        kind, hint = kinds.get(status, (RequestRefused, "the target refuses what its contract allows; testcard check says more"))
        if status >= 500:
            kind, hint = ServerFailed, "whether it was billed is unknown; try again, or ask the provider"
        if status == 429:
            seconds = asked_to_wait_s(done, call.provider.profile.errors.retry_after_header, call.wall_clock)
            answer = replace(answer, retry_after_s=seconds)
            if seconds is not None:
                hint = f"wait {seconds:g} s, then try again"
        said = f": {call.without_key(answer.error_message)}" if answer.error_message else ""
        how = f"{status}" if answer.sent_as is None else f"{answer.sent_as} with an error that stands for {status}"
        return kind(f"{of}the target answered {how}{said}", operation=operation, answer=answer, hint=hint)


class _Pictures:
    """The pictures of an answer, decoded from base64 or downloaded."""

    def __init__(self, call: Call, answer: Answer, done: Done[Exchanged]) -> None:
        self._call = call
        self._answer = answer
        self._done = done

    def in_hand(self) -> tuple[tuple[Picture, ...], list[str]]:
        """Every picture, sound, with what a caller should know; raises where one is missing."""
        answer = self._answer
        if not answer.pictures:
            said = message_anywhere(answer.json)
            raise self._broken("the answer holds no pictures" + (f": {self._call.without_key(said)}" if said else ""))
        pictures, notes = [], []
        for item in answer.pictures:
            name = f"picture {item.index + 1}"
            if item.base64 is not None and item.url is not None:
                notes.append(f"{name} came both as base64 and by URL; the base64 was taken")
            elif item.base64 is None and item.carried is not None:
                notes.append(f"{name} came as a data URL in place of an address")
            data = self._data(item, name)
            seen = look(data)
            if seen.problem is not None or seen.format is None or seen.width_px is None or seen.height_px is None:
                raise self._broken(f"{name} does not decode: {seen.problem}")
            pictures.append(Picture(data, seen.format, seen.width_px, seen.height_px, item.seed, item.url, item.index))
        return tuple(pictures), notes

    def _data(self, item: DeliveredPicture, name: str) -> bytes:
        if item.data is not None:
            return item.data
        if item.carried is not None:
            data = lenient_base64(item.carried)
            if data is None:
                raise self._broken(f"{name} is no base64" if item.base64 is not None else f"{name} is a data URL without base64")
            return data
        found = self._done.of_picture(item.index)
        if item.url is None or found is None:
            raise self._broken(f"{name} has neither url nor base64")
        if found.whole is None:
            raise self._missing(name, found)
        return found.whole.body

    def _missing(self, name: str, found: Download[Exchanged]) -> ClientError:
        """Why an address did not bring its picture."""
        call, reply = self._call, found.reply
        match found.end:
            case DownloadEnd.UNUSABLE:
                scheme = found.url.partition(":")[0][:16] if ":" in found.url else "no scheme"
                return self._broken(f"{name} has an address that is no absolute http(s) URL ({call.without_key(scheme)})")
            case DownloadEnd.NOT_ALLOWED:
                return not_allowed(call, self._answer, name, found.place)
            case DownloadEnd.CIRCLE:
                return self._broken(f"{name}: its address redirects again and again (more than {found.hops} times)")
        assert reply is not None, "the client carries out every step"
        if reply.failure == "timeout":
            what = f"{name}: its address ({host_of(found.place)}) gave no whole answer within {reply.timeout_s:g} s"
            return TimedOut(what, operation=call.choice.operation, answer=self._answer)
        if reply.failure is not None:
            said = f"the answer {reply.detail}" if reply.status is not None else f"no answer: {reply.detail}"
            return self._broken(f"{name}: its address ({host_of(found.place)}) gave no picture; {said}")
        return self._broken(f"{name}: its address answers {reply.status}")

    def _broken(self, what: str) -> ContractBroken:
        operation = self._call.choice.operation
        hint = f"if another operation than {operation} took the task, name it: resume(id, operation=…)" if self._call.resumed else None
        return ContractBroken(what, operation=operation, answer=self._answer, hint=hint)


def not_allowed(call: Call, answer: Answer | None, what: str, url: str) -> AddressNotAllowed:
    """The error for an answer that leads off this machine where the caller did not allow that."""
    return AddressNotAllowed(
        f"{what} lies on {host_of(url)}, {why_not(url, asked=call.base_url, live=call.live) or 'a private address'}: {call.without_key(url)}",
        operation=call.choice.operation,
        answer=answer,
        hint=_LIVE,
    )


def _with_exchange(error: ClientError, done: Done[Exchanged]) -> ClientError:
    reply = done.reply or done.first
    error.exchange = shown(reply) if reply is not None else None
    if reply is not None and error.exchange is not None and error.exchange.body != reply.body:
        error.answer = _without_key(error.answer)
    return error


def _without_key(value: Any) -> Any:
    """What was understood of an answer that repeats the key, without it: error trackers keep it with the error."""
    if isinstance(value, str):
        return redacted(value)
    if isinstance(value, Mapping):
        return {_without_key(name): _without_key(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_without_key(one) for one in value)
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{one.name: _without_key(getattr(value, one.name)) for one in fields(value)})
    return value


def _timings(done: Done[Exchanged], first: Exchanged) -> Timings:
    ends = [found.reply.ended_s for found in done.downloads if found.reply is not None]
    end_s = max(ends, default=done.finished_s)
    return Timings(
        end_s - first.sent_s,
        first.first_byte_s - first.sent_s,
        done.finished_s - done.accepted_s if done.accepted_s is not None else None,
        end_s - done.finished_s if ends else None,
        first.first_text_s - first.sent_s if first.first_text_s is not None else None,
    )


def _result(call: Call, answer: Answer, pictures: tuple[Picture, ...], timings: Timings, notes: list[str]) -> Result:
    choice = call.choice
    price, origin = call.pricing.look_up(choice.model, choice.operation)
    cost = stated_cost(answer)
    if cost is None and price is not None:
        infos = [_info(one) for one in pictures]
        cost = answer_cost(price, answer, delivered(call.provider, choice.operation, choice.request, answer, infos))
    wanted = with_defaults(call.provider, choice.operation, {"n": choice.request.n}, "n") or 1
    said = [*([choice.note] if choice.note else []), *call.notes]
    if pictures and len(pictures) != wanted and not call.resumed:
        said.append(f"{wanted} picture{'s were' if wanted != 1 else ' was'} asked for and {len(pictures)} came")
    return Result(
        provider=call.provider.id,
        operation=choice.operation,
        model=choice.model,
        pictures=pictures,
        text=answer.text,
        finish_reason=answer.finish_reason,
        usage=answer.usage,
        cost_usd=cost,
        price_origin="answer" if answer.cost_usd is not None else origin,
        timings=timings,
        answer=answer,
        notes=(*said, *notes),
    )


def _info(picture: Picture) -> PictureInfo:
    return PictureInfo(picture.format, picture.width, picture.height, len(picture.data), "")


def _number(value: Any) -> float | None:
    """A number that an answer says; None for anything else."""
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _words_of(error: Any) -> str:
    """A task's error in words."""
    if isinstance(error, dict):
        error = error.get("message", error)
    return (as_words(error) if isinstance(error, str) else words_of(error)) if error and error is not True else "no reason was given"
