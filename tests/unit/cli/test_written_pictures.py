"""A picture that is paid for is written somewhere: what cannot be is refused before, and what then fails goes elsewhere."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from testcard.harness.cli import drawing
from testcard.harness.cli.drawing import refuse_unwritable
from testcard.harness.client.results import Picture
from testcard.harness.errors import UsageError
from testkit.pictures import plain


@pytest.mark.parametrize("name", ["x" * 300 + ".png", "x" * 252, "é" * 130 + ".png"])
def test_a_name_too_long_is_refused(name: str, tmp_path: Path) -> None:
    """Also where only the number of a second picture, or an ending, would make it too long."""
    with pytest.raises(UsageError, match="too long"):
        refuse_unwritable(tmp_path / name)


def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Found out by writing there, because permissions do not say everything (root, a read-only disk)."""

    def full(**_: object) -> None:
        raise OSError(30, "Read-only file system")

    refuse_unwritable(tmp_path / "boat.png")
    assert os.listdir(tmp_path) == []
    monkeypatch.setattr(drawing.tempfile, "TemporaryFile", full)
    for output in (tmp_path / "boat.png", None):
        with pytest.raises(UsageError, match="Read-only"):
            refuse_unwritable(output)


def test_what_cannot_be_written_then_is_written_elsewhere(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The picture was paid for; where it is now is said."""
    picture = Picture(plain(), "png", 64, 64, None, None, 0)
    saved = drawing._saved_elsewhere(picture, tmp_path / "gone" / "boat.png", ".png", OSError(28, "No space left on device"))
    try:
        assert saved.read_bytes() == plain()
        assert str(saved) in capsys.readouterr().err
    finally:
        saved.unlink()
