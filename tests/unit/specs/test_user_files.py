"""Whatever stands behind a name that a person gives, reading it comes to an end, with a sentence where it cannot be used."""

from __future__ import annotations

import os
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from testcard.harness.config import Config, load_config, load_waivers
from testcard.harness.errors import SpecError, UsageError
from testcard.harness.statistics import slo
from testcard.harness.targets import read_key
from testcard.harness.toml_lines import read_toml
from testcard.specs.lint import lint
from testcard.specs.loader import load_provider
from testcard.specs.reading import read_yaml
from testcard.specs.user_files import content

LAUGHS = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{chr(98 + step)}: &{chr(98 + step)} [{','.join(['*' + chr(97 + step)] * 9)}]\n" for step in range(9)
)


def test_pipes_and_devices_come_to_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pipe that is written to is read, one that is not is refused, and so is what has no end."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with monkeypatch.context() as patch:
        patch.setattr("testcard.specs.user_files.PIPE_S", 0.05)
        with pytest.raises(OSError, match="has not come to its end"):
            content(pipe)
    held = os.open(pipe, os.O_RDWR)
    os.write(held, b"sk-1\n")
    closing = threading.Timer(0.1, os.close, (held,))
    closing.start()
    began = time.monotonic()
    assert content(pipe) == b"sk-1\n"
    assert time.monotonic() - began < 5
    with pytest.raises(OSError, match="larger than 64 KiB"):
        content(Path("/dev/zero"), 64 * 1024)
    with pytest.raises(IsADirectoryError):
        content(tmp_path)
    with pytest.raises(OSError, match="no file has such a name"):
        content(tmp_path / "a\0b")


def test_a_key_file_without_an_end_is_refused() -> None:
    """By the flag's name, before anything is sent."""
    with pytest.raises(UsageError, match="--api-key-file /dev/zero"):
        read_key(load_provider("nanogpt"), Path("/dev/zero"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a = " + "9" * 5000, "x.toml:1: a number has too many digits"),
        ("b = 1\na = " + "[" * 3000 + "]" * 3000, "x.toml:2: is nested too deeply"),
        ("a = " + "{a=" * 3000 + "1" + "}" * 3000, "x.toml:1: is nested too deeply"),
    ],
    ids=["digits", "lists", "tables"],
)
def test_toml_that_python_cannot_hold_is_named_with_its_line(text: str, said: str, tmp_path: Path) -> None:
    """A configuration and waivers go the same way."""
    file = tmp_path / "x.toml"
    file.write_text(text, encoding="utf-8")
    for read in (load_config, load_waivers):
        with pytest.raises(UsageError) as raised:
            read(file)
        assert said in raised.value.message


def test_an_anchor_that_multiplies_is_refused(tmp_path: Path) -> None:
    """Four hundred bytes that stand for 387 million texts; an alias that holds itself; a tag that is none."""
    for text in (LAUGHS, "a: &a [*a]\n", "a: !!bool x\n", "[" * 5000 + "]" * 5000):
        (tmp_path / "x.yaml").write_text(text, encoding="utf-8")
        with pytest.raises(SpecError):
            read_yaml(tmp_path / "x.yaml")


@pytest.mark.parametrize("value", ["x", None, 5, [], [None], 1e400, {"$ref": 5}], ids=str)
def test_a_document_with_something_else_for_a_schema_is_named_with_its_line(value: object, tmp_path: Path) -> None:
    """Whatever stands where a field's schema belongs: a problem with its line, for `spec lint` and for the loader alike."""
    ours = load_provider("nanogpt").folder
    (tmp_path / "profile.yaml").write_bytes((ours / "profile.yaml").read_bytes())
    document = yaml.safe_load((ours / "openapi.yaml").read_bytes())
    document["components"]["schemas"]["GenerationRequest"]["properties"]["seed"] = value
    (tmp_path / "openapi.yaml").write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
    found = lint(tmp_path)
    assert [problem for problem in found if problem.line and "seed" in (problem.key or "")]
    with pytest.raises(SpecError):
        load_provider(str(tmp_path))


@pytest.mark.parametrize("kind", ["securitySchemes", "schemas"])
def test_components_that_are_none_are_named_with_their_line(kind: str, tmp_path: Path) -> None:
    """Found by `tests/crash/fuzz_parsers.py`: a text where a document's components of a kind belong."""
    ours = load_provider("nanogpt").folder
    (tmp_path / "profile.yaml").write_bytes((ours / "profile.yaml").read_bytes())
    document = yaml.safe_load((ours / "openapi.yaml").read_bytes())
    document["components"][kind] = "x"
    (tmp_path / "openapi.yaml").write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
    assert all(problem.line for problem in lint(tmp_path))
    with pytest.raises(SpecError):
        load_provider(str(tmp_path))


def test_a_name_that_no_file_can_have_is_a_mistake_of_its_user() -> None:
    """Three hundred letters, and a thousand folders."""
    for name in ("x" * 300, "x/" * 3000):
        with pytest.raises((UsageError, SpecError)):
            load_provider(name)


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=60) | st.from_regex(r"[a-z]{1,8} ?= ?[\[{\"'0-9a-z.,:\]}-]{0,30}", fullmatch=True))
@example("a = 1e999")
@example('a."" = 1')
def test_any_text_is_a_configuration_or_a_usage_error(text: str) -> None:
    """Noise, and what looks like TOML."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "x.toml"
        file.write_bytes(text.encode("utf-8", "surrogatepass"))
        try:
            read_toml(file)
            assert isinstance(load_config(file), Config)
        except UsageError as error:
            said = error.message
        else:
            return
    assert str(file) in said


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=30) | st.from_regex(r"p[0-9.]{1,9} ?[<>]=? ?[0-9.e+-]{1,9}(s|ms|%)?", fullmatch=True))
@example("p50<" + "9" * 5000 + "s")
@example("p" + "9" * 5000 + "<1s")
@example("p٥٠<١s")
def test_any_text_is_an_objective_or_a_usage_error(text: str) -> None:
    """Noise, and what looks like an objective."""
    with suppress(UsageError):
        assert slo.parse(text).expression
