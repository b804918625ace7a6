"""testcard.toml: what would be typed twice. Flags win over the environment, the environment over the file."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PrivateAttr, StringConstraints

from testcard.harness.errors import SpecError, UsageError
from testcard.harness.intake.limits import IntakeLimits, changed, use_limits
from testcard.harness.text.words import seconds_of
from testcard.harness.toml_lines import Pointer, TomlFile, read_toml
from testcard.harness.wire.addresses import allow_host
from testcard.specs.loader import Provider, load_provider
from testcard.specs.prices import Price
from testcard.specs.wrong_keys import nearest, wrong_keys

FILE_NAME = "testcard.toml"
_HINT = "testcard schema --markdown describes every key"


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, defer_build=True)


_File = TypeVar("_File", bound=_Section)
_Said = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]


def _a_day(value: object) -> object:
    """Refuses what pydantic would take for seconds since 1970."""
    if isinstance(value, date | str) and not isinstance(value, datetime):
        return value
    raise ValueError(f"has to be a day, such as 2026-12-31, not {value}")


def _a_time(value: object) -> object:
    """Seconds of a number, or of text such as 30m."""
    seconds = seconds_of(value) if isinstance(value, str) else value
    if seconds is None:
        raise ValueError(f"has to be a time such as 30m or 6h, not {value}")
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or seconds <= 0:
        raise ValueError(f"has to be a time of more than 0 s, not {value}")
    return seconds


#: A key that takes what a flag takes: seconds, or text such as "30m".
_Seconds = Annotated[float, BeforeValidator(_a_time, json_schema_input_type=float | str)]


def _an_objective(value: str) -> str:
    from testcard.harness.statistics import slo

    try:
        slo.parse(value)
    except UsageError as error:
        raise ValueError(f"{error.message} ({error.hint})" if error.hint else error.message) from None
    return value


#: An objective as `slo` reads it, such as `p95<8s`.
ObjectiveText = Annotated[str, AfterValidator(_an_objective)]


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
    timeout: float | None = Field(default=None, gt=0)
    max_time: _Seconds | None = None
    max_requests: int | None = Field(default=None, ge=0)
    max_images: int | None = Field(default=None, ge=0)
    max_downloads: int | None = Field(default=None, ge=0)
    max_cost: float | None = Field(default=None, ge=0)
    strict: bool = False


class BenchSection(_Section):
    """`[bench]`: defaults of `testcard bench`."""

    workload: str | None = None
    slo: tuple[ObjectiveText, ...] = ()
    processes: int | None = Field(default=None, ge=1)
    max_requests: int | None = Field(default=None, ge=0)
    max_downloads: int | None = Field(default=None, ge=0)
    max_cost: float | None = Field(default=None, ge=0)


def _a_host(value: str) -> str:
    allow_host(value)
    return value


def _limits(values: dict[str, int | float]) -> dict[str, int | float]:
    changed(IntakeLimits(), values)
    return values


class WatchSection(_Section):
    """`[watch]`: defaults of `testcard watch`. Times are seconds, or text such as "30m"; limits hold for all targets together, in a day of UTC."""

    check_every: _Seconds | None = None
    probe_every: _Seconds | None = None
    max_requests_per_day: int | None = Field(default=None, ge=1)
    max_cost_per_day: float | None = Field(default=None, ge=0)
    port: int | None = Field(default=None, ge=0, le=65535)
    keep: int | None = Field(default=None, ge=1)


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
    watch: WatchSection = WatchSection()
    prices: dict[str, PricesSection] = Field(default_factory=dict)
    allow_hosts: tuple[Annotated[str, AfterValidator(_a_host)], ...] = ()
    limits: Annotated[dict[str, int | float], AfterValidator(_limits)] = Field(default_factory=dict)
    waiver: tuple[WaiverSection, ...] = ()
    _source: TomlFile | None = PrivateAttr(default=None)

    def wrong(self, mistakes: Sequence[tuple[Pointer, str]]) -> UsageError:
        """The error for mistakes that only a command can find, such as a provider that there is not; each by its key."""
        return mistaken(self._source or TomlFile(Path(FILE_NAME), {}, {}), mistakes, _HINT)


def load_config(path: Path | None = None) -> Config:
    """The configuration at `path`, else ./testcard.toml where it exists, else the defaults. Wrong keys are `UsageError`s.

    What stands under `[limits]` and in `allow_hosts` holds from then on for all that this process reads of targets.
    """
    if path is None:
        path = Path(FILE_NAME)
        if not path.is_file():
            return Config()
    config, source = read_as(path, Config)
    use_limits(changed(IntakeLimits(), config.limits))
    for host in config.allow_hosts:
        allow_host(host)
    base = path.resolve().parent
    config = config.model_copy(
        update={
            "providers": ProvidersSection(path=tuple(base / folder for folder in config.providers.path)),
            "target": tuple(one.model_copy(update={"provider": _beside(base, one.provider)}) for one in config.target),
            "bench": config.bench.model_copy(update={"workload": _beside(base, config.bench.workload)}),
        }
    )
    config._source = source
    return config


_Named = TypeVar("_Named", str, str | None)


def _beside(base: Path, named: _Named) -> _Named:
    """A path that a configuration in another folder names: from its own place, where there is such a thing; a bare word is an id or a name."""
    if named is None or not ("/" in named or named.endswith(".toml")) or base == Path.cwd() or not (base / named).exists():
        return named
    return str(base / named)


def providers_of(config: Config) -> list[Provider]:
    """The provider of each `[[target]]`; one `UsageError` names everything there that no provider and no operation stands behind."""
    found: list[Provider] = []
    mistakes: list[tuple[Pointer, str]] = []
    for index, section in enumerate(config.target):
        try:
            provider = load_provider(section.provider, config.providers.path)
        except SpecError:
            raise  # it has a place of its own, in the provider's files
        except UsageError as error:
            mistakes.append((("target", index, "provider"), f"{error.message}; {error.hint}"))
            continue
        found.append(provider)
        known = provider.profile.operations
        for number, name in enumerate(section.operations):
            if name not in known:
                mistakes.append((("target", index, "operations", number), f"{provider.id} has no operation {name}; {nearest(name, known)}"))
    if mistakes:
        raise config.wrong(mistakes)
    return found


def load_waivers(path: Path) -> tuple[WaiverSection, ...]:
    """The waivers of a file that holds only `[[waiver]]` entries; `UsageError` for anything else in it."""
    return read_as(path, WaiverFile)[0].waiver


def read_as(path: Path, kind: type[_File]) -> tuple[_File, TomlFile]:
    """A TOML file as a `kind`, and the file with its lines. One `UsageError` names every mistake in it by file, line and key."""
    source = read_toml(path)
    if mistakes := wrong_keys(kind, source.data):
        raise mistaken(source, mistakes, _HINT)
    return kind.model_validate(source.data), source


def mistaken(source: TomlFile, mistakes: Sequence[tuple[Pointer, str]], hint: str) -> UsageError:
    """The error that names each mistake of a file with its place, in the order of the lines."""
    lines = [f"{source.place(pointer)}: {said}" for pointer, said in sorted(mistakes, key=lambda one: source.line(one[0]))]
    many = [f"{source.path} has {len(lines)} mistakes", *(f"  {line}" for line in lines)]
    return UsageError("\n".join(many if len(lines) > 1 else lines), hint=hint)
