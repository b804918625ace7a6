"""Counts what the check makes of seeded defects, with a criterion that a machine applies.

A defect counts on a server when it can be told there (some answer became another than the server's own) and can be proved there
(a rule that may rightly report it held on the server without it). It is caught when such a rule breaks, or when one that broke
before says something new. A defect whose rules all fail or prove nothing on the server as it is cannot be told from what is wrong
there anyway, and one that changes no answer is none.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from testcard.harness.check.generation.plan import Plan, make_plan
from testcard.harness.check.judging.verdicts import Conclusion, judge_records
from testcard.harness.check.running.runner import CheckSettings, carry_out
from testcard.harness.pricing import Pricing
from testcard.harness.rules.promises import RULES
from testcard.harness.selftest.mock_runs import POLL_INTERVAL_S, Memory, narrowed
from testcard.specs.loader import load_provider

from .defect import Defect, seeded

_BROKEN = ("fail", "deviates")


@dataclass(frozen=True)
class Verdict:
    """One defect on one server: whether any answer told it, the rules that held without it and may report it, those that did."""

    provider: str
    defect: str
    told: bool
    held: frozenset[str]
    reported: frozenset[str]

    @property
    def counts(self) -> bool:
        """Whether the check could have caught it."""
        return self.told and bool(self.held)

    @property
    def caught(self) -> bool:
        """Whether it did."""
        return bool(self.reported)

    @property
    def why_not(self) -> str:
        """Why it does not count."""
        return "changes no answer" if self.held else "its rules fail or prove nothing without it"


class Judge:
    """Checks servers of one provider, each given as an ASGI application that takes a key; plans are made once.

    `most_billed`: the most pictures (answers of a chat) that any check so far was billed for on one operation.
    """

    most_billed = 0

    def __init__(self, name: str, operations: Sequence[str] = ()) -> None:
        self.provider = load_provider(name)
        self._pricing = Pricing(self.provider, mock=True)
        chosen = tuple(operations) or tuple(self.provider.profile.operations)
        self.plan = make_plan(self.provider, self._pricing, rules=tuple(RULES.values()), operations=chosen, seed=0)

    def judged(self, app: Any, rules: Sequence[str] = ()) -> Conclusion:
        """The verdicts of everything that a check sends; with `rules`, of what those need."""
        plan = narrowed(self.plan, self.provider.profile.operations, rules) if rules else self.plan
        return self._carried_out(plan, app)

    def _carried_out(self, plan: Plan, app: Any) -> Conclusion:
        memory = Memory()
        settings = CheckSettings("http://127.0.0.1:1", app.key, poll_interval_s=POLL_INTERVAL_S)
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        carried = asyncio.run(carry_out(plan, settings, self._pricing, memory, transport=transport))
        billed: Counter[str] = Counter()
        for one in memory.exchanges:
            billed[one.operation] += max(one.images, 1) if one.billed else 0
        self.most_billed = max(self.most_billed, *billed.values())
        not_sent = carried.not_sent(plan)
        return judge_records(plan.scopes, plan.rules, memory.exchanges, memory.bytes_of, not_sent=not_sent, started=carried.started)


def reporters(wanted: Defect) -> list[str]:
    """The rules there are that may rightly report a defect."""
    return [rule for rule in RULES if rule.startswith(wanted.areas)]


def tally(judge: Judge, server: Callable[[], Any], defects: Sequence[Defect], *, own: Conclusion | None = None) -> list[Verdict]:
    """What becomes of these defects on a server, started anew for each. `own`: the verdicts on the server as it is.

    Each defect meets what its own rules need, and where they do not report it, everything that a check sends. One that cannot count,
    because none of its rules held without it, meets nothing.
    """
    own = own or judge.judged(server())
    held = {one.rule for one in own.verdicts if one.verdict == "pass"}
    known = {(one.operation, one.rule): _problems(one.detail) for one in own.verdicts if one.verdict in (*_BROKEN, "info")}
    found = []
    for wanted in defects:
        rules = reporters(wanted)
        provable = frozenset(held.intersection(rules))
        if not provable:
            found.append(Verdict(judge.provider.id, wanted.name, False, provable, frozenset()))
            continue
        here = seeded(server(), wanted)
        reported = _reported(judge.judged(here, rules), wanted, known)
        told = here.told
        if not reported:
            here = seeded(server(), wanted)
            reported = _reported(judge.judged(here), wanted, known)
            told = told or here.told
        found.append(Verdict(judge.provider.id, wanted.name, told, provable, reported))
    return found


def _reported(result: Conclusion, wanted: Defect, known: Mapping[tuple[str, str], frozenset[str]]) -> frozenset[str]:
    """The rules that may report the defect and say what they did not say of the server without it."""
    words = (*_BROKEN, "info") if wanted.noted else _BROKEN
    rules = set(reporters(wanted))
    return frozenset(
        one.rule
        for one in result.verdicts
        if one.verdict in words and one.rule in rules and _problems(one.detail) - known.get((one.operation, one.rule), frozenset())
    )


def _problems(detail: str) -> frozenset[str]:
    """What a finding says, one problem each, without how often and without numbers that no two runs share."""
    once = re.sub(r" \(\d+ times\)|(; )?and \d+ more$|\d+\.\d+|\d{4,}", "", detail)
    return frozenset(part.strip() for part in once.split("; ") if part.strip())


def lines(server: str, found: Sequence[Verdict]) -> list[str]:
    """The figure of one server, then what was missed and what does not count."""
    counted = [one for one in found if one.counts]
    missed = [one for one in counted if not one.caught]
    told = [
        f"{server}: caught {len(counted) - len(missed)} of {len(counted)} ({len(found)} seeded, {len(found) - len(counted)} cannot count)"
    ]
    told += [f"  missed: {one.provider} {one.defect}" for one in missed]
    return told + [f"  does not count: {one.provider} {one.defect}: {one.why_not}" for one in found if not one.counts]
