"""Both clients over real sockets, against a server that answers exactly what a test scripts: one suite, two drivers."""

from __future__ import annotations

import base64
import json
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import anyio
import pytest

from testcard.harness.client import (
    AsyncClient,
    AuthenticationFailed,
    Client,
    ClientError,
    ConnectionFailed,
    ContractBroken,
    ContractViolation,
    PaymentRequired,
    RateLimited,
    RequestRefused,
    Result,
    ServerFailed,
    TaskFailed,
    TimedOut,
)
from testcard.harness.errors import KeyRefused, TargetUnreachable, UsageError
from testkit.pictures import in_base64, plain
from testkit.servers import free_port, read_request, reset, talking

PNG = plain(16, 8)
B64 = in_base64(PNG)
RESET = object()


@dataclass
class Seen:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Scripted:
    """Answers the n-th request with the n-th script: bytes are sent, numbers are slept, RESET breaks the connection."""

    base_url: str = ""
    scripts: list[list[Any]] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)

    def then(self, *steps: Any) -> None:
        self.scripts.append(list(steps))

    def then_json(self, body: Any, status: int = 200, **headers: str) -> None:
        data = json.dumps(body).encode()
        head = {"content-type": "application/json", "content-length": str(len(data)), "connection": "close"}
        head |= {name.replace("_", "-"): value for name, value in headers.items()}
        self.then(http_head(status, head) + data)

    def then_picture(self, data: bytes = PNG) -> None:
        self.then(http_head(200, {"content-type": "image/png", "content-length": str(len(data)), "connection": "close"}) + data)


def http_head(status: int, headers: dict[str, str]) -> bytes:
    return "\r\n".join([f"HTTP/1.1 {status} Whatever", *(f"{name}: {value}" for name, value in headers.items()), "", ""]).encode()


@pytest.fixture
def server() -> Iterator[Scripted]:
    scripted = Scripted()

    def talk(connection: socket.socket) -> None:
        read = read_request(connection)
        if read is None:
            return
        first, *lines = read[0].decode().split("\r\n")
        method, path, _ = first.split(" ", 2)
        headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        scripted.seen.append(Seen(method, path, headers, read[1]))
        for step in scripted.scripts.pop(0):
            if step is RESET:
                reset(connection)
                return
            if isinstance(step, bytes):
                connection.sendall(step)
            else:
                time.sleep(step)

    with talking(talk) as running:
        scripted.base_url = running.url
        yield scripted


class Driver:
    """Calls a client's method by name, synchronously or through asyncio, and gives back what it gave."""

    def __init__(self, kind: str, server: Scripted) -> None:
        self.kind = kind
        self.server = server

    def __call__(self, provider: str, method: str, *arguments: Any, settings: dict[str, Any] | None = None, **terms: Any) -> Result:
        options: dict[str, Any] = {"base_url": self.server.base_url, "api_key": "sk-test", "timeout_s": 60, **(settings or {})}
        if self.kind == "sync":
            with Client(provider, **options) as client:
                return getattr(client, method)(*arguments, **terms)  # type: ignore[no-any-return]

        async def go() -> Result:
            async with AsyncClient(provider, **options) as client:
                return await getattr(client, method)(*arguments, **terms)  # type: ignore[no-any-return]

        return anyio.run(go)

    def stream(self, *arguments: Any, settings: dict[str, Any] | None = None, **terms: Any) -> tuple[list[tuple[float, str]], Result]:
        """Each piece of a described picture with when it was there, and the result."""
        options: dict[str, Any] = {"base_url": self.server.base_url, "api_key": "sk-test", "timeout_s": 60, **(settings or {})}
        pieces: list[tuple[float, str]] = []
        if self.kind == "sync":
            with Client("nvidia-nim-vision", **options) as client, client.describe(*arguments, stream=True, **terms) as stream:
                for piece in stream:
                    pieces.append((time.monotonic(), piece))
                return pieces, stream.finish()

        async def go() -> Result:
            async with (
                AsyncClient("nvidia-nim-vision", **options) as client,
                await client.describe(*arguments, stream=True, **terms) as stream,
            ):
                async for piece in stream:
                    pieces.append((time.monotonic(), piece))
                return await stream.finish()

        return pieces, anyio.run(go)


@pytest.fixture(params=["sync", "async"])
def call(request: pytest.FixtureRequest, server: Scripted) -> Driver:
    return Driver(request.param, server)


