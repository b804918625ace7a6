"""Runs that were cut short, read as far as they go: what their closing step would have written is worked out from what is recorded.

A check that was killed is judged by its exchanges, a benchmark summed up from its samples, an evaluation stands for the runs that
lie in it. Nothing is written into their folders.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from testcard.harness.check.rejudge import recovered_verdicts
from testcard.harness.config import load_config
from testcard.harness.errors import UsageError
from testcard.harness.extras import resolve
from testcard.harness.runs.folder import RunReader
from testcard.harness.runs.records import Summary, Verdicts
from testcard.specs.loader import Provider, load_provider

CUT_SHORT = "it never came to its end (killed, or still under way); this is what was recorded until then"


class RecoveredRun(RunReader):
    """A run folder whose closing step is made up for: its verdicts, its summary and its children, also where the folder lacks them.

    Its `run` says `interrupted`, and why, where run.json still says `running`.
    """

    def __init__(self, folder: Path | str) -> None:
        super().__init__(folder)
        if self.run.outcome == "running":
            self.run = msgspec.structs.replace(self.run, outcome="interrupted", reason=CUT_SHORT)
        self._verdicts: Verdicts | None = None
        self._summary: Summary | None = None

    def verdicts(self) -> Verdicts | None:
        """The verdicts that stand in the folder, else those on the exchanges that do; None for a run of another kind."""
        if self._verdicts is None:
            self._verdicts = super().verdicts()
            if self._verdicts is None and self.run.kind == "check" and not self.is_whole:
                self._verdicts = recovered_verdicts(_provider(self), self)
        return self._verdicts

    def summary(self) -> Summary | None:
        """The summary that stands in the folder, else that of the samples that do; None for a run of another kind."""
        if self._summary is None:
            self._summary = super().summary()
            if self._summary is None and self.run.kind == "bench" and not self.is_whole:
                self._summary = resolve("testcard.benchmarks.run.finishing:recovered_summary")(self)
        return self._summary

    def children(self) -> list[RunReader]:
        """The runs inside an evaluation; of one that did not come to list them, those that lie there."""
        names = [child.folder.name for child in super().children()]
        if not self.is_whole and self.run.kind == "evaluate":
            names += sorted(place.parent.name for place in self.folder.glob("*/run.json") if place.parent.name not in names)
        return [RecoveredRun(self.folder / name) for name in names]


def _provider(run: RunReader) -> Provider:
    """The provider whose contract a check judged: by its id, else from the folder that run.json names."""
    if not run.run.targets:
        raise UsageError(f"{run.folder / 'run.json'}: the check names no target")
    name = run.run.targets[0].provider
    try:
        return load_provider(name, load_config().providers.path)
    except UsageError:
        document = run.run.config.get("openapi")
        if not isinstance(document, str) or not document:
            raise
        try:
            return load_provider(str(Path(document).resolve().parent))
        except UsageError:
            raise UsageError(
                f"{run.folder} was killed before it was judged, and its provider {name} is not here",
                hint=f"name its folder: testcard check FOLDER --rejudge {run.folder}",
            ) from None
