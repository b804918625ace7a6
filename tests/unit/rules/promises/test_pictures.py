"""Rules about the pictures that come back."""

from __future__ import annotations

import base64
import io
from typing import Any

import pytest
from PIL import Image

from testcard.harness.rules.promises import RULES
from testcard.harness.rules.scope import Scope
from testcard.specs.loader import load_provider

NANOGPT = Scope(load_provider("nanogpt"), "createImage")
NEBUL = Scope(load_provider("nebul"), "createImage")
VARIATION = Scope(load_provider("nebul"), "createImageVariation")
NIM = Scope(load_provider("nvidia-nim-image"), "generateImage")
QWEN = Scope(load_provider("opengpu-relay"), "generateQwen")
GPT = Scope(load_provider("opengpu-relay"), "generateGptImage")
BROKEN_PNG = base64.b64encode(b"\x89PNG\r\n\x1a\nand no more").decode()


def encoded(width: int = 256, height: int = 256, kind: str = "PNG") -> bytes:
    """The bytes of a real picture of this size and format."""
    buffer = io.BytesIO()
    Image.linear_gradient("L").resize((width, height)).save(buffer, kind)
    return buffer.getvalue()


def b64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def nano(*pictures: bytes, **more: Any) -> dict[str, Any]:
    """An answer of NanoGPT's with these pictures."""
    return {"created": 1, "data": [{"b64_json": b64(content)} for content in pictures], "cost": 0.01, **more}


def test_count(recorded: Any) -> None:
    """n pictures for n, one for no n, none is never right; an answer that was refused proves nothing."""
    rule = "image.count"
    two = {"task": "generate", "n": 2}
    assert recorded(NANOGPT).add(200, nano(encoded(), encoded()), asked=two).add(200, nano(encoded())).words(rule) == {"pass"}
    assert recorded(NANOGPT).add(200, nano(encoded()), asked=two).words(rule) == {"broken"}
    assert recorded(NANOGPT).add(200, nano()).words(rule) == {"broken"}
    assert recorded(NANOGPT).add(400, expects="may-refuse", asked=two).words(rule) == set()
    assert recorded(NANOGPT).add(200, nano(encoded(), encoded()), expects="refuse").words(rule) == set()
    assert recorded(NIM).add(200, {"artifacts": [{"base64": b64(encoded())}] * 2}).words(rule) == {"broken"}


def test_decodes(recorded: Any) -> None:
    """A whole picture passes, a truncated one and text break it; a URL not fetched, a dead one and a page at one prove nothing here."""
    rule = "image.decodes"
    assert recorded(NANOGPT).add(200, nano(encoded())).words(rule) == {"pass"}
    assert recorded(NANOGPT).add(200, nano(encoded()[:-40])).words(rule) == {"broken"}
    assert recorded(NANOGPT).add(200, nano(b"<html>upstream error</html>")).words(rule) == {"broken"}
    assert recorded(NANOGPT).add(200, {"data": [{"b64_json": "***"}]}).words(rule) == {"broken"}
    url = "http://t/p.png"
    answer = {"data": [{"url": url}]}
    assert recorded(NANOGPT).add(200, answer).words(rule) == {"unproven"}
    fetched = recorded(NANOGPT).add(200, answer).add(200, encoded(), source="fetch", parent="e0", asked={"url": url})
    assert fetched.words(rule) == {"pass"}
    dead = recorded(NANOGPT).add(200, answer).add(404, b"gone", source="fetch", parent="e0", asked={"url": url})
    assert dead.words(rule) == {"unproven"}
    cut = recorded(NANOGPT).add(200, answer).add(200, encoded()[:-40], source="fetch", parent="e0", asked={"url": url})
    assert cut.words(rule) == {"broken"}
    page = recorded(NANOGPT).add(200, answer).add(200, b"<html>", source="fetch", parent="e0", asked={"url": url})
    assert page.words(rule) == {"unproven"}


