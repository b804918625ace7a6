"""Answers as a recorded run did: the exchanges of its folder, found again by method, path and body, without a key and without a cent.

A run's files are data with published schemas; nothing that wrote them is imported here. Addresses that the run fetched pictures from, and the
target's own, are replaced by addresses of this mock, so that a client finds here whatever it is sent to.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import msgspec
import pybase64
from starlette.types import Receive, Scope, Send

from testcard.mocks.endpoint import decoded
from testcard.mocks.request_body import whole
from testcard.mocks.store import Counters, RequestLog, shortened
from testcard.specs.errors import UsageError
from testcard.specs.user_files import content

#: The exchanges, or a body, of a run are no larger.
_MOST_RECORDED = 1 << 30

#: below this path the pictures are that the run had fetched from elsewhere
_ELSEWHERE = "/_testcard/replay/"
#: what stands in a run in place of a key
_KEY = "$TESTCARD_API_KEY"
#: headers that belong to the connection, or that no longer hold of the body as it was recorded
_NOT_SENT = frozenset(("connection", "content-encoding", "content-length", "date", "keep-alive", "server", "transfer-encoding"))
#: headers of a request that say nothing of what it asks for
_NOT_COMPARED = frozenset(("accept-encoding", "connection", "content-length", "host", "user-agent"))
_BOUNDARY = re.compile(r"boundary=\"?([^\";]+)\"?")


class _Body(msgspec.Struct):
    size: int = 0
    text: str | None = None
    base64: str | None = None
    sha256: str | None = None


class _Request(msgspec.Struct):
    method: str
    url: str
    headers: list[tuple[str, str]] = []
    body: _Body = msgspec.field(default_factory=_Body)


class _Response(msgspec.Struct):
    status: int
    headers: list[tuple[str, str]] = []
    body: _Body = msgspec.field(default_factory=_Body)
    complete: bool = True


class _Exchange(msgspec.Struct):
    id: str
    source: str
    request: _Request
    response: _Response | None = None
    sent_s: float = 0.0
    done_s: float = 0.0


@dataclass(slots=True)
class _Recorded:
    """One exchange made ready: what a request has to say to be this one, and the answer."""

    id: str
    path: str
    headers: Mapping[str, str]
    sent: Any
    exchange: _Exchange
    used: int = 0


class Replay:
    """An ASGI application that answers as the run in a folder was answered; `paced`: in the time that it took, else at once.

    A request that was recorded gets the answer that it got, the next one each time it comes again. One that was not gets the answer of
    the recorded request that is most like it and was carried out: `x-testcard-replay` says `exact` or `nearest` and which exchange. At a path
    that was never asked there is a 404. Raises `UsageError` for a folder that holds no exchanges.
    """

    def __init__(self, run: Path, *, paced: bool = False) -> None:
        self._run = run
        self._paced = paced
        self._log, self._counters = RequestLog(), Counters()
        self._targets, exchanges = _read(run)
        fetched = {one.request.url: one for one in exchanges if one.source == "fetch" and one.response is not None}
        self._elsewhere = {f"{_ELSEWHERE}{number}": one for number, one in enumerate(fetched.values())}
        self._replaced = sorted(((url, f"{_ELSEWHERE}{number}") for number, url in enumerate(fetched)), key=lambda pair: -len(pair[0]))
        self._recorded: dict[tuple[str, str], list[_Recorded]] = {}
        for one in exchanges:
            if one.source != "fetch":
                path = self._path(one.request.url)
                headers = {name.lower(): value for name, value in one.request.headers}
                sent = _meaning(self._body(one.request.body), headers)
                self._recorded.setdefault((one.request.method, path.partition("?")[0]), []).append(
                    _Recorded(one.id, path, headers, sent, one)
                )

    @property
    def exchanges(self) -> int:
        """How many there are to answer with."""
        return sum(map(len, self._recorded.values())) + len(self._elsewhere)

    @property
    def provider(self) -> str:
        """The provider of the run's target."""
        return next((provider for provider, _ in self._targets), "replay")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request."""
        if scope["type"] != "http":
            return
        headers = decoded(scope["headers"])
        origin = f"{scope.get('scheme', 'http')}://{headers.get('host', 'localhost')}"
        body = await whole(receive)
        path: str = scope["path"]
        if path in self._elsewhere:
            await self._answer(self._elsewhere[path], origin, "exact", send)
            return
        query = scope["query_string"].decode("latin-1")
        if path.startswith("/_testcard/"):
            status, told = self._own(scope["method"], path.removeprefix("/_testcard/"), query)
            await _respond(send, status, [(b"content-type", b"application/json")], msgspec.json.encode(told))
            return
        method = "GET" if scope["method"] == "HEAD" else scope["method"]
        there = self._recorded.get((method, path))
        whole_path = f"{path}?{query}" if query else path
        began, found = time.time(), None
        if there is not None:
            found, how = self._find(there, whole_path, headers, self._as_recorded(body, origin))
            found.used += 1
        response = found.exchange.response if found is not None else None
        status = 404 if found is None else 200 if response is None else response.status
        self._write_down(began, scope["method"], whole_path, headers, body, status)
        if found is None:
            said = msgspec.json.encode({"error": f"the run {self._run.name} has no {method} {path}"})
            await _respond(send, 404, [(b"content-type", b"application/json")], said)
        else:
            await self._answer(found.exchange, origin, how, send)

    def _own(self, method: str, what: str, query: str) -> tuple[int, Any]:
        """Testcard's own addresses, as far as a replay has them: health, the request log, counts; a scenario that is ended begins it again."""
        if method == "DELETE" and what in ("requests", "counters", "scenario"):
            self._counters.clear()
            if what == "requests":
                self._log.clear()
            elif what == "scenario":
                for one in (one for there in self._recorded.values() for one in there):
                    one.used = 0
            return 200, {}
        if method == "GET" and what == "health":
            return 200, {"server": "testcard mock", "status": "ready", "providers": [self.provider], "replays": self._run.name}
        if method == "GET" and what == "requests":
            try:
                return 200, {"requests": self._log.entries(dict(parse_qsl(query))), "seen": self._log.seen}
            except UsageError as error:
                return 400, {"error": {"message": str(error), "hint": error.hint}}
        if method == "GET" and what == "counters":
            return 200, self._counters.report()
        said = f"a replay answers as the run did: it has no {what}"
        return 404, {"error": {"message": said, "hint": "serve a provider instead: testcard mock nanogpt"}}

    def _write_down(self, began: float, method: str, path: str, headers: Mapping[str, str], body: bytes, status: int) -> None:
        sent = _meaning(body, headers)
        fields = f"{len(sent)} bytes" if isinstance(sent, bytes) else shortened(sent)
        self._counters.of(self.provider, "(recorded)").add(status, billed=False, images=0)
        self._log.add(began, self.provider, None, method, path, headers, fields, status, time.time() - began, 0, False, None)

    def _find(self, there: Sequence[_Recorded], path: str, headers: Mapping[str, str], body: bytes) -> tuple[_Recorded, str]:
        sent = _meaning(body, headers)
        equal = [one for one in there if one.path == path and one.sent == sent]
        if equal:
            best = max(_agreement(one.headers, headers) for one in equal)
            alike = [one for one in equal if _agreement(one.headers, headers) == best]
            # In the order in which they were recorded; when all have been given, the last again: a task that is done stays done.
            return next((one for one in alike if not one.used), alike[-1]), "exact"

        def likeness(one: _Recorded) -> tuple[bool, float, int, int]:
            response = one.exchange.response
            done = response is not None and response.status < 400
            return done, _likeness(one.sent, sent), _agreement(one.headers, headers), -one.used

        return max(there, key=likeness), "nearest"

    async def _answer(self, exchange: _Exchange, origin: str, how: str, send: Send) -> None:
        response = exchange.response
        if self._paced:
            await asyncio.sleep(max(0.0, exchange.done_s - exchange.sent_s))
        mark = (b"x-testcard-replay", f"{how} {exchange.id}".encode("latin-1", "replace"))
        if response is None:
            # Nothing had come: begin an answer and break it off, which is the nearest that a server can do.
            await _respond(send, 200, [mark], b"", cut=True)
            return
        body = self._as_here(self._body(response.body), origin)
        headers = [
            (name.lower().encode("latin-1"), self._as_here(value.encode(), origin))
            for name, value in response.headers
            if name.lower() not in _NOT_SENT
        ]
        await _respond(send, response.status, [*headers, mark], body, cut=not response.complete)

    def _path(self, url: str) -> str:
        for _, base in self._targets:
            if url.startswith(base + "/"):
                return url[len(base) :]
        parts = urlsplit(url)
        return parts.path + (f"?{parts.query}" if parts.query else "")

    def _as_here(self, body: bytes, origin: str) -> bytes:
        """Addresses of the run as addresses of this mock, plain and as JSON may spell them."""
        if b"://" not in body and b":\\/\\/" not in body:
            return body
        for url, path in (*self._replaced, *((base, "") for _, base in self._targets)):
            for spelt in _spellings(url):
                body = body.replace(spelt, (origin + path).encode())
        return body

    def _as_recorded(self, body: bytes, origin: str) -> bytes:
        """The other way: what this mock had put in place of the run's addresses."""
        if origin.encode() not in body:
            return body
        for url, path in sorted(self._replaced, key=lambda pair: -len(pair[1])):
            body = body.replace((origin + path).encode(), url.encode())
        return body

    def _body(self, body: _Body) -> bytes:
        if body.sha256 is not None:
            if not re.fullmatch(r"[0-9a-f]{64}", body.sha256):
                raise UsageError(f"{self._run}: {body.sha256[:80]!r} names no body", hint="the run folder is damaged")
            try:
                return content(self._run / "bodies" / body.sha256, _MOST_RECORDED)
            except OSError as error:
                raise UsageError(f"{self._run}: bodies/{body.sha256}: {error.strerror}", hint="the run folder is not whole") from None
        return pybase64.b64decode(body.base64) if body.base64 is not None else (body.text or "").encode()


