"""Rules about the key."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from testcard.harness.rules import probes
from testcard.harness.rules.evidence import Observation, SeenExchange
from testcard.harness.rules.rule import http_clause, rule
from testcard.harness.rules.scope import Scope

_REQUIRED, _WRONG = "auth.required", "auth.wrong-refused"
_NO_KEY_HERE = Observation("unsupported", "checked without a key (--no-auth)")


def _takes_a_key(scope: Scope) -> bool:
    return scope.profile.auth_required and scope.task is not None and scope.provider.profile.auth.header is not None


@rule(_REQUIRED, level="must", clause=http_clause("15.5.2 401 Unauthorized"), applies=_takes_a_key, asks=probes.no_key)
def key_required(scope: Scope, seen: Sequence[SeenExchange]) -> Iterable[Observation]:
    """A request without the key is refused.

    401 and 403 are what HTTP has for this; any other 4xx counts as a refusal too. Judged only where the same request was carried
    out with the key.
    """
    return _refused(scope, seen, _REQUIRED)


@rule(_WRONG, level="should", clause=http_clause("15.5.2 401 Unauthorized"), applies=_takes_a_key, asks=probes.wrong_key)
def wrong_key_refused(scope: Scope, seen: Sequence[SeenExchange]) -> Iterable[Observation]:
    """A request with a wrong key is refused, as one without a key is."""
    return _refused(scope, seen, _WRONG)


def _refused(scope: Scope, seen: Sequence[SeenExchange], rule_id: str) -> Iterable[Observation]:
    if scope.keyless:
        yield _NO_KEY_HERE
        return
    for one in seen:
        if one.case.expects != "unauthorised" or not one.sent_by_check or rule_id not in one.case.rules:
            continue
        if one.base_accepted and one.status in (401, 403):
            yield Observation("pass", exchanges=(one.id,))
        elif not one.accepted and one.out_of_reach is not None:
            yield Observation("unproven", f"with {one.case.change}: {one.out_of_reach}", (one.id,))
        elif not one.base_accepted and not one.accepted:
            yield Observation("unproven", "the same request with the key was not carried out either", (one.id,))
        elif one.refused:
            yield Observation("pass", exchanges=(one.id,))
        else:
            yield Observation("broken", f"a request with {one.case.change} was answered with status {one.status}", (one.id,))


@rule("auth.not-echoed", level="should", clause=http_clause("17 Security Considerations"), asks=probes.any_answer)
def not_echoed(scope: Scope, seen: Sequence[SeenExchange]) -> Iterable[Observation]:
    """The key appears in no answer, neither in its headers nor in its body."""
    if scope.keyless:
        yield _NO_KEY_HERE
        return
    for one in seen:
        if one.exchange.response is None:
            continue
        if one.exchange.response.key_echoed:
            yield Observation("broken", f"the answer with status {one.status} shows the key", (one.id,))
        else:
            yield Observation("pass", exchanges=(one.id,))


RULES = (key_required, wrong_key_refused, not_echoed)
