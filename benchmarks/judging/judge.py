"""What a finished attempt was worth: its outcome, pictures, tokens and cost. Decided after its clock has stopped, and never in
the way of what falls due (`Judging`).

Of every answer the JSON, base64, count, header, structure and checksums of each picture are read, and the sizes compared
with what was asked; of a stated share (`decode` in the workload) every pixel is decoded too. Large answers are taken apart before they
are parsed, because of 1.4 MB of JSON all but some hundred bytes are base64.
"""

from __future__ import annotations

import binascii
import hashlib
import secrets
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import gevent
import gevent.event
import gevent.threadpool
import pybase64
import xxhash

from testcard.benchmarks.net.receive import Reply
from testcard.benchmarks.plan.cells import Attempt
from testcard.harness.intake.limits import limits
from testcard.harness.intake.shown import mistake, words_of
from testcard.harness.wire.billing import answer_cost, booked_cost, charged, delivered
from testcard.harness.wire.course import Download, DownloadEnd
from testcard.harness.wire.decode import decode, speaks_of_content
from testcard.harness.wire.fields import pixel_size
from testcard.harness.wire.model import Absence, Answer, DeliveredPicture, PictureInfo, TaskRequest
from testcard.harness.wire.pictures import inspect, lenient_base64
from testcard.harness.wire.sse import ChatStream, EventStream, PictureStream
from testcard.specs.loader import Provider

#: Strings from this length on are worth it, and bodies from four times of it.
MANY_BYTES = 16 * 1024
#: After so many quotation marks without an end it is another kind of document.
_QUOTES = 1000
#: The flaw of a picture that cannot be used, by why there were no bytes of it to look at.
_KINDS: dict[Absence | None, str] = {None: "undecodable", "empty": "empty", "nothing": "empty", "address": "dead-address"}
#: A text of which everything came within so many seconds, or whose tokens are so close, came in one piece.
_BURST_S, _BURST_TOKEN_S = 0.001, 0.0001
#: More than this no answer has: a column of the samples holds no number without end.
_MOST_TOKENS = 10**9
#: Begins every mark; no server can know it.
_MARK = f"testcard-{secrets.token_hex(8)}-"


def unpacked(body: bytes) -> tuple[bytes, dict[str, bytes]]:
    """JSON text with a short mark in place of each long string of base64, and what each mark stands for, decoded.

    Parsing looks at every byte for escapes and encoding, which the strict decoding of base64 rules out as well; so each byte is
    looked at once. What stands between two quotation marks and is nothing but base64 (with or without the head of a data URL) is
    a string: outside of strings there is a comma or a colon, and an escape is no base64. Whatever is not strict stays where it is.
    So the result is valid JSON exactly when `body` is.
    """
    if len(body) < 4 * MANY_BYTES:
        return body, {}
    view = memoryview(body)
    pieces: list[bytes | memoryview] = []
    found: dict[str, bytes] = {}
    kept, quote = 0, body.find(b'"')
    for _ in range(_QUOTES):
        if quote < 0:
            break
        following = body.find(b'"', quote + 1)
        if following - quote > MANY_BYTES and (data := _decoded(body, view, quote + 1, following)) is not None:
            mark = f"{_MARK}{len(found)}"
            found[mark] = data
            pieces += (view[kept : quote + 1], mark.encode())
            kept = following
        quote = following
    if not found:
        return body, {}
    return b"".join([*pieces, view[kept:]]), found


def _decoded(body: bytes, view: memoryview, begin: int, end: int) -> bytes | None:
    if body.startswith(b"data:", begin):
        comma = body.find(b",", begin, begin + 100)
        if comma < 0 or not body.endswith(b";base64", begin, comma):
            return None
        begin = comma + 1
    try:
        return pybase64.b64decode(view[begin:end], validate=True)
    except (binascii.Error, ValueError):
        return None


