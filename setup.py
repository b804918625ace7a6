"""Ships the five flat folders as one namespace: ``specs/`` becomes ``testcard.specs``, and so on.

The lists are computed, because a static list in TOML silently loses new subpackages.
"""

from setuptools import find_packages, setup

ROOTS = ("specs", "harness", "mocks", "benchmarks", "reports")

PACKAGES = [f"testcard.{name}" for root in ROOTS for name in (root, *(f"{root}.{sub}" for sub in find_packages(root)))]

setup(
    packages=PACKAGES,
    package_dir={f"testcard.{root}": root for root in ROOTS},
    # Named per package: the "*" wildcard ships nothing, and an editable install would hide that.
    package_data={
        package: ["py.typed", "*.yaml", "*.toml", "*.json", "*.txt", "*.css", "*.js", "*.html", "*.md", "*.j2"] for package in PACKAGES
    }
    | {"testcard.specs": ["py.typed", "providers/*/*.yaml"], "testcard.benchmarks": ["py.typed", "workloads/*.toml", "workloads/*.txt"]},
)