def test_a_picture_under_a_name_that_no_client_reads(recorded: Any) -> None:
    """An item that holds no picture where the document puts it breaks it, unless the answer says that it was withheld."""
    item = {"image": b64(encoded()), "seed": 0}
    for scope, answer in ((NIM, {"artifacts": [item]}), (NEBUL, {"data": [item]})):
        run = recorded(scope).add(200, answer)
        assert run.words("image.decodes") == {"broken"}
        assert "holds neither" in run.observations("image.decodes")[0].detail
    run = recorded(NANOGPT).add(200, {"data": [item]})
    assert (run.words("image.decodes"), run.words("delivery.exclusive")) == ({"unproven"}, {"broken"})
    withheld = {"artifacts": [{"finishReason": "CONTENT_FILTERED", "seed": 0}]}
    assert recorded(NIM).add(200, withheld).words("image.decodes") == {"unproven"}


def test_size(recorded: Any) -> None:
    """The size asked for passes, half of it or swapped breaks it, a picture that does not decode proves nothing, auto binds to nothing."""
    rule = "image.size"
    asked = {"task": "generate", "size": [512, 256]}
    assert recorded(NANOGPT).add(200, nano(encoded(512, 256)), asked=asked).words(rule) == {"pass"}
    assert recorded(NANOGPT).add(200, nano(encoded(256, 128)), asked=asked).words(rule) == {"broken"}
    assert recorded(NANOGPT).add(200, nano(encoded(256, 512)), asked=asked).words(rule) == {"broken"}
    assert recorded(NANOGPT).add(200, nano(b"no picture"), asked=asked).words(rule) == {"unproven"}
    assert recorded(NEBUL).add(200, nano(encoded(100, 100)), asked={"task": "generate", "size": "auto"}).words(rule) == set()
    url = "http://t/1.png"
    default = recorded(QWEN).add(200, {"urls": [url]}).add(200, encoded(1024, 1024), source="fetch", parent="e0", asked={"url": url})
    assert default.words(rule) == {"pass"}


def test_format(recorded: Any) -> None:
    """The format asked for or allowed passes; JPEG for PNG, WebP where PNG or JPEG is promised, and a false echo break it."""
    rule = "image.format"
    png = {"task": "generate", "format": "png"}
    assert recorded(NEBUL).add(200, nano(encoded()), asked=png).words(rule) == {"pass"}
    assert recorded(NEBUL).add(200, nano(encoded(kind="JPEG")), asked=png).words(rule) == {"broken"}
    assert recorded(NEBUL).add(200, nano(encoded(kind="JPEG"), output_format="png")).words(rule) == {"broken"}
    assert recorded(NEBUL).add(200, nano(b"no picture"), asked=png).words(rule) == {"unproven"}
    for kind in ("GIF", "AVIF"):  # documented by nobody, and what was asked for
        assert recorded(NEBUL).add(200, nano(encoded(kind=kind)), asked={"task": "generate", "format": kind.lower()}).words(rule) == {
            "pass"
        }
    for kind, word in (("PNG", "pass"), ("JPEG", "pass"), ("WEBP", "broken")):
        assert recorded(NIM).add(200, {"artifacts": [{"base64": b64(encoded(kind=kind))}]}).words(rule) == {word}


def test_a_finished_task_is_judged_as_its_result(recorded: Any) -> None:
    """An async answer's pictures are those of the finished task; one that failed is not counted as an answer without pictures."""
    url = "http://t/1.png"
    run = recorded(QWEN).add(
        202, {"task_id": "t1", "status": "queued"}, probe="generate/async:true", asked={"task": "generate", "asynchronous": True}
    )
    run.add(200, {"task_id": "t1", "status": "completed", "result": {"urls": [url]}}, source="poll", parent="e0", operation="getTask")
    run.add(200, encoded(1024, 1024), source="fetch", parent="e1", asked={"url": url})
    assert run.words("image.count") == run.words("image.decodes") == run.words("image.size") == {"pass"}
    failed = recorded(QWEN).add(202, {"task_id": "t1", "status": "queued"}, asked={"task": "generate", "asynchronous": True})
    failed.add(200, {"task_id": "t1", "status": "failed"}, source="poll", parent="e0", operation="getTask")
    assert failed.words("image.count") == set()


# ── what they show ────────────────────────────────────────────────────────────────────────────────────────────────────


