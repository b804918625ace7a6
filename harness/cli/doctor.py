"""`testcard doctor`: what can go wrong before anything is sent, looked at one by one, each with what to do about it."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import click

from testcard.harness.cli.options import config_option, json_option
from testcard.harness.config import FILE_NAME, Config, PricesSection, TargetSection, load_config, providers_of
from testcard.harness.errors import Exit, UsageError
from testcard.harness.extras import EXTRAS, missing, requirement
from testcard.harness.pricing import Pricing
from testcard.harness.targets import answers, checked_base_url, is_loopback, named_target, read_key
from testcard.specs.loader import Provider, load_provider


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """One thing that was looked at. `next`: what to do where it is not well. A problem keeps a check from working, a note does not."""

    state: Literal["ok", "note", "problem"]
    what: str
    next: str = ""


@click.command()
@click.argument("names", metavar="[PROVIDER[=URL]]...", nargs=-1)
@config_option
@json_option("what was found")
def doctor(names: tuple[str, ...], config_file: Path | None, as_json: bool) -> int:
    """Look at what can go wrong: extras, testcard.toml, keys (present or not, never shown), whether targets answer, prices, limits.

    Nothing billed is sent: a target gets one GET without a key. One off this machine is only asked where testcard.toml says live.

    Example: testcard doctor nanogpt=http://127.0.0.1:8000
    """
    config = load_config(config_file)
    if names:
        named = [named_target(name) for name in names]
        for provider, _ in named:
            load_provider(provider, config.providers.path)
        config = config.model_copy(update={"target": tuple(TargetSection(provider=one, base_url=url) for one, url in named)})
    found = [*_here(config, config_file), *_targets(config, providers_of(config))]
    if as_json:
        click.echo(json.dumps([asdict(one) for one in found], indent=2))
    else:
        for one in found:
            click.echo(f"{ {'ok': '✓', 'note': '·', 'problem': '✗'}[one.state] } {one.what}")
            if one.next:
                click.echo(f"    {one.next}")
    return Exit.USAGE if any(one.state == "problem" for one in found) else Exit.PASS


def _here(config: Config, config_file: Path | None) -> Iterator[Diagnosis]:
    yield Diagnosis("ok", f"Python {platform.python_version()}")
    absent = missing(EXTRAS)
    for extra in EXTRAS:
        if extra in absent:
            yield Diagnosis("note", f"extra {extra} is not installed", f"where it is wanted: pip install '{requirement([extra])}'")
        else:
            yield Diagnosis("ok", f"extra {extra}")
    if not config.target:
        yield Diagnosis("note", f"no target in {config_file or FILE_NAME}", "testcard init writes one")
    for name in ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        if os.environ.get(name):
            yield Diagnosis("note", f"{name} is set: targets off this machine are asked through that proxy")


def _targets(config: Config, providers: Sequence[Provider]) -> Iterator[Diagnosis]:
    for section, provider in zip(config.target, providers, strict=True):
        if section.base_url is None:
            yield Diagnosis("ok", f"{provider.id}: a mock on this machine")
            continue
        try:
            url = checked_base_url(section.base_url)
        except UsageError as error:
            yield Diagnosis("problem", f"{provider.id}: {error.message}", error.hint or "")
            continue
        yield _reached(section, provider, url)
        yield from _key(section, provider, url)
        if not is_loopback(url):
            yield from _money(section, provider, config)


def _reached(section: TargetSection, provider: Provider, url: str) -> Diagnosis:
    if not is_loopback(url) and not section.live:
        return Diagnosis(
            "problem", f"{provider.id}: {url} is not on this machine", "write live = true below it; requests there can cost money"
        )
    if answers(url, timeout_s=5.0):
        return Diagnosis("ok", f"{provider.id}: {url} answers")
    return Diagnosis(
        "problem", f"{provider.id}: nothing is ready at {url}", "start the server, or check the address, the network and the certificate"
    )


def _key(section: TargetSection, provider: Provider, url: str) -> Iterator[Diagnosis]:
    if provider.profile.auth.header is None:
        return
    variable = section.key_env or provider.profile.auth.key_env
    try:
        there = read_key(provider, key_env=section.key_env) is not None
    except UsageError as error:
        yield Diagnosis("problem", f"{provider.id}: {error.message}", error.hint or "")
        return
    if there:
        yield Diagnosis("ok", f"{provider.id}: there is a key")
    elif is_loopback(url):
        yield Diagnosis(
            "note", f"{provider.id}: no key is set; a server on this machine gets the mocks' own", f"set {variable} if it wants one"
        )
    else:
        yield Diagnosis("problem", f"{provider.id}: there is no key", f"set {variable}")


def _money(section: TargetSection, provider: Provider, config: Config) -> Iterator[Diagnosis]:
    for name, limits in (("check", config.check), ("bench", config.bench)):
        if limits.max_requests is None and limits.max_cost is None:
            yield Diagnosis(
                "problem", f"{provider.id}: nothing bounds what a {name} may spend", f"write max_requests or max_cost below [{name}]"
            )
    pricing = Pricing(provider, False, config.prices.get(provider.id, PricesSection()))
    operations = section.operations or tuple(provider.profile.operations)
    unknown = [
        one for one in operations if provider.profile.operations[one].billed and pricing.price(_model(section, provider, one), one) is None
    ]
    if unknown:
        yield Diagnosis(
            "note",
            f"{provider.id}: no price is known for {', '.join(unknown)}",
            f'limit with max_requests, or adopt = "list" below [prices.{provider.id}]',
        )


def _model(section: TargetSection, provider: Provider, operation: str) -> str | None:
    tasks = provider.profile.operations[operation].tasks
    return next(iter(section.models), None) or (provider.default_model(operation, tasks[0]) if tasks else None)