@dataclass(frozen=True, slots=True)
class Judgement:
    """One attempt judged. `images` and `megapixels` count sound pictures only; `first_token_s` is in seconds of the load clock.

    `inter_token_s`: mean seconds from one token of a stream to the next. `retry_after_s`: what a 429 asked to wait.
    `cost_usd` is what the answer cost, for figures; `booked_usd` what it counts as against a limit, which no answer can lower.
    `pictures`: those whose bytes came, sound or not; `flaw`: what was wrong with them, one of `FLAWS`; `picture_hashes`: see `hashes`.
    `unterminated`: a stream of text whose finish reason came and whose [DONE] did not.
    """

    outcome: str
    images: int = 0
    megapixels: float = 0.0
    tokens: int | None = None
    cost_usd: float | None = None
    first_token_s: float | None = None
    inter_token_s: float | None = None
    retry_after_s: float | None = None
    bytes: int = 0
    detail: str = ""
    pictures: int = 0
    flaw: str | None = None
    picture_hashes: str | None = None
    booked_usd: float | None = None
    unterminated: bool = False


@dataclass(frozen=True, slots=True)
class Flaw:
    """What keeps an answer's pictures from being what was asked for: one of `FLAWS`, and in words."""

    kind: str
    detail: str


class UnreadAnswer(Exception):
    """An answer that Testcard's own reading raised on: what came is counted and recorded, what it was worth is not known."""


def unjudged(attempt: Attempt, error: Exception) -> Judgement:
    """What stands in the samples for an attempt that could not be judged, by a mistake of ours: it was sent, and may have been billed."""
    return Judgement("broken", bytes=attempt.size, detail=f"not judged, by a mistake of Testcard's own: {mistake(error)}")


def judge(attempt: Attempt, *, pixels: Callable[[], bool] = lambda: True) -> Judgement:
    """The judgement of an attempt; whatever a server can send, it raises for mistakes of ours only. `pixels`: whether they may still be decoded."""
    cell, reply = attempt.cell, attempt.reply
    if reply is None:
        return Judgement("interrupted")
    size = attempt.size
    answer = attempt.answer
    data: Mapping[str, bytes] = {}
    if answer is None and reply.failure is None and attempt.failure is None:
        response = reply.response()
        skeleton, data = unpacked(response.body)
        answer = decode(cell.provider, cell.operation, replace(response, body=skeleton) if data else response)
    if answer is not None and answer.raised is not None:
        raise UnreadAnswer(answer.raised)
    ask = cell.asks[attempt.ask].request
    pictures: list[PictureInfo] = []
    if answer is not None and attempt.failure is None and 200 <= answer.status < 300:
        pictures = _pictures(attempt, answer, data, pixels)
    outcome, detail, flaw = outcome_of(attempt, answer, pictures, ask)
    sound = [picture for picture in pictures if picture.problem is None]
    tokens = _tokens(answer)
    cost, booked = _cost(attempt, outcome, answer, pictures)
    first, between = (None, None)
    if reply.blocks and answer is not None:
        first, between = token_times(attempt, tokens) if answer.text else (first_picture_s(attempt), None)
    return Judgement(
        outcome,
        images=len(sound),
        megapixels=sum((picture.width_px or 0) * (picture.height_px or 0) for picture in sound) / 1e6,
        tokens=tokens,
        cost_usd=cost,
        first_token_s=first,
        inter_token_s=between,
        retry_after_s=answer.retry_after_s if answer is not None and answer.status == 429 else None,
        bytes=size,
        detail=detail,
        pictures=sum(_came(picture) for picture in pictures),
        flaw=flaw,
        picture_hashes=hashes(sound),
        booked_usd=booked,
        unterminated=answer is not None and answer.unterminated,
    )


def hashes(pictures: list[PictureInfo]) -> str | None:
    """For each picture 64 bits of the digest (XXH3) of its bytes and, where they were decoded, of its pixels; None without pictures."""
    marks = [digest[:16] for picture in pictures for digest in (picture.sha256, picture.pixels_sha256) if digest]
    return " ".join(marks) or None


