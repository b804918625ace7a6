"""A check as text for a terminal: its plan, a table for each operation, findings with evidence, what was spent, what to do next."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping

from testcard.harness.check.generation.plan import Plan, PlanStep
from testcard.harness.check.spending.allowance import FittingPlan, at_most, forecast
from testcard.harness.check.spending.budget import NO_LIMITS, SpendingLimits
from testcard.harness.errors import Exit
from testcard.harness.events import Finished, Planned
from testcard.harness.runs.records import Exchange, Spend, Verdict, Verdicts
from testcard.harness.stops import BUDGET, StopReason, next_step, sentence
from testcard.harness.text.commands import BodyFile, curl
from testcard.harness.text.sources import cited
from testcard.harness.text.words import GLYPHS, amount, count, listing, one_line, shortened, waiver_line, waiver_reason

COLOURS: Mapping[str, str] = {
    "pass": "green",
    "fail": "red",
    "deviates": "yellow",
    "unproven": "yellow",
    "not-run": "yellow",
    "info": "cyan",
}
#: So many rules that were not run for one reason stand in one line: a check that was stopped early is no table of nothing.
FOLDED = 4
#: So many operations are named that have one gap in common.
GAPS_NAMED = 4
#: So many rules that stay not-run are named for each level.
SHOWN_RULES = 12
_WORDS = [word for word in GLYPHS if word != "inconclusive"]
Style = Callable[[str, str], str]


def plain(text: str, colour: str) -> str:
    """The text without colour."""
    return text


def announcement(planned: Planned, *, quiet: bool = False) -> Iterator[str]:
    """What is about to happen, before it does: on which mock, or what it can cost at most. `quiet`: only what can cost."""
    for target in planned.targets:
        if target.embedded and not quiet:
            yield f"No base URL is given: checking a mock of {target.name} on this machine."
    if not all(target.on_this_machine for target in planned.targets):
        price = "no price known" if planned.cost_usd is None else f"at most {amount(planned.cost_usd)}"
        yield f"Plan: {planned.requests} requests, at most {planned.images} images, {price}. Mind the provider's terms of use."


def table(record: Verdicts, style: Style = plain) -> Iterator[str]:
    """One line for each rule of each operation; what was not run for one and the same reason is one line, from `FOLDED` rules on."""
    alike = Counter((one.operation, one.detail) for one in record.verdicts if one.verdict == "not-run")
    folded = {reason: number for reason, number in alike.items() if number >= FOLDED}
    shown = [one for one in record.verdicts if one.verdict != "not-run" or (one.operation, one.detail) not in folded]
    width = max((len(one.rule) for one in shown), default=0)
    for place, operation in enumerate(dict.fromkeys(one.operation for one in record.verdicts)):
        if place:
            yield ""
        yield style(operation, "bold")
        for one in (one for one in shown if one.operation == operation):
            detail = one_line(_waived(one) if one.waiver else one.detail) if one.verdict not in ("fail", "deviates") else "see below"
            yield f"  {_word(one.verdict, style)} {one.rule:<{width}}  {one.level:<6}  {shortened(detail, 100)}".rstrip()
        for (where, detail), number in folded.items():
            if where == operation:
                yield f"  {_word('not-run', style)} {count(number, 'rule')}  {shortened(one_line(detail), 100)}".rstrip()


def _word(verdict: str, style: Style) -> str:
    """A verdict's glyph and word, as wide as the longest."""
    return style(f"{GLYPHS[verdict]} {verdict:<11}", COLOURS.get(verdict, ""))


