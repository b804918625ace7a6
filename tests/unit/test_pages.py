"""The pages for people say what is there: links that lead somewhere, decisions that are listed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DECISIONS = ROOT / "docs" / "decisions"
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    """Links to other pages, to pictures and to headings of the same page."""
    text = page.read_text(encoding="utf-8")
    headings = {re.sub(r"[^\w\- ]", "", line.lstrip("# ").lower()).replace(" ", "-") for line in text.splitlines() if line.startswith("#")}
    dead = []
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        path, _, heading = link.partition("#")
        if link.startswith(("http://", "https://")):
            continue
        if (path and not (page.parent / path).exists()) or (not path and heading not in headings):
            dead.append(link)
    assert dead == []


def test_decisions_are_numbered_and_listed() -> None:
    """One file a decision, its number in its name and its title, each in the list."""
    listed = (DECISIONS / "README.md").read_text(encoding="utf-8")
    files = sorted(path for path in DECISIONS.glob("*.md") if path.name != "README.md")
    for number, path in enumerate(files, 1):
        title = path.read_text(encoding="utf-8").splitlines()[0]
        assert path.name.startswith(f"{number:04}-")
        assert title.startswith(f"# {number}. ")
        assert f"[{title.split('. ', 1)[1]}]({path.name})" in listed
