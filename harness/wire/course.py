"""What follows a request, sans IO: the submission, polls of the task that it led to, redirects, downloads of its pictures.

One generator for everybody. It yields what is to be done (`Send`, `Wait`, `Together`), is fed what came of that, and returns how it
ended (`Done`); it has no clock, no socket and no random source. The clients, the check and the load users carry the steps out, each
with its own transport, clock, budget and records, and so all behave alike:

- a request is sent once; only one that died on a kept connection before a byte of an answer is sent once more, on a fresh one;
- a task is asked for at once (or when its acceptance says), then further and further apart; a Retry-After is obeyed; 429 and 5xx are
  waited out, a 404 (the task may not have got around yet) and silence are borne a few times in a row;
- redirects of polls and pictures are followed a few times, the key never leaves the base URL's origin, downloads never carry it;
- what an answer names is asked only where it may be (`may_ask`), each address once.

A `None` in place of what came of a step means that the driver does not do it (its budget is spent, its run was stopped): the course
then ends with what it has.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Generic, Literal, Protocol, TypeVar

from testcard.harness.intake.limits import limits
from testcard.harness.wire.addresses import Reach, absolute, fetchable, may_ask, redirected
from testcard.harness.wire.decode import Phase, Told, decode, decode_body, task_of, told
from testcard.harness.wire.encode import fetch_request, get_request, is_one_segment, poll_request, result_request
from testcard.harness.wire.model import Answer, AsyncTask, DeliveredPicture, Headers, WireRequest, WireResponse
from testcard.specs.loader import Provider
from testcard.specs.profile import AsyncProtocol

#: Each wait between polls is so many times the one before: the end of a task is seen a tenth of its time late at most, or the first wait.
GROWTH = 1.1
_SHORTEST_INTERVAL_S, LONGEST_INTERVAL_S = 0.001, 10.0
#: Polls in a row that may find nothing (no answer, 404, nothing readable) before a task is given up.
MOST_MISSES = 8
#: Statuses of a poll that tell of no task yet; 408 and 425 ask to come again.
_NOT_YET = (404, 408, 425)
#: A hard deadline leaves so much of a task's time, and at most so many seconds, to the last poll.
_LAST_LOOK_SHARE, _LAST_LOOK_S = 0.1, 1.0

#: Why no whole answer came. `stale`: the connection had been used before, and died before a byte of the answer.
Failure = Literal["connect", "tls", "timeout", "given-up", "broken", "stale"]
Purpose = Literal["submit", "poll", "result", "download"]


class AnyReply(Protocol):
    """What came of a `Send`, as a driver hands it over. With a `failure` the answer is not whole, or none began (`status` None)."""

    @property
    def status(self) -> int | None:
        """HTTP status, or None."""

    @property
    def headers(self) -> Headers:
        """The answer's header fields in order."""

    @property
    def failure(self) -> Failure | None:
        """Why no whole answer came; None when it did."""

    @property
    def ended_s(self) -> float:
        """When the last byte was there, or when it failed; seconds on the driver's clock."""

    def response(self) -> WireResponse:
        """The whole answer, for decoding. Asked for only where the body matters."""


R = TypeVar("R", bound=AnyReply)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Send:
    """Step: send this request, follow no redirect, and hand back what came of it, an `AnyReply`.

    `number` counts the polls and the downloads of a course from 1; `hop`: so many redirects led here. `by_s`: when on the driver's
    clock the whole answer has to be there. `fresh`: over a new connection, for the same request just died on a kept one.
    """

    request: WireRequest
    purpose: Purpose
    number: int = 1
    hop: int = 0
    by_s: float | None = None
    fresh: bool = False


