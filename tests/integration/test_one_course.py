"""The same odd servers through the sync client, the async client, a check and a load user: all four make the same of each.

Real sockets on this machine. The table is printed with `pytest -s`.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest

from testcard.harness.check.generation.plan import Plan, choose_rules, make_plan
from testcard.harness.check.running.runner import CheckSettings, carry_out
from testcard.harness.client import AddressNotAllowed, AsyncClient, Client, ClientError, Result, TaskFailed
from testcard.harness.pricing import Pricing
from testcard.harness.rules.evidence import SeenExchange, see
from testcard.harness.selftest.mock_runs import Memory
from testcard.harness.wire.decode import Phase, told
from testcard.specs.loader import Provider, load_provider
from testkit.odd_servers import DELIVERED, FAILED, INTERVAL_S, KEY, MODERATED, NO_END, NO_PICTURE, NOT_FOLLOWED, ODD, Asked, OddServers
from testkit.servers import answering

WHO = ("sync client", "async client", "check", "bench")


def provider_for(name: str) -> Provider:
    """The provider whose tasks are polled often and have the time that the server's table says."""
    odd = ODD[name]
    provider = load_provider(odd.provider)
    protocol = provider.profile.asynchronous
    if protocol is None:
        return provider
    hasty = protocol.model_copy(update={"poll_interval_s": INTERVAL_S, "timeout_s": odd.limit_s})
    return replace(provider, profile=provider.profile.model_copy(update={"asynchronous": hasty}))


# What each of them says, in the words of the table.


def terms_of(name: str) -> dict[str, Any]:
    odd = ODD[name]
    return {"operation": "generateQwen", "asynchronous": True} if odd.asynchronous else {"n": odd.n, "size": (1024, 1024)}


def of_client(error: ClientError | Result) -> str:
    match error:
        case Result():
            return DELIVERED
        case TaskFailed(moderated=True):
            return MODERATED
        case TaskFailed() if "came to no end" in error.message:
            return NO_END
        case TaskFailed() if "ended as failed" in error.message:
            return FAILED
        case AddressNotAllowed() if "picture" in error.message:
            return NO_PICTURE
        case _ if "picture" in error.message:
            return NO_PICTURE
    return NOT_FOLLOWED if "task" in error.message else f"{type(error).__name__}: {error}"


def sync_client(name: str, base_url: str) -> str:
    with Client(provider_for(name), base_url=base_url, api_key=KEY, live=ODD[name].live) as client:
        try:
            return of_client(client.generate("x", **terms_of(name)))
        except ClientError as error:
            return of_client(error)


def async_client(name: str, base_url: str) -> str:
    async def ask() -> str:
        async with AsyncClient(provider_for(name), base_url=base_url, api_key=KEY, live=ODD[name].live) as client:
            try:
                return of_client(await client.generate("x", **terms_of(name)))
            except ClientError as error:
                return of_client(error)

    return asyncio.run(ask())


def plan_for(name: str) -> Plan:
    """One request of a check's plan: a submission, or one for as many pictures."""
    odd, provider = ODD[name], provider_for(name)
    rules, operation = (("async.accepted",), "generateQwen") if odd.asynchronous else (("image.count",), "createImage")
    plan = make_plan(provider, Pricing(provider, mock=True), rules=choose_rules(rules), operations=(operation,), cases=False)
    step = next(one for one in plan.steps if bool(one.terms.asynchronous) == bool(odd.asynchronous) and (one.terms.n or 1) == odd.n)
    # Of probes, tasks are looked at once more after their end; that is the check's own wish.
    return replace(plan, steps=(replace(step, source="schema-case", after=None),))


def check(name: str, base_url: str) -> str:
    odd, plan, memory = ODD[name], plan_for(name), Memory()
    settings = CheckSettings(base_url, KEY, 1, live=odd.live)
    asyncio.run(carry_out(plan, settings, Pricing(plan.provider, mock=True), memory))
    first, *_ = see(plan.provider, memory.exchanges, memory.bytes_of, live=odd.live)
    return of_check(plan.provider, first, odd.limit_s)


