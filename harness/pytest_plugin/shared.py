"""The one check behind the items of a target: carried out once in a session, by whichever process needs it first.

Processes of pytest-xdist meet in a folder that the controller made. Whoever claims a target first carries its check out and writes how it
ended; the others wait for that. A claim without an end means that its process died: nothing is sent a second time for it.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from testcard.harness.api import CheckOptions, RunReader, check
from testcard.harness.errors import Inconclusive, TestcardError
from testcard.harness.runs.records import Verdict, Verdicts

_LOOK_AGAIN_S = 0.1


class SharedCheck:
    """The check of one target for all processes of a session. `folder` will be its run's; `options` say what is asked of it."""

    def __init__(self, options: CheckOptions, folder: Path) -> None:
        self._options = options
        self.folder = folder
        self.strict = options.strict
        self._claim = folder.with_name(f"{folder.name}.claimed")
        self._end = folder.with_name(f"{folder.name}.ended")
        self._verdicts: Verdicts | None = None
        self._error: TestcardError | None = None

    def verdict(self, rule: str, operation: str, wanted: Sequence[tuple[str, str]]) -> Verdict:
        """What was judged; the check is carried out now, for all `wanted` rules and operations, where nobody did it before.

        Raises the check's own error for each item, where it had one.
        """
        if self._verdicts is None and self._error is None:
            self._settle(wanted)
        if self._error is not None:
            raise self._error
        assert self._verdicts is not None
        for one in self._verdicts.verdicts:
            if (one.rule, one.operation) == (rule, operation):
                return one
        raise Inconclusive(f"the check of {self._options.provider} gave no verdict on {rule} of {operation}")

    def _settle(self, wanted: Sequence[tuple[str, str]]) -> None:
        try:
            claim = os.open(self._claim, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
        except FileExistsError:
            self._wait()
        else:
            with os.fdopen(claim, "w") as stream:
                stream.write(str(os.getpid()))
            self._carry_out(wanted)

    def _carry_out(self, wanted: Sequence[tuple[str, str]]) -> None:
        asked = replace(
            self._options,
            rules=tuple(dict.fromkeys(rule for rule, _ in wanted)),
            operations=tuple(dict.fromkeys(operation for _, operation in wanted)),
            out=self.folder,
        )
        try:
            with check(asked) as run:
                self._verdicts = run.finish().verdicts
        except TestcardError as error:
            self._error = error
        finally:
            said = {"message": self._error.message, "hint": self._error.hint} if self._error is not None else {}
            unfinished = self._end.with_name(f"{self._end.name}.{os.getpid()}")
            unfinished.write_text(json.dumps(said), encoding="utf-8")
            unfinished.replace(self._end)
        if self._verdicts is None and self._error is None:
            self._error = Inconclusive("the check ended without verdicts")

    def _wait(self) -> None:
        while not self._end.exists():
            if self._died():
                self._error = Inconclusive(
                    f"the process that checked {self._options.provider} died; nothing is sent a second time",
                    hint=f"what was recorded is in {self.folder}",
                )
                return
            time.sleep(_LOOK_AGAIN_S)
        said = json.loads(self._end.read_text(encoding="utf-8"))
        if said:
            self._error = TestcardError(said["message"], hint=said["hint"])
            return
        self._verdicts = RunReader(self.folder).verdicts()
        if self._verdicts is None:
            self._error = Inconclusive("the check ended without verdicts", hint=f"look at {self.folder}")

    def _died(self) -> bool:
        written = self._claim.read_text()
        if not written:
            return False
        try:
            os.kill(int(written), 0)
        except ProcessLookupError:
            return not self._end.exists()
        except PermissionError:
            return False
        return False