def outcome_of(attempt: Attempt, answer: Answer | None, pictures: list[PictureInfo], ask: TaskRequest) -> tuple[str, str, str | None]:
    """One of `OUTCOMES` (never `slow`, which the statistics derive from the objectives), what was wrong, and which of `FLAWS`."""
    outcome, found = _outcome(attempt, answer, pictures, ask)
    if isinstance(found, Flaw):
        return outcome, found.detail, found.kind if outcome == "invalid-picture" else None
    return outcome, found, None


def _outcome(attempt: Attempt, answer: Answer | None, pictures: list[PictureInfo], ask: TaskRequest) -> tuple[str, str | Flaw]:
    reply = attempt.reply
    assert reply is not None
    failure = reply.failure or attempt.failure
    if failure == "task-moderated":
        return "policy", "the task was refused for its content"
    if failure == "task-failed":
        return "server-error", "the task failed"
    if failure is not None:
        return failure, reply.detail
    assert answer is not None
    status = answer.status
    if status == 429:
        return "rate-limited", answer.error_message or ""
    if status >= 500:
        return "server-error", answer.error_message or ""
    if status >= 400:
        refused_for = words_of([answer.error_code, answer.error_message])
        return ("policy" if speaks_of_content(refused_for) else "refused"), answer.error_message or ""
    if not 200 <= status < 300:
        return "broken", f"status {status}"
    if answer.problem is not None:
        return "broken", answer.problem
    if attempt.cell.provider.operation_profile(attempt.cell.operation).kind == "chat":
        if answer.finish_reason == "content_filter":
            return "policy", "content_filter"
        return ("ok", "") if answer.text else ("broken", "no text")
    if any(found.reply is not None and found.reply.failure == "timeout" for found in attempt.downloads):
        return "timeout", "a picture's address did not answer in time"
    problem = picture_problem(attempt.cell.provider, attempt.cell.operation, answer, pictures, ask)
    if problem is None:
        return "ok", ""
    if any(picture.withheld for picture in answer.pictures):
        return "policy", problem
    return "invalid-picture", problem


def picture_problem(provider: Provider, operation: str, answer: Answer, pictures: list[PictureInfo], ask: TaskRequest) -> Flaw | None:
    """What keeps an answer's pictures from being what was asked for: count, decoding, size, the same one twice; else None."""
    wanted = ask.n or 1
    if len(answer.pictures) != wanted:
        return Flaw("count" if answer.pictures else "empty", f"{len(answer.pictures)} pictures for {wanted}")
    for picture in pictures:
        if picture.problem is not None:
            return Flaw(_KINDS[picture.absent], picture.problem)
    pixels = pixel_size(ask.size) or (provider.operation_profile(operation).response.default_size if ask.size is None else None)
    if pixels is not None and ask.tier is None:
        for picture in pictures:
            if (picture.width_px, picture.height_px) != pixels:
                return Flaw("size", f"{picture.width_px}x{picture.height_px} for {pixels[0]}x{pixels[1]}")
    if len({picture.sha256 for picture in pictures}) < len(pictures):
        return Flaw("duplicate", "the same picture twice")
    return None


def _pictures(attempt: Attempt, answer: Answer, data: Mapping[str, bytes], pixels: Callable[[], bool]) -> list[PictureInfo]:
    fetched = {index: found for found in attempt.downloads for index in found.pictures}
    decodes = _decodes(attempt)
    found: list[PictureInfo] = []
    left = limits().pixels  # of one answer: many large pictures would keep the others waiting for a minute
    for picture in answer.pictures:
        info = _picture(picture, data, fetched.get(picture.index), decodes and left > 0 and pixels())
        left -= (info.width_px or 0) * (info.height_px or 0)
        found.append(info)
    return found