def test_pictures_come_with_what_is_known_about_them(call: Driver, server: Scripted) -> None:
    """Bytes, format, size, cost and timings; the key in the header; one request."""
    server.then_json({"data": [{"b64_json": B64}, {"b64_json": B64}], "cost": 0.02})
    result = call("nanogpt", "generate", "a red boat", size=(512, 512), n=2, seed=7)
    assert [(p.data, p.format, p.width, p.height, p.index) for p in result.pictures] == [(PNG, "png", 16, 8, 0), (PNG, "png", 16, 8, 1)]
    assert (result.cost_usd, result.price_origin, result.model, result.operation) == (0.02, "answer", "hidream", "createImage")
    assert 0 < result.timings.first_byte_s <= result.timings.total_s
    (seen,) = server.seen
    assert seen.headers["authorization"] == "Bearer sk-test"
    assert json.loads(seen.body) == {"model": "hidream", "prompt": "a red boat", "n": 2, "size": "512x512", "seed": 7}


def test_addresses_are_fetched_without_the_key(call: Driver, server: Scripted) -> None:
    """A URL result is downloaded, timed apart, and the key stays away from it, also over a redirect."""
    server.then_json({"data": [{"url": f"{server.base_url}/one.png"}]})
    server.then(http_head(302, {"location": "/two.png", "content-length": "0", "connection": "close"}))
    server.then_picture()
    result = call("nanogpt", "generate", "x", delivery="url")
    assert result.pictures[0].data == PNG
    assert result.pictures[0].url == f"{server.base_url}/one.png"
    assert result.timings.download_s is not None
    assert [seen.path for seen in server.seen] == ["/v1/images/generations", "/one.png", "/two.png"]
    assert all("authorization" not in seen.headers for seen in server.seen[1:])


@pytest.mark.parametrize(
    ("status", "kind", "exit_code"),
    [
        (400, RequestRefused, 1),
        (401, AuthenticationFailed, 3),
        (403, KeyRefused, 3),
        (402, PaymentRequired, 5),
        (404, RequestRefused, 1),
        (429, RateLimited, 5),
        (500, ServerFailed, 1),
        (503, ServerFailed, 1),
        (307, ContractBroken, 1),
    ],
)
def test_a_status_becomes_its_error_after_one_request(
    call: Driver, server: Scripted, status: int, kind: type[Exception], exit_code: int
) -> None:
    """Each failing status has its type and exit code, carries the target's message, and nothing is sent twice."""
    server.then_json({"error": status, "message": "because"}, status=status, location="http://127.0.0.1:1/")
    with pytest.raises(kind) as caught:
        call("nanogpt", "generate", "x")
    error = caught.value
    assert isinstance(error, ClientError)
    assert error.exit_code == exit_code
    assert str(status) in error.message
    assert status < 400 or "because" in error.message
    assert error.hint
    assert len(server.seen) == 1


def test_a_key_that_the_target_repeats_is_not_passed_on(call: Driver, server: Scripted) -> None:
    """Servers that quote the key in their refusal do not get it into a log by way of the error message."""
    server.then_json({"message": "Incorrect API key provided: sk-test"}, status=401)
    with pytest.raises(AuthenticationFailed) as caught:
        call("nanogpt", "generate", "x")
    assert "sk-test" not in str(caught.value)
    assert "$TESTCARD_API_KEY" in str(caught.value)


@pytest.mark.parametrize(
    ("header", "low", "high"),
    [
        ({"retry_after": "7"}, 7, 7),
        ({}, None, None),
        ({"retry_after": "Fri, 20 Nov 2026 10:00:30 GMT", "date": "Fri, 20 Nov 2026 10:00:00 GMT"}, 30, 30),
    ],
)
def test_a_429_says_how_long_to_wait(call: Driver, server: Scripted, header: dict[str, str], low: float | None, high: float | None) -> None:
    """Retry-After as seconds or as a date; None where there is none."""
    server.then_json({"message": "slow down"}, status=429, **header)
    with pytest.raises(RateLimited) as caught:
        call("nanogpt", "generate", "x")
    if low is None or high is None:
        assert caught.value.retry_after_s is None
    else:
        assert low <= (caught.value.retry_after_s or 0) <= high


