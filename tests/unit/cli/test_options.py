"""Bundles of options: a command gets one typed value for many flags, and numbers that bound something are numbers."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import click
import pytest
from click.testing import CliRunner

from testcard.harness.cli import testcard as command_line
from testcard.harness.cli.options import SECONDS, USD, option, takes

CLI = Path(__file__).parents[3] / "harness" / "cli"
#: More than this nobody reads; flags that belong together travel in a bundle.
MOST_PARAMETERS = 12


@dataclass(frozen=True, slots=True)
class _Bounds:
    cost: Annotated[float | None, option("--max-cost", type=USD)] = None
    wait_s: Annotated[float, option("--wait", type=SECONDS)] = 2.5
    loud: Annotated[bool, option("--loud", is_flag=True)] = False


@click.command()
@click.argument("name")
@takes("bounds", _Bounds)
def _command(name: str, bounds: _Bounds) -> Any:
    click.echo(f"{name} {bounds}")


def test_what_is_no_number_is_told_by_what_it_should_be() -> None:
    """The field's words, not the type's."""
    said = CliRunner().invoke(_command, ["x", "--max-cost", "cheap"]).output
    assert "'cheap' is not a valid amount in US dollars" in said
    assert "'soon' is not a valid number of seconds" in CliRunner().invoke(_command, ["x", "--wait", "soon"]).output


def test_a_bundle_takes_its_flags_and_its_defaults() -> None:
    """Flags that are not given have the dataclass's own defaults; the order of --help is that of the fields."""
    runner = CliRunner()
    assert "x _Bounds(cost=None, wait_s=2.5, loud=False)" in runner.invoke(_command, ["x"]).output
    assert "x _Bounds(cost=0.5, wait_s=2.5, loud=True)" in runner.invoke(_command, ["x", "--max-cost", "0.5", "--loud"]).output
    said = runner.invoke(_command, ["--help"]).output
    assert said.index("--max-cost") < said.index("--wait") < said.index("--loud")


@pytest.mark.parametrize("value", ["nan", "inf", "-1", "much"])
def test_a_bound_is_a_number(value: str) -> None:
    """`nan` is neither more nor less than any limit: taken for one, it would let everything through."""
    found = CliRunner().invoke(_command, ["x", f"--max-cost={value}"])
    assert found.exit_code == 2
    assert "--max-cost" in found.output


def test_no_function_of_the_command_line_takes_dozens_of_parameters() -> None:
    """A new flag goes into a bundle, or it is passed through by hand in every place from then on."""
    found = {
        f"{path.name}:{node.name}": len(node.args.posonlyargs + node.args.args + node.args.kwonlyargs)
        for path in CLI.glob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert {name: count for name, count in found.items() if count > MOST_PARAMETERS} == {}


def _commands(group: click.Group, words: tuple[str, ...] = ()) -> Iterator[tuple[str, click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from _commands(command, (*words, name))
        if not isinstance(command, click.Group) or command.invoke_without_command:
            yield " ".join((*words, name)), command


def test_every_help_has_an_example_that_parses() -> None:
    """Whoever asks how a command is called is shown a call, of that command and with flags that it has."""
    wrong = []
    for name, command in _commands(command_line):
        example = re.search(r"^ *Example: testcard (.+)$", command.help or "", re.MULTILINE)
        if example is None or not f"{example[1]} ".startswith(f"{name} "):
            wrong.append(name)
            continue
        parsed = shlex.split(example[1].partition(" > ")[0])[len(name.split()) :]
        command.make_context(name, parsed, resilient_parsing=False)
    assert wrong == []


@pytest.mark.parametrize(
    ("line", "some", "none"),
    [
        ("check n", ["nanogpt", "nebul"], ["opengpu-relay"]),
        ("check nanogpt=http://127.0.0.1:1 --model ", ["hidream"], ["black-forest-labs/FLUX.1-schnell"]),
        ("bench --target nebul --operation ", ["createImage", "createImageEdit"], ["img2img"]),
        ("rules image.s", ["image.size"], ["image.count"]),
        ("check nebul --rule image.s", ["image.size"], ["image.count"]),
        ("selftest --fault image.size/", ["image.size/off-by-eight"], ["image.size"]),
        ("mock ne", ["nebul"], ["nanogpt"]),
        ("mock nebul --fault auth.re", ["auth.required"], ["image.size"]),
        ("check --config broken.toml ", [], ["nebul"]),
    ],
)
def test_the_shell_completes_providers_models_operations_rules_and_faults(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, some: list[str], none: list[str]
) -> None:
    """From those that there are; models and operations of the provider that the line names. What cannot be read completes nothing."""
    monkeypatch.chdir(tmp_path)
    Path("broken.toml").write_text("[[[", encoding="utf-8")
    words = f"testcard {line}"
    place = len(words.split()) - (0 if words.endswith(" ") else 1)
    environment = {"_TESTCARD_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(place)}
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    done = CliRunner().invoke(command_line, [], prog_name="testcard", env=environment)
    offered = [row.partition(",")[2] for row in done.output.splitlines()]
    assert done.exception is None or isinstance(done.exception, SystemExit), done.output
    assert set(some) <= set(offered), offered
    assert not set(none) & set(offered)
