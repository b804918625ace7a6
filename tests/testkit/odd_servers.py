"""Odd servers of asynchronous tasks and of pictures by address, as real ones were seen to be, behind one port.

Each lies below a path of its own, `/NAME/WHO`, and keeps for everybody who asks it (`WHO`) what it was asked. It speaks as OpenGPU Relay
does (a submission, polls of `/v2/tasks/t1`, pictures by address) or, for pictures that carry base64, as NanoGPT.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from PIL import Image

from testkit.pictures import encoded, in_base64, numbered
from testkit.servers import Request, Response

KEY = "sk-odd-0123456789"
INTERVAL_S = 0.002
#: The task's time where a server makes use of all of it, and where it does not.
SHORT_S, LONG_S = 0.5, 60.0

DROP = "drop"  # the connection ends without an answer
Said = Response | str
ONE, OTHER = numbered(1, 1024, 1024), numbered(2, 1024, 1024)
HEAVY = encoded(Image.effect_noise((1024, 1024), 60))  # a megabyte


def says(body: Any, status: int = 200, **headers: str) -> Response:
    return Response(body, status, {name.replace("_", "-"): value for name, value in headers.items()})


def state(word: str | None, **more: Any) -> Response:
    return says({"task_id": "t1", **({"status": word} if word is not None else {}), **more})


def to(place: str, status: int = 302) -> Response:
    return says(b"", status, location=place)


ACCEPTED = says({"task_id": "t1", "status": "queued"}, 202)
RUNNING = state("running")
PICTURE = says(ONE, content_type="image/png")
RESULT = {"urls": ["{base}/p.png"]}
COMPLETED = state("completed", result=RESULT)


@dataclass(frozen=True)
class Odd:
    """One server. `ends` is what everybody has to make of it; `polls` in order, the last repeats; `places`: what lies elsewhere.

    `live`: it is asked under a name that is not this machine's, through a proxy. `limit_s`: how long its task may take.
    """

    ends: str
    accepted: Response = ACCEPTED
    polls: tuple[Said, ...] = (COMPLETED,)
    places: Mapping[str, Said] = field(default_factory=lambda: {"/p.png": PICTURE})
    provider: str = "opengpu-relay"
    n: int = 1
    limit_s: float = LONG_S
    live: bool = False

    @property
    def asynchronous(self) -> bool | None:
        """Whether it is asked for a task."""
        return True if self.provider == "opengpu-relay" else None


DELIVERED, NO_PICTURE, NO_END, FAILED, MODERATED, NOT_FOLLOWED = (
    "delivered", "no picture", "no end in time", "failed", "refused for its content", "not followed",
)  # fmt: skip


def at_once(*items: Mapping[str, Any], places: Mapping[str, Said], ends: str = DELIVERED) -> Odd:
    """NanoGPT, answering at once with these items."""
    return Odd(ends, says({"created": 1, "data": list(items)}), (), places, "nanogpt", len(items))


HERE = {"b64_json": in_base64(ONE)}
ODD: dict[str, Odd] = {
    "plain": Odd(DELIVERED, polls=(state("queued"), RUNNING, COMPLETED)),
    "acceptance without a state": Odd(DELIVERED, says({"task_id": "t1"}, 202), (state("queued"), RUNNING, COMPLETED)),
    "accepted with 200": Odd(DELIVERED, says({"task_id": "t1", "status": "queued"}), (RUNNING, COMPLETED)),
    "accepted with 201": Odd(DELIVERED, says({"task_address": "t1"}, 201), (RUNNING, COMPLETED)),
    "over when accepted": Odd(DELIVERED, says({"task_id": "t1", "status": "completed", "result": RESULT}, 202), ()),
    "202 with the pictures": Odd(DELIVERED, says(RESULT, 202), ()),
    "Retry-After on a poll": Odd(DELIVERED, polls=(says({"task_id": "t1", "status": "running"}, retry_after="1"), COMPLETED)),
    "Retry-After on the acceptance": Odd(DELIVERED, says({"task_id": "t1"}, 202, retry_after="1")),
    "long, polls grow apart": Odd(DELIVERED, polls=(RUNNING,) * 40 + (COMPLETED,)),
    "404 right after the submission": Odd(DELIVERED, polls=(says({"detail": "no such task"}, 404),) * 3 + (COMPLETED,)),
    "404 for ever": Odd(NOT_FOLLOWED, polls=(says({"detail": "no such task"}, 404),)),
    "401 on polls": Odd(NOT_FOLLOWED, polls=(says({"detail": "who are you"}, 401),)),
    "5xx on polls": Odd(DELIVERED, polls=(says({}, 500), says("<html>", 502), says({}, 503, retry_after="0"), RUNNING, COMPLETED)),
    "5xx for ever": Odd(NO_END, polls=(says({}, 503),), limit_s=SHORT_S),
    "429 on polls": Odd(DELIVERED, polls=(says({}, 429), says({}, 429, retry_after="0"), RUNNING, COMPLETED)),
    "polls that break off": Odd(DELIVERED, polls=(DROP, RUNNING, DROP, COMPLETED)),
    "polls that are no JSON": Odd(DELIVERED, polls=(says("<html>"), RUNNING, says(b""), COMPLETED)),
    "polls without a state": Odd(DELIVERED, polls=(state(None), RUNNING, COMPLETED)),
    "polls that never tell anything": Odd(NOT_FOLLOWED, polls=(state(None),)),
    "undocumented words": Odd(DELIVERED, polls=(state("pending"), state("IN_PROGRESS", result=None), state("odd", result={}), COMPLETED)),
    "an undocumented end with a result": Odd(DELIVERED, polls=(RUNNING, state("succeeded", result=RESULT))),
    "an undocumented end with an error": Odd(FAILED, polls=(RUNNING, state("cancelled", error="stopped"))),
    "never ends": Odd(NO_END, polls=(RUNNING,), limit_s=SHORT_S),
    "fails": Odd(FAILED, polls=(RUNNING, state("failed", error="the worker was lost"))),
    "fails for its content": Odd(MODERATED, polls=(state("failed", error={"code": "content_policy_violation", "message": "no"}),)),
    "no reference": Odd(NOT_FOLLOWED, says({"status": "queued"}, 202), ()),
    "poll_url, relative": Odd(DELIVERED, says({"poll_url": "/v2/tasks/t1"}, 202), (RUNNING, COMPLETED)),
    "poll_url, absolute": Odd(DELIVERED, says({"poll_url": "{base}/v2/tasks/t1"}, 202), (RUNNING, COMPLETED)),
    "poll_url on the default port": Odd(
        DELIVERED, says({"poll_url": "{base:80}/keyed"}, 202), (), {"/keyed": COMPLETED, "/p.png": PICTURE}, live=True
    ),
    "poll_url on another host": Odd(
        DELIVERED, says({"poll_url": "{elsewhere}/open"}, 202), (), {"/open": COMPLETED, "/p.png": PICTURE}
    ),
    "poll_url off this machine": Odd(NOT_FOLLOWED, says({"poll_url": "http://192.0.2.1/t1"}, 202), ()),
    "polls redirected": Odd(DELIVERED, polls=(to("{base}/keyed"),), places={"/keyed": COMPLETED, "/p.png": PICTURE}),
    "polls redirected to another host": Odd(
        DELIVERED, polls=(to("{elsewhere}/open"),), places={"/open": COMPLETED, "/p.png": PICTURE}
    ),
    "polls redirected in a circle": Odd(NOT_FOLLOWED, polls=(to("{base}/v2/tasks/t1"),)),
    "the result at an address": Odd(
        DELIVERED, polls=(state("completed", result="{base}/keyed"),), places={"/keyed": says(RESULT), "/p.png": PICTURE}
    ),
    "the result behind a redirect": Odd(
        DELIVERED, polls=(RUNNING, to("{base}/keyed", 303)), places={"/keyed": says(RESULT), "/p.png": PICTURE}
    ),
    "a completed task without pictures": Odd(NO_PICTURE, polls=(state("completed", result={"urls": []}),)),
    "a completed task with a null result": Odd(NO_PICTURE, polls=(state("completed", result=None),)),
    "a result at a dead address": Odd(NOT_FOLLOWED, polls=(state("completed", result="{base}/gone"),)),
    "failed when accepted": Odd(FAILED, says({"task_id": "t1", "status": "failed", "error": "no worker"}, 202), ()),
    "poll_url with spaces around": Odd(DELIVERED, says({"poll_url": " {base}/v2/tasks/t1 "}, 202), (RUNNING, COMPLETED)),
    "an address with a space and an umlaut": at_once({"url": "{base}/a b-ä.png"}, places={"/a%20b-%C3%A4.png": PICTURE}),
    "addresses in a large answer": at_once(
        {"b64_json": in_base64(HEAVY)}, {"url": "{base}/p.png"}, places={"/p.png": PICTURE}
    ),
    "a redirected picture": Odd(DELIVERED, places={"/p.png": to("./b.png", 301), "/b.png": PICTURE}),
    "a picture redirected to another host": Odd(DELIVERED, places={"/p.png": to("{elsewhere}/q.png"), "/q.png": PICTURE}),
    "a picture redirected in a circle": Odd(NO_PICTURE, places={"/p.png": to("{base}/q.png"), "/q.png": to("{base}/p.png")}),
    "a picture redirected off this machine": Odd(NO_PICTURE, places={"/p.png": to("http://192.0.2.1/p.png")}),
    "a dead address": Odd(NO_PICTURE, places={"/p.png": says({"detail": "gone"}, 404)}),
    "an address that breaks off": Odd(NO_PICTURE, places={"/p.png": DROP}),
    "both base64 and a URL": at_once(
        {"url": "{base}/p.png"}, {**HERE, "url": "{base}/gone.png"}, places={"/p.png": says(OTHER, content_type="image/png")}
    ),
    "one address twice": at_once({"url": "{base}/p.png"}, {"url": "{base}/q.png"}, places={"/p.png": PICTURE, "/q.png": to("{base}/r.png"),
                                 "/r.png": says(OTHER, content_type="image/png")}),
    "a data URL": at_once({"url": f"data:image/png;base64,{HERE['b64_json']}"}, places={}),
    "an address that is none": at_once({"url": "/files/p.png"}, places={}, ends=NO_PICTURE),
}  # fmt: skip


@dataclass
class Asked:
    """What one server was asked by one of those who ask: method and path (below its own), whether the key came along, and when."""

    lines: list[tuple[str, bool]] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    polls: int = 0


class OddServers:
    """Answers for all of them; `asked` by (name, who)."""

    def __init__(self) -> None:
        self.asked: dict[tuple[str, str], Asked] = {}
        self.port = 0
        self._names = {slug(name): name for name in ODD}

    def base_url(self, name: str, who: str) -> str:
        """Where a server lies for one of those who ask."""
        host = "odd.example" if ODD[name].live else f"127.0.0.1:{self.port}"
        return f"http://{host}/{slug(name)}/{who}"

    def __call__(self, request: Request) -> Response:
        origin, _, path = request.path.partition("://")[2].partition("/") if "://" in request.path else ("", "", request.path[1:])
        name, who, place = path.split("/", 2)
        name = self._names[name]
        odd, asked = ODD[name], self.asked.setdefault((name, who), Asked())
        keyed = any(KEY in value for value in request.headers.values())
        asked.lines.append((f"{request.method} /{place}", keyed))
        asked.times.append(request.at_s)
        said: Said
        if request.method == "POST":
            said = odd.accepted
        elif f"/{place}" == "/v2/tasks/t1":
            said = odd.polls[min(asked.polls, len(odd.polls) - 1)]
            asked.polls += 1
        else:
            said = odd.places.get(f"/{place}", says({"detail": "not here"}, 404))
            if place == "keyed" and not keyed:
                said = says({"detail": "where is the key?"}, 401)
        if isinstance(said, str):
            raise ConnectionAbortedError(said)
        return self._filled(said, self.base_url(name, who), origin)

    def _filled(self, said: Response, base_url: str, origin: str) -> Response:
        """The response with the addresses put in that only a running server knows."""
        places: dict[str, str] = {
            "{base:80}": base_url.replace("odd.example", "odd.example:80"),
            "{elsewhere}": base_url.replace("127.0.0.1", "localhost"),
            "{base}": base_url,
        }

        def fill(text: str) -> str:
            for mark, place in places.items():
                text = text.replace(mark, place)
            return text

        body = said.body if isinstance(said.body, bytes | str) else json.loads(fill(json.dumps(said.body)))
        return Response(body, said.status, {name: fill(value) for name, value in said.headers.items()})


def slug(name: str) -> str:
    """The name as a path segment."""
    return "-".join("".join(letter if letter.isalnum() else " " for letter in name).split())
