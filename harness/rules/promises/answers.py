"""Rules about what an answer says beside its pictures: its shape, the fields that are there, its time, its echoes, its counts of tokens, what it
cost and what is left.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any, cast

from testcard.harness.rules import probes
from testcard.harness.rules.evidence import (
    Observation,
    SeenExchange,
    answered_at,
    documented_method,
    ends_too_early,
    held_by_error_shape,
    kind_of,
    whole_number,
)
from testcard.harness.rules.rule import Probe, http_clause, openai_clause, rule
from testcard.harness.rules.schema_judge import judge
from testcard.harness.rules.scope import Scope
from testcard.harness.text.words import time_span
from testcard.harness.wire.model import Answer
from testcard.harness.wire.pictures import MEDIA_TYPES
from testcard.specs.pointers import at
from testcard.specs.profile import Meaning

# ── the documented shape ──────────────────────────────────────────────────────────────────────────────────────────────


def _is_answered(scope: Scope) -> bool:
    """Whether a check gets an answer that says something: what calls a task off is asked about none that there is, and what gives the
    result of a task is judged where its task was asked for, but for refusals that are described.
    """
    protocol = scope.provider.protocol(scope.operation_id)
    if protocol is None:
        return True
    if protocol.cancel is not None and protocol.cancel.operation == scope.operation_id:
        return False
    gives_results = protocol.result_from is not None and protocol.result_from.operation == scope.operation_id
    return not gives_results or any(not status.startswith("2") and one.get("content") for status, one in scope.operation.responses.items())


def _answered_by(scope: Scope, one: SeenExchange) -> str | None:
    """The operation whose document an answer is held to; None for one that no document describes."""
    if documented_method(scope, one):
        return scope.operation_id
    protocol = scope.provider.protocol(scope.operation_id)
    gives = protocol.result_from if protocol is not None and one.exchange.source == "poll" else None
    return gives.operation if gives is not None else None


@rule("schema.response", level="must", clause=http_clause("8.3 Content-Type"), applies=_is_answered, asks=probes.any_answer)
def response_schema(scope: Scope, seen: Sequence[SeenExchange]) -> Iterable[Observation]:
    """Every answer has the body that the OpenAPI document describes for its status.

    What kind of body it is, whether it arrived whole and what it is called are judged by http.media-type and http.body-complete;
    an undocumented method has no documented answer. A null where a property could have been left out is only noted: lenient
    readers treat the two alike.
    """
    for one in seen:
        response = one.exchange.response
        operation = _answered_by(scope, one)
        if response is None or one.exchange.source == "fetch" or not response.complete or operation is None:
            continue
        if one.status != one.http_status:  # an error that is sent as a success holds nothing of what a success has to hold
            continue
        judgement = judge(scope.provider, operation, status=response.status, headers=response.headers, body=one.body)
        if judgement.not_judged is not None:
            continue
        problems = [problem for problem in judgement.problems if problem.keyword != "media-type"]
        if _something_else(one) or (judgement.problems and not problems and one.answer is not None and one.answer.json is None):
            continue
        if problems and held_by_error_shape(scope, one):
            continue
        hard = [problem for problem in problems if not problem.null_for_optional]
        for problem in hard:
            where = problem.place or "the body"
            detail = f"status {response.status}: {where} {problem.message}"
            yield Observation("broken", detail, (one.id,), problem.place, line=problem.line)
        if problems and not hard:
            places = ", ".join(problem.place for problem in problems)
            detail = f"null where a property might have been left out: {places}"
            yield Observation("note", detail, (one.id,), problems[0].place, line=problems[0].line)
        if not problems:
            yield Observation("pass", exchanges=(one.id,))


def _something_else(one: SeenExchange) -> bool:
    """Whether the body is no JSON at all but a page or a picture, or only the beginning of some: no schema is needed to say so."""
    if one.answer is None or one.answer.json is not None:
        return False
    return kind_of(one.body, is_json=False) is not None or ends_too_early(one.body)


#: Clocks of two machines may be this far apart, in seconds. Less than a time zone's step, which is a mistake.
SKEW_S = 600.0
#: Unix seconds of the year 5138: what is above counts something smaller.
_TOO_LATE = 1e11
_SAME_FORMAT = {"jpg": "jpeg", **{media_type: kind for kind, media_type in MEDIA_TYPES.items()}}


def _read(seen: Sequence[SeenExchange]) -> Iterator[tuple[SeenExchange, Answer]]:
    """Carried out requests with an answer that can be read; a task that is not finished and what is no JSON are other rules'."""
    for one in seen:
        if one.carried_out and one.answer is not None and one.answer.task is None and isinstance(one.answer.json, dict | list):
            yield one, one.answer


