"""Ships the five flat folders as one namespace: ``specs/`` becomes ``testcard.specs``, and so on.

The lists are computed, because a static list in TOML silently loses new subpackages.
"""

from setuptools import find_packages, setup

ROOTS = ("specs", "harness", "mocks", "benchmarks", "reports")

PACKAGES = [f"testcard.{name}" for root in ROOTS for name in (root, *(f"{root}.{sub}" for sub in find_packages(root)))]

#: What ships beside the modules, at any depth.
DATA = ("py.typed", *(f"**/*.{suffix}" for suffix in ("yaml", "toml", "json", "txt", "css", "js", "html", "md", "j2", "svg", "png")))

setup(
    packages=PACKAGES,
    package_dir={f"testcard.{root}": root for root in ROOTS},
    # Named per package: the "*" wildcard ships nothing, and an editable install would hide that.
    package_data={f"testcard.{root}": list(DATA) for root in ROOTS},
)
