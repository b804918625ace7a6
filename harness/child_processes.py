"""What `testcard evaluate` runs: one check per target, one benchmark of all of them, one report, each as a process of its own.

Own processes, because the load generator patches its process and because a check that dies must not take the rest along.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from testcard.harness.errors import Exit

State = Literal["waiting", "running", "done", "left out"]
INTERRUPT_GRACE_S = 30.0
#: What GitHub Actions is told of an evaluation, the evaluation tells; its children do not.
_FOR_THE_PARENT = ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY")


@dataclass
class Step:
    """One child command: how it is called and how far it is. `exit_code` is None until it has ended."""

    name: str
    arguments: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    without: Sequence[str] = ()  # variables of ours that the child must not see
    state: State = "waiting"
    done: float = 0.0
    total: float | None = None
    fields: dict[str, Any] = field(default_factory=dict)
    started_s: float | None = None
    ended_s: float | None = None
    exit_code: int | None = None
    output: str = ""
    talk: list[str] = field(default_factory=list)
    process: subprocess.Popen[str] | None = None

    @property
    def elapsed_s(self) -> float:
        """Seconds since the step began, or that it took."""
        if self.started_s is None:
            return 0.0
        return (self.ended_s or time.monotonic()) - self.started_s

    def run(self) -> int:
        """Runs the child to its end and returns its exit code; reads its progress from stderr meanwhile."""
        self.state, self.started_s = "running", time.monotonic()
        command = [sys.executable, "-m", "testcard.harness.cli", *self.arguments]
        inherited = {name: value for name, value in os.environ.items() if name not in (*self.without, *_FOR_THE_PARENT)}
        environment = {**inherited, **self.environment, "TESTCARD_PROGRESS": "json", "NO_COLOR": "1", "COLUMNS": "160"}
        # A session of its own: Ctrl-C on the terminal reaches only the parent, which passes it on exactly once.
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace", env=environment, start_new_session=True
        )
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        collected: list[str] = []
        reader = threading.Thread(target=lambda stream: collected.append(stream.read()), args=(self.process.stdout,), daemon=True)
        reader.start()
        for line in self.process.stderr:
            self._hear(line)
        self.exit_code = self.process.wait()
        reader.join()
        self.output = "".join(collected)
        self.state, self.ended_s = "done", time.monotonic()
        return self.exit_code

    def interrupt(self) -> None:
        """Passes Ctrl-C on to the child; one that does not leave in time is ended."""
        process = self.process
        if process is None or process.poll() is not None:
            return
        process.send_signal(signal.SIGINT)
        try:
            process.wait(INTERRUPT_GRACE_S)
        except subprocess.TimeoutExpired:
            process.kill()

    def _hear(self, line: str) -> None:
        if line.startswith('{"testcard.progress"'):
            try:
                record = json.loads(line)["testcard.progress"]
            except (ValueError, KeyError):
                return
            self.done, self.total, self.fields = record.get("done", 0), record.get("total"), record.get("fields", {})
        elif line.strip():
            self.talk.append(line.rstrip())


def run_parallel(steps: Sequence[Step], workers: int, changed: Callable[[Step], None]) -> None:
    """Runs the steps, at most `workers` at a time, in order; KeyboardInterrupt stops those that run and starts no more."""
    waiting = list(steps)
    lock = threading.Lock()
    stopping = threading.Event()

    def work() -> None:
        while not stopping.is_set():
            with lock:
                if not waiting:
                    return
                step = waiting.pop(0)
            changed(step)
            step.run()
            changed(step)

    threads = [threading.Thread(target=work, daemon=True) for _ in range(min(workers, len(waiting)))]
    for thread in threads:
        thread.start()
    try:
        for thread in threads:
            while thread.is_alive():
                thread.join(0.2)
    except KeyboardInterrupt:
        stopping.set()
        for step in steps:
            step.interrupt()
        for thread in threads:
            thread.join(INTERRUPT_GRACE_S)
        raise


def usable(exit_code: int | None) -> bool:
    """Whether a check with this exit code saw its target work, so that a benchmark of it makes sense."""
    return exit_code in (Exit.PASS, Exit.GATE_FAILED, Exit.INCONCLUSIVE)


def is_run(folder: Path) -> bool:
    """Whether a child left a run folder behind."""
    return (folder / "run.json").is_file()
