"""Prism (npm @stoplight/prism-cli) serves our OpenAPI files: the check finds what it does wrong, and nothing that it does right.

Prism checks keys for being there and requests for their schema, and answers with the first thing that fits the response's
schema: the word "string" or an address nobody gave for a picture, one of it whatever n says, one word where a stream was asked for.
Needs `prism` on the PATH or its path in TESTCARD_PRISM; without it this file is skipped.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest

from testcard.harness.rules.promises import RULES
from testcard.specs.loader import load_provider

PRISM = os.environ.get("TESTCARD_PRISM") or shutil.which("prism")
pytestmark = pytest.mark.skipif(
    PRISM is None, reason="Prism is not here: npm install @stoplight/prism-cli@5.14.2, and its path in TESTCARD_PRISM"
)

KEY = "testcard"
#: rule → why Prism really breaks it: whatever breaks has to be explained here
EXPLAINED = {
    "auth.required": "takes any key",
    "auth.wrong-refused": "takes any key",
    "vision.tokens-counted": 'counts the word "string" as no token, the least that the schema allows',
    "http.method-refused": "sends 405 without Allow",
    "http.error-shape": "words errors as problem documents, and malformed JSON in a way of its own",
    "schema.response": "answers malformed JSON with an error of its own shape",
    "image.count": "gives one picture whatever n says",
    "image.decodes": 'gives the word "string" for a picture',
    "image.base64-strict": 'gives the word "string" for a picture',
    "delivery.exclusive": "gives base64 and an address together",
    "delivery.as-asked": "gives an address where base64 was asked for",
    "input.data-url-only": "takes any string for a picture",
    "input.undecodable-refused": "takes any bytes for a picture",
    "input.image-required": "knows of no mode that needs a picture",
    "input.mask-required": "knows of no mode that needs a mask",
    "answer.created-now": "was made in 1970",
    "answer.echo": 'says "string" for the size and the format',
    "answer.cost-grows": "costs the same for any number",
    "async.accepted": "answers 200 where a task was asked for",
    "async.unknown-task": "knows every task",
    "vision.role": 'says "string" for a role',
    "vision.finish-reason": 'says "string" for a reason',
    "vision.undecodable-refused": "looks into no picture",
    "stream.frames": 'streams the word "string"',
    "stream.media-type": "sends JSON for a stream",
}


@pytest.fixture(scope="module")
def checked(check: Callable[..., Any], server: Callable[..., AbstractContextManager[str]]) -> Callable[[str], Any]:
    """The check of a provider's contract as Prism serves it; each once."""
    done: dict[str, Any] = {}

    def run(provider: str) -> Any:
        if provider not in done:
            spec = load_provider(provider).folder / "openapi.yaml"
            with server([str(PRISM), "mock", "-h", "127.0.0.1", "-p", "{port}", str(spec)]) as url:
                done[provider] = check(provider, url, KEY)
        return done[provider]

    return run


@pytest.mark.parametrize(
    ("provider", "operation", "rules"),
    [
        ("nanogpt", "createImage", {"image.count", "delivery.as-asked"}),
        ("nebul", "createImage", {"image.count", "image.decodes", "delivery.exclusive"}),
        ("nebul", "createImageVariation", {"image.count", "image.decodes", "delivery.exclusive"}),
        ("nvidia-nim-image", "generateImage", {"image.decodes"}),
        ("nvidia-nim-vision", "createVisionChatCompletion", {"stream.frames", "vision.undecodable-refused"}),
        ("opengpu-relay", "generateStableDiffusion", {"image.decodes", "async.accepted"}),
        ("opengpu-relay", "generateFlux", {"image.decodes", "async.accepted"}),
        ("opengpu-relay", "generateGemini", {"image.decodes", "async.accepted"}),
        ("opengpu-relay", "generateGptImage", {"image.count", "async.accepted"}),
        ("opengpu-relay", "editGptImage", {"image.count", "async.accepted"}),
    ],
)
def test_what_prism_does_wrong_is_found(checked: Callable[[str], Any], provider: str, operation: str, rules: set[str]) -> None:
    """Undecodable pictures, ignored n, any key, both deliveries, no stream, no task: each is found on each operation that shows it."""
    found = checked(provider).findings.get(operation, {})
    keys = {rule for rule in ("auth.wrong-refused", "auth.required") if rule in RULES}
    assert {rule for rule in rules if rule in RULES} - set(found) == set()
    assert keys & set(found)


@pytest.mark.parametrize("provider", ["nanogpt", "nebul", "nvidia-nim-image", "nvidia-nim-vision", "opengpu-relay"])
def test_what_prism_does_right_is_not_held_against_it(checked: Callable[[str], Any], provider: str) -> None:
    """Every finding is one of those that Prism deserves; statuses, refusals and missing keys are not among them."""
    result = checked(provider)
    assert [
        f"{operation} {rule}: {seen}"
        for operation, rules in result.findings.items()
        for rule, seen in rules.items()
        if rule not in EXPLAINED and not _deserved(operation, rule, seen)
    ] == []
    assert result.exchanges() > 40


def test_nobody_else_is_asked(checked: Callable[[str], Any]) -> None:
    """The addresses that Prism makes up lie on example.com: nothing there is asked for, and the rules about them say so."""
    verdicts = {(one["operation"], one["rule"]): one for one in checked("opengpu-relay").record["verdicts"]}
    for operation in ("generateQwen", "editQwen", "generateGptImage", "editGptImage"):
        for rule in ("delivery.url-fetchable", "delivery.url-keyless", "delivery.url-is-image", "image.decodes"):
            one = verdicts[operation, rule]
            assert (one["verdict"], "off this machine: not asked without --live" in one["detail"]) == ("unproven", True), one


def _deserved(operation: str, rule: str, seen: str) -> bool:
    """Findings that are right for one operation only."""
    if operation == "createImageEdit":
        # Prism reads one file of a form as text and not as a list of one: it refuses the documented request.
        return rule == "request.accepts-valid"
    if operation == "generateImage" and rule == "request.refuses-invalid":
        return "without image" in seen  # the schema does not say that a mode needs a picture
    return False
