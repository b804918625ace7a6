"""The only way from the harness to mocks, benchmarks and reports: names that are imported when they are used.

It keeps the directions of import (the linter sees no edge), and `testcard --help` fast.
"""

from __future__ import annotations

import importlib
from typing import Any


def resolve(name: str) -> Any:
    """The object that `package.module:attribute` names."""
    module, _, attribute = name.partition(":")
    return getattr(importlib.import_module(module), attribute)