@dataclass(frozen=True, slots=True)
class Wait:
    """Step: let so many seconds pass, and hand back the time on the driver's clock."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Together:
    """Step: carry out these courses, in parallel where the driver can, and hand back what each returned, in their order."""

    courses: Sequence[Steps[Any]]


Step = Send | Wait | Together
Steps = Generator[Step, Any, T]


class End(StrEnum):
    """How a course ended. All but the first two leave no answer to the request."""

    ANSWERED = "answered"  # a success; whether its pictures are in hand is told by `downloads`
    REFUSED = "refused"  # the submission's status is no success, or its body says so
    NO_ANSWER = "no answer"  # the submission got no whole answer
    TASK_FAILED = "the task failed"
    TASK_MODERATED = "the task was refused for its content"
    TASK_UNENDED = "the task came to no end in time"
    TASK_LOST = "the task could not be followed"  # its polls were refused, or told nothing too often
    RESULT_LOST = "the result of a completed task could not be had"  # where it lies, or who gives it, did not answer with it
    TASK_UNNAMED = "the task has neither a reference nor an address"
    ADDRESS_UNUSABLE = "the task's address is none"
    ADDRESS_NOT_ALLOWED = "the task lies where nothing may be asked"
    DECLINED = "the driver went no further"


class DownloadEnd(StrEnum):
    """How the way to a picture ended. Only the first has an answer that may be the picture (its status says)."""

    FETCHED = "fetched"
    NO_ANSWER = "no answer"
    UNUSABLE = "no address that may be fetched"
    NOT_ALLOWED = "where nothing may be asked"
    CIRCLE = "redirected again and again"
    DECLINED = "not fetched"


@dataclass(frozen=True, slots=True)
class Download(Generic[R]):
    """One address of a picture and what came of it: `reply` is the last answer, after `hops` redirects.

    `pictures`: the indices of the answer's pictures that name the address; `place`: the address that ended the way.
    """

    url: str
    end: DownloadEnd
    place: str
    reply: R | None = None
    hops: int = 0
    pictures: tuple[int, ...] = ()

    @property
    def whole(self) -> R | None:
        """The answer with status 200 that came whole; None for everything else."""
        reply = self.reply
        return reply if self.end is DownloadEnd.FETCHED and reply is not None and reply.status == 200 else None


@dataclass(frozen=True, slots=True)
class Done(Generic[R]):
    """How a course ended. `answer` is the one that counts (of a task: what its end says) and came with `reply`; `first` is what came
    of the submission, where the course began with it.

    Times are seconds on the driver's clock: `accepted_s` of a task, `started_s` when it was first seen past the queue (None where no
    documented word told), `finished_s` when `answer` was there. `place`: an address that could not be asked.
    """

    end: End
    answer: Answer | None = None
    reply: R | None = None
    downloads: tuple[Download[R], ...] = ()
    accepted_s: float | None = None
    started_s: float | None = None
    finished_s: float = 0.0
    place: str = ""
    first: R | None = None

    def of_picture(self, index: int) -> Download[R] | None:
        """What became of the address of the answer's picture with this index; None where it named none that was needed."""
        return next((download for download in self.downloads if index in download.pictures), None)


@dataclass(frozen=True, slots=True)
class Conditions:
    """Under what conditions courses run. Times in seconds; None takes what the profile documents.

    `live`: whether the answers of a target on this machine may lead off it. `limit_s` bounds a task from its acceptance. `look_again`:
    ask once more for a task that has ended, to see that it stays so. `most_downloads`: of one answer.
    """

    provider: Provider
    operation: str
    base_url: str
    api_key: str | None
    live: bool = False
    interval_s: float | None = None
    limit_s: float | None = None
    look_again: bool = False
    most_downloads: int | None = None

    def may_ask(self, url: str) -> bool:
        """Whether an address that an answer names may be asked."""
        return may_ask(url, asked=self.base_url, live=self.live)

    @property
    def reach(self) -> Reach:
        """To which addresses connections may be made."""
        return Reach(self.base_url, self.live)


def course(conditions: Conditions, request: WireRequest, reply: R | None = None, *, deadline_s: float | None = None) -> Steps[Done[R]]:
    """The whole course of a request. `reply`: what came of it, where it has been sent already. Nothing is asked after `deadline_s`."""
    send = Send(request, "submit", by_s=deadline_s)
    reply = yield from (_sent(send) if reply is None else _sent_again(send, reply))
    if reply is None:
        return Done(End.DECLINED)
    if reply.failure is not None or reply.status is None:
        return Done(End.NO_ANSWER, reply=reply, finished_s=reply.ended_s, first=reply)
    answer = decode(conditions.provider, conditions.operation, reply.response())
    if not 200 <= answer.status < 300:
        return Done(End.REFUSED, answer, reply, finished_s=reply.ended_s, first=reply)
    done: Done[R] = yield from follow(conditions, answer, reply.ended_s, reply, deadline_s=deadline_s)
    return done