# ── fields ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _container(scope: Scope) -> str | None:
    """Where the answer lists what was asked for, as a JSON pointer."""
    if scope.profile.kind == "chat":
        return "/choices"
    pictures = scope.profile.response.pictures
    return pictures.partition("/*")[0] if pictures is not None and scope.task is not None else None


def _has_a_container(scope: Scope) -> bool:
    """Whether there is one, in the answer itself: where every request becomes a task, it is in what a poll answers."""
    protocol = scope.provider.protocol(scope.operation_id) if scope.task is not None else None
    return bool(_container(scope)) and (protocol is None or protocol.flag is not None)


@rule(
    "answer.required-fields",
    level="must",
    clause=openai_clause("Response objects"),
    applies=_has_a_container,
    asks=probes.base,
)
def required_fields(scope: Scope, seen: Sequence[SeenExchange]) -> Iterable[Observation]:
    """The field that holds what was asked for is there, even where the schema does not require it.

    An empty list counts as there; how many pictures or choices belong in it is judged by other rules.
    """
    place = _container(scope) or ""
    name = place.lstrip("/").replace("/", ".")
    for one, answer in _read(seen):
        value = at(answer.json, place)
        if value is None:
            others = ", ".join(list(map(str, answer.json))[:8]) or "nothing"
            yield Observation("broken", f"the answer has no {name}; it has {others}", (one.id,), place)
        elif isinstance(value, list) or _is_one_picture(scope):
            yield Observation("pass", exchanges=(one.id,))
        else:
            yield Observation("unproven", f"{name} is no list", (one.id,), place)


def _is_one_picture(scope: Scope) -> bool:
    """Whether the answer keeps one picture and no list of them."""
    pictures = scope.profile.response.pictures
    return scope.profile.kind != "chat" and pictures is not None and not pictures.endswith("/*")


# ── time ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _says_when(scope: Scope) -> bool:
    return scope.profile.response.created is not None


@rule("answer.created-now", level="should", clause=openai_clause("Image object · created"), applies=_says_when, asks=probes.base)
def created_now(scope: Scope, seen: Sequence[SeenExchange]) -> Iterable[Observation]:
    """The answer says in Unix seconds when it was made, and that lies between the request and the answer.

    Compared with the answer's Date header and with the clock of the run; it has to agree with one of them to within ten minutes.
    """
    for one, answer in _read(seen):
        if answer.created is None:
            yield Observation("unsupported", "the answer does not say when it was made", (one.id,))
        elif isinstance(answer.created, bool) or not isinstance(answer.created, int | float):
            yield Observation("unproven", "created is no number", (one.id,))
        else:
            yield _timely(scope, one, float(answer.created))


def _timely(scope: Scope, one: SeenExchange, created: float) -> Observation:
    place = scope.profile.response.created
    if not 0 <= created < _TOO_LATE:
        return Observation("broken", f"created is {created:.0f}, which is no time in Unix seconds", (one.id,), place)
    exchange = one.exchange
    clocks = [now for now in (answered_at(exchange), None if scope.started is None else scope.started + exchange.done_s) if now is not None]
    if not clocks:
        return Observation("unproven", "neither the answer nor the run says when it was", (one.id,))
    earliest = exchange.done_s - exchange.sent_s + SKEW_S
    if any(now - earliest <= created <= now + SKEW_S for now in clocks):
        return Observation("pass", exchanges=(one.id,))
    off = min((created - now for now in clocks), key=abs)
    when = datetime.fromtimestamp(created, UTC).isoformat(timespec="seconds")
    return Observation("broken", f"created is {when}, {time_span(off)} {'after' if off > 0 else 'before'} the answer", (one.id,), place)


