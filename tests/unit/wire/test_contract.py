"""What the contract does not allow is refused with the field and the place, and nothing else is."""

from __future__ import annotations

from typing import Any

import pytest

from testcard.harness.errors import ContractViolation, UsageError
from testcard.harness.wire.contract import choose
from testcard.harness.wire.encode import build, encode
from testcard.harness.wire.fields import WireFields, wire_fields
from testcard.harness.wire.model import InputImage, TaskRequest
from testcard.specs.loader import load_provider

IMAGE = InputImage(b"not looked at here", "image/png", "a.png")


def refused(provider: str, operation: str | None = None, **request: Any) -> ContractViolation:
    with pytest.raises(ContractViolation) as caught:
        encode(load_provider(provider), TaskRequest(**request), base_url="http://h", api_key=None, operation=operation)
    return caught.value


@pytest.mark.parametrize(
    ("provider", "operation", "request_", "field", "says"),
    [
        ("nanogpt", None, {"task": "generate"}, "prompt", "is required"),
        ("nanogpt", None, {"task": "generate", "prompt": 3}, "prompt", "type string"),
        ("nanogpt", None, {"task": "generate", "prompt": "x", "size": (513, 512)}, "size", "256x256, 512x512, 1024x1024"),
        ("nanogpt", None, {"task": "generate", "prompt": "x", "guidance": 20.5}, "guidance_scale", "at most 20"),
        ("nanogpt", None, {"task": "generate", "prompt": "x", "steps": 0}, "num_inference_steps", "at least 1"),
        ("nanogpt", None, {"task": "generate", "prompt": "x", "n": 1.5}, "n", "type integer"),
        ("nanogpt", None, {"task": "generate", "prompt": "x", "negative_prompt": "y"}, "negative_prompt", "no field"),
        ("nanogpt", None, {"task": "generate", "prompt": "x", "extra": {"foo": 1}}, "foo", "no field of this operation"),
        ("nanogpt", None, {"task": "edit", "prompt": "x"}, "image", "edit needs it"),
        (
            "nanogpt",
            None,
            {"task": "edit", "prompt": "x", "images": (InputImage(url="https://h/a.png"),)},
            "imageDataUrl",
            "not an address",
        ),
        ("nebul", None, {"task": "generate", "prompt": "x", "seed": 7}, "seed", "no field"),
        ("nebul", "createImageVariation", {"task": "variation", "images": (IMAGE, IMAGE)}, "image", "at most 1 picture, not 2"),
        ("nebul", "createImageVariation", {"task": "variation", "images": (IMAGE,), "mask": IMAGE}, "mask", "takes no mask"),
        ("nebul", "createImage", {"task": "edit", "prompt": "x", "images": (IMAGE,)}, "task", "cannot do edit"),
        ("nvidia-nim-image", None, {"task": "generate", "prompt": "x", "mask": IMAGE}, "image", "inpaint needs it"),
        ("nvidia-nim-image", None, {"task": "generate", "prompt": "x", "n": 2}, "n", "no field"),
        ("nvidia-nim-image", None, {"task": "generate", "prompt": "x", "model": "sdxl"}, "model", "no publisher"),
        ("nvidia-nim-image", None, {"task": "generate", "prompt": "x", "asynchronous": True}, "asynchronous", "no asynchronous form"),
        ("opengpu-relay", "generateFlux", {"task": "generate", "prompt": "x", "size": (33, 64)}, "width", "at least 64"),
        ("opengpu-relay", "generateFlux", {"task": "generate", "prompt": "x", "size": (100, 64)}, "width", "multiple of 32"),
        ("opengpu-relay", "generateFlux", {"task": "edit", "prompt": "x", "images": (IMAGE,) * 5}, "image", "at most 4 pictures, not 5"),
        ("opengpu-relay", "generateGptImage", {"task": "generate", "prompt": "x", "n": 5}, "n", "at most 4"),
        ("opengpu-relay", "generateGptImage", {"task": "generate", "prompt": "x", "model": "hidream"}, "model", "its own model"),
        ("opengpu-relay", "generateGemini", {"task": "generate", "prompt": "x", "size": (512, 512)}, "size", "none of the resolutions"),
        ("opengpu-relay", "generateGemini", {"task": "generate", "prompt": "x", "size": (1024, 300)}, "size", "none of the shapes"),
        ("opengpu-relay", "generateGemini", {"task": "generate", "prompt": "x", "aspect_ratio": "7:1"}, "aspect_ratio", "must be one of"),
        ("nvidia-nim-vision", None, {"task": "describe", "images": (IMAGE,)}, "prompt", "describe needs it"),
        ("nvidia-nim-vision", None, {"task": "describe", "prompt": "x", "mask": IMAGE}, "mask", "takes no mask"),
        ("nvidia-nim-vision", None, {"task": "describe", "prompt": "x", "size": (1, 1)}, "size", "no field for the size"),
        (
            "nvidia-nim-vision",
            None,
            {"task": "describe", "prompt": "x", "extra": {"messages": [{"role": "god"}]}},
            "messages.0.role",
            "must be one of",
        ),
        ("nebul", None, {"task": "generate", "prompt": "x", "images": (IMAGE,)}, "image", "takes no picture"),
    ],
)
def test_a_breach_is_refused_with_its_field(provider: str, operation: str | None, request_: dict[str, Any], field: str, says: str) -> None:
    """Each kind of breach names the field, says what is wrong, and points into the provider's files."""
    violation = refused(provider, operation, **request_)
    assert violation.field == field
    assert says in violation.message
    assert violation.where.startswith(f"{provider}/")
    assert violation.hint


