"""What a new user does: a fresh environment with the wheel, an empty folder, and then what each command prints as the next step.

Dependencies come from the environment of the tests, so that no index is needed; Testcard itself from the wheel alone.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import zipfile
from pathlib import Path

from testcard.harness.targets import embedded_mocks
from testkit.packages import ROOT


def environment_with(wheel: Path, folder: Path) -> Path:
    """The scripts of an environment that holds the wheel; what it depends on lies on the path behind it."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True, capture_output=True)
    (packages,) = folder.glob("lib/python3*/site-packages")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(packages)
    ours = [path for path in map(Path, sys.path) if path.name in ("site-packages", "dist-packages")]
    (packages / "dependencies.pth").write_text("\n".join(map(str, ours)) + "\n")  # the .pth files in there are not read, ours neither
    script = folder / "bin" / "testcard"
    script.write_text(f"#!{folder}/bin/python\nfrom testcard.harness.cli import main\nmain()\n")
    script.chmod(0o755)
    return folder / "bin"


def test_each_printed_step_leads_to_the_next(wheel: Path, tmp_path: Path) -> None:
    """init, doctor, check, bench, report: nothing needs the source tree, and a check that is cut short says so and goes on."""
    scripts = environment_with(wheel, tmp_path / "venv")
    folder = tmp_path / "empty"
    folder.mkdir()
    environment = {"PATH": f"{scripts}{os.pathsep}/usr/bin{os.pathsep}/bin", "HOME": str(folder), "LANG": "C.UTF-8"}

    def do(command: str) -> subprocess.CompletedProcess[str]:
        words = shlex.split(command)
        done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)
        assert done.returncode in ((0, 5) if words[1] in ("bench", "report") else (0,)), f"{command}\n{done.stdout}{done.stderr}"
        assert str(ROOT) not in done.stdout + done.stderr
        return done

    def next_of(done: subprocess.CompletedProcess[str]) -> str:
        return next(line.removeprefix("next: ") for line in done.stderr.splitlines() if line.startswith("next: testcard "))

    with embedded_mocks(["nvidia-nim-image"]) as mocks:  # stands for the user's own server
        url = mocks.base_urls["nvidia-nim-image"]
        done = do(f"testcard init --target nvidia-nim-image={url} --ci github")
        assert (folder / ".github" / "workflows" / "testcard.yml").is_file()
        assert next_of(done) == "testcard doctor"
        done = do(next_of(done))
        assert next_of(done) == "testcard check --wait-for 60s"
        done = do(f"{next_of(done)} --rule image.count --rule image.size")
        checked, opened = done, next_of(done)
        assert opened.startswith("testcard open testcard-runs/check-")
        assert do(f"{opened} --print").stdout.strip().endswith("/report.html")
        load = next(line.removeprefix("then: ") for line in checked.stderr.splitlines() if line.startswith("then: testcard bench "))
        assert f"nvidia-nim-image={url}" in load
        done = do(f"{load} --rate 4 --duration 2 --warmup 0 --rounds 2 --max-requests 8 --out testcard-runs/bench")
        assert any("testcard report testcard-runs/bench" in line for line in done.stderr.splitlines())
    do(f"{opened.replace('open', 'report', 1)} testcard-runs/bench --out testcard-runs/report")
    assert (folder / "testcard-runs" / "report" / "report.html").is_file()
    address = do("testcard open testcard-runs/report --print").stdout.strip()
    assert address == (folder / "testcard-runs" / "report" / "report.html").resolve().as_uri()
    where = subprocess.run(
        [scripts / "python", "-c", "import testcard.harness; print(testcard.harness.__file__)"],
        capture_output=True,
        text=True,
        env=environment,
    )
    assert where.stdout.startswith(str(tmp_path / "venv"))
