"""One synthetic evaluation and its report for all tests of this folder."""

from __future__ import annotations

import contextlib
import importlib.util
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import pytest

from testcard.harness.runs.folder import RunReader, RunWriter
from testcard.harness.runs.records import (
    CheckedTarget,
    ClauseRef,
    Exchange,
    RuleFailure,
    SeenResponse,
    SentRequest,
    SpecGap,
    Spend,
    TargetRecord,
    Verdict,
    Verdicts,
    WaiverNote,
)
from testcard.reports.pages.render import write_report


def _load() -> ModuleType:
    name = "testcard_synthetic_runs"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name("synthetic_runs.py"))
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    return sys.modules[name]


@pytest.fixture(scope="session")
def synthetic() -> ModuleType:
    """The module that writes synthetic runs."""
    return _load()


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[RunReader]:
    """Five checks and a benchmark, as readers."""
    found: list[RunReader] = _load().write_evaluation(tmp_path_factory.mktemp("evaluation"))
    return found


@pytest.fixture(scope="session")
def report(runs: list[RunReader]) -> Path:
    """The folder of the report of `runs`, beside them, written by someone who works in the folder above."""
    with contextlib.chdir(runs[0].folder.parent):
        return write_report(runs, runs[0].folder.parent / "report").parent


@dataclass
class CheckMaker:
    """Writes runs of `testcard check` that never happened."""

    folder: Path
    made: int = 0

    def __call__(
        self,
        *verdicts: Verdict,
        strict: bool = False,
        outcome: Literal["pass", "fail", "inconclusive"] = "fail",
        provider: str = "nebul",
        openapi: str | None = "specs/providers/nebul/openapi.yaml",
        waivers: Sequence[WaiverNote] = (),
        errors: Sequence[RuleFailure] = (),
        gaps: Sequence[SpecGap] = (),
        started: str = "2026-11-20T09:00:00.000Z",
    ) -> RunReader:
        """A sealed run with these verdicts and one exchange, `e1`."""
        self.made += 1
        target = TargetRecord(provider=provider, name="Nebul", base_url="http://127.0.0.1:1", mock=False, spec_digest="ab" * 32)
        config = {"strict": strict, **({"openapi": openapi} if openapi else {})}
        writer = RunWriter.create(self.folder / f"check-{self.made}", "check", targets=[target], config=config, seed=0)
        request = SentRequest(method="POST", url="http://127.0.0.1:1/v1", headers=[], body=writer.body(b'{"prompt": "x"}'))
        response = SeenResponse(status=200, headers=[], body=writer.body(b"{}"))
        writer.append(
            Exchange(id="e1", operation="op", probe="p", source="probe", request=request, response=response, sent_s=1.0, done_s=1.5)
        )
        record = Verdicts(
            provider=provider,
            target=CheckedTarget(base_url=target.base_url, mock=False),
            outcome=outcome,
            spend=Spend(requests=1),
            verdicts=list(verdicts),
            spec_gaps=list(gaps),
            waivers=list(waivers),
            errors=list(errors),
        )
        writer.write("verdicts", "verdicts.json", record)
        code = {"pass": 0, "fail": 1, "inconclusive": 5}[outcome]
        writer.update(outcome=outcome, exit_code=code, started=started, ended=started.replace(":00:00", ":00:07"))
        return RunReader(writer.folder)


@pytest.fixture
def check_run(tmp_path: Path) -> CheckMaker:
    """Makes check runs below the test's own folder."""
    return CheckMaker(tmp_path / "runs")


@pytest.fixture(scope="session")
def judged_as() -> Callable[..., Verdict]:
    """Makes verdicts: word, then what else matters to the test."""

    def made(word: str, detail: str = "seen", **more: Any) -> Verdict:
        level = {"fail": "must", "deviates": "should", "info": "info"}.get(word, "must")
        fields: dict[str, Any] = {
            "rule": "image.size", "operation": "createImage", "level": level, "clause": ClauseRef(document="002.txt", heading="Sizes"),
            "exchanges": ["e1"], "line": 13, "title": "A picture has the size that was asked for.", **more,
        }  # fmt: skip
        return Verdict(verdict=word, detail=detail, **fields)  # type: ignore[arg-type]

    return made