def _picture(picture: DeliveredPicture, known: Mapping[str, bytes], found: Download[Reply] | None, pixels: bool) -> PictureInfo:
    """What a picture is. Where it carries both, its base64 is the picture; what was downloaded belongs to the picture that named it."""
    if picture.data is not None:
        return inspect(picture.data, pixels=pixels, hashed=xxhash.xxh3_128)
    carried = picture.carried
    text = picture.base64 if picture.base64 is not None else picture.url
    data = known.get(text) if text is not None else None
    if data is None and carried is not None and (data := lenient_base64(carried)) is None:
        return _unusable("no base64")
    if data is not None:
        return inspect(data, pixels=pixels, hashed=xxhash.xxh3_128)
    if picture.url is None:
        return _unusable("neither base64 nor an address", "nothing")
    if found is None or found.end is not DownloadEnd.FETCHED:
        return _unusable(f"its address: {found.end if found is not None else DownloadEnd.DECLINED}", "address")
    if found.whole is None:
        return _unusable(f"its address answered {found.reply.status if found.reply is not None else 'nothing'}", "address")
    return inspect(found.whole.content(), pixels=pixels, hashed=xxhash.xxh3_128)


def _came(picture: PictureInfo) -> bool:
    """Whether there were bytes of it to look at."""
    return picture.absent in (None, "empty")


def _unusable(problem: str, absent: Absence | None = None) -> PictureInfo:
    return PictureInfo(None, None, None, 0, "", problem=problem, absent=absent)


def _decodes(attempt: Attempt) -> bool:
    """Whether this attempt is in the share whose pixels are decoded; spread evenly, and the same for the same run."""
    share = attempt.cell.decode_share
    if share in (0.0, 1.0):
        return share == 1.0
    mark = hashlib.blake2b(f"{attempt.scheduled_s:.9f}".encode(), digest_size=4).digest()
    return int.from_bytes(mark, "big") < share * 2**32


def _tokens(answer: Answer | None) -> int | None:
    if answer is None or answer.usage is None:
        return None
    count = answer.usage.completion_tokens
    return count if isinstance(count, int) and not isinstance(count, bool) and 0 <= count <= _MOST_TOKENS else None


def _cost(attempt: Attempt, outcome: str, answer: Answer | None, pictures: list[PictureInfo]) -> tuple[float | None, float | None]:
    """What the answer cost, and what it counts as against a limit (see `wire.billing`); None where nobody knows it."""
    if outcome in ("connect", "tls"):
        return 0.0, 0.0  # nothing was asked for
    if answer is None:
        return None, None
    cell = attempt.cell
    if attempt.failure in ("task-failed", "task-moderated"):
        free = 0.0 if cell.price is not None and cell.price.billed_on == "success" else None
        return free, free
    asked = cell.provider, cell.operation, cell.asks[attempt.ask].request, answer
    came = delivered(*asked, pictures)
    return answer_cost(cell.price, answer, came), booked_cost(cell.price, answer, charged(*asked, came))


def first_picture_s(attempt: Attempt) -> float | None:
    """When the block arrived that completed the first preview (or picture) of a stream of pictures; None for what is no such stream."""
    events = attempt.cell.provider.operation_profile(attempt.cell.operation).response.events
    if events is None or attempt.reply is None:
        return None
    body, stream, begun = attempt.reply.content(), PictureStream(events), 0
    for moment, length in attempt.reply.blocks:
        found = stream.feed(body[begun:length])
        begun = length
        if any(event.kind in ("partial", "completed") for event in found):
            return moment
    return None


def token_times(attempt: Attempt, tokens: int | None) -> tuple[float | None, float | None]:
    """When the block arrived that completed the first piece of text of a stream, and the mean seconds from token to token.

    `tokens` as the usage states them; without it each piece counts as one. (None, None) for what is no stream of text; no mean where the
    whole text came at once, as behind a proxy that holds streams back: that says nothing of how fast it was made.
    """
    reply = attempt.reply
    assert reply is not None
    body, reader, chat = reply.content(), EventStream(), ChatStream()
    begun = pieces = 0
    first = last = None
    for moment, length in reply.blocks:
        found = sum(1 for event in reader.feed(body[begun:length]) if chat.add(event))
        begun = length
        if found:
            pieces += found
            first, last = (moment if first is None else first), moment
    count = tokens if tokens is not None else pieces
    if first is None or last is None or pieces < 2 or count < 2:
        return first, None
    between = (last - first) / (count - 1)
    return first, between if last - first >= _BURST_S and between >= _BURST_TOKEN_S else None


