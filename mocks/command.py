"""`testcard mock`: serves providers' contracts on this machine, honestly or with faults."""

from __future__ import annotations

import contextlib
import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, cast

import click
from starlette.types import ASGIApp

from testcard.mocks.app import create_app
from testcard.mocks.conditions import REFUSALS, Conditions, read_scenario
from testcard.mocks.faults import FAULTS
from testcard.mocks.greeting import curl_line
from testcard.mocks.replay import Replay
from testcard.mocks.serving import Certificate, bind, serve, throwaway_certificate, url_of
from testcard.mocks.variants import VARIANTS
from testcard.specs.errors import UsageError
from testcard.specs.loader import Provider, bundled_ids, load_provider
from testcard.specs.profile import MOCK_API_KEY

DEFAULT_PORT = 8088


@click.command()
@click.argument("provider_names", metavar="[PROVIDER]...", nargs=-1)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=DEFAULT_PORT, show_default=True, help="Port; 0 takes a free one.")
@click.option(
    "--fault", "faults", multiple=True, metavar="NAME[@RATE]", help="Lie in this way, to a share of the requests if a rate is given."
)
@click.option(
    "--latency",
    metavar="DIST",
    help="Seconds an answer takes: 0.2, uniform:0.1,0.3, lognormal:0.3,0.5 (median, sigma), per-image:0.05, per-megapixel:0.3, "
    "per-megapixel-step:0.02, cold:5,60 (5 more after 60 without work); joined with +.",
)
@click.option("--rate-limit", metavar="COUNT/s", help="Refuse with 429 what comes faster (also /m and /h).")
@click.option("--retry-after", type=click.Choice(["seconds", "date"]), help="How a 429 or 503 says when to come again.  [default: seconds]")
@click.option(
    "--max-concurrent", type=click.IntRange(min=1), metavar="N", help="Work on at most N requests of a provider at once; the others queue."
)
@click.option(
    "--refuse",
    multiple=True,
    metavar="NAME[@RATE]",
    help=f"Refuse requests, or a share of them: {', '.join(REFUSALS)}, moderated, or a status.",
)
@click.option("--quota", metavar="COUNT[:STATUS]", help="After so many billed requests refuse with 402 (or 403, 429).")
@click.option("--balance", type=click.FloatRange(min=0), metavar="USD", help="What can be spent at illustrative prices; then 402.")
@click.option("--moderate", multiple=True, metavar="WORD", help="Refuse prompts with this word, as the provider refuses content.")
@click.option("--url-lifetime", type=click.FloatRange(min=0), metavar="S", help="Seconds after which the address of a picture has expired.")
@click.option(
    "--scenario",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="TOML: phases of such conditions, by time or by count.",
)
@click.option(
    "--variant",
    type=click.Choice(sorted(VARIANTS)),
    help="Keep the contract in another way: refuse, or vary, what the documents leave open.",
)
@click.option(
    "--replay",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="RUN",
    help="Answer as the run in this folder was answered, without a key; no provider is named then.",
)
@click.option("--recorded-pace", is_flag=True, help="With --replay: take the time that the recorded answers took.")
@click.option(
    "--processes",
    type=click.IntRange(1, 64),
    default=1,
    show_default=True,
    metavar="N",
    help="Serve from so many processes; not with what counts requests (rate limits, quotas, balances, scenarios, replays).",
)
@click.option("--tls", is_flag=True, help="Serve HTTPS with a certificate made for this once, and say where its authority's is.")
@click.option("--cors", is_flag=True, help="Let pages of any origin ask.")
@click.option(
    "--grace", type=click.FloatRange(min=0), default=1.0, show_default=True, metavar="S", help="Seconds open requests get at the end."
)
@click.option("--api-key", default=MOCK_API_KEY, show_default=True, help="The key to accept.")
@click.option("--list-faults", is_flag=True, help="Print the faults and where they apply.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON line when ready (with --list-faults: the faults).")
@click.option("--until-stdin-closes", is_flag=True, hidden=True)
def mock(
    provider_names: tuple[str, ...],
    host: str,
    port: int,
    faults: tuple[str, ...],
    latency: str | None,
    rate_limit: str | None,
    retry_after: Literal["seconds", "date"] | None,
    max_concurrent: int | None,
    refuse: tuple[str, ...],
    quota: str | None,
    balance: float | None,
    moderate: tuple[str, ...],
    url_lifetime: float | None,
    scenario: Path | None,
    variant: str | None,
    replay: Path | None,
    recorded_pace: bool,
    processes: int,
    tls: bool,
    cors: bool,
    grace: float,
    api_key: str,
    list_faults: bool,
    as_json: bool,
    until_stdin_closes: bool,
) -> None:
    """Serve one or more providers' contracts on this machine, with faults if asked.

    One provider is served at the root; several (by default all) each under /<id>. Ctrl-C ends it.
    GET /_testcard/health answers when it is ready; counters and requests beside it say what was served, and
    PATCH /_testcard/conditions changes what these flags say while it runs.
    """
    if list_faults or "list" in faults:
        _list_faults(provider_names, as_json=as_json)
        return
    conditions = Conditions(
        latency,
        rate_limit,
        retry_after or "seconds",
        faults,
        refuse,
        *_read_quota(quota),
        balance_usd=balance,
        moderate=moderate,
        url_lifetime_s=url_lifetime,
        max_concurrent=max_concurrent,
    )
    providers: list[Provider] = []
    app: ASGIApp
    if processes > 1:
        # Brings httpx along, which one process does without.
        from testcard.mocks.processes import refuse_what_one_must_count, serve_together

        refuse_what_one_must_count(conditions, scenario=scenario is not None, replay=replay is not None)
    if replay is not None:
        if provider_names or conditions != Conditions() or scenario is not None or variant is not None:
            raise UsageError("--replay answers as the run did, and nothing else", hint="leave out providers, faults, limits and scenarios")
        replayed = Replay(replay, paced=recorded_pace)
        app, names = replayed, [replayed.provider]
    else:
        if recorded_pace:
            raise UsageError("--recorded-pace goes with --replay", hint="--latency sets the pace of other mocks")
        providers = [load_provider(name) for name in provider_names or bundled_ids()]
        if len({provider.id for provider in providers}) < len(providers):
            raise UsageError("a provider is named twice", hint="name each provider once")
        story = read_scenario(scenario, over=conditions) if scenario is not None else None
        app = create_app(providers, conditions=conditions, scenario=story, api_key=api_key, variant=variant, cors=cors)
        _warn_idle(providers, faults)
        names = [provider.id for provider in providers]
    with contextlib.ExitStack() as stack:
        certificate = stack.enter_context(throwaway_certificate(host)) if tls else None
        server = bind(host, port)
        root = url_of(server, certificate)
        urls = {name: root if len(names) == 1 else f"{root}/{name}" for name in names}
        authority_file = certificate.authority if certificate is not None else None
        authority = {"ca_file": str(authority_file)} if authority_file is not None else {}

        def ready() -> None:
            if as_json:
                click.echo(json.dumps({"ready": True, "base_urls": urls, "api_key": api_key, **authority}))
            else:
                said = (
                    f"key: {api_key}\ntry: {curl_line(providers[0], urls[names[0]], api_key, authority_file)}"
                    if providers
                    else f"replays {replay}; takes any key"
                )
                _announce(urls, said, certificate)
            sys.stdout.flush()

        how: Any = {"until_stdin_closes": until_stdin_closes, "grace_s": grace, "certificate": certificate}
        if processes == 1:
            serve(app, server, ready, **how)
        else:
            serve_together(app, server, ready, processes, providers, **how)