def follow(
    conditions: Conditions, answer: Answer, at_s: float, reply: R | None = None, *, deadline_s: float | None = None
) -> Steps[Done[R]]:
    """The course from a success on that came at `at_s` (with `reply`): to the end of the task that it accepts, and to its pictures."""
    protocol = conditions.provider.protocol(conditions.operation)
    task = task_of(protocol, answer) if answer.task is not None else None
    if task is None or protocol is None:
        downloads = (yield from _downloads(conditions, answer.pictures, deadline_s)) if answer.pictures else ()
        return Done(End.ANSWERED, answer, reply, downloads, finished_s=at_s, first=reply)
    done: Done[R] = yield from _Following(conditions, protocol, task, answer, at_s, deadline_s).run()
    found = done.answer.pictures if done.end is End.ANSWERED and done.answer is not None else ()
    downloads = (yield from _downloads(conditions, found, deadline_s)) if found else ()
    return replace(done, reply=done.reply or reply, downloads=downloads, first=reply)


# Tasks.


@dataclass(frozen=True, slots=True)
class _Reached:
    """What an address of a task's answers, after `hop` redirects; without a reply `stopped` says why, and `url` is where."""

    url: str
    hop: int = 0
    reply: Any = None
    stopped: End | None = None


class _Following:
    """The way of one task from its acceptance to its end."""

    def __init__(
        self, conditions: Conditions, protocol: AsyncProtocol, task: AsyncTask, answer: Answer, at_s: float, deadline_s: float | None
    ) -> None:
        self._conditions = conditions
        self._protocol = protocol
        self._task = task
        self._answer = answer
        self._accepted_s = self._now_s = at_s
        self._deadline_s = deadline_s
        limit_s = protocol.timeout_s if conditions.limit_s is None else conditions.limit_s
        self._until_s = at_s + limit_s
        if deadline_s is not None:
            self._until_s = min(self._until_s, deadline_s - min(_LAST_LOOK_S, _LAST_LOOK_SHARE * max(0.0, deadline_s - at_s)))
        interval_s = protocol.poll_interval_s if conditions.interval_s is None else conditions.interval_s
        self._interval_s = self._first_interval_s = max(interval_s, _SHORTEST_INTERVAL_S)
        self._longest_s = max(LONGEST_INTERVAL_S, self._interval_s)
        self._started_s: float | None = None
        self._unknown_word = False
        self._failing = self._misses = 0
        self._polls = 0

    def run(self) -> Steps[Done[Any]]:
        """To the end of the task, or of its time."""
        conditions = self._conditions
        polled = self._protocol.operation or conditions.operation
        task = self._task
        said = self._heard(task)
        # Some tasks are over when they are accepted; one that is completed and does not bring what came of it is asked for that.
        brings = said.phase is not Phase.COMPLETED or self._result_in(task.result) is not None or self._elsewhere(task) is not None
        if said.over and brings:
            return (yield from self._over(said, task, self._answer, None, conditions.base_url))
        request = self._request(task)
        if isinstance(request, Done):
            return request
        wait_s = min(self._answer.retry_after_s or 0.0, max(self._until_s - self._now_s, 0.0))
        while True:
            if wait_s > 0.0:
                now_s = yield Wait(wait_s)
                if now_s is None:
                    return self._done(End.DECLINED)
            self._polls += 1
            reached = yield from self._asked(request)
            if reached.stopped is not None:
                return self._done(reached.stopped, place=reached.url)
            reply = reached.reply
            self._now_s = reply.ended_s
            answer = decode(conditions.provider, polled, reply.response(), poll=True) if _is_whole(reply) else None
            if answer is not None and 200 <= answer.status < 300:
                said = self._heard(answer.task)
                if said.over and answer.task is not None:
                    if conditions.look_again:
                        yield from self._look_again(request)
                    return (yield from self._over(said, answer.task, answer, reply, reached.url))
                if reached.hop and said.state is None and (result := self._result_in(answer.json)) is not None:
                    return self._done(End.ANSWERED, replace(result, task=task), reply)
                self._count(miss=said.state is None)
            elif answer is None or answer.status in _NOT_YET:
                self._count(miss=True)
            elif answer.status == 429 or answer.status >= 500:
                self._failing += 1
            else:
                return self._done(End.TASK_LOST, answer, reply)
            if self._misses > MOST_MISSES:
                return self._done(End.TASK_LOST, answer, reply)
            if self._now_s >= self._until_s:
                return self._done(End.TASK_UNENDED, answer, reply)
            wait_s = min(self._pause_s(answer.retry_after_s if answer is not None else None), self._until_s - self._now_s)

    def _request(self, task: AsyncTask) -> WireRequest | Done[Any]:
        conditions = self._conditions
        if not task.reference and task.poll_url is None:
            return self._done(End.TASK_UNNAMED, self._answer)
        try:
            request = poll_request(
                conditions.provider,
                task.reference or None,
                base_url=conditions.base_url,
                api_key=conditions.api_key,
                poll_url=task.poll_url,
                submitted=conditions.operation,
            )
        except ValueError:
            request = None
        if request is None or not fetchable(request.url):
            return self._done(End.ADDRESS_UNUSABLE, self._answer, place=task.poll_url or "")
        if not conditions.may_ask(request.url):
            return self._done(End.ADDRESS_NOT_ALLOWED, self._answer, place=request.url)
        return request

    def _asked(self, request: WireRequest, purpose: Purpose = "poll") -> Steps[_Reached]:
        conditions = self._conditions
        number, most = self._polls if purpose == "poll" else 1, limits().redirects
        for hop in range(most + 1):
            reply = yield from _sent(Send(request, purpose, number, hop, self._deadline_s))
            if reply is None:
                return _Reached(request.url, hop, stopped=End.DECLINED)
            onward = _onward(request.url, reply) if _is_whole(reply) else None
            if onward is None or not fetchable(onward) or hop == most:
                return _Reached(request.url, hop, reply)
            if not conditions.may_ask(onward):
                return _Reached(onward, hop, stopped=End.ADDRESS_NOT_ALLOWED)
            request = get_request(conditions.provider, onward, request.operation, base_url=conditions.base_url, api_key=conditions.api_key)
        raise AssertionError("the loop returns")

    def _heard(self, task: AsyncTask | None) -> Told:
        """What the task's answer says; keeps when it was first known to be past the queue."""
        said = told(self._protocol, task)
        if said.phase is None or said.phase is Phase.QUEUED:
            # A word that nobody knows may be one for the queue or for what follows.
            self._unknown_word = said.phase is None and (self._unknown_word or said.state is not None)
        elif self._started_s is None and not self._unknown_word:
            self._started_s = self._now_s
        return said

    def _count(self, *, miss: bool) -> None:
        self._misses = self._misses + 1 if miss else 0
        self._failing = self._failing + 1 if miss else 0

    def _pause_s(self, asked_s: float | None) -> float:
        """Seconds until the next poll: a little longer each time; what an answer asks for, else twice as long after each failure in a row."""
        interval_s = self._interval_s
        self._interval_s = min(interval_s * GROWTH, self._longest_s)
        if asked_s is not None:
            return max(interval_s, asked_s)
        return min(max(interval_s, self._first_interval_s * 2.0**self._failing if self._failing else 0.0), self._longest_s)

    def _look_again(self, request: WireRequest) -> Steps[None]:
        now_s = yield Wait(self._interval_s)
        if now_s is not None:
            self._polls += 1
            yield from self._asked(request)

    def _over(self, said: Told, task: AsyncTask, answer: Answer, reply: Any, url: str) -> Steps[Done[Any]]:
        """The end of a task that is over: its failure, or its result, fetched where that is an address."""
        if said.phase is not Phase.COMPLETED:
            return self._done(End.TASK_MODERATED if said.phase is Phase.MODERATED else End.TASK_FAILED, answer, reply)
        conditions = self._conditions
        elsewhere = self._elsewhere(task)
        if elsewhere is None:
            # A null where the result belongs is a result without pictures.
            result = decode_body(conditions.provider, conditions.operation, {} if task.result is None else task.result)
            return self._done(End.ANSWERED, self._of_task(result, task), reply)
        if isinstance(elsewhere, WireRequest):
            request = elsewhere
        else:
            place = absolute(elsewhere, url)
            if place is None or not conditions.may_ask(place):
                unusable = place is None or not fetchable(place)
                return self._done(End.ADDRESS_UNUSABLE if unusable else End.ADDRESS_NOT_ALLOWED, answer, reply, place or elsewhere)
            request = get_request(
                conditions.provider, place, conditions.operation, base_url=conditions.base_url, api_key=conditions.api_key
            )
        reached = yield from self._asked(request, "result")
        if reached.stopped is not None:
            return self._done(reached.stopped, answer, reply, reached.url)
        self._now_s = reached.reply.ended_s
        there = decode(conditions.provider, conditions.operation, reached.reply.response()) if _is_whole(reached.reply) else None
        if there is None or not 200 <= there.status < 300:
            return self._done(End.RESULT_LOST, there, reached.reply)
        return self._done(End.ANSWERED, self._of_task(there, task), reached.reply)

    def _of_task(self, result: Answer, task: AsyncTask) -> Answer:
        """The result as the task's answer: with what the task says that it cost, where the result says nothing of that."""
        stated = task.cost_usd if task.cost_usd is not None else self._task.cost_usd
        return replace(result, task=task, cost_usd=result.cost_usd if result.cost_usd is not None else stated)

    def _elsewhere(self, task: AsyncTask) -> str | WireRequest | None:
        """Where the result of a completed task lies, or what asks for it; None where the task's answer holds it."""
        if isinstance(task.result, str) and task.result.startswith(("http://", "https://", "/")) and self._result_in(task.result) is None:
            return task.result
        if self._protocol.result_url is not None:
            return task.result_url or self._task.result_url
        reference = task.reference or self._task.reference
        if self._protocol.result_from is not None and reference and is_one_segment(reference):
            conditions = self._conditions
            return result_request(
                conditions.provider, conditions.operation, reference, base_url=conditions.base_url, api_key=conditions.api_key
            )
        return None

    def _result_in(self, body: Any) -> Answer | None:
        """The answer that a body is by itself; None for one that holds nothing that was asked for."""
        answer = decode_body(self._conditions.provider, self._conditions.operation, body)
        return answer if answer.pictures or answer.text is not None else None

    def _done(self, end: End, answer: Answer | None = None, reply: Any = None, place: str = "") -> Done[Any]:
        return Done(end, answer, reply, (), self._accepted_s, self._started_s, self._now_s, place)


