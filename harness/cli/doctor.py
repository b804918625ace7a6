"""`testcard doctor`: what can go wrong before anything is sent, looked at one by one, each with what to do about it."""

from __future__ import annotations

import json
import math
import os
import platform
import socket
import ssl
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from email.utils import parsedate_to_datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import click

from testcard.harness.check.spending.budget import SpendingLimits
from testcard.harness.cli import say
from testcard.harness.cli.options import PROVIDER, config_option, json_option
from testcard.harness.config import FILE_NAME, Config, PricesSection, TargetSection, load_config, providers_of
from testcard.harness.errors import Exit, UsageError
from testcard.harness.extras import EXTRAS, missing, requirement
from testcard.harness.pricing import Pricing
from testcard.harness.rules.promises import RULES
from testcard.harness.targets import checked_base_url, date_of, is_loopback, named_target, read_key
from testcard.harness.text.words import amount, count, listing, time_span
from testcard.specs.loader import Provider, load_provider
from testcard.specs.wrong_keys import nearest

#: Clocks that are further apart are worth a word, and so is a certificate that ends sooner.
_CLOCKS_APART_S = 30.0
_CERTIFICATE_SOON_S = 14 * 86400.0


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """One thing that was looked at. `next`: what to do where it is not well. A problem keeps a check from working, a note does not."""

    state: Literal["ok", "note", "problem"]
    what: str
    next: str = ""


@click.command()
@click.argument("names", type=PROVIDER, metavar="[PROVIDER[=URL]]...", nargs=-1)
@config_option
@json_option("what was found")
def doctor(names: tuple[str, ...], config_file: Path | None, as_json: bool) -> int:
    """Look at what can go wrong: extras, testcard.toml, keys (present or not, never shown), targets, certificates, clocks, prices, limits.

    Nothing billed is sent: a target gets one GET without a key. One off this machine is only asked where testcard.toml says live.

    Example: testcard doctor nanogpt=http://127.0.0.1:8000
    """
    config = load_config(config_file)
    if names:
        named = [named_target(name) for name in names]
        for provider, _ in named:
            load_provider(provider, config.providers.path)
        config = config.model_copy(update={"target": tuple(TargetSection(provider=one, base_url=url) for one, url in named)})
    providers = providers_of(config)
    found = [*_here(config, config_file), *_unknown(config, providers), *_targets(config, providers)]
    if as_json:
        click.echo(json.dumps([asdict(one) for one in found], indent=2))
    else:
        for one in found:
            click.echo(f"{ {'ok': '✓', 'note': '·', 'problem': '✗'}[one.state] } {one.what}")
            if one.next:
                click.echo(f"    {one.next}")
    if any(one.state == "problem" for one in found):
        return Exit.USAGE
    if config.target and not as_json:
        alone = len(config.target) == 1 and not names
        first = config.target[0]
        target = "" if alone else f"{first.provider}{f'={first.base_url}' if first.base_url else ''} "
        say(f"next: testcard check {target}--wait-for 60s")
    return Exit.PASS


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


def _unknown(config: Config, targets: Sequence[Provider]) -> Iterator[Diagnosis]:
    """Prices and waivers of testcard.toml that nothing stands behind: no command misses them, they only never hold."""
    known = {one.id for one in targets}

    def provider(name: str, *place: str | int) -> Iterator[Diagnosis]:
        try:
            if name not in known:
                load_provider(name, config.providers.path)
        except UsageError as error:
            yield Diagnosis("note", config.wrong([(place, error.message)]).message, error.hint or "")

    for name in config.prices:
        yield from provider(name, "prices", name)
    for index, waiver in enumerate(config.waiver):
        yield from provider(waiver.provider, "waiver", index, "provider")
        if not any(fnmatchcase(rule, waiver.rule) for rule in RULES):
            wrong = config.wrong([(("waiver", index, "rule"), f"there is no rule {waiver.rule}")])
            yield Diagnosis("note", wrong.message, nearest(waiver.rule, RULES, "testcard rules lists them:"))


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
        yield from _reached(section, provider, url)
        yield from _key(section, provider, url)
        if not is_loopback(url):
            yield from _money(section, provider, config)
        yield from _budget(section, provider, url, config)


