"""`testcard replay`: one recorded exchange sent again."""

from __future__ import annotations

import asyncio
import difflib
import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from testcard.harness.check.running.following import carried_out
from testcard.harness.check.running.resend import (
    ComparedAnswer,
    Difference,
    differences,
    most_billed,
    moved,
    needs_key,
    request_again,
)
from testcard.harness.check.running.transport import Received, http_client, send
from testcard.harness.cli import say
from testcard.harness.cli.options import PATH, config_option, json_option
from testcard.harness.config import Config, PricesSection, load_config
from testcard.harness.errors import Exit, TargetUnreachable, UsageError
from testcard.harness.pricing import Pricing
from testcard.harness.redaction import Redactor
from testcard.harness.runs.folder import RunReader
from testcard.harness.runs.records import Exchange, TargetRecord
from testcard.harness.targets import KEY_ENV, checked_base_url, is_loopback, read_key, require_live
from testcard.harness.text.words import amount, count, one_line
from testcard.harness.wire.addresses import fetchable, origin
from testcard.harness.wire.course import Conditions, Download, Send, Steps, download
from testcard.harness.wire.model import WireRequest
from testcard.specs.loader import Provider, load_provider
from testcard.specs.profile import MOCK_API_KEY


@click.command()
@click.argument("run", type=PATH)
@click.argument("exchange", required=False)
@click.option("--list", "as_list", is_flag=True, help="Print the run's exchanges, one a line; send nothing.")
@click.option("--base-url", default=None, help="Send it there instead of where it went.")
@click.option("--live", is_flag=True, help="Allow a target that is not on this machine, and answers that lead off it.")
@click.option("--api-key-file", type=PATH, metavar="FILE", help="Read the key from a file instead of from a variable.")
@config_option
@json_option("both answers and what differs")
def replay(
    run: Path,
    exchange: str | None,
    as_list: bool,
    base_url: str | None,
    live: bool,
    api_key_file: Path | None,
    config_file: Path | None,
    as_json: bool,
) -> int:
    """Send EXCHANGE of the run folder RUN again, and print both answers and what differs.

    The key is put back from the environment. The run folder stays as it is.

    Example: testcard replay testcard-runs/check-20260101-120000 e0042
    """
    reader = RunReader(run)
    if reader.run.kind != "check" or not reader.run.targets:
        inside = ", ".join(str(child.folder) for child in reader.children() if child.run.kind == "check")
        raise UsageError(f"{run} is no run of a check", hint=f"it holds {inside}" if inside else "name a folder that testcard check wrote")
    if as_list:
        return _list(reader, as_json)
    chosen = _chosen(reader, exchange)
    config = load_config(config_file)
    target = reader.run.targets[0]
    provider = load_provider(target.provider, config.providers.path)
    request = _request(reader, chosen, provider, target, base_url, live, api_key_file)
    _say_price(provider, chosen, target, request.url, config)
    redactor = Redactor(_key_of(request, provider), provider.profile.auth)
    follow = chosen.source == "fetch" and not _was_redirected(chosen)
    sent = asyncio.run(_send(request, provider, follow=follow, live=live))
    if sent.failure in ("connect", "tls"):
        hint = f"testcard mock {provider.id} --port {origin(request.url)[2]} starts one there" if target.mock else "check the address"
        raise TargetUnreachable(f"nothing answers at {request.url} ({sent.detail})", hint=f"{hint}, or name another with --base-url")
    before = ComparedAnswer.recorded(chosen, reader.bytes_of(chosen.response.body) if chosen.response is not None else b"")
    now = ComparedAnswer.sent(sent, redactor.content(sent.body), redactor.headers(list(sent.headers)))
    found = differences(before, now, _json)
    if as_json:
        click.echo(json.dumps(_record(chosen, request, before, now, found), indent=2, ensure_ascii=False))
    else:
        for line in _lines(chosen, request, before, now, found):
            click.echo(one_line(line))
    return Exit.PASS


def _chosen(reader: RunReader, name: str | None) -> Exchange:
    how = f"testcard replay {reader.folder} --list prints them"
    if name is None:
        raise UsageError("which exchange is to be sent again?", hint=how)
    known = []
    for one in reader.exchanges():
        if one.id == name:
            return one
        known.append(one.id)
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.6)
    raise UsageError(f"{reader.folder} has no exchange {name}", hint=(f"did you mean {' or '.join(near)}? " if near else "") + how)


def _request(
    reader: RunReader, chosen: Exchange, provider: Provider, target: TargetRecord, base_url: str | None, live: bool, key_file: Path | None
) -> WireRequest:
    """The request as it will be sent. The key goes only where a person, or the provider's profile, says that it may."""
    wanted = checked_base_url(base_url) if base_url is not None else None
    url = moved(chosen.request.url, target.base_url, wanted)
    if not fetchable(url):
        raise UsageError(f"{chosen.id} was sent to no address that can be asked again")
    require_live(url, live)
    key = None
    if needs_key(chosen):
        homes = [wanted] if wanted is not None else [*provider.profile.base_urls]
        if not is_loopback(url) and origin(url) not in [origin(home) for home in homes]:
            raise UsageError(
                f"the run was recorded at {target.base_url}, which is no documented address of {provider.profile.name}",
                hint="name it with --base-url, if the key may go there",
            )
        key = read_key(provider, key_file)
        if key is None and not is_loopback(url):
            variables = f"{KEY_ENV} or {provider.profile.auth.key_env}"
            raise UsageError(f"there is no key for {provider.profile.name}", hint=f"set {variables}, or name a file with --api-key-file")
        key = key or MOCK_API_KEY
    return request_again(chosen, reader.bytes_of(chosen.request.body), url=url, api_key=key)


