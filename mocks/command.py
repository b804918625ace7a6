"""`testcard mock`: serves providers' contracts on this machine, honestly or with faults.

The command that a mock offers to try: curl, with one request that the provider's own contract accepts.
"""

from __future__ import annotations

import contextlib
import json
import math
import re
import shlex
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, cast
from urllib.parse import quote, urlencode

import click
from starlette.types import ASGIApp

from testcard.mocks.app import create_app, for_pages
from testcard.mocks.conditions import REFUSALS, Conditions, read_scenario, seeded
from testcard.mocks.faults import FAULTS
from testcard.mocks.replay import Replay
from testcard.mocks.serving import Certificate, bind, serve, throwaway_certificate, url_of
from testcard.mocks.variants import VARIANTS
from testcard.specs.errors import UsageError
from testcard.specs.loader import Provider, bundled_ids, load_provider
from testcard.specs.openapi import Operation
from testcard.specs.pointers import MISSING, parts_of, wire_parts
from testcard.specs.profile import MOCK_API_KEY, OperationProfile, WireField
from testcard.specs.schemas import made_up_value, schema_at

_PROMPT = "a red boat"


def curl_line(provider: Provider, url: str, api_key: str, authority: Path | None = None) -> str:
    """A command that shows the provider's first way to a picture at work: everything that its document requires is in it."""
    generate = provider.profile.tasks.get("generate")
    operation = provider.operation(generate.operation) if generate is not None else next(iter(provider.openapi.operations.values()))
    profile = provider.operation_profile(operation.id)
    model = provider.default_model(operation.id, "generate" if generate is not None else None)
    header = provider.profile.auth.header
    words = ["curl", url + _target(operation, profile, model)]
    if authority is not None:
        words += ["--cacert", str(authority)]
    if header is not None:
        words += ["-H", f"{header.name}: {header.prefix}{api_key}"]
    for name, field in profile.headers.items():
        if field.send is not None:
            words += ["-H", f"{name}: {field.send}"]
    media_type = operation.request_media_type or ""
    if media_type:
        body = _body(operation, profile, model)
        words += _body_words([body] if operation.listed else body, media_type)
    if profile.response.binary and not profile.response.pictures:
        words += ["-o", "picture"]
    return " ".join(_quoted(word) for word in words)


def _quoted(word: str) -> str:
    return word if shlex.quote(word) == word else "'" + word.replace("'", "'\\''") + "'"


def _target(operation: Operation, profile: OperationProfile, model: str | None) -> str:
    path = operation.path
    for name, schema in operation.path_parameters.items():
        value = _value(profile.path.get(name), schema, model)
        path = path.replace("{" + name + "}", quote("" if value is MISSING else str(value), safe=""))
    sent = {name: field.send for name, field in profile.query.items() if field.send is not None}
    return f"{path}?{urlencode(sent)}" if sent else path


def _body(operation: Operation, profile: OperationProfile, model: str | None) -> dict[str, Any]:
    """What the document requires, the prompt, the model, and what the profile sends with each request."""
    if "messages" in operation.properties:
        return {"model": model, "messages": [{"role": "user", "content": [{"type": "text", "text": "hello"}]}]}
    body: dict[str, Any] = {}
    for name in sorted(_asked(operation, profile), key=lambda name: name.count("/")):  # what stands inside overrides what is around it
        parts = wire_parts(name)
        value = _value(profile.fields.get(name), schema_at(operation.request_schema, parts), model)
        if value is not MISSING:
            _put(body, parts, value)
    return body


def _asked(operation: Operation, profile: OperationProfile) -> Iterator[str]:
    for name, field in profile.fields.items():
        if name in operation.required or field.means == "prompt" or field.send is not None or _required_inside(operation, name):
            yield name
    yield from (name for name in operation.required if name not in profile.fields)


def _required_inside(operation: Operation, name: str) -> bool:
    """Whether a field that is named by a pointer is required all the way down."""
    if not name.startswith("/"):
        return False
    parts, schema = parts_of(name), operation.request_schema
    for part in parts:
        if part.isdigit():
            schema = schema_at(schema, (part,))
            continue
        if part not in (schema.get("required") or ()):
            return False
        schema = schema_at(schema, (part,))
    return True


def _value(field: WireField | None, schema: Mapping[str, Any], model: str | None) -> Any:
    if field is not None:
        if field.means == "prompt":
            return _PROMPT
        if field.means == "model" and model is not None:
            return model if field.part is None else model.split("/", 1)[field.part] if field.part < 1 + model.count("/") else ""
        for value in (field.send, field.cheapest, *field.must_accept[:1]):
            if value is not None:
                return value
    return made_up_value(schema)


