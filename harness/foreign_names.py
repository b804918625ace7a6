"""Says what is lost where another package no longer has the private name that a module of ours reaches into.

Such packages are pinned exactly in pyproject.toml and each is reached into by one module. Who installs another version all the same
loses what that module adds, is told so once, and can go on.
"""

from __future__ import annotations

import sys
from importlib import metadata

_said: dict[str, None] = {}


def notes() -> tuple[str, ...]:
    """Every note so far, without its line's end: for a process whose stderr nobody reads."""
    return tuple(note.rstrip("\n") for note in _said)


def note_lost(package: str, made_for: str, lost: str) -> None:
    """Writes one note on stderr for each package and loss: its version, the one that is needed, and `lost`, a clause without a full stop."""
    note = f"note: {package} {_version(package)} is not {made_for}, which Testcard is made for: {lost}\n"
    if note not in _said:
        _said[note] = None
        sys.stderr.write(note)


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "of an unknown version"