# ── echoes ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _echoes(scope: Scope) -> bool:
    return bool(scope.profile.response.echoes)


def _echoed_requests(scope: Scope) -> Iterator[Probe]:
    yield from probes.sizes(scope)
    yield from probes.formats(scope)


@rule("answer.echo", level="should", clause=openai_clause("Image object"), applies=_echoes, asks=_echoed_requests)
def echo(scope: Scope, seen: Sequence[SeenExchange]) -> Iterable[Observation]:
    """Where the answer repeats a field of the request, it says what was asked for, or auto.

    A request for auto, or for nothing in particular, may be told anything.
    """
    for one, answer in _read(seen):
        for meaning, echoed in answer.echoes.items():
            asked = _wire_word(scope, meaning, one.asked.get(meaning))
            if asked is None or asked == "auto" or echoed is None:
                continue
            if _same_word(echoed, asked) or echoed == "auto":
                yield Observation("pass", exchanges=(one.id,))
            else:
                place = next(pointer for name, pointer in scope.profile.response.echoes.items() if name == meaning)
                yield Observation("broken", f"{meaning} {asked} was asked for, the answer says {str(echoed)[:60]}", (one.id,), place)


def _wire_word(scope: Scope, meaning: str, asked: Any) -> str | None:
    """A term as the wire spells it."""
    if asked is None:
        return None
    if isinstance(asked, list | tuple):
        return "x".join(map(str, asked))
    found = scope.field(cast("Meaning", meaning))
    return str(found[1].values.get(str(asked), asked) if found is not None else asked)


def _same_word(one: Any, other: Any) -> bool:
    first, second = (str(word).lower() for word in (one, other))
    return _SAME_FORMAT.get(first, first) == _SAME_FORMAT.get(second, second)


# ── tokens ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _counts_tokens(scope: Scope) -> bool:
    return bool(scope.profile.response.usage)


def _counts(one: SeenExchange) -> Mapping[str, Any]:
    """The counts that an answer states, streamed ones too."""
    usage = one.answer.usage if one.answer is not None else None
    if not one.carried_out or usage is None:
        return {}
    stated = {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
    }
    return {name: value for name, value in stated.items() if value is not None}


@rule("answer.usage-integers", level="should", clause=openai_clause("usage"), applies=_counts_tokens, asks=probes.base)
def usage_integers(scope: Scope, seen: Sequence[SeenExchange]) -> Iterable[Observation]:
    """Token counts are whole numbers, and not negative.

    A count that is no number at all is judged by schema.response; a count that is not stated is not judged.
    """
    stated = False
    for one in seen:
        for name, value in _counts(one).items():
            stated = True
            place = next((pointer for kind, pointer in scope.profile.response.usage.items() if kind == name), None)
            whole = whole_number(value)
            if isinstance(value, bool) or not isinstance(value, int | float):
                yield Observation("unproven", f"{name} is no number", (one.id,), place)
            elif whole is None or whole < 0:
                yield Observation("broken", f"{name} is {value}", (one.id,), place)
            else:
                yield Observation("pass", exchanges=(one.id,))
    if not stated:
        yield from (Observation("unsupported", "the answer states no usage", (one.id,)) for one, _ in _read(seen))


@rule("answer.usage-sum", level="should", clause=openai_clause("usage · total_tokens"), applies=_counts_tokens, asks=probes.base)
def usage_sum(scope: Scope, seen: Sequence[SeenExchange]) -> Iterable[Observation]:
    """The total of tokens is the sum of input and output tokens.

    Where the document has no count of output tokens, or the answer states none, the total is at least the other.
    """
    apart = "completion_tokens" in scope.profile.response.usage
    for one in seen:
        counts = {name: number for name, value in _counts(one).items() if (number := whole_number(value)) is not None}
        into, out, total = (counts.get(name) for name in ("prompt_tokens", "completion_tokens", "total_tokens"))
        if total is None or (into is None and out is None):
            continue
        place = scope.profile.response.usage.get("total_tokens")
        if apart and into is not None and out is not None:
            adds_up = total == into + out
            yield (
                Observation("pass", exchanges=(one.id,))
                if adds_up
                else Observation("broken", f"{into} + {out} tokens are given as {total} in all", (one.id,), place)
            )
        elif into is not None and total < into:
            yield Observation("broken", f"{into} tokens went in, the total is {total}", (one.id,), place)
        elif out is not None and total < out:
            yield Observation("broken", f"{out} tokens came out, the total is {total}", (one.id,), place)
        elif not apart:
            yield Observation("pass", exchanges=(one.id,))


