"""Commands that send a recorded request again: what a shell makes of them is what was sent, and only the key is filled in."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from testcard.harness.redaction import KEY_PLACEHOLDER
from testcard.harness.runs.records import Body, Exchange, SentRequest, TargetRecord
from testcard.harness.text.commands import bench_command, curl, curl_block, quoted, rejudge_command, resend_command, shown_path, typed_path
from testkit.waiting import PATIENCE_S

TRICKY = """it's "quoted" $HOME `id` \\ ! 𝔘 مرحبا"""
NASTY = ["it's", 'a "b" $HOME `id` $(id) \\', "two\nlines", f"key {KEY_PLACEHOLDER} here", "", "!history", "-starts with a dash"]
Written = Callable[[Exchange], str]


def block(of: Exchange) -> str:
    """As reports write it."""
    return curl_block(of, "check-x")


BOTH = pytest.mark.parametrize("written", [curl, block], ids=["line", "block"])


def exchange(body: Body, *, method: str = "POST", url: str = "http://t/v1/x?a=b&c=$d") -> Exchange:
    headers = [("content-type", "application/json"), ("authorization", "Bearer $TESTCARD_API_KEY"), ("x-odd", TRICKY)]
    request = SentRequest(method=method, url=url, headers=headers, body=body)
    return Exchange(id="e1", operation="o", probe="p", source="probe", request=request, sent_s=0, done_s=1)


def arguments(command: str, key: str = "sk-$(touch /never) `x`", shell: str = "bash") -> list[str]:
    """What curl would be called with, and what it would read."""
    script = 'curl() { printf \'%s\\0\' "$@"; case "$*" in *@-) cat;; esac; }\n' + command
    done = subprocess.run(
        [shell, "-c", script], capture_output=True, check=True, env={**os.environ, "TESTCARD_API_KEY": key}, timeout=PATIENCE_S
    )
    return done.stdout.decode("latin-1" if b"@-" in done.stdout else "utf-8").split("\0")


@pytest.mark.parametrize("text", NASTY)
def test_quoted_text_reaches_the_command_as_it_is(text: str) -> None:
    """A shell hands it on unchanged, but for the key's placeholder, which it fills in."""
    assert arguments(f"curl {quoted(text)}", "s3cret", "/bin/sh")[:-1] == [text.replace(KEY_PLACEHOLDER, "s3cret")]


@BOTH
def test_a_curl_says_what_was_sent_and_expands_only_the_key(written: Written) -> None:
    """Quotes, dollars and backticks arrive as they were sent; $TESTCARD_API_KEY alone is taken from the environment."""
    text = json.dumps({"prompt": TRICKY})
    assert arguments(written(exchange(Body(size=len(text.encode()), text=text))))[:-1] == [
        "-sS",
        "-i",
        "http://t/v1/x?a=b&c=$d",
        "-H",
        "content-type: application/json",
        "-H",
        "authorization: Bearer sk-$(touch /never) `x`",
        "-H",
        f"x-odd: {TRICKY}",
        "--data-binary",
        text,
    ]


@BOTH
def test_an_empty_post_stays_a_post(written: Written) -> None:
    """Without a body the method has to be said; a GET needs nothing."""
    empty, full = Body(size=0, text=""), Body(size=2, text="{}")

    def shown(body: Body, method: str) -> list[str]:
        return arguments(written(exchange(body, method=method)))[:-1]

    assert shown(empty, "POST")[2:4] == ["-X", "POST"]
    assert shown(empty, "POST")[-1] == "content-length: 0"
    assert "-X" not in shown(empty, "GET")
    assert "-X" not in shown(full, "POST")
    assert shown(full, "GET")[2:4] == ["-X", "GET"]
    assert shown(empty, "DELETE")[2:4] == ["-X", "DELETE"]
    assert "--head" in shown(empty, "HEAD")


@BOTH
def test_nothing_is_added_or_tidied_on_the_way(written: Written) -> None:
    """A body without a content type stays without one, an empty header is sent, brackets and dots in a URL stay as they are."""
    odd = exchange(Body(size=2, text="{}"), url="http://t/v1/../{x}[1]")
    bare = msgspec.structs.replace(odd, request=msgspec.structs.replace(odd.request, headers=[("x-empty", "")]))
    assert arguments(written(bare))[:-1] == [
        "-sS", "-i", "--globoff", "--path-as-is", "http://t/v1/../{x}[1]", "-H", "x-empty;", "-H", "content-type:", "--data-binary", "{}",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "body", [Body(size=9000, sha256="ab" * 32), Body(size=3, base64="AP8B"), Body(size=3, text="a\r\n"), Body(size=1, text="\x1b")]
)
def test_on_one_line_a_body_that_is_long_or_no_text_comes_from_a_file(body: Body) -> None:
    """Large and binary bodies, and those of several lines, are read from the file that holds them, whatever its name."""
    for name in ("/run/bodies/x y", str(Path("it's here") / "body")):
        assert arguments(curl(exchange(body), lambda found: name))[-3:-1] == ["--data-binary", "@" + name]  # noqa: B023 (called at once)
    assert "@BODY-OF-THE-EXCHANGE" in curl(exchange(body))


