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
from testcard.benchmarks.plan.job import BlockJob, Failure, Job
from testcard.benchmarks.plan.workload import Workload
from testcard.benchmarks.show.web_page import Page
from testcard.harness.stops import Stop


class Lead(Protocol):
    """Who takes the turns of a run: one engine, or a master with its workers."""

    @property
    def stops(self) -> list[Stop]:
        """Why the run is not whole: stopped early, or a part of it lost; none: it is."""

    @property
    def fatal(self) -> Failure | None:
        """What ended the run as an error."""

    def open(self) -> None:
        """Gets ready; may wait."""

    def take(self, block: BlockJob, sequence: int, instead_of: int | None) -> list[Taken]:
        """Takes a turn to its end."""

    def stop(self, stop: Stop) -> None:
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

    def stop(self, stop: Stop) -> None:
        """Sends nothing more, gives what is in flight its grace."""
        self.engine.stop(stop)

    def take(self, block: BlockJob, sequence: int, instead_of: int | None) -> list[Taken]:
        """Takes a turn."""
        return [self.engine.take(Turn(block, sequence, instead_of))]

    def stopped(self) -> bool:
        """Whether nothing more is sent."""
        return bool(self.engine.stopping.is_set())

    @property
    def stops(self) -> list[Stop]:
        """Why it stopped early; none: it did not."""
        return [self.engine.stopped] if self.engine.stopped is not None else []

    @property
    def fatal(self) -> Failure | None:
        """What ended the run as an error."""
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