# ── what it cost, and what is left ────────────────────────────────────────────────────────────────────────────────────

#: Sums of binary fractions are off by less than this, in USD.
_DUST_USD = 1e-6


def _cost_place(scope: Scope) -> str | None:
    amount = scope.profile.response.cost
    return amount.at if amount is not None else None


def _balance_place(scope: Scope) -> str | None:
    amount = scope.profile.response.balance
    return amount.at if amount is not None else None


def _states_cost(scope: Scope) -> bool:
    return scope.profile.response.cost is not None and scope.task is not None


def _states_balance(scope: Scope) -> bool:
    return _states_cost(scope) and scope.profile.response.balance is not None


def _paid(seen: Sequence[SeenExchange]) -> Iterator[tuple[SeenExchange, float | None]]:
    """Carried out requests with the cost that their answer states."""
    for one in seen:
        if one.carried_out and one.answer is not None and one.answer.task is None and one.answer.problem is None:
            yield one, one.answer.cost_usd


@rule("answer.cost-not-negative", level="should", clause=openai_clause("usage"), applies=_states_cost, asks=probes.base)
def cost_not_negative(scope: Scope, seen: Sequence[SeenExchange]) -> Iterable[Observation]:
    """The cost that an answer states is an amount, and not negative."""
    for one, cost in _paid(seen):
        if cost is None:
            yield Observation("unsupported", "the answer states no cost", (one.id,))
        elif cost < 0 or not math.isfinite(cost):
            seen_as = f"the cost is {cost:g}" if math.isfinite(cost) else "the cost is beyond every number"
            yield Observation("broken", seen_as, (one.id,), _cost_place(scope))
        else:
            yield Observation("pass", exchanges=(one.id,))


def _one_at_a_time(scope: Scope) -> Iterator[Probe]:
    """Requests that other rules ask for as well, sent with no other under way: one twice as expensive, one repeated, one with another prompt."""
    assert scope.task is not None
    yield from probes.base(scope)
    for probe in (*probes.several(scope), *probes.seed_pair(scope), *probes.another_prompt(scope)):
        if not probe.first:
            yield replace(probe, alone=True)


@rule("answer.balance-falls", level="should", clause=openai_clause("usage"), applies=_states_balance, asks=_one_at_a_time, evidence="pair")
def balance_falls(scope: Scope, seen: Sequence[SeenExchange]) -> Iterable[Observation]:
    """The balance after a request is the balance before it less its cost, when requests run one at a time.

    Others may use the same account, so that a step may be off: the rule is broken only where not one of several steps fits.
    """
    exact = _exactness(scope, [one for one, _ in _paid(seen)])
    fitting: list[Observation] = []
    others: list[Observation] = []
    for ids, old, new, cost in _falls(scope, seen):
        if cost <= exact:
            others.append(Observation("unproven", f"the balance is too coarse to show a cost of {cost:g}", ids))
        elif abs(old - new - cost) <= exact:
            fitting.append(Observation("pass", exchanges=ids))
        else:
            fell = "did not change" if abs(old - new) <= exact else f"fell by {old - new:.6g}" if old > new else f"rose by {new - old:.6g}"
            others.append(Observation("broken", f"the cost is {cost:g} and the balance {fell}", ids, _balance_place(scope)))
    yield from fitting
    for one in others:
        yield replace(one, word="unproven") if fitting and one.word == "broken" else one
    if not fitting and not others:
        yield Observation("unproven", "no two answers one after the other state a cost and a balance")


