"""From the task's terms to wire names and back."""

from __future__ import annotations

import json

import pytest

from testcard.harness.rules.scope import Scope
from testcard.harness.wire.fields import asked_record, pixel_size, task_terms, wire_fields
from testcard.harness.wire.model import InputImage, TaskRequest
from testcard.specs.loader import bundled_ids, load_provider

SCOPES = [
    pytest.param(Scope(load_provider(name), operation), id=f"{name}-{operation}")
    for name in bundled_ids()
    for operation, profile in load_provider(name).profile.operations.items()
    if profile.kind != "task"
]


@pytest.mark.parametrize("scope", SCOPES)
def test_terms_survive_the_way_to_the_wire_and_back(scope: Scope) -> None:
    """What a request asks for can be read from its wire fields: rules judge generated requests by it."""
    for task in scope.profile.tasks:
        request = scope.base_request(task)
        terms = task_terms(scope.provider, wire_fields(scope.provider, request, scope.operation_id), task)
        for term in ("n", "size", "seed", "format", "delivery", "quality", "steps", "model"):
            assert getattr(terms, term) == getattr(request, term), term


def test_fields_of_no_meaning_are_kept_by_their_names() -> None:
    """A rule that looks for what two requests differ in finds those as well."""
    provider = load_provider("nvidia-nim-image")
    names = [name for name, entry in provider.operation_profile("generateImage").fields.items() if entry.means == "other"]
    fields = wire_fields(provider, Scope(provider, "generateImage").base_request("generate"), "generateImage")
    fields.body.update(dict.fromkeys(names, "x"))
    assert dict(task_terms(provider, fields).extra) == dict.fromkeys(names, "x")


def test_junk_values_are_nobodys_wish() -> None:
    """A fuzzed value of the wrong kind asks for nothing that a server could be held to."""
    provider = load_provider("nanogpt")
    scope = Scope(provider, "createImage")
    fields = wire_fields(provider, scope.base_request("generate"), "createImage")
    fields.body.update({"n": "many", "size": 7, "seed": True, "response_format": "carrier pigeon"})
    terms = task_terms(provider, fields)
    assert (terms.n, terms.size, terms.seed, terms.delivery) == (None, None, None, None)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("512x256", (512, 256)),
        ((512, 256), (512, 256)),
        ("512x0", None),
        ("٣x٤", None),
        ("auto", None),
        ("0x5", None),
        ("512X256", None),
        (None, None),
        (5, None),
    ],
)
def test_a_size_in_pixels(text: object, size: tuple[int, int] | None) -> None:
    """Only two whole numbers with an x between them are a size in pixels."""
    assert pixel_size(text) == size


def test_the_record_of_what_was_asked_holds_no_pictures() -> None:
    """Hash and size stand for the bytes, and it is JSON."""
    record = asked_record(TaskRequest("edit", prompt="x", size=(1, 2), images=(InputImage(b"abc"),), extra={"user": "me"}))
    assert json.loads(json.dumps(record)) == record
    assert record["size"] == [1, 2]
    assert record["images"] == [
        {"sha256": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad", "size": 3, "media_type": "image/png"}
    ]
