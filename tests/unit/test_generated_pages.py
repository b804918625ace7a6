"""Pages and schema files that are made of the code say what the code says; the command that makes them anew stands in the failure."""

from __future__ import annotations

from pathlib import Path

import pytest

from testcard.harness.cli.schema import WRITTEN, written_schema_file, written_schema_text
from testcard.harness.rules.promises import RULES
from testkit.command_line import typed

ROOT = Path(__file__).parents[2]


def test_the_catalogue_of_rules_is_the_rules_own() -> None:
    """Every rule with its sentence, levels, documents and addresses."""
    page = (ROOT / "docs" / "rules.md").read_text(encoding="utf-8")
    assert page == typed(["rules", "--markdown"]).stdout, "run: make pages"
    assert all(f"### {rule}\n" in page for rule in RULES)


def test_links_of_the_catalogue_lead_to_its_headings() -> None:
    """As GitHub and others make anchors."""
    page = (ROOT / "docs" / "rules.md").read_text(encoding="utf-8")
    assert all(f"[{rule}](#{rule.replace('.', '')})" in page for rule in RULES)


def test_the_reference_of_keys_is_the_models_own() -> None:
    """Every key of testcard.toml, workload.toml and profile.yaml."""
    page = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")
    assert page == typed(["schema", "--markdown"]).stdout, "run: make pages"


@pytest.mark.parametrize("name", WRITTEN)
def test_the_schema_s_file_is_the_model_s_own(name: str) -> None:
    """Editors take it from the installed package."""
    text = written_schema_file(name).read_text(encoding="utf-8")
    assert text == written_schema_text(name), "run: make pages"