def _read_quota(text: str | None) -> tuple[int | None, Literal[402, 403, 429]]:
    """The count and the status of COUNT[:STATUS]."""
    found = re.fullmatch(r"(\d+)(?::(402|403|429))?", text or "0")
    if found is None:
        raise UsageError(f"{text!r} is no quota", hint="write it as 100, or as 100:403 for another status than 402 (403 or 429)")
    return (int(found[1]) if text is not None else None), cast("Literal[402, 403, 429]", int(found[2] or 402))


def _announce(urls: Mapping[str, str], said: str, certificate: Certificate | None) -> None:
    width = max(map(len, urls))
    for name, url in urls.items():
        click.echo(f"{name.ljust(width)}  {url}")
    click.echo(said)
    if certificate is not None:
        click.echo(f"certificate authority to trust: {certificate.authority}")
    click.echo("Ctrl-C ends it.", err=True)


def _warn_idle(providers: list[Provider], faults: tuple[str, ...]) -> None:
    for text in faults:
        fault = FAULTS[text.partition("@")[0]]
        if not any(fault.told_by(provider) for provider in providers):
            raise UsageError(
                f"the fault {fault.name} does not apply to any provider that is served", hint="it applies to: " + ", ".join(fault.providers)
            )


def _list_faults(names: tuple[str, ...], *, as_json: bool) -> None:
    chosen = [load_provider(name) for name in names]
    faults = [fault for fault in FAULTS.values() if not chosen or any(fault.told_by(provider) for provider in chosen)]
    if as_json:
        rows = [
            {
                "name": fault.name,
                "rule": fault.rule,
                "does": fault.does,
                "also": fault.also,
                "places": [{"provider": provider, "operation": operation} for provider, operation in fault.places],
                "own_providers": fault.own is not None,
            }
            for fault in faults
        ]
        click.echo(json.dumps(rows))
        return
    width = max(len(fault.name) for fault in faults)
    for fault in sorted(faults, key=lambda fault: fault.name):
        click.echo(f"{fault.name.ljust(width)}  {fault.does} ({', '.join(fault.providers) or 'own providers'})")
