"""The examples of the pages for mocks and client are run as they stand there; commands are read as the command line reads them."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from testcard.harness import cli
from testcard.harness.pytest_plugin import MockFactory
from testcard.mocks.conditions import read_scenario

DOCS = Path(__file__).parents[2] / "docs"
PAGES = ("mocks.md", "client.md")


def blocks(page: str, language: str) -> list[str]:
    """The code blocks of a page in one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", (DOCS / page).read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", PAGES)
def test_the_programs_of_a_page_run(page: str, testcard_mock: MockFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the first to the last, in one namespace and a folder of their own."""
    monkeypatch.chdir(tmp_path)
    names = {"testcard_mock": testcard_mock}
    programs = blocks(page, "python")
    assert programs
    for number, program in enumerate(programs, 1):
        exec(compile(program, f"{page}, program {number}", "exec"), names)


@pytest.mark.parametrize("page", PAGES)
def test_the_commands_of_a_page_are_ones(page: str) -> None:
    """Every `testcard …` line names a command with flags that it has, and values that they take."""
    lines = [line for block in blocks(page, "sh") for line in block.splitlines() if line.startswith("testcard ")]
    assert lines
    for line in lines:
        _, name, *arguments = shlex.split(line, comments=True)
        command = cli.testcard.get_command(click.Context(cli.testcard), name)
        assert command is not None, line
        command.make_context(f"testcard {name}", arguments)


def test_the_scenario_of_the_page_is_one(tmp_path: Path) -> None:
    """It can be read, and has the phases that the page tells of."""
    (scenario,) = blocks("mocks.md", "toml")
    path = tmp_path / "scenario.toml"
    path.write_text(scenario)
    assert [phase.name for phase in read_scenario(path).phases] == ["healthy", "limited", "failing", "recovered"]
