"""The log of a batch is read in bounded time and memory, and what is no line of ours in it neither ends nor bills anything."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from testcard.harness.client.batch import run_batch
from testcard.harness.client.results import Picture
from testcard.harness.client.sync import Client
from testcard.harness.errors import Inconclusive, UsageError
from testcard.mocks.running import running_mock
from testkit.pictures import plain


@pytest.mark.parametrize("damage", [{"files": 5}, {"files": [5]}, {"files": ["x" * 300]}, {"files": ["\0"]}, {"record": "x"}])
def test_a_damaged_line_is_passed_over(damage: dict[str, object], tmp_path: Path) -> None:
    """What was sent and has no line of ours that says how it ended is not paid for twice unasked; only a file that is gone is got again."""
    with running_mock("nanogpt") as mock, Client("nanogpt", base_url=mock.base_url, api_key=mock.api_key) as one:
        assert run_batch(one, ["a boat"], tmp_path)[0].done
        log = tmp_path / "batch.jsonl"
        begun, ended = map(json.loads, log.read_text().splitlines())
        log.write_text("[" * 100_000 + f"\n\0\n7\n{json.dumps(begun)}\n{json.dumps(ended | damage)}\n")
        again = run_batch(one, ["a boat"], tmp_path)[0]
    assert again.done or isinstance(again.error, Inconclusive)


@pytest.mark.parametrize("kind", ["pipe", "device", "folder"])
def test_a_log_that_is_no_file_is_refused(kind: str, tmp_path: Path) -> None:
    """A pipe would be waited for, a device would forget what was paid for."""
    log = tmp_path / "batch.jsonl"
    {"pipe": os.mkfifo, "device": lambda path: path.symlink_to("/dev/zero"), "folder": os.mkdir}[kind](log)
    with Client("nanogpt", base_url="http://127.0.0.1:1", api_key="x") as one, pytest.raises(UsageError, match="no file"):
        run_batch(one, ["a boat"], tmp_path)


def test_half_a_picture_is_not_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a full disk it would pass for the picture, and hold its name."""

    def half(self: Path, data: bytes) -> int:
        with self.open("wb") as file:
            file.write(data[:10])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", half)
    with pytest.raises(OSError, match="No space"):
        Picture(plain(), "png", 64, 64, None, None, 0).save(tmp_path / "boat.png")
    assert list(tmp_path.iterdir()) == []
