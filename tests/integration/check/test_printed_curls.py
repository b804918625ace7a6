"""The commands that findings print are run by a real shell and a real curl, and meet what the check met."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from testcard.harness.cli import run
from testcard.harness.runs.folder import RunReader
from testcard.harness.runs.records import Body, Exchange
from testcard.harness.targets import EmbeddedMocks, embedded_mocks
from testcard.harness.text.commands import curl, curl_block

KEY = "sk-printed-0123456789"
CURL = shutil.which("curl")
assert CURL, "curl is needed: it is what the commands are printed for"


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TESTCARD_API_KEY", KEY)
    monkeypatch.setenv("TESTCARD_PROGRESS", "none")


def shell(script: str, folder: Path) -> str:
    environment = {"PATH": os.environ["PATH"], "TESTCARD_API_KEY": KEY}
    done = subprocess.run(["bash", "-c", script], capture_output=True, cwd=folder, env=environment, timeout=240)
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    return done.stdout.decode(errors="replace")


def status_of(printed: str) -> int:
    """The status that curl -i printed, the last one where an interim answer came before."""
    return int([line for line in printed.splitlines() if line.startswith("HTTP/")][-1].split()[1])


@pytest.fixture(scope="module")
def mocks() -> Iterator[EmbeddedMocks]:
    providers = ["nebul", "nvidia-nim-vision", "opengpu-relay"]
    with embedded_mocks(providers, options=["--api-key", KEY]) as running:
        yield running


@pytest.mark.parametrize(
    ("provider", "options"),
    [
        ("nebul", ("--operation", "createImageEdit", "--rule", "request.*", "--rule", "http.*", "--rule", "auth.*")),
        ("nvidia-nim-vision", ()),
        ("opengpu-relay", ("--operation", "getTask", "--operation", "editQwen", "--rule", "async.*", "--rule", "http.*")),
    ],
)
def test_every_request_of_a_check_can_be_sent_again_by_curl(
    mocks: EmbeddedMocks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, provider: str, options: tuple[str, ...]
) -> None:
    """JSON, forms with pictures, bodies of megabytes, other methods, no key, polls: the same status as the check saw.

    By turns as a terminal shows the command and as a report does.
    """
    monkeypatch.chdir(tmp_path)
    run(["check", provider, "--base-url", mocks.base_urls[provider], "--out", "it's a run", *options])
    reader = RunReader(tmp_path / "it's a run")

    def body_file(body: Body) -> str:
        path = tmp_path / f"{body.sha256 or abs(hash(body))}"
        path.write_bytes(reader.bytes_of(body))
        return str(path)

    exchanges = [one for one in reader.exchanges() if one.response is not None]
    assert len(exchanges) > 20
    commands = [curl(one, body_file) if number % 2 else curl_block(one, "it's a run") for number, one in enumerate(exchanges)]
    lines = [f"{command} > {number}.answer" for number, command in enumerate(commands)]
    shell("set -e\n" + "\n".join(lines), tmp_path)
    for number, one in enumerate(exchanges):
        assert one.response is not None
        assert status_of((tmp_path / f"{number}.answer").read_text(errors="replace")) == one.response.status, lines[number][:300]


@pytest.mark.parametrize(
    ("provider", "operation", "fault"),
    [
        ("nebul", "createImageEdit", "http.status-documented"),
        ("nebul", "createImageVariation", "request.refuses-invalid"),
        ("nvidia-nim-vision", "createVisionChatCompletion", "vision.undecodable-refused"),
        ("nvidia-nim-vision", "createVisionChatCompletion", "stream.terminated"),
        ("opengpu-relay", "generateFlux", "auth.required"),
        ("opengpu-relay", "editGptImage", "http.no-server-error"),
    ],
)
def test_each_finding_prints_a_command_that_shows_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], provider: str, operation: str, fault: str
) -> None:
    """The command under each finding, pasted into a shell, brings the status that the finding tells of."""
    monkeypatch.chdir(tmp_path)
    with embedded_mocks([provider], options=["--api-key", KEY, "--fault", fault]) as lying:
        run(["check", provider, "--base-url", lying.base_urls[provider], "--operation", operation, "--rule", fault, "--out", "run"])
        out = capsys.readouterr().out
        found = RunReader(tmp_path / "run").verdicts()
        assert found is not None
        findings = [one for one in found.verdicts if one.verdict in ("fail", "deviates")]
        commands = [line.partition("again")[2].strip() for line in out.splitlines() if line.startswith("  again ")]
        assert [one.rule for one in findings] == [fault]
        assert len(commands) == 1
        printed = shell(commands[0], tmp_path)
    exchanges: dict[str, Exchange] = {one.id: one for one in RunReader(tmp_path / "run").exchanges()}
    seen = exchanges[findings[0].exchanges[0]].response
    assert seen is not None
    assert status_of(printed) == seen.status
    assert KEY not in out
    assert KEY not in json.dumps(found, default=str)
