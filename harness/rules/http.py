"""Rules about HTTP itself: statuses."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from testcard.harness.rules import probes
from testcard.harness.rules.evidence import Seen
from testcard.harness.rules.rule import Observation, http_clause, rule
from testcard.harness.rules.scope import Scope

#: Statuses that HTTP itself implies for a situation: undocumented, they are a gap in the document, not the server's fault.
ANYWHERE = frozenset({401, 402, 403, 408, 429, 431, 451})
FOR_A_REFUSAL = frozenset({400, 404, 405, 406, 409, 411, 413, 414, 415, 422})


def implied(seen: Seen) -> bool:
    """Whether HTTP implies this answer's status for the request it answers."""
    return seen.status in ANYWHERE or seen.status in FOR_A_REFUSAL


def late_gateway_timeout(scope: Scope, seen: Seen) -> bool:
    """Whether this is a 504 after the time that the document names, which it announces."""
    limit = scope.provider.profile.limits.answer_time_s
    return seen.status == 504 and limit is not None and seen.exchange.done_s - seen.exchange.sent_s >= 0.95 * limit


@rule("http.status-documented", level="must", clause=http_clause("15 Status Codes"), asks=probes.any_answer)
def status_documented(scope: Scope, seen: Sequence[Seen]) -> Iterable[Observation]:
    """Every answer has a status that the document lists, or one that HTTP implies for the situation.

    A 5xx is judged by http.no-server-error alone. Statuses that only HTTP implies are listed as gaps in the document.
    """
    for one in seen:
        if one.status is None or one.status >= 500 or one.exchange.source == "fetch":
            continue
        if scope.operation.documents(one.status) or implied(one):
            yield Observation("pass", exchanges=(one.id,))
        else:
            documented = ", ".join(scope.operation.responses)
            yield Observation("broken", f"status {one.status} was answered; documented are {documented}", (one.id,))


@rule("http.no-server-error", level="must", clause=http_clause("15.6 Server Error 5xx"), asks=probes.any_answer)
def no_server_error(scope: Scope, seen: Sequence[Seen]) -> Iterable[Observation]:
    """No request, valid or not, is answered with a 5xx or a connection that breaks off.

    A 504 after the time that the document names is announced there and is no violation.
    """
    for one in seen:
        if one.exchange.source == "fetch":
            continue
        if one.exchange.failure == "broken":
            yield Observation("broken", f"the connection broke off: {one.exchange.failure_detail or 'no whole answer came'}", (one.id,))
        elif one.status is None:
            yield Observation("unproven", one.out_of_reach or "no answer", (one.id,))
        elif one.status >= 500 and not late_gateway_timeout(scope, one):
            yield Observation("broken", f"status {one.status} was answered", (one.id,))
        else:
            yield Observation("pass", exchanges=(one.id,))


RULES = (status_documented, no_server_error)
