"""`testcard init provider DOCUMENT`: three documents become providers that lint accepts and that keep their promises against their own mocks."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml

from testcard.specs.lint import lint
from testcard.specs.loader import load_provider
from testkit.command_line import typed

DOCUMENTS = Path(__file__).parents[1] / "contract" / "foreign" / "documents"


@pytest.mark.parametrize(
    ("name", "document", "flags", "operations", "asked"),
    [
        ("workers", "openapi.json", ["--send", "account_id=me"], ["workers-ai-post-run-flux-1-schnell"], ["--price"]),
        ("lantern", "openapi.yaml", ["--price", "0.02"], ["generateImage", "getGeneration"], []),
        ("parts", "openapi.yml", [], ["render"], ["--base-url", "--price"]),
    ],
)
def test_a_document_becomes_a_provider(
    tmp_path: Path, name: str, document: str, flags: list[str], operations: list[str], asked: list[str]
) -> None:
    """The folder holds the document with its parts and a short profile; what is open is asked with its flag; the check of its mock is green."""
    source = tmp_path / "source"
    shutil.copytree(DOCUMENTS / name, source)
    (source / "profile.yaml").unlink()
    done = typed(["init", "provider", str(source / document), "--out", str(tmp_path / "made"), "--id", "made", *flags], cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{tmp_path}/made/profile.yaml\n"
    assert [line.rpartition("Answer: ")[2].split()[0] for line in done.stderr.splitlines() if line.startswith("question:")] == asked
    assert "none is broken" in done.stderr
    assert lint(tmp_path / "made") == []
    assert list(load_provider(f"{tmp_path}/made").profile.operations) == operations
    written = yaml.safe_load((tmp_path / "made" / "profile.yaml").read_text(encoding="utf-8"))
    assert list(written)[:2] == ["schema", "id"]
    again = typed(["init", "provider", str(source / document), "--out", str(tmp_path / "made")], cwd=tmp_path)
    assert again.returncode == 2
    assert "--force" in again.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere.yaml"], "there is no such file"),
        (["https://api.example/openapi.json"], "download it first"),
        (["old.json"], "swagger2openapi"),
        (["none.json"], "known to make pictures"),
        (["none.json", "--operation", "paintNothing"], "has no operation paintNothing"),
        (["none.json", "--picture", "data"], "--picture 'url=/data/*/url'"),
        (["none.json", "--states", "done"], "completed=ready+done"),
        (["none.json", "--send", "x"], "no NAME=VALUE"),
        (["none.json", "--key-header", "a b"], "Authorization: Bearer"),
        (["none.json", "--id", "A B"], "is no id"),
    ],
)
def test_what_cannot_be_done_is_said(tmp_path: Path, arguments: list[str], said: str) -> None:
    """Exit code 2, the reason and the next step; nothing is written."""
    (tmp_path / "old.json").write_text('{"swagger": "2.0"}', encoding="utf-8")
    (tmp_path / "none.json").write_text('{"openapi": "3.0.0", "info": {"title": "N", "version": "1"}, "paths": {}}', encoding="utf-8")
    done = typed(["init", "provider", *arguments], cwd=tmp_path)
    assert done.returncode == 2
    assert said in done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"old.json", "none.json"}
