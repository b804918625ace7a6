"""Each rule, on exchanges made by hand: one run that keeps the promise, one that breaks it, one that proves nothing."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Sequence
from typing import Any

import pytest
from PIL import Image

from testcard.harness.rules.evidence import Seen, see
from testcard.harness.rules.registry import RULES
from testcard.harness.rules.scope import Scope
from testcard.harness.runs.records import Body, Case, Exchange, SeenResponse, SentRequest
from testcard.specs.loader import load_provider

NANOGPT = Scope(load_provider("nanogpt"), "createImage")
NEBUL = Scope(load_provider("nebul"), "createImage")
NIM = Scope(load_provider("nvidia-nim-image"), "generateImage")
QWEN = Scope(load_provider("opengpu-relay"), "generateQwen")
TASK = Scope(load_provider("opengpu-relay"), "getTask")


def picture(width: int = 256, height: int = 256, kind: str = "PNG", shade: int = 1) -> bytes:
    """A real picture of this size and format."""
    buffer = io.BytesIO()
    Image.linear_gradient("L").resize((width, height)).point(lambda value: (value * shade) % 256).save(buffer, kind)
    return buffer.getvalue()


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


class Bodies:
    """Bodies of any length, kept inline for the test."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}

    def body(self, content: bytes) -> Body:
        name = str(len(self.kept))
        self.kept[name] = content
        return Body(size=len(content), sha256=name)

    def bytes_of(self, body: Body) -> bytes:
        return self.kept[body.sha256 or ""]


class Run:
    """A recorded run, built exchange by exchange."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self.bodies = Bodies()
        self.records: list[Exchange] = []

    def add(
        self,
        status: int | None = 200,
        answer: Any = None,
        *,
        probe: str = "generate/base",
        expects: str = "accept",
        base: str | None = None,
        asked: dict[str, Any] | None = None,
        change: str = "",
        level: str = "must",
        rules: Sequence[str] = (),
        request: bytes = b"{}",
        headers: Sequence[tuple[str, str]] = (("content-type", "application/json"),),
        source: str = "probe",
        parent: str | None = None,
        failure: str | None = None,
        took_s: float = 1.0,
        operation: str | None = None,
    ) -> Run:
        content = answer if isinstance(answer, bytes) else json.dumps(answer if answer is not None else {}).encode()
        response = None if status is None else SeenResponse(status=status, headers=list(headers), body=self.bodies.body(content))
        own = source in ("probe", "schema-case")
        number = len(self.records)
        self.records.append(
            Exchange(
                id=f"e{number}",
                operation=operation or self.scope.operation_id,
                probe=probe,
                source=source,  # type: ignore[arg-type]
                parent=parent,
                asked=asked or ({"task": "generate"} if own else {}),
                case=Case(expects=expects, base=base, change=change, level=level, rules=list(rules)) if own else None,  # type: ignore[arg-type]
                request=SentRequest(method="POST", url="http://t/", headers=[], body=Body(size=len(request), text=request.decode())),
                response=response,
                failure=failure,  # type: ignore[arg-type]
                sent_s=0.0,
                done_s=took_s,
            )
        )
        return self

    @property
    def seen(self) -> list[Seen]:
        return see(self.scope.provider, self.records, self.bodies.bytes_of)

    def words(self, rule: str) -> set[str]:
        """The words of the rule's observations."""
        here = [one for one in self.seen if one.exchange.operation == self.scope.operation_id]
        return {observation.word for observation in RULES[rule].judge(self.scope, here)}


def nano(*pictures: bytes, **more: Any) -> dict[str, Any]:
    return {"created": 1, "data": [{"b64_json": b64(data)} for data in pictures], "cost": 0.01, **more}


def test_status_documented() -> None:
    """A documented status and one that HTTP implies pass, 418 and 203 break it, silence proves nothing, 5xx is another rule's."""
    rule = "http.status-documented"
    assert Run(NANOGPT).add(200, nano()).add(401, expects="unauthorised").add(422, expects="refuse").words(rule) == {"pass"}
    assert Run(NANOGPT).add(203, nano()).words(rule) == {"broken"}
    assert Run(NANOGPT).add(418, expects="refuse").words(rule) == {"broken"}
    assert Run(NANOGPT).add(302).words(rule) == {"broken"}
    assert Run(NANOGPT).add(500).add(None, failure="timeout").words(rule) == set()


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 415, 422, 429])
def test_a_strict_server_has_no_undocumented_status(status: int) -> None:
    """Every status that HTTP gives for a refusal is taken, documented or not."""
    assert Run(QWEN).add(status, expects="refuse").words("http.status-documented") == {"pass"}


