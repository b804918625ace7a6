"""The client and its commands against the five mocks over sockets: every task of every provider, and faults as errors."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from PIL import Image

from testcard.harness.cli import run
from testcard.harness.client import AsyncClient, AuthenticationFailed, Client, Result
from testcard.harness.targets import EmbeddedMocks, embedded_mocks
from testcard.specs.loader import bundled_ids, load_provider
from testkit.pictures import plain

RELAY = "opengpu-relay"


@pytest.fixture(scope="module")
def mocks() -> Iterator[EmbeddedMocks]:
    with embedded_mocks(bundled_ids()) as running:
        yield running


@pytest.fixture(params=["sync", "async"])
def call(request: pytest.FixtureRequest, mocks: EmbeddedMocks) -> Any:
    def go(provider: str, method: str, *arguments: Any, settings: dict[str, Any] | None = None, **terms: Any) -> Result:
        options = {"base_url": mocks.base_urls[provider], "api_key": mocks.api_key, "poll_interval_s": 0.02, **(settings or {})}
        if request.param == "sync":
            with Client(provider, **options) as client:
                return getattr(client, method)(*arguments, **terms)  # type: ignore[no-any-return]

        async def went() -> Result:
            async with AsyncClient(provider, **options) as client:
                return await getattr(client, method)(*arguments, **terms)  # type: ignore[no-any-return]

        return anyio.run(went)

    return go


@pytest.mark.parametrize(
    ("provider", "terms", "size", "count"),
    [
        ("nanogpt", {"size": (512, 512), "n": 2, "seed": 7}, (512, 512), 2),
        ("nanogpt", {"size": (256, 256), "delivery": "url"}, (256, 256), 1),
        ("nebul", {"size": (256, 256), "n": 2, "delivery": "base64"}, (256, 256), 2),
        ("nvidia-nim-image", {"size": (512, 768), "seed": 4}, (512, 768), 1),
        (RELAY, {"size": (512, 512)}, (512, 512), 1),
        (RELAY, {"operation": "generateFlux", "size": (96, 64), "seed": 1, "format": "jpeg"}, (96, 64), 1),
        (RELAY, {"operation": "generateGptImage", "n": 3, "quality": "low", "size": (1536, 1024)}, (1536, 1024), 3),
        (RELAY, {"operation": "generateQwen", "seed": 1, "size": (1024, 1024)}, (1024, 1024), 1),
        (RELAY, {"operation": "generateFlux", "size": (64, 64), "asynchronous": True}, (64, 64), 1),
        (RELAY, {"operation": "generateQwen", "asynchronous": True}, (1024, 1024), 1),
    ],
)
def test_generate(call: Any, provider: str, terms: dict[str, Any], size: tuple[int, int], count: int) -> None:
    """Pictures of the size, number and format asked for, and a cost, from every generating shape of contract."""
    result = call(provider, "generate", "a red boat", **terms)
    assert [(p.width, p.height, p.format) for p in result.pictures] == [(*size, terms.get("format", "png"))] * count
    assert result.pictures[0].image().size == size
    assert result.notes == ()
    assert (result.timings.queue_s is not None) == bool(terms.get("asynchronous"))


def test_gemini_by_shape_and_tier(call: Any) -> None:
    """A size in pixels becomes a ratio and a tier, and the picture has about that shape."""
    (picture,) = call(RELAY, "generate", "x", operation="generateGemini", size=(1344, 768)).pictures
    assert picture.width / picture.height == pytest.approx(16 / 9, rel=0.03)


def test_the_same_seed_gives_the_same_picture(call: Any) -> None:
    """A seed reaches the target."""
    one, other = (call("nanogpt", "generate", "x", seed=3, size=(256, 256)).pictures[0] for _ in range(2))
    assert one.data == other.data
    assert call("nanogpt", "generate", "x", seed=4, size=(256, 256)).pictures[0].data != one.data


@pytest.mark.parametrize(
    ("provider", "terms"),
    [
        ("nanogpt", {"mask": plain(colour="white"), "size": (256, 256)}),
        ("nanogpt", {"size": (256, 256)}),
        ("nebul", {"mask": plain(colour="white"), "n": 2}),
        ("nvidia-nim-image", {"size": (512, 512)}),
        ("nvidia-nim-image", {"mask": plain(colour="white"), "size": (512, 512)}),
        (RELAY, {"mask": plain(colour="white")}),
        (RELAY, {"operation": "generateFlux", "size": (64, 64)}),
        (RELAY, {"operation": "editQwen"}),
    ],
)
def test_edit(call: Any, provider: str, terms: dict[str, Any]) -> None:
    """A picture and a prompt, with and without a mask, in every spelling: data URL, base64, file, address or base64."""
    result = call(provider, "edit", plain(), "add a hat", **terms)
    assert len(result.pictures) == terms.get("n", 1)


def test_variation_and_describe(call: Any) -> None:
    """A file part without a prompt, and a chat with an image part."""
    assert len(call("nebul", "variation", plain(), n=2).pictures) == 2
    result = call("nvidia-nim-vision", "describe", plain(), "What is this?", max_tokens=64)
    assert result.text
    assert result.usage.total_tokens == result.usage.prompt_tokens + result.usage.completion_tokens


def test_describe_streams(mocks: EmbeddedMocks) -> None:
    """The pieces add up to the text."""
    with Client("nvidia-nim-vision", base_url=mocks.base_urls["nvidia-nim-vision"], api_key=mocks.api_key) as client:
        stream = client.describe(plain(), stream=True)
        pieces = list(stream)
        assert len(pieces) > 3
        assert "".join(pieces) == stream.finish().text


@pytest.mark.parametrize("provider", bundled_ids())
def test_a_wrong_key_is_refused_and_said(call: Any, provider: str) -> None:
    """401 from every mock is an AuthenticationFailed that names the variable to set."""
    method = "describe" if provider == "nvidia-nim-vision" else "generate"
    with pytest.raises(AuthenticationFailed) as caught:
        call(provider, method, plain() if method == "describe" else "x", settings={"api_key": "sk-unwelcome"})
    assert "_API_KEY" in str(caught.value.hint)
    assert "sk-unwelcome" not in caught.value.message


# ── the commands ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs `testcard …` in an empty folder: (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)
    for name in ("TESTCARD_API_KEY", *(load_provider(provider).profile.auth.key_env for provider in bundled_ids())):
        monkeypatch.delenv(name, raising=False)

    def go(*arguments: str) -> tuple[int, str, str]:
        code = run(list(arguments))
        out, err = capsys.readouterr()
        return code, out, err

    return go


def test_generate_starts_the_mock_and_writes_the_picture(cli: Any) -> None:
    """`testcard generate opengpu-relay "a red boat" --size 512x512 -o boat.png` writes a picture of that size and says so."""
    code, out, err = cli("generate", RELAY, "a red boat", "--size", "512x512", "-o", "boat.png")
    assert code == 0
    assert Image.open("boat.png").size == (512, 512)
    assert out.startswith("boat.png: png 512x512, ")
    assert "illustrative price" in out
    assert "starting the embedded mock of OpenGPU Relay" in err


def test_several_pictures_are_numbered(cli: Any, mocks: EmbeddedMocks) -> None:
    """boat.png becomes boat-1.png and boat-2.png."""
    code, out, _ = cli(
        "generate", "nanogpt", "x", "-n", "2", "--size", "256x256", "-o", "boat.png", "--base-url", mocks.base_urls["nanogpt"]
    )
    assert code == 0
    assert [line.partition(":")[0] for line in out.splitlines()[:2]] == ["boat-1.png", "boat-2.png"]
    assert Path("boat-1.png").is_file()
    assert not Path("boat.png").exists()


def test_json_is_one_object_on_stdout(cli: Any, mocks: EmbeddedMocks) -> None:
    """--json prints the result with its files; the choice of another operation is said on stderr and in the notes."""
    code, out, err = cli("generate", RELAY, "x", "--size", "auto", "--json", "--base-url", mocks.base_urls[RELAY])
    record = json.loads(out)
    assert code == 0
    assert record["operation"] == "generateGptImage"
    assert record["files"] == ["opengpu-relay-generate.png"]
    assert "generateStableDiffusion cannot make auto, so generateGptImage does it" in err
    assert len(record["notes"]) == 1


def test_without_a_name_nothing_is_overwritten(cli: Any, mocks: EmbeddedMocks) -> None:
    """The second picture gets another name."""
    for _ in range(2):
        cli("generate", "nanogpt", "x", "--size", "256x256", "--base-url", mocks.base_urls["nanogpt"])
    assert sorted(path.name for path in Path().iterdir()) == ["nanogpt-generate-2.png", "nanogpt-generate.png"]


def test_edit_variation_and_describe_commands(cli: Any, mocks: EmbeddedMocks) -> None:
    """Each reads a file; describe prints the text on stdout and the rest on stderr."""
    Path("in.png").write_bytes(plain())
    assert cli("edit", "nebul", "in.png", "a hat", "--mask", "in.png", "-o", "e", "--base-url", mocks.base_urls["nebul"])[0] == 0
    assert Path("e.png").is_file()
    assert cli("variation", "nebul", "in.png", "-o", "v.png", "--base-url", mocks.base_urls["nebul"])[0] == 0
    code, out, err = cli("describe", "nvidia-nim-vision", "in.png", "What?", "--base-url", mocks.base_urls["nvidia-nim-vision"])
    assert code == 0
    assert out.strip()
    assert "first token after" in err


def test_describe_as_json_and_without_stream(cli: Any, mocks: EmbeddedMocks) -> None:
    """--json holds the text and the usage; --no-stream prints the text at once; --quiet says nothing else."""
    Path("in.png").write_bytes(plain())
    base = ["describe", "nvidia-nim-vision", "in.png", "--base-url", mocks.base_urls["nvidia-nim-vision"], "--quiet"]
    code, out, err = cli(*base, "--json")
    record = json.loads(out)
    assert (code, err) == (0, "")
    assert record["usage"]["total_tokens"] > 0
    assert cli(*base, "--no-stream")[1].strip() == record["text"]


def test_a_name_that_lies_about_the_format_is_pointed_out(cli: Any, mocks: EmbeddedMocks) -> None:
    """The bytes are written as they came; a .png that holds a JPEG is said."""
    code, out, err = cli("generate", "nebul", "x", "--format", "jpeg", "-o", "boat.png", "--base-url", mocks.base_urls["nebul"])
    assert code == 0
    assert out.startswith("boat.png: jpeg ")
    assert "boat.png holds jpeg" in err


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["generate", "nanogpt", "x", "--size", "513x512"], 2, "size: must be one of 256x256"),
        (["generate", "nanogpt", "x", "--size", "big one"], 2, "is no size"),
        (["generate", "nope", "x"], 2, "there is no provider nope"),
        (["generate", "nanogpt", "x", "-o", "no/such/folder/boat.png"], 2, "its folder does not exist"),
        (["generate", "nanogpt", "x", "--base-url", "http://127.0.0.1:9"], 3, "nothing answers"),
        (["generate", "nanogpt", "x", "--base-url", "http://example.com"], 2, "add --live"),
        (["edit", "nanogpt", "missing.png", "x"], 2, "missing.png: No such file"),
        (["variation", "nanogpt", "missing.png"], 2, "missing.png"),
        (["generate", "nanogpt", "x", "--seed", "seven"], 2, "--seed"),
    ],
)
def test_errors_have_the_documented_code_and_a_next_step(cli: Any, arguments: list[str], code: int, says: str) -> None:
    """Usage is 2, unreachable 3; the message says what happened; nothing is on stdout; no mock is started for a refusal."""
    got, out, err = cli(*arguments)
    assert got == code
    assert says in err
    assert out == ""
    assert "embedded mock" not in err


def test_a_wrong_key_exits_3(cli: Any, mocks: EmbeddedMocks, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message names the variable, and never the key."""
    monkeypatch.setenv("TESTCARD_API_KEY", "sk-very-wrong")
    code, _, err = cli("generate", "nanogpt", "x", "--base-url", mocks.base_urls["nanogpt"])
    assert code == 3
    assert "next: set TESTCARD_API_KEY or NANOGPT_API_KEY" in err
    assert "sk-very-wrong" not in err
