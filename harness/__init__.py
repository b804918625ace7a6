"""The tool: wire, client, rules, check, statistics and gates, run folders, command line.

May import `testcard.specs`; reaches mocks, benchmarks and reports only through names that `harness.extras` resolves.
"""

from __future__ import annotations


def __getattr__(name: str) -> str:
    """`__version__`, read from the installed package when it is asked for."""
    if name == "__version__":
        from importlib.metadata import version

        return version("testcard")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
