"""testcard.toml: what would be typed twice. Flags win over the environment, the environment over the file."""

from __future__ import annotations

import tomllib
from datetime import date, datetime
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, ValidationError

from testcard.harness.errors import UsageError
from testcard.specs.prices import Price

FILE_NAME = "testcard.toml"


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


_File = TypeVar("_File", bound=_Section)
_Said = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]


def _a_day(value: object) -> object:
    """Refuses what pydantic would take for seconds since 1970."""
    if isinstance(value, date | str) and not isinstance(value, datetime):
        return value
    raise ValueError("should be a day, such as 2026-12-31")


class ProvidersSection(_Section):
    """`[providers]`: further folders to look for providers in."""

    path: tuple[Path, ...] = ()


class TargetSection(_Section):
    """One `[[target]]`: a provider at a base URL (without one: its embedded mock) and the models to look at."""

    provider: str
    base_url: str | None = None
    models: tuple[str, ...] = ()
    operations: tuple[str, ...] = ()
    live: bool = False
    key_env: str | None = None


class CheckSection(_Section):
    """`[check]`: defaults of `testcard check`."""

    seed: int | None = None
    concurrency: int | None = Field(default=None, ge=1)
    max_requests: int | None = Field(default=None, ge=0)
    max_images: int | None = Field(default=None, ge=0)
    max_cost: float | None = Field(default=None, ge=0)
    strict: bool = False


class BenchSection(_Section):
    """`[bench]`: defaults of `testcard bench`."""

    workload: str | None = None
    slo: tuple[str, ...] = ()
    processes: int | None = Field(default=None, ge=1)
    max_requests: int | None = Field(default=None, ge=0)
    max_cost: float | None = Field(default=None, ge=0)


class PricesSection(_Section):
    """`[prices.<provider>]`: adopt the profile's list prices, or state a price by model id; `"*"` stands for every other model."""

    adopt: Literal["list", "none"] = "none"
    models: dict[str, Price] = Field(default_factory=dict)


class WaiverSection(_Section):
    """One `[[waiver]]`: a broken promise that is known and does not count for a while.

    `rule` is a rule id or a glob of them; without `operation` it holds for every operation of the provider. It holds up to
    and including the day `expires`; after that what it named counts again and the check fails.
    """

    rule: _Said
    provider: _Said
    operation: _Said | None = None
    reason: _Said
    owner: _Said
    expires: Annotated[date, BeforeValidator(_a_day)]


class WaiverFile(_Section):
    """A whole file of `check --waivers`: nothing but `[[waiver]]` entries."""

    waiver: tuple[WaiverSection, ...] = ()


class Config(_Section):
    """A whole testcard.toml."""

    providers: ProvidersSection = ProvidersSection()
    target: tuple[TargetSection, ...] = ()
    check: CheckSection = CheckSection()
    bench: BenchSection = BenchSection()
    prices: dict[str, PricesSection] = Field(default_factory=dict)
    waiver: tuple[WaiverSection, ...] = ()


def load_config(path: Path | None = None) -> Config:
    """The configuration at `path`, else ./testcard.toml where it exists, else the defaults. Wrong keys are `UsageError`s."""
    if path is None:
        path = Path(FILE_NAME)
        if not path.is_file():
            return Config()
    config = _read(path, Config)
    base = path.resolve().parent
    return config.model_copy(update={"providers": ProvidersSection(path=tuple(base / folder for folder in config.providers.path))})


def load_waivers(path: Path) -> tuple[WaiverSection, ...]:
    """The waivers of a file that holds only `[[waiver]]` entries; `UsageError` for anything else in it."""
    return _read(path, WaiverFile).waiver


def _read(path: Path, kind: type[_File]) -> _File:
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError(f"{path}: there is no such file") from None
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"{path}: {error}") from None
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        said = str(first["msg"]).removeprefix("Value error, ")
        raise UsageError(
            f"{path}: {'.'.join(map(str, first['loc']))}: {said}", hint="the keys are described in the README under Configuration"
        ) from None
