"""What the commands do with pictures: names from templates, a look in the terminal, prompts from a file."""

from __future__ import annotations

import base64
import io
import os
import re
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from testcard.harness.cli.drawing import (
    FIELDS,
    Asked,
    Batching,
    Template,
    carry_out,
    drawn,
    fit,
    read_prompts,
    refuse_to_overwrite,
    save,
    way_of,
)
from testcard.harness.client import Client, Picture, RequestRefused, Result, Timings
from testcard.harness.errors import UsageError
from testcard.harness.wire.model import Answer
from testkit.pictures import plain


def result(*seeds: int | None) -> Result:
    pictures = tuple(Picture(plain(8, 4), "png", 8, 4, seed, None, number) for number, seed in enumerate(seeds))
    return Result("nanogpt", "createImage", "flux/dev", pictures, None, None, None, None, "", Timings(0.0, 0.0), Answer(200))


def test_a_template_names_what_is_known() -> None:
    """Cut, padded, and fit for a file system: no part of a prompt leads into another folder."""
    one, asked = result(7), Asked("../a red/boat: at\nnight?")
    name = Template("{prompt:.9}-{seed}-{index:03}-{width}x{height}.{format}").name(one, one.pictures[0], asked, index=2, n=1)
    assert name == "a-red-boa-7-002-8x4.png"
    assert Template("out/{model}-{n}").name(one, one.pictures[0], asked, index=1, n=1) == "out/flux-dev-1"
    assert Template("{seed}").name(result(None), result(None).pictures[0], Asked("x"), index=1, n=1) == "random"
    assert fit("../..") == "x"
    assert len(Template("{prompt}").name(one, one.pictures[0], Asked("x" * 999), index=1, n=1)) <= 200


@pytest.mark.parametrize("prompt", ["船" * 300, "word.abc " * 60, "é" * 999])
def test_a_long_prompt_leaves_room_for_the_rest_of_the_name(prompt: str) -> None:
    """File systems count bytes; what tells pictures apart, and the ending, stay."""
    one = result(7)
    name = Template("{prompt}-{prompt:.90}-{seed}.png").name(one, one.pictures[0], Asked(prompt), index=1, n=1)
    assert len(name.encode()) <= 200
    assert name.endswith("-7.png")
    assert len(Template("船" * 70 + "{seed}").name(one, one.pictures[0], Asked(prompt), index=1, n=1).encode()) <= 200


@pytest.mark.parametrize("text", ["{promt}", "{}", "{prompt", "{prompt!q}", "{index:.z}", "{prompt.a}"])
def test_a_template_that_cannot_be_filled_in_is_refused(text: str) -> None:
    """With what there is, or how it is written."""
    with pytest.raises(UsageError) as caught:
        Template(text)
    assert "{prompt" in str(caught.value.hint)
    assert all(FIELDS.values())


def test_a_template_overwrites_nothing(tmp_path: Path) -> None:
    """Equal names get numbers, unless force says otherwise."""
    output = tmp_path / "{prompt}.png"
    first = save(result(1, 2), output, "stem", Asked("boat"), force=False)
    assert [path.name for path in first] == ["boat.png", "boat-2.png"]
    assert [path.name for path in save(result(1), output, "stem", Asked("boat"), force=False)] == ["boat-3.png"]
    assert [path.name for path in save(result(1), output, "stem", Asked("boat"), force=True)] == ["boat.png"]


def test_a_device_gets_no_ending_and_no_number(capsys: pytest.CaptureFixture[str]) -> None:
    """/dev/null takes what is thrown away, and no file appears beside it."""
    null = Path(os.devnull)
    refuse_to_overwrite(null)
    assert save(result(1, 2), null, "stem", Asked("boat"), force=False) == [null, null]
    assert capsys.readouterr().err == ""


def test_terminals_are_told_by_their_environment() -> None:
    """kitty, Ghostty, iTerm2, WezTerm, foot; none inside tmux, none where nothing tells."""
    assert way_of({"TERM": "xterm-kitty"}) == "kitty"
    assert way_of({"TERM_PROGRAM": "ghostty"}) == "kitty"
    assert way_of({"TERM_PROGRAM": "iTerm.app"}) == "iterm"
    assert way_of({"TERM_PROGRAM": "WezTerm"}) == "iterm"
    assert way_of({"TERM": "foot"}) == "sixel"
    assert way_of({"TERM": "xterm-kitty", "TMUX": "1"}) is None
    assert way_of({"TERM": "xterm-256color"}) is None