def plain(colour: tuple[int, ...], kind: str = "PNG") -> str:
    """A picture of one colour, in base64."""
    buffer = io.BytesIO()
    Image.new("RGBA" if len(colour) == 4 else "RGB", (64, 64), colour).save(buffer, kind)
    return base64.b64encode(buffer.getvalue()).decode()


def invisible() -> str:
    """A gradient of which every pixel is transparent."""
    picture = Image.linear_gradient("L").convert("RGBA")
    picture.putalpha(0)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def cut_out(alpha: int) -> str:
    """A gradient whose upper half has this alpha."""
    picture = Image.linear_gradient("L").convert("RGBA")
    picture.paste((200, 10, 10, alpha), (0, 0, 256, 128))
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def data(*pictures: str) -> dict[str, Any]:
    return {"data": [{"b64_json": one} for one in pictures]}


@pytest.mark.parametrize(
    ("spelling", "word", "why"),
    [
        (lambda text: text, "pass", ""),
        (lambda text: "data:image/png;base64," + text, "broken", "begins with data:"),
        (lambda text: text[:76] + "\n" + text[76:], "broken", "line breaks"),
        (lambda text: text + "\n", "broken", "line breaks"),
        (lambda text: text.replace("+", "-").replace("/", "_"), "broken", "URL alphabet"),
        (lambda text: text.rstrip("=") if text.endswith("=") else text[:-1], "broken", "padded"),
        (lambda text: "***" + text, "unproven", "not base64"),
    ],
)
def test_base64_strict(spelling: Any, word: str, why: str, recorded: Any) -> None:
    """Standard base64 passes; what a lenient reader makes sense of breaks it; what nobody can read is image.decodes's."""
    raw = Image.effect_noise((32, 32), 90).tobytes()  # enough bytes for every letter; no picture, which is not asked here
    text = spelling(base64.b64encode(raw + b"x" * ((1 - len(raw)) % 3)).decode())
    (seen,) = recorded(NANOGPT).add(200, data(text)).observations("image.base64-strict")
    assert seen.word == word
    assert why in seen.detail
    assert not RULES["image.base64-strict"].applies(GPT)


def test_not_blank(recorded: Any, picture: Any) -> None:
    """One colour and nothing visible break it; a picture passes; one that does not decode, or was withheld, proves nothing."""
    rule = "image.not-blank"
    assert recorded(NANOGPT).add(200, data(picture())).words(rule) == {"pass"}
    for blank in (plain((0, 0, 0)), plain((90, 90, 90), "JPEG"), plain((1, 2, 3, 4)), invisible()):
        assert recorded(NANOGPT).add(200, data(blank)).words(rule) == {"broken"}
    assert recorded(NANOGPT).add(200, data(BROKEN_PNG)).words(rule) == {"unproven"}
    withheld = {"artifacts": [{"base64": plain((0, 0, 0)), "finishReason": "CONTENT_FILTERED"}]}
    assert recorded(NIM).add(200, withheld).words(rule) == {"unproven"}
    claimed = {"artifacts": [{"base64": plain((0, 0, 0)), "finishReason": "SUCCESS"}]}
    assert recorded(NIM).add(200, claimed).words(rule) == {"broken"}


def test_distinct(recorded: Any, picture: Any) -> None:
    """Two different pictures pass, the same one twice breaks it however it is packed; one, or blank ones, prove nothing."""
    rule = "image.distinct"
    two = {"task": "generate", "n": 2}
    one = picture()
    repacked = io.BytesIO()
    Image.open(io.BytesIO(base64.b64decode(one))).save(repacked, "PNG", compress_level=0)
    again = base64.b64encode(repacked.getvalue()).decode()
    assert again != one
    assert recorded(NANOGPT).add(200, data(one, picture(shade=3)), asked=two).words(rule) == {"pass"}
    assert recorded(NANOGPT).add(200, data(one, again), asked=two).words(rule) == {"broken"}
    assert recorded(NANOGPT).add(200, data(one, picture(shade=3), one), asked={"task": "generate", "n": 3}).words(rule) == {"broken"}
    assert recorded(NANOGPT).add(200, data(one), asked=two).words(rule) == {"unproven"}
    assert recorded(NANOGPT).add(200, data(plain((9, 9, 9)), plain((9, 9, 9))), asked=two).words(rule) == {"unproven"}
    assert recorded(NANOGPT).add(200, data(one)).words(rule) == set()
    assert not RULES[rule].applies(NIM)