# ── the queue of finished attempts ────────────────────────────────────────────────────────────────────────────────────

#: Finished attempts, and bytes of their answers, that may wait to be judged. Beyond, a finished request waits (after its clock
#: has stopped), no arrival does.
BACKLOG = 512
BACKLOG_BYTES = 64 * 1024 * 1024
#: Answers up to this size whose pixels are not decoded are judged in the event loop, in at most about 0.5 ms. A thread would hold
#: the interpreter for as long, and the way to it and back costs as much as judging 300 KB.
INLINE_BYTES = 2 * 1024 * 1024
#: Small answers are judged for so long in one go before what has become due goes first.
SLICE_S = 0.0004
clock = time.monotonic


class Judging:
    """Judges attempts one after another on a greenlet of its own and hands each with its judgement to `record`.

    `hurried`: no pixel is decoded from now on, so that what waits is judged in milliseconds each.

    An exception of the judge's or the recorder's is a mistake of ours: it goes to `failed`, and judging goes on. An attempt that the judge
    raises on is recorded all the same: it was sent.
    """

    def __init__(self, record: Callable[[Attempt, Judgement], None], failed: Callable[[BaseException], None]) -> None:
        self._record = record
        self._failed = failed
        self._waiting: deque[tuple[Attempt, int]] = deque()
        self._bytes = 0
        self._more = gevent.event.Event()
        self._room = gevent.event.Event()
        self._idle = gevent.event.Event()
        self._thread = gevent.threadpool.ThreadPool(1)
        self._greenlet = gevent.spawn(self._work)
        self.hurried = False

    def put(self, attempt: Attempt) -> None:
        """Queues an attempt; waits first while too much is queued. When that wait is cut short, the attempt is queued all the same."""
        size = attempt.size
        try:
            while self._waiting and (len(self._waiting) >= BACKLOG or self._bytes + size > BACKLOG_BYTES):
                self._room.clear()
                self._room.wait()
        finally:
            self._waiting.append((attempt, size))
            self._bytes += size
            if not self._more.is_set():
                self._more.set()

    def join(self) -> None:
        """Waits until everything queued is judged and recorded."""
        while self._waiting or not self._idle.is_set():
            self._idle.clear()
            self._more.set()
            self._idle.wait()

    def close(self) -> None:
        """Judges what is left and ends."""
        self.join()
        self._greenlet.kill()
        self._thread.kill()

    def _work(self) -> None:
        waiting = self._waiting
        since = clock()
        while True:
            if not waiting:
                self._more.clear()
                self._idle.set()
                self._more.wait()
                since = clock()
                continue
            self._idle.clear()
            attempt, size = waiting.popleft()
            try:
                self._record(attempt, self._judged(attempt))
            except Exception as error:  # noqa: BLE001 (raised again by the engine)
                self._failed(error)
            self._bytes -= size
            if not self._room.is_set():
                self._room.set()
            if clock() - since > SLICE_S:
                gevent.sleep(0)
                since = clock()

    def _judged(self, attempt: Attempt) -> Judgement:
        try:
            return self.judge_now(attempt)
        except Exception as error:  # noqa: BLE001 (raised again by the engine)
            self._failed(error)
            return unjudged(attempt, error)

    def _unhurried(self) -> bool:
        return not self.hurried

    def judge_now(self, attempt: Attempt) -> Judgement:
        """The judgement of an attempt: a small one at once, a long one on a thread, so that requests go on falling due meanwhile."""
        if (self.hurried or attempt.cell.decode_share == 0.0) and attempt.size <= INLINE_BYTES:
            return judge(attempt, pixels=self._unhurried)
        found: Judgement = self._thread.apply(judge, (attempt,), {"pixels": self._unhurried})
        return found