def test_a_date_to_retry_after_counts_from_now_where_the_answer_has_no_date(call: Driver, server: Scripted) -> None:
    """The client's own clock stands in for a missing Date header."""
    from email.utils import formatdate

    server.then_json({"message": "slow down"}, status=429, retry_after=formatdate(time.time() + 60, usegmt=True))
    with pytest.raises(RateLimited) as caught:
        call("nanogpt", "generate", "x")
    assert 50 <= (caught.value.retry_after_s or 0) <= 61


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"data": []}, "no pictures"),
        ({}, "no pictures"),
        ({"data": [{}]}, "neither url nor base64"),
        ({"data": [{"b64_json": "%%%"}]}, "no base64"),
        ({"data": [{"b64_json": base64.b64encode(PNG[:-20]).decode()}]}, "does not decode"),
        ({"data": [{"b64_json": base64.b64encode(b"<svg/>").decode()}]}, "does not decode"),
        ({"data": [{"url": "data:image/png;base64,AAAA"}]}, "does not decode"),
        ({"data": [{"url": "file:///etc/passwd"}]}, "no absolute http(s) URL"),
        (["data"], "no JSON object"),
    ],
)
def test_a_success_that_is_none_breaks_the_contract(call: Driver, server: Scripted, body: Any, says: str) -> None:
    """A 200 without a usable picture is an error that says what is wrong and keeps the answer."""
    server.then_json(body)
    with pytest.raises(ContractBroken) as caught:
        call("nanogpt", "generate", "x")
    assert says in caught.value.message
    assert caught.value.answer is not None
    assert len(server.seen) == 1


def test_a_picture_that_comes_both_ways_is_taken_as_base64(call: Driver, server: Scripted) -> None:
    """What was paid for is in hand: nothing is downloaded, and the caller is told."""
    server.then_json({"data": [{"b64_json": B64, "url": f"{server.base_url}/x"}]})
    result = call("nanogpt", "generate", "x")
    assert result.pictures[0].data == PNG
    assert result.notes == ("picture 1 came both as base64 and by URL; the base64 was taken",)
    assert len(server.seen) == 1


def test_an_address_that_leads_in_circles_breaks_the_contract(call: Driver, server: Scripted) -> None:
    """Redirects are followed a few times, not for ever."""
    server.then_json({"data": [{"url": f"{server.base_url}/a.png"}]})
    for _ in range(10):
        server.then(http_head(302, {"location": "/a.png", "content-length": "0", "connection": "close"}))
    with pytest.raises(ContractBroken, match="again and again"):
        call("nanogpt", "generate", "x")
    assert len(server.seen) < 10


def test_a_chat_answer_without_text_breaks_the_contract(call: Driver, server: Scripted) -> None:
    """No choice, no text."""
    server.then_json({"choices": []})
    with pytest.raises(ContractBroken, match="no text"):
        call("nvidia-nim-vision", "describe", PNG)


@pytest.mark.parametrize(
    ("steps", "says"),
    [
        ([RESET], "no answer"),
        ([http_head(200, {"content-length": "100"}) + b"x"], "was cut off"),
        ([http_head(200, {"content-length": "300000"}) + b"x" * 300_000], "longer than 100,000 bytes"),
    ],
    ids=["reset", "cut", "large"],
)
def test_a_picture_that_does_not_come_is_its_address_s_fault(call: Driver, server: Scripted, steps: list[Any], says: str) -> None:
    """The error names the picture and the host of its address, not the API."""
    server.then_json({"data": [{"url": server.base_url.replace("127.0.0.1", "localhost") + "/a.png"}]})
    server.then(*steps)
    with pytest.raises(ContractBroken, match=r"picture 1: its address \(localhost:") as caught:
        call("nanogpt", "generate", "x", settings={"max_bytes": 100_000})
    assert says in caught.value.message
    assert caught.value.answer is not None


def test_several_pictures_come_together(call: Driver, server: Scripted) -> None:
    """Each at its place, whatever order they arrive in; one address is fetched once."""
    places = [f"{server.base_url}/{name}.png" for name in "abab"]
    server.then_json({"data": [{"url": place} for place in places]})
    server.then_picture()
    server.then_picture()
    result = call("nanogpt", "generate", "x", n=4, delivery="url")
    assert [(picture.index, picture.url) for picture in result.pictures] == list(enumerate(places))
    assert sorted(seen.path for seen in server.seen[1:]) == ["/a.png", "/b.png"]


def test_a_dead_address_breaks_the_contract(call: Driver, server: Scripted) -> None:
    """An address that answers 404 is no picture."""
    server.then_json({"data": [{"url": f"{server.base_url}/gone.png"}]})
    server.then_json({"no": "picture"}, status=404)
    with pytest.raises(ContractBroken, match="its address answers 404"):
        call("nanogpt", "generate", "x")


