"""Whatever breaks while a run is written, its run.json says that it ended and how: never `running` for ever."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from testcard.harness.cli import run
from testcard.harness.runs.folder import RunReader, RunWriter

CHECK = ["check", "nanogpt", "--rule", "auth.required", "--out", "run"]
BENCH = ["bench", "--target", "nanogpt", "--rate", "20", "--duration", "0.4", "--warmup", "0", "--rounds", "1", "--quiet", "--out", "run"]


@pytest.fixture(autouse=True)
def surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TESTCARD_PROGRESS", "none")
    monkeypatch.chdir(tmp_path)


def breaking(kind: str, error: BaseException) -> Callable[..., Path]:
    """`RunWriter.write` that raises when it comes to files of a kind."""
    write = RunWriter.write

    def writes(self: RunWriter, what: str, *rest: object) -> Path:
        if what == kind:
            raise error
        return write(self, what, *rest)  # type: ignore[arg-type]

    return writes


@pytest.mark.parametrize(
    ("command", "kind"),
    [(CHECK, "verdicts"), (BENCH, "summary"), (["report", "before", "--out", "run"], "badge")],
    ids=["check", "bench", "report"],
)
def test_an_error_at_the_end_seals_the_run(
    command: list[str], kind: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """The last file cannot be written: exit 4, and run.json says error and why."""
    if command[0] == "report":
        assert run(["check", "nanogpt", "--rule", "auth.required", "--out", "before"]) == 0
    monkeypatch.setattr(RunWriter, "write", breaking(kind, RuntimeError("no room")))
    assert run(command) == 4
    sealed = RunReader("run").run
    assert (sealed.outcome, sealed.exit_code, sealed.reason) == ("error", 4, "RuntimeError: no room")
    assert sealed.ended is not None
    assert "no room" in capfd.readouterr().err


def test_ctrl_c_at_the_end_seals_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Interrupted while the verdicts are written: exit 130, and run.json says so."""
    monkeypatch.setattr(RunWriter, "write", breaking("verdicts", KeyboardInterrupt()))
    assert run(CHECK) == 130
    sealed = RunReader("run").run
    assert (sealed.outcome, sealed.exit_code) == ("interrupted", 130)
