"""The line of the OpenAPI file at which a finding is shown: the property or schema that broke, else the operation."""

from __future__ import annotations

import pytest

from testcard.harness.check.judging.verdicts import line_of
from testcard.harness.rules.evidence import Observation, SeenExchange
from testcard.harness.runs.records import Body, Case, Exchange, SeenResponse, SentRequest
from testcard.specs.loader import load_provider


def about(status: int, place: str | None = None) -> SeenExchange:
    """An exchange answered with a status; with a place, one that was made to break there."""
    exchange = Exchange(
        id="e1",
        operation="x",
        probe="p",
        source="probe",
        case=Case(expects="refuse", place=place),
        request=SentRequest(method="POST", url="http://t/", headers=[], body=Body(size=0, text="")),
        response=SeenResponse(status=status, headers=[], body=Body(size=0, text="")),
        sent_s=0.0,
        done_s=1.0,
    )
    return SeenExchange(exchange, b"", None)


def written(provider: str, operation: str, place: str | None, one: SeenExchange | None = None) -> tuple[int, str]:
    """The line for a finding at this place, and what is written there."""
    loaded = load_provider(provider)
    contract = loaded.operation(operation)
    line = line_of(contract, Observation("broken", "x", ("e1",), place), one, result="/result")
    return line, contract.document.source.text.splitlines()[line - 1].strip()


@pytest.mark.parametrize(
    ("provider", "operation", "place", "status", "starts"),
    [
        ("nanogpt", "createImage", "/created", 200, "created:"),
        ("nanogpt", "createImage", "/data", 200, "data:"),
        ("nanogpt", "createImage", "/data/0", 200, "items:"),
        ("nanogpt", "createImage", "/data/*", 200, "items:"),
        ("nanogpt", "createImage", "/data/1/b64_json", 200, "b64_json:"),
        ("nanogpt", "createImage", "/message", 400, "message:"),
        ("nebul", "createImageEdit", "/usage/total_tokens", 200, "total_tokens:"),
        ("nvidia-nim-image", "generateImage", "/artifacts/0/seed", 200, "seed:"),
        ("nvidia-nim-vision", "createVisionChatCompletion", "/choices/0/message/role", 200, "role:"),
        ("opengpu-relay", "generateQwen", "/urls/0", 202, "items:"),
        ("opengpu-relay", "generateQwen", "/result/urls", 202, "urls:"),
        ("opengpu-relay", "getTask", "/status", 200, "status:"),
        ("nanogpt", "createImage", "header:content-type", 200, "content:"),
    ],
)
def test_places_in_answers(provider: str, operation: str, place: str, status: int, starts: str) -> None:
    """A pointer into the answer leads to the property or item of the status's schema, through references and branches."""
    line, text = written(provider, operation, place, about(status))
    assert text.startswith(starts)
    assert line != load_provider(provider).operation(operation).line()


def test_the_same_name_on_both_sides() -> None:
    """A field that request and answer share is the request's where the request was made to break there, else the answer's."""
    asked, _ = written("nebul", "createImage", "/size", about(200, "/size"))
    answered, _ = written("nebul", "createImage", "/size", about(200))
    document = load_provider("nebul").openapi.source
    assert asked < answered
    assert {document.text.splitlines()[line - 1].strip().partition(":")[0] for line in (asked, answered)} == {"size"}


@pytest.mark.parametrize(
    ("place", "starts"),
    [
        ("/prompt", "prompt:"),  # only the request has one
        ("/components/schemas/GenerationRequest/properties/size", "size:"),
        ("/paths/~1v1~1images~1generations/post/requestBody", "requestBody:"),
    ],
)
def test_places_in_requests_and_in_the_file(place: str, starts: str) -> None:
    """A pointer into the request leads to its property, one into the file to where it points."""
    assert written("nanogpt", "createImage", place, about(400, place))[1].startswith(starts)


@pytest.mark.parametrize(
    "place", [None, "", "/nothing/of/the/kind", "/components/schemas/Gone", "header:retry-after", "/data/0/b64_json/x"]
)
def test_everything_else_is_the_operations(place: str | None) -> None:
    """Without a place, or with one that the document does not know, it is the operation; so it is without an exchange."""
    for one in (about(200), None):
        assert written("nanogpt", "createImage", place, one)[0] == load_provider("nanogpt").operation("createImage").line()


def test_what_the_judge_knows_counts() -> None:
    """A line that comes with the observation is taken as it is."""
    contract = load_provider("nanogpt").operation("createImage")
    assert line_of(contract, Observation("broken", "x", ("e1",), "/created", line=7), about(200)) == 7
