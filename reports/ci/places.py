"""Which file of the user's repository a finding is shown at: one that is there, or none.

The contract's file where it lies in the repository, else the line of testcard.toml that names the target. A document that came with
Testcard, or lies elsewhere on this machine, is no file of the repository: an annotation there would lead nowhere.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from testcard.reports.content.evidence import Party

_CONFIG = "testcard.toml"
#: Where CI systems say that the checkout is.
_ROOTS = ("GITHUB_WORKSPACE", "CI_PROJECT_DIR")


@dataclass(frozen=True, slots=True)
class RepositoryFile:
    """A file by its path from the root of the repository, in POSIX spelling. `contract`: it is the API document, so that lines of it count."""

    path: str
    line: int
    contract: bool

    def at(self, line: int | None) -> int:
        """The line for something that stands at this line of the contract."""
        return max(line or 1, 1) if self.contract else self.line


def repository_file(party: Party) -> RepositoryFile | None:
    """The file to show a party's findings at; None where the repository has none."""
    root = repository_root()
    if root is None:
        return None
    named = party.openapi
    if named is not None and (path := _inside(root, named)) is not None:
        return RepositoryFile(path, 1, True)
    path = _inside(root, _CONFIG)
    if path is not None and (line := _line_of_target(root / path, party.target.provider)) is not None:
        return RepositoryFile(path, line, False)
    return None


def repository_root() -> Path | None:
    """The folder of the checkout: as the CI system says, else the nearest one above with a `.git`, else the working folder."""
    try:
        here = Path.cwd().resolve()
    except OSError:  # the working folder is gone
        return None
    for name in _ROOTS:
        if os.environ.get(name) and here.is_relative_to(root := Path(os.environ[name]).resolve()):
            return root
    return next((folder for folder in (here, *here.parents) if (folder / ".git").exists()), here)


def _inside(root: Path, named: str) -> str | None:
    try:
        path = Path(named).resolve()
        return path.relative_to(root).as_posix() if path.is_file() and path.is_relative_to(root) else None
    except (OSError, ValueError):  # a name that no file can have
        return None


def _line_of_target(config: Path, provider: str) -> int | None:
    """The line that names the provider, as an id or as a folder of that name."""
    pattern = re.compile(rf"""\s*provider\s*=\s*["'](?:[^"']*/)?{re.escape(provider)}/?["']""")
    try:
        lines = config.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return None
    return next((number for number, line in enumerate(lines, 1) if pattern.match(line)), None)
