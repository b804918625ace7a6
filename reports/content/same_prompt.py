"""The same prompt from every target, side by side: what came, in what time, at what price. From the exchanges that checks recorded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from testcard.harness.runs.records import Exchange
from testcard.harness.text.words import DOLLARS, clean, shortened, time_span
from testcard.reports.content.evidence import Evidence, Party
from testcard.reports.content.pictures import Thumb, pictured, thumbnails

#: So many prompts have a row.
MOST_PROMPTS = 3
_TASKS = ("generate", "edit")


@dataclass(frozen=True, slots=True)
class Shot:
    """What one target made of the prompt. `seconds`: from sending to the last byte, polls and downloads included."""

    party: Party
    model: str
    thumb: Thumb
    seconds: float
    cost_usd: float | None

    @property
    def time(self) -> str:
        """The time in words."""
        return time_span(self.seconds)

    @property
    def price(self) -> str:
        """The price of the request in words."""
        if self.cost_usd is None:
            return "no price"
        kind = " (illustrative)" if self.party.target.prices == "illustrative" else ""
        return f"{DOLLARS.text(self.cost_usd)} USD{kind}"


@dataclass(frozen=True, slots=True)
class SamePrompt:
    """One row: what was asked, and what each target delivered, one picture a target."""

    task: str
    prompt: str
    shots: list[Shot]


def same_prompts(evidence: Evidence) -> list[SamePrompt]:
    """The prompts that most targets drew, each with one picture of every target that did; none where no prompt went to two."""
    asked: dict[tuple[str, str], dict[str, list[Exchange]]] = {}
    for party in evidence.parties:
        for exchange in pictured(party):
            task, prompt = exchange.asked.get("task"), exchange.asked.get("prompt")
            if task in _TASKS and isinstance(prompt, str):
                asked.setdefault((task, prompt), {}).setdefault(party.key, []).append(exchange)
    several = [(key, by_party) for key, by_party in asked.items() if len(by_party) > 1]
    several.sort(key=lambda entry: (-len(entry[1]), _TASKS.index(entry[0][0])))
    rows = []
    for (task, prompt), by_party in several:
        shots = [shot for party in evidence.parties for shot in _first(party, by_party.get(party.key, []))]
        if len(shots) > 1:
            rows.append(SamePrompt(task, shortened(clean(prompt), 160), shots))
        if len(rows) == MOST_PROMPTS:
            break
    return rows


def _first(party: Party, exchanges: list[Exchange]) -> Iterator[Shot]:
    """The first picture that shows, of the requests that asked for one as plainly as can be."""
    for exchange in sorted(exchanges, key=lambda one: len(one.asked)):
        thumbs = thumbnails(party, exchange, 1)
        if thumbs and thumbs[0].uri is not None:
            ended = max((one.done_s for one in [exchange, *party.followed(exchange)]), default=exchange.done_s)
            yield Shot(party, clean(exchange.model or ""), thumbs[0], max(0.0, ended - exchange.sent_s), exchange.cost_usd)
            return
