"""The pages for people say what is there: files that exist, names that are in them, links that lead somewhere, decisions that are listed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from testcard.harness import cli
from testcard.harness.config import load_config, providers_of

ROOT = Path(__file__).parents[2]
ARCHITECTURE = ROOT / "ARCHITECTURE.md"
DECISIONS = ROOT / "docs" / "decisions"
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
_CODE = re.compile(r"`([^`\n]+)`")
#: What in code spans is a path of this repository: it begins with one of its folders, or names a file at its root.
_FOLDERS = ("specs/", "harness/", "mocks/", "benchmarks/", "reports/", "tests/", "docs/", ".ns/", ".ci/")
_PLACEHOLDER = re.compile(r"[<*…]|FOLDER|DIR")


def paths_in(text: str) -> Iterator[str]:
    """The paths that a page names."""
    for code in _CODE.findall(text):
        if (code.startswith(_FOLDERS) or re.fullmatch(r"[A-Z_a-z]+\.(md|toml|txt|py)", code)) and not _PLACEHOLDER.search(code):
            yield code.split()[0].split(":")[0]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    """Links to other pages, to pictures and to headings of the same page."""
    text = page.read_text(encoding="utf-8")
    headings = {re.sub(r"[^\w\- ]", "", line.lstrip("# ").lower()).replace(" ", "-") for line in text.splitlines() if line.startswith("#")}
    dead = []
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        path, _, heading = link.partition("#")
        if link.startswith(("http://", "https://")):
            continue
        if (path and not (page.parent / path).exists()) or (not path and heading not in headings):
            dead.append(link)
    assert dead == []


def test_every_file_that_the_architecture_names_exists() -> None:
    """Whoever looks for something there finds it."""
    named = list(dict.fromkeys(paths_in(ARCHITECTURE.read_text(encoding="utf-8"))))
    assert len(named) > 40
    users_own = {"testcard.toml", "workload.toml"}
    assert [name for name in named if name not in users_own and not (ROOT / name).exists()] == []


def questions() -> list[tuple[str, list[tuple[str, str | None]]]]:
    """Each question of the page with the files that answer it, and what to look for there."""
    text = ARCHITECTURE.read_text(encoding="utf-8")
    section = text[text.index("## Where to look") :].split("\n## ")[0]
    found = []
    for question, answer in re.findall(r"^\| (.+\?) \| (.+) \|$", section, re.MULTILINE):
        found.append((question, re.findall(r"`([\w/]+\.py)`(?: \(`([\w.]+)`)?", answer)))
    return found


def test_each_question_is_answered_by_at_most_two_files() -> None:
    """Ten things that people look for; more files than two would mean that an idea has no home."""
    asked = questions()
    assert len(asked) >= 10
    assert {question: len(files) for question, files in asked if not 1 <= len(files) <= 2} == {}


def test_what_an_answer_names_is_in_its_file() -> None:
    """A class, a function or a constant that the page sends a reader to is defined there."""
    for question, files in questions():
        for path, name in files:
            text = (ROOT / path).read_text(encoding="utf-8")
            for part in (name or "").split(".") if name else []:
                assert re.search(rf"\b(?:def|class) {part}\b|^\s*{part}\b *[:=]", text, re.MULTILINE), f"{question} {path} has no {name}"


def commands_in(text: str) -> Iterator[tuple[str, list[str]]]:
    """Each command line of Testcard that a page shows, in a code span or on a line of a fence: the command and its flags."""
    lines = [
        *_CODE.findall(text),
        *(line for fence in re.findall(r"```(?:sh|console)\n(.*?)```", text, re.DOTALL) for line in fence.splitlines()),
    ]
    for line in lines:
        found = re.match(r"(?:\S+=\S* |\$ )*testcard ([a-z]+(?:(?<=spec) (?:lint|diff|drift))?)(?= |$)([^#]*)", line.strip())
        if found:
            yield found[1], re.findall(r"(?<=[ \[])(--[a-z-]+)", found[2])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_that_a_page_shows_knows_its_flags(page: Path) -> None:
    """What is typed from a page is a command, and takes what the page gives it."""
    context = click.Context(cli.testcard)
    wrong = []
    for name, flags in commands_in(page.read_text(encoding="utf-8")):
        command: click.Command | None = cli.testcard
        for part in name.split():
            command = command.get_command(context, part) if isinstance(command, click.Group) else None
        known = {flag for one in command.params for flag in (*one.opts, *one.secondary_opts)} | {"--help"} if command is not None else set()
        wrong += [f"testcard {name} {flag}" for flag in flags if flag not in known]
        wrong += [] if command is not None else [f"testcard {name}"]
    assert wrong == []


def test_the_pages_show_commands() -> None:
    """The test above has something to look at."""
    assert sum(len(list(commands_in(page.read_text(encoding="utf-8")))) for page in PAGES) > 40


def test_the_configuration_that_the_readme_shows_can_be_read(tmp_path: Path) -> None:
    """Every key of it is known, and its targets are there."""
    shown = re.findall(r"```toml\n(\[providers\].*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert len(shown) == 1
    (tmp_path / "testcard.toml").write_text(shown[0], encoding="utf-8")
    config = load_config(tmp_path / "testcard.toml")
    assert [provider.id for provider in providers_of(config)] == [target.provider for target in config.target]
    assert config.waiver


def test_decisions_are_numbered_and_listed() -> None:
    """One file a decision, its number in its name and its title, each in the list."""
    listed = (DECISIONS / "README.md").read_text(encoding="utf-8")
    files = sorted(path for path in DECISIONS.glob("*.md") if path.name != "README.md")
    for number, path in enumerate(files, 1):
        title = path.read_text(encoding="utf-8").splitlines()[0]
        assert path.name.startswith(f"{number:04}-")
        assert title.startswith(f"# {number}. ")
        assert f"[{title.split('. ', 1)[1]}]({path.name})" in listed
