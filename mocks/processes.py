"""A mock in several processes over one socket: pictures, tasks, counts and conditions are found whichever of them is asked.

Each has a Unix socket of its own beside the shared one. What one does not know (a picture, a task) it asks the others for; requests with one
idempotency key go to one process; counts and the log are added up, conditions passed on to all. What counts requests one after the other (rate
limits, quotas, balances, places to work at, seeds, scenarios, replays) cannot be kept so, and is refused.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import signal
import socket
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import httpx
import msgspec
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from testcard.mocks.app import MAY_BE_ELSEWHERE
from testcard.mocks.conditions import Conditions, draw_apart
from testcard.mocks.pictures.renderer import draw_afresh
from testcard.mocks.request_body import whole
from testcard.mocks.serving import Certificate, serve, when_stdin_closes
from testcard.mocks.store import KEPT, newest
from testcard.specs.errors import UsageError
from testcard.specs.loader import Provider

#: conditions that only one process can keep
OF_ONE = ("rate_limit", "quota", "balance_usd", "max_concurrent", "seed")
_FORWARDED = "x-testcard-forwarded"
_SAFE = ("GET", "HEAD", "PUT", "DELETE")


def refuse_what_one_must_count(conditions: Conditions, *, scenario: bool, replay: bool = False) -> None:
    """`UsageError` for what several processes cannot keep together."""
    told = "scenario" if scenario else "the order of a replay" if replay else None
    wrong = next((name for name in OF_ONE if getattr(conditions, name) is not None), told)
    if wrong is not None:
        raise UsageError(f"several processes cannot keep {wrong.replace('_', ' ')} together", hint="leave --processes out, or that")


class Together:
    """One process's part: the application, and the way to the others by their Unix sockets."""

    def __init__(self, app: ASGIApp, index: int, places: Sequence[Path], providers: Sequence[Provider] = (), *, tls: bool = False) -> None:
        self._app = app
        self._key_headers = _key_headers(providers)
        self._tasks = _task_paths(providers)
        self._scheme = "https" if tls else "http"
        self._index = index
        self._places = places
        self._open: dict[int, httpx.AsyncClient] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request, here or where it belongs."""
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]} if scope["type"] == "http" else {}
        if scope["type"] != "http" or _FORWARDED in headers:
            asked_on = scope["type"] == "http" and self._may_be_elsewhere(scope)
            await self._app({**scope, MAY_BE_ELSEWHERE: True} if asked_on else scope, receive, send)
            return
        path = scope["path"]
        key = next((headers[name] for name in self._key_headers if name in headers), None)
        if path.startswith("/_testcard/") and not path.startswith("/_testcard/files/"):
            await self._own_address(scope, receive, send)
        elif key is not None and (owner := self._owner(key)) != self._index:
            await _pass_on(await self._asked(owner, scope, await whole(receive)), send)
        elif self._may_be_elsewhere(scope):
            await self._here_or_there(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _may_be_elsewhere(self, scope: Scope) -> bool:
        """Whether a 404 here may be another process's to answer: it asks for something that is there, or is about a task."""
        return scope["method"] in _SAFE or self._tasks.fullmatch(scope["path"]) is not None

    def _owner(self, key: str) -> int:
        return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=4).digest(), "big") % len(self._places)

    async def _here_or_there(self, scope: Scope, receive: Receive, send: Send) -> None:
        """What this process answers; where it knows nothing of it, what the first that does answers; else its own 404, which counts."""
        body = await whole(receive)
        passing = False

        async def unless_unknown(message: Message) -> None:
            nonlocal passing
            if message["type"] == "http.response.start" and message["status"] != 404:
                passing = True
            if passing:
                await send(message)

        await self._app({**scope, MAY_BE_ELSEWHERE: True}, _given(body), unless_unknown)
        if passing:
            return
        for index in range(len(self._places)):
            if index != self._index:
                answer = await self._asked(index, scope, body)
                if answer.status_code != 404:
                    await _pass_on(answer, send)
                    return
        await self._app(scope, _given(body), send)

    async def _own_address(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await whole(receive)
        if scope["method"] in ("PUT", "PATCH") and (wrong := _of_one(scope["path"], body)) is not None:
            said = msgspec.json.encode(
                {"error": {"message": f"several processes cannot keep {wrong} together", "hint": "start one process"}}
            )
            await _pass_on(httpx.Response(400, headers={"content-type": "application/json"}, content=said), send)
            return
        answers = [await self._asked(index, scope, body) for index in range(len(self._places))]
        first = answers[0]
        if scope["method"] == "GET" and first.status_code == 200 and scope["path"].endswith(("/counters", "/requests")):
            values = [msgspec.json.decode(answer.content) for answer in answers]
            added: Any = values[0]
            for value in values[1:]:
                added = _added(added, value)
            if "requests" in added and isinstance(added["requests"], list):
                entries = sorted(added["requests"], key=lambda entry: entry["at"])[-KEPT:]
                added["requests"] = newest(entries, dict(parse_qsl(scope["query_string"].decode("latin-1"))))
            await _pass_on(httpx.Response(200, headers={"content-type": "application/json"}, content=msgspec.json.encode(added)), send)
        else:
            await _pass_on(first, send)

    async def _asked(self, index: int, scope: Scope, body: bytes) -> httpx.Response:
        """What a process answers, this one too."""
        if index not in self._open:
            # The socket lies in a folder of this mock alone; its certificate is made out to other names.
            transport = httpx.AsyncHTTPTransport(uds=str(self._places[index]), verify=False)
            self._open[index] = httpx.AsyncClient(transport=transport, timeout=60.0, trust_env=False)
        query = scope["query_string"].decode("latin-1")
        url = httpx.URL(
            f"{self._scheme}://mock",
            raw_path=(scope.get("raw_path") or scope["path"].encode()) + (b"?" + query.encode("latin-1") if query else b""),
        )
        headers = [*((name, value) for name, value in scope["headers"] if name != b"transfer-encoding"), (_FORWARDED.encode(), b"1")]
        return await self._open[index].request(scope["method"], url, headers=headers, content=body)


def serve_together(
    app: ASGIApp,
    server: socket.socket,
    ready: Callable[[], None],
    count: int,
    providers: Sequence[Provider] = (),
    *,
    until_stdin_closes: bool = False,
    grace_s: float = 1.0,
    certificate: Certificate | None = None,
) -> None:
    """Serves from so many processes until Ctrl-C, SIGTERM or (if asked) the end of standard input; `ready` once all of them answer."""
    if not hasattr(os, "fork"):
        raise UsageError("several processes need a system that forks", hint="leave --processes out")
    with tempfile.TemporaryDirectory(prefix="testcard-mock-") as place:
        places = [Path(place) / f"{index}.sock" for index in range(count)]
        own = [_listening(path) for path in places]
        heard, told = os.pipe()
        alive, living = os.pipe()
        children = []
        for index in range(count):
            child = os.fork()
            if child == 0:
                code = 1
                try:
                    signal.signal(signal.SIGTERM, signal.SIG_DFL)
                    os.close(living)
                    threading.Thread(target=_end_with_parent, args=(alive,), daemon=True).start()
                    draw_afresh()
                    draw_apart(index)
                    part = Together(app, index, places, providers, tls=certificate is not None)
                    serve(part, server, lambda: _say(told), grace_s=grace_s, certificate=certificate, beside=own[index])
                    code = 0
                finally:
                    os._exit(code)
            children.append(child)
        os.close(told)
        _watch(children, heard, ready, until_stdin_closes=until_stdin_closes)


def _watch(children: Sequence[int], heard: int, ready: Callable[[], None], *, until_stdin_closes: bool) -> None:
    """Waits for the processes, and ends all of them when one ends or this one is asked to."""

    def stop(*_: object) -> None:
        for child in children:
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGTERM)

    before = signal.signal(signal.SIGTERM, stop)
    try:
        count = 0
        while count < len(children) and (said := os.read(heard, len(children))):
            count += len(said)
        if count == len(children):
            ready()
            if until_stdin_closes:
                when_stdin_closes(stop)
        status = 0
        with suppress(KeyboardInterrupt):
            _, status = os.wait()
        stop()
        for child in children:
            with suppress(ChildProcessError, KeyboardInterrupt):
                os.waitpid(child, 0)
        if status and os.waitstatus_to_exitcode(status) != -signal.SIGTERM:
            raise RuntimeError(f"a process of the mock ended with {os.waitstatus_to_exitcode(status)}")
    finally:
        signal.signal(signal.SIGTERM, before)


