"""One grammar: a target is `PROVIDER[=URL]` for every command, flags win over testcard.toml, and nothing is overwritten or sent unasked."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from testcard.harness.cli import run
from testcard.harness.client import AsyncClient, Client
from testcard.harness.errors import TargetUnreachable, UsageError
from testcard.harness.targets import named_target, wait_until_ready
from testkit.command_line import typed
from testkit.servers import Response, answering, free_port

LIVE = "https://api.nanogpt.example"


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("nanogpt", ("nanogpt", None)),
        ("nanogpt=http://127.0.0.1:1/v1?a=b", ("nanogpt", "http://127.0.0.1:1/v1?a=b")),
        ("./mine=http://[::1]:8000", ("./mine", "http://[::1]:8000")),
    ],
)
def test_a_target_is_a_provider_and_perhaps_a_url(text: str, target: tuple[str, str | None]) -> None:
    """The first `=` parts the two."""
    assert named_target(text) == target


@pytest.mark.parametrize(
    "command", [["check"], ["bench"], ["evaluate"], ["generate"], ["doctor"], ["watch"], ["init", "--target"]], ids=lambda one: one[0]
)
def test_a_url_that_a_shell_left_empty_is_no_call_for_the_mock(command: list[str], tmp_path: Path) -> None:
    """`check nanogpt=$URL` with no URL set would pass against the mock, and let every release through."""
    prompt = ["a boat"] if command == ["generate"] else []
    done = typed([*command, "nanogpt=", *prompt], cwd=tmp_path)
    assert (done.returncode, "nanogpt= names no URL" in done.stderr) == (2, True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", [["check"], ["bench"], ["evaluate"], ["generate"]], ids=lambda one: one[0])
def test_a_positional_target_off_this_machine_needs_live(command: list[str], tmp_path: Path) -> None:
    """Each command reads the URL of its argument, and refuses to talk to it by itself."""
    prompt = ["a boat"] if command == ["generate"] else []
    done = typed([*command, f"nanogpt={LIVE}", *prompt], cwd=tmp_path)
    assert done.returncode == 2
    assert f"{LIVE} is not on this machine" in done.stderr
    assert "--live" in done.stderr


@pytest.mark.parametrize("command", ["check", "generate"])
def test_one_url_is_enough(command: str, tmp_path: Path) -> None:
    """The argument's and the flag's at once is a mistake."""
    prompt = ["a boat"] if command == "generate" else []
    done = typed([command, "nanogpt=http://127.0.0.1:1", *prompt, "--base-url", "http://127.0.0.1:2"], cwd=tmp_path)
    assert (done.returncode, "given twice" in done.stderr) == (2, True)


def test_a_check_without_a_target_takes_the_only_one_of_the_file(tmp_path: Path) -> None:
    """Its model and its operations too; with several, the error shows what to type."""
    one = '[[target]]\nprovider = "nebul"\nbase_url = "http://127.0.0.1:1"\n'
    (tmp_path / "testcard.toml").write_text(one)
    assert json.loads(typed(["check", "--plan", "--json"], cwd=tmp_path).stdout)["steps"]
    (tmp_path / "testcard.toml").write_text(one + '[[target]]\nprovider = "nanogpt"\n')
    done = typed(["check"], cwd=tmp_path)
    assert done.returncode == 2
    assert "testcard check nebul=http://127.0.0.1:1 or testcard check nanogpt" in done.stderr


def test_evaluate_takes_limits_instead_of_a_file(tmp_path: Path) -> None:
    """A live evaluation without any is refused with the flag that bounds it; objectives are read before anything is paid for."""
    done = typed(["evaluate", f"nanogpt={LIVE}", "--live"], cwd=tmp_path, env={"NANOGPT_API_KEY": "k"})
    assert (done.returncode, "--max-requests" in done.stderr) == (2, True)
    done = typed(["evaluate", f"nanogpt={LIVE}", "--live", "--max-requests", "1", "--slo", "p95<<8"], cwd=tmp_path, env={})
    assert (done.returncode, "p95<<8" in done.stderr) == (2, True)
    assert not list(tmp_path.iterdir())


def test_evaluate_names_an_unknown_provider(tmp_path: Path) -> None:
    """As the argument that it is, with the nearest id."""
    done = typed(["evaluate", "nanogtp"], cwd=tmp_path)
    assert (done.returncode, "nanogpt" in done.stderr) == (2, True)


@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_a_client_off_this_machine_needs_live(kind: type[Client] | type[AsyncClient]) -> None:
    """As the command needs --live, with or without a URL of one's own."""
    for more in ({}, {"base_url": LIVE}):
        with pytest.raises(UsageError) as refused:
            kind("nanogpt", api_key="k", **more)  # type: ignore[arg-type]
        assert "live=True" in str(refused.value.hint)
    kind("nanogpt", api_key="k", live=True)


def test_generate_overwrites_nothing_unless_told(tmp_path: Path) -> None:
    """It is refused before the request is sent, also where the first of several would replace one."""
    with answering(lambda request: Response({})) as server:
        for name in ("boat.png", "boat-1.png"):
            (tmp_path / name).write_bytes(b"mine")
            done = typed(["generate", f"nanogpt={server.url}", "a boat", "-o", "boat.png"], cwd=tmp_path)
            assert (done.returncode, f"{name}: is there already" in done.stderr, server.seen) == (2, True, [])
            (tmp_path / name).unlink()


def test_a_server_that_starts_is_waited_for() -> None:
    """503 of a gateway means not yet; what never answers is an error that says for how long it was asked."""
    with answering(lambda request: Response(status=503 if request.number < 2 else 404)) as server:
        wait_until_ready(server.url, 20)
        assert len(server.seen) == 3
    with pytest.raises(TargetUnreachable, match=r"within 0\.1 s"):
        wait_until_ready(f"http://127.0.0.1:{free_port()}", 0.1)


def test_check_waits_when_asked(tmp_path: Path) -> None:
    """`--wait-for` reads as people write it; a server that never comes ends with 3."""
    done = typed(["check", f"nanogpt=http://127.0.0.1:{free_port()}", "--wait-for", "100ms"], cwd=tmp_path)
    assert (done.returncode, "nothing was ready" in done.stderr) == (3, True)
    done = typed(["check", "nanogpt", "--wait-for", "soon"], cwd=tmp_path)
    assert (done.returncode, "write it as 60s" in done.stderr) == (2, True)


@pytest.mark.parametrize(
    "arguments",
    [
        ["generate", "nanogpt=http://127.0.0.1:9", "a boat", "--no-auth", "--size", "9" * 5000 + "x5"],
        ["mock", "nanogpt", "--quota", "9" * 5000],
        ["mock", "nanogpt", "--host", "9" * 5000],
    ],
    ids=lambda one: one[-2],
)
def test_5000_digits_are_a_usage_error(arguments: list[str]) -> None:
    """Python makes no number of so many, and no address."""
    assert run(arguments) == 2
