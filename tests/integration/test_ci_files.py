"""The shell parts of action.yml and of the templates do what they say: they are run here as a runner would, against mocks."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from testcard.harness.cli import COMMANDS
from testcard.harness.targets import EmbeddedMocks, embedded_mocks

ROOT = Path(__file__).parents[2]
GITHUB = sorted((ROOT / "templates" / "github").glob("*.yml"))
ACTION = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
#: What keeps a check and a benchmark short here: everything else is as the file has it.
WRAPPER = """#!{bash}
name=$1
shift
testcard() {{ {python} -m testcard.harness.cli "$@"; }}
case "$name" in
  check) testcard check "$@" --rule image.count --rule image.size ;;
  # A machine that is busy with other tests makes a benchmark inconclusive, which is not what is tried here.
  bench) testcard bench "$@" --duration 2 --max-requests 8 --warmup 0 --rounds 2 || [ $? = 5 ] ;;
  report)
    if [ -z "$QUICK_REPORT" ]; then testcard report "$@"; exit; fi
    while [ "$1" != --out ]; do [ -f "$1/run.json" ] || exit 2; shift; done
    mkdir -p "$2"
    for file in report.html summary.md junit.xml results.sarif; do echo "a report's $file" > "$2/$file"; done ;;
  *) testcard "$name" "$@" ;;
esac
"""


@pytest.fixture(scope="module")
def mocks() -> Iterator[EmbeddedMocks]:
    """Two that keep their contract, and one that breaks a must in every picture."""
    with embedded_mocks(["nanogpt", "nebul", "nvidia-nim-image"]) as running:
        yield running


@pytest.fixture(scope="module")
def broken() -> Iterator[EmbeddedMocks]:
    with embedded_mocks(["nanogpt"], options=["--fault", "image.size"]) as running:
        yield running


@pytest.fixture
def runner(tmp_path: Path) -> Path:
    """A folder with the programs that a step finds on its path: testcard, and a docker that only remembers."""
    programs = tmp_path / "bin"
    programs.mkdir()
    bash = shutil.which("bash")
    for name, text in {
        "testcard": WRAPPER.format(bash=bash, python=sys.executable),
        "docker": f'#!{bash}\necho "$@" >> "$DOCKER_CALLS"\n',
    }.items():
        (programs / name).write_text(text)
        (programs / name).chmod(0o755 | stat.S_IXUSR)
    return tmp_path


def run_step(folder: Path, script: str, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """A step as GitHub runs it: bash -e -o pipefail."""
    (folder / "work").mkdir(exist_ok=True)
    environment = {
        "QUICK_REPORT": "yes",
        **{name: value for name, value in os.environ.items() if not name.startswith(("TESTCARD_", "GITHUB_", "CI"))},
        "PATH": f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": "", "DOCKER_CALLS": str(folder / "docker.txt"),
        "GITHUB_OUTPUT": str(folder / "output.txt"), "GITHUB_STEP_SUMMARY": str(folder / "summary.txt"), "TESTCARD_API_KEY": "testcard",
        **(env or {}),
    }  # fmt: skip
    command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script]
    return subprocess.run(command, cwd=folder / "work", env=environment, capture_output=True, text=True, timeout=120)


def action_step(folder: Path, **inputs: str) -> subprocess.CompletedProcess[str]:
    """The action's step `check` with these inputs, the others at their defaults."""
    step = next(one for one in ACTION["runs"]["steps"] if one.get("id") == "check")
    values = {name: str(inputs.get(name.replace("-", "_"), entry["default"])) for name, entry in ACTION["inputs"].items()}
    assert set(inputs) <= {name.replace("-", "_") for name in values}
    env = {name: values[text.removeprefix("${{ inputs.").removesuffix(" }}")] for name, text in step["env"].items()}
    return run_step(folder, step["run"], {**env, "QUICK_REPORT": ""})


def test_the_action_checks_every_target_reports_and_ends_with_the_worst_code(
    runner: Path, mocks: EmbeddedMocks, broken: EmbeddedMocks
) -> None:
    """A target a line; the report's JUnit and SARIF are where the outputs say."""
    targets = f"nanogpt={broken.base_urls['nanogpt']}\nnebul={mocks.base_urls['nebul']}\n"
    done = action_step(runner, target=targets, arguments="--rule 'image.f*'", max_requests="30")
    assert done.returncode == 1, done.stdout + done.stderr
    assert (runner / "output.txt").read_text() == "exit-code=1\n"
    out = runner / "work" / "testcard-runs"
    assert (out / "check-1" / "badge.json").is_file()
    assert (out / "check-2" / "verdicts.json").is_file()
    assert "image.size" in (out / "report" / "junit.xml").read_text()
    assert (out / "report" / "results.sarif").is_file()


@pytest.mark.parametrize(("policy", "code"), [("fail", 5), ("warn", 0)])
def test_the_action_s_policy_for_what_could_not_be_judged(runner: Path, mocks: EmbeddedMocks, policy: str, code: int) -> None:
    """A budget of one request decides nothing."""
    done = action_step(runner, target=f"nanogpt={mocks.base_urls['nanogpt']}", max_requests="1", inconclusive=policy)
    assert done.returncode == code, done.stdout + done.stderr
    assert ("::warning" in done.stdout) == (policy == "warn")
    assert (runner / "output.txt").read_text() == "exit-code=5\n"


