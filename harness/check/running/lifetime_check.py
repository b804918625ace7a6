"""What a check looks at once more when everything else is done: whether addresses of pictures still answer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from testcard.harness.check.generation.plan import Plan, PlanStep
from testcard.harness.rules.promises.delivery import URL_LIFETIME
from testcard.harness.runs.folder import KEY_PLACEHOLDER
from testcard.harness.runs.records import Exchange


def still_to_live(plan: Plan, finished: Mapping[int, Sequence[Exchange]]) -> Iterator[tuple[PlanStep, Exchange]]:
    """For each operation whose addresses have to last, the first in plan order that gave its picture, with its step."""
    if URL_LIFETIME not in {rule.id for rule in plan.rules}:
        return
    for scope in plan.scopes:
        if scope.profile.response.url_lifetime_s is not None:
            found = _first_download((step, finished.get(step.number, ())) for step in plan.of(scope.operation_id))
            if found is not None:
                yield found


def _first_download(done: Iterable[tuple[PlanStep, Sequence[Exchange]]]) -> tuple[PlanStep, Exchange] | None:
    for step, records in done:
        for record in records:
            response = record.response
            whole = response is not None and response.status == 200 and response.complete
            if record.source == "fetch" and whole and KEY_PLACEHOLDER not in record.asked.get("url", ""):
                return step, record
    return None
