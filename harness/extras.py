"""What a bare install leaves out: the extras of the package, what each brings, and the one line said where one is missing.

An extra counts as installed when everything that is imported for it can be found; nothing is imported to find that out.

The only way from the harness to mocks, benchmarks and reports: names that are imported when they are used.

It keeps the directions of import (the linter sees no edge), and `testcard --help` fast.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping
from importlib.util import find_spec
from typing import Any

from testcard.harness.errors import UsageError

#: extra → the top-level modules that only it brings. pyproject.toml names their distributions; a test holds the two together.
EXTRAS: Mapping[str, tuple[str, ...]] = {
    "check": ("schemathesis", "hypothesis", "openapi_core", "openapi_spec_validator", "jsonschema", "werkzeug", "jinja2", "markupsafe"),
    "bench": ("gevent", "geventhttpclient", "greenlet", "locust", "flask", "numpy", "pandas", "pyarrow", "scipy", "xxhash", "zmq"),
    "report": ("jinja2", "markupsafe", "matplotlib", "numpy", "pandas", "pyarrow", "scipy"),
    "facts": ("imagehash",),
    "ocr": ("rapidocr_onnxruntime",),
    "mock": ("starlette", "uvicorn", "python_multipart", "numpy"),
    "tls": ("trustme",),
    "watch": ("prometheus_client",),
}


def missing(wanted: Iterable[str]) -> list[str]:
    """Those of the wanted extras of which something is not installed, in their order."""
    return [extra for extra in wanted if not all(_is_there(module) for module in EXTRAS[extra])]


def require(wanted: Iterable[str], what: str) -> None:
    """`UsageError` (exit code 2) with the command that installs what is missing, where `what` cannot work without it."""
    if absent := missing(wanted):
        raise UsageError(f"{what} needs more than the base install: pip install '{requirement(absent)}'")


def requirement(extras: Iterable[str]) -> str:
    """What pip is to be given for these extras."""
    return f"testcard[{','.join(extras)}]"


def extra_of(module: str | None) -> str | None:
    """The first extra that brings a module (`scipy.special` is scipy's), or None: no extra of ours brings it."""
    top = (module or "").partition(".")[0]
    return next((extra for extra, modules in EXTRAS.items() if top in modules), None)


def _is_there(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def resolve(name: str) -> Any:
    """The object that `package.module:attribute` names."""
    module, _, attribute = name.partition(":")
    return getattr(importlib.import_module(module), attribute)
