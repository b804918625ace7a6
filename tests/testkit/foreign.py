"""Documents of others, each with a short profile of ours, and small documents of our own in the style of well-known APIs."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

HERE = Path(__file__).parents[1] / "contract" / "foreign"
#: The variable that names the folder with documents of others, which are not ours to commit.
WHERE = "TESTCARD_FOREIGN_DOCUMENTS"
OWN = sorted(folder.name for folder in (HERE / "documents").iterdir() if folder.is_dir())
OTHERS = sorted(path.stem for path in (HERE / "profiles").iterdir())


def documents_of_others() -> Path | None:
    """The folder with documents of others: the variable's, else `shared/foreign/documents` beside this checkout or above it."""
    named = os.environ.get(WHERE)
    places = [Path(named)] if named else [parent / "shared" / "foreign" / "documents" for parent in HERE.parents]
    return next((place for place in places if place.is_dir()), None)


class Folders:
    """A provider's folder by its name, made when it is first asked for."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def __call__(self, name: str) -> Path:
        """The folder; skips the test where its document is not on this machine."""
        folder = self._root / name
        if name in OWN:
            if not folder.exists():
                shutil.copytree(HERE / "documents" / name, folder)
            return folder
        there = documents_of_others()
        document = there / f"{name}.openapi.yaml" if there is not None else None
        if document is None or not document.is_file():
            pytest.skip(f"{name}.openapi.yaml is not on this machine: name its folder in {WHERE}")
        folder.mkdir(exist_ok=True)
        shutil.copy(document, folder / "openapi.yaml")
        shutil.copy(HERE / "profiles" / f"{name}.yaml", folder / "profile.yaml")
        return folder

    def here(self) -> list[Path]:
        """All whose documents are on this machine."""
        there = documents_of_others()
        return [self(name) for name in (*OWN, *(OTHERS if there is not None else ()))]