def test_the_place_is_the_line_of_the_schema() -> None:
    """The line in the message is the line of the keyword that was broken."""
    violation = refused("opengpu-relay", "generateFlux", task="generate", prompt="x", size=(100, 64))
    provider = load_provider("opengpu-relay")
    line = int(violation.where.partition(":")[2].partition(",")[0])
    text = provider.openapi.source.text.splitlines()
    assert "width" in text[line - 1] or "multipleOf" in text[line - 1]


def test_a_message_never_holds_the_value() -> None:
    """A picture of megabytes in a wrong field does not end up in the message."""
    huge = "A" * 3_000_000
    violation = refused("nanogpt", task="generate", prompt="x", extra={"strength": huge})
    assert len(str(violation)) < 300


def test_a_task_that_a_provider_lacks_says_which_it_has() -> None:
    """The error lists the tasks there are."""
    with pytest.raises(UsageError) as caught:
        wire_fields(load_provider("nanogpt"), TaskRequest("variation", images=(IMAGE,)))
    assert "generate, edit" in str(caught.value.hint)


def test_build_sends_whatever_it_is_told() -> None:
    """A checker can send wrong things: build does not judge."""
    provider = load_provider("nanogpt")
    fields = WireFields("createImage", {}, {"n": 10**30, "prompt": "\ud800", "size": None})
    request = build(provider, fields, base_url="http://h/", api_key=None, media_type="text/plain")
    assert request.body == b'{"n":1000000000000000000000000000000,"prompt":"\\ud800","size":null}'
    assert dict(request.headers)["content-type"] == "text/plain"
    assert "authorization" not in dict(request.headers)


def test_build_codes_a_body_as_the_media_type_says() -> None:
    """A multipart operation's fields can be sent as JSON or as a form, which a checker does on purpose."""
    provider = load_provider("nebul")
    fields = WireFields("createImageEdit", {}, {"prompt": "a b", "n": 2, "image": [InputImage(b"abc")]})
    as_json = build(provider, fields, base_url="http://h", api_key="k", media_type="application/json")
    assert as_json.body == b'{"prompt":"a b","n":2,"image":["YWJj"]}'
    as_form = build(provider, fields, base_url="http://h", api_key="k", media_type="application/x-www-form-urlencoded")
    assert as_form.body == b"prompt=a+b&n=2&image=YWJj"
    other = build(provider, fields, base_url="http://h", api_key="k", headers=(("Authorization", "Bearer other"),))
    assert [value for name, value in other.headers if name.lower() == "authorization"] == ["Bearer other"]


def test_a_data_url_is_passed_on_where_one_is_wanted() -> None:
    """A caller who has a data URL already need not take it apart."""
    request = TaskRequest("edit", prompt="x", images=(InputImage(url="data:image/png;base64,AAAA"),))
    assert wire_fields(load_provider("nanogpt"), request).body["imageDataUrl"] == "data:image/png;base64,AAAA"


def test_what_needs_no_field_is_not_refused() -> None:
    """n = 1 and the delivery that is the only one cost nothing where there is no field for them."""
    fields = wire_fields(load_provider("nvidia-nim-image"), TaskRequest("generate", prompt="x", n=1, delivery="base64"))
    assert fields.body == {"prompt": "x"}


@pytest.mark.parametrize(
    ("request_", "operation", "noted"),
    [
        ({"size": (512, 512)}, "generateStableDiffusion", False),
        ({"size": "auto"}, "generateGptImage", True),
        ({"model": "black-forest-labs/FLUX-2-pro", "seed": 3}, "generateFlux", True),
        ({"model": "Qwen/qwen-image"}, "generateQwen", True),
    ],
)
def test_the_operation_is_chosen_by_size_and_model(request_: dict[str, Any], operation: str, noted: bool) -> None:
    """The default serves unless it lacks the model or cannot make the size, and leaving it is said."""
    choice = choose(load_provider("opengpu-relay"), TaskRequest("generate", prompt="x", **request_))
    assert choice.operation == operation
    assert (choice.note is not None) == noted


def test_other_breaches_do_not_move_a_request() -> None:
    """A seed that the default operation lacks is refused, with the operations that have one in the hint."""
    with pytest.raises(ContractViolation) as caught:
        choose(load_provider("opengpu-relay"), TaskRequest("generate", prompt="x", seed=3))
    assert "generateFlux, generateQwen" in str(caught.value.hint)