def pair(recorded: Any, rule: str, first: str, second: str, term: str, **more: Any) -> Any:
    asked = {"task": "generate", "seed": 1, "prompt": "a boat"}
    other = {**asked, term: {"seed": 2, "prompt": "a bridge"}[term], **more}
    return (
        recorded(NANOGPT)
        .add(200, data(first), asked=asked, rules=[rule])
        .add(200, data(second), asked=other, rules=[rule], probe=f"generate/{term}:another")
    )


@pytest.mark.parametrize(("rule", "term"), [("image.follows-prompt", "prompt"), ("seed.varies", "seed")])
def test_another_prompt_or_seed_gives_another_picture(rule: str, term: str, recorded: Any, picture: Any) -> None:
    """Other pixels pass, the same ones break it; requests that differ in more, blank and broken pictures prove nothing."""
    one, two = picture(), picture(shade=3)
    assert pair(recorded, rule, one, two, term).words(rule) == {"pass"}
    assert pair(recorded, rule, one, one, term).words(rule) == {"broken"}
    assert pair(recorded, rule, one, one, term, n=2).words(rule) == set()
    assert pair(recorded, rule, plain((9, 9, 9)), plain((9, 9, 9)), term).words(rule) == {"unproven"}
    assert pair(recorded, rule, one, BROKEN_PNG, term).words(rule) == {"unproven"}


@pytest.mark.parametrize("rule", ["image.follows-prompt", "seed.varies"])
def test_requests_of_other_rules_are_not_compared(rule: str, recorded: Any, picture: Any) -> None:
    """A prompt cut off by the model, or a seed taken modulo 2³², may give the same picture: only this rule's own requests count."""
    run = recorded(NANOGPT).add(200, data(picture()), asked={"task": "generate", "seed": 1, "prompt": "a"})
    run.add(200, data(picture()), asked={"task": "generate", "seed": 2**32 + 1, "prompt": "a"})
    assert run.add(200, data(picture()), asked={"task": "generate", "seed": 1, "prompt": "a b"}).words(rule) == set()


def test_where_prompts_and_seeds_are_compared() -> None:
    """Another prompt or seed costs one picture an operation; a variation has no prompt, Nebul no seed."""
    assert [probe.key for probe in RULES["image.follows-prompt"].asks(NANOGPT)] == ["generate/base", "generate/prompt:another"]
    assert [probe.key for probe in RULES["seed.varies"].asks(NANOGPT)] == ["generate/base", "generate/seed:another"]
    assert not RULES["image.follows-prompt"].applies(VARIATION)
    assert not RULES["seed.varies"].applies(NEBUL)


def test_transparent(recorded: Any, picture: Any) -> None:
    """Transparent pixels where asked for pass; an opaque picture breaks it, in a format without transparency too."""
    rule = "image.transparent"
    asked = {"task": "generate", "background": "transparent"}
    assert recorded(NEBUL).add(200, data(cut_out(0)), asked=asked).words(rule) == {"pass"}
    for opaque in (picture(), picture(kind="JPEG"), cut_out(255), cut_out(250)):
        assert recorded(NEBUL).add(200, data(opaque), asked=asked).words(rule) == {"broken"}
    assert recorded(NEBUL).add(200, data(cut_out(0)), asked={"task": "generate", "background": "opaque"}).words(rule) == {"broken"}
    assert recorded(NEBUL).add(200, data(picture()), asked={"task": "generate", "background": "opaque"}).words(rule) == {"pass"}
    assert recorded(NEBUL).add(200, data(picture()), asked={"task": "generate", "background": "auto"}).words(rule) == set()
    assert recorded(NEBUL).add(200, data(picture(kind="JPEG")), asked={**asked, "format": "jpeg"}).words(rule) == set()
    assert recorded(NEBUL).add(400, asked=asked, expects="may-refuse").words(rule) == set()
    assert not RULES[rule].applies(NANOGPT)