def findings(record: Verdicts, exchanges: Mapping[str, Exchange], body_file: BodyFile | None = None, style: Style = plain) -> Iterator[str]:
    """Each broken promise: what was seen, where it is promised, and a curl that shows it."""
    for one in record.verdicts:
        if one.verdict not in ("fail", "deviates"):
            continue
        yield ""
        yield style(f"{GLYPHS[one.verdict]} {one.rule} · {one.operation} · {one.level}", COLOURS[one.verdict])
        yield f"  promised  {one_line(one.title)}"
        yield f"            {one_line(cited(one.clause))}"
        yield f"  seen      {one_line(one.detail)}"
        shown = next((exchanges[name] for name in one.exchanges if name in exchanges), None)
        if shown is not None:
            yield f"  exchange  {', '.join(one.exchanges[:5])}" + (f" and {len(one.exchanges) - 5} more" if len(one.exchanges) > 5 else "")
            yield f"  again     {curl(shown, body_file)}"


def gaps(record: Verdicts) -> Iterator[str]:
    """What the document leaves out."""
    if record.spec_gaps:
        groups: dict[str, list[tuple[str, str]]] = {}
        for gap in record.spec_gaps:
            what = gap.detail if gap.status is None else f"status {gap.status} is not documented"
            groups.setdefault(what, []).append((gap.operation, gap.answered or ""))
        yield ""
        yield "Gaps in the document (not the server's fault):"
        for what, places in groups.items():
            answered = ", ".join(dict.fromkeys(how for _, how in places if how))
            how = f"; answered {shortened(one_line(answered), 60)}" if answered else ""
            yield f"  {one_line(what)}: {listing([operation for operation, _ in places], GAPS_NAMED)}{how}"


def waivers(record: Verdicts) -> Iterator[str]:
    """The waivers that need a hand: expired, unused, or of a promise that is kept."""
    for note in record.waivers:
        if note.state != "used":
            yield one_line(waiver_line(note))


def _waived(verdict: Verdict) -> str:
    waiver = verdict.waiver
    return f"{waiver.instead_of}, waived {waiver_reason(waiver)}" if waiver else ""


def summary(record: Verdicts, price_origin: str) -> str:
    """One line: the outcome with counts, and what was spent."""
    counts: dict[str, int] = {}
    for one in record.verdicts:
        counts[one.verdict] = counts.get(one.verdict, 0) + 1
    words = ", ".join(f"{counts[word]} {word}" for word in _WORDS if word in counts)
    return f"{record.outcome.upper()}: {words}; {spending(record.spend, price_origin)}"


def spending(spend: Spend, price_origin: str) -> str:
    """What was sent and what it cost."""
    cost = "no price" if spend.cost_usd is None else amount(spend.cost_usd)
    note = " (illustrative prices)" if price_origin == "illustrative" and spend.cost_usd is not None else ""
    fetched = f", {count(spend.downloads, 'download')}" if spend.downloads else ""
    silent = f", {spend.unanswered} without an answer" if spend.unanswered else ""
    return (
        f"{count(spend.requests, 'request')}{silent}, {spend.billed_requests} billed, {count(spend.images, 'image')}{fetched}, {cost}{note}"
    )


def closing_words(finished: Finished, judge_again: str) -> Iterator[str]:
    """What a person has to know beside the result, and what to do next; `judge_again` is the command that judges the run once more."""
    record = finished.verdicts
    if record is not None:
        yield from waivers(record)
        for error in record.errors:
            on = f" (exchange {', '.join(error.exchanges)})" if error.exchanges else ""
            yield f"internal error: {error.what} on {error.operation} raised {one_line(error.message)}{on}; the rest was judged"
        if record.errors:
            yield f"next: report this with the run folder; judge it again with a mended version: {judge_again}"
    if finished.stop is not None and finished.stop.reason is not StopReason.INTERRUPTED:
        yield f"stopped: {one_line(sentence(finished.stop))}; everything so far is saved"
        further = next_step(finished.stop)
        if further is not None:
            yield f"next: {further}"
    if finished.spend.sent_again:
        yield (
            f"{count(finished.spend.sent_again, 'request')} died on a kept connection before a byte of the answer, and went out once more on a "
            "new one (counted, and booked as if billed)"
        )
    for stop in finished.stops:
        if stop.reason in (StopReason.OPERATION_REFUSED, StopReason.OPERATION_SILENT):
            yield f"{one_line(sentence(stop))}; what hangs on it was not sent"
            yield f"next: {next_step(stop)}"
    if finished.reason and finished.stop is None and finished.exit_code is Exit.INCONCLUSIVE:
        yield finished.reason
        yield "next: look at the reason above: often a model that is not served (--model), or rules that do not fit the target (--rule)"
    spent = [stop for stop in finished.stops if stop.reason in BUDGET]
    if spent:
        decided = finished.exit_code not in (Exit.INCONCLUSIVE, Exit.INTERRUPTED)
        why = f"{finished.not_sent} of {finished.planned} requests were not sent: {'; '.join(map(sentence, spent))}"
        yield f"{why}; no must hangs on them" if decided and finished.exit_code is Exit.PASS else why
        if not decided:
            steps = dict.fromkeys(step for stop in spent if (step := next_step(stop)) is not None)
            yield f"next: {'; '.join(steps)} (--operation and --rule narrow a check)"