def _onward(url: str, reply: AnyReply) -> str | None:
    """Where a whole answer from `url` sends its reader on to."""
    # The header fields of most answers are never taken apart.
    return redirected(url, reply.status, reply.headers) if reply.status is not None and 300 <= reply.status < 400 else None


def _is_whole(reply: AnyReply) -> bool:
    return reply.failure is None and reply.status is not None


# Pictures.


def _downloads(conditions: Conditions, pictures: Sequence[DeliveredPicture], deadline_s: float | None) -> Steps[tuple[Download[Any], ...]]:
    """Every address that pictures lie behind, each once; base64 is the picture where there is both."""
    wanted: dict[str, list[int]] = {}
    for picture in pictures:
        if picture.address is not None:
            wanted.setdefault(picture.address, []).append(picture.index)
    courses: list[Steps[Download[Any]]] = []
    left: list[Download[Any]] = []
    sent = 0
    for url, indices in wanted.items():
        if conditions.most_downloads is None or conditions.may_ask(url):
            if sent == conditions.most_downloads:
                left.append(Download(url, DownloadEnd.DECLINED, url, pictures=tuple(indices)))
                continue
            sent += 1
        courses.append(download(conditions, url, number=sent, pictures=indices, deadline_s=deadline_s))
    if len(courses) == 1:
        found = [(yield from courses[0])]
    elif courses:
        found = yield Together(courses)
    else:
        found = []
    return (*found, *left)


