"""`testcard check` as a user runs it, over real sockets: exit codes, messages, budgets, replay, plan, secrets."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from testcard.harness.cli import run
from testcard.harness.rules.promises import RULES
from testcard.harness.targets import EmbeddedMocks, embedded_mocks
from testkit.waiting import PATIENCE_S, until

KEY = "sk-integration-0123456789"
Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def mock() -> Iterator[EmbeddedMocks]:
    """One conforming NanoGPT mock with a key of its own."""
    with embedded_mocks(["nanogpt"], options=["--api-key", KEY]) as mocks:
        yield mocks


@pytest.fixture
def url(mock: EmbeddedMocks, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("TESTCARD_API_KEY", KEY)
    monkeypatch.setenv("TESTCARD_PROGRESS", "none")
    return mock.base_urls["nanogpt"]


def counters(url: str) -> dict[str, Any]:
    with urllib.request.urlopen(f"{url}/_testcard/counters", timeout=5) as answer:
        found: dict[str, Any] = json.load(answer)
        return found


def test_a_conforming_target_passes(url: str, tmp_path: Path, capsys: Capture) -> None:
    """Exit 0, a table of rules, the spend and the folder on stdout; the folder holds what happened and no key."""
    before = counters(url)
    assert run(["check", "nanogpt", "--base-url", url, "--out", str(tmp_path / "run")]) == 0
    out = capsys.readouterr().out
    assert "✓ pass        image.size" in out
    assert "PASS: " in out
    assert " fail" not in out
    assert str(tmp_path / "run") in out
    verdicts = json.loads((tmp_path / "run" / "verdicts.json").read_text())
    after = counters(url)
    assert verdicts["outcome"] == "pass"
    assert verdicts["spend"]["billed_requests"] == after["billed_requests"] - before["billed_requests"]
    assert verdicts["spend"]["images"] == after["images"] - before["images"]
    assert verdicts["spend"]["images"] <= 40
    assert verdicts["spend"]["cost_usd"] > 0
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert (record["outcome"], record["exit_code"]) == ("pass", 0)
    for path in (tmp_path / "run").rglob("*"):
        assert path.is_dir() or KEY.encode() not in path.read_bytes(), path


def test_a_replay_says_the_same_without_a_request(url: str, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    """--rejudge gives identical verdicts, sends nothing, and is a run of its own, in a named folder or a new one."""
    assert run(["check", "nanogpt", "--base-url", url, "--max-images", "6", "--out", str(tmp_path / "run"), "--json"]) == 5
    first = json.loads(capsys.readouterr().out)
    before = counters(url)
    assert run(["check", "nanogpt", "--rejudge", str(tmp_path / "run"), "--out", str(tmp_path / "again"), "--json"]) == 5
    assert json.loads(capsys.readouterr().out) == first
    assert counters(url) == before
    monkeypatch.chdir(tmp_path)
    assert run(["check", "nanogpt", "--rejudge", "again", "--json"]) == 5
    assert json.loads(capsys.readouterr().out) == first
    (third,) = (tmp_path / "testcard-runs").iterdir()
    assert json.loads((third / "verdicts.json").read_text()) == first
    assert json.loads((third / "run.json").read_text())["config"]["replay_of"] == "again"
    assert counters(url) == before


def test_a_plan_is_shown_and_nothing_sent(url: str, capsys: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """--plan prints every request with reason and price; the server sees none, no folder appears."""
    monkeypatch.chdir(tmp_path)
    before = counters(url)
    assert run(["check", "nanogpt", "--base-url", url, "--plan", "--rule", "image.*"]) == 0
    out = capsys.readouterr().out
    assert "generate/size:512x512" in out
    assert "image.count" in out
    assert "Nothing was sent." in out
    assert run(["check", "nanogpt", "--plan", "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert plan["steps"][0]["probe"] == "generate/base"
    assert plan["cost_usd"] > 0
    assert counters(url) == before
    assert not any(tmp_path.iterdir())


def test_a_budget_of_five_pictures_brings_five(url: str, tmp_path: Path, capsys: Capture) -> None:
    """--max-images 5 at concurrency 32: the mock counts no sixth; exit 5; the message says how to go on."""
    before = counters(url)
    arguments = ["check", "nanogpt", "--base-url", url, "--max-images", "5", "--concurrency", "32", "--out", str(tmp_path / "run")]
    assert run(arguments) == 5
    assert counters(url)["images"] - before["images"] <= 5
    err = capsys.readouterr().err
    assert "the budget of 5 images is spent" in err
    assert "--max-images" in err


def test_a_dead_port_is_exit_3(tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing listens: exit 3, the address and a next step, and the run folder says so."""
    monkeypatch.setenv("TESTCARD_PROGRESS", "none")
    assert run(["check", "nanogpt", "--base-url", "http://127.0.0.1:9", "--out", str(tmp_path / "run")]) == 3
    err = capsys.readouterr().err
    assert "http://127.0.0.1:9" in err
    assert "next: " in err
    assert json.loads((tmp_path / "run" / "run.json").read_text())["exit_code"] == 3


