"""JSON pointers: read and written in one place."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testcard.specs import pointers
from testcard.specs.pointers import MISSING, at, every, look_up, parts_of, pointer_of, reference_parts, whole_number

ROOT = Path(pointers.__file__).parent.parent


def test_values_are_looked_up_by_escaped_names_and_list_places() -> None:
    """Escapes, list indexes, the document itself, and every item of a list."""
    document = {"a/b": [{"c": 1}, {"c": None}], "~": 2}
    assert at(document, "/a~1b/0/c") == 1
    assert at(document, "/~0") == 2
    assert at(document, "") is document
    assert at(document, "/a~1b/9") is None
    assert every(document, "/a~1b/*/c") == [("/a~1b/0/c", 1), ("/a~1b/1/c", None)]


def test_a_null_is_told_from_what_is_missing() -> None:
    """`at` gives None for both; `look_up` does not."""
    assert look_up({"a": None}, "/a") is None
    assert look_up({"a": None}, "/b") is MISSING


@given(st.lists(st.text(min_size=1), min_size=1, max_size=4))
def test_names_of_any_letters_survive_being_written_and_read(names: list[str]) -> None:
    """A pointer made of names gives those names back, and so does a reference."""
    assert parts_of(pointer_of(names)) == tuple(names)
    assert reference_parts("#" + pointer_of(names)) == tuple(names)


@pytest.mark.parametrize("folder", ["specs", "harness", "mocks", "benchmarks", "reports"])
def test_nobody_else_knows_the_escapes(folder: str) -> None:
    """`~0` and `~1` are written in `specs/pointers.py` alone: copies of them came to differ."""
    knowing = [str(path.relative_to(ROOT)) for path in (ROOT / folder).rglob("*.py") if '"~1"' in path.read_text(encoding="utf-8")]
    assert knowing == (["specs/pointers.py"] if folder == "specs" else [])


@pytest.mark.parametrize("name", ["²", "①", "٣", "9" * 5000, "-1", "1_0", " 1", ""])
def test_what_is_no_number_is_a_name(name: str) -> None:
    """Names that Python calls digits, or that `int` refuses, are looked up as names and found in no list."""
    assert whole_number(name) is None
    assert at([1, 2, 3], f"/{name}") is None or not name
    assert at({name: 5}, "/" + name.replace("~", "~0")) == 5 or not name
