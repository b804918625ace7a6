"""Rules about rate limits, judged only where one is met: the check provokes none."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from testcard.harness.rules import probes
from testcard.harness.rules.evidence import Observation, SeenExchange
from testcard.harness.rules.rule import http_clause, rule
from testcard.harness.rules.scope import Scope
from testcard.harness.wire.decode import retry_after as retry_after_s


@rule("rate.retry-after", level="should", clause=http_clause("10.2.3 Retry-After"), asks=probes.base)
def retry_after(scope: Scope, seen: Sequence[SeenExchange]) -> Iterable[Observation]:
    """A 429 says in Retry-After when to come again, in seconds or as a date.

    Without a 429 there is nothing to judge: `unsupported`.
    """
    limited = [one for one in seen if one.status == 429]
    if not limited:
        yield Observation("unsupported", "no request was answered with 429")
    header = scope.provider.profile.errors.retry_after_header
    for one in limited:
        sent = one.header(header)
        if sent is not None and _readable(sent):
            yield Observation("pass", exchanges=(one.id,))
            continue
        what = f"without {header.title()}" if sent is None else f"with {header.title()} {sent[:40]!r}, neither seconds nor a date"
        yield Observation("broken", f"status 429 {what}", (one.id,), f"header:{header.lower()}")


def _readable(value: str) -> bool:
    """Whether it is a number of seconds or an HTTP date."""
    return retry_after_s(value, now=datetime(2000, 1, 1, tzinfo=UTC)) is not None


RULES = (retry_after,)