def test_a_wrong_key_is_exit_3(url: str, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    """401 to the first keyed request: exit 3, and the variable to set."""
    monkeypatch.setenv("TESTCARD_API_KEY", "sk-wrong")
    assert run(["check", "nanogpt", "--base-url", url, "--out", str(tmp_path / "run")]) == 3
    err = capsys.readouterr().err
    assert "401" in err
    assert "TESTCARD_API_KEY" in err
    assert "sk-wrong" not in err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--flag-that-is-not"], "No such option"),
        (["--operation", "createPicture"], "createImage"),
        (["--rule", "imgae.*"], "did you mean image.*?"),
        (["--base-url", "https://api.example.com"], "--live"),
        (["--base-url", "https://api.example.com", "--live"], "--max-cost"),
        (["--base-url", "not a url"], "base URL"),
        (["--rejudge", "/nowhere/at/all"], "run folder"),
        (["--concurrency", "0"], "--concurrency"),
        (["--max-cost", "-1"], "--max-cost"),
    ],
)
def test_what_cannot_be_done_is_exit_2(
    arguments: list[str], said: str, capsys: Capture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A wrong flag or combination: exit 2 with what to do instead; nothing is written."""
    monkeypatch.chdir(tmp_path)
    assert run(["check", "nanogpt", *arguments]) == 2
    assert said in capsys.readouterr().err
    assert not any(tmp_path.iterdir())


def test_a_check_that_judged_nothing_is_no_pass(url: str, tmp_path: Path, capsys: Capture) -> None:
    """A model that is not served, and one rule of what it was to draw: everything is unsupported, exit 5, and the reason is told."""
    folder = tmp_path / "run"
    assert run(["check", f"nanogpt={url}", "--model", "misspelt", "--rule", "image.size", "--out", str(folder)]) == 5
    told = capsys.readouterr()
    assert "INCONCLUSIVE: 1 unsupported" in told.out
    assert "nothing was judged" in told.err
    assert "--model" in told.err
    record = json.loads((folder / "run.json").read_text())
    assert (record["outcome"], record["exit_code"], "nothing was judged" in record["reason"]) == ("inconclusive", 5, True)
    assert run(["check", "nanogpt", "--rejudge", str(folder), "--out", str(tmp_path / "again")]) == 5


def test_a_cost_limit_needs_a_price(capsys: Capture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """--max-cost on a model without a price is a usage error that names the configuration key."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TESTCARD_API_KEY", KEY)
    assert run(["check", "nanogpt", "--base-url", "https://api.example.com", "--live", "--max-cost", "1"]) == 2
    assert '[prices.nanogpt.models] "hidream"' in capsys.readouterr().err


