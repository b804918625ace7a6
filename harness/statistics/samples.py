"""The samples of a run as a frame: `read(run)`. Files belong to `harness.runs`; this is the name that analysis uses."""

from testcard.harness.runs.samples import read

__all__ = ["read"]