def _reached(section: TargetSection, provider: Provider, url: str) -> Iterator[Diagnosis]:
    """Whether something answers, its certificate, and its clock."""
    if not is_loopback(url) and not section.live:
        yield Diagnosis(
            "problem", f"{provider.id}: {url} is not on this machine", "write live = true below it; requests there can cost money"
        )
        return
    trust = _certificate(url)
    if trust is not None:
        yield replace(trust, what=f"{provider.id}: {trust.what}")
        if trust.state == "problem":
            return
    asked_s = time.time()
    date = date_of(url, timeout_s=5.0)
    if date is None:
        yield Diagnosis("problem", f"{provider.id}: nothing is ready at {url}", "start the server, or check the address and the network")
        return
    yield Diagnosis("ok", f"{provider.id}: {url} answers")
    apart_s = _apart_s(date, asked_s, time.time())
    if apart_s > _CLOCKS_APART_S:
        yield Diagnosis(
            "note",
            f"{provider.id}: its clock and this machine's are {time_span(apart_s)} apart",
            "set this machine's clock (timedatectl, chrony); rules about times and lifetimes of addresses read both",
        )


def _apart_s(date: str, before_s: float, after_s: float) -> float:
    """How far the server's clock lies outside of the time in which it was asked; 0 without a date that can be read. Dates are whole seconds."""
    try:
        told_s = parsedate_to_datetime(date).timestamp()
    except (TypeError, ValueError):
        return 0.0
    return max(0.0, before_s - 1 - told_s, told_s - after_s)


def _certificate(url: str) -> Diagnosis | None:
    """What is to be said of the certificate; None for http, and where nothing answers at all."""
    parts = urlsplit(url)
    if parts.scheme != "https" or parts.hostname is None:
        return None
    from testcard.harness.client.http import tls  # what the client trusts

    try:
        with (
            socket.create_connection((parts.hostname, parts.port or 443), timeout=5.0) as plain,
            tls().wrap_socket(plain, server_hostname=parts.hostname) as secured,
        ):
            until = str((secured.getpeercert() or {}).get("notAfter", ""))
    except ssl.SSLCertVerificationError as error:
        return Diagnosis(
            "problem",
            f"the certificate of {parts.hostname} is not trusted: {error.verify_message}",
            "for a certificate authority of your own, name its file in SSL_CERT_FILE; else look at the address and this machine's clock",
        )
    except ssl.SSLError as error:
        return Diagnosis("problem", f"no TLS with {parts.hostname}: {error.reason or error}", "is it an http address, or another port?")
    except OSError:
        return None
    left_s = ssl.cert_time_to_seconds(until) - time.time() if until else math.inf
    if left_s < _CERTIFICATE_SOON_S:
        return Diagnosis("note", f"the certificate of {parts.hostname} ends in {time_span(left_s)}", "have it renewed")
    return Diagnosis("ok", f"the certificate of {parts.hostname} is trusted")


def _budget(section: TargetSection, provider: Provider, url: str, config: Config) -> Iterator[Diagnosis]:
    """What a check would ask for, held against the limits; nothing where the extra for it is missing."""
    limits = config.check
    if missing(["check"]) or (limits.max_requests is None and limits.max_images is None and limits.max_cost is None):
        return
    from testcard.harness.check.options import CheckOptions
    from testcard.harness.check.run import CheckRun
    from testcard.harness.check.spending.allowance import at_most

    options = CheckOptions(
        provider=section.provider, base_url=url, operations=section.operations, model=next(iter(section.models), None),
        max_requests=limits.max_requests, max_images=limits.max_images, max_cost_usd=limits.max_cost, search=config.providers.path,
        prices=config.prices,
    )  # fmt: skip
    try:
        steps = CheckRun(options).plan.steps
    except UsageError as error:
        yield Diagnosis("problem", f"{provider.id}: {error.message}", error.hint or "")
        return
    whole = at_most(steps, SpendingLimits())
    price = f", {amount(whole.cost_usd)}" if whole.cost_usd is not None else ""
    asked = f"a whole check is {count(len(steps), 'request')}, at most {count(whole.images, 'picture')}{price}"
    short = [
        word
        for word, limit, wanted in (
            ("max_requests", limits.max_requests, len(steps)),
            ("max_images", limits.max_images, whole.images),
            ("max_cost", limits.max_cost, whole.cost_usd or 0.0),
        )
        if limit is not None and limit < wanted
    ]
    if short:
        yield Diagnosis(
            "note",
            f"{provider.id}: {asked}; {listing(short)} below [check] allows less",
            "the most telling requests come first, and what is left out is not-run: testcard check --plan says what",
        )
    else:
        yield Diagnosis("ok", f"{provider.id}: {asked}; the limits allow it")


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
