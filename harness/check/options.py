"""What a check is asked to do, as frozen values: from flags and testcard.toml by the command line, by keyword from a program."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from testcard.harness.check.spending.budget import SpendingLimits
from testcard.harness.config import Config, PricesSection, ProvidersSection, WaiverSection
from testcard.harness.errors import UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckOptions:
    """One check. Only `provider` is needed: then everything is asked of an embedded mock of it, on this machine.

    `provider` is a bundled id, or a folder that holds openapi.yaml and profile.yaml; `search` are further folders to look for it in.
    `operations` (ids) and `rules` (globs of rule ids) narrow the check, and empty means all; `model` is asked for where the
    operation has a choice. The same `seed` means the same requests. `concurrency` None: 8 on this machine, 1 elsewhere.
    `timeout_s` is how long a whole answer is waited for (None: 330 s; until one has not come; then a few times what the others took).
    `max_time_s` is how long the check may take (None: 15 minutes, live 60): sending ends in time for what is there to be judged.
    `max_requests`, `max_images` and `max_cost_usd` are never passed, and 0 is a limit; a live run needs the first or the last. No more than
    `max_downloads` requests fetch pictures behind addresses, redirects included.
    `strict` lets broken shoulds fail as well. `live` allows a target that is not on this machine, and answers that lead off it.
    `out` is the run's folder (new or empty); None makes one under testcard-runs.
    The key comes from `key_file`, else from TESTCARD_API_KEY, `key_env` or the profile's variable; `no_auth` sends none.
    `signals`: Ctrl-C and SIGTERM stop the sending and keep what is there, as long as the events are read in the main thread.
    """

    provider: str
    base_url: str | None = None
    operations: tuple[str, ...] = ()
    model: str | None = None
    rules: tuple[str, ...] = ()
    seed: int = 0
    concurrency: int | None = None
    no_auth: bool = False
    timeout_s: float | None = None
    max_time_s: float | None = None
    max_requests: int | None = None
    max_images: int | None = None
    max_cost_usd: float | None = None
    max_downloads: int | None = None
    strict: bool = False
    live: bool = False
    waivers: tuple[WaiverSection, ...] = ()
    out: Path | None = None
    key_file: Path | None = None
    key_env: str | None = None
    search: tuple[Path, ...] = ()
    prices: Mapping[str, PricesSection] = field(default_factory=dict)
    signals: bool = True

    def __post_init__(self) -> None:
        for name, least in (
            ("max_requests", 0),
            ("max_images", 0),
            ("max_downloads", 0),
            ("max_cost_usd", 0),
            ("concurrency", 1),
            ("seed", None),
        ):
            value = getattr(self, name)
            kinds = (int, float) if name == "max_cost_usd" else (int,)
            if value is None:
                continue
            if not isinstance(value, kinds) or isinstance(value, bool):
                raise UsageError(f"{name} has to be a {'number' if float in kinds else 'whole number'}, not {value!r}")
            if least is not None and not least <= value < math.inf:
                raise UsageError(f"{name} has to be at least {least}, and finite, not {value!r}")
        if self.timeout_s is not None and not 0 < self.timeout_s < math.inf:
            raise UsageError(f"timeout_s has to be more than 0 seconds, not {self.timeout_s!r}")
        for provider, section in self.prices.items():
            if not isinstance(section, PricesSection):
                raise UsageError(f"prices[{provider!r}] has to be a PricesSection, not {type(section).__name__}")

    @property
    def limits(self) -> SpendingLimits:
        """The limits in one value."""
        return SpendingLimits(self.max_requests, self.max_images, self.max_cost_usd, self.max_downloads)

    @property
    def bounded(self) -> bool:
        """Whether what it may spend has a bound, as a live run has to have."""
        return self.max_cost_usd is not None or self.max_requests is not None

    @property
    def config(self) -> Config:
        """As much of a configuration as opening a target takes."""
        return Config(providers=ProvidersSection(path=self.search), prices=dict(self.prices))


@dataclass(frozen=True, slots=True, kw_only=True)
class RejudgeOptions:
    """A recorded check judged again, with the rules and the contract of today; nothing is sent.

    `run` is the folder of a check of `provider`. What is None or empty is taken from that run: its rules, its operations, how strict it
    was, its waivers (which have to hold on the day of the run). `out` is the folder of the new run, which holds the same evidence.
    """

    provider: str
    run: Path
    operations: tuple[str, ...] = ()
    rules: tuple[str, ...] = ()
    strict: bool | None = None
    waivers: tuple[WaiverSection, ...] | None = None
    out: Path | None = None
    search: tuple[Path, ...] = ()