def test_the_action_fails_where_nothing_answers(runner: Path) -> None:
    """With code 3 and without a report, whatever the policy."""
    done = action_step(runner, target="nanogpt=http://127.0.0.1:9", wait_for="1s", inconclusive="pass")
    assert done.returncode == 3, done.stdout + done.stderr
    assert "nothing was ready at http://127.0.0.1:9" in done.stderr


@pytest.mark.parametrize(
    ("codes", "worst"), [("137 0", 137), ("0 137", 137), ("5 137 1", 137), ("5 0", 5), ("1 5", 1), ("3 1", 3), ("4 2", 4), ("0 0", 0)]
)
def test_the_action_s_worst_code_of_several_checks(runner: Path, codes: str, worst: int) -> None:
    """A check that was killed, as by a machine that ran out of memory, is not made good by the next one."""
    program = runner / "bin" / "testcard"
    targets = [f"nanogpt=http://127.0.0.1:{number}" for number in range(len(codes.split()))]
    program.write_text(f'#!{shutil.which("bash")}\ncodes=({codes})\nexit "${{codes[${{2##*:}}]}}"\n')
    assert action_step(runner, target="\n".join(targets)).returncode == worst


def test_gitlab_s_job_reports_and_keeps_the_exit_code(runner: Path, broken: EmbeddedMocks) -> None:
    """Its script, with the variables that a project sets."""
    job = yaml.safe_load((ROOT / "templates" / "gitlab" / "testcard.yml").read_text(encoding="utf-8"))[".testcard"]
    env = {name: str(value) for name, value in job["variables"].items()}
    env["TESTCARD_TARGET"] = f"nanogpt={broken.base_urls['nanogpt']}"
    done = run_step(runner, "\n".join(job["script"]), env)
    assert done.returncode == 1, done.stdout + done.stderr
    assert (runner / "work" / "testcard-runs" / "report" / "junit.xml").is_file()


@pytest.mark.parametrize("path", GITHUB, ids=lambda path: path.stem)
def test_a_recipe_s_steps_run_one_after_the_other(runner: Path, mocks: EmbeddedMocks, path: Path) -> None:
    """With mocks in the place of the live and the local addresses. Installing and starting a server are the runner's affair."""
    (job,) = yaml.safe_load(path.read_text(encoding="utf-8"))["jobs"].values()
    env = {name: str(value) for name, value in job.get("env", {}).items() if "${{" not in str(value)}
    ran = 0
    for step in job["steps"]:
        script = step.get("run", "")
        if not script or step["name"] == "install" or "start-your-server" in script:
            continue
        provider = "nvidia-nim-image" if "nvidia-nim-image" in path.read_text() else "nanogpt"
        for address in ("https://nano-gpt.com", "http://localhost:8000", "http://127.0.0.1:8000"):
            script = script.replace(address, mocks.base_urls[provider])
        script = script.replace("https://api.inference.nebul.io", mocks.base_urls["nebul"]).replace(" --no-auth", "")
        done = run_step(runner, script, env)
        assert done.returncode == 0, f"{step['name']}\n{done.stdout}{done.stderr}"
        ran += 1
    assert ran >= 1
    work = runner / "work"
    if path.stem == "gate-nim-container":
        assert (runner / "docker.txt").read_text().startswith("run --detach --name nim")
        assert (work / "testcard-runs" / "report" / "results.sarif").is_file()
    elif path.stem == "nightly-live":
        assert '"label": "testcard"' in (work / "site" / "badge.json").read_text()
    elif path.stem == "weekly-comparison":
        assert (runner / "summary.txt").stat().st_size > 0
    else:
        script = next(step["run"] for step in job["steps"] if step.get("name") == "compare")
        again = run_step(runner, script, env)
        assert again.returncode in (0, 5), again.stdout + again.stderr
        assert "There is no baseline yet" not in again.stdout


def test_every_recipe_is_named_by_the_page() -> None:
    """And every file that it names is there."""
    page = (ROOT / "docs" / "ci.md").read_text(encoding="utf-8")
    for path in [*GITHUB, ROOT / "templates" / "gitlab" / "testcard.yml", ROOT / "action.yml", ROOT / ".pre-commit-hooks.yaml"]:
        assert path.name in page


def test_the_pre_commit_hook_s_command_takes_several_files(tmp_path: Path) -> None:
    """As pre-commit passes them; a mistake is exit code 2."""
    from testkit.command_line import typed

    (hook,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))
    words = hook["entry"].split()
    assert words[0] == "testcard"
    assert words[1] in COMMANDS
    folder = tmp_path / "mine"
    shutil.copytree(ROOT / "specs" / "providers" / "nanogpt", folder)
    files = [str(folder / "openapi.yaml"), str(folder / "profile.yaml")]
    done = typed([*words[1:], *files], cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    profile = folder / "profile.yaml"
    profile.write_text(profile.read_text(encoding="utf-8").replace("seed: {must", "seed: {means: sed, must"), encoding="utf-8")
    done = typed([*words[1:], *files], cwd=tmp_path)
    assert done.returncode == 2
    assert "did you mean seed" in done.stdout


def outputs(value: Any) -> Iterator[str]:
    yield from (entry["value"] for entry in value.values())


def test_the_action_is_complete() -> None:
    """Each input has a description and a default, each one that is used exists."""
    text = (ROOT / "action.yml").read_text(encoding="utf-8")
    used = {piece.partition(" ")[0] for piece in text.split("${{ inputs.")[1:]}
    assert used == set(ACTION["inputs"])
    assert all(entry["description"] and "default" in entry for entry in ACTION["inputs"].values())
    assert all(one.startswith("${{ ") for one in outputs(ACTION["outputs"]))
