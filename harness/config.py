"""testcard.toml: what would be typed twice. Flags win over the environment, the environment over the file."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from testcard.harness.errors import UsageError
from testcard.specs.prices import Price

FILE_NAME = "testcard.toml"


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


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
    """`[prices.<provider>]`: adopt the profile's list prices, or state a price by model id."""

    adopt: Literal["list", "none"] = "none"
    models: dict[str, Price] = Field(default_factory=dict)


class Config(_Section):
    """A whole testcard.toml."""

    providers: ProvidersSection = ProvidersSection()
    target: tuple[TargetSection, ...] = ()
    check: CheckSection = CheckSection()
    bench: BenchSection = BenchSection()
    prices: dict[str, PricesSection] = Field(default_factory=dict)
    waiver: tuple[dict[str, Any], ...] = ()


def load_config(path: Path | None = None) -> Config:
    """The configuration at `path`, else ./testcard.toml where it exists, else the defaults. Wrong keys are `UsageError`s."""
    if path is None:
        path = Path(FILE_NAME)
        if not path.is_file():
            return Config()
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError(f"{path}: there is no such file") from None
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"{path}: {error}") from None
    try:
        config = Config.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        raise UsageError(
            f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg']}", hint="the keys are described in the README under Configuration"
        ) from None
    base = path.resolve().parent
    return config.model_copy(update={"providers": ProvidersSection(path=tuple(base / folder for folder in config.providers.path))})