def _key_of(request: WireRequest, provider: Provider) -> str | None:
    """The key that the request carries, so that the answer can be shown without it."""
    header = provider.profile.auth.header
    if header is None:
        return None
    return next((value.removeprefix(header.prefix) for name, value in request.headers if name.lower() == header.name.lower()), None)


def _say_price(provider: Provider, chosen: Exchange, target: TargetRecord, url: str, config: Config) -> None:
    """Says what the request can cost before it is sent."""
    most = most_billed(provider, chosen)
    if most is None:
        return
    pricing = Pricing(provider, target.mock and is_loopback(url), config.prices.get(provider.id, PricesSection()))
    price = pricing.price(chosen.model, chosen.operation)
    most_usd = price.usd(most) if price is not None else None
    cost = "no price is known" if most_usd is None else f"at most {amount(most_usd)}"
    note = " (illustrative prices)" if price is not None and pricing.origin == "illustrative" else ""
    what = count(most.images, "image") if most.images else "tokens"
    say(f"This request is billed when it is carried out: {what}, {cost}{note}.")


def _was_redirected(chosen: Exchange) -> bool:
    """Whether the recorded answer sent its reader on: where to is an exchange of its own, and can be sent again by itself."""
    return chosen.response is not None and 300 <= chosen.response.status < 400


async def _send(request: WireRequest, provider: Provider, *, follow: bool, live: bool) -> Received:
    """What comes of the request; with `follow`, at the end of its redirects."""
    start = time.monotonic()
    async with http_client(1, base_url=request.url) as client:

        async def exchanged(step: Send) -> Received:
            return await send(client, replace(request, url=step.request.url), lambda: time.monotonic() - start, fresh=step.fresh)

        async def waited(seconds: float) -> float:
            raise AssertionError("the way to a picture has no waits")

        if not follow:
            return await exchanged(Send(request, "submit"))
        conditions = Conditions(provider, request.operation, request.url, None, live=live)
        steps: Steps[Download[Received]] = download(conditions, request.url)
        found = await carried_out(steps, exchanged, waited)
        assert found.reply is not None, "the address itself may be asked"
        return replace(found.reply, sent_s=0.0)


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _lines(chosen: Exchange, request: WireRequest, before: ComparedAnswer, now: ComparedAnswer, found: list[Difference]) -> Iterator[str]:
    yield f"{chosen.id} · {chosen.operation} · {chosen.probe}" + (f" · {chosen.case.change}" if chosen.case and chosen.case.change else "")
    yield f"{request.method} {request.url}"
    rows = [
        ("", "recorded", "now"),
        ("status", _status(before), _status(now)),
        ("type", before.media_type or "–", now.media_type or "–"),
        ("bytes", str(len(before.body)), str(len(now.body))),
        ("time", f"{before.took_s:.3f} s", f"{now.took_s:.3f} s"),
    ]
    width = max(len(row[1]) for row in rows)
    for name, old, new in rows:
        yield f"  {name:<7} {old:<{width}}  {new}"
    if not found:
        yield "nothing differs"
        return
    yield "differences"
    for one in found:
        yield f"  {one.place}  {one.before} → {one.now}"


def _status(reply: ComparedAnswer) -> str:
    return str(reply.status) if reply.status is not None else f"none ({reply.failure})"


def _record(chosen: Exchange, request: WireRequest, before: ComparedAnswer, now: ComparedAnswer, found: list[Difference]) -> dict[str, Any]:
    def told(reply: ComparedAnswer) -> dict[str, Any]:
        return {
            "status": reply.status,
            "media_type": reply.media_type,
            "bytes": len(reply.body),
            "took_s": round(reply.took_s, 6),
            "failure": reply.failure,
        }

    return {
        "schema": "testcard.replay/1",
        "exchange": chosen.id,
        "operation": chosen.operation,
        "probe": chosen.probe,
        "method": request.method,
        "url": request.url,
        "recorded": told(before),
        "now": told(now),
        "same": not found,
        "differences": [{"place": one.place, "recorded": one.before, "now": one.now} for one in found],
    }


def _list(reader: RunReader, as_json: bool) -> int:
    """Prints every exchange: id, status, method, operation, probe, what it was to show."""
    listed = [
        {
            "id": one.id,
            "status": one.response.status if one.response is not None else None,
            "method": one.request.method,
            "operation": one.operation,
            "probe": one.probe,
            "source": one.source,
            "change": one.case.change if one.case is not None else "",
        }
        for one in reader.exchanges()
    ]
    if as_json:
        click.echo(json.dumps(listed, indent=2, ensure_ascii=False))
        return Exit.PASS
    width = max((len(str(one["id"])) for one in listed), default=0)
    for one in listed:
        what = " · ".join(str(part) for part in (one["operation"], one["probe"], one["change"] or one["source"]))
        click.echo(one_line(f"{one['id']:<{width}}  {one['status'] or '–':>3}  {one['method']:<4}  {what}"))
    return Exit.PASS
