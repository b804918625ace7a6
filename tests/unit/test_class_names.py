"""One name, one thing: no two modules of ours call different classes alike."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def classes(*roots: str) -> dict[str, list[str]]:
    """The public classes at the top of modules, by name, each with the files that define one."""
    found: dict[str, list[str]] = defaultdict(list)
    for root in roots:
        for path in sorted((ROOT / root).rglob("*.py")):
            for node in ast.parse(path.read_text(encoding="utf-8")).body:
                if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                    found[node.name].append(str(path.relative_to(ROOT)))
    return found


@pytest.mark.parametrize("roots", [("specs", "harness", "benchmarks", "reports"), ("specs", "mocks")], ids=["the tool", "mocks"])
def test_no_two_classes_share_a_name(roots: tuple[str, ...]) -> None:
    """Mocks stand apart, on the other side of the wire: their `Call` and `Answer` are the server's view of it."""
    found = classes(*roots)
    assert len(found) > 50
    assert {name: files for name, files in found.items() if len(files) > 1} == {}
