"""Rules about the shape of answers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from testcard.harness.rules import probes
from testcard.harness.rules.bodies import ends_too_early, kind_of
from testcard.harness.rules.evidence import Seen
from testcard.harness.rules.promises.http import documented_method
from testcard.harness.rules.rule import Observation, http_clause, rule
from testcard.harness.rules.schema_judge import judge
from testcard.harness.rules.scope import Scope


@rule("schema.response", level="must", clause=http_clause("8.3 Content-Type"), asks=probes.any_answer)
def response_schema(scope: Scope, seen: Sequence[Seen]) -> Iterable[Observation]:
    """Every answer has the body that the OpenAPI document describes for its status.

    What the body is, whether it came whole and what it is called are judged by http.media-type and http.body-complete, and an
    undocumented method has no documented answer. A null where a property might have been left out is noted, not counted: lenient readers take it for the same.
    """
    for one in seen:
        response = one.exchange.response
        if response is None or one.exchange.source == "fetch" or not response.complete or not documented_method(scope, one):
            continue
        judgement = judge(scope.provider, scope.operation_id, status=response.status, headers=response.headers, body=one.body)
        if judgement.not_judged is not None:
            continue
        problems = [problem for problem in judgement.problems if problem.keyword != "media-type"]
        if _something_else(one) or (judgement.problems and not problems and one.answer is not None and one.answer.json is None):
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


def _something_else(one: Seen) -> bool:
    """Whether the body is no JSON at all but a page or a picture, or only the beginning of some: no schema is needed to say so."""
    if one.answer is None or one.answer.json is not None:
        return False
    return kind_of(one.body, is_json=False) is not None or ends_too_early(one.body)


RULES = (response_schema,)
