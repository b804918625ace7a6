"""Facts about pictures: each sees what it is for, stays quiet without it, and the report says nothing of beauty."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from testcard.harness import cli
from testcard.harness.intake.limits import IntakeLimits, changed, use_limits
from testcard.harness.runs.folder import RunReader
from testcard.reports.content.picture_facts import asked_text, block_steps, fine_share, share_read

imagehash = pytest.importorskip("imagehash", reason="the extra testcard[facts] is not installed")

from testcard.reports.content.picture_facts import facts_of  # noqa: E402


def scene(seed: int, edge: int = 256) -> Image.Image:
    """A picture with detail at every scale, as photographs have: amplitude falls with frequency."""
    random = np.random.default_rng(seed)
    frequency = np.hypot(np.fft.fftfreq(edge)[:, None], np.fft.rfftfreq(edge)[None, :])
    spectrum = np.fft.rfft2(random.normal(size=(edge, edge))) / np.maximum(frequency, 1 / edge)
    values = np.fft.irfft2(spectrum, s=(edge, edge))
    values = (values - values.min()) / np.ptp(values) * 255
    return Image.fromarray(values.astype(np.uint8), "L").convert("RGB")


def encoded(picture: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def grey(picture: Image.Image) -> np.ndarray:
    return np.asarray(picture.convert("L"), dtype=np.float64)


def test_upscaled_pictures_have_hardly_any_fine_detail() -> None:
    """Drawn at a quarter of the edge and enlarged: at least a hundred times less than the same scene drawn whole."""
    for seed in range(4):
        whole = fine_share(grey(scene(seed)))
        enlarged = fine_share(grey(scene(seed).resize((64, 64), Image.Resampling.LANCZOS).resize((256, 256), Image.Resampling.BICUBIC)))
        assert whole is not None
        assert enlarged is not None
        assert enlarged < whole / 100
    assert fine_share(np.zeros((16, 16))) is None
    assert fine_share(np.full((64, 64), 7.0)) is None


def test_white_noise_has_the_share_that_geometry_gives_it() -> None:
    """Of a flat spectrum the part outside a circle of radius 0.25 in the square of side 1: 1 − π/16."""
    share = fine_share(np.random.default_rng(1).normal(size=(256, 256)))
    assert share == pytest.approx(1 - np.pi / 16, abs=0.02)


def test_strong_jpeg_shows_its_blocks_and_png_does_not() -> None:
    for seed in range(4):
        with Image.open(io.BytesIO(encoded(scene(seed), "JPEG", quality=8))) as compressed:
            blocky = block_steps(grey(compressed))
        plain = block_steps(grey(scene(seed)))
        assert blocky is not None
        assert plain is not None
        assert blocky > 1.3
        assert 0.9 < plain < 1.1
    assert block_steps(np.full((64, 64), 7.0)) is None


def test_near_duplicates_and_origin() -> None:
    """A re-encoded picture is nearly the same, another scene is not; EXIF and C2PA marks are read, and their absence too."""
    exif = Image.Exif()
    exif[0x0131] = "Painter 3"
    one, again, other = facts_of(encoded(scene(1))), facts_of(encoded(scene(1), "JPEG", quality=80, exif=exif)), facts_of(encoded(scene(2)))
    assert one is not None
    assert again is not None
    assert other is not None
    assert one.identity - again.identity <= 4 < one.identity - other.identity
    assert (one.provenance, again.provenance) == ((), ("EXIF software Painter 3",))
    marked = facts_of(encoded(scene(1)) + b"....jumb....c2pa....trainedAlgorithmicMedia")
    assert marked is not None
    assert marked.provenance == ("C2PA manifest", "IPTC: made by a trained model")
    assert facts_of(b"no picture") is None


def test_what_is_quoted_in_a_prompt_is_asked_for() -> None:
    assert asked_text('a sign that says "OPEN late"') == "OPEN late"
    assert asked_text("a card “Hello” and a flag „Welt“") == "Hello Welt"
    assert asked_text("the dog's bowl, 5\" wide") == ""


def test_the_share_of_letters_that_were_read() -> None:
    """Case, spaces and what stands around do not count; letters that are missing or wrong do."""
    assert share_read("OPEN late", "today: open\nLATE till 9") == 1.0
    assert share_read("OPEN", "OPFN") == 0.75
    assert share_read("OPEN", "") == 0.0
    assert share_read("OPEN", "zzzzzz") == 0.0


def test_text_in_a_picture_is_read() -> None:
    """A sign that is there, one that is not, and one that nobody asked for."""
    pytest.importorskip("rapidocr_onnxruntime", reason="the extra testcard[ocr] is not installed")
    sign = Image.new("RGB", (512, 256), "white")
    ImageDraw.Draw(sign).text((60, 80), "OPEN late", fill="black", font=ImageFont.load_default(64))
    for picture, text, share in ((sign, "OPEN late", 1.0), (scene(1), "OPEN late", 0.0), (sign, "", None)):
        facts = facts_of(encoded(picture), text)
        assert facts is not None
        assert facts.legible == share


def test_the_report_holds_them_only_where_asked(runs: list[RunReader], tmp_path: Path) -> None:
    """--facts adds one table under Pictures; n counts the pictures looked at."""
    checks = [str(run.folder) for run in runs if run.run.kind == "check"][:2]
    for name, flags in (("plain", []), ("facts", ["--facts"])):
        assert cli.run(["report", *checks, *flags, "--out", str(tmp_path / name)]) == 0
        text = (tmp_path / name / "report.md").read_text(encoding="utf-8")
        assert ("### Facts about pictures" in text) == (name == "facts")
    assert "None of this says which picture is better" in text


def test_a_picture_beyond_the_limit_of_pixels_is_not_measured() -> None:
    """Nobody decodes more than the limits of the process say, a report no more than a check."""
    picture = encoded(scene(1))
    assert facts_of(picture) is not None
    use_limits(changed(IntakeLimits(), {"pixels": 256 * 256 - 1}))
    try:
        assert facts_of(picture) is None
    finally:
        use_limits(IntakeLimits())