def _read(run: Path) -> tuple[list[tuple[str, str]], list[_Exchange]]:
    """The run's targets as provider and base URL, and its exchanges; a last line that was cut by a kill is left out."""
    try:
        record = msgspec.json.decode(content(run / "run.json"))
        if record.get("children"):
            named = ", ".join(str(run / str(child)) for child in record["children"])
            raise UsageError(f"{run} is a parent of runs", hint=f"name one of a check: {named}")
        name = str(record.get("files", {}).get("exchanges", "exchanges.jsonl"))
        lines = content(run / Path(name).name, _MOST_RECORDED).splitlines()
        targets = [(str(one["provider"]), str(one["base_url"]).rstrip("/")) for one in record.get("targets", ())]
    except OSError as error:
        raise UsageError(f"{error.filename}: {error.strerror}", hint="name the folder of a check: benchmarks record no answers") from None
    except (msgspec.DecodeError, UnicodeDecodeError, AttributeError, KeyError, TypeError) as error:
        raise UsageError(f"{run}/run.json is no record of a run: {error}", hint="name the folder of a check") from None
    found = list(_exchanges(lines, run))
    if not found:
        raise UsageError(f"{run} holds no exchanges", hint="name the folder of a check: benchmarks record no answers")
    return targets, found


def _exchanges(lines: Sequence[bytes], run: Path) -> Iterator[_Exchange]:
    for number, line in enumerate(lines, 1):
        try:
            yield msgspec.json.decode(line, type=_Exchange)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            if number < len(lines):
                raise UsageError(f"{run}/exchanges.jsonl, line {number}: {error}", hint="the run folder is damaged") from None


