"""What a benchmark is asked to do, as frozen values: from flags and testcard.toml by the command line, by keyword from a program."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from testcard.benchmarks.plan.job import FleetJob
from testcard.benchmarks.plan.workload import HIGHEST_RPS, Workload, load_workload
from testcard.benchmarks.search.bracket import SearchPlan
from testcard.harness.config import Config, PricesSection, ProvidersSection, TargetSection
from testcard.harness.errors import UsageError

DEFAULT_SEED = 1


def default_workload(live: bool, find_saturation: SearchPlan | None) -> str:
    """The bundled workload that holds where none is named. A search makes its own stages, so the live one is nothing for it."""
    return "live" if live and find_saturation is None else "quick"


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchOptions:
    """One benchmark. Nothing is needed: then every bundled provider is loaded with the workload `quick`, each on an embedded mock.

    `targets`: what is loaded, in turns: providers at base URLs (without one: an embedded mock), each with what is live, which models
    and operations it is asked for where `models` and `operations` name none, and which variable holds its key. `search`: further
    folders to look for providers in; `prices` as in testcard.toml.
    `workload` None: `quick`, or `live` where a target is live. `objectives_by_default`: nobody named the workload's objectives, so those
    that the budget cannot decide are left out (as they are where `workload` is None). The same `seed` draws the same arrivals, order and picture seeds.
    `find_saturation` looks for the highest rate that keeps the workload's objectives instead of applying its stages.
    `fleet`: load from several processes; None: one.
    `max_requests` and `max_cost_usd` are never passed, and 0 is a limit; a live target needs one of them. `max_downloads`: requests that
    fetch pictures behind addresses, redirects included; a run that needs more ends.
    `out` is the run's folder (new or empty); None makes one under testcard-runs. `key_file` as `--api-key-file`.
    `web`: HOST:PORT of a web page that shows the run. `signals`: Ctrl-C and SIGTERM stop the sending and keep what is there, as long as
    the events are read in the main thread.
    """

    targets: tuple[TargetSection, ...] = ()
    models: tuple[str, ...] = ()
    operations: tuple[str, ...] = ()
    workload: Workload | None = None
    seed: int = DEFAULT_SEED
    objectives_by_default: bool = False
    find_saturation: SearchPlan | None = None
    fleet: FleetJob | None = None
    max_requests: int | None = None
    max_downloads: int | None = None
    max_cost_usd: float | None = None
    out: Path | None = None
    key_file: Path | None = None
    search: tuple[Path, ...] = ()
    prices: Mapping[str, PricesSection] = field(default_factory=dict)
    web: str | None = None
    signals: bool = True

    def __post_init__(self) -> None:
        if self.max_requests is not None and self.max_requests < 0:
            raise UsageError("a limit on requests is not negative")
        if self.max_downloads is not None and self.max_downloads < 0:
            raise UsageError("a limit on downloads is not negative")
        if self.max_cost_usd is not None and not self.max_cost_usd >= 0:
            raise UsageError("a limit on cost is not negative")

        if (
            self.find_saturation is not None
            and self.find_saturation.start_rps is not None
            and not 0 < self.find_saturation.start_rps <= HIGHEST_RPS
        ):
            raise UsageError(f"a search begins with a rate above 0 and of at most {HIGHEST_RPS:,} requests a second")

    @property
    def bounded(self) -> bool:
        """Whether what it may spend has a bound, as a live run has to have."""
        return self.max_requests is not None or self.max_cost_usd is not None

    @property
    def live(self) -> bool:
        """Whether one of the targets is said to be live: its requests can cost money."""
        return any(target.live and target.base_url is not None for target in self.targets)

    @property
    def config(self) -> Config:
        """As much of a configuration as opening targets takes."""
        return Config(providers=ProvidersSection(path=self.search), prices=dict(self.prices))

    @property
    def load(self) -> Workload:
        """The workload that holds.

        An open loop for a live target that states no `max_in_flight` has one request in flight at most.
        """
        workload = self.workload if self.workload is not None else load_workload(default_workload(self.live, self.find_saturation))
        if self.live and workload.max_in_flight is None and any(stage.rate_rps is not None for stage in workload.stage):
            return workload.model_copy(update={"max_in_flight": 1})
        return workload

    @property
    def is_held_to_one(self) -> bool:
        """Whether `load` was given a place for one request only, because a target is live."""
        return self.load.max_in_flight == 1 and (self.workload is None or self.workload.max_in_flight is None)
