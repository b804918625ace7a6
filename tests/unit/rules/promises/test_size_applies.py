"""A size is judged only where one can be asked for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from testcard.harness.rules.promises.pictures import _sized
from testcard.harness.rules.scope import Scope
from testcard.specs.loader import load_provider


@pytest.mark.parametrize(
    ("size", "applies"),
    [
        ({"type": "string"}, False),
        ({"type": "string", "description": "(Not supported) Size of the picture."}, False),
        ({"type": "string", "default": "1024x1024"}, True),
        ({"type": "string", "enum": ["512x512", "1024x1024"]}, True),
    ],
)
def test_a_size_of_which_no_value_is_known_is_not_judged(tmp_path: Path, size: dict[str, Any], applies: bool) -> None:
    """A free text without a value in either file leaves nothing to ask for, so no must is left open for it."""
    fields = {"prompt": {"type": "string"}, "size": size}
    body = {"content": {"application/json": {"schema": {"type": "object", "required": ["prompt"], "properties": fields}}}}
    answer = {"type": "object", "properties": {"images": {"type": "array", "items": {"type": "string", "format": "byte"}}}}
    made = {"200": {"description": "ok", "content": {"application/json": {"schema": answer}}}}
    post = {"operationId": "draw", "requestBody": body, "responses": made}
    document = {"openapi": "3.1.0", "info": {"title": "T", "version": "1"}, "paths": {"/images": {"post": post}}}
    (tmp_path / "openapi.json").write_text(json.dumps(document), encoding="utf-8")
    (tmp_path / "profile.yaml").write_text("schema: testcard.profile/1\nid: mine\noperations: [draw]\n", encoding="utf-8")
    assert _sized(Scope(load_provider(str(tmp_path)), "draw")) is applies
