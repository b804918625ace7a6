"""The result of a check as text for a terminal: a table per operation, findings with evidence, what was spent."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence

from testcard.harness.check.generation.plan import Plan, PlanStep
from testcard.harness.check.judging.verdicts import Conclusion
from testcard.harness.check.spending.allowance import at_most
from testcard.harness.check.spending.budget import NO_LIMITS, SpendingLimits
from testcard.harness.runs.records import Exchange, Spend, Verdict
from testcard.harness.text.commands import BodyFile, curl

GLYPHS: Mapping[str, str] = {
    "pass": "✓", "fail": "✗", "deviates": "!", "info": "i", "unsupported": "–", "unproven": "?", "not-run": "·", "waived": "w",
}  # fmt: skip
COLOURS: Mapping[str, str] = {
    "pass": "green",
    "fail": "red",
    "deviates": "yellow",
    "unproven": "yellow",
    "not-run": "yellow",
    "info": "cyan",
}
_PROMISE = {"must": "must", "should": "should", "info": "info"}
#: Control characters of what strangers send must not reach a terminal, and half surrogates cannot.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")

Style = Callable[[str, str], str]


def plain(text: str, colour: str) -> str:
    """The text without colour."""
    return text


def clean(text: str) -> str:
    """The text on one line, without control characters."""
    return _CONTROL.sub("�", text.replace("\n", " "))


def table(judged: Conclusion, style: Style = plain) -> Iterator[str]:
    """One line for each rule of each operation."""
    width = max((len(one.rule) for one in judged.verdicts), default=0)
    operation = None
    for one in judged.verdicts:
        if one.operation != operation:
            if operation is not None:
                yield ""
            operation = one.operation
            yield style(operation, "bold")
        word = style(f"{GLYPHS[one.verdict]} {one.verdict:<11}", COLOURS.get(one.verdict, ""))
        detail = clean(_waived(one) if one.waiver else one.detail) if one.verdict not in ("fail", "deviates") else "see below"
        yield f"  {word} {one.rule:<{width}}  {_PROMISE[one.level]:<6}  {_clip(detail, 100)}".rstrip()


def findings(
    judged: Conclusion,
    exchanges: Mapping[str, Exchange],
    body_file: BodyFile | None = None,
    style: Style = plain,
) -> Iterator[str]:
    """Each broken promise: what was seen, where it is promised, and a curl that shows it."""
    for one in judged.verdicts:
        if one.verdict not in ("fail", "deviates"):
            continue
        yield ""
        yield style(f"{GLYPHS[one.verdict]} {one.rule} · {one.operation} · {one.level}", COLOURS[one.verdict])
        yield f"  promised  {clean(one.title)}"
        yield f"            {clean(one.clause.document)} · {clean(one.clause.heading)}"
        yield f"  seen      {clean(one.detail)}"
        shown = next((exchanges[name] for name in one.exchanges if name in exchanges), None)
        if shown is not None:
            yield f"  exchange  {', '.join(one.exchanges[:5])}" + (f" and {len(one.exchanges) - 5} more" if len(one.exchanges) > 5 else "")
            yield f"  again     {curl(shown, body_file)}"


def gaps(judged: Conclusion) -> Iterator[str]:
    """What the document leaves out."""
    if judged.spec_gaps:
        yield ""
        yield "Gaps in the document (not the server's fault):"
        for gap in judged.spec_gaps:
            yield f"  {gap.operation}: {clean(gap.detail)}"


def waivers(judged: Conclusion) -> Iterator[str]:
    """The waivers that need a hand: expired, unused, or of a promise that is kept."""
    for note in judged.waivers:
        if note.state != "used":
            whom = note.rule + (f" on {note.operation}" if note.operation else "")
            yield clean(f"waiver of {whom} {note.detail} ({note.owner}, until {note.expires}: {note.reason})")


def _waived(verdict: Verdict) -> str:
    waiver = verdict.waiver
    return f"{waiver.instead_of}, waived until {waiver.expires} by {waiver.owner}: {waiver.reason}" if waiver else ""


def summary(judged: Conclusion, spend: Spend, price_origin: str) -> str:
    """One line: the outcome with counts, and what was spent."""
    counts: dict[str, int] = {}
    for one in judged.verdicts:
        counts[one.verdict] = counts.get(one.verdict, 0) + 1
    words = ", ".join(f"{counts[word]} {word}" for word in GLYPHS if word in counts)
    return f"{judged.outcome.upper()}: {words}; {spending(spend, price_origin)}"


def spending(spend: Spend, price_origin: str) -> str:
    """What was sent and what it cost."""
    cost = "no price" if spend.cost_usd is None else f"${spend.cost_usd:.4f}"
    note = " (illustrative prices)" if price_origin == "illustrative" and spend.cost_usd is not None else ""
    return f"{spend.requests} requests, {spend.billed_requests} billed, {spend.images} images, {cost}{note}"


def plan_lines(plan: Plan, price_origin: str, limits: SpendingLimits = NO_LIMITS) -> Iterator[str]:
    """Every request of the plan with its reason and price, and what all of it can come to within the limits."""
    width = min(max((len(step.probe) for step in plan.steps), default=0), 44)
    for operation in dict.fromkeys(step.operation for step in plan.steps):
        yield operation
        for step in plan.of(operation):
            yield f"  {step.id}  {_clip(step.probe, width):<{width}}  {_price(step):<18}  {_clip(_reason(step), 90)}"
    most = at_most(plan.steps, limits)
    price = "no price for some of it" if most.cost_usd is None else f"${most.cost_usd:.4f}"
    note = " (illustrative prices)" if price_origin == "illustrative" else ""
    yield f"{len(plan.steps)} requests, at most {most.images} images and {price}{note}; a refused request costs nothing. Nothing was sent."


def _reason(step: PlanStep) -> str:
    expected = {"accept": "", "may-refuse": " (may be refused)", "refuse": " (to be refused)", "unauthorised": " (to be refused)"}
    return f"{step.change or 'base request'}{expected[step.expects]} · {', '.join(step.rules)}"


def _price(step: PlanStep) -> str:
    if not step.billed:
        return "free"
    count = f"{step.images} image{'s' if step.images != 1 else ''}" if step.images else "tokens"
    return f"≤ {count} " + ("no price" if step.cost_usd is None else f"${step.cost_usd:.4f}")


def _clip(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"


def broken(verdicts: Sequence[Verdict]) -> int:
    """How many verdicts say that something is wrong."""
    return sum(one.verdict in ("fail", "deviates") for one in verdicts)