def test_pictures_are_drawn_as_each_terminal_takes_them() -> None:
    """PNG in base64, in pieces for kitty; for sixel bands that hold every pixel once."""
    picture = Image.linear_gradient("L").resize((300, 200))
    kitty = drawn(picture, "kitty")
    pieces = re.findall(r"\x1b_G([^;]*);([^\x1b]*)\x1b\\", kitty)
    assert all(len(data) <= 4096 for _, data in pieces)
    assert "m=0" in pieces[-1][0]
    assert Image.open(io.BytesIO(base64.b64decode("".join(data for _, data in pieces)))).size == (300, 200)
    iterm = re.fullmatch(r"\x1b\]1337;File=[^:]*:(.*)\x07\n", drawn(picture, "iterm"))
    assert iterm is not None
    assert Image.open(io.BytesIO(base64.b64decode(iterm[1]))).size == (300, 200)
    flat = drawn(Image.new("RGB", (7, 13), (255, 0, 0)), "sixel")
    assert flat.startswith('\x1bPq"1;1;7;13#0;2;100;0;0')
    assert re.findall(r"#0(!7.)\$-", flat) == ["!7~", "!7~", "!7@"]  # two whole bands and one row of a third


def test_prompts_are_lines(tmp_path: Path) -> None:
    """Empty ones and remarks are none, nor is the mark that Windows begins files with; a file without any, or that is no text, is refused."""
    path = tmp_path / "prompts.txt"
    path.write_text("one\n\n# remark\n  two boats \n")
    assert read_prompts(path) == ["one", "two boats"]
    path.write_bytes("\ufeff# remark\r\na boat\u2028at night\r\n".encode())
    assert read_prompts(path) == ["a boat\u2028at night"]
    for content in (b"", b"# only\n", b"\xff\xfe"):
        path.write_bytes(content)
        with pytest.raises(UsageError):
            read_prompts(path)


def test_a_batch_says_each_file_and_ends_with_what_went_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Names from the template, a line each, and the worst error at the end."""

    def answer(request: httpx.Request) -> httpx.Response:
        if b"bad" in request.content:
            return httpx.Response(400, json={"error": 400, "message": "no"})
        if b"slow" in request.content:
            return httpx.Response(429, json={"error": 429, "message": "later"})
        return httpx.Response(200, json={"data": [{"b64_json": base64.b64encode(plain(8, 8)).decode()}], "cost": 0.25})

    options: dict[str, Any] = {"how": Batching(concurrency=1, again=False, resend=False), "quiet": False, "as_json": False}
    with Client("nanogpt", base_url="http://127.0.0.1:9", api_key="k", transport=httpx.MockTransport(answer)) as client:
        where = tmp_path / "out" / "{index:02}-{prompt}.png"
        with pytest.raises(RequestRefused) as caught:
            carry_out(client, ["one", "bad", "one", "slow"], "generate", {}, where, **options)
        assert caught.type is RequestRefused
        said = capsys.readouterr()
        assert sorted(path.name for path in (tmp_path / "out").glob("*.png")) == ["01-one.png", "03-one.png"]
        assert "2 of 4 prompts done, $0.5" in said.out
        assert "2 failed" in said.err
        carry_out(client, ["one"], "generate", {}, where, **options)
        assert "1 of them before" in capsys.readouterr().out
        with pytest.raises(UsageError, match="one folder"):
            carry_out(client, ["one"], "generate", {}, tmp_path / "{prompt}" / "x.png", **options)


@pytest.mark.parametrize("name", ["/dev/zero", "sparse"])
def test_prompts_that_never_end_are_refused(name: str, tmp_path: Path) -> None:
    """In bounded memory."""
    path = tmp_path / name
    if name == "sparse":
        with path.open("wb") as file:
            file.truncate(1 << 30)
    with pytest.raises(UsageError, match="larger than"):
        read_prompts(path)