@pytest.mark.parametrize(
    ("provider", "fault", "rule"),
    [
        ("nanogpt", "http.status-documented", "http.status-documented"),
        ("nanogpt", "http.no-server-error", "http.no-server-error"),
        ("nanogpt", "schema.response", "schema.response"),
        ("nanogpt", "auth.required", "auth.required"),
        ("nanogpt", "request.accepts-valid", "request.accepts-valid"),
        ("nanogpt", "request.refuses-invalid", "request.refuses-invalid"),
        ("nanogpt", "image.count", "image.count"),
        ("nanogpt", "image.decodes", "image.decodes"),
        ("nanogpt", "image.size", "image.size"),
        ("nanogpt", "delivery.exclusive", "delivery.exclusive"),
        ("nanogpt", "seed.repeatable", "seed.repeatable"),
        ("nebul", "image.format", "image.format"),
    ],
)
def test_a_fault_is_found_by_its_rule(
    provider: str, fault: str, rule: str, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over sockets, each fault makes its rule fail (exit 1), with the clause, the evidence and a curl that carries no key."""
    monkeypatch.setenv("TESTCARD_API_KEY", KEY)
    monkeypatch.setenv("TESTCARD_PROGRESS", "none")
    with embedded_mocks([provider], options=["--api-key", KEY, "--fault", fault]) as mocks:
        arguments = ["check", provider, "--base-url", mocks.base_urls[provider], "--rule", rule, "--out", str(tmp_path / "run")]
        assert run([*arguments, *(["--operation", "createImage"] if provider == "nebul" else [])]) == 1
    out = capsys.readouterr().out
    verdicts = json.loads((tmp_path / "run" / "verdicts.json").read_text())["verdicts"]
    assert [(one["rule"], one["verdict"]) for one in verdicts] == [(rule, "fail")]
    assert verdicts[0]["exchanges"]
    assert f"✗ {rule} · createImage · must" in out
    assert "curl -sS -i" in out
    assert KEY not in out


def test_the_printed_curl_runs(url: str, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    """The curl of a finding sends the recorded request again, with the key from the environment."""
    with embedded_mocks(["nebul"], options=["--api-key", KEY, "--fault", "image.count/extra"]) as mocks:
        base = mocks.base_urls["nebul"]
        run(["check", "nebul", "--base-url", base, "--rule", "image.count", "--out", str(tmp_path / "run")])
        commands = [line.removeprefix("  again     ") for line in capsys.readouterr().out.splitlines() if line.startswith("  again")]
        assert len(commands) == 3  # JSON and two multipart operations
        for command in commands:
            done = subprocess.run(
                ["bash", "-c", command], capture_output=True, timeout=PATIENCE_S, env={**os.environ, "TESTCARD_API_KEY": KEY}, check=True
            )
            assert done.stdout.startswith(b"HTTP/1.1 200"), command


def test_no_auth_leaves_the_key_rules_out(url: str, tmp_path: Path, capsys: Capture) -> None:
    """--no-auth sends no key: auth.required is unsupported, and a target that wants one refuses everything."""
    code = run(
        [
            "check",
            "nanogpt",
            "--base-url",
            url,
            "--no-auth",
            "--rule",
            "auth.*",
            "--rule",
            "image.count",
            "--out",
            str(tmp_path / "r"),
            "--json",
        ]
    )
    verdicts = {one["rule"]: one["verdict"] for one in json.loads(capsys.readouterr().out)["verdicts"]}
    assert verdicts["auth.required"] == "unsupported"
    assert verdicts["image.count"] == "not-run"
    assert code == 5


def test_ctrl_c_keeps_what_was_judged(tmp_path: Path) -> None:
    """SIGINT: a word at once, exit 130, verdicts on what is there, the run marked as interrupted; no page, which takes time, but how to have it."""
    with embedded_mocks(["nanogpt"], options=["--latency", "0.3"]) as mocks:
        command = [sys.executable, "-m", "testcard.harness.cli", "check", "nanogpt", "--base-url", mocks.base_urls["nanogpt"]]
        process = subprocess.Popen(
            [*command, "--concurrency", "1", "--out", str(tmp_path / "run")],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "TESTCARD_API_KEY": mocks.api_key},
        )
        until(lambda: (tmp_path / "run" / "exchanges.jsonl").exists(), "a first exchange")
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130
    assert "interrupted" in err
    assert "not-run" in out
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert (record["outcome"], record["exit_code"]) == ("interrupted", 130)
    assert json.loads((tmp_path / "run" / "verdicts.json").read_text())["verdicts"]
    assert {"junit", "sarif"} <= set(record["files"])
    assert "report" not in record["files"]
    assert "next: testcard report " in err


def test_rules_are_listed_and_explained(capsys: Capture) -> None:
    """`testcard rules` lists all; `rules ID` says where it is promised; a wrong id is answered with the nearest."""
    assert run(["rules"]) == 0
    listed = capsys.readouterr().out
    assert "seed.repeatable" in listed
    assert run(["rules", "seed.repeatable"]) == 0
    assert "nanogpt" in capsys.readouterr().out
    assert run(["rules", "seed.repeatible"]) == 2
    assert "did you mean seed.repeatable" in capsys.readouterr().err
    assert run(["rules", "--json"]) == 0
    assert [one["id"] for one in json.loads(capsys.readouterr().out)] == list(RULES)
