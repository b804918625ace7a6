"""What is installed is what is in git, and a user's own folders cannot get in its way."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

from testkit.packages import built, copied, tracked

ROOTS = ("specs", "harness", "mocks", "benchmarks", "reports")
#: Loaded by `testcard --help` they would cost seconds.
HEAVY = (
    "pandas",
    "matplotlib",
    "locust",
    "gevent",
    "schemathesis",
    "hypothesis",
    "pydantic",
    "httpx",
    "numpy",
    "scipy",
    "pyarrow",
    "PIL",
    "starlette",
)


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel installed into a folder of its own, without its dependencies."""
    target = tmp_path_factory.mktemp("installed")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--no-index"]
    done = subprocess.run([*command, "--target", str(target), str(wheel)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return target


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's project whose own packages bear the names of our folders and break when they are imported."""
    folder = tmp_path_factory.mktemp("hostile")
    for name in ROOTS:
        (folder / name).mkdir()
        (folder / name / "__init__.py").write_text(f"raise SystemExit('the wrong {name} was imported')\n")
    return folder


def run(arguments: list[str], installed: Path, hostile: Path) -> subprocess.CompletedProcess[str]:
    """Python in the hostile folder with PYTHONPATH=., our installed copy and the dependencies.

    The base interpreter, because it does not read this environment's .pth files: the editable install stays out of sight.
    """
    python = getattr(sys, "_base_executable", sys.executable)
    paths = [".", str(installed), sysconfig.get_path("purelib"), sysconfig.get_path("platlib")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "PYTHONNOUSERSITE": "1"}
    return subprocess.run([python, *arguments], cwd=hostile, env=environment, capture_output=True, text=True, timeout=60)


def test_the_wheel_holds_every_tracked_file_and_nothing_more(wheel: Path) -> None:
    """Each module, contract, workload, schema, template and style of the five folders ships as testcard.*, at its own place."""
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert names == {f"testcard/{name}" for name in tracked(*ROOTS)}


def test_a_wheel_is_the_same_to_the_byte_wherever_it_is_built(wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From another folder, with files of another day and mode, under another umask and time zone: the same sha256."""
    source = copied(tmp_path / "elsewhere")
    for file in source.rglob("*"):
        file.chmod(0o700 if file.is_dir() else 0o600)
        os.utime(file, (1_500_000_000, 1_500_000_000))
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    before = os.umask(0o077)
    try:
        again = built(source, "build_wheel", tmp_path / "built")
    finally:
        os.umask(before)
    assert hashlib.sha256(again.read_bytes()).hexdigest() == hashlib.sha256(wheel.read_bytes()).hexdigest()


def test_there_is_no_module_that_makes_testcard_a_plain_package(wheel: Path) -> None:
    """`testcard` stays a namespace, as the editable install has it."""
    assert "testcard/__init__.py" not in zipfile.ZipFile(wheel).namelist()


def test_the_source_distribution_holds_the_same(sdist: Path) -> None:
    """Nothing that the wheel needs is missing from the sdist."""
    with tarfile.open(sdist) as archive:
        names = {name.split("/", 1)[1] for name in archive.getnames() if "/" in name}
    assert set(tracked(*ROOTS)) | {"pyproject.toml", "setup.py", "README.md"} <= names


def test_a_users_own_folders_do_not_shadow_ours(installed: Path, hostile: Path) -> None:
    """From a folder with its own mocks/, reports/, specs/ and PYTHONPATH=., the command line is ours, the installed one."""
    done = run(["-m", "testcard.harness.cli", "--help"], installed, hostile)
    assert (done.returncode, done.stderr) == (0, "")
    assert "evaluate" in done.stdout
    assert "Exit codes" in done.stdout
    code = "import testcard.harness.cli as c, testcard.specs.loader as s; print(c.__file__); print(s.__file__); print(len(s.bundled_ids()))"
    done = run(["-c", code], installed, hostile)
    where = done.stdout.splitlines()
    assert where[0].startswith(str(installed)), done.stderr
    assert where[1].startswith(str(installed))
    assert where[2] == "5"


def test_the_script_runs_from_a_hostile_folder(installed: Path, hostile: Path) -> None:
    """The `testcard` script that pip installs says its version there."""
    done = run([str(installed / "bin" / "testcard"), "--version"], installed, hostile)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("testcard, version ")


def test_every_command_can_be_imported_there(installed: Path, hostile: Path) -> None:
    """Each name in the command table leads to a command with a help line, in the installed copy."""
    code = (
        "import json, click\n"
        "from testcard.harness.cli import COMMANDS\n"
        "from testcard.harness.extras import resolve\n"
        "found = {}\n"
        "for name, (where, _) in COMMANDS.items():\n"
        "    try:\n"
        "        command = resolve(where)\n"
        "        found[name] = isinstance(command, click.Command) and bool(command.help)\n"
        "    except Exception as error:\n"
        "        found[name] = repr(error)\n"
        "print(json.dumps(found))"
    )
    done = run(["-c", code], installed, hostile)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert {name: state for name, state in found.items() if state is not True} == {}


def test_help_loads_nothing_heavy(installed: Path, hostile: Path) -> None:
    """`testcard --help` is quick because no command, and none of their libraries, is imported for it."""
    code = (
        "import sys\n"
        "from testcard.harness.cli import run\n"
        "code = run(['--help'])\n"
        f"print('LOADED', code, [name for name in {HEAVY!r} if name in sys.modules])\n"
        "print('OURS', sorted(name for name in sys.modules if name.startswith('testcard.')))"
    )
    done = run(["-c", code], installed, hostile)
    assert "LOADED 0 []" in done.stdout, done.stdout + done.stderr
    ours = done.stdout.partition("OURS ")[2]
    assert not any(f"'testcard.{other}" in ours for other in ("mocks", "benchmarks", "reports"))
