"""What a request can cost at most, and what an answer did cost."""

from __future__ import annotations

import pytest

from testcard.harness.wire.billing import answer_cost, delivered, worst_case
from testcard.harness.wire.decode import decode_body
from testcard.harness.wire.model import Answer, DeliveredPicture, InputImage, PictureInfo, TaskRequest, Usage
from testcard.specs.loader import bundled_ids, load_provider
from testcard.specs.prices import PerImage, PerMegapixel


def test_a_reservation_is_the_worst_case() -> None:
    """n pictures, the asked size or the documented default, all of max_tokens."""
    relay, vision = load_provider("opengpu-relay"), load_provider("nvidia-nim-vision")
    assert worst_case(relay, "generateGptImage", TaskRequest("generate", prompt="x", n=4)).images == 4
    default = worst_case(relay, "generateFlux", TaskRequest("generate", prompt="x"))
    assert (default.width_px, default.height_px) == (1024, 1024)
    assert worst_case(relay, "generateGemini", TaskRequest("generate", prompt="x", size=(4096, 4096))).tier == "4K"
    assert worst_case(relay, "generateGptImage", TaskRequest("generate", prompt="x", size="auto")).size is None
    chat = worst_case(vision, "createVisionChatCompletion", TaskRequest("describe", prompt="é" * 100, max_tokens=16))
    assert chat.out_tokens == 16
    assert chat.text_in_tokens >= 200


def test_cost_is_the_answers_own_else_the_price_else_unknown() -> None:
    """The provider's cost field wins; no price is None, never 0; refusals are free where success is billed."""
    provider = load_provider("nanogpt")
    price = PerImage(kind="per-image", usd_each=0.1)
    request = TaskRequest("generate", prompt="x", n=2)
    got = decode_body(load_provider("nanogpt"), "createImage", {"data": [{"b64_json": "AA"}, {"b64_json": "AA"}]})
    billable = delivered(provider, "createImage", request, got, [])
    assert answer_cost(price, got, billable) == pytest.approx(0.2)
    assert answer_cost(None, got, billable) is None
    assert answer_cost(price, Answer(400), billable) == 0.0
    assert answer_cost(price, Answer(200, cost_usd=0.5), billable) == 0.5


def test_what_was_delivered_is_what_is_billed() -> None:
    """The decoded size counts, not the one asked for."""
    got = decode_body(load_provider("opengpu-relay"), "generateFlux", {"images": ["AA"]})
    request = TaskRequest("generate", prompt="x", size=(1024, 1024))
    billable = delivered(load_provider("opengpu-relay"), "generateFlux", request, got, [PictureInfo("png", 500, 2000, 1, "")])
    price = PerMegapixel(kind="per-megapixel", usd_each=1.0)
    assert answer_cost(price, got, billable) == pytest.approx(1.0)


@pytest.mark.parametrize(("name", "operation"), [(name, op) for name in bundled_ids() for op in load_provider(name).profile.operations])
@pytest.mark.parametrize("n", [None, 1, 4])
def test_a_reservation_covers_what_a_conforming_answer_costs(name: str, operation: str, n: int | None) -> None:
    """With the prices of the mocks, what comes is never dearer than what was reserved."""
    provider = load_provider(name)
    profile = provider.operation_profile(operation)
    price = provider.price_entry(provider.default_model(operation), operation, "illustrative")
    if not profile.tasks:
        assert price is None or not profile.billed
        return
    assert price is not None
    request = TaskRequest(
        profile.tasks[0], prompt="x" * 40, n=n, images=(InputImage(b"a"),) if profile.tasks[0] != "generate" else (), max_tokens=20
    )
    reserved = price.price.usd(worst_case(provider, operation, request))
    width, height = profile.response.default_size or (1024, 1024)
    came = Answer(200, pictures=(DeliveredPicture(0, base64="AA"),) * (n or 1), text="word " * 10, usage=Usage(300, 20, 320))
    if profile.kind != "chat":
        came = Answer(200, pictures=came.pictures)
    billed = price.price.usd(delivered(provider, operation, request, came, [PictureInfo("png", width, height, 1, "")]))
    assert reserved is not None
    assert billed is not None
    assert 0 < billed <= reserved
