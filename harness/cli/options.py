"""Options that several commands share, each written once, and bundles of them: a command takes one value for many flags.

A bundle is a frozen dataclass whose fields are annotated with the option that sets them; `takes` adds those options to a command
and hands it the bundle. Light: every command imports this.
"""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_type_hints

import click
from click.shell_completion import CompletionItem

_Command = TypeVar("_Command", bound=Callable[..., Any])
PATH = click.Path(path_type=Path)


class Finite(click.FloatRange):
    """A number within bounds that is one: `nan` would pass every bound, and `inf` is no limit. `name`: what it is a number of."""

    def __init__(self, name: str = "number", **bounds: Any) -> None:
        super().__init__(**bounds)
        self.name = name

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The number; click's usage error for anything else."""
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{value} is no finite number.", param, ctx)
        return number


#: `--config`, for a bundle or a command of its own.
CONFIG: tuple[tuple[str, ...], dict[str, Any]] = (
    ("--config",),
    {"type": PATH, "metavar": "FILE", "help": "testcard.toml to read (default: ./testcard.toml)."},
)
#: An amount of money, and a time that is not nothing.
USD = Finite("amount in US dollars", min=0)
SECONDS = Finite("number of seconds", min=0, min_open=True)


class Duration(click.ParamType[float]):
    """A length of time as people write it (`90`, `60s`, `2m`, `1h`); its value is seconds, more than none."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The seconds; click's usage error for anything else."""
        from testcard.harness.text.words import seconds_of  # not needed for --help

        seconds = seconds_of(str(value))
        if seconds is None:
            self.fail(f"{value} is no length of time; write it as 60s, 2m or 1h", param, ctx)
        return seconds


class Word(click.ParamType[str]):
    """A word that the shell completes: `known` lists those that there are, as far as the command line says so far. `or_folder`: a path
    may stand in its place."""

    name = "text"

    def __init__(self, known: Callable[[click.Context], Iterable[str]], *, or_folder: bool = False) -> None:
        self._known = known
        self._or_folder = or_folder

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """The words that begin so; a path is left to the shell. Without a word where a file in use cannot be read."""
        if self._or_folder and ("/" in incomplete or incomplete.startswith(".")):
            return [CompletionItem(incomplete, type="dir")]
        try:
            words = sorted(set(self._known(ctx)))
        except Exception:  # noqa: BLE001 (a mistake in a file is told by the command, not into the line that is being typed)
            return []
        return [CompletionItem(word) for word in words if word.startswith(incomplete)]


def _providers(ctx: click.Context) -> list[Any]:
    """The providers that the line names so far, else all that are known. The line itself: one that ends in an option is not parsed."""
    from testcard.specs.loader import load_provider

    known = _provider_ids(ctx)
    search = _search(ctx)
    words = [word.partition("=")[0].strip("'\"") for word in os.environ.get("COMP_WORDS", "").split()[1:]]
    return [load_provider(name, search) for name in ([one for one in words if one in known] or known)]


def _search(ctx: click.Context) -> tuple[Path, ...]:
    from testcard.harness.config import load_config

    return load_config(ctx.params.get("config_file")).providers.path


def _provider_ids(ctx: click.Context) -> tuple[str, ...]:
    from testcard.specs.loader import known_ids

    return known_ids(_search(ctx))


def _operations(ctx: click.Context) -> Iterable[str]:
    return (operation for provider in _providers(ctx) for operation in provider.profile.operations)


def _models(ctx: click.Context) -> Iterable[str]:
    return (model.id for provider in _providers(ctx) for model in provider.profile.models)


def _rules(ctx: click.Context) -> Iterable[str]:
    from testcard.harness.rules.promises import RULES

    return RULES


def _faults(ctx: click.Context) -> Iterable[str]:
    from testcard.harness.selftest.kill_matrix import faults_of

    return (fault.name for provider in _providers(ctx) for fault in faults_of(provider))


#: Types of options and arguments whose words the shell completes.
PROVIDER = Word(_provider_ids, or_folder=True)
OPERATION, MODEL, RULE, FAULT = Word(_operations), Word(_models), Word(_rules), Word(_faults)


@dataclass(frozen=True, slots=True)
class Option:
    """How a field of a bundle is set: the option's names, and what `click.option` takes. The field's default is the option's."""

    names: tuple[str, ...]
    how: dict[str, Any]


def option(*names: str, **how: Any) -> Option:
    """The annotation of a field that this option sets."""
    return Option(names, how)


def takes(into: str, bundle: type[Any]) -> Callable[[_Command], _Command]:
    """Adds a bundle's options to a command, which gets the bundle as the argument `into`."""
    hints = get_type_hints(bundle, include_extras=True)

    def decorate(command: _Command) -> _Command:
        @functools.wraps(command)
        def call(*arguments: Any, **values: Any) -> Any:
            mine = {one.name: values.pop(one.name) for one in fields(bundle)}
            return command(*arguments, **values, **{into: bundle(**mine)})

        decorated: Any = call
        for one in reversed(fields(bundle)):
            (said,) = (extra for extra in hints[one.name].__metadata__ if isinstance(extra, Option))
            decorated = click.option(*said.names, one.name, default=one.default, **said.how)(decorated)
        wrapped: _Command = decorated
        return wrapped

    return decorate


def _said_limit(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> None:
    """Lets each limit hold in this process."""
    from testcard.harness.intake.limits import say_limit

    for value in values:
        try:
            say_limit(value)
        except ValueError as error:
            raise click.BadParameter(str(error), ctx, param) from None


def _allowed_host(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> None:
    """Lets answers lead to each."""
    from testcard.harness.wire.addresses import allow_host

    for value in values:
        try:
            allow_host(value)
        except ValueError as error:
            raise click.BadParameter(str(error), ctx, param) from None


def limit_option(command: _Command) -> _Command:
    """`--limit NAME=VALUE` and `--allow-host HOST`, again for more: how much is taken of a target's answers, and where they may lead."""
    command = click.option(
        "--allow-host",
        multiple=True,
        metavar="HOST[:PORT]",
        expose_value=False,
        callback=_allowed_host,
        help="Let answers lead to this host, whatever it is (downloads, tasks); again for more.",
    )(command)
    return click.option(
        "--limit",
        multiple=True,
        metavar="NAME=VALUE",
        expose_value=False,
        callback=_said_limit,
        help="How much is taken of an answer, such as body_bytes=128MiB; again for more (docs/limits.md).",
    )(command)


def config_option(command: _Command) -> _Command:
    """`--config FILE`, as `config_file`."""
    return click.option(*CONFIG[0], "config_file", **CONFIG[1])(command)


def json_option(what: str = "the result") -> Callable[[_Command], _Command]:
    """`--json`, as `as_json`; `what` it prints is for the help."""
    return click.option("--json", "as_json", is_flag=True, help=f"Print {what} as JSON.")


@dataclass(frozen=True, slots=True)
class WhereAndKey:
    """Where a target is, whether it may be off this machine, and where its key is."""

    base_url: Annotated[
        str | None, option("--base-url", metavar="URL", help="Where the target is. Without it: a mock on this machine.")
    ] = None
    live: Annotated[
        bool,
        option("--live", is_flag=True, help="Allow a target that is not on this machine, and answers that lead off it. It can cost money."),
    ] = False
    api_key_file: Annotated[
        Path | None,
        option("--api-key-file", type=PATH, metavar="FILE", help="Read the key from a file instead of from a variable."),
    ] = None
    no_auth: Annotated[bool, option("--no-auth", is_flag=True, help="Send no key: the target needs none.")] = False
