"""Every command in the README and under docs/ is one: it parses, and each way of calling a command is run once, against mocks.

What runs until it is stopped, and what takes minutes, is parsed here and run by tests of its own. Checks and benchmarks are cut short.
"""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from testcard.harness.cli import testcard as command_line
from testcard.harness.targets import EmbeddedMocks, embedded_mocks
from testkit.command_line import typed

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PARSED_ALONE = ("mock", "calibrate", "evaluate", "selftest", "open")
#: Pages whose blocks are a session: their commands run one after the other in one folder.
SESSIONS = ("quick-start", "documents", "prices", "watching", "ci", "configuration", "profiles")
CUT_SHORT = {
    "check": ["--rule", "image.count", "--max-requests", "12"],
    "bench": ["--duration", "1", "--max-requests", "4", "--warmup", "0", "--rounds", "2"],
    "watch": ["--once", "--no-probe", "--rule", "auth.required"],
}


def commands(page: Path) -> Iterator[list[str]]:
    """The words of each testcard command in the page's shell blocks, up to what the shell does with the output."""
    for block in re.findall(r"^```sh\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
            lexer.whitespace_split, lexer.commenters = True, "#"
            words: list[str] = []
            for word in [*lexer, ";"]:
                if not set(word) <= set(";|&<>()"):
                    words.append(word)
                    continue
                if words[:1] == ["testcard"]:
                    yield words[1:]
                words = []


def parse(command: click.Command, words: list[str], parent: click.Context | None = None) -> None:
    """Lets click read the words as far as it does before it calls anything; its usage error for what is no command."""
    context = command.make_context(command.name, list(words), parent=parent)
    if isinstance(command, click.Group) and (rest := [*context._protected_args, *context.args]):
        _, found, further = command.resolve_command(context, rest)
        assert found is not None
        parse(found, further, context)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_command_parses(page: Path) -> None:
    """Names, flags and values are those that there are."""
    wrong = []
    for words in commands(page):
        try:
            parse(command_line, words)
        except click.ClickException as error:
            wrong.append((" ".join(words), error.format_message()))
        except click.exceptions.Exit:
            pass
    assert wrong == []


def test_every_command_of_testcard_is_on_some_page() -> None:
    """Nothing has to be found by --help alone."""
    text = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    assert [
        name
        for name in command_line.list_commands(click.Context(command_line))
        if f"testcard {name}" not in text and f"`{name}`" not in text
    ] == []


@pytest.fixture(scope="module")
def mocks() -> Iterator[EmbeddedMocks]:
    with embedded_mocks(["nanogpt", "nebul"]) as running:
        yield running


def test_sessions_of_the_pages_run(tmp_path: Path, mocks: EmbeddedMocks) -> None:
    """In the order of each page; a way of calling a command that ran once need not run again."""
    done: set[tuple[str, ...]] = set()
    for name in SESSIONS:
        folder = tmp_path / name
        folder.mkdir()
        prepare(folder)
        for words in commands(ROOT / "docs" / f"{name}.md"):
            way = (words[0], *sorted(word for word in words if word.startswith("--")))
            if words[0] in PARSED_ALONE or way in done:
                continue
            done.add(way)
            typed_words = [place for word in with_mocks(words, mocks) for place in placed(folder, word)]
            if words[0] in CUT_SHORT and "--plan" not in words:
                typed_words += CUT_SHORT[words[0]]
            ended = typed(typed_words, cwd=folder)
            assert ended.returncode in ((0, 5) if words[0] == "bench" else (0,)), (name, typed_words, ended.stdout, ended.stderr)
    assert len(done) > 15


def prepare(folder: Path) -> None:
    """What a session's commands name: documents in two versions, a provider of one's own, a run."""
    nanogpt = ROOT / "specs" / "providers" / "nanogpt"
    for name in ("new/openapi.yaml", "old.yaml", "new.yaml"):
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copy(nanogpt / "openapi.yaml", folder / name)
    (folder / "my-provider").mkdir()
    shutil.copy(nanogpt / "openapi.yaml", folder / "my-provider" / "openapi.yaml")
    profile = next(
        block for block in re.findall(r"```yaml\n(.*?)```", (ROOT / "docs" / "profiles.md").read_text(encoding="utf-8"), re.DOTALL)
    )
    (folder / "my-provider" / "profile.yaml").write_text(profile, encoding="utf-8")


def with_mocks(words: list[str], mocks: EmbeddedMocks) -> list[str]:
    """The words with mocks where the page has a local or a live address, and without waiting for a certificate."""
    found = []
    for word in words:
        for address in ("http://127.0.0.1:8000", "http://127.0.0.1:8080", "https://nano-gpt.com"):
            word = word.replace(address, mocks.base_urls["nanogpt"])
        found.append("0" if found[-1:] == ["--port"] else word)
    return found


def placed(folder: Path, word: str) -> list[str]:
    """A pattern, or a run of the page's own day, as the runs that are there."""
    if word.startswith("testcard-runs/check-2"):
        if not list(folder.glob("testcard-runs/check-*")):
            made = typed(["check", "nanogpt", "--rule", "image.count", "--out", "testcard-runs/check-1"], cwd=folder)
            assert made.returncode == 0, made.stderr
        return ["testcard-runs/check-1"]
    return sorted(str(path.relative_to(folder)) for path in folder.glob(word)) if "*" in word else [word]


@pytest.mark.parametrize("number", range(2))
def test_the_python_of_the_readme_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mocks: EmbeddedMocks, number: int) -> None:
    """As it stands there, with a mock's address and fewer requests."""
    blocks = re.findall(r"^```python\n(.*?)^```", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert len(blocks) == 2
    monkeypatch.chdir(tmp_path)
    text = blocks[number].replace("http://127.0.0.1:8080", mocks.base_urls["nanogpt"]).replace("max_requests=60", "max_requests=4")
    exec(compile(text, "README.md", "exec"), {})
    assert any(tmp_path.iterdir())


def test_the_first_block_of_the_readme_runs_in_an_empty_folder(tmp_path: Path, mocks: EmbeddedMocks) -> None:
    """Five lines from an empty folder to a report of one's own server."""
    block = list(commands(ROOT / "README.md"))[:4]
    assert [words[0] for words in block] == ["init", "doctor", "check", "open"]
    for words in block:
        typed_words = with_mocks(words, mocks) + {"check": CUT_SHORT["check"], "open": ["--print"]}.get(words[0], [])
        if words[0] == "open":
            (folder,) = tmp_path.glob("testcard-runs/check-*")
            if not (folder / "report.html").exists():
                continue  # a check writes its report where the extra is installed; see the check's own tests
        ended = typed(typed_words, cwd=tmp_path)
        assert ended.returncode == 0, (typed_words, ended.stdout, ended.stderr)
