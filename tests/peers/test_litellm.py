"""LiteLLM's proxy in front of the NanoGPT mock: the check finds the differences that the gateway really makes, and no other.

The gateway speaks OpenAI's dialect and not NanoGPT's. Needs the path of the `litellm` executable in TESTCARD_LITELLM
(`pip install 'litellm[proxy]'` in an environment of its own); without it this file is skipped.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from testcard.harness.rules.promises import RULES
from testcard.mocks.app import create_app
from testcard.mocks.serving import serving

LITELLM = os.environ.get("TESTCARD_LITELLM")
pytestmark = pytest.mark.skipif(
    LITELLM is None, reason="LiteLLM is not here: pip install 'litellm[proxy]' elsewhere, and the path of litellm in TESTCARD_LITELLM"
)

KEY = "sk-testcard"
QUIET = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_TELEMETRY": "False"}
CONFIG = """
model_list:
  - {{model_name: hidream, litellm_params: {{model: openai/hidream, api_base: "{url}/v1", api_key: testcard}}}}
  - {{model_name: flux-kontext, litellm_params: {{model: openai/flux-kontext, api_base: "{url}/v1", api_key: testcard}}}}
general_settings: {{master_key: sk-testcard}}
litellm_settings: {{drop_params: true, telemetry: false, num_retries: 0}}
"""
#: rule → what the gateway does that is not in NanoGPT's document: whatever breaks has to be explained here
EXPLAINED = {
    "schema.response": "items hold a null url, revised_prompt and provider_specific_fields; errors have OpenAI's shape",
    "http.error-shape": "errors have OpenAI's shape",
    "http.media-type-refused": "a body called application/xml is read as JSON",
    "request.accepts-valid": "a request without a model is refused",
    "request.refuses-invalid": "response_format is dropped unread, and wrong types with it",
    "http.no-server-error": "a request without a key, or with an object for a model, is answered with 500",
    "auth.required": "a request without a key is answered with 500",
    "rate.retry-after": "the gateway drops Retry-After",
}


@pytest.fixture(scope="module", params=[None, "2/s"], ids=["plain", "rate limited"])
def checked(
    request: pytest.FixtureRequest,
    check: Callable[..., Any],
    server: Callable[..., AbstractContextManager[str]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[str | None, Any]]:
    """The check of NanoGPT's contract at the gateway, the mock behind it limiting requests or not."""
    with serving(create_app(["nanogpt"], rate_limit=request.param)) as upstream:
        config: Path = tmp_path_factory.mktemp("litellm") / "config.yaml"
        config.write_text(CONFIG.format(url=upstream))
        command = [str(LITELLM), "--config", str(config), "--host", "127.0.0.1", "--port", "{port}"]
        with server(command, health="/health/liveliness", **QUIET) as url:
            yield request.param, check("nanogpt", url, KEY)


def test_the_differences_that_the_gateway_makes_are_found(checked: tuple[str | None, Any]) -> None:
    """Base64 for a URL is noted; undocumented keys in items, a model that has to be named, values dropped unread, a lost Retry-After break."""
    limit, result = checked
    found = result.findings["createImage"]
    assert {"schema.response", "request.accepts-valid", "request.refuses-invalid"} <= set(found)
    assert "revised_prompt" in found["schema.response"]
    assert "model" in found["request.accepts-valid"]
    noted = {rule for rule, word in result.words("createImage").items() if word == "info"}
    assert noted & {"delivery.as-asked", "delivery.exclusive"}
    if limit and "rate.retry-after" in RULES:
        assert "rate.retry-after" in found


def test_no_difference_is_invented(checked: tuple[str | None, Any]) -> None:
    """Pictures pass through the gateway unharmed: nothing is found but what it really changes."""
    _, result = checked
    found = result.findings["createImage"]
    assert {rule: seen for rule, seen in found.items() if rule not in EXPLAINED} == {}
    words = result.words("createImage")
    assert {words[rule] for rule in ("image.decodes", "image.size", "image.count", "seed.repeatable")} == {"pass"}