def test_no_server_error() -> None:
    """A 5xx or a broken connection breaks it; a timeout proves nothing; Relay's 504 after five minutes is announced."""
    rule = "http.no-server-error"
    assert Run(NANOGPT).add(200, nano()).add(400).words(rule) == {"pass"}
    assert Run(NANOGPT).add(503).words(rule) == {"broken"}
    assert Run(NANOGPT).add(None, failure="broken").words(rule) == {"broken"}
    assert Run(NANOGPT).add(None, failure="timeout").words(rule) == {"unproven"}
    assert Run(QWEN).add(504, took_s=300.5).words(rule) == {"pass"}
    assert Run(QWEN).add(504, took_s=20).words(rule) == {"broken"}


def test_response_schema() -> None:
    """The documented body passes, a wrong type breaks it, an undocumented status is not judged, null for an optional field is noted."""
    rule = "schema.response"
    assert Run(NANOGPT).add(200, nano(picture())).words(rule) == {"pass"}
    assert Run(NANOGPT).add(200, {**nano(), "cost": "much"}).words(rule) == {"broken"}
    assert Run(NANOGPT).add(200, b"no JSON").words(rule) == {"broken"}
    assert Run(NANOGPT).add(401, {"detail": "no"}).words(rule) == set()
    assert Run(NANOGPT).add(200, {**nano(), "paymentSource": None}).words(rule) == {"note"}
    assert Run(NANOGPT).add(200, {**nano(), "more": "than documented"}).words(rule) == {"pass"}


def test_count() -> None:
    """n pictures for n, one for no n, none is never right; an answer that was refused proves nothing."""
    rule = "image.count"
    two = {"task": "generate", "n": 2}
    assert Run(NANOGPT).add(200, nano(picture(), picture()), asked=two).add(200, nano(picture())).words(rule) == {"pass"}
    assert Run(NANOGPT).add(200, nano(picture()), asked=two).words(rule) == {"broken"}
    assert Run(NANOGPT).add(200, nano()).words(rule) == {"broken"}
    assert Run(NANOGPT).add(400, expects="may-refuse", asked=two).words(rule) == set()
    assert Run(NANOGPT).add(200, nano(picture(), picture()), expects="refuse").words(rule) == set()
    assert Run(NIM).add(200, {"artifacts": [{"base64": b64(picture())}] * 2}).words(rule) == {"broken"}


def test_decodes() -> None:
    """A whole picture passes, a truncated one and text break it; a URL not fetched, a dead one and a page at one prove nothing here."""
    rule = "image.decodes"
    assert Run(NANOGPT).add(200, nano(picture())).words(rule) == {"pass"}
    assert Run(NANOGPT).add(200, nano(picture()[:-40])).words(rule) == {"broken"}
    assert Run(NANOGPT).add(200, nano(b"<html>upstream error</html>")).words(rule) == {"broken"}
    assert Run(NANOGPT).add(200, {"data": [{"b64_json": "***"}]}).words(rule) == {"broken"}
    url = "http://t/p.png"
    answer = {"data": [{"url": url}]}
    assert Run(NANOGPT).add(200, answer).words(rule) == {"unproven"}
    fetched = Run(NANOGPT).add(200, answer).add(200, picture(), source="fetch", parent="e0")
    fetched.records[1] = _asking(fetched.records[1], url)
    assert fetched.words(rule) == {"pass"}
    dead = Run(NANOGPT).add(200, answer).add(404, b"gone", source="fetch", parent="e0")
    dead.records[1] = _asking(dead.records[1], url)
    assert dead.words(rule) == {"unproven"}
    cut = Run(NANOGPT).add(200, answer).add(200, picture()[:-40], source="fetch", parent="e0")
    cut.records[1] = _asking(cut.records[1], url)
    assert cut.words(rule) == {"broken"}
    page = Run(NANOGPT).add(200, answer).add(200, b"<html>", source="fetch", parent="e0")
    page.records[1] = _asking(page.records[1], url)
    assert page.words(rule) == {"unproven"}


def _asking(record: Exchange, url: str) -> Exchange:
    import msgspec

    return msgspec.structs.replace(record, asked={"url": url})


