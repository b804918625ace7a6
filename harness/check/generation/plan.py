"""What a plan consists of: its steps, each one request with its reasons and its price at the worst."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from testcard.harness.rules.rule import Expectation, KeyUse, Rule
from testcard.harness.rules.scope import Scope
from testcard.harness.runs.records import Case
from testcard.harness.wire.encode import build
from testcard.harness.wire.fields import WireFields, asked_record
from testcard.harness.wire.model import Headers, TaskRequest, WireRequest
from testcard.specs.loader import Provider

WRONG_KEY = "testcard-wrong-key-0000000000"


@dataclass(frozen=True)
class PlanStep:
    """One request of the plan. `request` carries no key yet (`key_use` says which it gets); `images` and `cost_usd` are the worst case.

    `number` is its place in the plan and decides its exchange's id. `serves` lists the operation and rule that asked for it
    (an async task's rules ask another operation); `level` is the strongest of theirs, `softest` caps what it proves.
    `after` names the probe of the operation that has to be answered first; `alone`: no other request is under way meanwhile.
    `kind`: in which way a generated request is broken; once enough of a kind were carried out, more would show nothing new.
    `leads_to`: further requests that its answer may ask for, to fetch its pictures or to ask for its task.
    `spare`: all that it has is shown by others, so it is sent last, and only while the operation has pictures left.
    """

    number: int
    operation: str
    probe: str
    source: str
    fields: WireFields
    terms: TaskRequest
    expects: Expectation
    key_use: KeyUse
    base: str | None
    change: str
    place: str | None
    softest: str
    serves: tuple[tuple[str, str], ...]
    level: str
    first: bool
    billed: bool
    images: int
    cost_usd: float | None
    model: str | None
    media_type: str | None = None
    raw_body: bytes | None = None
    headers: Headers = ()
    after: str | None = None
    alone: bool = False
    kind: str | None = None
    spare: bool = False
    method: str | None = None
    leads_to: int = 0

    @property
    def id(self) -> str:
        """The id of its exchange."""
        return f"e{self.number:04d}"

    @property
    def elastic(self) -> bool:
        """Whether it is sent only while there is room for what it may cost (see `Allowance`)."""
        return self.kind is not None or self.spare

    @property
    def weight(self) -> int:
        """Pictures that it can be billed for at most; an answer of a chat counts as one."""
        return max(1, self.images) if self.billed else 0

    @property
    def rules(self) -> tuple[str, ...]:
        """Ids of the rules that asked for it."""
        return tuple(dict.fromkeys(rule for _, rule in self.serves))

    @property
    def asked(self) -> dict[str, Any]:
        """The task's terms, as the run folder keeps them."""
        return asked_record(self.terms)

    @property
    def case(self) -> Case:
        """What it is meant to show, as the run folder keeps it."""
        return Case(
            expects=self.expects,
            base=self.base,
            change=self.change,
            place=self.place,
            level=self.softest,  # type: ignore[arg-type] # `none` never reaches a plan
            rules=list(self.rules),
        )

    def wire(self, provider: Provider, base_url: str, api_key: str | None) -> WireRequest:
        """The request as it is sent, with the key that it is meant to carry."""
        key = {"right": api_key, "none": None, "wrong": WRONG_KEY}[self.key_use]
        stream = self.terms.stream is True
        request = build(
            provider, self.fields, base_url=base_url, api_key=key, media_type=self.media_type, headers=self.headers, stream=stream
        )
        return altered(request, self.method, self.raw_body)


@dataclass(frozen=True)
class Plan:
    """All steps in order, the scopes they belong to, and the rules that judge them."""

    provider: Provider
    scopes: tuple[Scope, ...]
    rules: tuple[Rule, ...]
    steps: tuple[PlanStep, ...]
    seed: int

    def of(self, operation: str) -> tuple[PlanStep, ...]:
        """The steps of one operation."""
        return tuple(step for step in self.steps if step.operation == operation)


def altered(request: WireRequest, method: str | None, raw_body: bytes | None) -> WireRequest:
    """The request with another method or other bytes; without any bytes it names no content type either."""
    if raw_body is not None:
        headers = request.headers if raw_body else tuple(pair for pair in request.headers if pair[0] != "content-type")
        request = replace(request, body=raw_body, headers=headers)
    return request if method is None else replace(request, method=method)


def describe(plan: Plan) -> list[Mapping[str, Any]]:
    """The plan as data: what is sent, why, and what it costs at most."""
    return [
        {
            "id": step.id,
            "operation": step.operation,
            "probe": step.probe,
            "change": step.change,
            "expects": step.expects,
            "rules": list(step.rules),
            "model": step.model,
            "billed": step.billed,
            "images": step.images,
            "cost_usd": step.cost_usd,
        }
        for step in plan.steps
    ]