def _falls(scope: Scope, seen: Sequence[SeenExchange]) -> Iterator[tuple[tuple[str, str], float, float, float]]:
    """Two balances with the ids of the answers that state them, and what was to be paid in between: one request, or several in a row."""
    start: tuple[str, float] | None = None
    last: SeenExchange | None = None
    paid = 0.0
    for before, after in _pairs(scope, seen):
        if before is not last:
            start, paid = _balance(before), 0.0
        last, here = after, _balance(after)
        cost = after.answer.cost_usd if after.answer is not None else None
        if cost is None or cost <= 0:
            start, paid = here, 0.0
            continue
        paid += cost
        if here is not None:
            if start is not None:
                yield (start[0], here[0]), start[1], here[1], paid
            start, paid = here, 0.0


def _balance(one: SeenExchange) -> tuple[str, float] | None:
    balance = one.answer.balance_usd if one.answer is not None else None
    return None if balance is None else (one.id, balance)


def _pairs(scope: Scope, seen: Sequence[SeenExchange]) -> Iterator[tuple[SeenExchange, SeenExchange]]:
    """Billed requests one after the other, with no third of any operation that may have been billed under way from the first to the second."""
    sent = [one for one in seen if one.sent_by_check and (one.exchange.billed or one.status is None)]
    sent.sort(key=lambda one: one.exchange.sent_s)
    busy_until = 0.0
    for index, (before, after) in enumerate(pairwise(sent)):
        one, two = before.exchange, after.exchange
        following = sent[index + 2].exchange.sent_s if index + 2 < len(sent) else two.done_s
        lone = busy_until <= one.sent_s and one.done_s <= two.sent_s and two.done_s <= following
        lone = lone and not any(began < two.done_s and ended > one.sent_s for began, ended in scope.elsewhere)
        if lone and before.status is not None and after.status is not None:
            yield before, after
        busy_until = max(busy_until, one.done_s)


def _exactness(scope: Scope, seen: Sequence[SeenExchange]) -> float:
    """How far a stated balance may be off because it is rounded, in USD: to whole ones where all are whole numbers, else to cents or less."""
    stated = [at(one.answer.json, _balance_place(scope) or "") for one in seen if one.answer is not None]
    numbers = [value for value in stated if isinstance(value, int | float) and not isinstance(value, bool)]
    if all(isinstance(value, int) for value in numbers):
        return 1.0
    decimals = max(len(json.dumps(value).partition(".")[2].rstrip("0")) for value in numbers)
    return max(_DUST_USD, 10.0 ** -max(2, decimals))


@rule(
    "answer.cost-grows", level="info", clause=openai_clause("Create image · n"), applies=_states_cost, asks=probes.several, evidence="pair"
)
def cost_grows(scope: Scope, seen: Sequence[SeenExchange]) -> Iterable[Observation]:
    """More pictures cost more than fewer.

    Only answers with as many pictures as were asked for are compared.
    """
    paid = [(one, cost) for one, cost in _paid(seen) if cost is not None and len(one.pictures) == _number(one)]
    for one, cost in paid:
        for other, more in paid:
            few, many = (_number(each) for each in (one, other))
            if few < many and _else(one) == _else(other):
                if more > cost:
                    yield Observation("pass", exchanges=(one.id, other.id))
                else:
                    detail = f"{_pictures(few)} for {cost:g}, {_pictures(many)} for {more:g}"
                    yield Observation("note", detail, (one.id, other.id), _cost_place(scope))


def _number(one: SeenExchange) -> int:
    number = one.asked.get("n")
    return number if isinstance(number, int) else 1


def _else(one: SeenExchange) -> str:
    """All that was asked for beside the number."""
    return json.dumps({name: value for name, value in one.asked.items() if name != "n"}, sort_keys=True, default=str)


def _pictures(number: int) -> str:
    return "1 picture was billed" if number == 1 else f"{number} pictures"


RULES = (
    response_schema,
    required_fields,
    created_now,
    echo,
    usage_integers,
    usage_sum,
    cost_not_negative,
    balance_falls,
    cost_grows,
)
