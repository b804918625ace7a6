"""Servers over real sockets that fail some of their requests and carry the others out: what the check says of them is what they did."""

from __future__ import annotations

import threading
from pathlib import Path

from testcard.harness.runs.folder import RunReader
from testcard.harness.runs.records import Verdict
from testkit.command_line import typed
from testkit.pictures import gradient, in_base64
from testkit.servers import Answer, Request, Response, answering

PICTURE = {"created": 1, "data": [{"b64_json": in_base64(gradient(1024, 1024)), "url": None}]}
KEY = {"TESTCARD_API_KEY": "sk-some-0123456789"}


def checked(provider: str, answer: Answer, folder: Path, *arguments: str) -> tuple[int, dict[str, Verdict], str]:
    """The exit code, the verdicts by rule, and what was said."""

    def ours(request: Request) -> Response:
        return Response(status=404) if request.method == "GET" else answer(request)

    with answering(ours) as server:
        done = typed(["check", f"{provider}={server.url}", *arguments, "--out", str(folder)], env=KEY)
    verdicts = RunReader(folder).verdicts()
    assert verdicts is not None, done.stderr
    return done.returncode, {one.rule: one for one in verdicts.verdicts}, done.stdout + done.stderr


def test_a_request_that_is_never_answered_breaks_a_must(tmp_path: Path) -> None:
    """Texts outside Latin-1 get no answer: the check says which, after the time it was given, and goes on with the rest."""
    never = threading.Event()

    def answer(request: Request) -> Response:
        if any(ord(letter) > 255 for letter in request.json.get("prompt", "")):
            never.wait(30)
        return Response(PICTURE)

    rules = ["--rule", "http.answered", "--rule", "request.text-survives"]
    try:
        code, verdicts, said = checked("nanogpt", answer, tmp_path / "run", *rules, "--timeout", "1")
    finally:
        never.set()
    answered = verdicts["http.answered"]
    assert (code, answered.verdict) == (1, "fail")
    assert "a prompt with other scripts" in answered.detail
    assert "no answer came within 1 s" in answered.detail
    assert "without an answer" in said
    assert verdicts["request.text-survives"].verdict in ("pass", "unproven")


def test_the_documents_own_example_may_not_fail(tmp_path: Path) -> None:
    """Nebul's document shows size auto: a server that answers it with 500, and all else with a picture, breaks that promise, by name."""

    def answer(request: Request) -> Response:
        fails = request.json.get("size") == "auto"
        return Response({"error": {"message": "boom"}}, 500) if fails else Response(PICTURE)

    code, verdicts, _ = checked("nebul", answer, tmp_path / "run", "--rule", "request.accepts-valid", "--operation", "createImage")
    found = verdicts["request.accepts-valid"]
    assert (code, found.verdict) == (1, "fail")
    assert found.detail.startswith("size auto: status 500 (boom)")