def _put(body: dict[str, Any], parts: tuple[str, ...], value: Any) -> None:
    """Sets a value at a place, with the objects and lists on the way to it."""
    place: Any = body
    for part, after in zip(parts, (*parts[1:], None), strict=True):
        key: Any = int(part) if isinstance(place, list) else part
        if isinstance(place, list) and key >= len(place):
            place.append(None)
        below = place[key] if isinstance(place, list) else place.get(key)
        if after is None:
            place[key] = value
        elif not isinstance(below, dict | list):
            place[key] = [] if after.isdigit() else {}
        place = place[key]


def _body_words(body: Any, media_type: str) -> list[str]:
    """The options of curl that send the body in its media type."""
    plain = media_type.partition(";")[0].strip()
    if plain.endswith("json"):
        return ["-H", f"Content-Type: {media_type}", "-d", json.dumps(body)]
    flag = "-F" if plain == "multipart/form-data" else "--data-urlencode"
    return [word for name, value in body.items() for word in (flag, f"{name}={value if isinstance(value, str) else json.dumps(value)}")]


__all__ = ["curl_line"]


DEFAULT_PORT = 8088


def _known_providers(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """For the shell to complete: ids that begin so."""
    return [name for name in bundled_ids() if name.startswith(incomplete)]


def _known_faults(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """For the shell to complete: faults that begin so."""
    return [name for name in sorted(FAULTS) if name.startswith(incomplete)]


@click.command()
@click.argument("provider_names", metavar="[PROVIDER]...", nargs=-1, shell_complete=_known_providers)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=DEFAULT_PORT, show_default=True, help="Port; 0 takes a free one.")
@click.option(
    "--fault",
    "faults",
    multiple=True,
    metavar="NAME[@RATE]",
    shell_complete=_known_faults,
    help="Lie in this way, to a share of the requests if a rate is given.",
)
@click.option(
    "--latency",
    metavar="DIST",
    help="Seconds an answer takes: 0.2, uniform:0.1,0.3, lognormal:0.3,0.5 (median, sigma), per-image:0.05, per-megapixel:0.3, "
    "per-megapixel-step:0.02, cold:5,60 (5 more after 60 without work); joined with +.",
)
@click.option("--seed", type=int, metavar="N", help="Of the service times: the same again.  [default: one of its own, which is told]")
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
    help="Serve from so many processes; not with what counts requests (rate limits, quotas, balances, seeds, scenarios, replays).",
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
    seed: int | None,
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

    Example: testcard mock nanogpt --port 8080 --fault image.size
    """
    if list_faults or "list" in faults:
        _list_faults(provider_names, as_json=as_json)
        return
    if not math.isfinite(grace):
        raise UsageError(f"--grace cannot be {grace}", hint="it is a number of seconds")
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
        seed=seed,
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
        app, names = for_pages(replayed) if cors else replayed, [replayed.provider]
    else:
        if recorded_pace:
            raise UsageError("--recorded-pace goes with --replay", hint="--latency sets the pace of other mocks")
        providers = [load_provider(name) for name in provider_names or bundled_ids()]
        if len({provider.id for provider in providers}) < len(providers):
            raise UsageError("a provider is named twice", hint="name each provider once")
        conditions = seeded(conditions)
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
            # Several processes share no seed, and a replay draws nothing.
            told = {"seed": conditions.seed} if replay is None and processes == 1 else {}
            if as_json:
                click.echo(json.dumps({"ready": True, "base_urls": urls, "api_key": api_key, **told, **authority}))
            else:
                said = (
                    f"key: {api_key}\ntry: {curl_line(providers[0], urls[names[0]], api_key, authority_file)}"
                    if providers
                    else f"replays {replay}; takes any key"
                )
                if told and (conditions.latency is not None or scenario is not None or variant is not None):
                    said += f"\nthe same times again: --seed {conditions.seed}"
                _announce(urls, said, certificate)
            sys.stdout.flush()

        how: Any = {"until_stdin_closes": until_stdin_closes, "grace_s": grace, "certificate": certificate}
        if processes == 1:
            serve(app, server, ready, **how)
        else:
            serve_together(app, server, ready, processes, providers, **how)


def _read_quota(text: str | None) -> tuple[int | None, Literal[402, 403, 429]]:
    """The count and the status of COUNT[:STATUS]."""
    found = re.fullmatch(r"([0-9]{1,12})(?::(402|403|429))?", text or "0")
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
