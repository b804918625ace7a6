"""A recorded run built by hand, exchange by exchange, for the tests of rules."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

import pytest

from testcard.harness.rules.evidence import Observation, SeenExchange, see
from testcard.harness.rules.promises import RULES
from testcard.harness.rules.scope import Scope
from testcard.harness.runs.records import Body, Case, Exchange, SeenResponse, SentRequest
from testkit.pictures import gradient, in_base64


def drawn(width: int = 64, height: int = 64, kind: str = "PNG", shade: int = 1) -> str:
    """A real picture of this size and format, in base64."""
    return in_base64(gradient(width, height, kind, shade=shade, mode="L"))


class Recorded:
    """A run of one operation. `add` appends an exchange and returns the run."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self.records: list[Exchange] = []
        self._bodies: dict[str, bytes] = {}

    def add(
        self,
        status: int | None = 200,
        answer: Any = None,
        *,
        probe: str = "generate/base",
        expects: str = "accept",
        base: str | None = None,
        asked: dict[str, Any] | None = None,
        change: str = "",
        level: str = "must",
        rules: Sequence[str] = (),
        request: Any = None,
        headers: Sequence[tuple[str, str]] = (),
        source: str = "probe",
        parent: str | None = None,
        failure: str | None = None,
        sent_s: float | None = None,
        took_s: float = 1.0,
        operation: str | None = None,
        billed: bool | None = None,
        sent: Sequence[tuple[str, str]] = (),
    ) -> Recorded:
        content = answer if isinstance(answer, bytes) else json.dumps(answer if answer is not None else {}).encode()
        own = source in ("probe", "schema-case")
        number = len(self.records)
        start_s = 10.0 * number if sent_s is None else sent_s
        response = None
        if status is not None:
            typed = any(name == "content-type" for name, _ in headers)
            own_type = [] if typed else [("content-type", "application/json")]
            response = SeenResponse(status=status, headers=[*own_type, *headers], body=self._body(content))
        accepted = status is not None and status < 300
        self.records.append(
            Exchange(
                id=f"e{number}",
                operation=operation or self.scope.operation_id,
                probe=probe,
                source=source,  # type: ignore[arg-type]
                parent=parent,
                billed=own and accepted if billed is None else billed,
                asked=asked if asked is not None else ({"task": "generate"} if own else {}),
                case=Case(expects=expects, base=base, change=change, level=level, rules=list(rules)) if own else None,  # type: ignore[arg-type]
                request=SentRequest(
                    method="POST",
                    url="http://t/",
                    headers=list(sent),
                    body=self._body(json.dumps(request if request is not None else {}).encode()),
                ),
                response=response,
                failure=failure,  # type: ignore[arg-type]
                sent_s=start_s,
                first_byte_s=start_s + took_s if response else None,
                done_s=start_s + took_s,
            )
        )
        return self

    def _body(self, content: bytes) -> Body:
        name = hashlib.sha256(content).hexdigest()
        self._bodies[name] = content
        return Body(size=len(content), sha256=name)

    @property
    def seen(self) -> list[SeenExchange]:
        """The exchanges as rules see them."""
        return see(self.scope.provider, self.records, lambda body: self._bodies[body.sha256 or ""])

    def observations(self, rule: str) -> list[Observation]:
        """What the rule says."""
        here = [one for one in self.seen if one.exchange.operation == self.scope.operation_id]
        return list(RULES[rule].judge(self.scope, here))

    def words(self, rule: str) -> set[str]:
        """The words of what the rule says."""
        return {one.word for one in self.observations(rule)}


@pytest.fixture
def recorded() -> type[Recorded]:
    """Starts a recorded run: `recorded(scope).add(…).words(rule)`."""
    return Recorded


@pytest.fixture
def picture() -> Any:
    """Draws a picture in base64: `picture(width, height, kind, shade)`."""
    return drawn
