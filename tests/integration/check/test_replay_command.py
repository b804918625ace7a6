"""`testcard replay` as a user runs it: one exchange again, over real sockets, with the key put back and nothing written."""

from __future__ import annotations

import hashlib
import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from testcard.harness.cli import run
from testcard.harness.runs.folder import RunReader
from testcard.harness.targets import EmbeddedMocks, embedded_mocks

KEY = "sk-replayed-0123456789"
Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TESTCARD_API_KEY", KEY)
    monkeypatch.setenv("TESTCARD_PROGRESS", "none")


@pytest.fixture(scope="module")
def mocks() -> Iterator[EmbeddedMocks]:
    with embedded_mocks(["nebul"], options=["--api-key", KEY]) as running:
        yield running


@pytest.fixture(scope="module")
def recorded(mocks: EmbeddedMocks, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A check of Nebul's edits: forms with pictures, refusals, a request without the key."""
    folder = tmp_path_factory.mktemp("replayed") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TESTCARD_API_KEY", KEY)
        patch.setenv("TESTCARD_PROGRESS", "none")
        rules = ("--rule", "image.size", "--rule", "auth.*", "--rule", "request.refuses-invalid")
        run(["check", "nebul", "--base-url", mocks.base_urls["nebul"], "--operation", "createImageEdit", "--out", str(folder), *rules])
    return folder


def exchanges(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "exchanges.jsonl").read_text().splitlines()]


def named(folder: Path, probe: str) -> dict[str, Any]:
    return next(one for one in exchanges(folder) if one["probe"] == probe)


def digest(folder: Path) -> str:
    return hashlib.sha256(b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())).hexdigest()


def served(url: str) -> dict[str, Any]:
    with urllib.request.urlopen(f"{url}/_testcard/counters", timeout=5) as answer:
        found: dict[str, Any] = json.load(answer)
        return found


def test_a_form_with_a_picture_is_sent_again(mocks: EmbeddedMocks, recorded: Path, capsys: Capture) -> None:
    """One billed request: its price is said first, both answers are shown, the folder stays as it was."""
    base = named(recorded, "edit/base")
    before, folder = served(mocks.base_urls["nebul"]), digest(recorded)
    assert run(["replay", str(recorded), base["id"]]) == 0
    out, err = capsys.readouterr()
    after = served(mocks.base_urls["nebul"])
    assert (after["requests"] - before["requests"], after["images"] - before["images"]) == (1, 1)
    assert "1 image, at most $" in err
    assert "status  200" in out
    assert "/v1/images/edits" in out
    assert "/data/0/b64_json  png" in out  # a fresh picture: there is no seed
    assert KEY not in out + err
    assert digest(recorded) == folder


def test_every_exchange_meets_the_recorded_status(recorded: Path, capsys: Capture) -> None:
    """Refusals are refused again, and what went without the key goes without it."""
    for one in exchanges(recorded):
        assert run(["replay", str(recorded), one["id"], "--json"]) == 0
        told = json.loads(capsys.readouterr().out)
        assert told["now"]["status"] == told["recorded"]["status"] == one["response"]["status"], one["probe"]
    assert named(recorded, "edit/no-key")["response"]["status"] == 401


def test_an_unknown_exchange_is_a_usage_error(recorded: Path, capsys: Capture) -> None:
    """Exit 2, with how to list those that exist; the list names each."""
    assert run(["replay", str(recorded), "e9999"]) == 2
    assert f"testcard replay {recorded} --list" in capsys.readouterr().err
    assert run(["replay", str(recorded)]) == 2
    assert "--list" in capsys.readouterr().err
    assert run(["replay", str(recorded), "--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [one.id for one in RunReader(recorded).exchanges()]
    assert run(["replay", str(recorded), "--list", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)) == len(lines)


def test_another_base_url_is_asked_instead(recorded: Path, capsys: Capture) -> None:
    """A server with another behaviour shows what differs."""
    base = named(recorded, "edit/base")
    with embedded_mocks(["nebul"], options=["--api-key", KEY, "--fault", "http.status-documented", "--fault", "image.count/none"]) as lying:
        assert run(["replay", str(recorded), base["id"], "--base-url", lying.base_urls["nebul"], "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["url"].startswith(lying.base_urls["nebul"])
    assert not told["same"]
    places = {one["place"]: (one["recorded"], one["now"]) for one in told["differences"]}
    assert places["status"] == ("200", "203")
    assert places["/data"] == ("1 items", "0 items")


def test_nobody_there_is_exit_3(recorded: Path, capsys: Capture) -> None:
    """The message says which mock to start, or to name another address."""
    assert run(["replay", str(recorded), "e0001", "--base-url", "http://127.0.0.1:9"]) == 3
    err = capsys.readouterr().err
    assert "testcard mock nebul --port 9" in err
    assert "--base-url" in err


def moved_to(folder: Path, base_url: str, into: Path) -> Path:
    """A run that says it was recorded elsewhere."""
    into.mkdir()
    record = json.loads((folder / "run.json").read_text())
    old = record["targets"][0]["base_url"]
    for name in ("run.json", "exchanges.jsonl"):
        (into / name).write_text((folder / name).read_text().replace(old, base_url))
    (into / "bodies").symlink_to(folder / "bodies")
    return into


def test_off_this_machine_needs_live_and_an_address_that_may_have_the_key(
    recorded: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run folder from a stranger cannot send the key where neither the profile nor the user says."""
    strange = moved_to(recorded, "https://collector.invalid", tmp_path / "strange")
    assert run(["replay", str(strange), "e0001"]) == 2
    assert "--live" in capsys.readouterr().err
    assert run(["replay", str(strange), "e0001", "--live"]) == 2
    assert "no documented address" in capsys.readouterr().err
    home = moved_to(recorded, "https://api.inference.nebul.io", tmp_path / "home")
    monkeypatch.delenv("TESTCARD_API_KEY")
    monkeypatch.delenv("NEBUL_API_KEY", raising=False)
    assert run(["replay", str(home), "e0001", "--live"]) == 2
    assert "TESTCARD_API_KEY" in capsys.readouterr().err


def test_what_is_no_check_cannot_be_replayed(tmp_path: Path, capsys: Capture) -> None:
    """A folder without run.json, and a run of another kind, are usage errors."""
    assert run(["replay", str(tmp_path), "e0001"]) == 2
    assert "run.json" in capsys.readouterr().err
