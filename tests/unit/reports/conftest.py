"""One synthetic evaluation and its report for all tests of this folder."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from testcard.harness.runs.folder import RunReader
from testcard.reports.render import write_report


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
    """The folder of the report of `runs`, beside them."""
    return write_report(runs, runs[0].folder.parent / "report").parent