def download(
    conditions: Conditions, url: str, *, number: int = 1, pictures: Sequence[int] = (), deadline_s: float | None = None
) -> Steps[Download[Any]]:
    """The way to one picture, over redirects; no step of it carries the key."""
    place, reply, most = url, None, limits().redirects

    def ended(end: DownloadEnd, hops: int) -> Download[Any]:
        return Download(url, end, place, reply, hops, tuple(pictures))

    for hop in range(most + 1):
        if not conditions.may_ask(place):
            return ended(DownloadEnd.NOT_ALLOWED if fetchable(place) else DownloadEnd.UNUSABLE, max(0, hop - 1))
        found = yield from _sent(Send(fetch_request(place, conditions.operation), "download", number, hop, deadline_s))
        if found is None:
            return ended(DownloadEnd.DECLINED, max(0, hop - 1))
        reply = found
        if not _is_whole(found):
            return ended(DownloadEnd.NO_ANSWER, hop)
        onward = _onward(place, found)
        if onward is None or not fetchable(onward):
            return ended(DownloadEnd.FETCHED, hop)
        place = onward
    return ended(DownloadEnd.CIRCLE, most)


# Sending.


def _sent(send: Send) -> Steps[Any]:
    """What came of a request; sent once more over a fresh connection where it died on a kept one before a byte of an answer."""
    reply = yield send
    return (yield from _sent_again(send, reply))


def _sent_again(send: Send, reply: Any) -> Steps[Any]:
    if reply is None or reply.failure != "stale":
        return reply
    again = yield replace(send, fresh=True)
    return reply if again is None else again
