"""No module of ours imports itself by way of others, however long the way is: what imports what can be read from the lowest floor up."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("specs", "harness", "mocks", "benchmarks", "reports")


def modules() -> dict[str, Path]:
    """Every module of ours by its name."""
    found = {}
    for folder in FOLDERS:
        for path in (ROOT / folder).rglob("*.py"):
            parts = ("testcard", *path.relative_to(ROOT).with_suffix("").parts)
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imported(tree: ast.AST) -> Iterator[str]:
    """The names that a module imports, at its head and inside functions; not those that only a type checker sees."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        yield from imported(node)


def graph(known: dict[str, Path]) -> dict[str, set[str]]:
    """What each module imports of ours: the module itself where it is named, else the one that has the name."""
    found: dict[str, set[str]] = {}
    for name, path in known.items():
        wanted = set()
        for one in imported(ast.parse(path.read_text(encoding="utf-8"))):
            target = one if one in known else one.rpartition(".")[0]
            if target in known and target != name:
                wanted.add(target)
        found[name] = wanted
    return found


def test_no_module_imports_itself_by_way_of_others() -> None:
    """The circle is printed, module by module."""
    known = modules()
    assert len(known) > 200
    try:
        TopologicalSorter(graph(known)).prepare()
    except CycleError as error:
        pytest.fail("import circle: " + " → ".join(error.args[1]))


def test_a_circle_is_seen(tmp_path: Path) -> None:
    """Also through a function's own import, and by way of a third module."""
    for name, text in {"a": "from b import x", "b": "def f():\n    import c", "c": "if x:\n    import a"}.items():
        (tmp_path / f"{name}.py").write_text(text)
    circle = graph({name: tmp_path / f"{name}.py" for name in "abc"})
    assert circle == {"a": {"b"}, "b": {"c"}, "c": {"a"}}
    with pytest.raises(CycleError):
        TopologicalSorter(circle).prepare()