def _meaning(body: bytes, headers: Mapping[str, str]) -> Any:
    """What a body says whatever its spelling: JSON as its value, a form without its boundary."""
    media_type = headers.get("content-type", "")
    boundary = _BOUNDARY.search(media_type)
    if boundary is not None:
        return body.replace(boundary[1].encode(), b"boundary")
    try:
        return msgspec.json.decode(body) if body else None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return body


def _agreement(recorded: Mapping[str, str], sent: Mapping[str, str]) -> int:
    """How many headers are there or missing in both, and say the same; a key that was taken out agrees with any."""
    names = (recorded.keys() | sent.keys()) - _NOT_COMPARED
    return sum((_KEY in recorded.get(name, "") and name in sent) or recorded.get(name) == sent.get(name) for name in names) - len(names)


def _likeness(recorded: Any, sent: Any) -> float:
    """From 0 to 1: the share of fields that are equal."""
    if not isinstance(recorded, dict) or not isinstance(sent, dict):
        return 0.0
    names = recorded.keys() | sent.keys()
    return sum(bool(recorded.get(name) == sent.get(name)) for name in names) / max(1, len(names))


def _spellings(url: str) -> tuple[bytes, ...]:
    """A URL as it is, and as JSON may escape it; the longest first."""
    found = {url, url.replace("/", "\\/"), url.replace("&", "\\u0026"), url.replace("/", "\\/").replace("&", "\\u0026")}
    return tuple(one.encode() for one in sorted(found, key=len, reverse=True))


async def _respond(send: Send, status: int, headers: Sequence[tuple[bytes, bytes]], body: bytes, *, cut: bool = False) -> None:
    """Sends an answer; one that is cut declares more than comes, so that the server closes the connection."""
    length = len(body) + 1 if cut else len(body)
    await send({"type": "http.response.start", "status": status, "headers": [*headers, (b"content-length", b"%d" % length)]})
    await send({"type": "http.response.body", "body": body, "more_body": cut})