@pytest.mark.parametrize(
    ("steps", "kind"),
    [
        ([http_head(200, {"content-type": "application/json", "content-length": "100"}) + b'{"data"'], ContractBroken),
        ([http_head(200, {"content-type": "application/json", "transfer-encoding": "chunked"}) + b"5\r\n{}   \r\n"], ContractBroken),
        ([http_head(200, {"content-type": "application/json", "content-length": "100"}) + b"{", 0.05, RESET], ContractBroken),
        ([http_head(200, {"content-type": "application/json", "content-encoding": "gzip", "content-length": "2"}) + b"{}"], ContractBroken),
        ([http_head(200, {"content-type": "text/html", "content-length": "4"}) + b"<ok>"], ContractBroken),
        ([RESET], ConnectionFailed),
        ([b"not http at all\r\n\r\n"], ConnectionFailed),
        ([], ConnectionFailed),
    ],
    ids=["short-length", "unfinished-chunks", "reset-in-body", "false-gzip", "html", "reset", "not-http", "closed"],
)
def test_a_broken_answer_is_told_from_none(call: Driver, server: Scripted, steps: list[Any], kind: type[Exception]) -> None:
    """Cut bodies and nonsense break the contract; connections that break before an answer are connection failures."""
    server.then(*steps)
    with pytest.raises(kind):
        call("nanogpt", "generate", "x")
    assert len(server.seen) == 1


def test_nothing_listening_is_a_connection_failure(call: Driver) -> None:
    """A dead port is a TargetUnreachable with exit code 3 and a next step."""
    with pytest.raises(TargetUnreachable) as caught:
        call("nanogpt", "generate", "x", settings={"base_url": f"http://127.0.0.1:{free_port()}"})
    assert caught.value.exit_code == 3
    assert caught.value.hint


@pytest.mark.parametrize("steps", [[60.0], [http_head(200, {"content-length": "9999"}), *([b" ", 0.05] * 1000)]], ids=["silence", "drip"])
def test_the_time_limit_holds(call: Driver, server: Scripted, steps: list[Any]) -> None:
    """A silent server and one that drips are given up after the limit, not after its multiple."""
    server.then(*steps)
    started = time.monotonic()
    with pytest.raises(TimedOut):
        call("nanogpt", "generate", "x", settings={"timeout_s": 0.3})
    assert 0.25 < time.monotonic() - started < 30
    assert len(server.seen) == 1


def test_an_answer_above_the_bound_is_given_up(call: Driver, server: Scripted) -> None:
    """A server cannot fill the memory."""
    server.then(http_head(200, {"content-length": "300000", "content-type": "application/json"}) + b" " * 300_000)
    with pytest.raises(ContractBroken, match="longer than 100,000 bytes"):
        call("nanogpt", "generate", "x", settings={"max_bytes": 100_000})


def test_a_task_is_polled_to_its_end(call: Driver, server: Scripted) -> None:
    """202, then polls that survive a 503, then the result in the sync body's shape, downloaded."""
    server.then_json({"task_address": "0xab", "status": "queued"}, status=202)
    server.then_json({"status": "queued"})
    server.then_json({"detail": "busy"}, status=503)
    server.then_json({"status": "running"})
    server.then_json({"status": "completed", "result": {"urls": [f"{server.base_url}/p.png"]}})
    server.then_picture()
    result = call("opengpu-relay", "generate", "x", operation="generateQwen", asynchronous=True, settings={"poll_interval_s": 0.01})
    assert result.pictures[0].data == PNG
    assert result.timings.queue_s is not None
    assert result.timings.queue_s >= 0.03
    assert [seen.method for seen in server.seen] == ["POST", "GET", "GET", "GET", "GET", "GET"]
    assert server.seen[1].path == "/v2/tasks/0xab"
    assert json.loads(server.seen[0].body)["async"] is True


def test_a_failed_task_says_why(call: Driver, server: Scripted) -> None:
    """The task's own error ends up in the message."""
    server.then_json({"task_id": "t"}, status=202)
    server.then_json({"status": "failed", "error": {"message": "out of memory"}})
    with pytest.raises(TaskFailed, match="out of memory"):
        call("opengpu-relay", "generate", "x", asynchronous=True, settings={"poll_interval_s": 0.01})


