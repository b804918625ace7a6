"""`pytest --testcard`: rules as test items with their evidence, one check behind them in however many processes, and nothing unless asked for."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest

from testcard.harness.runs.folder import RunReader
from testkit.pictures import gradient, in_base64
from testkit.servers import Request, Response, Server, answering

RULES = ("image.size", "image.count", "http.media-type")


def answer(request: Request) -> Response:
    """One picture of 64 by 64, whatever was asked for: its size is wrong, its number right where one was asked for."""
    if request.method != "POST":
        return Response({"error": {"message": "no such thing"}}, status=404)
    return Response({"created": 1, "data": [{"b64_json": in_base64(gradient())}], "cost": 0.01, "remainingBalance": 1})


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with answering(answer) as running:
        yield running


def run_pytest(folder: Path, *arguments: str, cache: bool = False) -> subprocess.CompletedProcess[str]:
    """pytest in a folder of its own, with no plugin but ours and xdist: an editable install may be older than the entry point."""
    command = [sys.executable, "-m", "pytest", "-p", "testcard.harness.pytest_plugin", "-p", "xdist"]
    command += [] if cache else ["-p", "no:cacheprovider"]
    environment = {**os.environ, "TESTCARD_API_KEY": "k", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    return subprocess.run([*command, *arguments], cwd=folder, env=environment, capture_output=True, text=True, timeout=120)


def asked(server: Server) -> list[str]:
    return ["--testcard", f"nanogpt={server.url}", *(part for rule in RULES for part in ("--testcard-rule", rule))]


def test_a_broken_promise_fails_with_its_evidence(server: Server, tmp_path: Path) -> None:
    """Promise, place, what was seen, a curl; the others pass, JUnit names them, and two processes send what one does, once."""
    (tmp_path / "test_mine.py").write_text("def test_mine():\n    pass\n")
    before = len(server.seen)
    done = run_pytest(tmp_path, *asked(server), "-n", "2", "--junitxml", "junit.xml", "--testcard-out", "runs")
    sent = len(server.seen) - before
    assert done.returncode == 1, done.stdout + done.stderr
    assert "FAILED testcard::nanogpt::createImage::image.size" in done.stdout
    assert "promised  A picture has the width and height" in done.stdout
    assert "seen      256x256 was asked for, the picture is 64x64" in done.stdout
    assert "again     curl " in done.stdout
    assert "$TESTCARD_API_KEY" in done.stdout
    assert "Traceback" not in done.stdout
    (folder,) = (tmp_path / "runs").glob("pytest-*/nanogpt")
    recorded = list(RunReader(folder).exchanges())
    asks = [request for request in server.seen[before:] if request.path != "/_testcard/health"]
    assert len(recorded) == len({one.id for one in recorded}) == len(asks)
    cases = {f"{case.get('classname')}.{case.get('name')}": case for case in ElementTree.parse(tmp_path / "junit.xml").iter("testcase")}
    assert cases["testcard.nanogpt.createImage.image.size"].find("failure") is not None
    assert cases["testcard.nanogpt.createImage.http.media-type"].find("failure") is None
    assert "test_mine.test_mine" in cases
    before = len(server.seen)
    alone = run_pytest(tmp_path, *asked(server), "-m", "testcard")
    assert alone.returncode == 1
    assert len(server.seen) - before == sent


def test_what_is_not_selected_is_not_sent(server: Server, tmp_path: Path) -> None:
    """-k narrows the requests as well; --lf runs what failed before; --collect-only sends nothing and leaves no folder."""
    before = len(server.seen)
    listed = run_pytest(tmp_path, *asked(server), "--collect-only", "-q")
    assert listed.stdout.splitlines()[0] == "testcard::nanogpt::createImage::http.media-type"
    assert (len(server.seen), list(tmp_path.iterdir())) == (before, [])
    done = run_pytest(tmp_path, *asked(server), "-q", cache=True)
    whole = len(server.seen) - before
    assert "2 failed, 1 passed" in done.stdout
    again = run_pytest(tmp_path, *asked(server), "-q", "--lf", cache=True)
    assert "2 failed" in again.stdout
    assert "passed" not in again.stdout.splitlines()[-1]
    before = len(server.seen)
    run_pytest(tmp_path, *asked(server), "-q", "-k", "http.media-type")
    assert 0 < len(server.seen) - before < whole


def test_the_budget_is_one_for_all_items(server: Server, tmp_path: Path) -> None:
    """What was not sent is undecided and fails where a must hangs on it; never more is sent than was allowed."""
    before = len(server.seen)
    done = run_pytest(tmp_path, *asked(server), "--testcard-max-requests", "1")
    posts = [request for request in server.seen[before:] if request.method == "POST"]
    assert len(posts) == 1
    assert done.returncode == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--testcard", "nanogpt=https://api.nanogpt.example"], "--testcard-live"),
        (["--testcard", "nanogpt=https://api.nanogpt.example", "--testcard-live"], "--testcard-max-cost"),
        (["--testcard", "nanogtp"], "nanogpt"),
        (["--testcard", "nanogpt", "--testcard-rule", "image.sise"], "image.size"),
        (["--testcard", "nanogpt", "--testcard-rule", "vision.*"], "none of the rules"),
    ],
)
def test_what_cannot_be_checked_is_a_usage_error(arguments: list[str], said: str, tmp_path: Path) -> None:
    """Before anything is collected, with the next step."""
    done = run_pytest(tmp_path, *arguments)
    assert done.returncode == 4
    assert said in done.stderr


def test_a_target_that_is_not_there_is_said_by_each_item(tmp_path: Path) -> None:
    """Without a traceback."""
    done = run_pytest(tmp_path, "--testcard", "nanogpt=http://127.0.0.1:9", "--testcard-rule", "image.count")
    assert done.returncode == 1
    assert "nothing answers at http://127.0.0.1:9" in done.stdout
    assert "Traceback" not in done.stdout


def test_nothing_happens_unless_it_is_asked_for(tmp_path: Path) -> None:
    """A run without the option or a fixture imports no more of Testcard than the plugin's own module."""
    (tmp_path / "test_mine.py").write_text(
        "import sys\n\n\ndef test_mine():\n"
        "    assert {name for name in sys.modules if name.startswith('testcard.') and 'editable' not in name}"
        " <= {'testcard.harness', 'testcard.harness.pytest_plugin'}\n"
    )
    done = run_pytest(tmp_path, "-q")
    assert done.returncode == 0, done.stdout
    assert [path.name for path in tmp_path.iterdir() if path.name != "__pycache__"] == ["test_mine.py"]


