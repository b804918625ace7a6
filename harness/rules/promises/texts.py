"""The rule about text that breaks servers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from testcard.harness.rules import probes
from testcard.harness.rules.evidence import Seen
from testcard.harness.rules.promises.http import late_gateway_timeout
from testcard.harness.rules.rule import Observation, Probe, http_clause, rule
from testcard.harness.rules.scope import PROMPTS, Scope
from testcard.harness.wire.model import TaskRequest

SURVIVES = "request.text-survives"
LONG_CHARACTERS = 10_000
_SCRIPTS = (
    "a sign that says Zürich, Łódź, Ελλάδα, 東京 and \N{ROCKET}\N{WOMAN}\u200d\N{PERSONAL COMPUTER}\N{MATHEMATICAL SCRIPT CAPITAL A}, below it שלום and مرحبا, "
    "\u202eand back\u202c, framed by \"double\", 'single' and `back' quotes, \\n, </b>, {0}, %s, ${x} and ;--"
)
_CONTROLS = "a grey wall\x00\x01\x07\x08\x0b\x0c\x1b[31m\x7f\x9f\ufeff behind a red door"


def texts(seed: int = 0) -> dict[str, tuple[str, str]]:
    """Three texts that servers trip over, by a name: what is special about each, and the text."""
    sentence = PROMPTS[seed % len(PROMPTS)] + "; "
    return {
        "scripts": ("other scripts, astral characters, right-to-left text and quotes", _SCRIPTS),
        "controls": ("control characters", _CONTROLS),
        "long": (f"{LONG_CHARACTERS:,} characters", (sentence * (LONG_CHARACTERS // len(sentence) + 1))[:LONG_CHARACTERS]),
    }


def _takes_text(scope: Scope) -> bool:
    return scope.task is not None and _term(scope) is not None


def _term(scope: Scope) -> str | None:
    """The task's term that carries free text: the prompt, else whatever else does."""
    means = {entry.means for entry in scope.profile.fields.values()}
    if {"prompt", "messages"} & means:
        return "prompt"
    return next((term for term in ("negative_prompt", "user") if term in means), None)


def _asks(scope: Scope) -> Iterator[Probe]:
    task, term = scope.task, _term(scope)
    if task is None or term is None:
        return
    yield from probes.base(scope, task)
    request: TaskRequest = scope.base_request(task)
    for name, (what, text) in texts(scope.seed).items():
        changed = replace(request, **{term: text})  # type: ignore[arg-type] # the terms that `_term` names are text
        yield probes.variant(scope, f"text:{name}", changed, change=f"a {term.replace('_', ' ')} with {what}", expects="may-refuse")


@rule(SURVIVES, level="must", clause=http_clause("15.6 Server Error 5xx"), applies=_takes_text, asks=_asks)
def text_survives(scope: Scope, seen: Sequence[Seen]) -> Iterable[Observation]:
    """No text makes the server fail: it is carried out, or refused with a 4xx.

    Other scripts, characters beyond the sixteen-bit range, right-to-left text, quotes, control characters, and 10,000 characters.
    """
    for one in seen:
        if SURVIVES not in one.case.rules or one.case.base is None or not one.sent_by_check:
            continue
        if one.status is None and one.exchange.failure == "broken":
            yield Observation("broken", f"{one.case.change}: the connection broke off", (one.id,))
        elif one.status is not None and one.status >= 500 and not late_gateway_timeout(scope, one):
            yield Observation("broken", f"{one.case.change}: status {one.status} was answered", (one.id,))
        elif one.out_of_reach is not None:
            yield Observation("unproven", f"{one.case.change}: {one.out_of_reach}", (one.id,))
        else:
            yield Observation("pass", exchanges=(one.id,))


RULES = (text_survives,)
