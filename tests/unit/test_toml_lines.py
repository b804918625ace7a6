"""The line of every key of a TOML file: the scanner finds just what tomllib reads, wherever and however it is written."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from testcard.harness.errors import UsageError
from testcard.harness.toml_lines import Pointer, key_lines, read_toml

WHOLE = '''# a comment with [brackets] and "quotes"
top = 1
"quoted key" = 'a # b'
dotted.inner.'x.y' = true   # the end

[table]
many = [
    1, # one = two
    [2, 3],
    {a = 4, b.c = "}"},
]
long = """
[no.table]
key = 'no key' \\""" "" """
[[entry]]
name = "first"
[entry.sub]
when = 1979-05-27 07:32:00
[[entry]]
name = "second"
[[entry.deep]]
x = 1
[[entry.deep]]
x = 2
[table.below]
raw = \'\'\'
[nothing] = \'\' \'\'\'\'\'
last = 1
'''


def pointers(data: Any, above: Pointer = ()) -> set[Pointer]:
    """The path of everything in the data."""
    inner = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    return {above}.union(*(pointers(value, (*above, key)) for key, value in inner))


def test_each_key_has_its_line() -> None:
    """Tables, entries of arrays of tables, dotted keys, arrays over several lines, strings that look like TOML."""
    lines = key_lines(WHOLE)
    assert set(lines) == pointers(tomllib.loads(WHOLE))
    text = WHOLE.split("\n")
    found = {pointer: text[line - 1].strip() for pointer, line in lines.items()}
    assert found["top",] == "top = 1"
    assert found["dotted", "inner", "x.y"].startswith("dotted")
    assert found["table", "many", 1] == "[2, 3],"
    assert found["table", "many", 2, "b", "c"].startswith("{a = 4")
    assert found["entry", 1, "name"] == 'name = "second"'
    assert found["entry", 0, "sub", "when"].startswith("when")
    assert found["entry", 1, "deep", 1, "x"] == "x = 2"
    assert found["table", "below"] == "[table.below]"
    assert found["table", "below", "last"] == "last = 1"
    assert key_lines(WHOLE.replace("\n", "\r\n")) == lines


_NAMES = st.sampled_from(["a", "b-c", "3", '"q.k"', "'l\"'", '"é#"', '""'])
_KEYS = st.lists(_NAMES, min_size=1, max_size=3).map(" . ".join)
_STRINGS = st.sampled_from(
    ['"a\\"]"', "'#'", '"""x\n[y]\n\\"""" """', "'''\n'' = 1'''", '""', "''", '""""""', "''''''", '"""""x"""""', "''''x'''''", '"\\\\"']
)
_PLAIN = st.sampled_from(["1", "-1.5e3", "true", "1979-05-27 07:32:00", "07:32:00", "inf", "0xff"])
_GAPS = st.sampled_from(["", " ", "\n", " # ]\n\t"])


def _arrays(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    entries = st.lists(st.tuples(_GAPS, inner, _GAPS).map("".join), max_size=3)
    return st.tuples(entries, st.booleans()).map(lambda one: f"[{','.join(one[0])}{',' if one[1] and one[0] else ''}]")


def _tables(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.lists(st.tuples(_KEYS, inner).map(" = ".join), max_size=3).map(lambda pairs: f"{{ {', '.join(pairs)} }}")


_VALUES = st.recursive(_STRINGS | _PLAIN, lambda inner: _arrays(inner) | _tables(inner), max_leaves=5)
_STATEMENTS = st.one_of(
    st.tuples(_KEYS, st.sampled_from(["=", " = "]), _VALUES, st.sampled_from(["", " # = x"])).map("".join),
    _KEYS.map(lambda key: f"[{key}]"),
    _KEYS.map(lambda key: f"[[ {key} ]] # x"),
    st.just("# [c]"),
)


@given(st.lists(_STATEMENTS, max_size=6), st.sampled_from(["\n", "\r\n", "\n\n"]))
@settings(max_examples=300, deadline=None)
def test_the_scanner_finds_what_tomllib_reads(statements: list[str], between: str) -> None:
    """For any document that is TOML: the same paths, no more and no less; each on a line that shows its name."""
    kept: list[str] = []
    for statement in statements:  # most orders of random statements define something twice
        try:
            tomllib.loads(between.join([*kept, statement]))
        except tomllib.TOMLDecodeError:
            continue
        kept.append(statement)
    assume(kept)
    text = between.join(kept)
    lines = key_lines(text)
    assert set(lines) == pointers(tomllib.loads(text))
    written = text.replace("\r\n", "\n").split("\n")
    for pointer, line in lines.items():
        if pointer and isinstance(pointer[-1], str):
            assert pointer[-1].replace('"', "") in written[line - 1].replace('"', "")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"a = 1\nb = [1,\n", "testcard.toml:2: Invalid value at the end of the file"),
        (b"a = 1\na = 2\n", "testcard.toml:2: Cannot overwrite a value"),
        (b"# \xff\n", "testcard.toml: byte 2 is no UTF-8"),
    ],
)
def test_what_is_no_toml_is_named_with_its_line(tmp_path: Path, content: bytes, expected: str) -> None:
    """Broken syntax is told with file and line, as wrong keys are."""
    path = tmp_path / "testcard.toml"
    path.write_bytes(content)
    with pytest.raises(UsageError) as caught:
        read_toml(path)
    assert expected in caught.value.message


def test_a_byte_order_mark_is_read_over(tmp_path: Path) -> None:
    """Editors on Windows write one."""
    path = tmp_path / "testcard.toml"
    path.write_bytes("a = 1\n".encode("utf-8-sig"))
    assert read_toml(path).data == {"a": 1}
