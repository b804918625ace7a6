"""Rules about the shape of answers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from testcard.harness.rules import probes
from testcard.harness.rules.evidence import Seen
from testcard.harness.rules.rule import Observation, http_clause, rule
from testcard.harness.rules.schema_judge import judge
from testcard.harness.rules.scope import Scope


@rule("schema.response", level="must", clause=http_clause("8.3 Content-Type"), asks=probes.any_answer)
def response_schema(scope: Scope, seen: Sequence[Seen]) -> Iterable[Observation]:
    """Every answer has the body that the OpenAPI document describes for its status.

    A null where a property might have been left out is noted, not counted: lenient readers take it for the same.
    """
    for one in seen:
        response = one.exchange.response
        if response is None or one.exchange.source == "fetch" or not response.complete:
            continue
        judgement = judge(scope.provider, scope.operation_id, status=response.status, headers=response.headers, body=one.body)
        if judgement.not_judged is not None:
            continue
        hard = [problem for problem in judgement.problems if not problem.null_for_optional]
        for problem in hard:
            where = problem.place or "the body"
            yield Observation("broken", f"status {response.status}: {where} {problem.message}", (one.id,), problem.place)
        if judgement.problems and not hard:
            places = ", ".join(problem.place for problem in judgement.problems)
            yield Observation("note", f"null where a property might have been left out: {places}", (one.id,), judgement.problems[0].place)
        if not judgement.problems:
            yield Observation("pass", exchanges=(one.id,))


RULES = (response_schema,)
