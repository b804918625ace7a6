"""A run led by one process that puts on the whole load itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

from testcard.benchmarks.judging.recorder import ShardWriter
from testcard.benchmarks.load.budget import Budget
from testcard.benchmarks.load.engine import Engine
from testcard.benchmarks.load.turns import Taken, Turn
from testcard.benchmarks.load.users import locust_environment
from testcard.benchmarks.plan.cells import build_cells, make_transport
from testcard.benchmarks.plan.job import BlockJob, Job
from testcard.benchmarks.plan.workload import Workload
from testcard.benchmarks.show.web_page import Page


class Lead(Protocol):
    """Who takes the turns of a run: one engine, or a master with its workers."""

    @property
    def stop_reason(self) -> str | None:
        """Why it stopped early; None: it did not."""

    @property
    def fatal(self) -> tuple[str, str | None, int] | None:
        """What ended the run as an error: message, hint, exit code."""

    def open(self) -> None:
        """Gets ready; may wait."""

    def take(self, block: BlockJob, sequence: int, instead_of: int | None) -> list[Taken]:
        """Takes a turn to its end."""

    def stop(self, reason: str) -> None:
        """Sends nothing more, gives what is in flight its grace."""

    def stopped(self) -> bool:
        """Whether nothing more is sent."""

    def progress(self) -> list[dict[str, Any]]:
        """How it goes, engine by engine."""

    def show(self) -> Page:
        """A web page that shows every request from now on; see `web`."""

    def flush(self) -> None:
        """Writes the samples so far."""

    def close(self) -> None:
        """Ends; every sample is written then."""


class Solo:
    """One engine that puts on the whole load."""

    def __init__(self, job: Job, workload: Workload) -> None:
        environment = locust_environment()
        environment.create_local_runner()
        transport = make_transport(workload)
        cells = build_cells(job, workload, transport)
        self.engine = Engine(
            job,
            workload,
            cells,
            transport,
            ShardWriter(Path(job.folder), job.worker),
            environment,
            Budget(job.max_requests, job.max_cost_usd),
        )

    def open(self) -> None:
        """It is ready."""

    def stop(self, reason: str) -> None:
        """Sends nothing more, gives what is in flight its grace."""
        self.engine.stop(reason)

    def take(self, block: BlockJob, sequence: int, instead_of: int | None) -> list[Taken]:
        """Takes a turn."""
        return [self.engine.take(Turn(block, sequence, instead_of))]

    def stopped(self) -> bool:
        """Whether nothing more is sent."""
        return bool(self.engine.stopping.is_set())

    @property
    def stop_reason(self) -> str | None:
        """Why it stopped early; None: it did not."""
        return self.engine.stop_reason

    @property
    def fatal(self) -> tuple[str, str | None, int] | None:
        """What ended the run as an error: message, hint, exit code."""
        return self.engine.watch.fatal

    def progress(self) -> list[dict[str, Any]]:
        """How it goes, for each engine."""
        return [self.engine.progress()]

    def show(self) -> Page:
        """A web page that shows every request from now on."""
        page = Page(self.engine.job, lambda: self.engine.in_flight)
        self.engine.on_request = page.heard
        return page

    def flush(self) -> None:
        """Writes the samples so far."""
        self.engine.writer.flush()

    def close(self) -> None:
        """Ends."""
        self.engine.close()
