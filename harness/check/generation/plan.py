"""The plan of a check: every request that the chosen rules need, each once, in a fixed order, with its reasons, priced at its worst.

Equal requests of several rules are merged, so that one picture serves them all; only a probe that is there to see a request
answered twice is sent again. Order: the base requests, then what musts need, then the rest (see `_urgency`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Any, Literal

from testcard.harness.check.generation.schema_cases import SchemaCase, generate
from testcard.harness.check.judging.levels import level_of, softer
from testcard.harness.errors import ContractViolation, UsageError
from testcard.harness.pricing import Pricing
from testcard.harness.rules.promises import RULES
from testcard.harness.rules.promises.request import ACCEPTS, N_RANGE, REFUSES, STEP
from testcard.harness.rules.rule import Expectation, KeyUse, Probe, Rule
from testcard.harness.rules.scope import Scope
from testcard.harness.runs.records import Case
from testcard.harness.wire.billing import worst_case
from testcard.harness.wire.contract import open_to
from testcard.harness.wire.encode import build
from testcard.harness.wire.fields import WireFields, asked_record, task_terms, wire_fields
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


#: Rules that generated requests can belong to.
CASE_RULES = frozenset({ACCEPTS, REFUSES, STEP, N_RANGE})
#: Valid requests of an operation that show combinations of values, each of which another request shows already.
MOST_SPARE = 8
MOST_REFUSED = 40
#: Pictures that the requests which are sent in any case may come to in an operation, so that room is left for those that have to be refused.
MOST_CERTAIN = 37
_NO_LIMIT = 1000
_ORDER = {"must": 0, "should": 1, "info": 2, "none": 3}


@dataclass
class Draft:
    """A request while the plan is being collected: `fields` are worked out from the probe unless they are given.

    `kind` and `spare`: see `PlanStep`.
    """

    probe: Probe
    source: Literal["probe", "schema-case"]
    fields: WireFields | None = None
    media_type: str | None = None
    raw_body: bytes | None = None
    images: int = 0
    serves: list[tuple[str, str]] = field(default_factory=list)
    level: str = "none"
    kind: str | None = None
    spare: bool = False


def choose_rules(patterns: Sequence[str]) -> tuple[Rule, ...]:
    """The rules whose ids match one of the globs (all, for none); `UsageError` for a glob that matches nothing."""
    chosen: dict[str, Rule] = {}
    for pattern in patterns or ("*",):
        matching = [rule for rule in RULES.values() if fnmatchcase(rule.id, pattern)]
        if not matching:
            raise UsageError(f"--rule {pattern} matches no rule", hint=_other_rules(pattern))
        chosen.update((rule.id, rule) for rule in matching)
    return tuple(rule for rule in RULES.values() if rule.id in chosen)


def _other_rules(pattern: str) -> str:
    """What was probably meant by a glob that matches no rule: a rule like it, or one of this name in another area; else the areas."""
    areas = tuple(dict.fromkeys(rule.partition(".")[0] for rule in RULES))
    names = {rule.partition(".")[2]: rule for rule in RULES}
    near = get_close_matches(pattern, RULES, n=3) or [names[one] for one in get_close_matches(pattern.rpartition(".")[2], names, n=3)]
    if near:
        return f"did you mean {' or '.join(near)}? `testcard rules` lists all"
    area = get_close_matches(pattern.partition(".")[0], areas, n=1)
    return (
        f"did you mean {area[0]}.*?"
        if area
        else f"the areas are {', '.join(f'{one}.*' for one in areas)}; `testcard rules` lists all rules"
    )


def choose_operations(provider: Provider, named: Sequence[str], model: str | None) -> tuple[str, ...]:
    """The operations to check: those named, or all; with a model, those that offer it. `UsageError` names what exists.

    Where no operation lists the model, those whose document does not close its list are asked for it.
    """
    for operation in named:
        provider.operation(operation)
    operations = tuple(dict.fromkeys(named)) or tuple(provider.profile.operations)
    if model is None:
        return operations
    known = {one: provider.models(one) for one in operations if provider.profile.operations[one].kind != "task"}
    offering = tuple(one for one, models in known.items() if model in models)
    return offering or open_to(provider, tuple(known), model)


def make_plan(
    provider: Provider,
    pricing: Pricing,
    *,
    rules: Sequence[Rule],
    operations: Sequence[str],
    seed: int = 0,
    model: str | None = None,
    keyless: bool = False,
    cases: bool = True,
    only_for: Iterable[str] | None = None,
) -> Plan:
    """The plan for these rules and operations. `cases` adds generated schema cases; `only_for` limits the probes to what these rules ask for."""
    scopes = tuple(Scope(provider, operation, seed, model, keyless) for operation in operations)
    wanted = set(only_for) if only_for is not None else None
    drafts: dict[tuple[str, str], Draft] = {}
    for scope in scopes:
        applying = [
            (rule, level)
            for rule in rules
            if (level := level_of(scope, rule)) != "none" and rule.applies(scope) and (wanted is None or rule.id in wanted)
        ]
        for rule, level in applying:
            for probe in rule.asks(scope):
                kind = "sent again" if probe.repeat and probe.expects == "refuse" else None
                draft = Draft(probe, "probe", media_type=probe.media_type, raw_body=probe.raw_body, kind=kind)
                _add(drafts, scope, rule.id, level, draft)
        levels = {rule.id: level for rule, level in applying}
        if cases and not CASE_RULES.isdisjoint(levels):
            for rule_id, draft in case_drafts(scope):
                if rule_id in levels:
                    _add(drafts, scope, rule_id, softer(levels[rule_id], draft.probe.level), draft)
    places = {operation: place for place, operation in enumerate(operations)}

    def steps() -> tuple[PlanStep, ...]:
        ordered = sorted(drafts.values(), key=lambda draft: _urgency(draft, places.get(draft.probe.operation, 0)))
        return tuple(_step(provider, pricing, draft, number, keyless) for number, draft in enumerate(_merged(provider, ordered), 1))

    found = steps()
    crowding = _crowding(found)
    if crowding:
        for key in crowding:
            drafts[key].spare = True
        found = steps()
    return Plan(provider, scopes, tuple(rules), found, seed)


def _crowding(steps: Sequence[PlanStep]) -> list[tuple[str, str]]:
    """Rows of values, the last first, that would leave an operation no pictures for the requests that have to be refused: they become spare."""
    found: list[tuple[str, str]] = []
    for operation in dict.fromkeys(step.operation for step in steps):
        certain = [step for step in steps if step.operation == operation and not step.elastic]
        beyond = sum(step.weight for step in certain) - MOST_CERTAIN
        rows = [step for step in certain if step.source == "schema-case" and step.expects != "refuse" and not step.first and step.weight]
        for step in reversed(rows):
            if beyond <= 0:
                break
            beyond -= step.weight
            found.append((operation, step.probe))
    return found


def _urgency(draft: Draft, place: int) -> tuple[bool, bool, int, bool, int, bool, bool]:
    """What is sent first when money is short: bases, then musts; of those what one rule stands or falls with, before more of the same.

    What is sent alone stays together with the rest of its operation (the one at this place), so that it shows what that costs.
    """
    only_more = {rule for _, rule in draft.serves} <= {ACCEPTS}
    probe = draft.probe
    together = place if probe.alone and not probe.first else 0
    return (
        not probe.first,
        not (probe.first or probe.alone),
        together,
        draft.spare,
        _ORDER[draft.level],
        only_more,
        draft.source != "probe",
    )


def _add(drafts: dict[tuple[str, str], Draft], scope: Scope, rule_id: str, level: str, draft: Draft) -> None:
    """Adds a request for a rule, or adds the rule to those that asked for it already."""
    key = (draft.probe.operation, draft.probe.key)
    if key not in drafts:
        if draft.fields is None:
            draft.fields = _fields(scope.provider, draft.probe)
        if draft.fields is None:
            return
        drafts[key] = draft
    known = drafts[key]
    if (scope.operation_id, rule_id) not in known.serves:
        known.serves.append((scope.operation_id, rule_id))
    if _ORDER[level] < _ORDER[known.level]:
        known.level = level
    if draft.probe.alone:
        known.probe = replace(known.probe, alone=True)


def _fields(provider: Provider, probe: Probe) -> WireFields | None:
    """The probe in wire names, with its changes made; None where the operation has no field for what it asks."""
    if probe.path:
        return WireFields(probe.operation, dict(probe.path), dict(probe.put))
    try:
        fields = wire_fields(provider, probe.request, probe.operation)
    except ContractViolation:
        return None
    body = {name: value for name, value in fields.body.items() if name not in probe.remove}
    if probe.only is not None:
        body = {name: value for name, value in body.items() if name in probe.only}
    return replace(fields, body={**body, **probe.put})


def _merged(provider: Provider, drafts: Iterable[Draft]) -> list[Draft]:
    """The drafts without those whose request an earlier one sends already; their rules move to that one."""
    kept: list[Draft] = []
    by_request: dict[Any, Draft] = {}
    for draft in drafts:
        probe = draft.probe
        assert draft.fields is not None
        wire = build(provider, draft.fields, base_url="", api_key=None, media_type=draft.media_type, headers=probe.headers)
        wire = altered(wire, probe.method, draft.raw_body)
        identity = (wire.method, wire.url, wire.headers, wire.body, probe.key_use)
        earlier = by_request.get(identity)
        if earlier is None or probe.repeat:
            by_request.setdefault(identity, draft)
            kept.append(draft)
            continue
        earlier.serves += [pair for pair in draft.serves if pair not in earlier.serves]
        earlier.level = min(earlier.level, draft.level, key=_ORDER.__getitem__)
        earlier.spare = earlier.spare and draft.spare
        if draft.kind is None:
            earlier.kind = None
    return kept


def _step(provider: Provider, pricing: Pricing, draft: Draft, number: int, keyless: bool) -> PlanStep:
    probe = draft.probe
    assert draft.fields is not None
    changed = probe.remove or probe.put or probe.path or probe.only is not None or draft.source != "probe"
    terms = task_terms(provider, draft.fields, probe.request.task) if changed else probe.request
    profile = provider.operation_profile(probe.operation)
    model = terms.model or provider.default_model(probe.operation, terms.task)
    most = worst_case(provider, probe.operation, terms)
    most = replace(most, images=max(most.images, draft.images))
    price = pricing.price(model, probe.operation)
    return PlanStep(
        number=number,
        operation=probe.operation,
        probe=probe.key,
        source=draft.source,
        fields=draft.fields,
        terms=terms,
        expects=probe.expects,
        key_use="none" if keyless else probe.key_use,
        base=probe.base,
        change=probe.change,
        place=probe.place,
        softest=probe.level,
        serves=tuple(draft.serves),
        level=draft.level,
        first=probe.first,
        billed=profile.billed,
        images=most.images,
        cost_usd=None if price is None else price.usd(most),
        model=model,
        media_type=draft.media_type,
        raw_body=draft.raw_body,
        headers=probe.headers,
        after=probe.after,
        alone=probe.alone,
        kind=draft.kind,
        spare=draft.spare,
        method=probe.method,
        leads_to=_leads_to(provider, probe, terms, most.images),
    )


def _leads_to(provider: Provider, probe: Probe, terms: TaskRequest, images: int) -> int:
    """How many requests follow one that is carried out: a download for each picture, and two questions for its task or more."""
    if probe.expects not in ("accept", "may-refuse"):
        return 0
    response = provider.operation_profile(probe.operation).response
    fetched = images if response.url is not None and (terms.delivery or response.default_delivery) == "url" else 0
    return fetched + (2 if terms.asynchronous else 0)


def case_drafts(scope: Scope) -> Iterator[tuple[str, Draft]]:
    """The generated requests, each with the rule it belongs to (see `rule_of`)."""
    spare = 0
    for case in generate(
        scope.provider, scope.operation_id, seed=scope.seed, model=scope.model, max_positive=_NO_LIMIT, max_negative=MOST_REFUSED
    ):
        spare += case.spare
        if case.spare and spare > MOST_SPARE:
            continue
        if case.kind == "malformed":
            # http.malformed-refused asks for the same request.
            continue
        yield rule_of(scope, case), _draft(scope, case)


def rule_of(scope: Scope, case: SchemaCase) -> str:
    """The rule that a generated request shows: valid ones are accepted; of broken ones, a step and the range of n have rules of their own."""
    if case.positive:
        return ACCEPTS
    n = scope.profile.wire_name("n")
    own = STEP if case.kind == "off-step" else N_RANGE if case.parameter == n and case.kind in ("below-minimum", "above-maximum") else None
    if own is not None and RULES[own].applies(scope) and level_of(scope, RULES[own]) != "none":
        return own
    return REFUSES


def _draft(scope: Scope, case: SchemaCase) -> Draft:
    expects: Expectation = "refuse" if not case.positive else "may-refuse" if case.may_refuse else "accept"
    probe = Probe(
        case.id,
        scope.operation_id,
        case.request,
        expects,
        base=case.base,
        change=case.description,
        place=case.place,
        level=case.level,
    )
    kind = f"{case.kind}, near" if case.coercible else case.kind
    images = case.images if scope.gives_pictures else 0
    return Draft(probe, "schema-case", case.fields, case.media_type, case.raw, images, kind=kind, spare=case.spare)