def test_size() -> None:
    """The size asked for passes, half of it or swapped breaks it, a picture that does not decode proves nothing, auto binds to nothing."""
    rule = "image.size"
    asked = {"task": "generate", "size": [512, 256]}
    assert Run(NANOGPT).add(200, nano(picture(512, 256)), asked=asked).words(rule) == {"pass"}
    assert Run(NANOGPT).add(200, nano(picture(256, 128)), asked=asked).words(rule) == {"broken"}
    assert Run(NANOGPT).add(200, nano(picture(256, 512)), asked=asked).words(rule) == {"broken"}
    assert Run(NANOGPT).add(200, nano(b"no picture"), asked=asked).words(rule) == {"unproven"}
    assert Run(NEBUL).add(200, nano(picture(100, 100)), asked={"task": "generate", "size": "auto"}).words(rule) == set()
    url_answer = {"urls": ["http://t/1.png"]}
    default = Run(QWEN).add(200, url_answer).add(200, picture(1024, 1024), source="fetch", parent="e0")
    default.records[1] = _asking(default.records[1], "http://t/1.png")
    assert default.words(rule) == {"pass"}


def test_format() -> None:
    """The format asked for or allowed passes; JPEG for PNG, WebP where PNG or JPEG is promised, and a false echo break it."""
    rule = "image.format"
    png = {"task": "generate", "format": "png"}
    assert Run(NEBUL).add(200, nano(picture()), asked=png).words(rule) == {"pass"}
    assert Run(NEBUL).add(200, nano(picture(kind="JPEG")), asked=png).words(rule) == {"broken"}
    assert Run(NEBUL).add(200, nano(picture(kind="JPEG"), output_format="png")).words(rule) == {"broken"}
    assert Run(NEBUL).add(200, nano(b"no picture"), asked=png).words(rule) == {"unproven"}
    for kind, word in (("PNG", "pass"), ("JPEG", "pass"), ("WEBP", "broken")):
        assert Run(NIM).add(200, {"artifacts": [{"base64": b64(picture(kind=kind))}]}).words(rule) == {word}


def test_repeatable() -> None:
    """Equal pixels pass whatever the compression; other pixels break it; a picture that does not decode proves nothing."""
    rule = "seed.repeatable"
    asked = {"task": "generate", "seed": 42}
    first = picture()
    buffer = io.BytesIO()
    Image.open(io.BytesIO(first)).save(buffer, "PNG", compress_level=0)
    assert buffer.getvalue() != first

    def pair(second: bytes, request: bytes = b"{}") -> Run:
        return (
            Run(NANOGPT)
            .add(200, nano(first), asked=asked)
            .add(200, nano(second), asked=asked, probe="generate/seed-again", request=request)
        )

    assert pair(buffer.getvalue()).words(rule) == {"pass"}
    assert pair(picture(shade=3)).words(rule) == {"broken"}
    assert pair(first[:-50]).words(rule) == {"unproven"}
    assert pair(picture(shade=3), request=b'{"size":"512x512"}').words(rule) == set()


def test_a_finished_task_is_judged_as_its_result() -> None:
    """An async answer's pictures are those of the finished task; one that failed is not counted as an answer without pictures."""
    url = "http://t/1.png"
    run = Run(QWEN).add(
        202, {"task_id": "t1", "status": "queued"}, probe="generate/async:true", asked={"task": "generate", "asynchronous": True}
    )
    run.add(200, {"task_id": "t1", "status": "completed", "result": {"urls": [url]}}, source="poll", parent="e0", operation="getTask")
    run.add(200, picture(1024, 1024), source="fetch", parent="e1")
    run.records[2] = _asking(run.records[2], url)
    assert run.words("image.count") == run.words("image.decodes") == run.words("image.size") == {"pass"}
    failed = Run(QWEN).add(202, {"task_id": "t1", "status": "queued"}, asked={"task": "generate", "asynchronous": True})
    failed.add(200, {"task_id": "t1", "status": "failed"}, source="poll", parent="e0", operation="getTask")
    assert failed.words("image.count") == set()


def test_every_rule_says_what_it_promises() -> None:
    """A rule's sentence is one sentence for a report, and its id is area.promise."""
    for rule in RULES.values():
        assert rule.sentence.endswith(".")
        assert "\n" not in rule.sentence
        area, _, promise = rule.id.partition(".")
        assert area.isalpha()
        assert promise.replace("-", "").isalnum()


def test_rules_look_only_at_tasks_they_apply_to() -> None:
    """The profile decides: no seed rule without a seed, no picture rule for an operation that polls."""
    assert not RULES["seed.repeatable"].applies(NEBUL)
    assert RULES["seed.repeatable"].applies(QWEN)
    for rule in ("image.count", "auth.required", "request.accepts-valid", "delivery.exclusive"):
        assert not RULES[rule].applies(TASK)
