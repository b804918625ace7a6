"""A bare `pip install` into an environment of its own: what it weighs, what works in it, and what the rest asks for."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from testcard.harness.extras import EXTRAS, requirement
from testkit.packages import ROOT
from testkit.servers import Response, answering

#: What the issue allows a bare install to weigh, with its bytecode, without pip.
MOST_MEGABYTES = 100


@pytest.fixture(scope="module")
def bare(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of scripts of a fresh environment that holds the wheel and what it names, and nothing else."""
    folder = tmp_path_factory.mktemp("bare") / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True, capture_output=True)
    python = folder / "bin" / "python"
    command = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--disable-pip-version-check"]
    done = subprocess.run([*command, "--constraint", str(ROOT / "constraints.txt"), str(wheel)], capture_output=True, text=True)
    if done.returncode and "No matching distribution" in done.stderr:
        pytest.skip(f"no package index is within reach: {done.stderr.strip().splitlines()[-1]}")
    assert done.returncode == 0, done.stderr
    return folder / "bin"


def run(bare: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A command in an empty folder, with nothing of this environment."""
    folder = bare.parent / "empty"
    folder.mkdir(exist_ok=True)
    environment = {"PATH": str(bare), "HOME": str(folder), "TESTCARD_API_KEY": "k"}
    return subprocess.run(
        [str(bare / arguments[0]), *arguments[1:]], cwd=folder, env=environment, capture_output=True, text=True, timeout=60
    )


def test_it_is_small(bare: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No more than the limit, dependencies and bytecode together."""
    (packages,) = bare.parent.glob("lib/python3*/site-packages")
    size = sum(path.stat().st_size for path in packages.rglob("*") if path.is_file()) / 1e6
    with capsys.disabled():
        print(f"\nbare install: {size:.0f} MB, {len(list(packages.glob('*.dist-info')))} packages")
    assert size <= MOST_MEGABYTES


def test_the_client_works(bare: Path) -> None:
    """A program generates a picture; nothing of the extras is loaded, and naming the package loads no library at all."""
    with answering(
        lambda request: Response({"data": [{"b64_json": PICTURE}], "cost": 0.01, "created": 1, "remainingBalance": 1})
    ) as server:
        done = run(
            bare,
            "python",
            "-c",
            "import sys, testcard.harness.client as c\n"
            "assert not {'httpx', 'pydantic', 'anyio', 'PIL'} & set(sys.modules)\n"
            f"with c.Client('nanogpt', base_url={server.url!r}, api_key='k') as client:\n"
            "    print(client.generate('a red boat').pictures[0].width)\n",
        )
    assert (done.stdout, done.returncode) == ("1\n", 0), done.stderr


@pytest.mark.parametrize(
    "arguments", [["--version"], ["providers"], ["rules"], ["rules", "image.size"], ["generate", "--help"]], ids=" ".join
)
def test_what_needs_no_extra_works(bare: Path, arguments: list[str]) -> None:
    """The catalogue, the rules and the client's commands are there."""
    done = run(bare, "testcard", *arguments)
    assert done.returncode == 0, done.stderr


NEED = {
    "check nanogpt": ["check"],
    "bench": ["bench"],
    "evaluate": ["check", "bench", "report"],
    "report somewhere": ["report"],
    "mock": ["mock"],
    "selftest": ["check", "mock"],
    "generate nanogpt boat": ["mock"],
}


@pytest.mark.parametrize(("command", "extras"), NEED.items(), ids=list(NEED))
def test_what_needs_an_extra_says_which(bare: Path, command: str, extras: list[str]) -> None:
    """One line with the command that installs it, and exit code 2."""
    assert set(extras) <= set(EXTRAS)
    done = run(bare, "testcard", *command.split())
    assert (done.returncode, done.stdout) == (2, "")
    assert next(line for line in done.stderr.splitlines() if line.startswith("error: ")).endswith(f"pip install '{requirement(extras)}'")
    assert "Traceback" not in done.stderr


def test_a_program_is_told_which_extra_its_check_and_its_benchmark_need(bare: Path) -> None:
    """In the error itself, as a command says it; importing what a check is asked with needs nothing."""
    asked = "from testcard.harness.api import CheckOptions, check; check(CheckOptions(provider='nanogpt', base_url='http://127.0.0.1:1'))"
    for program, extra in ((asked, "check"), ("from testcard.harness.api import bench", "bench")):
        done = run(bare, "python", "-c", program)
        assert f"needs more than the base install: pip install '{requirement([extra])}'" in done.stderr.splitlines()[-1]


def test_json_says_it_too(bare: Path) -> None:
    """A program that asked for JSON reads the same in `error`."""
    done = run(bare, "testcard", "check", "nanogpt", "--json")
    assert json.loads(done.stdout)["error"]["code"] == 2


def test_the_version_is_said(bare: Path) -> None:
    """`testcard.harness.__version__` is the distribution's."""
    done = run(bare, "python", "-c", "import testcard.harness as h; print(h.__version__)")
    assert run(bare, "testcard", "--version").stdout.strip().endswith(done.stdout.strip())


PICTURE = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC"
