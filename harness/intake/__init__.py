"""Bytes of strangers, let in: how much of an answer is taken (`limits`), how it is read (`wire_bytes`, `codings`), what JSON and numbers are
believed (`json_values`), what is opened as a picture (`pictures`), how its text is shown (`shown`). One place for everybody; imports nothing
of ours.

The names that most of the house asks for can be had from here as well; each is imported when it is first asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from testcard.harness.intake.json_values import read_json, strict_json
    from testcard.harness.intake.pictures import MOST_PIXELS, NoPicture, open_picture

_HOMES = {
    "read_json": "json_values",
    "strict_json": "json_values",
    "MOST_PIXELS": "pictures",
    "NoPicture": "pictures",
    "open_picture": "pictures",
}

__all__ = ["MOST_PIXELS", "NoPicture", "open_picture", "read_json", "strict_json"]


def __getattr__(name: str) -> Any:
    """The object of this name, imported now."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
