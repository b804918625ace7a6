"""Provider files are read as YAML 1.2, with the line of every key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from testcard.specs.errors import SpecError
from testcard.specs.reading import YamlFile, read_yaml


def read(folder: Path, text: str) -> YamlFile:
    path = folder / "file.yaml"
    path.write_text(text, encoding="utf-8")
    return read_yaml(path)


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("1:1", "1:1"),
        ("16:9", "16:9"),
        ("on", "on"),
        ("no", "no"),
        ("y", "y"),
        ("2026-11-20", "2026-11-20"),
        ("1_000", "1_000"),
        ("010", 10),
        ("0o10", "0o10"),
        ("0x1F", 31),
        ("-7", -7),
        ("1K", "1K"),
        ("1e3", 1000.0),
        ("7.5", 7.5),
        (".5", 0.5),
        ("-.inf", float("-inf")),
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("'200'", "200"),
        ("512x512", "512x512"),
        ("=", "="),
    ],
)
def test_scalars_are_those_of_yaml_1_2(tmp_path: Path, written: str, value: Any) -> None:
    """Aspect ratios, on and off, dates and octal-looking numbers mean what the core schema of YAML 1.2 says."""
    found = read(tmp_path, f"key: {written}\n").data["key"]
    assert found == value
    assert type(found) is type(value)


def test_lines_of_keys_and_items(tmp_path: Path) -> None:
    """Every key and list item has its line; a key that is not there has its parent's."""
    file = read(tmp_path, "a: 1\nb:\n  - x\n  - y: {z: 1}\n'200':\n  c: 2\n")
    assert [file.line(at) for at in [(), ("a",), ("b",), ("b", 0), ("b", 1), ("b", 1, "y", "z"), ("200", "c")]] == [1, 1, 2, 3, 4, 4, 6]
    assert file.line(("200", "c", "missing", 3)) == 6
    assert file.line(("nowhere",)) == 1


def test_anchors_and_merges(tmp_path: Path) -> None:
    """What is written once and used twice is read twice, and its line is where it is written."""
    file = read(tmp_path, "one: &one {a: 1}\ntwo: *one\nthree:\n  <<: *one\n  b: 2\n")
    assert file.data == {"one": {"a": 1}, "two": {"a": 1}, "three": {"a": 1, "b": 2}}
    assert file.line(("two", "a")) == 1


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("a: 1\nb: {\n", 3, "not valid YAML"),
        ("a: 1\na: 2\n", 2, "stands twice"),
        ("a:\n  - {b: 1, b: 2}\n", 2, "stands twice"),
        ("a: !!python/object:os.system {}\n", 1, "not valid YAML"),
        ("a: *nowhere\n", 1, "not valid YAML"),
        ("a: \x00\n", None, "not valid YAML"),
    ],
)
def test_broken_files_are_refused_with_their_line(tmp_path: Path, text: str, line: int | None, words: str) -> None:
    """No YAML, a key that stands twice and a tag that would run code are errors with file and line."""
    with pytest.raises(SpecError, match=words) as caught:
        read(tmp_path, text)
    assert caught.value.line == line
    assert caught.value.file.endswith("file.yaml")
    assert caught.value.exit_code == 2


def test_missing_and_unreadable_files(tmp_path: Path) -> None:
    """A file that is not there, or is no text, is an error that says so."""
    with pytest.raises(SpecError, match="there is no such file"):
        read_yaml(tmp_path / "openapi.yaml")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SpecError, match="cannot be read"):
        read_yaml(tmp_path / "binary.yaml")
