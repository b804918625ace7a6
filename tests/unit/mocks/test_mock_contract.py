"""Requests are judged by the OpenAPI schema, forms after their text was given its declared type."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from testcard.mocks.exchange import Upload
from testcard.mocks.request_body import Contract
from testcard.specs.loader import BUNDLED, load_provider

FILE = Upload(b"bytes", "image/png", "a.png")


def places(problems: list) -> set[tuple[str, str]]:  # type: ignore[type-arg]
    return {(problem.place, problem.keyword) for problem in problems}


def test_json_is_judged_by_the_schema() -> None:
    """Each departure is named by its place and keyword, with a sentence that says what would be right."""
    contract = Contract(load_provider("nanogpt"), "createImage")
    assert contract.problems({"prompt": "x", "n": 2.0, "strength": 1}) == []
    wrong = contract.problems({"size": "1x1", "strength": 1.5, "n": "2", "guidance_scale": -1})
    assert places(wrong) == {
        ("prompt", "required"),
        ("size", "enum"),
        ("strength", "maximum"),
        ("n", "type"),
        ("guidance_scale", "minimum"),
    }
    assert "256x256" in next(problem.message for problem in wrong if problem.place == "size")
    assert places(contract.problems([])) == {("", "type")}


def test_form_text_is_cast_to_the_declared_type() -> None:
    """Numbers in a form become numbers; repeated files become a list, under either spelling; what cannot be cast is refused."""
    contract = Contract(load_provider("nebul"), "createImageEdit")
    fields, problems = contract.cast([("model", "m"), ("prompt", "5"), ("n", "2"), ("guidance", "7.5"), ("image", FILE), ("image[]", FILE)])
    assert problems == []
    assert fields == {"model": "m", "prompt": "5", "n": 2, "guidance": 7.5, "image": [FILE, FILE]}
    _, problems = contract.cast([("model", "m"), ("prompt", "x"), ("n", "two"), ("image", FILE)])
    assert places(problems) == {("n", "type")}
    _, problems = contract.cast([("model", "m"), ("model", "m"), ("prompt", "x"), ("image", "text"), ("mask", FILE)])
    assert places(problems) >= {("model", "maxItems"), ("image", "type")}


@pytest.mark.parametrize("word", ["anyOf", "oneOf"])
def test_a_form_repeats_what_may_be_one_or_a_list(word: str, tmp_path: Path) -> None:
    """One file stands alone, several are a list, where the document allows both."""
    document = (BUNDLED / "nebul" / "openapi.yaml").read_text("utf-8")
    before = re.search(r"( +)image:\n(?:\1 +.*\n)+", document)
    assert before is not None
    one = "{type: string, format: binary}"
    either = f"{before[1]}image: {{{word}: [{one}, {{type: array, items: {one}}}]}}\n"
    folder = tmp_path / "either"
    shutil.copytree(BUNDLED / "nebul", folder)
    (folder / "openapi.yaml").write_text(document.replace(before[0], either, 1), "utf-8")
    contract = Contract(load_provider(str(folder)), "createImageEdit")
    form: list[tuple[str, Any]] = [("model", "m"), ("prompt", "x"), ("image", FILE)]
    assert contract.cast(form) == ({"model": "m", "prompt": "x", "image": FILE}, [])
    assert contract.cast([*form, ("image", FILE)]) == ({"model": "m", "prompt": "x", "image": [FILE, FILE]}, [])


def test_a_lenient_place_takes_more() -> None:
    """Where the profile says that a server may take more than the schema, the mock does; elsewhere the schema holds."""
    contract = Contract(load_provider("nvidia-nim-vision"), "createVisionChatCompletion")
    assert contract.problems({"model": "m", "messages": [{"role": "user", "content": "hello"}]}) == []
    assert contract.problems({"model": "m", "messages": [{"role": "user", "content": 5}]})
    assert contract.problems({"model": "m", "messages": "hello"})


def test_defaults_and_spellings_are_made_equal() -> None:
    """A field left out, its default sent, and its default in another spelling lead to the same fields."""
    contract = Contract(load_provider("nanogpt"), "createImage")
    bare, further = contract.complete({"prompt": "x"})
    assert further == {}
    same, further = contract.complete({"prompt": "x", "n": 1.0, "strength": 0.8, "num_inference_steps": 30, "unknown": 7})
    assert (same, further) == (bare, {"unknown": 7})
    assert isinstance(same["n"], int)
    assert bare["model"] == "hidream"
