"""Edits change what they are told to, and nothing beside it: comments, order and style of a document stay."""

from __future__ import annotations

import json

import pytest
import yaml

from testcard.harness.spec_changes.patch import Append, Edit, Put, Remove, edited, unified

BLOCK = """\
# a comment
one:
  two: {a: 1, b: [x, y]}  # beside it
  three:
    - p
    - q

  # between
  four: |
    text

five:
  required: [only]
  type: string
six:
- k
"""
EDITS: list[Edit] = [
    Put(("one", "two"), "c", {"type": "string"}),
    Put(("one", "two"), "a", [1, "null"]),
    Put(("one",), "five", True),
    Put(("five",), "429", "x: y"),
    Put(("one",), "three", "word"),
    Append(("one", "two", "b"), None),
    Append(("one", "three"), "no"),
    Append(("six",), "z"),
    Remove(("one", "two", "b"), "x"),
    Remove(("one", "two", "b"), "y"),
    Remove(("one", "three"), "p"),
    Remove(("one", "three"), "q"),
    Remove(("five", "required"), "only"),
]


def expected(data: object, edit: Edit) -> object:
    """What the data has to be afterwards, worked out on the data."""
    whole = json.loads(json.dumps(data))
    node, owner = whole, None
    for key in edit.at:
        owner, node = node, node[key]
    if isinstance(edit, Put):
        node[edit.key] = edit.value
    elif isinstance(edit, Append):
        node.append(edit.value)
    else:
        node.remove(edit.value)
        if not node:
            del owner[edit.at[-1]]
    return whole


@pytest.mark.parametrize("edit", EDITS, ids=str)
@pytest.mark.parametrize("form", ["yaml", "json", "json on one line"])
def test_an_edit_changes_the_data_as_told_and_few_lines(edit: Edit, form: str) -> None:
    """In block and in flow style and in JSON; JSON stays JSON."""
    data = yaml.safe_load(BLOCK)
    text = BLOCK if form == "yaml" else json.dumps(data, indent=2 if form == "json" else None) + "\n"
    after = edited(text, [edit])
    assert (yaml.safe_load(after) if form == "yaml" else json.loads(after)) == expected(data, edit)
    gone = [line for line in unified(text, after, "x").splitlines() if line.startswith("-") and not line.startswith("---")]
    assert len(gone) <= 4
    if form == "yaml":
        assert after.count("#") == text.count("#")


def test_edits_add_up_and_a_place_that_is_not_there_is_an_error() -> None:
    """Each is made on what the one before left."""
    after = edited("a: {}\n", [Put(("a",), "b", {"x": 1}), Put(("a", "b"), "y", 2)])
    assert yaml.safe_load(after) == {"a": {"b": {"x": 1, "y": 2}}}
    with pytest.raises(LookupError):
        edited("a: 1\n", [Put(("nowhere",), "b", 1)])


def test_a_file_without_a_last_line_end_is_said_to_be_one() -> None:
    """As patch wants it."""
    diff = unified("a: 1", edited("a: 1", [Put((), "b", 2)]), "openapi.yaml")
    assert diff.startswith("--- a/openapi.yaml\n+++ b/openapi.yaml\n")
    assert diff.count("\\ No newline at end of file") == 2