def test_a_task_refused_for_its_content_says_so(call: Driver, server: Scripted) -> None:
    """Moderation is told apart from a server that failed."""
    server.then_json({"task_id": "t"}, status=202)
    server.then_json({"status": "failed", "error": {"code": "content_policy_violation", "message": "not that, sk-test"}})
    with pytest.raises(TaskFailed, match=r"refused for its content: not that, \$TESTCARD_API_KEY") as caught:
        call("opengpu-relay", "generate", "x", asynchronous=True)
    assert caught.value.moderated


@pytest.mark.parametrize(
    ("status", "kind", "says"),
    [(401, AuthenticationFailed, "401: because"), (400, TaskFailed, "answers 400: because"), (204, TaskFailed, "204")],
)
def test_a_task_that_cannot_be_followed_says_why(call: Driver, server: Scripted, status: int, kind: type[Exception], says: str) -> None:
    """A refused poll ends the waiting with the status's own error; one that tells nothing does after a few."""
    server.then_json({"task_id": "t"}, status=202)
    for _ in range(9):
        server.then_json({"detail": "because"}, status=status)
    with pytest.raises(kind, match="could not be followed") as caught:
        call("opengpu-relay", "generate", "x", asynchronous=True, settings={"poll_interval_s": 0.001})
    assert says in str(caught.value)


def test_a_task_without_an_end_is_given_up(call: Driver, server: Scripted) -> None:
    """The poll time limit holds, whatever words the states are."""
    server.then_json({"task_id": "t"}, status=202)
    for _ in range(40):
        server.then_json({"status": "pondering"})
    with pytest.raises(TaskFailed, match="no end within"):
        call("opengpu-relay", "generate", "x", asynchronous=True, settings={"poll_interval_s": 0.02, "poll_timeout_s": 0.2})
    assert len(server.seen) < 15


def test_a_task_without_a_reference_breaks_the_contract(call: Driver, server: Scripted) -> None:
    """There is nothing to poll."""
    server.then_json({"status": "queued"}, status=202)
    with pytest.raises(ContractBroken, match="without a reference"):
        call("opengpu-relay", "generate", "x", asynchronous=True)


EVENTS = {"content-type": "text/event-stream", "connection": "close"}


def _event(piece: str | None, finish: str | None = None) -> bytes:
    delta = {} if piece is None else {"content": piece}
    return f"data: {json.dumps({'id': 'c', 'choices': [{'delta': delta, 'finish_reason': finish}]})}\n\n".encode()


def test_a_stream_arrives_piece_by_piece(call: Driver, server: Scripted) -> None:
    """Each piece is handed over when it comes, not when all is there; the result holds the whole."""
    server.then(http_head(200, EVENTS), _event("a "), 0.15, _event("red "), 0.15, _event("boat"), _event(None, "stop"), b"data: [DONE]\n\n")
    pieces, result = call.stream(PNG, "what?")
    assert [piece for _, piece in pieces] == ["a ", "red ", "boat"]
    # 0.3 s lie between them at the server; were they held back, they would come together.
    assert pieces[2][0] - pieces[0][0] > 0.1
    assert (result.text, result.finish_reason) == ("a red boat", "stop")
    assert result.timings.first_token_s is not None
    assert result.timings.first_token_s < result.timings.total_s - 0.1
    assert server.seen[0].headers["accept"] == "text/event-stream"


def test_a_stream_that_is_cut_breaks_the_contract(call: Driver, server: Scripted) -> None:
    """A stream without [DONE] is not passed off as whole."""
    server.then(http_head(200, EVENTS), _event("a "))
    with pytest.raises(ContractBroken, match=r"\[DONE\]"):
        call.stream(PNG, "what?")


def test_a_stream_is_bounded_too(call: Driver, server: Scripted) -> None:
    """A stream that never ends does not fill the memory."""
    server.then(http_head(200, EVENTS), *[_event("a") * 50] * 50)
    with pytest.raises(ContractBroken, match="longer than 5,000 bytes"):
        call.stream(PNG, "what?", settings={"max_bytes": 5000})


def test_a_stream_can_be_left(call: Driver, server: Scripted) -> None:
    """Who has heard enough closes it: the connection ends, and nothing is left behind."""
    server.then(http_head(200, EVENTS), _event("a "), _event("red "), 0.05, *[_event("boat")] * 50)

    async def go() -> None:
        async with AsyncClient("nvidia-nim-vision", base_url=server.base_url, api_key="k") as client:
            stream = await client.describe(PNG, "what?", stream=True)
            assert await anext(stream) == "a "
            await stream.close()
            assert [piece async for piece in stream] == []

    if call.kind == "sync":
        with Client("nvidia-nim-vision", base_url=server.base_url, api_key="k") as client:
            stream = client.describe(PNG, "what?", stream=True)
            assert next(stream) == "a "
            stream.close()
            assert list(stream) == []
    else:
        anyio.run(go)


