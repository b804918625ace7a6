"""Records of what a check sent and saw: exchanges.jsonl. Times are monotonic seconds since the run's start."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Literal

from testcard.harness.runs.record import Record


class Body(Record, frozen=True, kw_only=True):
    """A message body: `text` when it is short UTF-8, `base64` when it is short and not, else `sha256` names a file in bodies/."""

    size: int
    text: str | None = None
    base64: str | None = None
    sha256: str | None = None


class SentRequest(Record, frozen=True, kw_only=True):
    """A request as it left, with the key replaced by $TESTCARD_API_KEY."""

    method: str
    url: str
    headers: list[tuple[str, str]]
    body: Body


class SeenResponse(Record, frozen=True, kw_only=True):
    """A response as it arrived. `complete` is False when the declared length or the final chunk never came."""

    status: int
    headers: list[tuple[str, str]]
    body: Body
    complete: bool = True
    key_echoed: bool = False

    def header(self, name: str) -> str | None:
        """The first header of that name, in any case, or None."""
        wanted = name.lower()
        return next((value for key, value in self.headers if key.lower() == wanted), None)

    @property
    def media_type(self) -> str:
        """What the answer says it is, in lower case and without parameters; "" where it does not say."""
        return (self.header("content-type") or "").partition(";")[0].strip().lower()


class PlacedPicture(Record, frozen=True, kw_only=True):
    """A picture that a response's body holds: `place` is a JSON pointer to the text, "" the body itself; `spelling` is how it stands there.

    `base64`: of its bytes; `data-url`: the same, with its head; `url`: the address it was fetched from, by an exchange whose parent
    this one is; `bytes`: the body is the picture.
    """

    place: str
    spelling: Literal["base64", "data-url", "url", "bytes"]


class Case(Record, frozen=True, kw_only=True):
    """What a request of a check was meant to show, so that rules can judge it again without the plan.

    `accept`: the documents promise that it is carried out; `may-refuse`: a 4xx is no violation; `refuse`: it breaks the
    contract; `unauthorised`: its key is missing or wrong. `base` names the probe it was made from, `change` says the
    difference in words, `place` is a pointer into the request's schema, `rules` are the rules that asked for it and `level`
    caps the level of what it proves.
    """

    expects: Literal["accept", "may-refuse", "refuse", "unauthorised"]
    base: str | None = None
    change: str = ""
    place: str | None = None
    level: Literal["must", "should", "info"] = "must"
    rules: list[str] = []


class Exchange(Record, frozen=True, kw_only=True):
    """One line of exchanges.jsonl: one request with its response or its failure.

    `probe` names what the request was for (stable between runs of one seed, such as `generate/seed-a`), `asked` holds the
    task's terms it asked for, `parent` is the exchange that led to it (a poll, a fetched URL). `pictures` are those that the response
    holds, the first hundred; None in runs of before, which did not say.
    """

    id: str
    operation: str
    probe: str
    source: Literal["probe", "schema-case", "poll", "fetch"]
    model: str | None = None
    parent: str | None = None
    billed: bool = False
    asked: dict[str, Any] = {}
    case: Case | None = None
    request: SentRequest
    response: SeenResponse | None = None
    failure: Literal["connect", "tls", "timeout", "broken"] | None = None
    failure_detail: str | None = None
    sent_s: float
    first_byte_s: float | None = None
    done_s: float
    images: int = 0
    cost_usd: float | None = None
    pictures: list[PlacedPicture] | None = None


_NUMBER = re.compile(r"e(\d+)")


def in_plan_order(exchanges: Iterable[Exchange]) -> list[Exchange]:
    """The exchanges in the order of the plan that they were sent for, whichever of them ended first.

    The number in an id is the place in the plan; those of one request, such as its polls, stay as they were recorded. Addresses
    that were asked once more when all was done (`.again`) come last.
    """
    return sorted(exchanges, key=_place)


def _place(exchange: Exchange) -> tuple[bool, int]:
    number = _NUMBER.match(exchange.id)
    return exchange.id.endswith(".again"), int(number.group(1)) if number is not None else 0
