"""No module of ours imports itself by way of others, however long the way: whoever opens a file can read what it stands on first."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOTS = ("specs", "harness", "mocks", "benchmarks", "reports")


def modules() -> dict[str, Path]:
    """Every module of the five roots by its name under `testcard`; a package is its `__init__`."""
    found = {}
    for root in ROOTS:
        for path in (ROOT / root).rglob("*.py"):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(("testcard", *(parts[:-1] if parts[-1] == "__init__" else parts)))] = path
    return found


def imported(path: Path, name: str, known: Mapping[str, Path]) -> Iterator[str]:
    """The modules of ours that a module imports, wherever in it the import stands: in a function or for type checkers only, too."""
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            module = ".".join([*above, *([node.module] if node.module else [])])
            for alias in node.names:
                if f"{module}.{alias.name}" in known:
                    yield f"{module}.{alias.name}"
                elif module in known:
                    yield module


def circles(graph: Mapping[str, set[str]]) -> list[list[str]]:
    """Groups of modules that all reach each other (strongly connected components of two or more, by Tarjan), and modules that import themselves."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []
    for start in graph:
        if start in index:
            continue
        work = [(start, iter(sorted(graph[start])))]
        index[start] = low[start] = len(index)
        stack.append(start)
        while work:
            name, rest = work[-1]
            following = next(rest, None)
            if following is None:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[name])
                if low[name] == index[name]:
                    at = stack.index(name)
                    group, stack[at:] = stack[at:], []
                    if len(group) > 1 or name in graph[name]:
                        found.append(sorted(group))
            elif following not in index:
                index[following] = low[following] = len(index)
                stack.append(following)
                work.append((following, iter(sorted(graph[following]))))
            elif following in stack:
                low[name] = min(low[name], index[following])
    return found


def test_no_module_imports_in_a_circle() -> None:
    """Of any size, in all five roots; an import of a name from a package counts as one of the module that has it."""
    known = modules()
    assert len(known) > 150
    graph = {name: set(imported(path, name, known)) - {name} for name, path in known.items()}
    assert sum(map(len, graph.values())) > 500
    assert circles(graph) == []


@pytest.mark.parametrize(
    ("graph", "expected"),
    [
        ({"a": {"b"}, "b": {"c"}, "c": set()}, []),
        ({"a": {"b"}, "b": {"a"}, "c": {"a"}}, [["a", "b"]]),
        ({"a": {"a"}}, [["a"]]),
        ({"a": {"b"}, "b": {"c"}, "c": {"d", "e"}, "d": {"b"}, "e": set()}, [["b", "c", "d"]]),
        ({"a": {"b"}, "b": {"a"}, "c": {"d"}, "d": {"c", "a"}}, [["a", "b"], ["c", "d"]]),
    ],
    ids=["a line", "two", "itself", "three with a tail", "two circles"],
)
def test_a_circle_would_be_found(graph: dict[str, set[str]], expected: list[list[str]]) -> None:
    """The search finds circles of any size, and only those."""
    assert sorted(circles(graph)) == expected