def of_check(provider: Provider, seen: SeenExchange, limit_s: float) -> str:
    protocol = provider.profile.asynchronous
    if seen.waiting is None:
        return DELIVERED if seen.pictures and all(one.info is not None for one in seen.pictures) else NO_PICTURE
    heard = [one.answer.task for one in (seen, *seen.polls) if one.accepted and one.answer is not None and one.answer.task is not None]
    ended = [said.phase for said in (told(protocol, task) for task in heard) if said.over] if protocol else []
    if ended and ended[0] is not Phase.COMPLETED:
        return MODERATED if ended[0] is Phase.MODERATED else FAILED
    took_s = seen.polls[-1].exchange.done_s - seen.exchange.done_s if seen.polls else 0.0
    return NO_END if took_s >= 0.99 * limit_s else NOT_FOLLOWED


#: Sends what it is told as load users do, in a process that Locust has patched; prints the outcome of each.
BENCH = """
import json, sys
import locust
import gevent
from dataclasses import replace
from testcard.benchmarks.judging.judge import judge
from testcard.benchmarks.load.drive import perform
from testcard.benchmarks.net.transport import Timeouts, Transport, clock
from testcard.benchmarks.plan.asks import asks
from testcard.benchmarks.plan.cells import Attempt, Cell
from testcard.harness.pricing import Pricing
from testcard.harness.wire.model import TaskRequest
from testcard.specs.loader import load_provider

def ask(one):
    provider = load_provider(one["provider"])
    protocol = provider.profile.asynchronous
    if protocol is not None:
        protocol = protocol.model_copy(update={"poll_interval_s": one["interval_s"]})
        provider = replace(provider, profile=provider.profile.model_copy(update={"asynchronous": protocol}))
    operation = one["terms"].pop("operation", "createImage")
    terms = {key: tuple(value) if isinstance(value, list) else value for key, value in one["terms"].items()}
    ready = asks(provider, operation, [TaskRequest("generate", "x", **terms)], base_url=one["base_url"], api_key=one["key"], fresh_seeds=False)
    cell = Cell(0, 0, "x", provider, operation, None, one["base_url"], one["key"], one["live"], Pricing(provider, True), ready, [], [None], 0.0)
    transport = Transport(Timeouts(whole_s=one["limit_s"]))
    attempt = Attempt(cell, 0, 1, "s", False, clock())
    perform(attempt, transport.prepare(ready[0].wire), transport, lambda: True)
    return judge(attempt).outcome

jobs = [gevent.spawn(ask, one) for one in json.load(sys.stdin)]
gevent.joinall(jobs, raise_error=True)
print(json.dumps([job.value for job in jobs]))
"""
OF_BENCH = {
    "ok": DELIVERED,
    "invalid-picture": NO_PICTURE,
    "timeout": NO_END,
    "server-error": FAILED,
    "policy": MODERATED,
    "broken": NOT_FOLLOWED,
}


def bench(servers: OddServers, environment: dict[str, str]) -> dict[str, str]:
    asked = [
        {
            "provider": odd.provider,
            "base_url": servers.base_url(name, "bench"),
            "key": KEY,
            "live": odd.live,
            "limit_s": odd.limit_s,
            "interval_s": INTERVAL_S,
            "terms": terms_of(name),
        }
        for name, odd in ODD.items()
    ]
    done = subprocess.run(
        [sys.executable, "-c", BENCH], input=json.dumps(asked), capture_output=True, text=True, timeout=120, env=environment
    )
    assert done.returncode == 0, done.stderr
    return {name: OF_BENCH.get(word, word) for name, word in zip(ODD, json.loads(done.stdout.splitlines()[-1]), strict=True)}


# What came of it.


