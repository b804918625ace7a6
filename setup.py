"""Ships the five flat folders as one namespace: ``specs/`` becomes ``testcard.specs``, and so on.

The lists are computed, because a static list in TOML silently loses new subpackages. A wheel is the same to the byte wherever and
whenever it is built, by one version of setuptools: its files have one date and one mode.
"""

import os
from typing import Any

from setuptools import find_packages, setup
from setuptools.command.bdist_wheel import bdist_wheel

ROOTS = ("specs", "harness", "mocks", "benchmarks", "reports")

PACKAGES = [f"testcard.{name}" for root in ROOTS for name in (root, *(f"{root}.{sub}" for sub in find_packages(root)))]

#: What ships beside the modules, at any depth.
DATA = ("py.typed", *(f"**/*.{suffix}" for suffix in ("yaml", "toml", "json", "txt", "css", "js", "html", "md", "j2", "svg", "png")))

os.environ.setdefault("SOURCE_DATE_EPOCH", "1767225600")  # 2026-01-01, as for the date of every file in a wheel


class BuildWheel(bdist_wheel):
    """A wheel that does not show which permissions the builder's files and umask happen to have."""

    def write_wheelfile(self, *arguments: Any, **more: Any) -> None:
        """The last file of a wheel; then all of them get one mode."""
        super().write_wheelfile(*arguments, **more)
        for folder, _, names in os.walk(self.bdist_dir):
            for name in names:
                os.chmod(os.path.join(folder, name), 0o644)


setup(
    cmdclass={"bdist_wheel": BuildWheel},
    packages=PACKAGES,
    package_dir={f"testcard.{root}": root for root in ROOTS},
    # Named per package: the "*" wildcard ships nothing, and an editable install would hide that.
    package_data={f"testcard.{root}": list(DATA) for root in ROOTS},
)