def _end_with_parent(alive: int) -> None:
    """Ends this process when its parent is gone, however that went."""
    os.read(alive, 1)
    os.kill(os.getpid(), signal.SIGTERM)


def _say(told: int) -> None:
    os.write(told, b".")


def _listening(path: Path) -> socket.socket:
    own = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    own.bind(str(path))
    own.listen(256)
    return own


def _key_headers(providers: Sequence[Provider]) -> tuple[str, ...]:
    """The headers that bring idempotency keys, in lower case: those of the profiles, and the usual one."""
    protocols = [provider.protocol(name) for provider in providers for name in provider.profile.operations]
    named = (one.idempotency_header.lower() for one in protocols if one is not None and one.idempotency_header is not None)
    return tuple(dict.fromkeys((*named, "idempotency-key")))


def _task_paths(providers: Sequence[Provider]) -> re.Pattern[str]:
    """The paths of operations that are about a task, some of which are called off with POST."""
    found = []
    for provider in providers:
        root = "" if len(providers) == 1 else f"/{provider.id}"
        for name, operation in provider.openapi.operations.items():
            if provider.operation_profile(name).kind == "task":
                pieces = (piece.partition("}") for piece in operation.path.split("{"))
                found.append(re.escape(root) + "[^/]+".join(re.escape(rest if brace else text) for text, brace, rest in pieces))
    return re.compile("|".join(found) or r"(?!)")


def _of_one(path: str, body: bytes) -> str | None:
    """What of a wanted change only one process could keep."""
    if path.endswith("/scenario"):
        return "a scenario"
    try:
        wanted = msgspec.json.decode(body or b"{}")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    named = wanted if isinstance(wanted, dict) else {}
    return next((name.replace("_", " ") for name in OF_ONE if named.get(name) is not None), None)


def _added(one: Any, other: Any) -> Any:
    """Counts added up, lists put together."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return {name: _added(one.get(name), other.get(name)) for name in (*one, *(name for name in other if name not in one))}
    if isinstance(one, list) and isinstance(other, list):
        return [*one, *other]
    if isinstance(one, int | float) and isinstance(other, int | float):
        return one + other
    return other if one is None else one


def _given(body: bytes) -> Receive:
    given = False

    async def receive() -> Message:
        nonlocal given
        if given:
            await asyncio.Event().wait()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receive


async def _pass_on(answer: httpx.Response, send: Send) -> None:
    headers = [(name.lower(), value) for name, value in answer.headers.raw if name.lower() not in (b"content-length", b"transfer-encoding")]
    content = answer.content
    length = (b"content-length", b"%d" % len(content))
    await send({"type": "http.response.start", "status": answer.status_code, "headers": [*headers, length]})
    await send({"type": "http.response.body", "body": content})