@BOTH
def test_a_body_that_begins_like_a_file_is_none(written: Written) -> None:
    """Of a body that begins with @ curl must not make the name of a file."""
    assert arguments(written(exchange(Body(size=6, text="@/etc/"))))[-3:-1] == ["--data-raw", "@/etc/"]


def test_in_a_block_every_text_stands_in_full() -> None:
    """Several lines and more than a line of a terminal holds are written out; each header and the body begin a line."""
    text = "a\n" + "b" * 3000 + "\t'"
    command = block(exchange(Body(size=len(text), text=text)))
    assert arguments(command)[-2] == text
    assert [line.strip().partition(" ")[0] for line in command.split(" \\\n")] == ["curl", "-H", "-H", "-H", "--data-binary"]


def test_in_a_block_other_bodies_come_from_where_they_are() -> None:
    """Short binary ones stand in the command, long ones in the run folder."""
    *words, said, read = arguments(block(exchange(Body(size=3, base64="AP8B"))))
    assert (words[-2:], f"{said}\0{read}") == (["--data-binary", "@-"], "\0\xff\x01")
    assert arguments(block(exchange(Body(size=9000, sha256="ab" * 32))))[-2] == f"@check-x/bodies/{'ab' * 32}"


def test_paths_are_named_as_seen_from_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Below it relative, however they were given; elsewhere absolute; never mistaken for an option."""
    home = tmp_path / "home"
    (home / "runs" / "it's a run").mkdir(parents=True)
    monkeypatch.chdir(home)
    assert shown_path("runs/a") == "runs/a"
    assert shown_path(home / "runs" / "a") == "runs/a"
    assert shown_path("runs/../runs/./a") == "runs/a"
    assert shown_path("-x") == "./-x"
    assert shown_path(tmp_path / "elsewhere") == str(tmp_path / "elsewhere")
    assert shown_path("../elsewhere") == str(tmp_path / "elsewhere")
    done = subprocess.run(
        ["bash", "-c", f"cd -- {typed_path('runs/it' + chr(39) + 's a run')} && pwd"], capture_output=True, text=True, cwd=home
    )
    assert done.stdout.strip().endswith("runs/it's a run")


def test_a_path_is_named_whole_where_the_working_directory_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is relative to a folder that was deleted."""

    def gone() -> Path:
        raise FileNotFoundError

    monkeypatch.setattr(Path, "cwd", gone)
    assert shown_path(tmp_path / "run") == str(tmp_path / "run")


def test_replay_commands_name_the_run_so_that_they_run_from_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run's folder as seen from here; a provider that is not bundled by its own folder."""
    monkeypatch.chdir(tmp_path)
    assert resend_command(tmp_path / "a b", "e0001.f1") == "testcard replay 'a b' e0001.f1"
    assert rejudge_command("runs/x", "nebul", "specs/providers/nebul/openapi.yaml") == "testcard check nebul --rejudge runs/x"
    assert rejudge_command("runs/x", "nebul") == "testcard check nebul --rejudge runs/x"
    assert rejudge_command("x", "mine", str(tmp_path / "my api" / "openapi.yaml")) == "testcard check './my api' --rejudge x"
    assert rejudge_command("x", "openai", "specs/public/openai/openapi.yaml") == "testcard check openai --rejudge x"


def test_the_benchmark_after_a_check_is_of_the_same_target() -> None:
    """A mock of its own by name alone; any other with its address, off this machine with --live; a folder as a folder."""
    own = TargetRecord(provider="nebul", name="Nebul", base_url="http://127.0.0.1:9", mock=True, embedded=True)
    assert bench_command(own, "specs/providers/nebul/openapi.yaml") == "testcard bench nebul --max-requests 60"
    there = msgspec.structs.replace(own, base_url="https://a.example/v1?x", embedded=False)
    assert bench_command(there, "mine/openapi.yaml", "a b", live=True) == (
        "testcard bench ./mine='https://a.example/v1?x' --model 'a b' --live --max-requests 60"
    )


def test_a_picture_within_a_body_comes_from_a_file() -> None:
    """Base64 that nobody can read is not put on a line, however short the body is; ordinary text is."""
    picture = '{"image": "' + "iVBORw0KGgo" * 12 + '", "prompt": "a boat"}'
    words = '{"prompt": "' + "a red boat on a calm lake at dawn " * 20 + '"}'
    assert arguments(curl(exchange(Body(size=len(picture), text=picture)), lambda found: "run/requests/1"))[-3:-1] == [
        "--data-binary",
        "@run/requests/1",
    ]
    assert arguments(curl(exchange(Body(size=len(words), text=words)), lambda found: "run/requests/1"))[-2] == words
