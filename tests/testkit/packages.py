"""What git tracks, for tests that compare it with what is shipped."""

from __future__ import annotations

import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]


def tracked(*folders: str) -> list[str]:
    listing = subprocess.run(["git", "ls-files", "-z", *folders], cwd=ROOT, capture_output=True, check=True, text=True).stdout
    return [name for name in listing.split("\0") if name and not name.startswith(".ns/") and (ROOT / name).is_file()]