def plan_lines(plan: Plan, price_origin: str, limits: SpendingLimits = NO_LIMITS) -> Iterator[str]:
    """Every request of the plan with its reason and price, and what all of it can come to within the limits."""
    width = min(max((len(step.probe) for step in plan.steps), default=0), 44)
    for operation in dict.fromkeys(step.operation for step in plan.steps):
        yield operation
        for step in plan.of(operation):
            yield f"  {step.id}  {shortened(step.probe, width):<{width}}  {_price(step):<18}  {shortened(_reason(step), 90)}"
    most = at_most(plan.steps, limits)
    price = "no price for some of it" if most.cost_usd is None else amount(most.cost_usd)
    note = " (illustrative prices)" if price_origin == "illustrative" else ""
    if limits != NO_LIMITS:
        yield from forecast_lines(forecast(plan, limits), limits)
    yield f"{len(plan.steps)} requests, at most {most.images} images{_fetched(limits)} and {price}{note}; a refused request costs nothing. Nothing was sent."


def _fetched(limits: SpendingLimits) -> str:
    """How many downloads there may be, where that was said."""
    return f", {count(limits.max_downloads, 'download')}" if limits.max_downloads is not None else ""


def forecast_lines(found: FittingPlan, limits: SpendingLimits) -> Iterator[str]:
    """How much of the plan fits into the limits, which rules stay not-run, musts first, and which exit code follows if all goes well."""
    named = (
        ("--max-requests", limits.max_requests),
        ("--max-images", limits.max_images),
        ("--max-downloads", limits.max_downloads),
        ("--max-cost", limits.max_cost_usd),
    )
    given = " ".join(f"{flag} {value:g}" for flag, value in named if value is not None)
    yield f"Budget: about {found.fitting} of {count(found.planned, 'request')} fit into {given}."
    for level in dict.fromkeys(one.level for one in found.rules):
        open_ = [f"{one.rule} ({one.operation}: {one.unsent})" for one in found.rules if one.level == level]
        more = f" and {len(open_) - SHOWN_RULES} more" if len(open_) > SHOWN_RULES else ""
        yield f"  not-run, {level}: {', '.join(open_[:SHOWN_RULES])}{more}"
    if found.leaves_must_open:
        enough = f"; about {found.enough} requests judge every must" if limits.max_requests is not None else ""
        yield f"If all goes well: exit 5, for musts are not judged{enough}."
    else:
        yield "If all goes well: exit 0; every must is judged."


def _reason(step: PlanStep) -> str:
    expected = {"accept": "", "may-refuse": " (may be refused)", "refuse": " (to be refused)", "unauthorised": " (to be refused)"}
    return f"{step.change or 'base request'}{expected[step.expects]} · {', '.join(step.rules)}"


def _price(step: PlanStep) -> str:
    if not step.billed:
        return "free"
    what = count(step.images, "image") if step.images else "tokens"
    return f"≤ {what} " + ("no price" if step.cost_usd is None else amount(step.cost_usd))