class Table:
    """How each server ended for each of the four, and what it was asked by them."""

    def __init__(self, ends: dict[tuple[str, str], str], asked: dict[tuple[str, str], Asked]) -> None:
        self.ends = ends
        self.asked = asked

    def __str__(self) -> str:
        rows = [["server", *WHO], *([name, *(self._cell(name, who) for who in WHO)] for name in ODD)]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)

    def _cell(self, name: str, who: str) -> str:
        asked = self.asked[name, who]
        return f"{self.ends[name, who]} (requests {len(asked.lines)}, polls {asked.polls})"


@pytest.fixture(scope="module")
def table() -> Table:
    """Everybody against every server, once."""
    servers = OddServers()
    with answering(servers) as server, pytest.MonkeyPatch.context() as patch:
        servers.port = server.port
        for name in [variable for variable in os.environ if variable.lower().endswith("_proxy")]:
            patch.delenv(name)
        patch.setenv("HTTP_PROXY", server.url)
        patch.setenv("NO_PROXY", "127.0.0.1,localhost")
        ends = {(name, "bench"): end for name, end in bench(servers, dict(os.environ)).items()}
        for name in ODD:
            ends[name, "sync client"] = sync_client(name, servers.base_url(name, "sync client".replace(" ", "-")))
            ends[name, "async client"] = async_client(name, servers.base_url(name, "async-client"))
            ends[name, "check"] = check(name, servers.base_url(name, "check"))
        asked = {(name, who): servers.asked[name, who.replace(" ", "-")] for name in ODD for who in WHO}
    found = Table(ends, asked)
    print(f"\n{found}")
    return found


@pytest.mark.parametrize("name", ODD)
def test_all_make_the_same_of_a_server(table: Table, name: str) -> None:
    """One word for how it ended, and it is the right one."""
    assert {who: table.ends[name, who] for who in WHO} == dict.fromkeys(WHO, ODD[name].ends)


@pytest.mark.parametrize("name", [name for name, odd in ODD.items() if odd.ends != NO_END])
def test_all_ask_a_server_the_same(table: Table, name: str) -> None:
    """The same requests in the same order, pictures in any; each with the key, or each without it."""
    asked = {who: table.asked[name, who].lines for who in WHO}
    assert {who: sorted(lines) for who, lines in asked.items()} == dict.fromkeys(WHO, sorted(asked["sync client"]))
    firsts = {who: [line for line, _ in lines if "/v2/" in line] for who, lines in asked.items()}
    assert firsts == dict.fromkeys(WHO, firsts["sync client"])


def test_nothing_billed_is_sent_twice(table: Table) -> None:
    """One submission each, whatever came of it."""
    for key, asked in table.asked.items():
        assert sum(line.startswith("POST") for line, _ in asked.lines) == 1, key


def test_the_key_goes_to_the_target_only(table: Table) -> None:
    """Submission and polls at home carry it; another host, and a picture, never get it."""
    for key, asked in table.asked.items():
        for line, keyed in asked.lines:
            at_home = line.startswith("POST") or line.endswith(("/v2/tasks/t1", "/keyed", "/gone"))
            assert keyed == at_home, (key, line)


@pytest.mark.parametrize("name", ["Retry-After on a poll", "Retry-After on the acceptance"])
def test_all_obey_a_retry_after(table: Table, name: str) -> None:
    """The next poll comes no sooner than it asks."""
    for who in WHO:
        times = table.asked[name, who].times
        assert max(after - before for before, after in itertools.pairwise(times)) >= 0.99, who


@pytest.mark.parametrize("name", ["never ends", "5xx for ever"])
def test_all_poll_less_and_less_often(table: Table, name: str) -> None:
    """At a fixed interval of 2 ms it would be 250 polls; growing by a tenth each time it is 34, with waits doubled after failures 8."""
    for who in WHO:
        assert table.asked[name, who].polls <= (36 if name == "never ends" else 12), who
