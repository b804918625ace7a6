"""Rules about the key."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from testcard.harness.rules import probes
from testcard.harness.rules.evidence import Seen
from testcard.harness.rules.rule import Observation, http_clause, rule
from testcard.harness.rules.scope import Scope


def _takes_a_key(scope: Scope) -> bool:
    return scope.profile.auth_required and scope.task is not None


@rule("auth.required", level="must", clause=http_clause("15.5.2 401 Unauthorized"), applies=_takes_a_key, asks=probes.keys)
def key_required(scope: Scope, seen: Sequence[Seen]) -> Iterable[Observation]:
    """A request without the key, or with a wrong one, is refused.

    401 and 403 refuse it as HTTP has it. Any other 4xx to a request that is carried out with the key refuses it as well.
    Counts only when the same request was carried out with the key. Taking a wrong key counts as a deviation at most: no
    document speaks of one.
    """
    if scope.keyless:
        yield Observation("unsupported", "checked without a key (--no-auth)")
        return
    for one in seen:
        if one.case.expects != "unauthorised" or not one.sent_by_check:
            continue
        level = one.case.level
        if one.accepted:
            yield Observation("broken", f"a request with {one.case.change} was answered with status {one.status}", (one.id,), level=level)
        elif one.out_of_reach is not None:
            yield Observation("unproven", f"with {one.case.change}: {one.out_of_reach}", (one.id,))
        elif not one.base_accepted:
            yield Observation("unproven", "the same request with the key was not carried out either", (one.id,))
        elif one.refused:
            yield Observation("pass", exchanges=(one.id,))
        else:
            yield Observation("broken", f"a request with {one.case.change} was answered with status {one.status}", (one.id,), level=level)


RULES = (key_required,)
