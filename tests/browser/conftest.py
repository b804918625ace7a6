"""Chromium and a synthetic report for the browser tests; without a Chromium they are skipped, and say so."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def _chromium() -> str | None:
    return os.environ.get("TESTCARD_CHROMIUM") or next((path for name in _NAMES if (path := shutil.which(name))), None)


def _synthetic() -> ModuleType:
    name = "testcard_synthetic_runs"
    if name not in sys.modules:
        path = Path(__file__).parents[1] / "unit" / "reports" / "synthetic_runs.py"
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    return sys.modules[name]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """One headless Chromium for a module's tests; no longer, because Playwright's event loop would run under every later test."""
    binary = _chromium()
    if binary is None:
        pytest.skip("no Chromium was found: set TESTCARD_CHROMIUM to its path")
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install 'testcard[test]'")
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=binary, args=_FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture(scope="session")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """report.html of five synthetic providers, one of which sends markup in its error bodies and its model's name."""
    from testcard.reports.pages.render import write_report

    folder = tmp_path_factory.mktemp("browser")
    return write_report(_synthetic().write_evaluation(folder / "runs"), folder / "report")