# ── shape and resolution tier ─────────────────────────────────────────────────────────────────────────────────────────
RELAY = load_provider("opengpu-relay")
GEMINI = Scope(RELAY, "generateGemini")
FLUX = Scope(RELAY, "generateFlux")


def answer(width: int, height: int) -> dict[str, Any]:
    """An answer with one picture of this size."""
    buffer = io.BytesIO()
    Image.new("L", (width, height)).save(buffer, "PNG")
    return {"images": [base64.b64encode(buffer.getvalue()).decode()]}


def asking(**terms: str) -> dict[str, Any]:
    return {"task": "generate", **terms}


@pytest.mark.parametrize(
    ("ratio", "size"),
    [
        ("1:1", (1024, 1024)), ("2:3", (848, 1264)), ("3:2", (1264, 848)), ("3:4", (896, 1200)), ("4:3", (1200, 896)), ("4:5", (928, 1152)),
        ("5:4", (1152, 928)), ("9:16", (768, 1376)), ("16:9", (1376, 768)), ("21:9", (1584, 672)), ("16:9", (1408, 800)), ("16:9", (2752, 1536)),
    ],
)  # fmt: skip
def test_sizes_that_real_services_send_pass(ratio: str, size: tuple[int, int], recorded: Any) -> None:
    """Published sizes of the Gemini models, rounded to 16 or 32 pixels, keep ratio and tier."""
    tier = "2K" if size[0] * size[1] > 2_000_000 else "1K"
    run = recorded(GEMINI).add(200, answer(*size), asked=asking(aspect_ratio=ratio, tier=tier))
    assert run.words("image.ratio") == run.words("image.tier") == {"pass"}


@pytest.mark.parametrize("size", [(1024, 1024), (768, 1376), (1264, 848), (1584, 672)])
def test_another_shape_breaks_the_ratio(size: tuple[int, int], recorded: Any) -> None:
    """Square, swapped and neighbouring shapes are not 16:9."""
    assert recorded(GEMINI).add(200, answer(*size), asked=asking(aspect_ratio="16:9")).words("image.ratio") == {"broken"}


def test_the_default_binds(recorded: Any) -> None:
    """1:1 and 1K are documented for who does not choose."""
    assert recorded(GEMINI).add(200, answer(1024, 1024)).words("image.ratio") == {"pass"}
    assert recorded(GEMINI).add(200, answer(1376, 768)).words("image.ratio") == {"broken"}
    assert recorded(GEMINI).add(200, answer(2048, 2048)).words("image.tier") == {"broken"}


@pytest.mark.parametrize(
    ("tier", "edge", "word"),
    [
        ("1K", 1024, "pass"),
        ("2K", 2048, "pass"),
        ("2K", 1024, "broken"),
        ("4K", 4096, "pass"),
        ("4K", 2048, "broken"),
        ("1K", 512, "broken"),
    ],
)
def test_tier(tier: str, edge: int, word: str, recorded: Any) -> None:
    """The area is that of the tier's square, whatever the shape."""
    asked = asking(tier=tier, aspect_ratio="16:9")
    assert recorded(GEMINI).add(200, answer(edge * 4 // 3, edge * 3 // 4), asked=asked).words("image.tier") == {word}


def test_what_proves_nothing(recorded: Any) -> None:
    """A picture that does not decode is another rule's; a refusal and an unreadable shape are not judged."""
    for rule in ("image.ratio", "image.tier"):
        assert recorded(GEMINI).add(200, {"images": ["AAAA"]}).words(rule) == {"unproven"}
        assert recorded(GEMINI).add(400).words(rule) == set()
        assert not RULES[rule].applies(FLUX)
    assert recorded(GEMINI).add(200, answer(10, 10), asked=asking(aspect_ratio="wide")).words("image.ratio") == set()


def test_what_is_asked_for() -> None:
    """The widest and the highest shape, and one tier beside the base's: three pictures."""
    assert [probe.key for probe in RULES["image.ratio"].asks(GEMINI)] == [
        "generate/base",
        "generate/aspect_ratio:9:16",
        "generate/aspect_ratio:21:9",
    ]
    assert [probe.key for probe in RULES["image.tier"].asks(GEMINI)] == ["generate/base", "generate/tier:2K"]