def test_json_for_a_stream_breaks_the_contract(call: Driver, server: Scripted) -> None:
    """The media type is named."""
    server.then_json({"choices": [{"message": {"content": "a boat"}}]})
    with pytest.raises(ContractBroken, match="application/json"):
        call.stream(PNG, "what?")


def test_a_refused_stream_has_its_own_error(call: Driver, server: Scripted) -> None:
    """A status counts before the media type."""
    server.then_json({"detail": "no credit"}, status=402)
    with pytest.raises(PaymentRequired, match="no credit"):
        call.stream(PNG, "what?")


def test_a_text_without_stream(call: Driver, server: Scripted) -> None:
    """describe without stream returns the text, its finish reason and usage."""
    usage = {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11}
    server.then_json({"choices": [{"message": {"content": "a boat"}, "finish_reason": "stop"}], "usage": usage})
    result = call("nvidia-nim-vision", "describe", PNG)
    assert (result.text, result.finish_reason) == ("a boat", "stop")
    assert result.usage is not None
    assert result.usage.total_tokens == 11


def test_what_the_contract_forbids_is_not_sent(call: Driver, server: Scripted) -> None:
    """No byte reaches the target."""
    with pytest.raises(ContractViolation):
        call("nanogpt", "generate", "x", size=(513, 512))
    with pytest.raises(UsageError, match="no term colour"):
        call("nanogpt", "generate", "x", colour="red")
    assert server.seen == []


def test_edit_and_variation_send_files(call: Driver, server: Scripted, tmp_path: Any) -> None:
    """Pictures from bytes and from files, several in one request."""
    path = tmp_path / "in.png"
    path.write_bytes(PNG)
    for _ in range(2):
        server.then_json({"data": [{"b64_json": B64, "url": None}]})
    call("nebul", "edit", [PNG, path], "a hat", mask=str(path))
    call("nebul", "variation", path)
    assert server.seen[0].body.count(b'name="image"; filename=') == 2
    assert server.seen[0].body.count(PNG) == 3
    assert server.seen[1].path == "/v1/images/variations"


def test_fewer_pictures_than_asked_are_kept_and_noted(call: Driver, server: Scripted) -> None:
    """What was paid for is not thrown away."""
    server.then_json({"data": [{"b64_json": B64}]})
    result = call("nanogpt", "generate", "x", n=4)
    assert len(result.pictures) == 1
    assert result.notes == ("4 pictures were asked for and 1 came",)


def test_the_key_comes_from_the_environment(server: Scripted, monkeypatch: pytest.MonkeyPatch) -> None:
    """TESTCARD_API_KEY, else the profile's variable, else an error that names them off this machine."""
    monkeypatch.delenv("TESTCARD_API_KEY", raising=False)
    monkeypatch.delenv("NANOGPT_API_KEY", raising=False)
    with pytest.raises(UsageError) as caught:
        Client("nanogpt", live=True)
    assert "NANOGPT_API_KEY" in str(caught.value.hint)
    monkeypatch.setenv("NANOGPT_API_KEY", "sk-profile")
    with Client("nanogpt", base_url=server.base_url) as client:
        assert client.settings.api_key == "sk-profile"
    monkeypatch.setenv("TESTCARD_API_KEY", "sk-testcard")
    with Client("nanogpt", live=True) as client:
        assert (client.settings.api_key, client.settings.base_url) == ("sk-testcard", "https://nano-gpt.com")


def test_no_cookie_is_kept(server: Scripted) -> None:
    """A request does not depend on the answers before it."""
    for _ in range(2):
        server.then_json({"data": [{"b64_json": B64}]}, set_cookie="session=1; Path=/")
    with Client("nanogpt", base_url=server.base_url) as client:
        client.generate("x")
        client.generate("x")
    assert "cookie" not in server.seen[1].headers


def test_a_picture_saves_itself(call: Driver, server: Scripted, tmp_path: Any) -> None:
    """The bytes as they came, and the pixels on demand."""
    server.then_json({"data": [{"b64_json": B64}]})
    picture = call("nanogpt", "generate", "x").pictures[0]
    assert picture.save(tmp_path / "boat.png").read_bytes() == PNG
    assert picture.image().size == (16, 8)
