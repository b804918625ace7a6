"""Workload files: what load to apply, as a person writes it in TOML."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from testcard.harness.config import ObjectiveText, mistaken
from testcard.harness.errors import UsageError
from testcard.harness.toml_lines import read_toml
from testcard.specs.profile import Task
from testcard.specs.wrong_keys import nearest, wrong_keys

FOLDER = Path(__file__).parent.parent / "workloads"
CHEAPEST = "cheapest"
#: One size for all targets of a task, see `sizes`.
SAME = "same"
#: The highest rate that a stage may state.
HIGHEST_RPS = 100_000


class _Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def _size(value: str) -> str:
    if value in (CHEAPEST, SAME, "auto") or re.fullmatch(r"[1-9][0-9]{0,4}x[1-9][0-9]{0,4}", value):
        return value
    raise ValueError(f'{value!r} is no size: write "512x512", "same", "auto" or "cheapest"')


class Stage(_Frozen):
    """One level of load: a rate (open loop) or a number of users (closed loop), for `duration_s` measured seconds in all."""

    name: str | None = None
    rate_rps: float | None = Field(default=None, gt=0, le=HIGHEST_RPS)
    users: int | None = Field(default=None, ge=1, le=100_000)
    duration_s: float = Field(gt=0)

    @model_validator(mode="after")
    def _one_kind(self) -> Stage:
        if (self.rate_rps is None) == (self.users is None):
            raise ValueError("a stage states either rate_rps or users")
        return self

    @property
    def label(self) -> str:
        """The stage's name in samples and reports, such as `10/s` or `4 users`."""
        return self.name or (f"{self.rate_rps:g}/s" if self.rate_rps is not None else f"{self.users} user{'s' if self.users != 1 else ''}")


class TimeoutsSection(_Frozen):
    """`[timeouts]`: seconds until a connection stands, until the first byte and until the whole answer (of each request)."""

    connect_s: float = Field(default=10.0, gt=0)
    first_byte_s: float = Field(default=330.0, gt=0)
    whole_s: float = Field(default=330.0, gt=0)


class Workload(_Frozen):
    """A whole workload file.

    `task`: `auto` is generate where the provider offers it, else its first task. `sizes`: used in turn; `same` is one size for
    all targets of a task (1024x1024, else the nearest that all document), `cheapest` takes the profile's cheapest parameters.
    `n` and `steps`: pictures a request and steps, each one number or several; with the sizes every combination has its turn.
    `seeds`: `fresh` gives every request its own, `fixed` one for all (a server may then
    answer from a cache), `none` sends none. `warmup_s`: seconds before each block that are sent, recorded, marked and left
    out of figures. `rounds`: how often the targets take turns; a stage's duration is split evenly over them.
    `decode`: share of the delivered pictures of which every pixel is decoded; all have header, structure and checksums read.
    """

    name: str = ""
    description: str = ""
    task: Task | Literal["auto"] = "auto"
    sizes: tuple[Annotated[str, AfterValidator(_size)], ...] = (SAME,)
    n: Annotated[int, Field(ge=1, le=100)] | Annotated[tuple[Annotated[int, Field(ge=1, le=100)], ...], Field(min_length=1)] | None = None
    steps: Annotated[int, Field(ge=1)] | Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1)] | None = None
    prompts: tuple[Annotated[str, Field(min_length=1)], ...] | Literal["benign"] = "benign"
    seeds: Literal["fresh", "fixed", "none"] = "fresh"
    extra: dict[str, Any] = Field(default_factory=dict)
    stream: bool = False
    asynchronous: bool = False
    arrival: Literal["poisson", "constant"] = "poisson"
    max_in_flight: int | None = Field(default=None, ge=1)
    stage: tuple[Stage, ...] = Field(min_length=1)
    warmup_s: float = Field(default=0.0, ge=0)
    rounds: int = Field(default=1, ge=1, le=1000)
    decode: float = Field(default=1.0, ge=0, le=1)
    slo: tuple[ObjectiveText, ...] = ()
    timeouts: TimeoutsSection = TimeoutsSection()

    @model_validator(mode="after")
    def _stages_differ(self) -> Workload:
        labels = [stage.label for stage in self.stage]
        if len(set(labels)) < len(labels):
            raise ValueError("two stages have the same name: give each a name of its own")
        if not self.sizes or self.prompts == ():
            raise ValueError("sizes and prompts need an entry each")
        return self


def bundled() -> tuple[str, ...]:
    """Names of the workloads that come with Testcard."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.toml")))


_HINT = "the bundled workloads show every key: " + ", ".join(bundled())


def is_workload(name: str) -> bool:
    """Whether there is a bundled workload or a file of this name."""
    return name in bundled() or Path(name).exists()


def load_workload(name: str) -> Workload:
    """The workload in a file, or the bundled one of that name. `UsageError` with file, key and reason for anything wrong."""
    path = FOLDER / f"{name}.toml" if name in bundled() else Path(name)
    if not is_workload(name):
        raise UsageError(f"there is no workload {name}", hint=f"{nearest(name, bundled())} or name a TOML file")
    source = read_toml(path)
    data = {"name": path.stem, **source.data}
    if mistakes := wrong_keys(Workload, data):
        raise mistaken(source, mistakes, _HINT)
    return Workload.model_validate(data)


def parse_workload(data: dict[str, Any], place: str) -> Workload:
    """The workload that the data states; `place` names where it came from in errors."""
    if mistakes := wrong_keys(Workload, data):
        said = [f"{place}: {'.'.join(map(str, pointer)) or 'workload'}: {what}" for pointer, what in mistakes]
        raise UsageError("\n".join(said), hint=_HINT)
    return Workload.model_validate(data)


def benign_prompts() -> tuple[str, ...]:
    """The prompts that come with Testcard: everyday scenes that no content policy minds."""
    lines = (FOLDER / "prompts.txt").read_text(encoding="utf-8").splitlines()
    return tuple(line for line in lines if line and not line.startswith("#"))
