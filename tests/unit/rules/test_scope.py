"""A scope knows which values the documents state and which a server may refuse."""

from __future__ import annotations

from typing import Any

import pytest

from testcard.harness.rules.scope import Scope
from testcard.harness.wire.fields import WireFields
from testcard.specs.loader import load_provider


@pytest.mark.parametrize(
    ("provider", "operation", "path", "body", "tolerated"),
    [
        ("nanogpt", "createImage", {}, {"prompt": "x", "size": "256x256", "n": 1}, False),
        ("nanogpt", "createImage", {}, {"n": 2}, True),
        ("nanogpt", "createImage", {}, {"n": 7}, True),  # neither stated nor listed as worth trying
        ("nanogpt", "createImage", {}, {"strength": 0.5}, True),  # between two stated bounds, of a field that only some models know
        ("nanogpt", "createImage", {}, {"guidance_scale": 7.5}, True),  # its default, even
        ("opengpu-relay", "generateFlux", {}, {"safety_tolerance": 3}, False),  # between the two stated bounds
        ("opengpu-relay", "generateFlux", {}, {"safety_tolerance": 3.0}, False),  # 3.0 is 3
        ("nanogpt", "createImage", {}, {"kontext_max_mode": True}, True),
        ("nanogpt", "createImage", {}, {"seed": 43}, True),
        ("nvidia-nim-image", "generateImage", {}, {"negative_prompt": "fog"}, True),  # a model may know none at all
        ("nvidia-nim-image", "generateImage", {"publisher": "nvidia"}, {"prompt": "x"}, True),
        ("nvidia-nim-image", "generateImage", {"publisher": "black-forest-labs"}, {"prompt": "x"}, False),
        ("nebul", "createImage", {}, {"prompt": "anything", "user": "anyone"}, False),
        ("opengpu-relay", "generateGptImage", {}, {"n": 3, "quality": "high"}, False),
    ],
)
def test_a_value_that_no_document_states_may_be_refused(
    provider: str, operation: str, path: dict[str, Any], body: dict[str, Any], tolerated: bool
) -> None:
    """Stated values, enumerated ones and what lies between two stated bounds have to be taken; others may be refused."""
    scope = Scope(load_provider(provider), operation)
    assert scope.tolerates_fields(WireFields(operation, path, body), scope.asked_model(scope.task)) is tolerated