def test_the_fixtures_give_mocks_clients_and_checks(tmp_path: Path) -> None:
    """A mock that lies, a client that asks it, a check that finds it out."""
    (tmp_path / "test_mine.py").write_text(
        "def test_all(testcard_mock, testcard_client, testcard_check):\n"
        "    mock = testcard_mock('nebul', faults=['image.size'])\n"
        "    assert testcard_mock('nebul', faults=['image.size']) is mock\n"
        "    assert testcard_client('nebul', base_url=mock.base_url).generate('a boat').pictures\n"
        "    done = testcard_check('nebul', base_url=mock.base_url, rules=('image.size',))\n"
        "    assert done.outcome == 'fail'\n"
        "    assert done.folder.is_dir()\n"
    )
    done = run_pytest(tmp_path, "-q")
    assert done.returncode == 0, done.stdout


def test_a_check_whose_process_died_is_not_sent_again(tmp_path: Path) -> None:
    """A claim of a process that is gone, without an end, makes each item fail and sends nothing."""
    from testcard.harness.api import CheckOptions
    from testcard.harness.errors import Inconclusive
    from testcard.harness.pytest_plugin.items import SharedCheck

    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    (tmp_path / "nanogpt.claimed").write_text(str(gone.pid))
    shared = SharedCheck(CheckOptions(provider="nanogpt"), tmp_path / "nanogpt")
    with pytest.raises(Inconclusive, match="died"):
        shared.verdict("image.size", "createImage", [])


def test_the_wheel_registers_it() -> None:
    """Under the name that `-p no:testcard` switches off."""
    import tomllib

    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    assert project["entry-points"]["pytest11"] == {"testcard": "testcard.harness.pytest_plugin"}
    assert json.dumps(project["scripts"]) == '{"testcard": "testcard.harness.cli:main"}'
